"""Evaluation and inference: forward passes that no backward pass depends on, and how the code says that this is meant.

A pass is judged with the call and the loop that it stands in, by their serials: what one helper does when it is called to
train says nothing about the call that evaluates.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING

import libcst as cst

from tricklint.interpreter.events import Event, Loop
from tricklint.interpreter.values import (
    Class,
    Instance,
    members,
)
from tricklint.knowledge import layers
from tricklint.libraries.events import (
    Backward,
    Forward,
    Froze,
    LossComputed,
    ModeSet,
    OptimizerBuilt,
    TrainerGiven,
    WeightsLoaded,
)
from tricklint.libraries.facts import from_library
from tricklint.libraries.modules import submodules
from tricklint.libraries.paramsets import ParamSet
from tricklint.libraries.tensors import Tensor
from tricklint.program.detached import Fate, only_detached, only_looked_at
from tricklint.program.loaders import loaders_of
from tricklint.program.loops import (
    EVALUATION,
    TRAINING,
    Level,
    Modes,
    Reach,
    feeds_itself,
    flow,
    levels,
    loop_words,
    names_in,
    speaks_of,
    surely_with,
    tensors_in,
)
from tricklint.program.transfer import holds
from tricklint.source.once import below
from tricklint.source.tree import walk

if TYPE_CHECKING:
    from tricklint.interpreter.modules import FileModule
    from tricklint.program.program import Program


@dataclass(frozen=True)
class Evaluation:
    """A forward pass that is only evaluated, and where to say so.

    node (in file): the pass itself; the call that leads to it, where a helper also trains or the pass is a method's of
    the model. region: the loop there, or the function without one, that may go below no_grad as a whole (`whole`). why:
    how the code tells: "mode" (the model is in eval mode, `mode` is the event), "name" (the loop's, function's or data's
    own name), "data" (a name in the function says where its data comes from), "measured" (only numbers are taken from it),
    "unrecorded" (over batches, with autograd off), "generated" (with autograd off, from what it gave before), "loaded" (the script runs what was trained before, and trains nothing). called: the call or loop that evaluates, where node also
    trains. beside: it stands in a training step.
    """

    event: Forward
    file: FileModule
    node: cst.CSTNode
    region: cst.CSTNode | None
    why: str
    mode: Event | None
    whole: bool
    called: tuple[FileModule, cst.CSTNode] | None = None
    beside: bool = False


def holds_weights(module: Instance) -> bool:
    """Whether autograd records anything when the module runs: it, or a part of it, has parameters."""
    for _, at in submodules(module):
        if at.kind == "guessed" or from_library(at):
            return True
        if at.library in layers.WEIGHTED | layers.EMBEDDING | layers.RECURRENT | layers.ATTENTION | layers.AFFINE_NORM:
            return True
        if isinstance(at.cls, Class) and any(not name.startswith("torch.nn.Module") for name in at.cls.libraries()):
            return True
        for value in at.fields.values():
            if any(isinstance(m, Tensor) and m.op == "parameter" for m in members(value)):
                return True
    return module.kind == "guessed"


def evaluations(program: Program, grad: bool | None = True) -> Iterator[Evaluation]:
    """Forward passes in loops that are evaluated only: with autograd on (`grad` True) and weights that it records, or
    all (None)."""
    reach, modes = Reach.of(program), Modes.of(program)
    frozen = _frozen(program)
    wanted = _wanted_gradients(program)
    for event in program.events(Forward):
        module = event.subject
        if not isinstance(module, Instance) or not event.loops or event.depth:
            continue
        if event.mixed and not _put_in_eval_mode(program, event):
            continue
        if not _runs_model(event.node) or not program.complete(event) or reach.reaches(event):
            continue
        if grad is not None:
            if event.grad is not grad or not any(tensor.grad for tensor in tensors_in(event.output)):
                continue
            if not holds_weights(module) or id(module) in frozen:
                continue
        if any(id(tensor) in wanted for tensor in flow(*event.inputs)):
            continue  # attacks, saliency maps, optimised inputs: the gradient of the input is what is asked for
        found = _judge(program, event, module, modes, reach)
        if found is not None:
            yield found


def _put_in_eval_mode(program: Program, event: Forward) -> bool:
    """Whether the function that calls it has put it in eval mode under the same name: whatever else it may be, it is a module."""
    called = event.node.func if isinstance(event.node, cst.Call) else None
    return isinstance(called, cst.Name) and any(
        mode.train is False
        and mode.subject is event.subject
        and mode.seq < event.seq
        and mode.activation is event.activation
        and isinstance(mode.node, cst.Call)
        and isinstance(mode.node.func, cst.Attribute)
        and isinstance(mode.node.func.value, cst.Name)
        and mode.node.func.value.value == called.value
        for mode in program.events(ModeSet)
    )


_WITHOUT_AUTOGRAD = frozenset(("generate", "predict", "sample", "encode"))


def _wanted_gradients(program: Program) -> set[int]:
    """Tensors, no parameters, that were told to have gradients."""
    return {id(event.subject) for event in program.events(Froze) if isinstance(event.subject, Tensor) and event.value}


def _runs_model(node: cst.CSTNode) -> bool:
    """`generate`, `predict`, `encode_text` and the like of libraries switch autograd off themselves; `net.encoder` and
    `net.generator` are parts that are run."""
    if not isinstance(node, cst.Call):
        return False
    return not isinstance(node.func, cst.Attribute) or node.func.attr.value.partition("_")[0] not in _WITHOUT_AUTOGRAD


def _frozen(program: Program) -> set[int]:
    """Modules all of whose parameters were frozen, and that were given no new parts since: running them on data records
    no graph."""
    found: set[int] = set()
    for event in program.events(Froze):
        subject = event.subject
        if not isinstance(subject, ParamSet) or subject.preds:
            continue
        for root in members(subject.root):
            if not isinstance(root, Instance):
                continue
            if event.value is not False:
                found.discard(id(root))
            elif event.possible and all(part.seq <= event.seq for _, part in submodules(root)):
                found.add(id(root))
    return found


# -- where a pass is judged ------------------------------------------------------------------------------------------


def _outside_of_models(event: Forward, found: list[Level]) -> int | None:
    """The depth at which a model is run: above the methods of models that the pass goes through. A method that loops
    over batches itself runs the model as any function does. None where nothing outside is known, or a framework runs it."""
    if any(_is_method(level, "__init__") for level in found):
        return None  # a model that is run while it is built: how large its layers must be, say
    at = next((above for above, level in enumerate(found) if _is_method(level, "forward")), len(found))
    if any(name.startswith("lightning.") for level in found[:at] for name in _bases(level)):
        return None  # a function that a module's own step hands it to as well
    while at:
        func = found[at - 1].activation.func
        bases = _bases(found[at - 1])
        own = func is not None and (func.name == "forward" or any(name.startswith("torch.nn.") for name in bases))
        batches = any(not _picks_parts(loop, event.node) for loop in found[at - 1].loops)
        if not own or (batches and func is not None and func.name != "forward"):
            return at
        if at == 1 or found[at - 1].activation.call is None:
            return None
        at -= 1
    return None


def _bases(level: Level) -> tuple[str, ...]:
    func = level.activation.func
    return tuple(func.owner.libraries()) if func is not None and func.owner is not None else ()


def _picks_parts(loop: Loop, call: cst.CSTNode) -> bool:
    """Each round runs another part of the model: `for i in range(n): x = self.layers[i](x)`, `for layer in self.layers:
    x = layer(x)`."""
    if not isinstance(loop.node, (cst.For, cst.CompFor)) or not isinstance(call, cst.Call):
        return False
    names = names_in(loop.node.target)
    if isinstance(call.func, cst.Name):
        return call.func.value in names
    if not isinstance(call.func, cst.Subscript):
        return False
    return not names.isdisjoint(name for each in call.func.slice for name in names_in(each))


def _is_method(level: Level, name: str) -> bool:
    """A module's own method of that name."""
    func = level.activation.func
    if func is None or func.owner is None or func.name != name:
        return False
    return any(base.startswith("torch.nn.") for base in func.owner.libraries())


