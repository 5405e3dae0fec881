"""Loops and calls of training code: what trains within them, and which forward passes are backpropagated.

All of it is asked of serials: one loop reached by two calls, or one function called twice, are two things.
"""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING

import libcst as cst

from tricklint.interpreter.events import Activation, Event, Loop
from tricklint.interpreter.values import (
    Dict,
    Instance,
    Sequence,
    Union,
    Value,
    first,
)
from tricklint.libraries.events import Backward, Forward, ModeSet
from tricklint.libraries.modules import modules_below
from tricklint.libraries.paramsets import ParamSet
from tricklint.libraries.tensors import Tensor
from tricklint.source.tree import walk

if TYPE_CHECKING:
    from tricklint.interpreter.modules import FileModule
    from tricklint.program.program import Program

# Names that say "this is not for training", as whole words of an identifier. They never say that something is wrong: they
# tell what a pass is meant for that no backward pass follows, which nothing else in the code does where no mode is set.
EVALUATION = re.compile(
    r"(?:^|_)(?:val|valid|validation|validate|validating|test|testing|tst|eval|evaluate|evaluation|evaluating|dev|infer|inference|"
    r"predict|prediction|predictions|holdout|heldout)(?:$|_|\d)"
)
TRAINING = re.compile(r"(?:^|_)(?:train|training|trn|fit|finetune|optimize|learn|adapt|attack|distill)(?:$|_|\d)")
_WORDS = re.compile(r"(?<=[a-z0-9])(?=[A-Z])")


def speaks_of(pattern: re.Pattern[str], name: str) -> bool:
    """Whether a word of `name` (snake or camel case) is one of the pattern's."""
    return pattern.search(_WORDS.sub("_", name).lower()) is not None


def contains(outer: cst.CSTNode, inner: cst.CSTNode, file: FileModule) -> bool:
    return outer is inner or any(up is outer for up in file.tree.ancestors(inner))


# -- what an event stands in -----------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Level:
    """One of the calls that an event stands in, with the loops of its own body around the way to the event. `node`: what
    leads there, a call or the event itself. `depth`: how many calls stand around it."""

    activation: Activation
    loops: tuple[Loop, ...]
    node: cst.CSTNode
    depth: int

    @property
    def file(self) -> FileModule:
        return self.activation.file

    @property
    def serials(self) -> tuple[int, ...]:
        """Of the call, then of its loops, the innermost last."""
        return (self.activation.serial, *(loop.serial for loop in self.loops))


def levels(event: Event) -> list[Level]:
    """The calls an event stands in, the outermost first."""
    chain = event.activation.chain()[::-1]
    found = []
    for at, activation in enumerate(chain):
        depth = at + 1
        loops = tuple(loop for loop in event.loops if loop.depth == depth)
        below = chain[depth].call if depth < len(chain) else None
        found.append(Level(activation, loops, below[1] if below is not None else event.node, depth))
    return found


def serials(event: Event) -> Iterator[int]:
    """Of every call and loop that an event stands in."""
    for activation in event.activation.chain():
        yield activation.serial
    for loop in event.loops:
        yield loop.serial


def happens_with(event: Event, other: Event) -> bool:
    """Whether `event` may happen in a run in which `other` does, as far as the branches tell: it is on none that the
    defaults do not take, unless `other` stands there too, and not on the other branch of a condition met once."""
    theirs = {id(step) for step in other.path}
    return not any(step.taken is False and id(step) not in theirs for step in event.path) and not apart(event, other)


def apart(event: Event, other: Event) -> bool:
    """Whether the events stand on two branches of a condition that was met once."""
    turns = {step.turn for step in other.path if step.turn}
    if not turns:
        return False
    theirs = {id(step) for step in other.path}
    return any(step.turn in turns and id(step) not in theirs for step in event.path)


def surely_with(event: Event, other: Event) -> bool:
    """Whether `event` happens in every run in which `other` does, as far as the branches tell."""
    theirs = {id(step) for step in other.path}
    return all(id(step) in theirs or step.taken is True or step.pred is not None for step in event.path)


