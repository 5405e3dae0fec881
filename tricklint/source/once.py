"""Answers about a tree, worked out once and kept for as long as the tree is: a table of the last few, as `lru_cache`
keeps, would hold trees that nobody needs any more."""

from __future__ import annotations

from collections.abc import Callable
from functools import wraps
from typing import TYPE_CHECKING, Concatenate, ParamSpec, TypeVar

import libcst as cst

from tricklint.source.tree import walk

if TYPE_CHECKING:
    from tricklint.source.tree import Tree

Rest = ParamSpec("Rest")
T = TypeVar("T")
N = TypeVar("N", bound=cst.CSTNode)


def once_a_tree(ask: Callable[Concatenate[Tree, Rest], T]) -> Callable[Concatenate[Tree, Rest], T]:
    """What else is asked for beside the tree stands in positions, and is hashed."""

    @wraps(ask)
    def asked(tree: Tree, /, *rest: Rest.args, **named: Rest.kwargs) -> T:
        key = (ask, *rest)
        answers = tree.answers
        if key not in answers:
            answers[key] = ask(tree, *rest, **named)
        answer: T = answers[key]
        return answer

    return asked


@once_a_tree
def below(tree: Tree, node: cst.CSTNode, kind: type[N]) -> tuple[N, ...]:
    """The nodes of exactly one type at and below a node, in source order: what several questions walk the same code for."""
    return tuple(each for each in walk(node) if type(each) is kind)
