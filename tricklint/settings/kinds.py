"""The kinds of values that configuration keys take: each checks and converts one, and knows its JSON schema."""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, TypeVar

from tricklint.finding import FixLevel, Severity


class Wrong(Exception):
    """A value that a key does not take; the reader of the file adds where it stands."""

    def __init__(self, key: str, message: str) -> None:
        super().__init__(message)
        self.key = key
        self.message = message


_MOST = 10**12
Convert = Callable[[Any, str], Any]
_E = TypeVar("_E", Severity, FixLevel)


@dataclass(frozen=True)
class Kind:
    """`convert(value, dotted key)` gives the value that `Settings` holds, or raises `Wrong`. `json`: its JSON schema."""

    convert: Convert
    json: Mapping[str, Any] = field(default_factory=dict)


def nearest(word: str, words: Iterable[str]) -> str:
    """ " (did you mean 'x'?)" for the word that is closest, "" when none is close."""
    import difflib

    found = difflib.get_close_matches(word, list(words), n=1, cutoff=0.5)
    return f" (did you mean '{found[0]}'?)" if found else ""


def show(value: Any) -> str:
    try:
        text = repr(value)
    except (ValueError, RecursionError):  # a whole number of thousands of digits, lists in lists in lists
        return f"a {type(value).__name__} too large to show"
    return text if len(text) <= 40 else text[:37] + "…"


def _is(kind: type, expected: str, json_type: str) -> Kind:
    def convert(value: Any, key: str) -> Any:
        # TOML's booleans are Python ints too: `seeds = true` is a mistake.
        if not isinstance(value, kind) or (isinstance(value, bool) and kind is not bool):
            raise Wrong(key, f"expected {expected}, got {show(value)}")
        if isinstance(value, str):
            _no_null(value, key)
        return value

    return Kind(convert, {"type": json_type})


def _no_null(value: str, key: str) -> None:
    if "\0" in value:
        raise Wrong(key, f"holds a null character: {show(value)}")


STRING = _is(str, "a string", "string")
BOOLEAN = _is(bool, "true or false", "boolean")
TABLE = _is(dict, "a table", "object")
_LIST = _is(list, "a list", "array")
LIST = Kind(lambda value, key: tuple(_LIST.convert(value, key)), _LIST.json)


def at_least(lowest: int) -> Kind:
    def convert(value: Any, key: str) -> int:
        if isinstance(value, bool) or not isinstance(value, int) or not lowest <= value <= _MOST:
            raise Wrong(key, f"expected a whole number ≥ {lowest}, got {show(value)}")
        return value

    return Kind(convert, {"type": "integer", "minimum": lowest})


def _number(value: Any, key: str) -> float:
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        raise Wrong(key, f"expected a number, got {show(value)}")
    return _finite(value, key)


def _finite(value: Any, key: str) -> float:
    try:
        number = float(value)
    except OverflowError:
        number = math.inf
    if not math.isfinite(number):
        raise Wrong(key, f"expected a number that is finite, got {show(value)}")
    return number


NUMBER = Kind(_number, {"type": "number"})


def one_of(*words: str) -> Kind:
    def convert(value: Any, key: str) -> str:
        if not isinstance(value, str) or value not in words:
            hint = nearest(value, words) if isinstance(value, str) else ""
            raise Wrong(key, f"expected one of {', '.join(words)}, got {show(value)}{hint}")
        return value

    return Kind(convert, {"type": "string", "enum": list(words)})


def enum(kind: type[_E]) -> Kind:
    word = one_of(*(member.value for member in kind))
    return Kind(lambda value, key: kind(word.convert(value, key)), word.json)


def _strings(value: Any, key: str) -> tuple[str, ...]:
    if not isinstance(value, list) or not all(isinstance(item, str) for item in value):
        raise Wrong(key, f"expected a list of strings, got {show(value)}")
    for item in value:
        _no_null(item, key)
    return tuple(value)


STRINGS = Kind(_strings, {"type": "array", "items": {"type": "string"}})


def _numbers(value: Any, key: str) -> tuple[float, ...]:
    if not isinstance(value, list) or not value:
        raise Wrong(key, f"expected a list of numbers, got {show(value)}")
    return tuple(_number(item, key) for item in value)


