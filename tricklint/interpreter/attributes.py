"""Attributes: of objects, classes, modules and `super()`."""

from __future__ import annotations

from typing import cast

import libcst as cst

from tricklint.interpreter import behaviour
from tricklint.interpreter.callargs import CallArgs
from tricklint.interpreter.imports import ModuleValue, module_attribute, of_library
from tricklint.interpreter.machine import Machine, evaluates
from tricklint.interpreter.objects import attributes_of
from tricklint.interpreter.values import (
    UNKNOWN,
    Bound,
    Class,
    Const,
    Dict,
    Func,
    Instance,
    Namespace,
    Ref,
    Sequence,
    Super,
    Union,
    Value,
    join,
    members,
)
from tricklint.knowledge.names import canonical


@evaluates(cst.Attribute)
def eval_attribute(m: Machine, node: cst.Attribute) -> Value:
    return get_attribute(m, m.eval(node.value), node.attr.value, node)


def get_attribute(m: Machine, value: Value, name: str, node: cst.CSTNode) -> Value:
    """`value.name`."""
    kind = type(value)
    if kind is Ref:
        return of_library(m, f"{value.name}.{name}")  # type: ignore[attr-defined]
    if kind is Instance:
        return instance_attribute(m, cast(Instance, value), name, node)
    if isinstance(value, Union):
        return join(*[get_attribute(m, member, name, node) for member in value.values], sure=value.sure)
    if isinstance(value, Namespace):
        return value.fields.get(name) or behaviour.of(value).attribute(m, value, name, node) or UNKNOWN
    if isinstance(value, Class):
        return class_attribute(m, value, name, node)
    if isinstance(value, Super):
        return super_attribute(m, value, name)
    if isinstance(value, (Sequence, Dict, Const)):
        # A number or a text has no `.value`: it is a member of an Enum, which stands for it
        return value if name == "value" else Bound(value, None, name)
    if isinstance(value, ModuleValue):
        return module_attribute(m, value, name)
    return behaviour.of(value).attribute(m, value, name, node) or UNKNOWN


def class_attribute(m: Machine, value: Class, name: str, node: cst.CSTNode) -> Value:
    found = value.lookup(name)
    if isinstance(found, Func) and any(
        isinstance(d, Ref) and d.name == "builtins.classmethod" for d in found.decorators
    ):
        return Bound(value, found, name)
    if found is not None:
        return found
    if name in ("__name__", "__qualname__"):
        return Const(value.name)
    known = behaviour.of(value).attribute(m, value, name, node)
    if known is not None:
        return known
    for base in value.libraries():
        if name[:1].islower():
            return Ref(canonical(f"{base}.{name}"))
    return UNKNOWN


def super_value(m: Machine, node: cst.Call) -> Value:
    frame = m.frame
    func, self_value = frame.func, frame.self
    if func is None or func.owner is None or self_value is None:
        return UNKNOWN
    return Super(self_value, func.owner)


def super_attribute(m: Machine, value: Super, name: str) -> Value:
    passed = False
    cls = value.self.cls if isinstance(value.self, Instance) else value.self
    if isinstance(cls, Class):
        for at in cls.mro():
            if at is value.owner:
                passed = True
                continue
            if passed and isinstance(at, Class) and name in at.fields:
                found = at.fields[name]
                return Bound(value.self, found, name) if isinstance(found, Func) else found
    return Bound(value.self, None, "super." + name)


def instance_attribute(m: Machine, value: Instance, name: str, node: cst.CSTNode) -> Value:
    found = value.fields.get(name)
    if found is not None:
        return cast(Value, found)
    if isinstance(value.cls, Class):
        if name == "__class__":
            return value.cls
        if name == "__dict__" and not value.kind:
            return attributes_of(m, value.fields, node)  # `self.__dict__.update(json.load(f))`
        inherited = value.cls.lookup(name)
        if isinstance(inherited, Func):
            if any(isinstance(d, Ref) and d.name in ("builtins.property", "functools.cached_property")
                   for d in inherited.decorators):  # fmt: skip
                return m.call(Bound(value, inherited, name), CallArgs(), node)
            return Bound(value, inherited, name)
        if inherited is not None:
            return inherited
    known = behaviour.of(value).attribute(m, value, name, node)
    if known is not None:
        return known
    if isinstance(value.cls, Class) and not value.cls.libraries() and value.cls.knows_bases:
        return UNKNOWN
    return Bound(value, None, name)


def set_attribute(m: Machine, target: Value, name: str, value: Value, node: cst.CSTNode) -> None:
    """`target.name = value`."""
    targets = members(target)
    for member in targets:
        if isinstance(member, Instance):
            own = _own_part(member, targets, value) if len(targets) > 1 else value
            if not behaviour.of(member).set_attribute(m, member, name, own, node):
                m.write(member.fields, name, own)
        elif isinstance(member, (Namespace, Class)):
            m.write(member.fields, name, value)
        elif isinstance(member, ModuleValue):
            m.write(member.module.names, name, value)
        else:
            behaviour.of(member).set_attribute(m, member, name, value, node)


def _own_part(member: Instance, targets: tuple[Value, ...], value: Value) -> Value:
    """What `model.x = wrapped(model.x)` gives to one of several models that `model` may be: not the others' parts."""
    kept = [
        part
        for part in members(value)
        if not isinstance(part, Instance)
        or part.owner in (member, part)
        or not any(part.owner is other for other in targets)
    ]
    return join(*kept) if kept else value
