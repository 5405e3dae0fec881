"""Every seed that a run sets, shifted by the run's number, whichever generator it is given to.

`torch.manual_seed`, the devices' own seeds, `torch.Generator`, `random.seed`, `random.Random`, `np.random.seed`,
`RandomState`, `default_rng`, NumPy's bit generators, and with them what libraries build on those (`seed_everything`,
`set_seed`, scikit-learn's `random_state`, DataLoader workers). Run 0 keeps every seed as it is. A generator that is made
without a seed gets one that both runs of a pair share.
"""

from __future__ import annotations

import _random
import ctypes
import functools
import gc
import multiprocessing
import operator
import os
import random
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

STRIDE = 1_000_003  # a prime: the script's own small seeds of two runs never meet
_DEVICES = ("cuda", "mps", "xpu", "mtia", "accelerator")
_STDLIB = os.path.dirname(os.__file__) + os.sep
_inside = threading.local()


def shifted(seed: Any, run: int) -> Any:
    """The seed that takes the place of the script's own `seed` in run number `run`; of the same kind, as far as seeds of
    that kind can be told apart. What is no seed (a generator) comes back as it is."""
    if run == 0 or seed is None:
        return seed
    if isinstance(seed, (str, bytes, bytearray, float)):
        return f"{seed!r} in run {run}"
    try:
        number = operator.index(seed)
    except TypeError:
        pass
    else:
        return (number + run * STRIDE) % (2**32 if 0 <= number < 2**32 else 2**63)
    if hasattr(seed, "spawn_key") and hasattr(seed, "entropy"):  # numpy's SeedSequence
        return type(seed)(entropy=seed.entropy, spawn_key=(*seed.spawn_key, run), pool_size=seed.pool_size)
    if isinstance(seed, (list, tuple)) or (hasattr(seed, "tolist") and getattr(seed, "ndim", 0) == 1):
        return [*(operator.index(word) for word in seed), run]
    return seed