# What makes up data out of nothing
MADE_UP = frozenset(("randn", "rand", "zeros", "ones", "empty", "full", "randint", "arange", "randn_like", "rand_like"))


def made_up(event: Forward) -> bool:
    """The model is shown noise or zeros: a look at shapes, or at the time that it takes."""
    behind = list(flow(*event.inputs))
    first = [
        tensor
        for tensor in behind
        if not any(isinstance(member, Tensor) for each in tensor.inputs for member in members(each))
    ]
    return bool(first) and all(tensor.op in MADE_UP for tensor in first)


def _asserts(event: Forward) -> bool:
    """The function that runs the model asserts something: it is a test of the program."""
    tree = event.file.tree
    function = next((up for up in tree.ancestors(event.node) if isinstance(up, cst.FunctionDef)), None)
    return function is not None and bool(below(tree, function, cst.Assert))


def _judge(program: Program, event: Forward, module: Instance, modes: Modes, reach: Reach) -> Evaluation | None:
    if _asserts(event) and made_up(event):
        return None
    found = levels(event)
    top = _outside_of_models(event, found)
    if top is None or not any(level.loops for level in found[:top]):
        return None
    # the outermost call or loop in which nothing is trained
    outer = next(
        (level.depth for level in found[:top] if any(not reach.trains(serial, event) for serial in level.serials)), None
    )
    if outer is None:
        return _beside_training(program, event, module, modes, found[top - 1], reach)
    level, called = found[top - 1], None
    if level.node in reach.trained_nodes:  # a helper that also trains: the call that evaluates is the one to mend
        apart = [each for each in found[outer - 1 : top] if each.node not in reach.trained_nodes]
        if apart:
            level = apart[-1]
        else:
            called = _evaluates(found[outer - 1], reach, event)
    region = level.loops[-1].node if level.loops else level.activation.func.node if level.activation.func else None
    whole = called is None and not _trains_elsewhere(level, reach, event)
    mode = modes.last(module, event)
    evaluating = mode is not None and mode.train is False
    named = _named(event, found[outer - 1 : top], called)
    func = level.activation.func
    data = not level.loops and func is not None and _names_data(func.node)
    looped = bool(level.loops) or level.depth < top
    if evaluating and (looped or _fate_known(level) or only_detached(level.file.tree, level.node)):
        return Evaluation(event, level.file, level.node, region, "mode", mode, whole, called)
    if (named or data) and (looped or _fate_known(level) or only_detached(level.file.tree, level.node)):
        return Evaluation(event, level.file, level.node, region, "name" if named else "data", None, whole, called)
    if event.grad is False and any(
        each.loops and feeds_itself(each.loops[-1].node, each.node) for each in found[outer - 1 : top]
    ):
        return Evaluation(event, level.file, level.node, region, "generated", None, whole, called)
    fate = Fate()
    if only_detached(level.file.tree, level.node, fate) and fate.measured:
        return Evaluation(event, level.file, level.node, region, "measured", None, whole, called)
    if event.grad is False and any(True for loop in event.loops for _ in loaders_of(loop.over)):
        if not only_looked_at(level.file.tree, level.node):
            return Evaluation(event, level.file, level.node, region, "unrecorded", None, whole, called)
    if looped and _only_runs(program, event, module):
        return Evaluation(event, level.file, level.node, region, "loaded", None, whole, called)
    return None


