"""Narrowing: what tests on loop elements say of the values that passed them."""

from __future__ import annotations

from tricklint.interpreter import behaviour
from tricklint.interpreter.machine import Machine
from tricklint.interpreter.values import (
    Dict,
    Pred,
    Sequence,
    Union,
    Value,
)


def narrow(value: Value, preds: list[Pred]) -> Value:
    """The elements of a set that passed `preds`."""
    if not preds:
        return value
    if isinstance(value, Sequence):
        return Sequence(
            value.kind, tuple(narrow(item, preds) for item in value.items), value.open, value.node, value.file
        )
    if isinstance(value, Union):
        return Union(tuple(narrow(member, preds) for member in value.values), value.sure)
    if isinstance(value, Dict):  # `[{"params": [p]}]`: a group of elements
        inner = {key: narrow(item, preds) for key, item in value.fields.items() if isinstance(item, Sequence)}
        if not inner:
            return value
        made = Dict(value.node, value.file, value.open)
        made.fields = {**value.fields, **inner}
        return made
    return behaviour.of(value).narrow(value, preds)


def path_preds(m: Machine) -> list[Pred]:
    """The tests on loop elements that lead here."""
    return [step.pred for step in m.path if step.pred is not None]


def narrowed_here(m: Machine, value: Value) -> Value:
    """`value`, narrowed by the tests on loop elements that lead here."""
    return narrow(value, path_preds(m)) if m.path else value
