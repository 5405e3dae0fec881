"""Data loaders: which one a loop goes over, and which one feeds a loss."""

from __future__ import annotations

from collections.abc import Iterator

from tricklint.interpreter.values import (
    Instance,
    IteratorFacts,
    Value,
    members,
)
from tricklint.program.loops import flow


def loaders_of(over: Value | None, depth: int = 0) -> Iterator[Instance]:
    """The data loaders behind what a loop goes over: itself, or within `enumerate`, `zip`, `tqdm` and the like."""
    for member in members(over) if depth < 5 else ():
        if not isinstance(member, Instance):
            continue
        if member.kind == "loader":
            yield member
        if member.has(IteratorFacts):
            known = member.fact(IteratorFacts)
            for inner in (known.enumerates, known.iterates, *known.zips):
                yield from loaders_of(inner, depth + 1)


def feeding(value: Value | None) -> Iterator[Instance]:
    """The data loaders whose batches a value was computed from."""
    for tensor in flow(value):
        loader = tensor.attrs.get("loader")
        if isinstance(loader, Instance):
            yield loader


__all__ = ["feeding", "loaders_of"]
