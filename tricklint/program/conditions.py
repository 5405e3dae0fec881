"""What the branches on the way to an event ask: two that hold one expression against different constants rule each other out."""

from __future__ import annotations

import libcst as cst

from tricklint.interpreter.events import Event

_SPELLINGS = frozenset(("lower", "upper", "strip", "casefold"))  # of one text


def rules_out(one: Event, other: Event) -> bool:
    """Whether no run has both events: on the way to them one option is said to be this, and that."""
    asked = dict(equalities(one))
    return any(name in asked and asked[name] != value for name, value in equalities(other))


def equalities(event: Event) -> list[tuple[str, object]]:
    """The options that equal a constant where an event happens: `config.scheduler.name` is "step"."""
    nodes = [step.node for step in event.path]
    found = []
    for node in nodes:
        if isinstance(node, cst.If) and not any(each is (node.orelse or node.test) for each in nodes):
            asked = _equality(node.test)
            if asked is not None:
                found.append(asked)
    return found


def _equality(test: cst.BaseExpression) -> tuple[str, object] | None:
    """The option (an attribute's name, that of an own attribute without `self`) and the constant that it is compared to."""
    if not isinstance(test, cst.Comparison) or len(test.comparisons) != 1:
        return None
    target = test.comparisons[0]
    if not isinstance(target.operator, cst.Equal) or not isinstance(target.comparator, (cst.SimpleString, cst.Integer)):
        return None
    at, value = test.left, target.comparator.evaluated_value
    while isinstance(at, cst.Call) and isinstance(at.func, cst.Attribute) and at.func.attr.value in _SPELLINGS and not at.args:
        at = at.func.value
    parts: list[str] = []
    while isinstance(at, cst.Attribute):
        parts.append(at.attr.value)
        at = at.value
    if not isinstance(at, cst.Name) or not parts:
        return None
    if at.value != "self":
        parts.append(at.value)
    if len(parts) < 2:
        return None  # an object's own state, which may change between two questions
    return ".".join(reversed(parts)), value.lower() if isinstance(value, str) else value


__all__ = ["equalities", "rules_out"]
