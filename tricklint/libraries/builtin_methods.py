"""Methods of lists, dicts and strings."""

from __future__ import annotations

from typing import cast

import libcst as cst

from tricklint.interpreter import behaviour
from tricklint.interpreter.behaviour import Behaviour, behaves
from tricklint.interpreter.binding import extend, put_in
from tricklint.interpreter.callargs import CallArgs
from tricklint.interpreter.folding import MAX_TEXT, folded, modest
from tricklint.interpreter.items import bounds_of
from tricklint.interpreter.machine import Machine
from tricklint.interpreter.narrowing import narrowed_here
from tricklint.interpreter.values import (
    NONE,
    UNKNOWN,
    Const,
    Dict,
    Prefixed,
    Sequence,
    Value,
    first,
    fit_for,
    join,
    members,
    part_of_text,
)


def _tell_of(m: Machine, into: Sequence, name: str, added: Value, node: cst.CSTNode) -> None:
    """What is added to a list, or the first that it holds, may be worth an event."""
    for member in members(added):
        parts = member.items if isinstance(member, Sequence) else member.fields.values() if isinstance(member, Dict) else ()
        held = [inner for item in parts for inner in members(item)]
        for each in (member, *held):
            if behaviour.of(each).added(m, each, into, name, into, added, node):
                return


def sequence_method(m: Machine, value: Sequence, name: str, args: CallArgs, node: cst.CSTNode) -> Value:
    if name in ("append", "add", "insert", "appendleft"):
        added = args.positional[-1] if args.positional else UNKNOWN
        _tell_of(m, value, name, added, node)
        added = narrowed_here(m, added)
        added = behaviour.of(added).starred(m, added) or added
        put_in(m, value, added)
        if m.loops:
            known_loop = m.loops[-1].over
            if not (isinstance(known_loop, Sequence) and not known_loop.open):
                m.write(value.fields, "open", True)
        return NONE
    if name in ("extend", "update", "__iadd__"):
        if args.positional:
            if name == "extend":
                _tell_of(m, value, name, args.positional[0], node)
            extend(m, value, args.positional[0])
        return NONE
    if name in ("copy",):
        return Sequence(value.kind, value.items, value.open, node, m.file)
    if name == "pop":
        return join(*value.items) if value.items else UNKNOWN
    if name in ("remove", "clear", "sort", "reverse"):
        m.write(value.fields, "open", True)
        return NONE
    return UNKNOWN


def dict_method(m: Machine, value: Dict, name: str, args: CallArgs, node: cst.CSTNode) -> Value:
    if name == "get":
        at = first(args.get(0, "key"))
        if isinstance(at, Const) and isinstance(at.value, (str, int)):
            found = value.fields.get(at.value)
            if found is not None:
                return cast(Value, found)
            given = args.get(1, "default")
            if not value.open:
                return given or NONE
            if not value.fields and isinstance(given, Const) and given.value is not None:
                return Const(given.value, True)  # `kwargs.get("lr", 1e-3)`: what the code takes where nobody says otherwise
        return UNKNOWN if not value.fields else join(*value.fields.values())
    if name == "items":
        pairs = tuple(
            Sequence("tuple", (UNKNOWN if str(k).startswith("<dynamic") else Const(k), v), False, node, m.file)
            for k, v in value.fields.items()
        )
        return Sequence("list", pairs, value.open, node, m.file)
    if name == "values":
        return Sequence("list", tuple(value.fields.values()), value.open, node, m.file)
    if name == "keys":
        return Sequence("list", tuple(Const(k) for k in value.fields), value.open, node, m.file)
    if name == "update":
        for item in args.positional:
            inner = first(item)
            if isinstance(inner, Dict):
                for key, v in list(inner.fields.items()):
                    m.write(value.fields, key, fit_for(value, v))
            else:
                value.open = True
        for key, v in args.kwargs.items():
            m.write(value.fields, key, fit_for(value, v))
        return NONE
    if name == "setdefault" and args.positional:
        at = first(args.positional[0])
        if isinstance(at, Const) and isinstance(at.value, str):
            if at.value not in value.fields:
                m.write(value.fields, at.value, fit_for(value, args.positional[1]) if len(args.positional) > 1 else NONE)
            return cast(Value, value.fields[at.value])
    if name == "pop" and args.positional:
        at = first(args.positional[0])
        if isinstance(at, Const) and isinstance(at.value, (str, int)):
            return cast(Value, value.fields.get(at.value, args.positional[1] if len(args.positional) > 1 else UNKNOWN))
    if name == "copy":
        made = Dict(node, m.file, value.open)
        made.fields.update(value.fields)
        return made
    return UNKNOWN


