"""Operators, comparisons, `not`, `and`, `or`."""

from __future__ import annotations

import operator
from dataclasses import replace
from typing import Any

import libcst as cst

from tricklint.interpreter import behaviour
from tricklint.interpreter.folding import affordable, folded
from tricklint.interpreter.literals import hashable
from tricklint.interpreter.machine import Machine, evaluates
from tricklint.interpreter.truth import truth
from tricklint.interpreter.values import (
    FALSE,
    TRUE,
    UNKNOWN,
    Class,
    Const,
    Dict,
    Instance,
    Namespace,
    Pred,
    Prefixed,
    Ref,
    Sequence,
    Share,
    Test,
    Union,
    Unknown,
    Value,
    derived,
    first,
    join,
    members,
)

_ARITHMETIC: dict[str, Any] = {
    "Add": operator.add,
    "Subtract": operator.sub,
    "Multiply": operator.mul,
    "Divide": operator.truediv,
    "FloorDivide": operator.floordiv,
    "Modulo": operator.mod,
    "BitOr": operator.or_,
    "BitAnd": operator.and_,
    "LeftShift": operator.lshift,
    "RightShift": operator.rshift,
    "BitXor": operator.xor,
}


_PLAIN = frozenset((Const, Unknown))  # what Python's operators are all that there is to say of
_COMPARE: dict[type, Any] = {
    cst.Equal: operator.eq,
    cst.NotEqual: operator.ne,
    cst.LessThan: operator.lt,
    cst.GreaterThan: operator.gt,
    cst.LessThanEqual: operator.le,
    cst.GreaterThanEqual: operator.ge,
}


@evaluates(cst.BinaryOperation)
def eval_binary(m: Machine, node: cst.BinaryOperation) -> Value:
    return binary(m, node, type(node.operator).__name__, m.eval(node.left), m.eval(node.right))


def binary(m: Machine, node: cst.CSTNode, op: str, left: Value, right: Value) -> Value:
    for side in (left, right):
        if type(side) in _PLAIN:
            continue
        for member in members(side):
            known = behaviour.of(member).operate(m, node, op, left, right)
            if known is not None:
                return known
    for at, side in enumerate((left, right)):
        if isinstance(side, Union) and not side.sure and all(isinstance(each, Const) for each in side.values):
            results = [binary(m, node, op, each if not at else left, right if not at else each) for each in side.values[:8]]
            return join(*results)
    a, b = first(left), first(right)
    if isinstance(a, Const) and isinstance(b, Const) and op in _ARITHMETIC:
        if not affordable(op, a.value, b.value):
            return UNKNOWN
        made = folded(lambda: _ARITHMETIC[op](a.value, b.value), a, b)
        if op == "Add" and isinstance(made, Const) and isinstance(made.value, str) and made.default:
            return replace(made, stem=a.stem if a.default else len(a.value) + b.stem)
        return made
    if isinstance(b, Unknown) and isinstance(a, Const) and isinstance(a.value, str) and op in ("Add", "Modulo"):
        return Prefixed(a.value if op == "Add" else a.value.partition("%")[0])
    if isinstance(a, Prefixed) and op == "Add":
        return Prefixed(a.prefix, a.pattern + (str(b.value) if isinstance(b, Const) else "*"))
    if op == "Power" and isinstance(a, Const) and isinstance(b, Const):
        if affordable(op, a.value, b.value):
            return folded(lambda: a.value**b.value, a, b)
    if isinstance(a, Sequence) and isinstance(b, Sequence) and op == "Add":
        return Sequence(a.kind, a.items + b.items, a.open or b.open, node, m.file)
    if isinstance(a, Sequence) and op == "Multiply" and isinstance(b, Const) and isinstance(b.value, int):
        return Sequence(a.kind, a.items * min(b.value, 4), a.open or b.value > 4, node, m.file)
    if isinstance(a, Sequence) and op == "Add":
        return Sequence(a.kind, a.items, True, node, m.file)
    if op in ("BitAnd", "BitOr", "Subtract") and isinstance(a, Sequence):
        return Sequence(a.kind, a.items, True, node, m.file)
    if op == "BitOr" and isinstance(a, (Dict, Namespace)) and isinstance(b, (Dict, Namespace)):
        made = Dict(node, m.file, any(isinstance(each, Dict) and each.open for each in (a, b)))
        made.fields.update({**a.fields, **b.fields})
        return made
    if op == "Multiply" and isinstance(a, Const) and isinstance(a.value, (int, float)) and a.value == 0:
        return a
    if op == "Multiply" and isinstance(b, Const) and isinstance(b.value, (int, float)) and b.value == 0:
        return b
    return share_of(op, a, b)


def share_of(op: str, a: Value | None, b: Value | None) -> Value:
    """`batch_size // device_count()`, `workers * batch_size`: the known number still says that it is fixed."""
    base, other = (b, a) if op == "Multiply" and not isinstance(a, (Const, Share)) else (a, b)
    if op not in ("Multiply", "Divide", "FloorDivide") or not isinstance(other, (Unknown, Instance)):
        return UNKNOWN
    if isinstance(base, Share):
        return base
    known = isinstance(base, Const) and isinstance(base.value, (int, float)) and not isinstance(base.value, bool)
    return Share(base) if known and isinstance(base, Const) else UNKNOWN


