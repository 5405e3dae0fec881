"""Run a script whose batch does not fit: loaders give pieces, gradients are accumulated, weighted n_i / N.

The script's loop goes on as it was. Each of its `backward` calls adds n_i · ∇(mean loss of the piece) to the gradients,
`zero_grad` and `step` wait until k pieces are in (or the loader ends), and the step divides by N = Σ n_i: the gradient
of the whole batch's mean loss. A batch norm still sees pieces; the record says how many.
"""

from __future__ import annotations

import functools
from typing import Any


class Pieces:
    """Splits batches of every DataLoader in `k` pieces for one training run."""

    def __init__(self, k: int, recorder: Any = None) -> None:
        self.k = k
        self.recorder = recorder
        self.seen = 0  # pieces since the last real step
        self.samples = 0  # samples in them
        self.current = 1
        self.optimizers: list[Any] = []

    def install(self) -> None:
        import torch
        from torch.utils.data import DataLoader

        meter = self
        plain_init, plain_iter = DataLoader.__init__, DataLoader.__iter__
        plain_backward, optimizer = torch.autograd.backward, torch.optim.Optimizer

        @functools.wraps(plain_init)
        def init(self: Any, dataset: Any, batch_size: Any = 1, *args: Any, **kwargs: Any) -> None:
            if isinstance(batch_size, int) and batch_size > 1 and kwargs.get("batch_sampler") is None:
                batch_size = max(1, -(-batch_size // meter.k))
            plain_init(self, dataset, batch_size, *args, **kwargs)

        @functools.wraps(plain_iter)
        def iterate(self: Any) -> Any:
            for batch in plain_iter(self):
                meter.current = samples(batch)
                yield batch
            meter.flush()

        @functools.wraps(plain_backward)
        def backward(tensors: Any, *args: Any, **kwargs: Any) -> None:
            scalar: Any = tensors if isinstance(tensors, torch.Tensor) else tensors[0]
            weighted = scalar * meter.current
            weighted._tricklint_loss = getattr(scalar, "_tricklint_loss", scalar).detach() * meter.current
            plain_backward(weighted if isinstance(tensors, torch.Tensor) else [weighted], *args, **kwargs)
            meter.samples += meter.current
            meter.seen += 1

        DataLoader.__init__, DataLoader.__iter__ = init, iterate  # type: ignore[method-assign]
        torch.autograd.backward = backward
        plain_optimizer_init = optimizer.__init__

        @functools.wraps(plain_optimizer_init)
        def optimizer_init(self: Any, *args: Any, **kwargs: Any) -> None:
            plain_optimizer_init(self, *args, **kwargs)
            meter._wrap(self)

        optimizer.__init__ = optimizer_init  # type: ignore[method-assign]

    def _wrap(self, optimizer: Any) -> None:
        step, zero = optimizer.step, optimizer.zero_grad

        def real_step(*args: Any, **kwargs: Any) -> Any:
            for group in optimizer.param_groups:
                for parameter in group["params"]:
                    if parameter.grad is not None:
                        parameter.grad.div_(max(1, self.samples))
            if self.recorder is not None and self.recorder.pending is not None:
                self.recorder.pending = self.recorder.pending / max(1, self.samples)
            self.seen = self.samples = 0
            result = step(*args, **kwargs)
            zero()
            return result

        optimizer.step = lambda *a, **k: real_step(*a, **k) if self.seen >= self.k else None
        optimizer.zero_grad = lambda *a, **k: zero(*a, **k) if self.seen == 0 else None
        optimizer._tricklint_step = real_step
        self.optimizers.append(optimizer)

    def flush(self) -> None:
        """The loader ended with fewer than k pieces: step with those that are in."""
        if self.seen:
            for optimizer in self.optimizers:
                if any(p.grad is not None for group in optimizer.param_groups for p in group["params"]):
                    optimizer._tricklint_step()


def samples(batch: Any) -> int:
    """How many samples a batch holds: the first tensor's first dimension."""
    if hasattr(batch, "shape") and len(batch.shape):
        return int(batch.shape[0])
    values = batch.values() if isinstance(batch, dict) else batch if isinstance(batch, (list, tuple)) else ()
    return next(
        (samples(value) for value in values if hasattr(value, "shape") or isinstance(value, (dict, list, tuple))), 1
    )