_TEXT = frozenset((
    "lower", "upper", "strip", "lstrip", "rstrip", "startswith", "endswith", "replace", "split", "rsplit", "partition",
    "rpartition", "removeprefix", "removesuffix", "format", "join", "title", "capitalize", "find", "rfind", "index",
    "rindex", "count", "splitlines", "isdigit", "isnumeric",
))  # fmt: skip


def const_method(m: Machine, value: Const, name: str, args: CallArgs, node: cst.CSTNode) -> Value:
    if not isinstance(value.value, str):
        return UNKNOWN
    given = [first(a) for a in args.positional]
    if name in _TEXT:
        try:
            if name == "join" and given and isinstance(given[0], Sequence):
                items = [first(i) for i in given[0].items]
                if all(isinstance(i, Const) for i in items) and not given[0].open:
                    parts = [str(i.value) for i in items if isinstance(i, Const)]
                    if (len(value.value) + 1) * len(parts) + sum(map(len, parts)) > MAX_TEXT:
                        return UNKNOWN
                    return folded(lambda: value.value.join(parts), value, *items)
                return UNKNOWN
            if all(isinstance(a, Const) for a in given) and not args.kwargs:
                if not modest(name, value.value, [a.value for a in given if isinstance(a, Const)]):
                    return UNKNOWN
                result = getattr(value.value, name)(*(a.value for a in given))  # type: ignore[union-attr]
                if isinstance(result, (list, tuple)):
                    return pieces(m, value, result, node)
                return folded(lambda: result, value, *given)
        except Exception:
            return UNKNOWN
        if name == "format" and isinstance(value.value, str):
            return Prefixed(value.value.partition("{")[0])
    return UNKNOWN


@behaves(Sequence)
class SequenceBehaviour(Behaviour):
    def method(self, m: Machine, value: Sequence, name: str, args: CallArgs, node: cst.CSTNode) -> Value | None:
        return sequence_method(m, value, name, args, node)


@behaves(Dict)
class DictBehaviour(Behaviour):
    def method(self, m: Machine, value: Dict, name: str, args: CallArgs, node: cst.CSTNode) -> Value | None:
        return dict_method(m, value, name, args, node)


def pieces(m: Machine, whole: Const, parts: list[str] | tuple[str, ...], node: cst.CSTNode) -> Sequence:
    """What `split`, `partition` and the like make of a text, in the order in which it stands there."""
    items: list[Value] = []
    at = 0
    for part in parts:
        start = max(whole.value.find(part, at), 0)
        at = start + len(part)
        items.append(part_of_text(whole, start, at))
    return Sequence("list" if isinstance(parts, list) else "tuple", tuple(items), False, node, m.file)


@behaves(Const)
class ConstBehaviour(Behaviour):
    def item(self, m: Machine, value: Const, index: Value, node: cst.CSTNode) -> Value | None:
        at = first(index)
        known = isinstance(at, Const) and isinstance(at.value, int) and isinstance(value.value, (str, bytes, tuple))
        return folded(lambda: value.value[at.value], value, at) if known and isinstance(at, Const) else None

    def sliced(self, m: Machine, value: Const, node: cst.CSTNode) -> Value | None:
        at = node.slice[0].slice if isinstance(node, cst.Subscript) else None
        found = bounds_of(m, at) if isinstance(at, cst.Slice) else None
        if found is None or not isinstance(value.value, str):
            return None
        start, stop, step = slice(*(each.value for each in found)).indices(len(value.value))
        return part_of_text(value, start, max(start, stop)) if step == 1 else None

    def method(self, m: Machine, value: Const, name: str, args: CallArgs, node: cst.CSTNode) -> Value | None:
        return const_method(m, value, name, args, node)
