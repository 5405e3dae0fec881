"""How weights are drawn, watched while a model is built on meta: no value exists, yet its distribution is known."""

from __future__ import annotations

import contextlib
import math
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from torch import nn
from torch.utils._python_dispatch import TorchDispatchMode


@dataclass
class Drawn:
    """A distribution: its standard deviation, or the one number every element is; `default` when torch.nn drew it."""

    std: float | None
    constant: float | None = None
    default: bool = False
    times: int = 0


_ALIAS = {
    "detach",
    "view",
    "t",
    "transpose",
    "alias",
    "reshape",
    "_unsafe_view",
    "clone",
    "_to_copy",
    "contiguous",
    "permute",
}


class InitWatch(TorchDispatchMode):  # type: ignore[no-untyped-call]
    """Follows uniform_, normal_, fill_, mul_ … on whole tensors, by storage."""

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.drawn: dict[int, Drawn] = {}
        self.keep: list[Any] = []
        self.in_reset = 0

    @classmethod
    def _should_skip_dynamo(cls) -> bool:
        return False  # else the first operation imports all of torch._dynamo (seconds)

    def of(self, parameter: torch.Tensor) -> Drawn | None:
        return self.drawn.get(parameter.untyped_storage()._cdata)

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        result = func(*args, **kwargs)
        with contextlib.suppress(Exception):  # knowledge of a distribution is never worth a failed build
            self._learn(func._overloadpacket.__name__, args, kwargs, result)
        return result

    def _learn(self, name: str, args: Any, kwargs: Any, result: Any) -> None:
        if not isinstance(result, torch.Tensor):
            return
        key = result.untyped_storage()._cdata
        whole = result.numel() * result.element_size() == result.untyped_storage().nbytes()
        new = self._after(name, args, kwargs)
        first = args[0] if args and isinstance(args[0], torch.Tensor) else None
        if name.endswith("_") and not name.endswith("__"):
            if not whole:
                return
            before = self.drawn.get(key)
            if new is not None:
                new.times = (before.times if before else 0) + 1
                new.default = self.in_reset > 0
                self.drawn[key] = new
            else:
                self.drawn.pop(key, None)
        elif first is not None and name in _ALIAS:
            source = self.drawn.get(first.untyped_storage()._cdata)
            if source is not None and key not in self.drawn:
                self.drawn[key] = source
        elif new is not None:
            self.drawn[key] = new
        elif first is None or first.untyped_storage()._cdata != key:
            self.drawn.pop(key, None)
        if key in self.drawn:
            self.keep.append(result.untyped_storage())  # so that no other storage takes this address

    def _after(self, name: str, args: Any, kwargs: Any) -> Drawn | None:
        plain = name.rstrip("_")
        numbers = [a for a in args[1:] if isinstance(a, (int, float))]
        if plain == "uniform":
            low, high = _two(numbers, kwargs, "from", "to", 0.0, 1.0)
            return Drawn((high - low) / math.sqrt(12.0))
        if plain == "normal" and name.endswith("_"):
            return Drawn(abs(_two(numbers, kwargs, "mean", "std", 0.0, 1.0)[1]))
        if plain in ("zero", "zeros", "zeros_like", "new_zeros"):
            return Drawn(0.0, 0.0)
        if plain in ("ones", "ones_like", "new_ones"):
            return Drawn(0.0, 1.0)
        if plain in ("fill", "full_like") and numbers:
            return Drawn(0.0, float(numbers[0]))
        if plain == "full" and len(args) > 1 and isinstance(args[1], (int, float)):
            return Drawn(0.0, float(args[1]))
        if plain in ("randn", "randn_like"):
            return Drawn(1.0)
        if plain in ("rand", "rand_like"):
            return Drawn(1.0 / math.sqrt(12.0))
        if not args or not isinstance(args[0], torch.Tensor):
            return None
        source = self.drawn.get(args[0].untyped_storage()._cdata)
        if plain == "copy" and len(args) > 1 and isinstance(args[1], torch.Tensor):
            other = self.drawn.get(args[1].untyped_storage()._cdata)
            return Drawn(other.std, other.constant) if other else None
        if source is None or source.std is None:
            return None
        if plain in ("mul", "div") and numbers and not isinstance(args[1], torch.Tensor):
            factor = float(numbers[0]) if plain == "mul" else 1.0 / float(numbers[0])
            constant = None if source.constant is None else source.constant * factor
            return Drawn(source.std * abs(factor), constant)
        if plain in ("add", "sub") and numbers:
            shift = float(numbers[0]) * (1 if plain == "add" else -1)
            return Drawn(source.std, None if source.constant is None else source.constant + shift)
        if plain == "erfinv":  # the last step but one of the old truncated normal
            return Drawn(1.0 / math.sqrt(2.0))
        if plain in ("clamp", "clamp_min", "clamp_max", "neg"):
            return Drawn(source.std, source.constant)
        return None

    @contextmanager
    def watching(self) -> Iterator[InitWatch]:
        """Active round a build, with torch.nn's own reset_parameters and init.orthogonal_ marked."""
        undo: list[tuple[Any, str, Any]] = []

        def wrap(owner: Any, name: str, around: Callable[..., Any]) -> None:
            undo.append((owner, name, owner.__dict__[name]))
            setattr(owner, name, around)

        for kind in (*_own_layers(),):
            original = kind.__dict__["reset_parameters"]

            def reset(module: Any, *args: Any, _original: Any = original, **kwargs: Any) -> Any:
                self.in_reset += 1
                try:
                    return _original(module, *args, **kwargs)
                finally:
                    self.in_reset -= 1

            wrap(kind, "reset_parameters", reset)
        orthogonal = nn.init.orthogonal_
        draw_truncated: Any = getattr(nn.init, "_no_grad_trunc_normal_", None)

        def known(tensor: torch.Tensor, gain: float = 1, generator: Any = None) -> torch.Tensor:
            done = orthogonal(tensor, gain) if not tensor.is_meta else tensor
            if tensor.dim() >= 2:
                rows = tensor.shape[0]
                wide = tensor.numel() // max(1, rows)
                self.drawn[tensor.untyped_storage()._cdata] = Drawn(gain / math.sqrt(max(rows, wide, 1)), times=2)
                self.keep.append(tensor.untyped_storage())
            return done

        def truncated(
            tensor: torch.Tensor, mean: float, std: float, a: float, b: float, generator: Any = None
        ) -> torch.Tensor:
            done: torch.Tensor = draw_truncated(
                tensor, mean, std, a, b, generator
            )  # on meta torch draws nothing at all
            self.drawn[tensor.untyped_storage()._cdata] = Drawn(
                truncated_std(std, (a - mean) / std, (b - mean) / std), times=2
            )
            self.keep.append(tensor.untyped_storage())
            return done

        wrap(nn.init, "orthogonal_", known)
        if draw_truncated is not None:
            wrap(nn.init, "_no_grad_trunc_normal_", truncated)
        try:
            with self:
                yield self
        finally:
            for owner, name, original in reversed(undo):
                setattr(owner, name, original)


def truncated_std(std: float, low: float, high: float) -> float:
    """The standard deviation of N(0, std²) cut off at `low` and `high` standard deviations."""

    def density(x: float) -> float:
        return math.exp(-x * x / 2.0) / math.sqrt(2.0 * math.pi)

    inside = (math.erf(high / math.sqrt(2.0)) - math.erf(low / math.sqrt(2.0))) / 2.0
    if inside <= 0.0 or low < -1e3 or high > 1e3:
        return std
    first = (density(low) - density(high)) / inside
    return std * math.sqrt(max(0.0, 1.0 + (low * density(low) - high * density(high)) / inside - first**2))


def _own_layers() -> Iterator[type]:
    from torch.nn.modules import conv, linear

    for module in (conv, linear):
        for value in vars(module).values():
            if isinstance(value, type) and "reset_parameters" in value.__dict__:
                yield value


def _two(numbers: list[Any], kwargs: Any, first: str, second: str, a: float, b: float) -> tuple[float, float]:
    left = numbers[0] if numbers else kwargs.get(first, a)
    right = numbers[1] if len(numbers) > 1 else kwargs.get(second, b)
    return float(left), float(right)
