"""Which Python a text is written for, where two of them read the same words differently."""

from __future__ import annotations

import builtins
from collections.abc import Iterator

import libcst as cst


def catches_a_tuple(module: cst.Module) -> bool:
    """Whether each `except A, B:` of a module is Python 3.14's tuple of types, and not Python 2's name for what was
    caught: 3.14 looks every name up, so something must bind it."""
    listed = [node.type for node in _walk(module) if isinstance(node, (cst.ExceptHandler, cst.ExceptStarHandler))]
    names = [
        element.value.value
        for kind in listed
        if isinstance(kind, cst.Tuple) and not kind.lpar
        for element in kind.elements
        if isinstance(element.value, cst.Name)
    ]
    return set(names) <= {*dir(builtins), *_bound(module)}


def _walk(node: cst.CSTNode) -> Iterator[cst.CSTNode]:
    waiting = [node]
    while waiting:
        node = waiting.pop()
        yield node
        waiting += node.children


def _bound(module: cst.Module) -> Iterator[str]:
    """The names that something in the module binds, in any scope."""
    for node in _walk(module):
        if isinstance(node, (cst.ClassDef, cst.FunctionDef, cst.Param)):
            if isinstance(node.name, cst.Name):
                yield node.name.value
        elif isinstance(node, cst.ImportAlias):
            alias: cst.BaseExpression = node.asname.name if node.asname else node.name
            while isinstance(alias, cst.Attribute):
                alias = alias.value
            if isinstance(alias, cst.Name):
                yield alias.value
        elif isinstance(node, (cst.AssignTarget, cst.AnnAssign, cst.NamedExpr, cst.For, cst.AsName, cst.CompFor)):
            target = node.name if isinstance(node, cst.AsName) else node.target
            yield from (part.value for part in _walk(target) if isinstance(part, cst.Name))
