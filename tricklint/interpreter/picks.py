"""Some of many, taken by number: `data[i : i + size]` for an `i` that goes in steps of `size`, `data[k * size : (k + 1) * size]`;
a call that is given these two ends takes them as well."""

from __future__ import annotations

import libcst as cst

from tricklint.interpreter.callargs import CallArgs
from tricklint.interpreter.events import Picked
from tricklint.interpreter.machine import Machine
from tricklint.interpreter.objects import plain
from tricklint.interpreter.values import Const, Strided, Value, first, members


def picked(m: Machine, size: cst.BaseExpression, value: Value, node: cst.CSTNode) -> None:
    """So many were taken at once; `size`: the expression, which says by its name what they are."""
    name = _name(size)
    if name:
        m.emit(Picked(m.now(node), plain(m, "picked", CallArgs([], {name.lower(): value}), node)))


def pick_of_slice(m: Machine, sliced: cst.Slice, node: cst.CSTNode) -> None:
    """Emits Picked where the slice is one of equal parts that a loop takes one after the other."""
    lower, upper = sliced.lower, sliced.upper
    if upper is None or sliced.step is not None:
        return
    if isinstance(lower, cst.Name):
        steps = [each.step for each in members(m.eval(lower)) if isinstance(each, Strided)]
        size = _added(upper, lower.value)
        if steps and size is not None:
            picked(m, size, steps[0], node)
        return
    _pick_of_ends(m, lower, upper, node)


def pick_of_call(m: Machine, call: cst.Call) -> None:
    """The same where a call is told from where to where: `read_lines(path, k * size, (k + 1) * size)`."""
    for one, other in zip(call.args, call.args[1:], strict=False):
        _pick_of_ends(m, one.value, other.value, call, told=True)


def _pick_of_ends(
    m: Machine, lower: cst.BaseExpression | None, upper: cst.BaseExpression, node: cst.CSTNode, told: bool = False
) -> None:
    if not isinstance(lower, cst.BinaryOperation) or not isinstance(lower.operator, cst.Multiply):
        return
    for turn, size in ((lower.left, lower.right), (lower.right, lower.left)):
        if isinstance(turn, cst.Name) and (_is_next(upper, turn.value, size) or (not told and _is_turn(m, turn.value))):
            value = m.eval(size)
            at = first(value)
            if isinstance(at, Const) and isinstance(at.value, int) and not isinstance(at.value, bool):
                picked(m, size, value, node)
                return


def _is_next(upper: cst.BaseExpression, turn: str, size: cst.BaseExpression) -> bool:
    """Whether an end is that of the part with this number: `(turn + 1) * size`, also within `min(…, n)`."""
    if isinstance(upper, cst.Call):
        return any(_is_next(arg.value, turn, size) for arg in upper.args)
    if not isinstance(upper, cst.BinaryOperation):
        return False
    pairs = ((upper.left, upper.right), (upper.right, upper.left))
    if isinstance(upper.operator, cst.Multiply):
        return any(_is_one(_added(one, turn)) and _same(other, size) for one, other in pairs)
    return isinstance(upper.operator, cst.Add) and any(
        isinstance(one, cst.BinaryOperation) and isinstance(one.operator, cst.Multiply) and _same(other, size)
        for one, other in pairs
    )


def _is_one(node: cst.BaseExpression | None) -> bool:
    return isinstance(node, cst.Integer) and node.value == "1"


def _same(one: cst.BaseExpression, other: cst.BaseExpression) -> bool:
    return bool(_name(one)) and _name(one) == _name(other)


def _name(node: cst.BaseExpression) -> str:
    """What an expression calls its value: `batch_size`, `self.batch_size`, `config["batch_size"]`."""
    if isinstance(node, cst.Name):
        return node.value
    if isinstance(node, cst.Attribute):
        return node.attr.value
    if isinstance(node, cst.Subscript) and len(node.slice) == 1 and isinstance(node.slice[0].slice, cst.Index):
        key = node.slice[0].slice.value
        return str(key.evaluated_value) if isinstance(key, cst.SimpleString) else ""
    return ""


def _added(upper: cst.BaseExpression, start: str) -> cst.BaseExpression | None:
    """`size` of `start + size`, also within `min(start + size, n)`."""
    if isinstance(upper, cst.Call):
        found = (_added(arg.value, start) for arg in upper.args)
        return next((each for each in found if each is not None), None)
    if not isinstance(upper, cst.BinaryOperation) or not isinstance(upper.operator, cst.Add):
        return None
    for one, other in ((upper.left, upper.right), (upper.right, upper.left)):
        if isinstance(one, cst.Name) and one.value == start:
            return other
    return None


def _is_turn(m: Machine, name: str) -> bool:
    """Whether a loop that is running counts its rounds in this name."""
    return any(
        isinstance(loop.node, (cst.For, cst.CompFor))
        and any(isinstance(part, cst.Name) and part.value == name for part in _targets(loop.node.target))
        for loop in m.loops
    )


def _targets(target: cst.BaseExpression) -> list[cst.BaseExpression]:
    return [element.value for element in target.elements] if isinstance(target, cst.Tuple) else [target]


__all__ = ["pick_of_call", "pick_of_slice", "picked"]