class Shift:
    """The seeds of one run; `install` puts it in the place of every function that takes a seed."""

    def __init__(self, run: int) -> None:
        self.run = run
        self.unseeded = 0
        self.replaced: dict[int, tuple[Any, Any]] = {}  # id → (plain, ours)

    def fresh(self) -> int:
        """The seed of a generator that was given none: another for each, also in forked workers, the same in both runs
        of a pair."""
        self.unseeded += 1
        words = (self.run, self.unseeded, *multiprocessing.current_process()._identity)
        return _random.Random(hash(words)).getrandbits(32)

    def seed(self, given: Any) -> Any:
        """What takes the place of a seed; one that is set inside another's setting is shifted already."""
        if getattr(_inside, "depth", 0):
            return given
        return self.fresh() if given is None else shifted(given, self.run)

    def wrap(self, plain: Callable[..., Any], device: bool = False) -> Callable[..., Any]:
        """`plain(seed, …)` with its seed shifted."""

        @functools.wraps(plain)
        def seeded(seed: Any = None, *args: Any, **kwargs: Any) -> Any:
            given = self.seed(seed)
            with _once():
                return plain(given, *args, **kwargs)

        return seeded

    def replace(self, owner: Any, name: str, ours: Any) -> None:
        plain = getattr(owner, name, None)
        if plain is not None:
            self.replaced[id(plain)] = (plain, ours)
            setattr(owner, name, ours)

    def install(self) -> None:
        self._torch()
        self._python()
        self._numpy()
        self._elsewhere()

    def _torch(self) -> None:
        import torch

        self.replace(torch, "manual_seed", self.wrap(torch.manual_seed))
        manual_seed = torch.manual_seed
        self.replace(torch, "seed", lambda: int(manual_seed(None).initial_seed()))
        for name in _DEVICES:
            device = getattr(torch, name, None)
            for function in ("manual_seed", "manual_seed_all"):
                if hasattr(device, function):
                    self.replace(device, function, self.wrap(getattr(device, function)))
        plain = torch._C.Generator
        with _once():
            untouched = plain().initial_seed()
        manual, shift = plain.manual_seed, self

        def generator_seed(generator: Any, seed: Any) -> Any:
            return manual(generator, shift.seed(seed))

        def generator_fresh(generator: Any) -> int:
            return int(manual(generator, shift.fresh()).initial_seed())

        def made(cls: Any, *args: Any, **kwargs: Any) -> Any:
            generator = plain.__new__(cls, *args, **kwargs)
            if shift.run:  # one that is never seeded is the same in every run
                manual(generator, shifted(untouched, shift.run))
            return generator

        body = {"__new__": made, "manual_seed": generator_seed, "seed": generator_fresh}
        self.replace(torch, "Generator", _twin(plain, body))
        # torch.default_generator and the devices' own are of the plain type, whose methods Python lets nobody set: they
        # are set in the dictionary behind `__dict__`.
        gc.get_referents(plain.__dict__)[0].update(manual_seed=generator_seed)
        ctypes.pythonapi.PyType_Modified(ctypes.py_object(plain))

    def _python(self) -> None:
        plain, shift = random.Random.seed, self

        @functools.wraps(plain)
        def seed(generator: Any, a: Any = None, version: int = 2) -> None:
            # Names of temporary files must differ from run to run.
            given = None if a is None and _asked_by_stdlib() else shift.seed(a)
            with _once():
                plain(generator, given, version)

        random.Random.seed = seed  # type: ignore[method-assign,assignment]
        self.replace(random, "seed", random._inst.seed)

    def _numpy(self) -> None:
        np = sys.modules.get("numpy")
        if np is None:
            try:
                import numpy as np
            except ImportError:
                return
        assert np is not None
        self.replace(np.random, "seed", self.wrap(np.random.seed))
        self.replace(np.random, "default_rng", self.wrap(np.random.default_rng))
        shift = self
        state = np.random.RandomState

        def state_seed(generator: Any, seed: Any = None) -> None:
            state.seed(generator, shift.seed(seed))

        self.replace(np.random, "RandomState", _twin(state, {"__init__": self._init(state), "seed": state_seed}))
        for name in ("PCG64", "PCG64DXSM", "MT19937", "Philox", "SFC64"):
            kind = getattr(np.random, name, None)
            if kind is not None:
                self.replace(np.random, name, _twin(kind, {"__init__": self._init(kind)}))

    def _init(self, kind: Any) -> Callable[..., None]:
        def init(generator: Any, seed: Any = None, *args: Any, **kwargs: Any) -> None:
            kind.__init__(generator, shift.seed(seed), *args, **kwargs)

        shift = self
        return init

    def _elsewhere(self) -> None:
        """The same functions where modules that were imported before us keep them under names of their own."""
        aliases = {"torch.random", *(f"torch.{name}.random" for name in _DEVICES)}
        for key, module in list(sys.modules.items()):
            names = getattr(module, "__dict__", None)
            if not isinstance(names, dict) or (key.startswith("torch.") and key not in aliases):
                continue
            for name, value in list(names.items()):
                found = self.replaced.get(id(value))
                if found is not None and found[0] is value and name != "__builtins__":
                    names[name] = found[1]


@contextmanager
def _once() -> Iterator[None]:
    """While a seed is being set: what that sets in turn has been shifted already."""
    _inside.depth = getattr(_inside, "depth", 0) + 1
    try:
        yield
    finally:
        _inside.depth -= 1


def _asked_by_stdlib() -> bool:
    """Whether a module of the standard library (tempfile, say) makes the generator whose seed is being set."""
    frame = sys._getframe(2)
    while frame is not None and frame.f_code.co_filename == random.__file__:
        frame = frame.f_back  # type: ignore[assignment]
    path = frame.f_code.co_filename if frame is not None else ""
    return path.startswith(_STDLIB) and "site-packages" not in path and "dist-packages" not in path


def _twin(plain: type, body: dict[str, Any]) -> type:
    """A subclass that passes for `plain`: in isinstance, issubclass, by name and in pickles."""

    class Meta(type(plain)):  # type: ignore[misc]
        def __instancecheck__(cls, thing: Any) -> bool:
            return isinstance(thing, plain)

        def __subclasscheck__(cls, other: Any) -> bool:
            return issubclass(other, plain)

    names = {"__module__": plain.__module__, "__doc__": plain.__doc__, "__qualname__": plain.__qualname__}
    return Meta(plain.__name__, (plain,), {**names, **body})
