"""Functions that never show anything: in a long program they are run a few times, then taken as known.

Large projects call the same helpers from every script (`scatter`, `is_compiling`); following them each time is what
keeps an interpreter from reaching the training loop.
"""

from __future__ import annotations

from enum import IntEnum
from typing import TYPE_CHECKING

from tricklint.interpreter import behaviour
from tricklint.interpreter.events import Handled, Iterated, Picked
from tricklint.interpreter.values import (
    UNKNOWN,
    Const,
    Dict,
    Func,
    Ref,
    Sequence,
    Unknown,
    Value,
    members,
    same,
)

if TYPE_CHECKING:
    import libcst as cst

    from tricklint.interpreter.callargs import CallArgs
    from tricklint.interpreter.machine import Machine

class Haste(IntEnum):
    """How an entry is followed, by the steps that were taken in the entries before it."""

    NONE = 0
    LONG = 1  # so many that to remember what shows nothing saves time that somebody would notice
    ENDLESS = 2  # so many that calls are followed less deep

    @classmethod
    def after(cls, steps: int) -> Haste:
        return cls.ENDLESS if steps >= ENDLESS else cls.LONG if steps > LONG else cls.NONE


LONG = 200_000
ENDLESS = 1_000_000
ENOUGH = 12  # runs
NOISE = (Iterated, Handled, Picked)  # events that say nothing by themselves


class Yield:
    """What running one function has shown: `barren` when it was run often, and nothing but its answer came of it."""

    __slots__ = ("answer", "func", "runs", "useful")

    def __init__(self, func: Func) -> None:
        self.func = func  # keeps the node alive by whose id it is known
        self.runs = 0
        self.useful = False
        self.answer: Value | None = None

    @property
    def barren(self) -> bool:
        return not self.useful and self.runs >= ENOUGH

    def learn(self, result: Value, changed: bool) -> None:
        """`changed`: the run made an event, or wrote something that outlives it."""
        if self.useful:
            return
        self.runs += 1
        plain = _says_nothing(result)
        if changed or not plain:
            self.useful = True
        elif self.answer is None:
            self.answer = result
        elif not result.silent and not same(self.answer, result):
            # a number or a name that depends on the arguments
            self.useful = any(isinstance(member, (Const, Ref)) for member in members(result))

    def again(self, at: Machine, args: CallArgs, node: cst.CSTNode) -> Value:
        """The answer without another run."""
        given = behaviour.opaque(at, args, node, self.func.name)
        if self.answer is not None and type(given) is type(self.answer) and given.silent:
            return given
        return self.answer if isinstance(self.answer, Const) else UNKNOWN


def _says_nothing(value: object, depth: int = 3) -> bool:
    """Neither a model, its parameters, an optimizer nor anything else that rules ask for, nor a container of such."""
    for member in members(value) if isinstance(value, Value) else ():
        if isinstance(member, (Sequence, Dict)):
            items = member.items if isinstance(member, Sequence) else tuple(member.fields.values())
            if not depth or not all(_says_nothing(item, depth - 1) for item in items):
                return False
        elif not member.silent and not isinstance(member, (Unknown, Const, Ref)):
            return False
    return True


__all__ = ["NOISE", "Haste", "Yield"]
