"""Functions called inside a loop over rows that change the frame which is iterated."""

from __future__ import annotations

from collections.abc import Iterator

import libcst as cst

from tricklint.dataframes.scope import is_stored
from tricklint.source.once import once_a_tree
from tricklint.source.tree import Tree, dotted, walk

# Methods that change a frame in place
CHANGING = frozenset(("insert", "pop", "update", "set_value", "setdefault"))
_DEPTH = 3


def changed_by_calls(tree: Tree, regions: tuple[cst.CSTNode, ...], path: str) -> tuple[cst.CSTNode, str] | None:
    """A call below `regions` whose function writes to the frame `path` (`df`, `self.df`), with what it does; also a method
    of the same object that the file does not show. None when no call does."""
    seen: set[int] = set()

    def search(parts: tuple[cst.CSTNode, ...], depth: int) -> tuple[cst.CSTNode, str] | None:
        for call in (node for part in parts for node in walk(part) if isinstance(node, cst.Call)):
            func = _function(tree, call)
            if func is None:
                if _own_method(call, path) and not _is_attribute_call(tree, call):
                    return call, f"{dotted(call.func)}() may change the frame that is iterated"
                continue
            if id(func) in seen or depth == 0:
                continue
            seen.add(id(func))
            if any(True for _ in _writes(tree, func, path)):
                return call, f"{dotted(call.func)}() writes to the frame that is iterated"
            below = search((func.body,), depth - 1)
            if below is not None:
                return call, below[1]
        return None

    return search(regions, _DEPTH)


def _own_method(call: cst.Call, path: str) -> bool:
    """`self.mark(…)`, where the frame is an attribute of self."""
    return (
        path.startswith("self.")
        and isinstance(call.func, cst.Attribute)
        and isinstance(call.func.value, cst.Name)
        and call.func.value.value == "self"
    )


def _is_attribute_call(tree: Tree, call: cst.Call) -> bool:
    """Whether `self.x(…)` calls something that the class stores in `self.x`: a module, a function."""
    holder = next((up for up in tree.ancestors(call) if isinstance(up, cst.ClassDef)), None)
    name = dotted(call.func)
    return holder is not None and any(
        isinstance(node, cst.AssignTarget) and dotted(node.target) == name for node in walk(holder)
    )


@once_a_tree
def _functions(tree: Tree) -> dict[str, cst.FunctionDef]:
    """The first function of each name in a file."""
    found: dict[str, cst.FunctionDef] = {}
    for node in walk(tree.module):
        if isinstance(node, cst.FunctionDef):
            found.setdefault(node.name.value, node)
    return found


def _function(tree: Tree, call: cst.Call) -> cst.FunctionDef | None:
    """The function of the file that a call runs: a method of the same class, or a function by its name."""
    if isinstance(call.func, cst.Name):
        return _functions(tree).get(call.func.value)
    if isinstance(call.func, cst.Attribute) and isinstance(call.func.value, cst.Name) and call.func.value.value == "self":
        holder = next((up for up in tree.ancestors(call) if isinstance(up, cst.ClassDef)), None)
        for statement in holder.body.body if holder is not None else ():
            if isinstance(statement, cst.FunctionDef) and statement.name.value == call.func.attr.value:
                return statement
    return None


def _writes(tree: Tree, func: cst.FunctionDef, path: str) -> Iterator[cst.CSTNode]:
    """Places in a function that change the frame `path`, as a name it shares with the loop."""
    root = path.split(".")[0]
    if root != "self" and any(param.name.value == root for param in (*func.params.params, *func.params.kwonly_params)):
        return
    for node in walk(func.body):
        if not isinstance(node, (cst.Name, cst.Attribute)) or dotted(node) != path:
            continue
        at: cst.CSTNode = node
        up = tree.parent(at)
        while isinstance(up, (cst.Attribute, cst.Subscript)) and up.value is at:
            if is_stored(tree, up):
                yield up
                break
            at, up = up, tree.parent(up)
        if isinstance(up, cst.Call) and up.func is at and isinstance(at, cst.Attribute):
            inplace = any(
                arg.keyword is not None and arg.keyword.value == "inplace" and dotted(arg.value) == "True" for arg in up.args
            )
            if inplace or at.attr.value in CHANGING:
                yield up


__all__ = ["CHANGING", "changed_by_calls"]
