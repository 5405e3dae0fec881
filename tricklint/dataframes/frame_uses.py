"""What is done with a frame while its rows are iterated."""

from __future__ import annotations

import libcst as cst

from tricklint.dataframes.scope import is_stored, names_of, uses
from tricklint.dataframes.writers import CHANGING, changed_by_calls
from tricklint.source.tree import Tree, dotted

Place = tuple[cst.CSTNode, str]  # where, and in words what is done there

_HARMLESS = ("len", "print", "type", "id", "isinstance")


def frame_uses(tree: Tree, frame: cst.BaseExpression, loop: cst.For) -> tuple[list[Place], list[Place]]:
    """Assignments inside `loop` to the frame that it iterates, or to the one it is a part of, and calls that are given it."""
    stores: list[Place] = []
    lent: list[Place] = []
    root = frame
    while isinstance(root, (cst.Subscript, cst.Call)) or (isinstance(root, cst.Attribute) and not dotted(root)):
        root = root.func if isinstance(root, cst.Call) else root.value
    path = dotted(root)
    if isinstance(frame, cst.Call) and "." in path:
        path = path.rpartition(".")[0]
    if not path:
        return stores, lent
    changed = changed_by_calls(tree, (loop.body,), path)
    if changed is not None:
        stores.append(changed)
    for use in uses(tree, loop.body, path.split(".")[0]):
        at: cst.CSTNode = use
        for part in path.split(".")[1:]:
            up = tree.parent(at)
            if not (isinstance(up, cst.Attribute) and up.value is at and up.attr.value == part):
                break
            at = up
        else:
            if not _bound_before(tree, loop, at):
                _use(tree, at, stores, lent)
    return stores, lent


def _bound_before(tree: Tree, loop: cst.For, at: cst.CSTNode) -> bool:
    """Whether each turn gives a name another value before this use of it: it is the frame's no more."""
    child = at
    for up in tree.ancestors(at):
        if up is loop or not isinstance(at, cst.Name):
            return False
        for statement in up.body if isinstance(up, cst.IndentedBlock) else ():
            if statement is child:
                break
            for small in statement.body if isinstance(statement, cst.SimpleStatementLine) else ():
                if isinstance(small, cst.Assign) and any(at.value in names_of(each.target) for each in small.targets):
                    return True
        child = up
    return False


def _use(tree: Tree, at: cst.CSTNode, stores: list[Place], lent: list[Place]) -> None:
    if is_stored(tree, at):
        return  # the name is bound to something else; the loop goes on over the old frame
    whole, up = at, tree.parent(at)
    while isinstance(up, (cst.Attribute, cst.Subscript)) and up.value is at:
        if is_stored(tree, up):
            stores.append((up, "the iterated frame is written to"))
            return
        at, up = up, tree.parent(up)
    if isinstance(up, cst.Arg) and at is whole:
        call = tree.parent(up)
        if isinstance(call, cst.Call) and dotted(call.func) not in _HARMLESS:
            lent.append((call, "the iterated frame is handed to a function"))
    if isinstance(up, cst.Call) and up.func is at and isinstance(at, cst.Attribute):
        inplace = any(
            arg.keyword is not None and arg.keyword.value == "inplace" and dotted(arg.value) == "True"
            for arg in up.args
        )
        if inplace or at.attr.value in CHANGING:
            stores.append((up, "the iterated frame is changed"))
