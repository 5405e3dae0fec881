"""Memory: what a step needs, what to do when it does not fit, and koila behind a proof.

`Guard.backward` is one training step's forward and backward. Where the batch does not fit it is halved, and the pieces'
gradients are added up weighted by n_i / N, which is the gradient of the whole batch's mean loss.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn

from tricklint.verify.runner.memory import SavedBytes

Loss = Callable[[Tensor, Tensor], Tensor]
GUARDS = ("accumulate", "koila", "none")


def saved_bytes(model: nn.Module, loss: Loss, x: Tensor, y: Tensor) -> int:
    """Peak bytes of activations that one training step keeps for its backward.

    Runs on whatever device the arguments are on; on "meta" nothing is computed and no memory is used.
    """
    meter = SavedBytes()
    with meter.hooks():
        value = loss(model(x), y)
        if value.requires_grad:
            value.backward()
    model.zero_grad(set_to_none=True)
    return meter.peak


def step_bytes(model: nn.Module, loss: Loss, x: Tensor, y: Tensor, optimizer_states: int = 1) -> int:
    """An estimate of a whole step's bytes: activations, weights, gradients, optimizer states (1 for SGD with
    momentum, 2 for Adam) and buffers. Made on the meta device from copies; the arguments are not touched."""
    import copy

    twin = copy.deepcopy(model).to("meta")
    with torch.random.fork_rng(devices=[]):
        kept = saved_bytes(twin, loss, x.to("meta"), y.to("meta"))
    trainable = sum(p.numel() * p.element_size() for p in model.parameters() if p.requires_grad)
    weights = sum(t.numel() * t.element_size() for t in (*model.parameters(), *model.buffers()))
    return kept + weights + (1 + optimizer_states) * trainable + x.numel() * x.element_size()


def free_bytes(device: torch.device) -> int:
    """Bytes that may be used now: of the card, or of the machine's available memory."""
    if device.type == "cuda":
        return int(torch.cuda.mem_get_info(device)[0])
    try:
        with open("/proc/meminfo", encoding="ascii") as file:
            lines = dict(line.split(":", 1) for line in file)
        return int(lines["MemAvailable"].split()[0]) * 1024
    except (OSError, KeyError):
        return 8 << 30


def largest_batch(bytes_at: Callable[[int], int], limit: int, start: int = 1) -> int:
    """The largest batch whose `bytes_at(batch)` is at most `limit`; 0 when not even one sample fits.

    `bytes_at` must not fall as the batch grows; it is asked O(log batch) times.
    """
    if bytes_at(start) > limit:
        return 0
    low, high = start, start * 2
    while bytes_at(high) <= limit and high < 1 << 24:
        low, high = high, high * 2
    while high - low > max(1, low // 64):
        middle = (low + high) // 2
        low, high = (middle, high) if bytes_at(middle) <= limit else (low, middle)
    return low


def accumulate(model: nn.Module, loss: Loss, x: Tensor, y: Tensor, pieces: int) -> Tensor:
    """Backward of the mean loss over (x, y) in `pieces` pieces; gradients are added to `.grad`. Returns the loss."""
    total = torch.zeros((), device=x.device)
    for part_x, part_y in zip(x.tensor_split(pieces), y.tensor_split(pieces)):
        if len(part_x):
            value = loss(model(part_x), part_y) * (len(part_x) / len(x))
            value.backward()
            total += value.detach()
    return total


def is_out_of_memory(error: BaseException) -> bool:
    return isinstance(error, torch.cuda.OutOfMemoryError) or (
        isinstance(error, RuntimeError) and "out of memory" in str(error).lower()
    )


class Guard:
    """One run's way to meet out-of-memory: "accumulate" (halve and accumulate), "koila" (where it is proven), "none".

    `pieces` is how many pieces a batch is now run in; `notes` says in words what happened.
    """

    def __init__(self, loss: Loss, kind: str = "accumulate") -> None:
        if kind not in GUARDS:
            raise ValueError(f"no out-of-memory guard {kind!r}; there are: {', '.join(GUARDS)}")
        self.loss, self.kind, self.pieces = loss, kind, 1
        self.notes: list[str] = []
        self.koila: Any = None
        self.asked = False

    def backward(self, model: nn.Module, x: Tensor, y: Tensor) -> Tensor:
        """Forward and backward of one batch; returns the detached mean loss. Gradients must be zero before."""
        if self.kind == "koila" and not self.asked:
            self._ask_koila(model, x, y)
        if self.koila is not None:
            return self.koila(model, x, y)  # type: ignore[no-any-return]
        while True:
            try:
                if self.pieces == 1:
                    value = self.loss(model(x), y)
                    value.backward()
                    return value.detach()
                return accumulate(model, self.loss, x, y, self.pieces)
            except (torch.cuda.OutOfMemoryError, RuntimeError) as error:
                if not is_out_of_memory(error) or self.kind == "none" or self.pieces >= len(x):
                    raise
                self._halve(model, len(x))

    def _halve(self, model: nn.Module, batch: int) -> None:
        model.zero_grad(set_to_none=True)  # the failed piece may have left gradients
        if torch.cuda.is_available():
            torch.cuda.empty_cache()
        self.pieces *= 2
        note = f"out of memory: batches of {batch} run in {self.pieces} pieces"
        if any(isinstance(m, nn.modules.batchnorm._BatchNorm) for m in model.modules()):
            note += " (batch norm sees the pieces)"
        self.notes.append(note)

    def _ask_koila(self, model: nn.Module, x: Tensor, y: Tensor) -> None:
        from tricklint.verify.koila_guard import prove

        self.asked = True
        step, why = prove(model, self.loss, x, y)
        self.koila = step
        self.notes.append(
            "koila: its gradients equal PyTorch's here"
            if step
            else f"koila not used: {why}; batches are halved instead"
        )
