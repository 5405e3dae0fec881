"""`configparser`: what an INI file of the project says, section by section."""

from __future__ import annotations

import configparser
import re
from collections.abc import Iterator
from dataclasses import dataclass, field

import libcst as cst

from tricklint.interpreter.behaviour import Behaviour, behaves, function
from tricklint.interpreter.callargs import CallArgs
from tricklint.interpreter.machine import Machine
from tricklint.interpreter.objects import plain
from tricklint.interpreter.values import UNKNOWN, Const, Instance, Place, Ref, Sequence, Value, first
from tricklint.libraries.paths import path_text, places

_SECTION = re.compile(r"\[(?P<name>[^\]]+)\]")
_OPTION = re.compile(r"(?P<name>[^=:\s][^=:]*?)\s*[=:]\s*")
_TRUE = frozenset(("1", "yes", "true", "on"))
_FALSE = frozenset(("0", "no", "false", "off"))


@dataclass(slots=True, eq=False)
class IniFacts:
    """The options of each section, as text."""

    sections: dict[str, dict[str, Const]] = field(default_factory=dict)


@function("configparser.ConfigParser", "configparser.RawConfigParser", "configparser.SafeConfigParser")
def ini_parser(m: Machine, name: str, args: CallArgs, node: cst.CSTNode) -> Value:
    made = plain(m, name, args, node)
    made.kind = "ini parser"
    return made


def _read(m: Machine, parser: Instance, given: Value | None) -> None:
    at = first(given)
    for one in at.items if isinstance(at, Sequence) else (at,):
        text = path_text(one)
        found = [(place, raw) for place in places(m, text) if (raw := m.project.text(place))] if text else []
        if len(found) != 1:
            continue
        place, raw = found[0]
        parsed = configparser.RawConfigParser()
        content = raw.decode("utf-8", "replace")
        try:
            parsed.read_string(content)
        except configparser.Error:
            continue
        where = {key: Place(place, row, column) for key, row, column in _positions(content)}
        known = parser.fact(IniFacts).sections
        for section in (*parsed.sections(), parsed.default_section):
            for option, value in parsed.items(section):
                spot = where.get((section, option)) or where.get((parsed.default_section, option))
                known.setdefault(section, {})[option] = Const(value, True, spot)


def _positions(content: str) -> Iterator[tuple[tuple[str, str], int, int]]:
    """Each option's section and name, with the row and column at which its value begins."""
    section = ""
    for row, line in enumerate(content.splitlines(), 1):
        if match := _SECTION.match(line.strip()):
            section = match["name"]
        elif match := _OPTION.match(line):
            yield (section, match["name"].lower()), row, match.end() + 1


def _option(held: dict[str, Const], option: Value | None, fallback: Value | None, how: str) -> Value:
    """What an option says, as `get`, `getint`, `getfloat` or `getboolean` gives it."""
    at = first(option)
    found = held.get(at.value.lower()) if isinstance(at, Const) and isinstance(at.value, str) else None
    if found is None:
        told = first(fallback)
        return Const(told.value, True) if isinstance(told, Const) and told.value is not None else UNKNOWN
    text: str = found.value or ""
    if "%(" in text or "${" in text:  # refers to others
        return UNKNOWN
    try:
        if how == "getint":
            return Const(int(text), True, found.place)
        if how == "getfloat":
            return Const(float(text), True, found.place)
    except ValueError:
        return UNKNOWN
    if how == "getboolean":
        word = text.lower()
        return Const(word in _TRUE, True, found.place) if word in _TRUE | _FALSE else UNKNOWN
    return found


@behaves("ini parser")
class IniParser(Behaviour):
    def method(self, m: Machine, value: Instance, name: str, args: CallArgs, node: cst.CSTNode) -> Value | None:
        if name in ("read", "read_file", "readfp"):
            _read(m, value, args.positional[0] if args.positional else args.kwargs.get("filenames"))
        elif name in ("get", "getint", "getfloat", "getboolean"):
            section = first(args.get(0, "section"))
            held = value.fact(IniFacts).sections.get(section.value) if isinstance(section, Const) else None
            return _option(held or {}, args.get(1, "option"), args.kwargs.get("fallback"), name)
        return UNKNOWN

    def item(self, m: Machine, value: Instance, index: Value, node: cst.CSTNode) -> Value | None:
        at = first(index)
        held = value.fact(IniFacts).sections.get(at.value) if isinstance(at, Const) else None
        made = Instance(Ref("configparser.SectionProxy"), node, m.file)
        made.kind = "ini section"
        made.fact(IniFacts).sections[""] = held or {}
        return made


@behaves("ini section")
class IniSection(Behaviour):
    def method(self, m: Machine, value: Instance, name: str, args: CallArgs, node: cst.CSTNode) -> Value | None:
        if name not in ("get", "getint", "getfloat", "getboolean"):
            return UNKNOWN
        return _option(value.fact(IniFacts).sections.get("", {}), args.get(0, "option"), args.get(1, "fallback"), name)

    def item(self, m: Machine, value: Instance, index: Value, node: cst.CSTNode) -> Value | None:
        return _option(value.fact(IniFacts).sections.get("", {}), index, None, "get")
