"""Pretrained models: what was loaded into them, which head is new, what is frozen, and who trains them."""

from __future__ import annotations

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
from tricklint.libraries.events import Forward, Froze, HeadReplaced, WeightsLoaded
from tricklint.libraries.facts import ModuleFacts, OptimizerFacts
from tricklint.libraries.modules import held, modules_below, submodules
from tricklint.libraries.paramsets import ParamSet, roots_of
from tricklint.program.program import Program

_DOWNLOADS = ("load_url", "load_state_dict_from_url")


@dataclass
class Backbone:
    """One model with pretrained weights. `built` is the event that made it, `loaded` the one that gave it weights."""

    model: Instance
    built: Event
    loaded: Event | None = None
    heads: list[HeadReplaced] = field(default_factory=list)

    @property
    def place(self) -> tuple[cst.CSTNode, FileModule]:
        """The call that asks for the pretrained weights: the outermost that says so itself, else the construction."""
        for file, node in self.built.calls:
            if isinstance(node, cst.Call) and says_pretrained(node):
                return node, file
        return self.built.node, self.built.file


def says_pretrained(node: cst.Call) -> bool:
    """`pretrained=True`, `weights="…"` written in a call."""
    for arg in node.args:
        if arg.keyword is not None and arg.keyword.value in ("pretrained", "weights", "encoder_weights"):
            if isinstance(arg.value, cst.Name):
                return arg.value.value == "True"
            return isinstance(arg.value, (cst.SimpleString, cst.Attribute))
    return False


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
            elif heads:  # a checkpoint of the user's own: pretrained when its head is thrown away
                seen.add(id(model))
                yield Backbone(model, made, load, heads)


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


def trains_something(module: Instance) -> bool:
    return any(child.library in layers.WEIGHTED or isinstance(child.cls, Class) for _, child in submodules(module))


def containers(program: Program, model: Instance) -> list[Instance]:
    """Trained modules that hold `model` (or a part of it) below them, `model` itself included when it is trained."""
    return [module for module, _ in program.trained.values() if id(model) in held(module)]


def has_new_layers(outer: Instance, model: Instance) -> bool:
    """Whether `outer` owns weight layers that are not part of any pretrained model."""
    inside = modules_below(model)
    for _, child in submodules(outer):
        if id(child) in inside or child.owner is not child:
            continue
        if child.library in layers.WEIGHTED or child.library in layers.RECURRENT or child.library in layers.ATTENTION:
            return True
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


def freezes(program: Program, model: Instance, outer: list[Instance]) -> list[Froze]:
    """Events that freeze (or may freeze) parameters of `model`."""
    return [
        event for event in program.events(Froze) if event.value is not True and related(event.subject, model, outer)
    ]


def escapes(program: Program, model: Instance, outer: list[Instance]) -> list[Escaped]:
    """Calls of code that could not be followed, with the model among the arguments."""
    return [event for event in program.events(Escaped) if related(event.subject, model, outer)]


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
    value = first(optimizer.fact(OptimizerFacts).options.get("lr"))
    if isinstance(value, Const) and isinstance(value.value, (int, float)):
        return float(value.value)
    row = optimizer.fact(OptimizerFacts).row
    if (
        optimizer.fact(OptimizerFacts).options.get("lr") is None
        and row is not None
        and not optimizer.fact(OptimizerFacts).open
    ):
        return row.default_lr
    return None


def has_own_group(optimizer: Instance) -> bool:
    """Param groups with learning rates of their own: the backbone may have a smaller one."""
    return len(optimizer.fact(OptimizerFacts).groups) > 1 and any(
        "lr" in group.options or group.open for group in optimizer.fact(OptimizerFacts).groups
    )
