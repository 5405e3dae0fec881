"""Statements that a run points to without a line of its own: found in the text of the function that it names."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from functools import lru_cache

from tricklint.watching.record import Fact, Frame, Place, Run

_ADDS = {"append", "extend", "update", "add", "insert", "setdefault"}


def class_place(run: Run, file: str, name: str) -> Place | None:
    """The head of a class."""
    tree = _tree(run, file)
    parts = name.split(".")
    body: list[ast.stmt] = tree.body if tree is not None else []
    node: ast.ClassDef | None = None
    for part in parts:
        if part == "<locals>":
            continue
        found = [one for one in ast.walk(ast.Module(body, [])) if isinstance(one, (ast.ClassDef, ast.FunctionDef)) and one.name == part]
        if not found:
            return None
        body = found[0].body
        node = found[0] if isinstance(found[0], ast.ClassDef) else None
    if node is None:
        return None
    return Place((Frame(file, node.lineno, node.lineno, node.col_offset + 1, node.col_offset + 7 + len(node.name), name),))


def assignment(run: Run, file: str, name: str, attribute: str) -> Place | None:
    """Where a class first assigns `self.attribute`."""
    tree = _tree(run, file)
    for node in ast.walk(tree) if tree is not None else ():
        if isinstance(node, ast.ClassDef) and node.name == name.rpartition(".")[2]:
            for inner in ast.walk(node):
                targets = inner.targets if isinstance(inner, ast.Assign) else [inner.target] if isinstance(inner, ast.AnnAssign) else []
                if isinstance(inner, ast.stmt) and any(_base(one).endswith(f".{attribute}") for one in targets):
                    return _place_of(file, inner, name)
    return None


def _tree(run: Run, file: str) -> ast.Module | None:
    try:
        return _parsed((run.root / file).read_text(encoding="utf-8"))
    except (OSError, ValueError, SyntaxError):
        return None


@lru_cache(maxsize=8)  # asked for each fact; a run's facts speak of few files
def _parsed(text: str) -> ast.Module:
    return ast.parse(text)


def _place_of(file: str, node: ast.stmt | ast.expr, function: str) -> Place:
    end = node.end_lineno or node.lineno
    return Place((Frame(file, node.lineno, end, node.col_offset + 1, (node.end_col_offset or 0) + 1, function),))


def growing(run: Run, fact: Fact) -> Place | None:
    """Where the variable that a fact of kind "kept" names takes in more of what it holds: `total += loss`,
    `total = total + loss`, `losses.append(loss)`; None where the text does not say."""
    tree = _tree(run, fact.data["file"])
    if tree is None:
        return None
    name = fact.data["name"]
    last = name.rpartition(".")[2]
    for node in _within(tree, fact.data["first"], fact.data["function"]):
        if _grows(node, name, last):
            return _place_of(fact.data["file"], node, fact.data["function"])
    return None


def _within(tree: ast.Module, first: int, function: str) -> Iterator[ast.stmt | ast.expr]:
    """The nodes of the function that begins at a row; of attributes, of the whole file after it."""
    for node in ast.walk(tree):
        if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef)):
            begins = min([node.lineno, *(one.lineno for one in node.decorator_list)])
            if begins == first:
                yield from _placed(node)
                return
    if function == "<module>":
        yield from _placed(tree)


def _placed(tree: ast.AST) -> Iterator[ast.stmt | ast.expr]:
    yield from (node for node in ast.walk(tree) if isinstance(node, (ast.stmt, ast.expr)))


def _grows(node: ast.AST, name: str, last: str) -> bool:
    if isinstance(node, ast.AugAssign):
        return isinstance(node.op, ast.Add) and _base(node.target) == name
    if isinstance(node, ast.Assign) and len(node.targets) == 1 and _base(node.targets[0]) == name:
        return isinstance(node.value, ast.BinOp) and any(_base(one) == name for one in ast.walk(node.value))
    if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and node.func.attr in _ADDS:
        return _base(node.func.value) == name
    return False


def _base(node: ast.AST) -> str:
    """`losses` of `losses["train"]`, `self.total` of `self.total`."""
    while isinstance(node, ast.Subscript):
        node = node.value
    if isinstance(node, ast.Attribute):
        inner = _base(node.value)
        return f"{inner}.{node.attr}" if inner else ""
    return node.id if isinstance(node, ast.Name) else ""