def _only_runs(program: Program, event: Forward, module: Instance) -> bool:
    """The script that runs the model loads its weights, and trains nothing at all."""
    training: set[str] = program.remember(
        "entries that train", lambda: {each.entry for each in program.events(Backward, TrainerGiven, OptimizerBuilt)}
    )
    return event.entry not in training and any(
        load.entry == event.entry and load.seq < event.seq and surely_with(load, event) and holds(load.subject, module)
        for load in program.events(WeightsLoaded)
    )


def whole_function(program: Program, found: Evaluation) -> cst.FunctionDef | None:
    """The function round the region, where that only evaluates and runs models outside of the region as well: an encoder
    before the loop that decodes."""
    tree = found.file.tree
    func = next((up for up in tree.ancestors(found.node) if isinstance(up, (cst.FunctionDef, cst.Lambda))), None)
    if not isinstance(func, cst.FunctionDef) or found.region is None or func is found.region or not found.whole:
        return None
    reach = Reach.of(program)
    for node in walk(func):
        if isinstance(node, (cst.Yield, cst.Await)) or node in reach.trained_nodes:
            return None
        if isinstance(node, cst.Attribute) and node.attr.value in ("backward", "requires_grad", "requires_grad_"):
            return None
    inside = set(walk(found.region))
    mine = set(walk(func)) - inside - {func}
    others = [
        each
        for each in program.events(Forward)
        if each.grad and not reach.reaches(each) and not inside.intersection(node for _, node in each.calls)
    ]
    beside = any(each.node in mine or any(node in mine for _, node in each.calls) for each in others)
    return func if beside else None


