"""Data loaders and other sources of batches: which one a loop goes over, and which one feeds a loss."""

from __future__ import annotations

from collections.abc import Iterator

from tricklint.interpreter.values import (
    Class,
    Const,
    Func,
    Generated,
    Instance,
    IteratorFacts,
    Sequence,
    Share,
    Union,
    Value,
    members,
)
from tricklint.libraries.facts import BatchFacts, LoaderFacts
from tricklint.program.loops import flow

# What a parameter is called that says how large batches are
_SIZES = frozenset(("bs", "bsz", "batchsize", "batch", "batch_sz", "size_batch", "n_batch"))
_OF_EVALUATION = frozenset(("eval", "val", "valid", "test"))
Source = Instance | Generated


def loaders_of(over: Value | None, depth: int = 0) -> Iterator[Instance]:
    """The data loaders behind what a loop goes over: itself, or within `enumerate`, `zip`, `tqdm`, a generator and the
    like."""
    for source in sources_of(over, depth):
        if isinstance(source, Instance) and source.kind in ("loader", "batches"):
            yield source


def sources_of(over: Value | None, depth: int = 0) -> Iterator[Source]:
    """Everything that batches may come from behind what a loop goes over: loaders, objects with an `__iter__`, generators."""
    for member in members(over) if depth < 5 else ():
        if isinstance(member, Sequence):
            for item in member.items:
                for each in members(item):
                    yield from _behind(each)
        if isinstance(member, Generated):
            yield member
        if not isinstance(member, Instance):
            continue
        if member.kind in ("loader", "batches") or (isinstance(member.cls, Class) and not member.kind):
            yield member
        if isinstance(member.cls, Class):  # a wrapper of the program goes over what it holds
            for held in member.fields.values():
                for inner in members(held):
                    if isinstance(inner, Instance) and inner.kind in ("loader", "batches"):
                        yield inner
        if member.has(IteratorFacts):
            known = member.fact(IteratorFacts)
            for nested in (known.enumerates, known.iterates, *known.zips):
                yield from sources_of(nested, depth + 1)


def _behind(item: Value) -> Iterator[Instance]:
    """The loader of a batch, also where it is one of a tuple: `yield index, batch`."""
    if isinstance(item, Instance) and item.kind == "loader_item" and item.fact(BatchFacts).loader is not None:
        loader = item.fact(BatchFacts).loader
        assert loader is not None
        yield loader
    elif isinstance(item, Sequence) and not isinstance(item, Generated):
        for part in item.items:
            for each in members(part):
                yield from _behind(each) if isinstance(each, Instance) else ()


def feeding(value: Value | None) -> Iterator[Instance]:
    """The data loaders whose batches a value was computed from."""
    for tensor in flow(value):
        loader = tensor.attrs.get("loader")
        if isinstance(loader, Instance):
            yield loader


def names_a_size(name: str) -> bool:
    return (name.endswith("batch_size") or name in _SIZES) and not _OF_EVALUATION.intersection(name.split("_"))


def size_given(source: Source) -> Value | None:
    """How large the batches of a source are to be, where it was told."""
    if isinstance(source, Generated):
        return next((value for name, value in source.arguments.items() if names_a_size(name)), None)
    if source.kind in ("loader", "batches"):
        known = source.fact(LoaderFacts)
        if known.batch_size is not None or known.batch_sampler is None:
            return known.batch_size
        drawn = [one for one in members(known.batch_sampler) if isinstance(one, Instance)]
        return next((size_given(one) for one in drawn if one is not source), None)
    if source.has(LoaderFacts):
        return source.fact(LoaderFacts).batch_size
    given = dict(source.kwargs)
    init = source.cls.lookup("__init__") if isinstance(source.cls, Class) else None
    if isinstance(init, Func):
        given.update(zip((param.name.value for param in init.node.params.params[1:]), source.args, strict=False))
    return next((value for name, value in given.items() if names_a_size(name)), None)


def fixed_size(value: Value | None) -> int | None:
    """The number of samples in a batch, where the code or a default fixes it: on either side of a condition, or up to a
    share of the devices; None where it comes from outside."""
    sizes: list[int | None] = []
    for member in members(value):
        at = member.base if isinstance(member, Share) else member
        known = isinstance(at, Const) and isinstance(at.value, int) and not isinstance(at.value, bool) and at.value > 0
        sizes.append(at.value if known and isinstance(at, Const) else None)
    if isinstance(value, Union) and value.sure:
        return sizes[0]
    return sizes[0] if sizes and None not in sizes else None


__all__ = ["Source", "feeding", "fixed_size", "loaders_of", "names_a_size", "size_given", "sources_of"]
