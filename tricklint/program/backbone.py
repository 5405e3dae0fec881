"""Pretrained models: what was loaded into them, which head is new, what is frozen, and who trains them."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field

import libcst as cst

from tricklint.knowledge import layers
from tricklint.program.events import Event
from tricklint.program.modules import FileModule
from tricklint.program.objects import held, modules_below, owner_model, submodules
from tricklint.program.params import roots_of
from tricklint.program.program import Program
from tricklint.program.values import Class, Const, Instance, ParamSet, Sequence, first, members

_DOWNLOADS = ("load_url", "load_state_dict_from_url")


@dataclass
class Backbone:
    """One model with pretrained weights. `built` is the event that made it, `loaded` the one that gave it weights."""

    model: Instance
    built: Event
    loaded: Event | None = None
    heads: list[Event] = field(default_factory=list)

    @property
    def place(self) -> tuple[cst.CSTNode, FileModule]:
        """The call that asks for the pretrained weights: the outermost that says so itself, else the construction."""
        for file, node in self.built.data.get("calls", ()):
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
    built = {id(event.subject): event for event in program.events("built")}
    seen: set[int] = set()
    for event in program.events("built"):
        model = event.subject
        if isinstance(model, Instance) and model.notes.get("pretrained") is True and id(model) not in seen:
            seen.add(id(model))
            yield Backbone(model, event, None, head_events(program, model))
    for event in program.events("loaded"):
        model = event.subject
        if not isinstance(model, Instance) or id(model) in seen or id(model) not in built or "part_of" in model.notes:
            continue
        for weights in members(event.data["weights"]):
            if not isinstance(weights, Instance) or weights.kind != "checkpoint":
                continue
            made = built[id(model)]
            extra = [step for step in event.path if all(step.node is not other.node for other in made.path)]
            if any(step.taken is not True for step in extra):
                continue
            heads = [head for head in head_events(program, model) if head.seq > event.seq]
            if weights.library.endswith(_DOWNLOADS):
                seen.add(id(model))
                strict = first(event.data["strict"])
                whole = any(func.name == "from_pretrained" for func in event.stack)  # the class's own way to be loaded
                if (
                    isinstance(strict, Const) and not strict.value and not whole
                ):  # layers without weights to load are new
                    model.notes["new_head"] = True
                yield Backbone(model, made, event, heads)
            elif heads:  # a checkpoint of the user's own: pretrained when its head is thrown away
                seen.add(id(model))
                yield Backbone(model, made, event, heads)


def head_events(program: Program, model: Instance) -> list[Event]:
    """Replacements of a part of `model` by a new module."""
    found = []
    for event in program.events("head"):
        subject = event.subject
        if not isinstance(subject, Instance) or (owner_model(subject) is not model and subject is not model):
            continue
        new = [m for m in members(event.data["value"]) if isinstance(m, Instance)]
        if (
            any(trains_something(m) for m in new)
            or (not new and isinstance(first(event.data["value"]), type(None)))
            or (event.data["attribute"] == "classifier" and not new)
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
        if id(child) in inside or owner_model(child) is not child:
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
        if owner_model(root) is model or any(root is container for container in outer):
            return True
        if id(model) in held(root):
            return True
        if any(child is root for _, child in submodules(model)):
            return True
    return False


def freezes(program: Program, model: Instance, outer: list[Instance]) -> list[Event]:
    """Events that freeze (or may freeze) parameters of `model`."""
    return [
        event
        for event in program.events("froze")
        if event.data["value"] is not True and related(event.subject, model, outer)
    ]


def escapes(program: Program, model: Instance, outer: list[Instance]) -> list[Event]:
    """Calls of code that could not be followed, with the model among the arguments."""
    return [event for event in program.events("escape") if related(event.subject, model, outer)]


def without_grad(program: Program, model: Instance, outer: list[Instance]) -> bool:
    """Whether the backbone runs under `no_grad` while the model around it trains."""
    without: set[int] = program.remember("run without grad", lambda: _without_grad(program))
    return id(model) in without


def _without_grad(program: Program) -> set[int]:
    """Ids of the modules that some forward runs under `no_grad` while the model around them trains."""
    found: set[int] = set()
    for event in program.events("forward"):
        if event.grad is False and event.data["root_grad"] is not False and isinstance(event.subject, Instance):
            found |= held(event.subject)
    return found


def learning_rate(optimizer: Instance) -> float | None:
    value = first(optimizer.notes["options"].get("lr"))
    if isinstance(value, Const) and isinstance(value.value, (int, float)):
        return float(value.value)
    row = optimizer.notes["row"]
    if optimizer.notes["options"].get("lr") is None and row is not None and not optimizer.notes["open"]:
        return row.default_lr
    return None


def has_own_group(optimizer: Instance) -> bool:
    """Param groups with learning rates of their own: the backbone may have a smaller one."""
    return len(optimizer.notes["groups"]) > 1 and any(
        "lr" in group.options or group.open for group in optimizer.notes["groups"]
    )
