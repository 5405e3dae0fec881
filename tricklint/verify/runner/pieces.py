"""Run a model on a batch that does not fit, piece by piece, with the gradients of the whole batch.

The script keeps its batch, its loss, its clipping, scaler, accumulation and schedule. Only the call of its outermost
module is cut: the pieces run one after the other without a graph, their outputs are put together, and when the loss of
the whole batch is backpropagated each piece is run again with a graph, one at a time. That is exact wherever a sample's
output does not depend on the other samples. Whether it is so is not believed but proven, on the very batch and with the
very weights that are about to be used: a piece run whole must give the outputs and gradients of the same piece cut in
two uneven parts, and leave the buffers alone. Where it does not, the run ends with a line that says why.
"""

from __future__ import annotations

import contextlib
import functools
import itertools
import math
import random
import sys
import threading
import weakref
from collections.abc import Callable, Iterator, Sequence
from typing import Any


class NotProven(BaseException):
    """Pieces would not give the whole batch's gradients here. Not an Exception, so that the script cannot swallow it."""


class Pieces:
    """Cuts the calls of a run's outermost modules into `k` pieces. `proven` says in words what was shown, module by
    module; `within`: the memory ran out in one piece, so that smaller ones may help."""

    def __init__(self, k: int, recorder: Any = None) -> None:
        self.k = k
        self.recorder = recorder
        self.proven: dict[str, float] = {}  # module → the largest difference of a gradient, relative
        self.known: weakref.WeakKeyDictionary[Any, set[Any]] = weakref.WeakKeyDictionary()
        self.within = False
        self.refused = ""  # why pieces would come out wrong
        self.depth = threading.local()

    def install(self) -> None:
        import torch

        module, meter = torch.nn.Module, self
        plain = module.__call__

        @functools.wraps(plain)
        def call(self: Any, *args: Any, **kwargs: Any) -> Any:
            if getattr(meter.depth, "value", 0) or _transparent(self) or next(self.parameters(), None) is None:
                return plain(self, *args, **kwargs)
            return meter.call(self, functools.partial(plain, self), args, kwargs)

        module.__call__ = call  # type: ignore[method-assign]

    def call(self, module: Any, function: Callable[..., Any], args: Any, kwargs: Any) -> Any:
        """`function(*args, **kwargs)`, cut; the first time with a batch of this form its equality is proven."""
        import torch

        function, batch = self._as_one(function), _Batch(args, kwargs)
        if batch.size < 2:
            return function(*args, **kwargs)
        count = min(self.k, batch.size)
        form = (module.training, torch.is_grad_enabled(), batch.form(), count)
        known = self.known.setdefault(module, set())
        with self._noticing():
            if form not in known:
                gap = prove(module, function, batch, count)
                name = type(module).__name__
                self.proven[name] = max(self.proven.get(name, 0.0), gap)
                known.add(form)
            return cut(module, function, batch, count, self._noticing)

    def _as_one(self, function: Callable[..., Any]) -> Callable[..., Any]:
        """A module's call in which no inner module is cut, also when it is run again for its backward."""

        def run(*args: Any, **kwargs: Any) -> Any:
            outside = getattr(self.depth, "value", 0)
            self.depth.value = outside + 1
            try:
                return function(*args, **kwargs)
            finally:
                self.depth.value = outside

        return run

    @contextlib.contextmanager
    def _noticing(self) -> Iterator[None]:
        try:
            yield
        except BaseException as error:
            self.within = self.within or out_of_memory(error)
            self.refused = self.refused or (str(error) if isinstance(error, NotProven) else "")
            raise

    def note(self) -> str:
        """What was done, for the report."""
        shown = ", ".join(f"{name} ({difference(gap)})" for name, gap in self.proven.items())
        return f"out of memory: run in {self.k} pieces; gradients proven equal to the whole batch's: {shown}"


def difference(gap: float) -> str:
    """How near proven gradients are, in words that are the same for runs that differ by rounding."""
    return f"largest difference below 1e{math.floor(math.log10(gap)) + 1}" if gap > 0 else "no difference"


def out_of_memory(error: BaseException) -> bool:
    """Whether an error says that memory is used up."""
    import torch

    if isinstance(error, (torch.cuda.OutOfMemoryError, MemoryError)):
        return True
    text = str(error).lower() if isinstance(error, Exception) else ""
    return any(words in text for words in ("out of memory", "not enough memory", "can't allocate memory"))


