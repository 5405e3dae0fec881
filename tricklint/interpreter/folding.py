"""Constants worked out while a program is followed: only as long as they stay small, and cheap to work out."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

from tricklint.interpreter.values import UNKNOWN, Value, derived

MAX_BITS = 4_096
MAX_TEXT = 10_000  # characters, bytes or items
_WIDTH = re.compile(r"\d{4}|\*")


def folded(work: Callable[[], Any], *sources: Value | None) -> Value:
    """The constant that `work` makes of `sources`; UNKNOWN where it fails or gives something large."""
    try:
        result = work()
        return derived(result, *sources) if _small(result) else UNKNOWN
    except Exception:
        return UNKNOWN


def _small(value: object) -> bool:
    if isinstance(value, int):
        return value.bit_length() <= MAX_BITS
    return not isinstance(value, (str, bytes, tuple, list)) or len(value) <= MAX_TEXT


def affordable(op: str, left: object, right: object) -> bool:
    """Whether an operation on two constants cannot give something large: asked before, for it would take as long."""
    if isinstance(left, int) and isinstance(right, int):
        if op == "Power":
            return abs(right) < 64 and left.bit_length() * abs(right) <= MAX_BITS
        if op == "LeftShift":
            return right >= 0 and left.bit_length() + right <= MAX_BITS
        return True  # grows by a few bits at most, and `folded` looks at those
    if op == "Power":
        return isinstance(left, (int, float, complex)) and isinstance(right, (int, float, complex))
    if op == "Multiply":
        text, times = (left, right) if isinstance(right, int) else (right, left)
        if isinstance(text, (str, bytes, tuple)) and isinstance(times, int):
            return len(text) * times <= MAX_TEXT
    if op == "Modulo" and isinstance(left, (str, bytes)):
        return not _WIDTH.search(left if isinstance(left, str) else left.decode("latin-1"))
    return True


def modest(method: str, text: str, given: list[Any]) -> bool:
    """Whether a method of a text cannot give something large, as `format` and `replace` may."""
    if method not in ("format", "replace"):
        return True
    if method == "format":
        return not _WIDTH.search(text) and not any(isinstance(each, str) and _WIDTH.search(each) for each in given)
    put = len(given[1]) if len(given) > 1 and isinstance(given[1], str) else 0
    return (len(text) + 1) * (put + 1) <= 100 * MAX_TEXT
