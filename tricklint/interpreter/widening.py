"""What a loop writes is not constant in it: its first round is no example of the others."""

from __future__ import annotations

from typing import TYPE_CHECKING

import libcst as cst

from tricklint.interpreter.values import Class, Const, Func, Instance, Widened, members
from tricklint.source.once import once_a_tree
from tricklint.source.tree import walk

if TYPE_CHECKING:
    from tricklint.interpreter.machine import Machine
    from tricklint.source.tree import Tree


_ASSIGNS = (cst.AssignTarget, cst.AugAssign, cst.AnnAssign, cst.NamedExpr, cst.For, cst.CompFor)


class Writes:
    """What a piece of code writes by its text: names; attributes, as the name they hang on and their own; and the
    functions and methods it calls, as the name before the dot ("" for a plain function) and their own."""

    __slots__ = ("attributes", "calls", "globals", "names")

    def __init__(self, body: cst.CSTNode) -> None:
        self.names: set[str] = set()
        self.attributes: set[tuple[str, str]] = set()
        self.calls: set[tuple[str, str]] = set()
        self.globals: set[str] = set()
        for node in walk(body):
            if isinstance(node, _ASSIGNS):
                self._target(node.target)
            elif isinstance(node, cst.AsName):
                self._target(node.name)
            elif isinstance(node, cst.Global):
                self.globals.update(item.name.value for item in node.names)
            elif isinstance(node, cst.Call):
                if isinstance(node.func, cst.Name):
                    self.calls.add(("", node.func.value))
                elif isinstance(node.func, cst.Attribute) and isinstance(node.func.value, cst.Name):
                    self.calls.add((node.func.value.value, node.func.attr.value))

    def _target(self, target: cst.CSTNode) -> None:
        if isinstance(target, cst.Name):
            self.names.add(target.value)
        elif isinstance(target, cst.Attribute):
            if isinstance(target.value, cst.Name):
                self.attributes.add((target.value.value, target.attr.value))
        elif isinstance(target, (cst.Tuple, cst.List)):
            for element in target.elements:
                self._target(element.value)


@once_a_tree
def writes_of(tree: Tree, node: cst.For | cst.While | cst.FunctionDef) -> Writes:
    """What the body of a loop or function writes."""
    return Writes(node.body)


def widen(m: Machine, loop: cst.For | cst.While) -> None:
    """Before the body of a loop runs whose rounds are not followed one by one: constants that it writes are no longer
    what they were before it."""
    written = writes_of(m.file.tree, loop)
    names = m.frame.locals
    for name in written.names:
        fields = m.file.names if name in m.frame.globals else names
        if isinstance(fields.get(name), Const):
            m.write(fields, name, Widened())
    for base, attribute in written.attributes:
        for member in members(names.get(base)):
            _widen_field(m, member, attribute)
    for base, called in written.calls:
        if base:
            for member in members(names.get(base) or m.file.names.get(base)):
                if isinstance(member, Instance) and isinstance(member.cls, Class):
                    _widen_method(m, member, member.cls, called, set())
        else:
            for member in members(names.get(called) or m.file.names.get(called)):
                if isinstance(member, Func) and isinstance(member.node, cst.FunctionDef):
                    _widen_globals(m, member)


def _widen_field(m: Machine, holder: object, attribute: str) -> None:
    if isinstance(holder, Instance) and isinstance(holder.fields.get(attribute), Const):
        m.write(holder.fields, attribute, Widened())


def _widen_method(m: Machine, holder: Instance, cls: Class, name: str, seen: set[str]) -> None:
    """What a method writes on its own object, with the methods that it calls on it."""
    method = cls.lookup(name)
    if name in seen or len(seen) > 32 or not isinstance(method, Func):
        return
    seen.add(name)
    if not isinstance(method.node, cst.FunctionDef) or not method.node.params.params:
        return
    own = method.node.params.params[0].name.value
    written = writes_of(method.file.tree, method.node)
    for base, attribute in written.attributes:
        if base == own:
            _widen_field(m, holder, attribute)
    for base, called in written.calls:
        if base == own:
            _widen_method(m, holder, cls, called, seen)
    if written.globals:
        _widen_globals(m, method)


def _widen_globals(m: Machine, func: Func) -> None:
    assert isinstance(func.node, cst.FunctionDef)
    written = writes_of(func.file.tree, func.node)
    for name in written.globals & written.names:
        if isinstance(func.file.names.get(name), Const):
            m.write(func.file.names, name, Widened())
