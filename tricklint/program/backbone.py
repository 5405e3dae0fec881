"""Pretrained models: what was loaded into them, which head is new, what is frozen, and who trains them."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass, field

import libcst as cst

from tricklint.interpreter.events import Built, Escaped, Event
from tricklint.interpreter.modules import FileModule
from tricklint.interpreter.values import (
    Class,
    Const,
    Instance,
    Sequence,
    first,
    members,
)
from tricklint.knowledge import layers
from tricklint.knowledge.pretrained import FLAGS
from tricklint.libraries.checkpoints import saved
from tricklint.libraries.events import (
    Backward,
    Forward,
    Froze,
    HeadReplaced,
    OptimizerBuilt,
    Stepped,
    TrainerGiven,
    WeightsLoaded,
)
from tricklint.libraries.facts import ModuleFacts, OptimizerFacts, from_library
from tricklint.libraries.modules import held, layer_class, modules_below, submodules
from tricklint.libraries.paramsets import ParamSet, roots_of
from tricklint.program.loops import surely_with
from tricklint.program.program import Program

_DOWNLOADS = ("load_url", "load_state_dict_from_url")


@dataclass
class Backbone:
    """One model with pretrained weights. `built` is the event that made it, `loaded` the one that gave it weights."""

    model: Instance
    built: Event
    loaded: Event | None = None
    heads: list[HeadReplaced] = field(default_factory=list)
    whole: Instance | None = None  # the model that the weights were loaded into, where this is a part of it

    @property
    def asked_for(self) -> tuple[cst.CSTNode, FileModule] | None:
        """The innermost call on the way to the construction that says in words that weights are wanted."""
        for file, node in reversed(self.built.calls):
            if isinstance(node, cst.Call) and says_pretrained(node):
                return node, file
        return None

    @property
    def loaded_on_demand(self) -> bool:
        """The weights are loaded below an `if` of the function that does it: `if pretrained:`."""
        if self.loaded is None:
            return False
        for up in self.loaded.file.tree.ancestors(self.loaded.node):
            if isinstance(up, cst.FunctionDef):
                return False
            if isinstance(up, cst.If):
                return True
        return False

    def place(self, program: Program) -> tuple[cst.CSTNode, FileModule]:
        """The construction of the pretrained model. The call that asks for weights is one, where a builder loads them into
        what it built, and stands in for one whose file was not asked for; of a part of another model, and of one
        that another file builds, it is the line that loads its weights."""
        if self.whole is not None and self.loaded is not None:
            return self.loaded.node, self.loaded.file
        node, asked = self.built.node, self.asked_for
        if isinstance(node, cst.Call) and says_pretrained(node):
            return node, self.built.file
        if asked is not None and (self.loaded_on_demand or not program.is_asked(self.built.file)):
            return asked
        if self.loaded is not None and len(self.loaded.calls) < len(self.built.calls):
            return self.loaded.node, self.loaded.file  # built by a factory that says nothing of weights
        return node, self.built.file


def says_pretrained(node: cst.Call) -> bool:
    """`pretrained=True`, `weights="…"` written in a call, also on one side of a condition."""
    return any(arg.keyword is not None and arg.keyword.value in FLAGS and _names_weights(arg.value) for arg in node.args)


def _names_weights(value: cst.BaseExpression) -> bool:
    if isinstance(value, cst.IfExp):
        return _names_weights(value.body) or _names_weights(value.orelse)
    if isinstance(value, cst.Name):
        return value.value == "True"
    if isinstance(value, cst.Attribute):  # models.ResNet18_Weights.DEFAULT, not self.weights
        owner = value.value.attr if isinstance(value.value, cst.Attribute) else value.value
        return isinstance(owner, cst.Name) and owner.value.endswith("Weights")
    return isinstance(value, cst.SimpleString)


def backbones(program: Program) -> Iterator[Backbone]:
    """Every model that has pretrained weights on the path in which it exists."""
    built = {id(event.subject): event for event in program.events(Built)}
    seen: set[int] = set()
    for event in program.events(Built):
        model = event.subject
        if isinstance(model, Instance) and model.fact(ModuleFacts).pretrained is True and id(model) not in seen:
            seen.add(id(model))
            yield Backbone(model, event, None, head_events(program, model))
    for load in program.events(WeightsLoaded):
        model = load.subject
        if not isinstance(model, Instance) or id(model) in seen or id(model) not in built or model.part_of is not None:
            continue
        for weights in members(load.weights):
            if not isinstance(weights, Instance) or weights.kind != "checkpoint":
                continue
            made = built[id(model)]
            extra = [step for step in load.path if all(step.node is not other.node for other in made.path)]
            if any(step.taken is not True for step in extra):
                continue
            heads = [head for head in head_events(program, model) if head.seq > load.seq]
            if weights.library.endswith(_DOWNLOADS):
                seen.add(id(model))
                strict = first(load.strict)
                whole = any(func.name == "from_pretrained" for func in load.stack)  # the class's own way to be loaded
                if (
                    isinstance(strict, Const) and not strict.value and not whole
                ):  # layers without weights to load are new
                    model.fact(ModuleFacts).new_head = True
                yield Backbone(model, made, load, heads)
            elif parts := taken_out(program, model, load):  # a checkpoint of the user's own: parts of it go under a new head
                seen.add(id(model))
                for part in parts:
                    if id(part) in built:
                        yield Backbone(part, built[id(part)], load, [], whole=model)
            elif heads:  # a checkpoint of the user's own: pretrained when its head is thrown away
                seen.add(id(model))
                yield Backbone(model, made, load, heads)
    yield from copied_backbones(program, built, seen)


def taken_out(program: Program, model: Instance, load: WeightsLoaded) -> list[Instance]:
    """The parts of a model that another model, which the script that loads them trains, has taken over beside new layers of
    its own."""
    below = submodules(model)[1:]
    inside = modules_below(model)
    found: list[Instance] = []
    for _, child in below:
        if any(id(child) in modules_below(other) for other in found) or not has_weights(child):
            continue
        for outer in containers(program, child):
            if id(outer) in inside or id(model) in held(outer):
                continue
            if not load.on_import and all(event.entry != load.entry for event in program.trained_by(outer)):
                continue  # what both scripts import
            fresh = (each for _, each in submodules(outer) if id(each) not in inside and each.part_of is None)
            if any(layer_class(each) in layers.WEIGHTED for each in fresh):
                found.append(child)
                break
    return found


def fills_by_hand(load: WeightsLoaded) -> bool:
    """Arrays are copied into a layer, or a part is given them by a method of its own, not by `load_state_dict`."""
    func = load.node.func if isinstance(load.node, cst.Call) else None
    return not isinstance(func, cst.Attribute) or func.attr.value != "load_state_dict"


def copied_backbones(program: Program, built: dict[int, Built], seen: set[int]) -> Iterator[Backbone]:
    """Models of the program whose layers are filled from a file, one by one, but for a new head."""
    copies: dict[int, tuple[Instance, list[WeightsLoaded]]] = {}
    filled: set[int] = set()
    for load in program.events(WeightsLoaded):
        part = load.subject
        if not fills_by_hand(load) or saved(load.weights) is None or not load.possible:
            continue
        filled |= {id(child) for _, child in submodules(part)}
        if not load.sure:
            continue
        for model in containers(program, part):
            if isinstance(model.cls, Class) and model is not part and id(part) in modules_below(model):
                copies.setdefault(id(model), (model, []))[1].append(load)
    for model, loads in copies.values():
        own = [child for _, child in submodules(model) if layer_class(child) in layers.WEIGHTED]
        fresh = [child for child in own if id(child) not in filled]
        inside = any(other is not model and id(model) in modules_below(other) for other, _ in copies.values())
        if id(model) in seen or id(model) not in built or inside or not fresh or 2 * len(fresh) > len(own):
            continue
        seen.add(id(model))
        model.fact(ModuleFacts).new_head = True
        yield Backbone(model, built[id(model)], loads[0], [])


def head_events(program: Program, model: Instance) -> list[HeadReplaced]:
    """Replacements of a part of `model` by a new module."""
    found = []
    for event in program.events(HeadReplaced):
        subject = event.subject
        if not isinstance(subject, Instance) or (subject.owner is not model and subject is not model):
            continue
        new = [m for m in members(event.value) if isinstance(m, Instance)]
        if (
            any(trains_something(m) for m in new)
            or (not new and isinstance(first(event.value), type(None)))
            or (event.attribute == "classifier" and not new)
        ):
            found.append(event)
    return found


def has_weights(module: Instance) -> bool:
    """Whether a module holds layers with weights, or a library's model (or parts of one) that hold some."""
    return any(layer_class(child) in layers.WEIGHTED or from_library(child) for _, child in submodules(module))


