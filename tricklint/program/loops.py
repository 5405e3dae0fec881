"""Loops of training code: which of them train, which only evaluate, and which forward passes are backpropagated."""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING

import libcst as cst

from tricklint.interpreter.events import Event, Loop
from tricklint.interpreter.values import (
    Const,
    Dict,
    Instance,
    Sequence,
    Union,
    Value,
    members,
)
from tricklint.libraries.events import Backward, ModeSet
from tricklint.libraries.modules import modules_below
from tricklint.libraries.paramsets import ParamSet
from tricklint.libraries.tensors import Tensor
from tricklint.source.tree import walk

if TYPE_CHECKING:
    from tricklint.interpreter.modules import FileModule
    from tricklint.program.program import Program

# Names that say "this is not for training", as whole words of an identifier
EVALUATION = re.compile(
    r"(?:^|_)(?:val|valid|validation|validate|validating|test|testing|tst|eval|evaluate|evaluation|evaluating|dev|infer|inference|"
    r"predict|prediction|predictions|holdout|heldout)(?:$|_|\d)"
)
TRAINING = re.compile(r"(?:^|_)(?:train|training|trn|fit|finetune|optimize|learn|adapt|attack|distill)(?:$|_|\d)")
_WORDS = re.compile(r"(?<=[a-z0-9])(?=[A-Z])")


def speaks_of(pattern: re.Pattern[str], name: str) -> bool:
    """Whether a word of `name` (snake or camel case) is one of the pattern's."""
    return pattern.search(_WORDS.sub("_", name).lower()) is not None


@dataclass(frozen=True)
class Region:
    """The code that an event is judged with: the innermost loop of its function, or the whole function when it has
    none. `node` is that loop or function, None for a module's top level."""

    node: cst.CSTNode | None
    file: FileModule
    loop: Loop | None


def contains(outer: cst.CSTNode, inner: cst.CSTNode, file: FileModule) -> bool:
    return outer is inner or any(up is outer for up in file.tree.ancestors(inner))


def region_of(event: Event) -> Region:
    function = event.stack[-1].node if event.stack else None
    for loop in reversed(event.loops):
        if loop.file is not event.file or not contains(loop.node, event.node, event.file):
            break
        if function is None or contains(function, loop.node, event.file):
            return Region(loop.node, event.file, loop)
    return Region(function, event.file, None)


def happens_in(event: Event, region: Region) -> bool:
    """Whether an event takes place while the region runs, in it or in what it calls."""
    if region.loop is not None:
        return any(loop.node is region.node for loop in event.loops)
    if region.node is None:
        return event.file is region.file and not event.stack
    return any(func.node is region.node for func in event.stack)


# -- which forward passes a backward pass reaches --------------------------------------------------------------------


class Reach:
    """The data flow behind a program's backward passes."""

    def __init__(self, program: Program) -> None:
        self.nodes: set[cst.CSTNode] = set()  # code that made a tensor which some backward pass depends on
        self.by_event: dict[int, set[cst.CSTNode]] = {}
        for event in program.events(Backward):
            made = {tensor.node for tensor in flow(event.subject) if tensor.node is not None}
            self.by_event[id(event)] = made
            self.nodes |= made


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

    def covers(self, event: Event, module: Instance) -> bool:
        """Whether a mode event is about the whole of `module` (it, or a model that holds it)."""
        subject = event.subject
        if subject is module:
            return True
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
            if event.seq < at.seq and not contradict(event, at):
                return event
        return None


def contradict(one: Event, other: Event) -> bool:
    """Whether two events stand on different branches of one condition."""
    taken = {id(step.node): step.taken for step in one.path}
    if any(taken.get(id(step.node), step.taken) != step.taken for step in other.path):
        return True
    mine = {id(step.node) for step in one.path}
    theirs = {id(step.node) for step in other.path}
    return any(_branches(step.node) & theirs and id(step.node) not in theirs for step in one.path) or any(
        _branches(step.node) & mine and id(step.node) not in mine for step in other.path
    )


def _branches(node: cst.CSTNode) -> set[int]:
    """The nodes that mark the other branch of an `if`."""
    if isinstance(node, cst.If):
        other = node.orelse or node.test
        return {id(other)}
    return set()


# -- names -----------------------------------------------------------------------------------------------------------


def loop_words(region: Region) -> set[str]:
    """Names in the head of a loop: what it goes over."""
    node = region.node
    if isinstance(node, (cst.For, cst.CompFor)):
        return {each.value for each in walk(node.iter) if isinstance(each, cst.Name)} | {
            each.attr.value for each in walk(node.iter) if isinstance(each, cst.Attribute)
        }
    return set()


def function_name(event: Event) -> str:
    return event.stack[-1].name if event.stack else ""


__all__ = [
    "EVALUATION",
    "TRAINING",
    "Const",
    "Modes",
    "ParamSet",
    "Reach",
    "Region",
    "contradict",
    "flow",
    "function_name",
    "happens_in",
    "loop_words",
    "members",
    "region_of",
    "speaks_of",
]