def _transparent(module: Any) -> bool:
    """A wrapper for several processes: what it wraps is cut, so that it sees one forward and one backward."""
    kind = type(module)
    return kind.__name__ in ("DistributedDataParallel", "FullyShardedDataParallel", "DataParallel") and (
        kind.__module__.startswith("torch.")
    )


# -- batches ----------------------------------------------------------------------------------------------------------


class _Batch:
    """The arguments of a call, and which of their tensors hold one row a sample: those as long as the first one is."""

    def __init__(self, args: Any, kwargs: Any) -> None:
        import torch
        from torch.utils import _pytree as pytree

        self.leaves, self.shape = pytree.tree_flatten((args, kwargs))
        rows = [leaf for leaf in self.leaves if isinstance(leaf, torch.Tensor) and leaf.dim()]
        self.size = len(rows[0]) if rows else 0
        self.cuttable = [
            isinstance(leaf, torch.Tensor) and leaf.dim() > 0 and len(leaf) == self.size for leaf in self.leaves
        ]

    def form(self) -> tuple[Any, ...]:
        return tuple(
            (tuple(leaf.shape), leaf.dtype, leaf.device) if cuttable else type(leaf)
            for leaf, cuttable in zip(self.leaves, self.cuttable)
        )

    def part(self, start: int, stop: int, leaves: Sequence[Any] | None = None) -> tuple[Any, Any]:
        """The arguments for samples start … stop."""
        from torch.utils import _pytree as pytree

        mine = [
            leaf[start:stop] if cuttable else leaf
            for leaf, cuttable in zip(leaves if leaves is not None else self.leaves, self.cuttable)
        ]
        args, kwargs = pytree.tree_unflatten(mine, self.shape)
        return args, kwargs


