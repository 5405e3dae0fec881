"""Optuna: what a trial suggests, any of a range or of a list."""

from __future__ import annotations

import libcst as cst

from tricklint.interpreter.behaviour import Behaviour, behaves
from tricklint.interpreter.callargs import CallArgs
from tricklint.interpreter.machine import Machine
from tricklint.interpreter.objects import plain
from tricklint.interpreter.values import UNKNOWN, Const, Instance, Sequence, Value, first, number

KIND = "optuna trial"
_RANGES = {"suggest_float", "suggest_int", "suggest_uniform", "suggest_loguniform", "suggest_discrete_uniform"}


def trial(m: Machine, args: CallArgs, node: cst.CSTNode) -> CallArgs:
    """What a study hands to its objective."""
    made = plain(m, "optuna.trial.Trial", CallArgs(), node)
    made.kind = KIND
    return CallArgs([made])


@behaves(KIND)
class Trial(Behaviour):
    def method(self, m: Machine, value: Instance, name: str, args: CallArgs, node: cst.CSTNode) -> Value | None:
        """The lower end of a range, the first of several: as open to change as a default."""
        if name in _RANGES:
            low = number(args.get(1, "low"))
            return Const(low, default=True) if low is not None else UNKNOWN
        if name != "suggest_categorical":
            return None
        choices = first(args.get(1, "choices"))
        items = choices.items if isinstance(choices, Sequence) else ()
        if isinstance(choices, Const) and isinstance(choices.value, (list, tuple)):
            items = tuple(Const(item) for item in choices.value)
        chosen = first(items[0]) if items else None
        return Const(chosen.value, default=True) if isinstance(chosen, Const) else chosen or UNKNOWN
