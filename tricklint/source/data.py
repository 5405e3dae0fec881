"""Configuration files as data: YAML, JSON and TOML become scalars, lists and dicts that keep their place in the file.

Nothing in them is executed: YAML's tags build nothing, aliases and nesting are bounded, and a file that is too large or
cannot be read is no data at all.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import yaml

MAX_BYTES = 1_000_000
MAX_VALUES = 20_000  # with everything that an alias repeats
MAX_DEPTH = 40


@dataclass(frozen=True, slots=True)
class Datum:
    """A value of a configuration file: a scalar, a list of Datum or a dict of them. Rows and columns start at 1."""

    value: Any
    row: int = 1
    column: int = 1
    plain: str = ""  # how YAML wrote a scalar without quotes


class DataError(Exception):
    """The bytes are no such data, or more than is read."""


def parse_data(suffix: str, data: bytes) -> Datum:
    """What a file of this suffix (`.yaml`, `.yml`, `.json`, `.toml`) holds. Raises DataError."""
    if len(data) > MAX_BYTES:
        raise DataError("too large")
    try:
        text = data.decode("utf-8-sig")
        reader = {".yaml": _yaml, ".yml": _yaml, ".json": _json, ".toml": _toml}[suffix.lower()]
        return reader(text)
    except DataError:
        raise
    except (KeyError, ValueError, RecursionError) as error:
        raise DataError(str(error)) from None


SUFFIXES = (".yaml", ".yml", ".json", ".toml")


class _Count:
    def __init__(self) -> None:
        self.left = MAX_VALUES

    def one(self, depth: int) -> None:
        self.left -= 1
        if self.left < 0 or depth > MAX_DEPTH:
            raise DataError("more values than are read")


# -- YAML --------------------------------------------------------------------------------------------------------------


def _yaml(text: str) -> Datum:
    import yaml

    base = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
    loader = base(text)
    try:
        node = loader.get_single_node()
        if node is None:
            return Datum(None)
        return _of_node(node, loader, _Count(), 0)
    except yaml.YAMLError as error:
        raise DataError(str(error).splitlines()[0]) from None
    finally:
        loader.dispose()


def _of_node(node: yaml.Node, loader: Any, count: _Count, depth: int) -> Datum:
    import yaml

    count.one(depth)
    row, column = node.start_mark.line + 1, node.start_mark.column + 1
    if isinstance(node, yaml.ScalarNode):
        return Datum(_scalar(node, loader), row, column, "" if node.style else node.value)
    if isinstance(node, yaml.SequenceNode):
        return Datum([_of_node(each, loader, count, depth + 1) for each in node.value], row, column)
    found: dict[Any, Datum] = {}
    merged: dict[Any, Datum] = {}
    for key, value in node.value:
        if key.tag == "tag:yaml.org,2002:merge":  # `<<: *defaults`
            below = _of_node(value, loader, count, depth + 1)
            for each in below.value if isinstance(below.value, list) else [below]:
                if isinstance(each.value, dict):
                    merged = {**each.value, **merged}
            continue
        if isinstance(key, yaml.ScalarNode):
            name = _scalar(key, loader)
            inner = _of_node(value, loader, count, depth + 1)
            found[name] = inner
    return Datum({**merged, **found}, row, column)


def _scalar(node: yaml.ScalarNode, loader: Any) -> Any:
    import yaml

    try:
        made = loader.construct_object(node)
    except (yaml.YAMLError, ValueError):  # a tag that would build something
        return node.value
    return made if isinstance(made, (str, int, float, bool, type(None))) else node.value


# -- JSON --------------------------------------------------------------------------------------------------------------


def _json(text: str) -> Datum:
    from json import decoder, scanner

    starts = [0, *(at.end() for at in re.finditer("\n", text))]
    count = _Count()

    class Reader(json.JSONDecoder):
        """The standard library's own, which tells what it reads where."""

        depth = 0

        def __init__(self) -> None:
            super().__init__()
            self.parse_object = self._object
            self.parse_array = self._array
            self.scan = scanner.py_make_scanner(self)  # type: ignore[attr-defined]
            self.scan_once = self.placed

        def placed(self, string: str, at: int) -> tuple[Datum, int]:
            count.one(self.depth)
            value, end = self.scan(string, at)
            row = _row_of(starts, at)
            return Datum(value, row, at - starts[row - 1] + 1), end

        def _object(self, state: Any, strict: bool, *rest: Any) -> Any:
            self.depth += 1
            made = decoder.JSONObject(state, strict, self.placed, None, None, {})  # type: ignore[attr-defined]
            self.depth -= 1
            return made

        def _array(self, state: Any, *rest: Any) -> Any:
            self.depth += 1
            made = decoder.JSONArray(state, self.placed)  # type: ignore[attr-defined]
            self.depth -= 1
            return made

    found: Datum = Reader().decode(text)
    return found


def _row_of(starts: list[int], at: int) -> int:
    from bisect import bisect_right

    return bisect_right(starts, at)


# -- TOML --------------------------------------------------------------------------------------------------------------

_HEADER = re.compile(r"^\s*\[\[?\s*([^\[\]]+?)\s*\]\]?\s*(?:#.*)?$")
_KEY = re.compile(r"^\s*([\w.\"'-]+(?:\s*\.\s*[\w\"'-]+)*)\s*=\s*")


def _toml(text: str) -> Datum:
    import sys

    if sys.version_info >= (3, 11):
        import tomllib
    else:
        import tomli as tomllib
    places = dict(_toml_places(text))
    count = _Count()

    def placed(value: Any, path: tuple[str, ...], depth: int) -> Datum:
        count.one(depth)
        row, column = places.get(path, (1, 1))
        if isinstance(value, dict):
            return Datum({key: placed(each, (*path, key), depth + 1) for key, each in value.items()}, row, column)
        if isinstance(value, list):
            return Datum([placed(each, path, depth + 1) for each in value], row, column)
        return Datum(value if isinstance(value, (str, int, float, bool)) else str(value), row, column)

    return placed(tomllib.loads(text), (), 0)


def _toml_places(text: str) -> Iterator[tuple[tuple[str, ...], tuple[int, int]]]:
    """Where the keys of tables stand: the parser of the standard library does not say."""
    table: tuple[str, ...] = ()
    for row, line in enumerate(text.split("\n"), 1):
        header = _HEADER.match(line)
        if header:
            table = tuple(part.strip(" \"'") for part in header[1].split("."))
            yield table, (row, 1)
        elif key := _KEY.match(line):
            yield (*table, *(part.strip(" \"'") for part in key[1].split("."))), (row, key.end() + 1)


Reader = Callable[[Path], "bytes | None"]


def from_disk(path: Path) -> bytes | None:
    """A file's bytes; None where it cannot be read."""
    from tricklint.source.text import SourceError, read_bytes

    try:
        return read_bytes(path)[0]
    except SourceError:
        return None


__all__ = ["MAX_BYTES", "SUFFIXES", "DataError", "Datum", "Reader", "from_disk", "parse_data"]