def trains_something(module: Instance) -> bool:
    return any(child.library in layers.WEIGHTED or isinstance(child.cls, Class) for _, child in submodules(module))


def containers(program: Program, model: Instance) -> list[Instance]:
    """Trained modules that hold `model` (or a part of it) below them, `model` itself included when it is trained."""
    around: dict[int, list[Instance]] = program.remember("trained modules around", lambda: _around(program))
    return around.get(id(model), [])


def _around(program: Program) -> dict[int, list[Instance]]:
    """The trained modules that hold a module (or a part of it), by its id."""
    found: dict[int, list[Instance]] = defaultdict(list)
    for module, _ in program.trained.values():
        for each in held(module):
            found[each].append(module)
    return found


def has_new_layers(outer: Instance, model: Instance) -> bool:
    """Whether `outer` owns weight layers that are not part of any pretrained model."""
    inside = modules_below(model)
    for _, child in submodules(outer):
        if id(child) in inside or child.owner is not child:
            continue
        if child.library in layers.WEIGHTED or child.library in layers.RECURRENT or child.library in layers.ATTENTION:
            return True
        known = child.fact(ModuleFacts)
        if known.adopted and known.external and known.pretrained is False:
            return True  # a library's model around what it was given: `FasterRCNN(backbone, num_classes=5)`
    return False


