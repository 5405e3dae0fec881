"""Randomness of one run.

Seeds are shifted by the run's number (`shift`). Run 0 is the user's own run: every number is drawn where it always was.
In the others every purpose has a generator of its own, so that a change which draws more numbers for one purpose does
not shift the numbers of another (else pairing by seed is lost):

* default initialisation (drawn inside a layer's `reset_parameters`),
* explicit initialisation (every other call of `torch.nn.init.*`),
* data order (one generator a sampler),
* everything else: augmentation, dropout, noise (the global generators).

In every run, what is initialised on lines that the fix put in draws from a generator of its own.
"""

from __future__ import annotations

import functools
import os
import sys
from collections.abc import Mapping, Sequence
from typing import Any

from tricklint.verify.runner.shift import STRIDE, Shift

RANDOM_INITS = (
    "uniform_ normal_ trunc_normal_ xavier_uniform_ xavier_normal_ kaiming_uniform_ kaiming_normal_ orthogonal_ sparse_"
).split()
Lines = Mapping[str, Sequence[Sequence[int]]]  # file → [first, last] of the lines that a fix put in


def number(purpose: int, run: int) -> int:
    """The seed of one purpose's own generator in run number `run`."""
    return (purpose + run * STRIDE) % 2**32


def install(run: int, inserted: Lines | None = None) -> None:
    """Seed everything for run number `run` and keep purposes apart from now on."""
    import random

    import torch

    torch.manual_seed(number(0, run))
    random.seed(number(0, run))
    if "numpy" in sys.modules or _has_numpy():
        sys.modules["numpy"].random.seed(number(0, run))
    Shift(run).install()
    _own_init_streams(run, {_real(path): lines for path, lines in (inserted or {}).items()})
    if run:
        _own_sampler_generators(run)


def _has_numpy() -> bool:
    try:
        import numpy  # noqa: F401
    except ImportError:
        return False
    return True


class _Stream:
    """A state of torch's global generators that is swapped in while one purpose draws."""

    def __init__(self, seed: int) -> None:
        self.seed = seed
        self.states: dict[str, Any] = {}

    def draw(self, function: Any, tensor: Any, args: Any, kwargs: Any) -> Any:
        import torch

        device = tensor.device.type if hasattr(tensor, "device") else "cpu"
        if device not in ("cpu", "cuda"):
            return function(tensor, *args, **kwargs)
        get, put = (
            (torch.get_rng_state, torch.set_rng_state)
            if device == "cpu"
            else (torch.cuda.get_rng_state, torch.cuda.set_rng_state)
        )
        outside = get()
        try:
            if device not in self.states:
                self.states[device] = torch._C.Generator(device=device).manual_seed(self.seed).get_state()
            put(self.states[device])
            result = function(tensor, *args, **kwargs)
            self.states[device] = get()
            return result
        finally:
            put(outside)


def _own_init_streams(run: int, inserted: Lines) -> None:
    import torch

    default, explicit, fix = (_Stream(number(purpose, run)) for purpose in (11, 12, 13))
    inside = [False]

    def wrap(function: Any) -> Any:
        @functools.wraps(function)
        def init(tensor: Any, *args: Any, **kwargs: Any) -> Any:
            if inside[0] or kwargs.get("generator") is not None:
                return function(tensor, *args, **kwargs)
            caller = sys._getframe(1)
            stream = None
            if inserted and _called_from(inserted, caller):
                stream = fix
            elif run:
                code = caller.f_code
                stream = default if code.co_name == "reset_parameters" and "torch" in code.co_filename else explicit
            inside[0] = True
            try:
                return (
                    stream.draw(function, tensor, args, kwargs)
                    if stream is not None
                    else function(tensor, *args, **kwargs)
                )
            finally:
                inside[0] = False

        return init

    for name in RANDOM_INITS:
        if hasattr(torch.nn.init, name):
            setattr(torch.nn.init, name, wrap(getattr(torch.nn.init, name)))


def _called_from(lines: Lines, frame: Any) -> bool:
    """Whether this frame, or one that called it, stands on one of these lines."""
    while frame is not None:
        found = lines.get(_real(frame.f_code.co_filename))
        if found and any(first <= frame.f_lineno <= last for first, last in found):
            return True
        frame = frame.f_back
    return False


@functools.cache
def _real(path: str) -> str:
    return os.path.realpath(path)


def _own_sampler_generators(run: int) -> None:
    from torch.utils.data import sampler

    made = [0]

    def wrap(plain: Any) -> Any:
        @functools.wraps(plain)
        def init(self: Any, *args: Any, **kwargs: Any) -> None:
            import torch

            plain(self, *args, **kwargs)
            if getattr(self, "generator", 0) is None:
                made[0] += 1
                self.generator = torch.Generator().manual_seed(number(1000 + made[0], run))

        return init

    for kind in (sampler.RandomSampler, sampler.SubsetRandomSampler, sampler.WeightedRandomSampler):
        kind.__init__ = wrap(kind.__init__)  # type: ignore[method-assign]
