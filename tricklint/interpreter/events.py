"""What happens to values while a program is followed, in order."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import libcst as cst

if TYPE_CHECKING:
    from tricklint.interpreter.modules import FileModule
    from tricklint.interpreter.values import Func, Pred, Value


@dataclass(frozen=True, slots=True, eq=False)
class Step:
    """One condition on the way to an event.

    taken: True on the default path, False on a branch that the defaults do not take, None when the condition could not
    be decided. `pred` is set when the condition is a test on the elements of a loop over parameters or modules.
    """

    node: cst.CSTNode
    taken: bool | None
    pred: Pred | None = None


@dataclass(frozen=True, slots=True, eq=False)
class Loop:
    """A `for` or `while` that an event stands in; `over` is what it goes over."""

    node: cst.CSTNode
    over: Value | None
    file: FileModule
    serial: int


@dataclass(slots=True, eq=False)
class Event:
    """Something that happened to `subject`.

    Kinds and their data: built · optimizer · scheduler · loader · loss_made · froze (value: bool) · init (which, scheme,
    gain …) · head (model, attribute, value) · loaded (weights) · forward (module, args, output, grad) ·
    loss (loss, inputs) · backward · step · zero_grad · mode (train: bool) · moved · set_epoch · accumulate · escape (to) ·
    trainer (framework) · group_added · noop_freeze · iterated · handler · called.
    """

    kind: str
    node: cst.CSTNode
    file: FileModule
    subject: Value
    seq: int
    path: tuple[Step, ...]
    loops: tuple[Loop, ...]
    stack: tuple[Func, ...]
    grad: bool | None
    entry: str = ""
    data: dict[str, Any] = field(default_factory=dict)

    @property
    def sure(self) -> bool:
        """It happens on the path the code takes by default."""
        return all(step.taken is True or step.pred is not None for step in self.path)

    @property
    def possible(self) -> bool:
        """It does not contradict the defaults."""
        return all(step.taken is not False for step in self.path)

    @property
    def where(self) -> Path:
        return self.file.path

    def inside(self, other: Event) -> bool:
        """Stands on every branch that `other` stands on."""
        mine = {(id(step.node), step.taken) for step in self.path}
        return all((id(step.node), step.taken) in mine for step in other.path)

    def __repr__(self) -> str:
        return f"Event({self.kind}, {self.subject!r}, {self.data})"
