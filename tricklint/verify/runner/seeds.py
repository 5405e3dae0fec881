"""Randomness of one run: every purpose has a generator of its own, so that a change which draws more numbers for one
purpose does not shift the numbers of another (else pairing by seed is lost).

* default initialisation (drawn inside a layer's `reset_parameters`),
* explicit initialisation (every other call of `torch.nn.init.*`),
* data order (one generator a sampler),
* everything else: augmentation, dropout, noise (the global generators).

The script's own `seed_everything(42)` still means "seed 42", but shifted by the run's number; run 0 is the script's
own.
"""

from __future__ import annotations

import functools
import random
import sys
from typing import Any

RANDOM_INITS = (
    "uniform_ normal_ trunc_normal_ xavier_uniform_ xavier_normal_ kaiming_uniform_ kaiming_normal_ orthogonal_ sparse_"
).split()
_STRIDE = 1_000_003  # a prime: the script's own small seeds of two runs never meet


def shifted(seed: int, run: int) -> int:
    """The seed that takes the place of the script's own `seed` in run number `run`."""
    return (int(seed) + run * _STRIDE) % 2**32


def install(run: int) -> None:
    """Seed everything for run number `run` and keep purposes apart from now on."""
    import torch

    torch.manual_seed(shifted(0, run))
    random.seed(shifted(0, run))
    _shift_torch(run)
    _shift_python(run)
    _shift_numpy(run)
    _own_init_streams(run)
    _own_sampler_generators(run)


def _shift_torch(run: int) -> None:
    import torch

    plain = torch.manual_seed

    @functools.wraps(plain)
    def manual_seed(seed: Any) -> Any:
        return plain(shifted(seed, run))

    torch.manual_seed = torch.random.manual_seed = manual_seed
    torch.seed = torch.random.seed = lambda: int(plain(shifted(0, run)).initial_seed())


def _shift_python(run: int) -> None:
    plain = random.seed

    def seed(a: Any = None, version: int = 2) -> None:
        plain(shifted(a if isinstance(a, int) else 0, run), version)

    random.seed = seed


def _shift_numpy(run: int) -> None:
    np = sys.modules.get("numpy")
    if np is None:
        try:
            import numpy as np
        except ImportError:
            return
    assert np is not None
    np.random.seed(shifted(0, run))
    plain_seed, plain_rng = np.random.seed, np.random.default_rng
    unseeded = [0]

    def seed(seed: Any = None) -> None:
        plain_seed(shifted(seed if isinstance(seed, int) else 0, run))

    def default_rng(seed: Any = None) -> Any:
        if seed is None:  # a generator with no seed would differ between the two runs of a pair
            unseeded[0] += 1
            seed = [shifted(0, run), unseeded[0]]
        return plain_rng(seed)

    np.random.seed, np.random.default_rng = seed, default_rng


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
            if device in self.states:
                put(self.states[device])
            elif device == "cpu":
                put(torch.Generator().manual_seed(self.seed).get_state())
            else:
                put(torch.Generator(device="cuda").manual_seed(self.seed).get_state())
            result = function(tensor, *args, **kwargs)
            self.states[device] = get()
            return result
        finally:
            put(outside)


def _own_init_streams(run: int) -> None:
    import torch

    default, explicit = _Stream(shifted(11, run)), _Stream(shifted(12, run))
    inside = [False]

    def wrap(function: Any) -> Any:
        @functools.wraps(function)
        def init(tensor: Any, *args: Any, **kwargs: Any) -> Any:
            if inside[0] or kwargs.get("generator") is not None:
                return function(tensor, *args, **kwargs)
            caller = sys._getframe(1).f_code
            own = caller.co_name == "reset_parameters" and "torch" in caller.co_filename
            inside[0] = True
            try:
                return (default if own else explicit).draw(function, tensor, args, kwargs)
            finally:
                inside[0] = False

        return init

    for name in RANDOM_INITS:
        if hasattr(torch.nn.init, name):
            setattr(torch.nn.init, name, wrap(getattr(torch.nn.init, name)))


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
                self.generator = torch.Generator().manual_seed(shifted(1000 + made[0], run))

        return init

    for kind in (sampler.RandomSampler, sampler.SubsetRandomSampler, sampler.WeightedRandomSampler):
        kind.__init__ = wrap(kind.__init__)  # type: ignore[method-assign]
