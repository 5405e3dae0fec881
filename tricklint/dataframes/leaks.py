"""Reads of a row behind the loop that bound it."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import islice

import libcst as cst

from tricklint.dataframes.scope import body_of, is_stored, scope_of, uses
from tricklint.source.once import once_a_tree
from tricklint.source.tree import Tree


def leaks(tree: Tree, loop: cst.For, target: cst.CSTNode, name: str) -> Iterator[tuple[cst.Name, str]]:
    """Reads of a loop variable behind the loop, before the name is bound again, and in words what they do. `target`: the
    part of the loop's target that binds it."""
    scope = scope_of(tree, loop)
    start, end = tree.offsets(target)[0], _end(tree, loop)
    outer = _outer_loop(tree, loop)
    found = _uses_of(tree, body_of(scope), name)
    first = 0
    if outer is None and found.in_order and all(within is scope or stored for within, stored in found.scopes):
        first = bisect_left(found.starts, end)  # what stands before says nothing
    bound_again = False
    for use, at, within, stored in islice(found.uses, first, None):
        if within is not scope and not start <= at < end and not stored:
            yield use, f"a function reads `{name}` by its name"
            continue
        if at < end:
            if at < start and not stored and outer is not None and any(up is outer for up in tree.ancestors(use)):
                earlier = any(is_stored(tree, other) and tree.offsets(other)[0] < at for other in uses(tree, outer, name))
                if not earlier:
                    yield use, f"`{name}` is read in the next turn of the outer loop"
            continue
        if stored:
            bound_again = True
            if first:  # nothing else is told of what stands behind
                return
        elif not bound_again:
            yield use, f"`{name}` is read after the loop"
            return


@dataclass(frozen=True, slots=True)
class _Uses:
    """The uses of a name with where they begin, the scope they stand in, and whether they store. `in_order`: they are
    met as they stand in the text. `scopes`: the different pairs of the latter two."""

    uses: Sequence[tuple[cst.Name, int, cst.CSTNode, bool]]
    starts: Sequence[int]
    in_order: bool
    scopes: frozenset[tuple[cst.CSTNode, bool]]


@once_a_tree  # asked for each loop
def _uses_of(tree: Tree, body: cst.CSTNode, name: str) -> _Uses:
    found = [(use, tree.offsets(use)[0], scope_of(tree, use), is_stored(tree, use)) for use in uses(tree, body, name)]
    starts = [at for _, at, _, _ in found]
    return _Uses(found, starts, starts == sorted(starts), frozenset((within, stored) for _, _, within, stored in found))


def _outer_loop(tree: Tree, node: cst.CSTNode) -> cst.For | cst.While | None:
    for up in tree.ancestors(node):
        if isinstance(up, (cst.For, cst.While)):
            return up
        if isinstance(up, (cst.FunctionDef, cst.Lambda, cst.ClassDef)):
            return None
    return None


def _end(tree: Tree, loop: cst.For) -> int:
    last: cst.CSTNode = loop.orelse if loop.orelse is not None else loop
    return max(tree.offsets(last)[1], tree.offsets(loop)[1], tree.offsets(loop.body)[1])
