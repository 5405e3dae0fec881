"""Functions, classes and their decorators."""

from __future__ import annotations

import itertools

import libcst as cst

from tricklint.interpreter import behaviour
from tricklint.interpreter.arguments import arguments
from tricklint.interpreter.callargs import CallArgs
from tricklint.interpreter.machine import FALL, Frame, Machine, executes
from tricklint.interpreter.values import (
    UNKNOWN,
    Bound,
    Class,
    Func,
    Ref,
    Unknown,
    Value,
    members,
)
from tricklint.source.tree import walk


@executes(cst.FunctionDef)
def run_functiondef(m: Machine, node: cst.FunctionDef) -> int:
    decorators = tuple(decorator(m, d.decorator) for d in node.decorators)
    func = Func(node, m.file, closure(m), None, decorators)
    m.bind(node.name.value, decorated(m, func, decorators, node))
    return FALL


def closure(m: Machine) -> tuple[dict[str, Value], ...]:
    frame = m.frame
    if frame.func is None and frame.locals is frame.file.names:
        return ()
    return (frame.locals, *frame.closure)


def decorator(m: Machine, node: cst.CSTNode) -> Value:
    """A decorator's value; the program's own decorator factories are only run when they register."""
    if not isinstance(node, cst.Call):
        return m.eval(node)
    callee = m.eval(node.func)
    func = callee.func if isinstance(callee, Bound) else callee
    if isinstance(func, Func) and not keeps_what_it_gets(m, func):
        return UNKNOWN
    return m.call(callee, arguments(m, node), node)


@executes(cst.ClassDef)
def run_classdef(m: Machine, node: cst.ClassDef) -> int:
    decorators = tuple(decorator(m, d.decorator) for d in node.decorators)
    bases = tuple(_base(m, base.value) for base in node.bases)
    kept = []
    for base in bases:
        for member in members(base):
            kept.append(member if isinstance(member, (Class, Ref)) else base_of(m, member))
            break
    made = Class(node, m.file, tuple(kept), decorators=decorators)
    m.classes.append(made)
    run_class_body(m, made, node)
    m.bind(node.name.value, decorated(m, made, decorators, node))
    return FALL


def _base(m: Machine, node: cst.BaseExpression) -> Value:
    """What a class is built on: of `Generic[T]` and `Dataset[Tensor]`, which say what for, the library's class."""
    base = m.eval(node)
    if isinstance(base, Unknown) and isinstance(node, cst.Subscript):
        generic = m.eval(node.value)
        return generic if isinstance(generic, Ref) and not generic.name.endswith("__dict__") else base
    return base


def base_of(m: Machine, member: Value) -> Value:
    return member if isinstance(member, Unknown_types) else UNKNOWN


def run_class_body(m: Machine, made: Class, node: cst.ClassDef) -> None:
    frame = Frame(None, m.file, made.fields, closure(m), len(m.path))
    with m.inside(frame):
        for statement in node.body.body:
            if isinstance(statement, cst.FunctionDef):
                decorators = tuple(decorator(m, d.decorator) for d in statement.decorators)
                func = Func(statement, m.file, frame.closure, made, decorators)
                m.bind(statement.name.value, func)
            else:
                m.run(statement)


Unknown_types = (Class, Ref)


_KEEPS = frozenset(
    ("append", "add", "update", "setdefault", "register", "_register", "register_module", "_do_register")
)


def keeps_what_it_gets(m: Machine, func: Func) -> bool:
    """A short function that puts something into a container: a registry. Other decorators wrap, and what they wrap
    is what matters here."""
    known = m.keepers.get(id(func.node))
    if known is None:
        nodes = list(itertools.islice(walk(func.node), 400))
        known = m.keepers[id(func.node)] = len(nodes) < 400 and any(
            (isinstance(node, cst.AssignTarget) and isinstance(node.target, cst.Subscript))
            or (isinstance(node, cst.Attribute) and node.attr.value in _KEEPS)
            for node in nodes
        )
    return known


def decorated(m: Machine, made: Value, decorators: tuple[Value, ...], node: cst.CSTNode) -> Value:
    """Apply the program's own decorators (registries, wrappers); those of libraries keep what they decorate."""
    for decorator in reversed(decorators):
        func = decorator.func if isinstance(decorator, Bound) else decorator
        if isinstance(func, Func) and keeps_what_it_gets(m, func):
            result = m.call(decorator, CallArgs([made]), node)
            if isinstance(result, (Func, Class)):
                made = result
        else:
            behaviour.of(decorator).decorates(m, decorator, made)
    return made