def related(value: object, model: Instance, outer: list[Instance]) -> bool:
    """Whether a parameter set or module touches the parameters of `model`."""
    roots = (
        [value] if isinstance(value, Instance) else roots_of(value) if isinstance(value, (ParamSet, Sequence)) else []
    )
    for root in roots:
        if root.owner is model or any(root is container for container in outer):
            return True
        if id(model) in held(root):
            return True
        if any(child is root for _, child in submodules(model)):
            return True
    return False


def last_steps(program: Program) -> dict[str, Event]:
    """The last training step of each entry."""
    found: dict[str, Event] = program.remember(
        "last steps", lambda: {event.entry: event for event in program.events(Backward, Stepped, TrainerGiven)}
    )
    return found


def after_training(program: Program, event: Event) -> bool:
    """Whether the entry of an event has made its last training step: what happens then changes nothing that was trained. A
    loop around both trains again."""
    last = last_steps(program).get(event.entry)
    if last is None or event.seq < last.seq:
        return False
    around = {id(loop.node) for loop in last.loops}
    return not any(id(loop.node) in around for loop in event.loops)


def freezes(program: Program, model: Instance, outer: list[Instance]) -> list[Froze]:
    """Events that freeze (or may freeze) parameters of `model` before its training is over. A model that is built after the
    last training of an entry is trained by others, if at all."""
    late = any(after_training(program, made) for made in program.made.get(id(model), ()))
    return [
        event
        for event in program.events(Froze)
        if event.value is not True
        and related(event.subject, model, outer)
        and (late or not after_training(program, event))
    ]


