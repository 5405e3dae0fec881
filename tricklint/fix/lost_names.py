"""Names that a mended text reads where nothing has bound them any more."""

from __future__ import annotations

import ast
from collections import Counter
from functools import lru_cache


def lost_name(old: str, new: str) -> str:
    """A name that the mended text reads where nothing has bound it, and the old text did not; "" when there is none."""
    before, after = _unbound(old), _unbound(new)
    # a name that was unbound may get another name
    return min(after - before, default="") if after.total() > before.total() else ""


@lru_cache(maxsize=64)  # the text before is asked about with each attempt
def _unbound(text: str) -> Counter[str]:
    """Names that pyflakes calls undefined, and those read above the line of their scope that first binds them; none
    where this Python cannot read the text."""
    from pyflakes import checker, messages

    try:
        tree = ast.parse(text)
        found = checker.Checker(tree).messages
    except (SyntaxError, ValueError, RecursionError):
        return Counter()
    kinds = (messages.UndefinedName, messages.UndefinedLocal)
    names = Counter(str(message.message_args[0]) for message in found if isinstance(message, kinds))
    scopes = [node for node in ast.walk(tree) if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef))]
    for scope in (tree, *scopes):
        names.update(_early(scope))
    return names


def _early(scope: ast.Module | ast.FunctionDef | ast.AsyncFunctionDef) -> set[str]:
    """Names that a scope reads in its own statements before it first binds them."""
    bound: dict[str, tuple[int, int]] = {}
    read: dict[str, tuple[int, int]] = {}
    if not isinstance(scope, ast.Module):
        given = scope.args
        for arg in (*given.posonlyargs, *given.args, *given.kwonlyargs, *filter(None, (given.vararg, given.kwarg))):
            bound[arg.arg] = (0, 0)
    outer: set[str] = set()
    stack: list[ast.AST] = list(scope.body)
    while stack:
        node = stack.pop()
        at = (getattr(node, "end_lineno", 0) or 0, getattr(node, "end_col_offset", 0) or 0)
        if isinstance(node, (ast.Global, ast.Nonlocal)):
            outer.update(node.names)
        elif isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef)):
            bound[node.name] = min(bound.get(node.name, at), (node.lineno, node.col_offset))
            stack.extend(node.decorator_list)
            continue
        elif isinstance(node, (ast.Lambda, ast.ListComp, ast.SetComp, ast.DictComp, ast.GeneratorExp)):
            continue  # scopes of their own, which may run later
        elif isinstance(node, ast.alias):
            name = (node.asname or node.name).partition(".")[0]
            bound[name] = min(bound.get(name, at), at)
        elif isinstance(node, ast.ExceptHandler) and node.name:
            bound[node.name] = min(bound.get(node.name, at), (node.lineno, node.col_offset))
        elif isinstance(node, ast.Name):
            table = read if isinstance(node.ctx, ast.Load) else bound
            table[node.id] = min(table.get(node.id, at), at)
        stack.extend(ast.iter_child_nodes(node))
    return {name for name, at in read.items() if name in bound and name not in outer and at < bound[name]}


__all__ = ["lost_name"]