NUMBERS = Kind(_numbers, {"type": "array", "items": {"type": "number"}, "minItems": 1})


def _probability(value: Any, key: str) -> float:
    number = _number(value, key)
    if not 0 < number < 1:
        raise Wrong(key, f"expected a probability between 0 and 1, got {show(value)}")
    return number


PROBABILITY = Kind(_probability, {"type": "number", "exclusiveMinimum": 0, "exclusiveMaximum": 1})

_SIZE = r"(\d+(?:\.\d+)?)\s*([KMGT]i?B)"
_DURATION = r"(\d+(?:\.\d+)?)\s*([smh]?)"


def _bytes(value: Any, key: str) -> int:
    """24 GB → bytes (GB and GiB both mean 2**30, as card makers do)."""
    match = re.fullmatch(_SIZE, value) if isinstance(value, str) else None
    if not match:
        raise Wrong(key, f'expected a size like "24GB", got {show(value)}')
    return int(_finite(match[1], key) * 1024 ** (1 + "KMGT".index(match[2][0])))


BYTES = Kind(_bytes, {"type": "string", "pattern": f"^{_SIZE}$"})


def _seconds(value: Any, key: str) -> float:
    match = re.fullmatch(_DURATION, value) if isinstance(value, str) else None
    if isinstance(value, (int, float)) and not isinstance(value, bool):
        return _finite(value, key)
    if not match:
        raise Wrong(key, f'expected a duration like "10m", got {show(value)}')
    return _finite(match[1], key) * {"": 1, "s": 1, "m": 60, "h": 3600}[match[2]]


SECONDS = Kind(_seconds, {"anyOf": [{"type": "number"}, {"type": "string", "pattern": f"^{_DURATION}$"}]})


def _command(value: Any, key: str) -> tuple[str, ...]:
    import shlex

    if isinstance(value, str):
        _no_null(value, key)
        try:
            return tuple(shlex.split(value))
        except ValueError as error:
            raise Wrong(key, f"expected a command line, got {show(value)}: {error}") from None
    return _strings(value, key)


COMMAND = Kind(_command, {"anyOf": [{"type": "string"}, STRINGS.json]})


def _dataset_size(value: Any, key: str) -> str | int:
    if isinstance(value, int) and not isinstance(value, bool) and value > 0:
        return value
    if value in ("small", "large"):
        return str(value)
    raise Wrong(key, f'expected "small", "large" or the number of samples, got {show(value)}')


DATASET_SIZE = Kind(
    _dataset_size,
    {"anyOf": [{"type": "string", "enum": ["small", "large"]}, {"type": "integer", "minimum": 1}]},
)


def _per_file(value: Any, key: str) -> tuple[tuple[str, tuple[str, ...]], ...]:
    if not isinstance(value, dict):
        raise Wrong(key, f"expected a table from file pattern to a list of rules, got {show(value)}")
    return tuple((pattern, _strings(rules, f"{key}.{pattern}")) for pattern, rules in value.items())


PER_FILE = Kind(_per_file, {"type": "object", "additionalProperties": STRINGS.json})


def _input(value: Any, key: str) -> str | tuple[tuple[int, ...], ...]:
    if isinstance(value, str):
        return value
    shapes = value if isinstance(value, list) else []
    good = [s for s in shapes if isinstance(s, list) and all(isinstance(n, int) and 0 < n <= _MOST for n in s)]
    if not shapes or len(good) != len(shapes):
        raise Wrong(
            key, f'expected a list of shapes [[1, 3, 224, 224]] or "package.module:callable", got {show(value)}'
        )
    return tuple(tuple(shape) for shape in shapes)


_SHAPE = {"type": "array", "items": {"type": "integer", "minimum": 1}}
INPUT = Kind(_input, {"anyOf": [{"type": "string"}, {"type": "array", "items": _SHAPE, "minItems": 1}]})

_TARGET = r"[\w./\\-]+:[\w.]+"


def _target(value: Any, key: str) -> str:
    if not isinstance(value, str) or not re.fullmatch(_TARGET, value):
        raise Wrong(key, f'expected "package.module:callable", got {show(value)}')
    return value


# JSON schema's patterns know no Unicode \w everywhere: it only asks for the colon.
TARGET = Kind(_target, {"type": "string", "pattern": "^.+:.+$"})