def _evaluates(level: Level, reach: Reach, event: Event) -> tuple[FileModule, cst.CSTNode] | None:
    """The call in which nothing is trained, or the head of the loop in a round of which nothing is."""
    if not reach.trains(level.activation.serial, event):
        return level.activation.call
    loop = next(loop for loop in level.loops if not reach.trains(loop.serial, event))
    return loop.file, loop.node.iter if isinstance(loop.node, (cst.For, cst.CompFor)) else loop.node


def _fate_known(level: Level) -> bool:
    """The function was called by code that was followed, so that no backward pass of its caller stays unseen."""
    call = level.activation.call
    func = level.activation.func
    return call is not None and func is not None and call[1] is not func.node


def _trains_elsewhere(level: Level, reach: Reach, event: Event) -> bool:
    """The region holds passes that train, in this or another call."""
    node = level.loops[-1].node if level.loops else level.activation.func.node if level.activation.func else None
    return node is not None and any(each in reach.trained_nodes for each in below(level.file.tree, node, cst.Call))


def _beside_training(
    program: Program, event: Forward, module: Instance, modes: Modes, level: Level, reach: Reach
) -> Evaluation | None:
    """A pass within a training step whose output no backward pass depends on."""
    tree = level.file.tree
    if level.node in reach.trained_nodes:
        return None
    region = level.loops[-1].node if level.loops else None
    mode = modes.last(module, event)
    if mode is not None and mode.train is False and _in_one_function(mode, event):
        return Evaluation(event, level.file, level.node, region, "mode", mode, False, beside=True)
    if isinstance(level.node, cst.Call) and any(speaks_of(EVALUATION, name) for name in _argument_names(level.node)):
        return Evaluation(event, level.file, level.node, region, "name", None, False, beside=True)
    fate = Fate()
    if only_detached(tree, level.node, fate) and (fate.measures or (fate.measured and _held_against(program, event))):
        return Evaluation(event, level.file, level.node, region, "measured", None, False, beside=True)
    return None


def _held_against(program: Program, event: Forward) -> bool:
    """A loss is computed from what the pass gives: how good it is, is what is asked."""
    seen: set[int] = program.remember(
        "tensors behind losses", lambda: {id(t) for loss in program.events(LossComputed) for t in flow(*loss.inputs)}
    )
    return any(id(tensor) in seen for tensor in tensors_in(event.output))


def _named(event: Forward, within: list[Level], called: tuple[FileModule, cst.CSTNode] | None) -> bool:
    """Names say that the pass is meant for evaluation: of the loop it stands in, of what the evaluating call is given, or
    of the function, where the loop does not say that it goes over training data."""
    loops = [loop for each in within for loop in each.loops] or list(event.loops[-1:])
    words = {word for loop in loops for word in loop_words(loop)}
    if any(speaks_of(EVALUATION, word) for word in words):
        return True
    given = [called[1]] if called is not None else []
    given += [each.node for each in within if each.depth < within[-1].depth or each.node is not event.node]
    if within[0].activation.call is not None:
        given.append(within[0].activation.call[1])
    if not made_up(event) and isinstance(event.node, cst.Call):
        given.append(event.node)
    named = {name for call in given if isinstance(call, cst.Call) for name in _argument_names(call)}
    if any(speaks_of(EVALUATION, name) for name in named):
        return True
    functions = [] if event.file.holds_unit_tests else [
        each.activation.func.name for each in within if each.activation.func is not None
    ]
    trains = any(speaks_of(TRAINING, word) for word in words | named)
    # `test(train_loader)`, `train_eval`: names that contradict each other say nothing
    return any(speaks_of(EVALUATION, name) for name in functions) and not trains


def _in_one_function(mode: Event, event: Event) -> bool:
    """`model.eval()` stands before the call, in the same call of a function: what comes between is meant to be evaluation."""
    return mode.activation is event.activation and bool(mode.stack)


def _names_data(function: cst.CSTNode) -> bool:
    """A name in the function's body says that it takes data from a validation or test set."""
    return any(isinstance(each, cst.Name) and speaks_of(EVALUATION, each.value) for each in walk(function))


def _argument_names(node: cst.Call) -> Iterator[str]:
    for arg in node.args:
        yield from names_in(arg.value)


__all__ = ["Evaluation", "evaluations", "holds_weights", "made_up", "whole_function"]
