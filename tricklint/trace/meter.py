"""One forward, watched: bytes autograd keeps for a sample, parameters it reaches, shapes on the way."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from typing import Any

import torch
from torch import nn
from torch.nn import functional
from torch.overrides import TorchFunctionMode

from tricklint.trace.ladder import Inputs
from tricklint.trace.recorder import named_tensors


class _FusedAttention(torch.autograd.Function):
    """What a fused attention kernel keeps: q, k, v, the mask (which may be learnt), the output and one number a row, not
    the L × L weights."""

    @staticmethod
    def forward(
        ctx: Any, query: torch.Tensor, key: torch.Tensor, value: torch.Tensor, mask: torch.Tensor | None
    ) -> torch.Tensor:
        out = query.new_empty((*query.shape[:-1], value.shape[-1]))
        rows = query.new_empty(query.shape[:-1], dtype=torch.float32)
        ctx.save_for_backward(query, key, value, out, rows, *([] if mask is None else [mask]))
        return out

    @staticmethod
    def backward(ctx: Any, *grads: Any) -> Any:
        raise NotImplementedError("for counting only")


class _FusedNorm(torch.autograd.Function):
    """What a fused norm kernel keeps: the input, the scale, and a mean and a deviation a channel (or row)."""

    @staticmethod
    def forward(
        ctx: Any, input: torch.Tensor, weight: torch.Tensor | None, bias: torch.Tensor | None, kept: tuple[int, ...]
    ) -> torch.Tensor:
        statistics = input.new_empty((2, *kept), dtype=torch.float32)
        saved = [input, statistics] if weight is None else [input, statistics, weight]
        ctx.save_for_backward(*saved)
        return torch.empty_like(input)

    @staticmethod
    def backward(ctx: Any, *grads: Any) -> Any:
        raise NotImplementedError("for counting only")


class FusedMode(TorchFunctionMode):
    """On meta, attention and norms count as the fused kernels a GPU takes: meta itself takes attention's math, and
    the norms' decompositions (one operator of each) are a hundred times slower than this."""

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        if func is functional.scaled_dot_product_attention:
            query, key, value, mask = _named(args, kwargs, ("query", "key", "value", "attn_mask"))
            if query.is_meta and query.shape[-3:-2] == key.shape[-3:-2]:
                return _FusedAttention.apply(query, key, value, mask)  # type: ignore[no-untyped-call]
        elif func is functional.batch_norm:
            names = ("input", "running_mean", "running_var", "weight", "bias", "training")
            given, mean, _, weight, bias, training = _named(args, kwargs, names)
            if given.is_meta and (training or mean is None):
                if given.numel() == (given.shape[1] if given.dim() > 1 else 0):
                    raise ValueError(f"Expected more than 1 value per channel when training, got {tuple(given.shape)}")
                _same_channels(given, weight if weight is not None else mean)
                return _FusedNorm.apply(given, weight, bias, (given.shape[1],))  # type: ignore[no-untyped-call]
        elif func is functional.layer_norm:
            given, shape, weight, bias = _named(args, kwargs, ("input", "normalized_shape", "weight", "bias"))
            if given.is_meta and tuple(given.shape[-len(shape) :]) == tuple(shape):
                rows = tuple(given.shape[: -len(shape)])
                return _FusedNorm.apply(given, weight, bias, rows)  # type: ignore[no-untyped-call]
        return func(*args, **kwargs)


def _named(args: Any, kwargs: dict[str, Any], names: tuple[str, ...]) -> list[Any]:
    return [args[i] if i < len(args) else kwargs.get(name) for i, name in enumerate(names)]


def _same_channels(given: torch.Tensor, other: torch.Tensor | None) -> None:
    if other is not None and other.numel() != given.shape[1]:
        raise RuntimeError(f"a norm of {other.numel()} channels got {given.shape[1]}")


class Meter:
    """`with meter:` around a forward, then `meter.finish(output)`."""

    def __init__(self, model: nn.Module) -> None:
        self.model = model
        self.seen: dict[int, int] = {}  # storage → bytes
        self.holding: list[Any] = []
        self.constant = {t.untyped_storage()._cdata for t in (*model.parameters(), *model.buffers())}
        self.reached: set[str] | None = None
        self.saved = 0
        self._stack = ExitStack()

    def _pack(self, tensor: torch.Tensor) -> torch.Tensor:
        storage = tensor.untyped_storage()
        if storage._cdata not in self.constant and storage._cdata not in self.seen:
            self.seen[storage._cdata] = storage.nbytes()
            self.holding.append(storage)
        return tensor

    def __enter__(self) -> Meter:
        self._stack.enter_context(torch.autograd.graph.saved_tensors_hooks(self._pack, lambda t: t))
        self._stack.enter_context(torch.enable_grad())
        self._stack.enter_context(FusedMode())
        return self

    def __exit__(self, *exc: Any) -> None:
        self._stack.close()

    def finish(self, output: Any) -> None:
        """Add up what was saved and walk the autograd graph back to the parameters it reaches."""
        self.saved = sum(self.seen.values())
        names = {id(p): n for n, p in self.model.named_parameters()}
        frozen = not any(p.requires_grad for p in self.model.parameters())
        reached: set[str] = set()
        stack = [t.grad_fn for _, t in named_tensors(output) if t.grad_fn is not None]
        seen = set(stack)
        while stack:
            function = stack.pop()
            variable = getattr(function, "variable", None)
            if variable is not None and id(variable) in names:
                reached.add(names[id(variable)])
            for upper, _ in function.next_functions:
                if upper is not None and upper not in seen:
                    seen.add(upper)
                    stack.append(upper)
        self.reached = None if frozen or not seen else reached
        self.holding.clear()


def batch_of(inputs: Inputs) -> int:
    """The batch size of `inputs`: the first side of the first tensor, 1 when there is none."""
    for value in (*inputs.args, *inputs.kwargs.values()):
        for _, tensor in named_tensors(value):
            if tensor.dim():
                return max(1, int(tensor.shape[0]))
    return 1


@contextmanager
def shapes_of(model: nn.Module) -> Iterator[dict[str, tuple[int, ...]]]:
    """Output shapes by module path, filled while the forward runs inside."""
    shapes: dict[str, tuple[int, ...]] = {}
    handles = []
    for path, module in model.named_modules():

        def hook(_module: nn.Module, _args: Any, output: Any, path: str = path) -> None:
            first = next(named_tensors(output), None)
            if first is not None:
                shapes.setdefault(path, tuple(first[1].shape))

        handles.append(module.register_forward_hook(hook))
    try:
        yield shapes
    finally:
        for handle in handles:
            handle.remove()