def shared_loops(one: Event, other: Event) -> tuple[Loop, ...]:
    """The rounds of loops that both happen in, the outermost first."""
    theirs = {loop.serial for loop in other.loops}
    return tuple(loop for loop in one.loops if loop.serial in theirs)


# -- what trains, and which forward passes a backward pass reaches ---------------------------------------------------


class Reach:
    """The backward passes of a program: where they happen, and which tensors they depend on."""

    def __init__(self, program: Program) -> None:
        self.within: dict[int, list[Backward]] = defaultdict(list)  # by the serial of every call and loop around
        self.of_tensor: dict[int, list[Backward]] = defaultdict(list)  # by the id of every tensor behind them
        for event in program.events(Backward):
            for serial in set(serials(event)):
                self.within[serial].append(event)
            for tensor in flow(event.subject):
                self.of_tensor[id(tensor)].append(event)
        self.trained_nodes: set[cst.CSTNode] = set()  # forward passes that some backward pass reaches, and calls that lead there
        for forward in program.events(Forward):
            if self.reaches(forward):
                self.trained_nodes.add(forward.node)
                self.trained_nodes.update(call for _, call in forward.calls)

    @classmethod
    def of(cls, program: Program) -> Reach:
        """Worked out once a program."""
        found = program.remember("reach", lambda: cls(program))
        assert isinstance(found, cls)
        return found

    def backwards(self, event: Forward) -> list[Backward]:
        """The backward passes that depend on what a forward pass gave, in a run in which it happens."""
        made = {id(back): back for tensor in tensors_in(event.output) for back in self.of_tensor.get(id(tensor), ())}
        return [back for back in made.values() if happens_with(back, event)]

    def reaches(self, event: Forward) -> bool:
        return bool(self.backwards(event))

    def trains(self, serial: int, event: Event) -> bool:
        """Whether a backward pass is made within a call or loop, in a run in which `event` happens there."""
        return any(happens_with(back, event) for back in self.within.get(serial, ()))


def flow(*values: Value | None) -> Iterator[Tensor]:
    """Every tensor that the given values are, hold or were computed from."""
    seen: set[int] = set()
    stack: list[object] = list(values)
    while stack:
        value = stack.pop()
        if not isinstance(value, (Tensor, Union, Sequence, Dict)) or id(value) in seen:
            continue
        seen.add(id(value))
        if isinstance(value, Tensor):
            yield value
            stack.extend(value.inputs)
            kwargs = value.attrs.get("kwargs")
            if isinstance(kwargs, dict):
                stack.extend(kwargs.values())
        elif isinstance(value, Union):
            stack.extend(value.values)
        elif isinstance(value, Sequence):
            stack.extend(value.items)
        else:
            stack.extend(value.fields.values())


def tensors_in(value: Value | None) -> Iterator[Tensor]:
    """Every tensor that a value is or holds."""
    seen: set[int] = set()
    stack: list[object] = [value]
    while stack:
        at = stack.pop()
        if id(at) in seen:
            continue
        seen.add(id(at))
        if isinstance(at, Tensor):
            yield at
        elif isinstance(at, Union):
            stack.extend(at.values)
        elif isinstance(at, Sequence):
            stack.extend(at.items)
        elif isinstance(at, Dict):
            stack.extend(at.fields.values())


# -- train and eval mode ---------------------------------------------------------------------------------------------


