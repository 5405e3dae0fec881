"""Evaluation and inference: forward passes that no backward pass reaches, and how the code says that this is meant."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING

import libcst as cst

from tricklint.interpreter.events import Event
from tricklint.interpreter.values import (
    Class,
    Instance,
    members,
)
from tricklint.knowledge import layers
from tricklint.libraries.events import Backward, Forward, Froze
from tricklint.libraries.facts import from_library
from tricklint.libraries.modules import submodules
from tricklint.libraries.paramsets import ParamSet
from tricklint.libraries.tensors import Tensor
from tricklint.program.loops import (
    EVALUATION,
    TRAINING,
    Modes,
    Reach,
    Region,
    function_name,
    happens_in,
    loop_words,
    region_of,
    speaks_of,
)
from tricklint.source.tree import Tree, walk

if TYPE_CHECKING:
    from tricklint.program.program import Program

_MEASURES = re.compile(
    r"(?:^|_)(?:acc|accuracy|correct|corrects|precision|recall|f1|iou|miou|dice|auc|metric|metrics)(?:$|_|\d)"
)
# Code that wants gradients although the model is in eval mode: attacks, saliency maps, optimised inputs
_WANTS_GRAD = re.compile(r"requires_grad|\.backward\(|autograd\.grad|\bgrad\(|enable_grad|\.attribute\(|volatile\s*=")
# What a call may be named that learns from a value
_LEARNS = re.compile(r"backward|step|train|optimi[sz]e|learn|minimi[sz]e")
_OWN_CONTEXT = re.compile(r"grad|infer|eval|volatile|frozen|test")


@dataclass(frozen=True)
class Evaluation:
    """A forward pass that is only evaluated. `why` says how the code tells: "mode" (the model is in eval mode, `mode`
    is the event), "name" (the loop's, function's or data's own name), "measured" (only numbers are taken from it)."""

    event: Event
    region: Region
    why: str
    mode: Event | None
    whole: bool  # nothing in the region is trained, so all of it may go below no_grad


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
    """Forward passes in loops that are evaluated only, with autograd on (`grad` True), off (False) or either (None)."""
    reach, modes = Reach(program), Modes(program)
    backwards = program.events(Backward)
    frozen = _frozen(program)
    for event in program.events(Forward):
        module = event.subject
        if not isinstance(module, Instance) or not event.loops or event.depth or event.mixed:
            continue
        if grad is not None and event.grad is not grad:
            continue
        if event.node in reach.nodes or not _runs_model(event.node) or not program.complete(event):
            continue
        output = event.output
        if grad and (not any(t.grad for m in members(output) for t in _tensors(m))):
            continue
        if not holds_weights(module) or id(module) in frozen or _part_of_a_model(event, module):
            continue
        found = _judge(event, module, modes, backwards, reach)
        if found is not None:
            yield found


def _tensors(value: object) -> Iterator[Tensor]:
    from tricklint.interpreter.values import (
        Dict,
        Sequence,
    )

    if isinstance(value, Tensor):
        yield value
    elif isinstance(value, Sequence):
        for item in value.items:
            for member in members(item):
                yield from _tensors(member)
    elif isinstance(value, Dict):
        for item in value.fields.values():
            for member in members(item):
                yield from _tensors(member)


def _part_of_a_model(event: Event, module: Instance) -> bool:
    """A step of some model's own forward pass: whoever calls the model decides about gradients."""
    if any(func.name == "forward" for func in event.stack):
        return True
    owner = event.stack[-1].owner if event.stack else None
    if owner is None or module.cls is owner:
        return False
    return any(name.startswith(("torch.nn.", "lightning.")) for name in owner.libraries())


def _runs_model(node: cst.CSTNode) -> bool:
    """`generate`, `predict` and the like of libraries switch autograd off themselves."""
    if not isinstance(node, cst.Call):
        return False
    return not (
        isinstance(node.func, cst.Attribute)
        and node.func.attr.value.startswith(("generate", "predict", "sample", "encode"))
    )


def _frozen(program: Program) -> set[int]:
    """Modules all of whose parameters were frozen: running them on data records no graph."""
    found: set[int] = set()
    for event in program.events(Froze):
        subject = event.subject
        if isinstance(subject, ParamSet) and event.value is False and event.possible and not subject.preds:
            for root in members(subject.root):
                if isinstance(root, Instance):
                    found.add(id(root))
    return found


def _judge(event: Event, module: Instance, modes: Modes, backwards: list[Backward], reach: Reach) -> Evaluation | None:
    region = region_of(event)
    tree = event.file.tree
    if event.grad is True and any(_OWN_CONTEXT.search(text) for text in _contexts(tree, event.node)):
        return None
    code = tree.code(region.node) if region.node is not None else ""
    trains = any(happens_in(each, region) for each in backwards) or _WANTS_GRAD.search(code) is not None
    mode = modes.last(module, event)
    evaluating = mode is not None and mode.train is False
    words = loop_words(region)
    name = "" if _is_unit_test(event) else function_name(event)
    named = any(speaks_of(EVALUATION, word) for word in words) or (
        speaks_of(EVALUATION, name) and not any(speaks_of(TRAINING, word) for word in words)
    )
    if not trains and region.loop is not None:
        if evaluating:
            return Evaluation(event, region, "mode", mode, True)
        if named:
            return Evaluation(event, region, "name", None, True)
        return None
    if not trains and region.node is not None:  # a function without a loop of its own, called in one
        whole = not any(each in reach.nodes for each in _calls(region.node))
        if evaluating and not speaks_of(TRAINING, function_name(event)) and only_detached(tree, event.node):
            return Evaluation(event, region, "mode", mode, whole)
        if (named or _names_data(region.node)) and only_detached(tree, event.node):
            return Evaluation(event, region, "name", None, whole)
        return None
    if trains and not _may_measure(code):
        return None
    if mode is not None and evaluating and _in_one_function(mode, event):
        return Evaluation(event, region, "mode", mode, False)
    if any(speaks_of(EVALUATION, name) for name in _argument_names(event.node)) and all(
        happens_in(each, region) for each in backwards if event.node in reach.by_event.get(id(each), ())
    ):
        return Evaluation(event, region, "name", None, False)
    measured: list[str] = []
    if only_detached(tree, event.node, measured) and measured:
        return Evaluation(event, region, "measured", None, False)
    return None


def _is_unit_test(event: Event) -> bool:
    """`def test_shapes()` in test_pool.py is about the code: its name does not say that a model is evaluated."""
    return event.file.holds_unit_tests and function_name(event).startswith("test")


def _in_one_function(mode: Event, event: Event) -> bool:
    """`model.eval()` stands before the call, in the same function: what comes between is meant to be evaluation."""
    return mode.file is event.file and bool(mode.stack) and mode.stack == event.stack


def _may_measure(code: str) -> bool:
    """Nothing in a training loop's code says that gradients of inputs are wanted."""
    return "requires_grad_(" not in code and "volatile" not in code and "autograd.grad" not in code


def _calls(node: cst.CSTNode) -> Iterator[cst.CSTNode]:
    return (each for each in walk(node) if isinstance(each, cst.Call))


def _names_data(function: cst.CSTNode) -> bool:
    """A name in the function's body says that it takes data from a validation or test set."""
    return any(isinstance(each, cst.Name) and speaks_of(EVALUATION, each.value) for each in walk(function))


def _argument_names(node: cst.CSTNode) -> Iterator[str]:
    if isinstance(node, cst.Call):
        for arg in node.args:
            for each in walk(arg.value):
                if isinstance(each, cst.Name):
                    yield each.value


def _contexts(tree: Tree, node: cst.CSTNode) -> Iterator[str]:
    """The `with` items around a node whose context managers are the program's or unknown, as text."""
    for up in tree.ancestors(node):
        if isinstance(up, cst.With):
            for item in up.items:
                yield tree.code(item.item)


# -- what becomes of an output --------------------------------------------------------------------------------------

_NUMBERS = frozenset((
    "data", "detach", "detach_", "item", "tolist", "numpy", "argmax", "argmin", "size", "shape", "eq", "ne", "gt", "ge",
    "lt", "le", "dim", "device", "dtype", "ndim", "topk",
))  # fmt: skip
_PASSES_ON = (cst.Call, cst.Subscript, cst.BinaryOperation, cst.UnaryOperation, cst.Element, cst.Tuple, cst.List,
              cst.Index, cst.SubscriptElement)  # fmt: skip
_NUMBER_CALLS = (
    "np.",
    "numpy.",
    "print",
    "float",
    "int",
    "len",
    "torch.argmax",
    "torch.argmin",
    "str",
    "torch.eq",
    "torch.argsort",
)


def only_detached(tree: Tree, node: cst.CSTNode, measured: list[str] | None = None, depth: int = 0) -> bool:
    """Whether everything that is taken from an expression leaves its graph behind (`.data`, `.detach()`, `.item()`,
    `argmax`, comparisons …). Names that hold a measure computed from it are added to `measured`."""
    if depth > 6:
        return False
    at = node
    while True:
        parent = tree.parent(at)
        if isinstance(parent, cst.Attribute) and parent.value is at:
            if parent.attr.value in _NUMBERS:
                _note(tree, parent, measured)
                return True
            if _LEARNS.search(parent.attr.value):
                return False
        elif isinstance(parent, cst.Comparison):
            _note(tree, parent, measured)
            return True
        elif isinstance(parent, cst.Arg):
            call = tree.parent(parent)
            if not isinstance(call, cst.Call):
                return False
            if tree.code(call.func).startswith(_NUMBER_CALLS):
                _note(tree, call, measured)
                return True
            if _LEARNS.search(tree.code(call.func).rpartition(".")[2]):
                return False
            parent = call
        elif isinstance(parent, (cst.AssignTarget, cst.Return, cst.AugAssign, cst.Yield, cst.Lambda)):
            return False
        elif isinstance(parent, cst.Expr):
            return True
        elif isinstance(parent, cst.Assign):
            return all(_target_detached(tree, parent, target.target, measured, depth) for target in parent.targets)
        elif not isinstance(parent, _PASSES_ON):
            return False
        assert parent is not None
        at = parent


def _note(tree: Tree, node: cst.CSTNode, measured: list[str] | None) -> None:
    if measured is None:
        return
    for up in tree.ancestors(node):
        if isinstance(up, cst.Assign):
            names = [each.value for target in up.targets for each in walk(target) if isinstance(each, cst.Name)]
        elif isinstance(up, cst.AugAssign):
            names = [each.value for each in walk(up.target) if isinstance(each, cst.Name)]
        elif isinstance(up, (cst.SimpleStatementLine, cst.BaseCompoundStatement)):
            return
        else:
            continue
        measured.extend(name for name in names if _MEASURES.search(name.lower()) or speaks_of(EVALUATION, name))
        return


def _target_detached(
    tree: Tree, statement: cst.Assign, target: cst.CSTNode, measured: list[str] | None, depth: int
) -> bool:
    if isinstance(target, cst.Subscript):
        target = target.value
    if not isinstance(target, cst.Name):
        return False
    scope = next((up for up in tree.ancestors(statement) if isinstance(up, (cst.FunctionDef, cst.Module))), tree.module)
    begin = tree.offsets(statement)[1]
    for each in walk(scope):
        if isinstance(each, cst.Name) and each.value == target.value and tree.offsets(each)[0] >= begin:
            parent = tree.parent(each)
            if isinstance(parent, cst.AssignTarget):
                break
            if isinstance(parent, cst.Attribute) and parent.value is not each:
                continue
            if isinstance(parent, cst.Arg) and parent.keyword is each:
                continue
            if not only_detached(tree, each, measured, depth + 1):
                return False
    return True


__all__ = ["Evaluation", "evaluations", "holds_weights", "only_detached"]
