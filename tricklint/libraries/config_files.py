"""Configuration files that a program reads: YAML, JSON and TOML, from a path that the code or a default tells."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import libcst as cst

from tricklint.interpreter.behaviour import Behaviour, behaves, function
from tricklint.interpreter.callargs import CallArgs
from tricklint.interpreter.machine import Machine
from tricklint.interpreter.objects import plain
from tricklint.interpreter.values import (
    UNKNOWN,
    Const,
    Dict,
    Instance,
    Namespace,
    Place,
    Sequence,
    Unknown,
    Value,
    first,
)
from tricklint.libraries.paths import data_at
from tricklint.source.data import DataError, parse_data

if TYPE_CHECKING:
    from tricklint.source.data import Datum


class ToBeGiven(Unknown):
    """`???` in a configuration: whoever runs the program has to give it."""

    __slots__ = ()


TO_BE_GIVEN = ToBeGiven()


def value_of(m: Machine, datum: Datum, path: Path | None, node: cst.CSTNode | None, attributes: bool = False) -> Value:
    """Data as values of the program. `attributes`: as OmegaConf reads it, with attributes for keys and `1e-4` a number."""
    held = datum.value
    if isinstance(held, dict):
        made: Dict | Namespace = Namespace(node, m.file) if attributes else Dict(node, m.file)
        made.fields.update({key: value_of(m, each, path, node, attributes) for key, each in held.items()})
        return made
    if isinstance(held, list):
        items = tuple(value_of(m, each, path, node, attributes) for each in held)
        return Sequence("list", items, False, node, m.file)
    if attributes and isinstance(held, str):
        if held == "???":
            return TO_BE_GIVEN
        held = _number(datum.plain, held)
    return Const(held, True, Place(path, datum.row, datum.column) if path is not None else None)


def _number(plain: str, held: str) -> str | float:
    """`1e-4` without quotes: YAML 1.1 takes it for text, OmegaConf and others for a number."""
    if plain[:1] in "0123456789.+-" and "e" in plain.lower():
        try:
            return float(plain)
        except ValueError:
            return held
    return held


_OF_FILES = {"json": ".json", "toml": ".toml", "tomllib": ".toml", "tomli": ".toml", "yaml": ".yaml", "ruamel": ".yaml"}


def parsed(m: Machine, name: str, given: Value | None, node: cst.CSTNode) -> Value:
    """What a reader of data gives for an open file, a path or a text that is known."""
    at = first(given)
    if isinstance(at, Const) and isinstance(at.value, str) and not name.startswith("toml.load") and _is_text(name):
        try:
            return value_of(m, parse_data(_OF_FILES[name.partition(".")[0]], at.value.encode()), None, node)
        except DataError:
            return UNKNOWN
    found = data_at(m, given)
    return value_of(m, found[1], found[0], node) if found is not None else UNKNOWN


def _is_text(name: str) -> bool:
    """Readers that take text itself where others take a path."""
    return name.endswith("loads") or name.startswith("yaml.")


@function(
    "json.load", "json.loads", "toml.load", "toml.loads", "tomllib.load", "tomllib.loads", "tomli.load", "tomli.loads",
    "yaml.load", "yaml.safe_load", "yaml.full_load", "yaml.unsafe_load", "ruamel.yaml.safe_load", "ruamel.yaml.load",
)  # fmt: skip
def reads_data(m: Machine, name: str, args: CallArgs, node: cst.CSTNode) -> Value:
    return parsed(m, name, args.positional[0] if args.positional else args.kwargs.get("stream"), node)


@function("ruamel.yaml.YAML")
def ruamel(m: Machine, name: str, args: CallArgs, node: cst.CSTNode) -> Value:
    made = plain(m, name, args, node)
    made.kind = "yaml reader"
    return made


@behaves("yaml reader")
class YamlReader(Behaviour):
    def method(self, m: Machine, value: Instance, name: str, args: CallArgs, node: cst.CSTNode) -> Value | None:
        return parsed(m, "ruamel.yaml.load", args.get(0, "stream"), node) if name == "load" else UNKNOWN


__all__ = ["parsed", "value_of"]
