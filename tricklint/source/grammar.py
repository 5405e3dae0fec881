"""Which Python a text is written for, where two of them read the same words differently."""

from __future__ import annotations

import builtins
import io
import itertools
import tokenize
from collections.abc import Iterator

import libcst as cst

_OTHER = "asynk"


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


def without_old_names(text: str) -> str | None:
    """The text with another word of five letters for each `async` that is a name, as it was before Python 3.7
    (`x.cuda(async=True)`), so that every position holds; None where there is none, or the text is no Python."""
    if "async" not in text:
        return None
    try:
        tokens = list(tokenize.generate_tokens(io.StringIO(text, newline="").readline))
    except (tokenize.TokenError, SyntaxError):
        return None
    rows = text.splitlines(keepends=True) if "\f" not in text else text.split("\n")
    ends = "" if "\f" not in text else "\n"
    found = False
    for token, after in itertools.pairwise(tokens):
        if token.string != "async" or token.type in (tokenize.STRING, tokenize.COMMENT):
            continue
        if after.type == tokenize.NAME and after.string in ("def", "for", "with"):
            continue
        row, column = token.start
        if rows[row - 1][column : column + 5] != "async":
            return None
        rows[row - 1] = f"{rows[row - 1][:column]}{_OTHER}{rows[row - 1][column + 5 :]}"
        found = True
    return ends.join(rows) if found else None


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
