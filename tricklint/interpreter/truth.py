"""Whether a value is true."""

from __future__ import annotations

from tricklint.interpreter import behaviour
from tricklint.interpreter.machine import Machine
from tricklint.interpreter.values import (
    Bound,
    Class,
    Const,
    Dict,
    Func,
    Instance,
    Partial,
    Pred,
    Ref,
    Sequence,
    Test,
    Union,
    Value,
)


def truth(m: Machine, value: Value) -> tuple[bool | None, Pred | None]:
    """Whether a value is true on the default path, and the test on loop elements that it stands for."""
    if isinstance(value, Union):
        if value.sure:
            return truth(m, value.values[0])
        verdicts, preds = set(), set()
        for member in value.values:
            verdict, pred = truth(m, member)
            verdicts.add(verdict)
            preds.add(pred)
        # one test on the elements of several sets: `for n, p in groups_of_this_or_that: if "bias" in n`
        return (verdicts.pop() if len(verdicts) == 1 else None), (preds.pop() if len(preds) == 1 else None)
    if isinstance(value, Const):
        return bool(value.value), None
    if isinstance(value, Test):
        return None, value.pred
    if isinstance(value, Instance) and (value.kind == "unknown" or is_answer(value)):
        return None, None
    if isinstance(value, (Instance, Func, Class, Bound, Ref, Partial)):
        return True, None
    if isinstance(value, Sequence):
        return (bool(value.items) if not value.open or value.items else None), None
    if isinstance(value, Dict):
        return (bool(value.fields) if not value.open or value.fields else None), None
    return behaviour.of(value).truth(m, value) or (None, None)


def settled(value: Value) -> bool:
    """A literal of this very call decides: the other branch is none of it."""
    return isinstance(value, Const) and value.given


def is_answer(value: Instance) -> bool:
    """What a library's function said, not an object that it made: `os.path.exists(…)`, `shutil.which(…)`."""
    return not value.kind and not value.records and value.library.rpartition(".")[2][:1].islower()
