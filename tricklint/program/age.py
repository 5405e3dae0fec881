"""Code that only a PyTorch before 0.4 runs as it is meant, and names that came later: a fix that needs one would break it."""

from __future__ import annotations

import re

import libcst as cst

from tricklint.finding import Fix
from tricklint.source.tree import Tree, walk

# Names with the version that brought them: no_grad 0.4, nn.init's functions with an underscore 0.4, Tensor.ndim 1.2
_LATER = re.compile(r"\bno_grad\b|\binference_mode\b|\binit\.\w+_\(|\.ndim\b|\bOutOfMemoryError\b")
_WORDS = ("volatile", ".data[0]", "async")


def needs_later(fix: Fix) -> bool:
    """Whether the code that a fix writes uses names that PyTorch had not before 0.4."""
    return any(_LATER.search(edit.content) for edit in fix.edits)


def early_code(tree: Tree) -> cst.CSTNode | None:
    """What shows that a file is written for a PyTorch before 0.4: `Variable(x, volatile=True)`, `x.cuda(async=True)`, which
    is no Python any more, or `loss.data[0]` of what is backpropagated, which has had no items since."""
    if not any(word in tree.text for word in _WORDS):
        return None
    scalars: set[str] = set()
    firsts: list[cst.Subscript] = []
    for node in walk(tree.module):
        if isinstance(node, cst.Arg) and node.keyword is not None and node.keyword.value in ("volatile", "async"):
            return node
        if isinstance(node, cst.Call) and isinstance(node.func, cst.Attribute) and node.func.attr.value == "backward":
            scalars.add(tree.code(node.func.value))
        elif isinstance(node, cst.Subscript) and tree.code(node).endswith(".data[0]"):
            firsts.append(node)
    return next((node for node in firsts if tree.code(node).removesuffix(".data[0]") in scalars), None)


__all__ = ["early_code", "needs_later"]