class Modes:
    """Which mode a model was put in last, at any point of a program."""

    def __init__(self, program: Program) -> None:
        self.events = program.events(ModeSet)
        self._below: dict[int, set[int]] = {}
        self._covering: dict[int, list[ModeSet]] = {}
        self.in_loop: dict[int, list[ModeSet]] = defaultdict(list)  # by the serial number of the loop
        for event in self.events:
            for serial in {loop.serial for loop in event.loops}:
                self.in_loop[serial].append(event)

    @classmethod
    def of(cls, program: Program) -> Modes:
        """Worked out once a program."""
        found = program.remember("modes", lambda: cls(program))
        assert isinstance(found, cls)
        return found

    def covers(self, event: Event, module: Instance) -> bool:
        """Whether a mode event is about the whole of `module` (it, or a model that holds it; or all modules below, one by one)."""
        subject: Value | None = event.subject
        if subject is module:
            return True
        if isinstance(subject, ParamSet) and subject.kind == "module" and all(pred.op == "child" for pred in subject.preds):
            subject = first(subject.root)
        if not isinstance(subject, Instance) or subject.kind not in ("module", "loss"):
            return False
        below = self._below.get(id(subject))
        if below is None:
            below = self._below[id(subject)] = modules_below(subject)
        return id(module) in below

    def last(self, module: Instance, at: Event) -> ModeSet | None:
        """The mode event that holds for `module` when `at` happens: the last one before it that is not on another
        branch."""
        covering = self._covering.get(id(module))
        if covering is None:
            covering = self._covering[id(module)] = [event for event in self.events if self.covers(event, module)]
        for event in reversed(covering):
            if event.seq < at.seq and happens_with(event, at):
                return event
        return None


# -- names -----------------------------------------------------------------------------------------------------------


def loop_words(loop: Loop) -> set[str]:
    """Names in the head of a loop: what it goes over."""
    node = loop.node
    if isinstance(node, (cst.For, cst.CompFor)):
        return names_in(node.iter)
    return set()


def names_in(expression: cst.CSTNode) -> set[str]:
    """Names in an expression, those among its keys and literal arguments too: `loaders["val"]`, `batches(data, "test")`."""
    found = set()
    for each in walk(expression):
        if isinstance(each, cst.Name):
            found.add(each.value)
        elif isinstance(each, cst.SimpleString) and isinstance(each.evaluated_value, str):
            if each.evaluated_value.isidentifier():
                found.add(each.evaluated_value)
    return found


def computed_from(body: cst.CSTNode, names: set[str]) -> set[str]:
    """The names, and those that hold what the body computes from them."""
    found = set(names)
    flows = [
        ({name for target in each.targets for name in names_in(target.target)}, names_in(each.value))
        for each in walk(body)
        if isinstance(each, cst.Assign)
    ]
    flows += [
        (names_in(each.func.value), {name for arg in each.args for name in names_in(arg.value)})
        for each in walk(body)
        if isinstance(each, cst.Call) and isinstance(each.func, cst.Attribute) and each.func.attr.value in ("append", "extend")
    ]
    while True:
        before = len(found)
        for held, behind in flows:
            if not found.isdisjoint(behind):
                found |= held
        if len(found) == before:
            return found


def feeds_itself(loop: cst.CSTNode, call: cst.CSTNode) -> bool:
    """A round of the loop hands the call what came out of it in the round before: a picture or a text grows step by step."""
    body = loop.body if isinstance(loop, (cst.For, cst.While)) else None
    if body is None or not isinstance(call, cst.Call):
        return False
    if isinstance(loop, cst.For) and not names_in(loop.target).isdisjoint(names_in(call.func)):
        return False  # each round runs another layer
    out = {
        name
        for each in walk(body)
        if isinstance(each, cst.Assign) and any(node is call for node in walk(each.value))
        for target in each.targets
        for name in names_in(target.target)
    }
    given = {name for arg in call.args for name in names_in(arg.value)}
    return bool(out) and not computed_from(body, out).isdisjoint(given)


def function_name(event: Event) -> str:
    return event.stack[-1].name if event.stack else ""


__all__ = [
    "EVALUATION",
    "TRAINING",
    "Level",
    "Modes",
    "Reach",
    "contains",
    "flow",
    "function_name",
    "happens_with",
    "levels",
    "loop_words",
    "names_in",
    "serials",
    "shared_loops",
    "speaks_of",
    "surely_with",
    "tensors_in",
]
