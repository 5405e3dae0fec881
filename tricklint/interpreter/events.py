"""What happens to values while a program is followed, in order: one frozen class a kind.

This file holds what any Python program does. What a library does to its objects is an event class of that library
(`tricklint.libraries.events` for torch and its frameworks); a package may bring its own by subclassing `Event`.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

import libcst as cst

from tricklint.interpreter.frozen import frozen_object

if TYPE_CHECKING:
    from tricklint.interpreter.modules import FileModule
    from tricklint.interpreter.values import (
        Func,
        Instance,
        Pred,
        Value,
    )


@frozen_object
class Step:
    """One condition on the way to an event.

    taken: True on the default path, False on a branch that the defaults do not take, None when the condition could not
    be decided. `pred` is set when the condition is a test on the elements of a loop over parameters or modules. turn: one
    number for the alternatives of one undecided condition, met once; the same `if` of another call has another.
    """

    node: cst.CSTNode
    taken: bool | None
    pred: Pred | None = None
    turn: int = 0


@frozen_object
class Loop:
    """One round of a `for` or `while` that an event stands in; `over` is what it goes over. Rounds that are followed one
    by one, and one loop reached by two calls, have serials of their own. depth: how many calls stand around it, with
    its own. `one_by_one`: its rounds are followed so."""

    node: cst.CSTNode
    over: Value | None
    file: FileModule
    serial: int
    depth: int
    one_by_one: bool = False


@frozen_object
class Activation:
    """One call of one function, from one place: what "this helper, as called there" means.

    func: None for a module's top level or a class body. call: the file and node it was called from, None at the top.
    stack: the functions that are running, this one last.
    """

    func: Func | None
    file: FileModule
    call: tuple[FileModule, cst.CSTNode] | None
    parent: Activation | None
    serial: int
    stack: tuple[Func, ...]

    def chain(self) -> list[Activation]:
        """This activation and those it was called from, the innermost first."""
        found = [self]
        while found[-1].parent is not None:
            found.append(found[-1].parent)
        return found

    @property
    def calls(self) -> tuple[tuple[FileModule, cst.CSTNode], ...]:
        """Where the functions that are running were called from, the outermost first."""
        return tuple(at.call for at in reversed(self.chain()) if at.call is not None)


@frozen_object
class Moment:
    """When and where something happens: the statement, its place in the order of things, and all it stands in."""

    node: cst.CSTNode
    file: FileModule
    seq: int
    path: tuple[Step, ...]
    loops: tuple[Loop, ...]
    activation: Activation
    grad: bool | None
    entry: str


@dataclass(frozen=True, slots=True, eq=False)
class Event:
    """Something that happened to `subject`."""

    at: Moment
    subject: Value

    @property
    def trains(self) -> bool:
        """Whether an entry in which this happens has begun to train."""
        return False

    @property
    def makes(self) -> bool:
        """Whether it says only that something was made."""
        return False

    @property
    def node(self) -> cst.CSTNode:
        return self.at.node

    @property
    def file(self) -> FileModule:
        return self.at.file

    @property
    def seq(self) -> int:
        """Events of a run are ordered by it."""
        return self.at.seq

    @property
    def path(self) -> tuple[Step, ...]:
        return self.at.path

    @property
    def loops(self) -> tuple[Loop, ...]:
        """The loops that are running, the outermost first."""
        return self.at.loops

    @property
    def activation(self) -> Activation:
        return self.at.activation

    @property
    def stack(self) -> tuple[Func, ...]:
        """The functions that are running, the innermost last."""
        return self.at.activation.stack

    @property
    def on_import(self) -> bool:
        """In the code of a module that a script imports: the first that does so runs it for all."""
        return not self.stack and not self.entry.endswith(str(self.file.path))

    @property
    def calls(self) -> tuple[tuple[FileModule, cst.CSTNode], ...]:
        """Where the functions that are running were called from, the outermost first."""
        return self.at.activation.calls

    @property
    def grad(self) -> bool | None:
        """Whether autograd records: False under `no_grad`, None when it could not be decided."""
        return self.at.grad

    @property
    def entry(self) -> str:
        """The script, function or class that was followed for its own sake."""
        return self.at.entry

    @property
    def sure(self) -> bool:
        """It happens on the path the code takes by default."""
        return all(step.taken is True or step.pred is not None for step in self.at.path)

    @property
    def possible(self) -> bool:
        """It does not contradict the defaults."""
        return all(step.taken is not False for step in self.at.path)

    @property
    def where(self) -> Path:
        return self.at.file.path

    def inside(self, other: Event) -> bool:
        """Stands on every branch that `other` stands on."""
        mine = {(id(step.node), step.taken) for step in self.at.path}
        return all((id(step.node), step.taken) in mine for step in other.at.path)

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self.subject!r})"


@dataclass(frozen=True, slots=True, eq=False, repr=False)
class Building(Event):
    """A class of the program begins to make an instance: its `__init__` runs after this."""

    subject: Instance

    @property
    def makes(self) -> bool:
        return True


@dataclass(frozen=True, slots=True, eq=False, repr=False)
class Built(Event):
    """An object was made: an instance of a class of the program, a layer or a model of a library."""

    subject: Instance

    @property
    def makes(self) -> bool:
        return True


@dataclass(frozen=True, slots=True, eq=False, repr=False)
class Made(Event):
    """A library's object that no other event speaks of was made."""

    subject: Instance

    @property
    def makes(self) -> bool:
        return True


@dataclass(frozen=True, slots=True, eq=False, repr=False)
class Escaped(Event):
    """The subject was given to code that cannot be followed. `to`: its dotted name, "" when even that is unknown."""

    to: str


@dataclass(frozen=True, slots=True, eq=False, repr=False)
class Iterated(Event):
    """A `for` loop goes over the subject."""


@dataclass(frozen=True, slots=True, eq=False, repr=False)
class Picked(Event):
    """So many of many were taken, by number or at random: `data[i : i + 32]`, `random.sample(memory, 32)`. The subject was
    given their number, by the name that the code has for it."""

    subject: Instance


@dataclass(frozen=True, slots=True, eq=False, repr=False)
class Handled(Event):
    """A `try` statement begins. `names`: the dotted exceptions of each handler, joined with commas."""

    names: tuple[str, ...]


@dataclass(frozen=True, slots=True, eq=False, repr=False)
class Accumulated(Event):
    """A tensor with an autograd graph went into a running total, a list or a dict.

    target: the name that grows, or the container. old: what it held before. value: what it was given.
    """

    target: cst.CSTNode | Value | None
    how: str
    old: Value | None
    value: Value | None = field(default=None)


__all__ = [
    "Accumulated", "Activation", "Building", "Built", "Escaped", "Event", "Handled", "Iterated", "Loop", "Made", "Moment", "Picked",
    "Step",
]  # fmt: skip
