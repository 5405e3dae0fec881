"""Configuration files: which one counts, what stands in it, and where it is wrong."""

from __future__ import annotations

import re
import sys
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tricklint.settings.kinds import Wrong, show
from tricklint.settings.schema import SCHEMA

CONFIG_FILES = ("tricklint.toml", "pyproject.toml")  # of two in one folder the first counts


class SettingsError(Exception):
    """The configuration is wrong; the message is one line that says what and where."""


@dataclass(frozen=True)
class Layer:
    """One source of settings: a file, `--config`, or the command line."""

    values: dict[str, Any]
    base: Path  # relative paths of this layer start here
    origin: str
    path: Path | None = None  # the file it was read from
    text: str = field(default="", repr=False)


def loads(text: str) -> dict[str, Any]:
    if sys.version_info >= (3, 11):
        import tomllib
    else:
        import tomli as tomllib
    table: dict[str, Any] = tomllib.loads(text)
    return table


def check(table: dict[str, Any], base: Path, origin: str, text: str = "", path: Path | None = None) -> Layer:
    """A checked layer. Raises SettingsError for an unknown key and a value of the wrong kind."""
    try:
        return Layer(SCHEMA.convert(table, ""), base, origin, path, text)
    except Wrong as wrong:
        row = row_of(text, wrong.key)
        place = f"{origin}:{row}" if row else origin
        raise SettingsError(f"{place}: {wrong.key}: {wrong.message}") from None
    except RecursionError:
        raise SettingsError(f"{origin}: is nested too deeply") from None


def row_of(text: str, key: str) -> int | None:
    """The row where the last part of a dotted key is set, when only one row can be meant."""
    pattern = re.compile(rf"""^\s*["']?{re.escape(key.rpartition(".")[2])}["']?\s*=""")
    rows = [row for row, line in enumerate(text.splitlines(), 1) if pattern.match(line)]
    return rows[0] if len(rows) == 1 else None


def relative(path: Path) -> str:
    try:
        return str(path.relative_to(Path.cwd()))
    except ValueError:
        return str(path)


def _table(path: Path) -> tuple[dict[str, Any] | None, str]:
    """What a file configures, and its text: [tool.tricklint] of a pyproject.toml (None when it has none), else all."""
    try:
        text = path.read_text(encoding="utf-8-sig")
        table = loads(text)
        ours = table.get("tool", {}).get("tricklint")
        if path.name == "pyproject.toml":
            table = ours
        elif ours is not None:
            raise ValueError("[tool.tricklint] is for a pyproject.toml; here its keys stand without it")
    except (OSError, ValueError, AttributeError, RecursionError) as error:  # TOMLDecodeError is a ValueError
        raise SettingsError(f"{relative(path)}: cannot be read: {error}") from None
    if table is not None and not isinstance(table, dict):
        raise SettingsError(f"{relative(path)}: [tool.tricklint]: expected a table, got {show(table)}")
    return table, text


def find_config(start: Path) -> Path | None:
    """The nearest file at or above `start` that configures tricklint. Raises SettingsError."""
    return next((path for folder in (start, *start.parents) if (path := config_of(folder))), None)


def config_of(folder: Path) -> Path | None:
    """The file in this very folder that configures tricklint."""
    for name in CONFIG_FILES:
        path = folder / name
        if path.is_file() and _table(path)[0] is not None:
            return path
    return None


def read_layers(path: Path) -> list[Layer]:
    """The layers of a file and of those that it extends, the farthest first. Raises SettingsError."""
    layers: list[Layer] = []
    seen: list[Path] = []
    current: Path | None = path
    while current is not None:
        table, text = _table(current)
        shown = relative(current)
        if current.name == "pyproject.toml":
            shown += ": [tool.tricklint]"
        if table is None:
            raise SettingsError(f"{relative(current)}: has no [tool.tricklint]")
        layer = check(table, current.parent, shown, text, current)
        layers.insert(0, layer)
        seen.append(current)
        current = _extended(layer, seen)
    return layers


def placed(layer: Layer, key: str, text: str) -> Path:
    """Where a path in a layer leads. Raises SettingsError for the home of a user who does not exist."""
    try:
        return layer.base / Path(text).expanduser()
    except RuntimeError as error:
        raise SettingsError(f"{layer.origin}: {key}: {text}: {error}") from None


def _extended(layer: Layer, seen: Iterable[Path]) -> Path | None:
    given = layer.values.get("extend")
    if given is None:
        return None
    path = placed(layer, "extend", given).resolve()
    if not path.is_file():
        raise SettingsError(f"{layer.origin}: extend: {relative(path)} is no file")
    if path in [one.resolve() for one in seen]:
        raise SettingsError(f"{layer.origin}: extend: {relative(path)} extends itself")
    return path


def parse_pair(pair: str) -> dict[str, Any]:
    """`verify.seeds=4` → {"verify": {"seeds": 4}}; a value that is no TOML is taken as a bare string."""
    key, equals, value = pair.partition("=")
    if not equals or not key.strip():
        raise SettingsError(f"--config {pair}: expected KEY=VALUE, or a file that exists")
    try:
        parsed = loads(f"value = {value}")["value"]
    except (ValueError, RecursionError):
        parsed = value.strip()
    for part in reversed(key.strip().split(".")):
        parsed = {part: parsed}
    table: dict[str, Any] = parsed
    return table