def escapes(program: Program, model: Instance, outer: list[Instance]) -> list[Escaped]:
    """Calls of code that could not be followed, with the model among the arguments, before its training is over."""
    return [
        event
        for event in program.events(Escaped)
        if related(event.subject, model, outer) and not after_training(program, event)
    ]


def head_went_first(program: Program, model: Instance, outer: list[Instance], whole: Event) -> bool:
    """Whether an earlier optimizer of the same entry made steps with parts of these modules, but not with the pretrained
    model: the head was trained alone first."""
    steps = [event for event in program.events(Stepped, Backward) if event.entry == whole.entry]
    for event in program.events(OptimizerBuilt):
        if event.entry != whole.entry or event.seq >= whole.seq:
            continue
        roots = [root for group in event.subject.fact(OptimizerFacts).groups for root in roots_of(group.params)]
        if any(id(model) in held(root) and root.owner is not model for root in roots) or any(root is model for root in roots):
            continue
        mine = any(
            root.owner is model or any(id(root) in modules_below(around) for around in (model, *outer)) for root in roots
        )
        if mine and any(event.seq < step.seq < whole.seq for step in steps):
            return True
    return False


def head_was_trained(program: Program, model: Instance, outer: list[Instance], whole: Event) -> bool:
    """Whether the trained module, its head included, goes on from a checkpoint of its own wherever it exists: neither is new."""
    heads = head_events(program, model)
    for load in program.events(WeightsLoaded):
        if load.entry != whole.entry or load.seq > whole.seq or after_training(program, load):
            continue
        if not any(load.subject is each for each in (model, *outer)) or id(model) not in held(load.subject):
            continue
        weights = saved(load.weights)
        if weights is None or weights.library.endswith(_DOWNLOADS) or any(head.seq > load.seq for head in heads):
            continue
        strict = first(load.strict)
        if isinstance(strict, Const) and not strict.value:
            continue  # layers without weights to load are new
        new = bool(heads) or has_new_layers(load.subject, model)
        around = (each for each in outer if each is not load.subject and id(load.subject) in held(each))
        if not new or any(has_new_layers(each, load.subject) for each in around):
            continue
        if load.sure or any(surely_with(load, made) for made in program.made.get(id(load.subject), ())):
            return True
    return False


def without_grad(program: Program, model: Instance, outer: list[Instance]) -> bool:
    """Whether the backbone runs under `no_grad` while the model around it trains."""
    without: set[int] = program.remember("run without grad", lambda: _without_grad(program))
    return id(model) in without


def _without_grad(program: Program) -> set[int]:
    """Ids of the modules that some forward runs under `no_grad` while the model around them trains."""
    found: set[int] = set()
    for event in program.events(Forward):
        if event.grad is False and event.root_grad is not False and isinstance(event.subject, Instance):
            found |= held(event.subject)
    return found


def learning_rate(optimizer: Instance) -> float | None:
    """The one that its only group was given, else the optimizer's own; None where it is not known."""
    known = optimizer.fact(OptimizerFacts)
    groups = [group for group in known.groups if group.default]
    given = groups[0].options.get("lr") if len(groups) == 1 else None
    if given is None and len(groups) == 1 and groups[0].open:
        return None
    given = given if given is not None else known.options.get("lr")
    value = first(given)
    if isinstance(value, Const) and isinstance(value.value, (int, float)):
        return float(value.value)
    return known.row.default_lr if given is None and known.row is not None and not known.open else None


def has_own_group(optimizer: Instance) -> bool:
    """Param groups with learning rates of their own: the backbone may have a smaller one."""
    return len(optimizer.fact(OptimizerFacts).groups) > 1 and any(
        "lr" in group.options or group.open for group in optimizer.fact(OptimizerFacts).groups
    )