def _bounds(size: int, count: int) -> list[tuple[int, int]]:
    edges = [size * i // count for i in range(count + 1)]
    return [(a, b) for a, b in itertools.pairwise(edges) if b > a]


def _joined(results: Sequence[Any], sizes: Sequence[int]) -> tuple[list[Any], Any]:
    """The pieces' results as one flat result: rows put together, single numbers averaged by the pieces' sizes (the
    proof shows whether that is right), everything else as it is in all pieces. Raises NotProven."""
    import torch
    from torch.utils import _pytree as pytree

    flat = [pytree.tree_flatten(result) for result in results]
    _, shape = flat[0]
    if any(other[1] != shape for other in flat):
        raise NotProven("the model returns another structure for another number of samples")
    joined = []
    for values in zip(*(leaves_ for leaves_, _ in flat)):
        first = values[0]
        if not isinstance(first, torch.Tensor):
            if any(type(v) is not type(first) or v != first for v in values):
                raise NotProven(f"the model returns a {type(first).__name__} that differs from piece to piece")
            joined.append(first)
        elif all(v.dim() and len(v) == n for v, n in zip(values, sizes)):
            joined.append(torch.cat(values))
        elif all(v.dim() == 0 and v.is_floating_point() for v in values):
            total = sum(sizes)
            joined.append(sum(v * (n / total) for v, n in zip(values, sizes)))
        else:
            raise NotProven(f"the model returns a tensor of shape {tuple(first.shape)}, which is not one row a sample")
    return joined, shape


# -- the cut ----------------------------------------------------------------------------------------------------------


def cut(
    module: Any,
    function: Callable[..., Any],
    batch: _Batch,
    count: int,
    noticing: Callable[[], Any] = contextlib.nullcontext,
    bounds: list[tuple[int, int]] | None = None,
) -> Any:
    """`function` on `batch` in `count` pieces (or at `bounds`)."""
    import torch
    from torch.utils import _pytree as pytree

    edges = bounds or _bounds(batch.size, count)
    sizes = [b - a for a, b in edges]
    parameters = [p for p in module.parameters() if p.requires_grad]
    inputs = [i for i, leaf in enumerate(batch.leaves) if isinstance(leaf, torch.Tensor) and leaf.requires_grad]
    if not torch.is_grad_enabled() or not (parameters or inputs):
        joined, shape = _joined([_called(function, batch.part(a, b)) for a, b in edges], sizes)
        return pytree.tree_unflatten(joined, shape)
    autocast = _autocast()
    kept: dict[str, Any] = {}

    class Cut(torch.autograd.Function):
        @staticmethod
        def forward(ctx: Any, *given: Any) -> Any:
            leaves = list(batch.leaves)
            for place, leaf in zip(inputs, given):
                leaves[place] = leaf
            ctx.leaves = leaves
            joined, kept["shape"] = _joined([_called(function, batch.part(a, b, leaves)) for a, b in edges], sizes)
            kept["fixed"] = [None if _flows(v) else (v,) for v in joined]
            return tuple(v for v in joined if _flows(v))

        @staticmethod
        def backward(ctx: Any, *gradients: Any) -> Any:
            if torch.is_grad_enabled():
                raise NotProven("gradients of gradients are asked for, which pieces cannot give")
            with noticing():
                return _backward(ctx.leaves, gradients)

    def _backward(leaves: list[Any], gradients: Any) -> Any:
        totals: list[Any] = [None] * len(parameters)
        rows: list[list[Any]] = [[] for _ in inputs]
        total = sum(sizes)
        for (a, b), n in zip(edges, sizes):
            mine = [leaf.detach() if isinstance(leaf, torch.Tensor) else leaf for leaf in leaves]
            for place in inputs:
                mine[place].requires_grad_()
            with torch.enable_grad(), autocast():
                values = [v for v in pytree.tree_flatten(_called(function, batch.part(a, b, mine)))[0] if _flows(v)]
                pairs = [
                    (v, g[a:b] if g.dim() else g * (n / total))
                    for v, g in zip(values, gradients)
                    if g is not None and v.requires_grad
                ]
                wanted = [mine[place] for place in inputs] + parameters
                found = (
                    torch.autograd.grad([v for v, _ in pairs], wanted, [g for _, g in pairs], allow_unused=True)
                    if pairs
                    else [None] * len(wanted)
                )
            for place, gradient in enumerate(found[: len(inputs)]):
                rows[place].append(gradient)
            for place, gradient in enumerate(found[len(inputs) :]):
                if gradient is not None:
                    totals[place] = gradient if totals[place] is None else totals[place] + gradient
        return (*(_added(r) for r in rows), *totals)

    def _added(found: list[Any]) -> Any:
        present = [g for g in found if g is not None]
        # Each is as long as the whole leaf, zero outside of its own piece.
        return functools.reduce(lambda x, y: x + y, present) if present else None

    given = [batch.leaves[place] for place in inputs]
    flowing = list(Cut.apply(*given, *parameters))  # type: ignore[no-untyped-call]
    joined = [entry[0] if entry is not None else flowing.pop(0) for entry in kept["fixed"]]
    return pytree.tree_unflatten(joined, kept["shape"])


def _called(function: Callable[..., Any], arguments: tuple[Any, Any]) -> Any:
    return function(*arguments[0], **arguments[1])


def _flows(value: Any) -> bool:
    """Whether gradients can flow through a value."""
    import torch

    return isinstance(value, torch.Tensor) and value.is_floating_point()


def _autocast() -> Callable[[], Any]:
    """The autocast state of now, to be entered again when a piece is run for its backward."""
    import torch

    states = [
        (kind, torch.get_autocast_dtype(kind), torch.is_autocast_cache_enabled())
        for kind in ("cuda", "cpu")
        if torch.is_autocast_enabled(kind)
    ]

    @contextlib.contextmanager
    def enter() -> Iterator[None]:
        with contextlib.ExitStack() as stack:
            for kind, dtype, cached in states:
                stack.enter_context(torch.autocast(kind, dtype=dtype, cache_enabled=cached))
            yield

    return enter


# -- the proof --------------------------------------------------------------------------------------------------------


def prove(module: Any, function: Callable[..., Any], batch: _Batch, count: int) -> float:
    """Show on the first piece of this batch that a cut changes nothing; the largest relative difference of a gradient.
    Raises NotProven with the reason, or the error of a piece that itself does not fit."""

    size = max(2, _bounds(batch.size, count)[0][1])
    first = size // 3 or 1
    part = _Batch(*batch.part(0, size))
    if part.size != size:
        raise NotProven("which argument holds the samples cannot be told")
    with _undisturbed(module, part) as disturbed:
        whole = _measured(module, function, part, None)
        if disturbed():
            raise NotProven(f"each forward changes {disturbed()}{_suspect(module)}")
        parts = _measured(module, function, part, [(0, first), (first, size)])
    return compared(whole, parts, module)


def _measured(module: Any, function: Callable[..., Any], batch: _Batch, bounds: Any) -> tuple[list[Any], list[Any]]:
    """(outputs, gradients of parameters and inputs under fixed random weights of the outputs), whole or cut."""
    import torch
    from torch.utils import _pytree as pytree

    leaves = [
        leaf.detach().requires_grad_(leaf.requires_grad) if isinstance(leaf, torch.Tensor) else leaf
        for leaf in batch.leaves
    ]
    args, kwargs = batch.part(0, batch.size, leaves)
    own = _Batch(args, kwargs)
    result = cut(module, function, own, 2, bounds=bounds) if bounds else function(*args, **kwargs)
    values = [v for v in pytree.tree_flatten(result)[0] if isinstance(v, torch.Tensor)]
    flowing = [v for v in values if v.requires_grad and _flows(v)]
    wanted = [leaf for leaf in own.leaves if isinstance(leaf, torch.Tensor) and leaf.requires_grad]
    wanted += [p for p in module.parameters() if p.requires_grad]
    if not flowing or not wanted:
        return [v.detach() for v in values], []
    generator = torch.Generator().manual_seed(7)
    weights = [torch.randn(v.shape, generator=generator).to(v) for v in flowing]
    gradients = torch.autograd.grad(flowing, wanted, weights, allow_unused=True)
    return [v.detach() for v in values], list(gradients)


def compared(whole: tuple[list[Any], list[Any]], parts: tuple[list[Any], list[Any]], module: Any) -> float:
    """The largest relative difference of two measurements. Raises NotProven where it is more than rounding."""
    worst = 0.0
    why = _suspect(module)
    for what, these, those in zip(("an output", "a gradient"), whole, parts):
        if len(these) != len(those):
            raise NotProven(f"another number of values in pieces{why}")
        for a, b in zip(these, those):
            if (a is None) != (b is None) or (a is not None and a.shape != b.shape):
                raise NotProven(f"{what} is missing in pieces{why}")
            if a is None:
                continue
            largest = float(a.detach().abs().max()) if a.numel() else 0.0
            gap = float((a.double() - b.double()).abs().max()) / max(largest, 1e-6) if a.numel() else 0.0
            if not gap <= tolerance(a):
                raise NotProven(f"{what} differs by {gap:.1g} of its largest entry when the batch is cut{why}")
            worst = max(worst, gap)
    return worst


def tolerance(value: Any) -> float:
    """What rounding may make of a value that is added up in another order, relative to its largest entry."""
    import torch

    if value.dtype in (torch.float16, torch.bfloat16) or any(map(torch.is_autocast_enabled, ("cpu", "cuda"))):
        return 3e-2
    short = value.device.type == "cuda" and (torch.backends.cuda.matmul.allow_tf32 or torch.backends.cudnn.allow_tf32)
    return 2e-3 if short else 1e-4


def _suspect(module: Any) -> str:
    """The layer that makes samples depend on each other, or on chance, where it is one of the usual ones."""
    import torch

    for name, part in module.named_modules():
        if isinstance(part, torch.nn.modules.batchnorm._BatchNorm) and part.training:
            return f": batch norm ({name or type(part).__name__}) takes its statistics over the whole batch"
        if isinstance(part, torch.nn.modules.dropout._DropoutNd) and part.training and part.p > 0:
            return f": dropout ({name or type(part).__name__}) draws other numbers for pieces"
    return ""


@contextlib.contextmanager
def _undisturbed(module: Any, batch: _Batch) -> Iterator[Callable[[], str]]:
    """Leave random numbers and buffers as they are found; gives a question: what else has changed by now?"""
    import torch

    tensors = [(leaf, leaf._version) for leaf in batch.leaves if isinstance(leaf, torch.Tensor)]

    buffers = {name: (b, b.detach().clone()) for name, b in module.named_buffers()}
    states = torch.get_rng_state(), random.getstate()
    cards = torch.cuda.get_rng_state_all() if torch.cuda.is_available() and torch.cuda.is_initialized() else None
    numpy = sys.modules.get("numpy")
    numbers = numpy.random.get_state() if numpy is not None else None

    def disturbed() -> str:
        if any(leaf._version != version for leaf, version in tensors):
            return "its input in place"
        return next(
            (f"the buffer {name}" for name, (now, before) in buffers.items() if not torch.equal(now, before)), ""
        )

    try:
        yield disturbed
    finally:
        with torch.no_grad():
            for now, before in buffers.values():
                now.copy_(before)
        torch.set_rng_state(states[0])
        random.setstate(states[1])
        if cards is not None:
            torch.cuda.set_rng_state_all(cards)
        if numpy is not None:
            numpy.random.set_state(numbers)


def samples(batch: Any) -> int:
    """How many samples a batch holds: the first tensor's first dimension."""
    if hasattr(batch, "shape") and len(batch.shape):
        return int(batch.shape[0])
    values = batch.values() if isinstance(batch, dict) else batch if isinstance(batch, (list, tuple)) else ()
    return next(
        (samples(value) for value in values if hasattr(value, "shape") or isinstance(value, (dict, list, tuple))), 1
    )
