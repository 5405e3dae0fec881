"""koila 0.1.1 behind a proof: it is used only where its gradients equal PyTorch's on this very model and batch.

Left to itself koila adds up the mean losses of the pieces unscaled, so gradients grow with the number of pieces. This
adaptor runs each piece through koila's own lazy evaluation and weights the pieces n_i / N. Then it compares with plain
PyTorch; whatever does not agree is refused with a reason. What koila has over `runner.pieces`: no part is run twice.
"""

from __future__ import annotations

import copy
import itertools
import sys
import types
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

Loss = Callable[[Tensor, Tensor], Tensor]
PIECES = 3  # the proof is made with an uneven split: unweighted pieces then show
TOLERANCE = 1e-4  # relative to the largest gradient; pieces are summed in another order


def load() -> Any:
    """The koila module. `pynvml` 12 and later have no `pynvml.smi`, without which koila cannot be imported: a small
    stand-in over torch takes its place. Raises ImportError."""
    try:
        import pynvml.smi  # type: ignore[import-not-found,import-untyped,unused-ignore]  # noqa: F401
    except ImportError:
        _stand_in()
    import koila  # type: ignore[import-not-found,import-untyped,unused-ignore]

    return koila


def _stand_in() -> None:
    class NvidiaSmi:
        @staticmethod
        def getInstance() -> Any:
            return NvidiaSmi()

        def DeviceQuery(self, what: str) -> dict[str, Any]:
            free = torch.cuda.mem_get_info()[0] if torch.cuda.is_available() else 0
            return {"gpu": [{"fb_memory_usage": {"free": free / 2**20, "unit": "MiB"}}]}

    smi = types.ModuleType("pynvml.smi")
    smi.nvidia_smi = NvidiaSmi  # type: ignore[attr-defined]
    sys.modules.setdefault("pynvml", types.ModuleType("pynvml"))
    sys.modules["pynvml.smi"] = smi


def _run(koila: Any, model: nn.Module, loss: Loss, x: Tensor, y: Tensor, sizes: Sequence[int]) -> Tensor:
    lazy_x, lazy_y = koila.lazy(x, y, batch=0)
    lazy_loss = loss(model(lazy_x), lazy_y)
    if not isinstance(lazy_loss, koila.LazyTensor):
        raise TypeError("the loss is computed eagerly, koila cannot split it")
    total = torch.zeros((), device=x.device)
    start = 0
    for size in sizes:
        piece = lazy_loss.run((start, start + size)) * (size / len(x))
        piece.backward()
        total += piece.detach()
        start += size
    return total


@dataclass
class Step:
    """A training step through koila; `gap`: the largest difference of a gradient that the proof saw, relative."""

    koila: Any
    loss: Loss
    gap: float

    def __call__(self, model: nn.Module, x: Tensor, y: Tensor, pieces: int) -> Tensor:
        """Forward and backward of the batch in so many pieces; the mean loss."""
        edges = [len(x) * i // pieces for i in range(pieces + 1)]
        return _run(self.koila, model, self.loss, x, y, [b - a for a, b in itertools.pairwise(edges) if b > a])


def prove(model: nn.Module, loss: Loss, x: Tensor, y: Tensor) -> tuple[Step | None, str]:
    """(a step that uses koila, "") when koila's gradients equal PyTorch's here, else (None, why not).

    `model` is left as it was: the proof is made on copies, in uneven pieces.
    """
    for name, module in model.named_modules():
        if isinstance(module, nn.modules.batchnorm._BatchNorm):
            return None, f"batch norm ({name}) would see its statistics updated once a piece"
        if isinstance(module, nn.modules.dropout._DropoutNd) and module.p > 0:
            return None, f"dropout ({name}) draws anew whenever koila computes a part again"
    try:
        koila = load()
    except ImportError as error:
        return None, f"koila cannot be imported ({error})"
    size = max(1, len(x) // PIECES)
    sizes = [size] * (len(x) // size)
    sizes[-1] += len(x) - sum(sizes)
    if len(sizes) > 1 and sizes[0] > 1:
        sizes[0], sizes[-1] = sizes[0] - 1, sizes[-1] + 1
    plain, lazy = copy.deepcopy(model), copy.deepcopy(model)
    for twin in (plain, lazy):
        twin.zero_grad(set_to_none=True)
    expected = loss(plain(x), y)
    expected.backward()
    try:
        got = _run(koila, lazy, loss, x, y, sizes)
    except Exception as error:
        reason = str(error).splitlines()[0][:80] if str(error) else "no reason given"
        return None, f"it cannot run this model ({type(error).__name__}: {reason})"
    if not torch.allclose(got, expected.detach(), rtol=1e-4, atol=1e-6):
        return None, f"its loss is {got.item():.6g} where PyTorch's is {expected.item():.6g}"
    worst = 0.0
    for (name, p), q in zip(plain.named_parameters(), lazy.parameters()):
        if (p.grad is None) != (q.grad is None):
            return None, f"the gradient of {name} is missing"
        if p.grad is not None and q.grad is not None:
            gap = float((p.grad - q.grad).abs().max())
            largest = float(p.grad.abs().max())
            if gap > TOLERANCE * max(largest, 1e-6):
                return None, f"the gradient of {name} differs by {gap:.2g} (largest entry {largest:.2g})"
            worst = max(worst, gap / max(largest, 1e-6))
    return Step(koila, loss, worst), ""
