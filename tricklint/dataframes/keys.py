"""Values of a row that become keys: of a dictionary, or of a set.

Two NaN are one key when they are one object, else two. A row of objects gives the object that the column gives, each time
it is asked. A row of nothing but numbers makes a new NumPy scalar at every read, where a column has one value for the
row. So a NaN can only be counted otherwise when one turn of the loop reads the same column at several places, or several
times, for keys.
"""

from __future__ import annotations

from collections import Counter

import libcst as cst

from tricklint.dataframes.loops import Read, RowLoop
from tricklint.dataframes.scope import uses
from tricklint.source.tree import Tree

# Methods that look their arguments up, or keep them, by their hash; a list's `append` does not.
KEYED = frozenset("add setdefault update get pop remove discard".split())

_REPEATING = (cst.For, cst.While, cst.Lambda, cst.FunctionDef, cst.ListComp, cst.SetComp, cst.DictComp, cst.GeneratorExp)
_HOLDING = (cst.Element, cst.Tuple, cst.List, cst.IfExp, cst.BooleanOperation, cst.NamedExpr, cst.StarredElement)


def repeated_keys(loop: RowLoop) -> bool:
    """Whether a turn of the loop may read the same column more than once for a key."""
    times: Counter[str | int] = Counter()
    for read in loop.reads:
        if _is_key(loop, read):
            times[read.column] += 2 if _repeats(loop, read.node) else 1
    return any(count > 1 for count in times.values())


def _is_key(loop: RowLoop, read: Read) -> bool:
    """Whether the very value of a read becomes a key: where it stands, or by the name that it is given."""
    if in_key_slot(loop.tree, read.node):
        return True
    up = loop.tree.parent(read.node)
    names: list[cst.Name] = []
    if isinstance(up, cst.Assign):
        names = [each.target for each in up.targets if isinstance(each.target, cst.Name)]
    elif isinstance(up, (cst.AnnAssign, cst.NamedExpr)) and isinstance(up.target, cst.Name):
        names = [up.target]
    return any(
        in_key_slot(loop.tree, use) for name in names for region in loop.regions for use in uses(loop.tree, region, name.value)
    )


def in_key_slot(tree: Tree, node: cst.CSTNode) -> bool:
    """Whether a value is looked up, or kept, by its hash. What is made of it first (`str(x)`, `x.lower()`) is another."""
    at, up = node, tree.parent(node)
    while isinstance(up, _HOLDING):
        at, up = up, tree.parent(up)
    if isinstance(up, (cst.Index, cst.Set, cst.SetComp)):
        return True
    if isinstance(up, (cst.DictElement, cst.DictComp)):
        return up.key is at
    if isinstance(up, cst.ComparisonTarget):
        return isinstance(up.operator, (cst.In, cst.NotIn))
    if isinstance(up, cst.Comparison):
        return isinstance(up.comparisons[0].operator, (cst.In, cst.NotIn))
    if isinstance(up, cst.Arg):
        call = tree.parent(up)
        if isinstance(call, cst.Call) and isinstance(call.func, cst.Attribute):
            return call.func.attr.value in KEYED
        return isinstance(call, cst.Call) and isinstance(call.func, cst.Name) and call.func.value in ("set", "frozenset")
    return False


def _repeats(loop: RowLoop, node: cst.CSTNode) -> bool:
    """Whether a read may run several times in one turn of the loop."""
    for up in loop.tree.ancestors(node):
        if up is loop.loop or up is loop.owner:
            return isinstance(loop.loop, cst.CompFor) and loop.loop.inner_for_in is not None
        if isinstance(up, _REPEATING):
            return True
    return False
