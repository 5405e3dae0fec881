"""Building on meta: factories make tensors without data, moves between devices do nothing."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import nn
from torch.overrides import TorchFunctionMode

from tricklint.trace.worker.patch import put

# Whose values decide the build (drop-path rates, anchors): they stay real, and go to meta with the finished model.
_VALUES = {torch.linspace, torch.arange, torch.logspace, torch.tensor, torch.as_tensor, torch.from_numpy, torch.range}


def _factories() -> set[Any]:
    from torch.utils._device import _device_constructors

    return set(_device_constructors()) - _VALUES


class MetaMode(TorchFunctionMode):
    """Every factory makes meta tensors; `.to`, `.cuda`, `.cpu` change the dtype at most."""

    def __init__(self, values_too: bool = False) -> None:
        super().__init__()
        self.factories = _factories() | (_VALUES - {torch.from_numpy} if values_too else set())

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = dict(kwargs or {})
        if func in self.factories:
            device = kwargs.get("device")
            if device is None or torch.device(device).type != "cpu":
                kwargs["device"] = "meta"
        elif "device" in kwargs and func in _VALUES and kwargs["device"] is not None:
            kwargs["device"] = "cpu"
        elif func in (torch.Tensor.cuda, torch.Tensor.cpu):
            return args[0]
        elif func is torch.Tensor.to and args[0].is_meta:
            dtype = kwargs.get("dtype") or next((a for a in args[1:] if isinstance(a, torch.dtype)), None)
            other = next((a for a in args[1:] if isinstance(a, torch.Tensor)), None)
            dtype = other.dtype if other is not None else dtype
            return func(args[0], dtype) if dtype is not None else args[0]
        elif func is torch.Tensor.to and not args[0].is_meta:
            args = tuple("cpu" if _is_device(a) else a for a in args)
            if kwargs.get("device") is not None:
                kwargs["device"] = "cpu"
        return func(*args, **kwargs)


def _is_device(value: Any) -> bool:
    if isinstance(value, torch.device):
        return True
    return isinstance(value, str) and value.split(":")[0] in ("cuda", "mps", "xpu", "cpu", "meta")


@contextmanager
def no_moves() -> Iterator[None]:
    """nn.Module.to/.cuda/.cpu leave the device alone (a dtype is kept); there is no GPU."""
    original_to, original_cuda, original_cpu = nn.Module.to, nn.Module.cuda, nn.Module.cpu
    available, count = torch.cuda.is_available, torch.cuda.device_count

    def to(self: nn.Module, *args: Any, **kwargs: Any) -> nn.Module:
        dtype = kwargs.get("dtype") or next((a for a in args if isinstance(a, torch.dtype)), None)
        return original_to(self, dtype) if dtype is not None else self

    def stay(self: nn.Module, *args: Any, **kwargs: Any) -> nn.Module:
        return self

    put(nn.Module, "to", to)
    put(nn.Module, "cuda", stay)
    put(nn.Module, "cpu", stay)
    torch.cuda.is_available = lambda: False
    torch.cuda.device_count = lambda: 0
    try:
        yield
    finally:
        for name, original in (("to", original_to), ("cuda", original_cuda), ("cpu", original_cpu)):
            put(nn.Module, name, original)
        torch.cuda.is_available, torch.cuda.device_count = available, count
