"""What the code of a file speaks of: its names and strings, not its comments and docstrings."""

from __future__ import annotations

import re
from collections.abc import Container
from typing import TYPE_CHECKING

import libcst as cst

from tricklint.source.tree import walk

if TYPE_CHECKING:
    from tricklint.interpreter.modules import FileModule


def speaks(file: FileModule, pattern: re.Pattern[str], but: Container[int] = ()) -> bool:
    """Whether a name or a string of the code matches; `but`: ids of nodes that do not count."""
    if not pattern.search(file.tree.text):
        return False
    for node in walk(file.tree.module):
        if id(node) in but:
            continue
        if isinstance(node, (cst.Name, cst.FormattedStringText)) and pattern.search(node.value):
            return True
        if isinstance(node, cst.SimpleString) and pattern.search(node.value):
            if not isinstance(file.tree.parent(node), cst.Expr):
                return True
    return False


__all__ = ["speaks"]
