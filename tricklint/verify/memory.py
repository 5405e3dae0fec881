"""Memory: what a step needs, what to do when it does not fit, and koila behind a proof.

`Guard.backward` is one training step's forward and backward. Where the batch does not fit, the model is run on it in
pieces, where a proof on this very batch shows that their gradients are the whole batch's (`runner.pieces`).
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn

from tricklint.verify.runner.memory import SavedBytes
from tricklint.verify.runner.pieces import NotProven, Pieces, difference, out_of_memory

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


class Guard:
    """One run's way to meet out-of-memory: "accumulate" (the model in pieces, where their gradients are proven to be the
    whole batch's), "koila" (where that is proven), "none".

    `pieces` is how many pieces a batch is now run in; `notes` says in words what happened.
    """

    def __init__(self, loss: Loss, kind: str = "accumulate") -> None:
        if kind not in GUARDS:
            raise ValueError(f"no out-of-memory guard {kind!r}; there are: {', '.join(GUARDS)}")
        self.loss, self.kind, self.pieces = loss, kind, 1
        self.notes: list[str] = []
        self.cut = Pieces(1)
        self.koila: Any = None
        self.asked = False
        self.refused: list[str] = []

    def backward(self, model: nn.Module, x: Tensor, y: Tensor) -> Tensor:
        """Forward and backward of one batch; returns the detached mean loss. Gradients must be zero before."""
        while True:
            try:
                if self.koila is not None:
                    return self.koila(model, x, y, self.pieces)  # type: ignore[no-any-return]
                outputs = self.cut.call(model, model, (x,), {}) if self.pieces > 1 else model(x)
                value = self.loss(outputs, y)
                value.backward()
                if self.pieces > 1:
                    self.notes = [*self.refused, self.cut.note()]
                return value.detach()
            except NotProven as error:
                raise torch.cuda.OutOfMemoryError(f"out of memory, and not run in pieces: {error}") from None
            except (torch.cuda.OutOfMemoryError, RuntimeError, MemoryError) as error:
                if not out_of_memory(error) or self.kind == "none" or self.pieces >= len(x):
                    raise
            # Only now: while the error lives, what the failed pass had kept lives with it.
            self._halve(model)
            if self.kind == "koila" and not self.asked:
                self._ask_koila(model, x, y)

    def _halve(self, model: nn.Module) -> None:
        model.zero_grad(set_to_none=True)  # the failed pass may have left gradients
        if torch.cuda.is_available():
            torch.cuda.empty_cache()
        self.pieces *= 2
        self.cut = Pieces(self.pieces)
        if self.koila is not None:
            self._note_koila()

    def _ask_koila(self, model: nn.Module, x: Tensor, y: Tensor) -> None:
        """Ask for the proof with one piece of the batch; where even that does not fit, again after the next halving."""
        from tricklint.verify.koila_guard import prove

        size = -(-len(x) // self.pieces)
        try:
            self.koila, why = prove(model, self.loss, x[:size], y[:size])
        except (torch.cuda.OutOfMemoryError, RuntimeError, MemoryError) as error:
            if not out_of_memory(error):
                raise
            return
        self.asked = True
        if self.koila is not None:
            self._note_koila()
        else:
            self.refused = [f"koila not used: {why}; the model runs in pieces instead"]

    def _note_koila(self) -> None:
        self.notes = [
            f"out of memory: run by koila in {self.pieces} pieces; gradients proven equal to PyTorch's "
            f"({difference(self.koila.gap)})"
        ]
