"""Bytes that autograd keeps alive, counted by saved-tensor hooks: exact, and the same on every device. And the nodes of
its graphs: a loss that was backpropagated and is still referred to keeps those, though its activations are gone."""

from __future__ import annotations

import functools
from typing import Any

from tricklint.verify.runner.pieces import samples


class _Held:
    """One saved tensor; its death is the moment the graph lets go of it."""

    __slots__ = ("key", "meter", "tensor")

    def __init__(self, tensor: Any, meter: SavedBytes, key: int) -> None:
        self.tensor, self.meter, self.key = tensor, meter, key

    def __del__(self) -> None:
        self.meter.release(self.key)


class _Mark:
    """Hangs on one node of a graph and dies with it."""

    __slots__ = ("meter",)

    def __init__(self, meter: SavedBytes) -> None:
        self.meter = meter
        meter.nodes += 1

    def __del__(self) -> None:
        self.meter.nodes -= 1


class SavedBytes:
    """Live and peak bytes of activations held for backward. Parameters are not counted: they are alive anyway, and a
    storage that is saved twice counts once. Above `limit` bytes it acts as a card that is full: OutOfMemoryError."""

    def __init__(self, limit: float | None = None) -> None:
        self.limit = limit
        self.live = 0
        self.peak = 0
        self.step_peak = 0
        self.nodes = 0
        self.batch = 0
        self.storages: dict[int, list[int]] = {}  # storage → [times held, bytes]
        self.over_steps: list[int] = []
        self.step_peaks: list[int] = []
        self.nodes_over_steps: list[int] = []
        self.batches: list[int] = []

    def pack(self, tensor: Any) -> Any:
        owner = tensor if tensor._base is None else tensor._base  # a Linear saves a transposed view of its weight
        if owner.is_leaf and owner.requires_grad:
            return tensor
        storage = tensor.untyped_storage()
        # Meta tensors have no address: the storage object's own identity stands for it.
        key = storage.data_ptr() or storage._cdata
        count = storage.nbytes()
        if self.limit is not None and key not in self.storages and self.live + count > self.limit:
            raise out_of_memory(f"out of memory: the {self.limit:.0f} bytes of this trial are used up")
        entry = self.storages.setdefault(key, [0, count])
        if entry[0] == 0:
            self.live += entry[1]
            self.peak = max(self.peak, self.live)
            self.step_peak = max(self.step_peak, self.live)
        entry[0] += 1
        # Detached: an output's tensor knows its graph, and holding it here would keep that graph alive for ever.
        return _Held(tensor.detach(), self, key)

    def unpack(self, held: Any) -> Any:
        return held.tensor if isinstance(held, _Held) else held

    def release(self, key: int) -> None:
        entry = self.storages.get(key)
        if entry is None:
            return
        entry[0] -= 1
        if entry[0] == 0:
            self.live -= entry[1]
            del self.storages[key]

    def hooks(self) -> Any:
        import torch

        return torch.autograd.graph.saved_tensors_hooks(self.pack, self.unpack)

    def watch(self, tensors: Any) -> None:
        """Mark the nodes that lead to `tensors`, of which one is about to be backpropagated."""
        roots = tensors if isinstance(tensors, (list, tuple)) else [tensors]
        waiting = [root.grad_fn for root in roots if getattr(root, "grad_fn", None) is not None]
        while waiting:
            node = waiting.pop()
            if node is None or hasattr(node, "variable"):  # a parameter's own node lives as long as the parameter
                continue
            if "tricklint" not in node.metadata:
                node.metadata["tricklint"] = _Mark(self)
                waiting += [next_ for next_, _ in node.next_functions]

    def watch_loaders(self) -> None:
        """Note how many samples the batches have that DataLoaders give."""
        from torch.utils.data import DataLoader

        plain, meter = DataLoader.__iter__, self

        @functools.wraps(plain)
        def iterate(self: Any) -> Any:
            for batch in plain(self):
                meter.batch = samples(batch)
                yield batch

        DataLoader.__iter__ = iterate  # type: ignore[method-assign]

    def mark(self, step: int) -> None:
        """Note what is still alive after a step: it grows when a graph is kept."""
        self.over_steps.append(self.live)
        self.nodes_over_steps.append(self.nodes)
        self.step_peaks.append(self.step_peak)
        self.batches.append(self.batch)
        self.step_peak = self.live

    def summary(self) -> dict[str, Any]:
        """All of it for the record, of the first 5,000 steps."""
        return {
            "peak": self.peak,
            "over_steps": self.over_steps[:5000],
            "step_peaks": self.step_peaks[:5000],
            "nodes_over_steps": self.nodes_over_steps[:5000],
            "batches": self.batches[:5000],
        }


def out_of_memory(message: str) -> Exception:
    """The error that a full card raises."""
    import torch

    return torch.cuda.OutOfMemoryError(message)


def held_bytes(optimizers: list[Any]) -> int:
    """Parameters, gradients and states of these optimizers: what a run holds whatever its batch is."""
    import torch

    tensors = []
    for optimizer in optimizers:
        parameters = [p for group in optimizer.param_groups for p in group["params"]]
        tensors += parameters + [p.grad for p in parameters]
        tensors += [t for state in optimizer.state.values() if isinstance(state, dict) for t in state.values()]
    known = {id(t): t for t in tensors if isinstance(t, torch.Tensor)}
    return sum(t.numel() * t.element_size() for t in known.values())
