"""What a loop goes over, round by round where that is known."""

from __future__ import annotations

import libcst as cst

from tricklint.interpreter import behaviour
from tricklint.interpreter.callargs import CallArgs
from tricklint.interpreter.machine import Machine
from tricklint.interpreter.values import (
    UNKNOWN,
    Bound,
    Class,
    Const,
    Dict,
    Func,
    Instance,
    IteratorFacts,
    Sequence,
    Union,
    Value,
    given,
    join,
    members,
)

UNROLL = 24


def rounds(m: Machine, over: Value, node: cst.CSTNode) -> list[Value]:
    """The elements a loop goes over: all of a short known sequence, one symbolic element of anything else."""
    options: list[Value] = []
    for member in members(over):
        if isinstance(member, Sequence):
            items = member.items
            if len(members(over)) == 1 and 0 < len(items) <= UNROLL:
                return [given(item) for item in items]
            options.extend(items[:UNROLL])
            if not items and not member.open:
                continue
            if not items:
                options.append(UNKNOWN)
        elif isinstance(member, Dict):
            keys: list[Value] = [Const(key, given=True) for key in member.fields]
            if len(members(over)) == 1 and 0 < len(keys) <= UNROLL and not member.open:
                return list(keys)
            options.append(UNKNOWN)
        else:
            options.append(element_of(m, member, node))
    if not options:
        return []
    sure = isinstance(over, Union) and over.sure and len(options) == len(over.values)
    return [join(*options[:UNROLL], sure=sure)]


def element_of(m: Machine, member: Value, node: cst.CSTNode) -> Value:
    """One symbolic element of something that is no plain sequence."""
    if isinstance(member, Instance) and member.has(IteratorFacts):
        over = member.fact(IteratorFacts)
        if over.iterates is not None:
            inner = rounds(m, over.iterates, node)
            return inner[0] if inner else UNKNOWN
        if over.enumerates is not None:
            inner = rounds(m, over.enumerates, node)
            return Sequence("tuple", (UNKNOWN, inner[0] if inner else UNKNOWN), node=node, file=m.file)
        parts = [rounds(m, each, node) for each in over.zips]
        return Sequence("tuple", tuple(join(*got[:8]) if got else UNKNOWN for got in parts), node=node, file=m.file)
    own = own_element(m, member, node) if isinstance(member, Instance) else None
    return own or behaviour.of(member).element(m, member, node) or UNKNOWN


def own_element(m: Machine, member: Instance, node: cst.CSTNode) -> Value | None:
    """What the `__iter__` of a class of the program gives, one by one; None where it has none."""
    cls = member.cls
    given = cls.lookup("__iter__") if isinstance(cls, Class) else None
    if not isinstance(cls, Class) or not isinstance(given, Func):
        return None
    over = m.call(Bound(member, given, "__iter__"), CallArgs(), node)
    if member in members(over):  # `return self`
        following = cls.lookup("__next__")
        return m.call(Bound(member, following, "__next__"), CallArgs(), node) if isinstance(following, Func) else None
    found = rounds(m, over, node)
    return join(*found[:8]) if found else None


def unrolled(m: Machine, over: Value) -> Value:
    """A list of what a container of a library holds, where all of it is known; other values as they are."""
    return behaviour.of(over).children(m, over) or over
