"""Bytes that autograd keeps alive, counted by saved-tensor hooks: exact, and the same on every device."""

from __future__ import annotations

from typing import Any


class _Held:
    """One saved tensor; its death is the moment the graph lets go of it."""

    __slots__ = ("key", "meter", "tensor")

    def __init__(self, tensor: Any, meter: SavedBytes, key: int) -> None:
        self.tensor, self.meter, self.key = tensor, meter, key

    def __del__(self) -> None:
        self.meter.release(self.key)


class SavedBytes:
    """Live and peak bytes of activations held for backward. Parameters are not counted: they are alive anyway, and a
    storage that is saved twice counts once."""

    def __init__(self) -> None:
        self.live = 0
        self.peak = 0
        self.step_peak = 0
        self.storages: dict[int, list[int]] = {}  # storage → [times held, bytes]
        self.over_steps: list[int] = []

    def pack(self, tensor: Any) -> Any:
        owner = tensor if tensor._base is None else tensor._base  # a Linear saves a transposed view of its weight
        if owner.is_leaf and owner.requires_grad:
            return tensor
        storage = tensor.untyped_storage()
        # Meta tensors have no address: the storage object's own identity stands for it.
        key = storage.data_ptr() or storage._cdata
        entry = self.storages.setdefault(key, [0, storage.nbytes()])
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

    def mark(self, step: int) -> None:
        """Note the bytes still alive after a step: they grow when a graph is kept."""
        self.over_steps.append(self.live)
