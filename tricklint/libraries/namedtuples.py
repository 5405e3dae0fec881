"""`collections.namedtuple`: a class made by a call."""

from __future__ import annotations

from dataclasses import dataclass, field

import libcst as cst

from tricklint.interpreter.behaviour import Behaviour, behaves, function
from tricklint.interpreter.callargs import CallArgs
from tricklint.interpreter.machine import Machine
from tricklint.interpreter.objects import plain
from tricklint.interpreter.values import UNKNOWN, Bound, Const, Dict, Instance, Sequence, Value, first


@dataclass(slots=True, eq=False)
class NamedTupleFacts:
    names: list[str] = field(default_factory=list)
    defaults: dict[str, Value] = field(default_factory=dict)


@function("collections.namedtuple")
def namedtuple(m: Machine, name: str, args: CallArgs, node: cst.CSTNode) -> Value:
    listed = first(args.get(1, "field_names"))
    if isinstance(listed, Const) and isinstance(listed.value, str):
        names = listed.value.replace(",", " ").split()
    elif isinstance(listed, Sequence) and not listed.open:
        texts = [first(item) for item in listed.items]
        names = [text.value for text in texts if isinstance(text, Const) and isinstance(text.value, str)]
        if len(names) < len(texts):
            return UNKNOWN
    else:
        return UNKNOWN
    made = plain(m, name, args, node)
    made.kind = "namedtuple class"
    known = made.fact(NamedTupleFacts)
    known.names = names
    defaults = first(args.kwargs.get("defaults"))
    if isinstance(defaults, Sequence) and not defaults.open:
        known.defaults = dict(zip(names[len(names) - len(defaults.items) :], defaults.items, strict=False))
    return made


def _filled(m: Machine, cls: Instance, args: CallArgs, node: cst.CSTNode) -> Instance:
    known = cls.fact(NamedTupleFacts)
    made = plain(m, "collections.namedtuple", args, node)
    made.kind = "namedtuple"
    made.fact(NamedTupleFacts).names = known.names
    for at, name in enumerate(known.names):
        made.fields[name] = args.get(at, name) or known.defaults.get(name, UNKNOWN)
    return made


@behaves("namedtuple class")
class NamedTupleClass(Behaviour):
    def call(self, m: Machine, value: Instance, args: CallArgs, node: cst.CSTNode) -> Value | None:
        return _filled(m, value, args, node)

    def method(self, m: Machine, value: Instance, name: str, args: CallArgs, node: cst.CSTNode) -> Value | None:
        if name == "_make" and args.positional:
            given = first(args.positional[0])
            made = CallArgs(list(given.items) if isinstance(given, Sequence) else [])
            made.open = not isinstance(given, Sequence) or given.open
            return _filled(m, value, made, node)
        return UNKNOWN


@behaves("namedtuple")
class NamedTuple(Behaviour):
    def attribute(self, m: Machine, value: Instance, name: str, node: cst.CSTNode) -> Value | None:
        return Bound(value, None, name) if name in ("_replace", "_asdict") else UNKNOWN

    def item(self, m: Machine, value: Instance, index: Value, node: cst.CSTNode) -> Value | None:
        at, fields = first(index), list(value.fields.values())
        known = isinstance(at, Const) and isinstance(at.value, int) and -len(fields) <= at.value < len(fields)
        return fields[at.value] if known and isinstance(at, Const) else UNKNOWN

    def spread(self, m: Machine, value: Instance, count: int) -> list[Value] | None:
        fields = list(value.fields.values())
        return fields if len(fields) == count else []

    def method(self, m: Machine, value: Instance, name: str, args: CallArgs, node: cst.CSTNode) -> Value | None:
        if name == "_asdict":
            made = Dict(node, m.file)
            made.fields.update(value.fields)
            return made
        if name == "_replace":
            other = plain(m, value.library, args, node)
            other.kind = value.kind
            other.fields.update({**value.fields, **args.kwargs})
            return other
        return UNKNOWN