@evaluates(cst.UnaryOperation)
def eval_unary(m: Machine, node: cst.UnaryOperation) -> Value:
    value = m.eval(node.expression)
    if isinstance(node.operator, cst.Not):
        verdict, pred = truth(m, value)
        if pred is not None:
            return Test(~pred)
        return UNKNOWN if verdict is None else derived(not verdict, value)
    if isinstance(node.operator, cst.BitInvert):
        return UNKNOWN
    at = first(value)
    if isinstance(at, Const) and isinstance(at.value, (int, float)):
        return derived(-at.value if isinstance(node.operator, cst.Minus) else at.value, at)
    return behaviour.of(value).negate(m, value, node) or UNKNOWN


@evaluates(cst.BooleanOperation)
def eval_boolean(m: Machine, node: cst.BooleanOperation) -> Value:
    is_and = isinstance(node.operator, cst.And)
    left = m.eval(node.left)
    verdict, pred = truth(m, left)
    if verdict is not None and verdict is not is_and:  # short cut: `False and …`, `True or …`
        return left
    right = m.eval(node.right)
    right_verdict, right_pred = truth(m, right)
    if verdict is not None:
        return right
    if pred is not None or right_pred is not None:
        if right_verdict is not None and pred is not None:
            if right_verdict is is_and:
                return Test(pred)
            return right
        parts = tuple(p if p is not None else Pred("unknown") for p in (pred, right_pred))
        return Test(Pred("and" if is_and else "or", parts))
    if right_verdict is not None and right_verdict is not is_and:
        return Const(right_verdict)
    if not is_and and any(isinstance(each, (Instance, Sequence, Dict)) for each in members(left)):
        return join(left, right)
    return UNKNOWN


@evaluates(cst.Comparison)
def eval_comparison(m: Machine, node: cst.Comparison) -> Value:
    left = m.eval(node.left)
    result: Value = TRUE
    for target in node.comparisons:
        right = m.eval(target.comparator)
        outcome = compare(m, type(target.operator), left, right, node)
        if isinstance(outcome, Unknown) and type(target.operator) in _COMPARE:
            sides = (behaviour.of(each).elementwise(m, left, right, node) for each in (*members(left), *members(right)))
            outcome = next((found for found in sides if found is not None), outcome)
        if len(node.comparisons) == 1:
            return outcome
        verdict, _ = truth(m, outcome)
        if verdict is False:
            return FALSE
        if verdict is None:
            result = UNKNOWN
        left = right
    return result


def compare(m: Machine, kind: type, left: Value, right: Value, node: cst.CSTNode) -> Value:
    for side in (left, right):
        if type(side) in _PLAIN:
            continue
        for member in members(side):
            known = behaviour.of(member).compare(m, kind, left, right, node)
            if known is not None:
                return known
    a, b = first(left), first(right)
    if kind in (cst.Is, cst.IsNot, cst.Equal, cst.NotEqual) and (_is_none(a) or _is_none(b)):
        other = b if _is_none(a) else a
        negative = kind in (cst.IsNot, cst.NotEqual)
        if isinstance(other, Const):
            return derived((other.value is None) is not negative, other)
        if isinstance(other, Unknown) or other is None:
            return UNKNOWN
        if not behaviour.of(other).unlike_none(other):
            return UNKNOWN
        several = isinstance(left, Union) or isinstance(right, Union)
        return Const(negative, several, given=not several and isinstance(other, Instance) and bool(other.kind))
    if _not_given(a) or _not_given(b):
        return UNKNOWN
    if isinstance(a, Const) and isinstance(b, Const):
        try:
            if kind in _COMPARE:
                return derived(bool(_COMPARE[kind](a.value, b.value)), a, b)
            if kind is cst.In:
                return derived(a.value in b.value, a, b)
            if kind is cst.NotIn:
                return derived(a.value not in b.value, a, b)
            if kind is cst.Is:
                return derived(a.value is b.value, a, b)
            if kind is cst.IsNot:
                return derived(a.value is not b.value, a, b)
        except Exception:
            return UNKNOWN
    if kind in (cst.In, cst.NotIn) and isinstance(a, Const):
        if isinstance(b, Sequence) and not b.open and all(isinstance(i, Const) for i in b.items):
            found = any(i.value == a.value for i in b.items if isinstance(i, Const))
            return derived(found is (kind is cst.In), a)
        if isinstance(b, Dict) and not b.open and hashable(a.value):
            return derived((a.value in b.fields) is (kind is cst.In), a)
    if isinstance(a, Sequence) and isinstance(b, Sequence) and kind in (cst.Equal, cst.NotEqual):
        return UNKNOWN
    if isinstance(a, (Ref, Class)) and isinstance(b, (Ref, Class)) and kind in (cst.Equal, cst.Is):
        return Const(a is b or a == b)
    return UNKNOWN


def _is_none(value: Any) -> bool:
    return isinstance(value, Const) and value.value is None


def _not_given(value: Any) -> bool:
    """An option whose default is None: whoever names a choice has given another value."""
    return isinstance(value, Const) and value.value is None and value.default
