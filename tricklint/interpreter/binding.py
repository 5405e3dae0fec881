"""Assignment: names, attributes, items, and unpacking."""

from __future__ import annotations

from collections.abc import Sequence as Seq

import libcst as cst

from tricklint.interpreter import behaviour
from tricklint.interpreter.attributes import set_attribute
from tricklint.interpreter.machine import Machine
from tricklint.interpreter.narrowing import narrowed_here
from tricklint.interpreter.values import (
    MAX_ITEMS,
    UNKNOWN,
    Const,
    Dict,
    Instance,
    Namespace,
    Sequence,
    Unknown,
    Value,
    bounded,
    first,
    fit_for,
    join,
    members,
)


def assign(m: Machine, target: cst.CSTNode, value: Value, node: cst.CSTNode) -> None:
    if type(target) is cst.Name:
        m.bind(target.value, value)
    elif type(target) is cst.Attribute:
        set_attribute(m, m.eval(target.value), target.attr.value, value, node)
    elif type(target) is cst.Tuple or type(target) is cst.List:
        unpack(m, target.elements, value, node)
    elif type(target) is cst.Subscript:
        set_item(m, m.eval(target.value), target, value, node)
    elif type(target) is cst.StarredElement:
        assign(m, target.value, value, node)


def unpack(m: Machine, elements: Seq[cst.BaseElement], value: Value, node: cst.CSTNode) -> None:
    parts = spread(m, value, len(elements), any(type(e) is cst.StarredElement for e in elements))
    for element, part in zip(elements, parts):
        assign(m, element.value, part, node)


def spread(m: Machine, value: Value, count: int, starred: bool = False) -> list[Value]:
    """`count` values out of one that is unpacked."""
    options: list[list[Value]] = []
    exact = False
    for member in members(value):
        if isinstance(member, Sequence):
            if not starred and len(member.items) == count:
                options.append(list(member.items))
                exact = True
            continue
        if exact and member.crowd:
            continue  # what another branch returns: a tensor is not as many things by chance
        parts = behaviour.of(member).spread(m, member, count)
        if parts:
            options.append(parts)
    if not options:
        return [UNKNOWN] * count
    if len(options) == 1:
        return options[0]
    return [join(*(option[i] for option in options)) for i in range(count)]


def set_item(m: Machine, target: Value, node: cst.Subscript, value: Value, statement: cst.CSTNode) -> None:
    """`target[index] = value`."""
    index: Value = UNKNOWN
    if len(node.slice) == 1 and isinstance(node.slice[0].slice, cst.Index):
        index = m.eval(node.slice[0].slice.value)
    at = first(index)
    value = narrowed_here(m, value)
    for member in members(target):
        if isinstance(member, Dict):
            key = (
                at.value
                if isinstance(at, Const) and isinstance(at.value, (str, int, float, bool, type(None)))
                else None
            )
            if isinstance(at, Const):
                m.write(member.fields, key, fit_for(member, value))
            elif len(member.fields) < MAX_ITEMS:
                m.write(member.fields, f"<dynamic {len(member.fields)}>", fit_for(member, value))
        elif isinstance(member, Sequence):
            put_in(m, member, value)
            m.write(member.fields, "open", True)
        elif behaviour.of(member).set_item(m, member, index, value, statement):
            pass
        elif isinstance(member, (Instance, Namespace)) and isinstance(at, Const) and isinstance(at.value, str):
            m.write(member.fields, at.value, value)


def put_in(m: Machine, target: Sequence, *added: Value) -> None:
    """`target.append(…)`: as many as are followed, and nothing that holds the list itself."""
    items = (*target.items, *(fit_for(target, value) for value in added))
    kept = bounded(items)
    m.write(target.fields, "items", kept)
    if len(kept) < len(items):
        m.write(target.fields, "open", True)


def extend(m: Machine, target: Sequence, value: Value) -> None:
    """`target.extend(value)`, `target += value`."""
    inner = behaviour.held_by(m, first(value))
    elements = behaviour.of(inner).starred(m, inner) if inner is not None else None
    if isinstance(inner, Sequence):
        added = narrowed_here(m, inner)
        assert isinstance(added, Sequence)
        put_in(m, target, *added.items)
        if inner.open or m.loops:
            m.write(target.fields, "open", True)
    elif elements is not None:
        put_in(m, target, narrowed_here(m, elements))
        m.write(target.fields, "open", True)
    else:
        for member in members(value):
            if isinstance(member, Sequence):
                put_in(m, target, *member.items)
            elif isinstance(member, Instance) and member.kind == "module":
                put_in(m, target, member)
            elif isinstance(member, Unknown):
                put_in(m, target, UNKNOWN)
        m.write(target.fields, "open", True)
