"""Items: `value[index]` and slices."""

from __future__ import annotations

from typing import cast

import libcst as cst

from tricklint.interpreter import behaviour
from tricklint.interpreter.callargs import CallArgs
from tricklint.interpreter.imports import DYNAMIC_LIMIT, ModuleValue, dynamic_member
from tricklint.interpreter.literals import hashable
from tricklint.interpreter.machine import Machine, evaluates
from tricklint.interpreter.narrowing import narrow
from tricklint.interpreter.picks import pick_of_slice
from tricklint.interpreter.values import (
    NONE,
    UNKNOWN,
    Bound,
    Class,
    Const,
    Dict,
    Func,
    Instance,
    Namespace,
    Pred,
    Ref,
    Sequence,
    Union,
    Unknown,
    Value,
    first,
    join,
)
from tricklint.knowledge.names import canonical


@evaluates(cst.Subscript)
def eval_subscript(m: Machine, node: cst.Subscript) -> Value:
    value = m.eval(node.value)
    index: Value = UNKNOWN
    sliced: cst.Slice | None = None
    if len(node.slice) == 1:
        at = node.slice[0].slice
        if type(at) is cst.Index:
            index = m.eval(at.value)
        elif type(at) is cst.Slice:
            sliced = at
            pick_of_slice(m, at, node)
    else:
        for element in node.slice:
            if isinstance(element.slice, cst.Index):
                m.eval(element.slice.value)
    return get_item(m, value, index, sliced, node)


def get_item(m: Machine, value: Value, index: Value, sliced: cst.Slice | None, node: cst.CSTNode) -> Value:
    """`value[index]`, or `value[a:b]` where `sliced` is given."""
    if isinstance(value, Union):
        return join(*[get_item(m, member, index, sliced, node) for member in value.values], sure=value.sure)
    if isinstance(value, Sequence):
        return _sequence_item(m, value, index, sliced, node)
    if isinstance(value, Dict):
        return _dict_item(value, first(index))
    if isinstance(value, Instance):
        part = behaviour.of(value).sliced(m, value, node) if sliced is not None else None
        return part if part is not None else instance_item(m, value, index, node)
    if isinstance(value, Namespace):
        at = first(index)
        if isinstance(at, Const) and isinstance(at.value, str):
            return cast(Value, value.fields.get(at.value, UNKNOWN))
    if isinstance(value, Class) and value.lookup("__class_getitem__") is None:
        return value  # `Checkpoint[Net](path)`: a generic class says what it is for
    if isinstance(value, Ref) and isinstance(index, Const) and value.name.endswith("__dict__"):
        return Ref(canonical(f"{value.name[: -len('.__dict__')]}.{index.value}"))
    if isinstance(value, Ref) and value.name.endswith("__dict__"):
        return Ref(value.name[: -len(".__dict__")] + ".<dynamic>")
    if isinstance(value, ModuleValue) and value.as_dict:
        return dynamic_member(m, value, index)
    acts = behaviour.of(value)
    return (acts.item(m, value, index, node) if sliced is None else acts.sliced(m, value, node)) or UNKNOWN


def _sequence_item(m: Machine, value: Sequence, index: Value, sliced: cst.Slice | None, node: cst.CSTNode) -> Value:
    if sliced is not None:
        return slice_of(m, value, sliced, node)
    at = first(index)
    if isinstance(at, Const) and isinstance(at.value, int) and not value.open:
        try:
            return value.items[at.value]
        except IndexError:
            return UNKNOWN
    return join(*value.items) if value.items else UNKNOWN


def _dict_item(value: Dict, at: Value | None) -> Value:
    if isinstance(at, Const) and hashable(at.value) and (at.value in value.fields or not at.default):
        found = cast(Value, value.fields.get(at.value) or _by_other_names(value))
        return join(found, *_others(value, found), sure=True) if at.default else found
    found = join(*value.fields.values()) if value.fields else UNKNOWN
    preds = at.preds_of_name() if at is not None else None
    if preds is not None:  # `by_name[name]`, as far as the names were narrowed
        return narrow(found, preds)
    return narrow(found, [Pred("unknown", ("key",))]) if isinstance(at, Unknown) else found


def _by_other_names(value: Dict) -> Value:
    """What was put in under names that are not known: any of it may be under the one that is asked for."""
    held = [each for key, each in value.fields.items() if isinstance(key, str) and key.startswith("<dynamic ")]
    return narrow(join(*held), [Pred("unknown", ("key",))]) if held else UNKNOWN


def _others(value: Dict, found: Value) -> list[Value]:
    """What a registry of the program's own functions and classes holds beside the default's entry: a user may ask for any."""
    held = list(value.fields.values())
    if not all(isinstance(each, (Func, Class)) for each in held):
        return []
    return [each for each in held if each is not found][:DYNAMIC_LIMIT]


def bounds_of(m: Machine, sliced: cst.Slice) -> list[Const] | None:
    """The bounds and the step of a slice, None where one of them is not known."""
    bounds: list[Const] = []
    for part in (sliced.lower, sliced.upper, sliced.step):
        at = first(m.eval(part)) if part is not None else NONE
        if not isinstance(at, Const) or not (at.value is None or isinstance(at.value, int)):
            return None
        bounds.append(at)
    return bounds


def slice_of(m: Machine, value: Sequence, sliced: cst.Slice, node: cst.CSTNode) -> Value:
    bounds = bounds_of(m, sliced)
    if bounds is None or value.open:
        return Sequence(value.kind, value.items, True, node, m.file)
    try:
        return Sequence(value.kind, value.items[slice(*(each.value for each in bounds))], False, node, m.file)
    except ValueError:
        return UNKNOWN


def instance_item(m: Machine, value: Instance, index: Value, node: cst.CSTNode) -> Value:
    known = behaviour.of(value).item(m, value, index, node)
    if known is not None:
        return known
    if isinstance(value.cls, Class):
        method = value.cls.lookup("__getitem__")
        if isinstance(method, Func):
            return m.call(Bound(value, method, "__getitem__"), CallArgs([index]), node)
        at = first(index)
        if isinstance(at, Const) and isinstance(at.value, str) and at.value in value.fields:
            return cast(Value, value.fields[at.value])
    return UNKNOWN
