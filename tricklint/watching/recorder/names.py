"""Which model a parameter belongs to, and its name there: found among the modules that are alive."""

from __future__ import annotations

import contextlib
import gc
import sys
import weakref
from collections.abc import Iterable, Iterator
from typing import Any

import torch
from torch import nn

from tricklint.trace.kinds import kind_of
from tricklint.watching.recorder.log import Log
from tricklint.watching.recorder.patches import Patches

# Modules that stand round a model and are none of its parts.
_WRAPPERS = ("torch.nn.parallel.", "torch.distributed.", "torch._dynamo.", "lightning.fabric.wrappers")


class Serials:
    """A number for each object, as long as it lives: Python gives the `id` of a dead one to another."""

    def __init__(self) -> None:
        self._known: dict[int, tuple[weakref.ref[Any], int]] = {}
        self._count = 0

    def get(self, thing: Any) -> int | None:
        found = self._known.get(id(thing))
        return found[1] if found is not None and found[0]() is thing else None

    def of(self, thing: Any) -> int:
        number = self.get(thing)
        if number is None:
            number, self._count = self._count, self._count + 1
            self._known[id(thing)] = (weakref.ref(thing), number)
        return number


class Names:
    """Writes a model down when it is first needed, and again when it has other parameters or modules."""

    def __init__(self, log: Log) -> None:
        self.log = log
        self.parameters = Serials()
        self.models = Serials()
        self.initialised: dict[
            int, tuple[str, int, dict[str, Any]]
        ] = {}  # parameter → (function, place, arguments) of the user's own draws
        self.members: dict[int, list[tuple[weakref.ref[Any], int]]] = {}  # the parameters of each model
        self.built = 0  # optimizers
        self._signatures: dict[int, int] = {}
        self._made: weakref.WeakKeyDictionary[nn.Module, int] = weakref.WeakKeyDictionary()

    def install(self, patches: Patches) -> None:
        patches.set(nn.Module, "__init__", self._init)

    def _init(self, plain: Any) -> Any:
        def init(module: nn.Module, *args: Any, **kwargs: Any) -> None:
            plain(module, *args, **kwargs)
            with contextlib.suppress(Exception):
                self._made[module] = self.log.place(sys._getframe(1))

        return init

    def made(self, module: nn.Module) -> int | None:
        """The place where it was made."""
        return self._made.get(module)

    def holding(self, parameters: Iterable[Any]) -> None:
        """Write down the models that hold these parameters."""
        wanted = {id(p) for p in parameters}
        tops: dict[int, nn.Module] = {}
        modules = alive()
        above = _above(modules)
        for module in modules:
            if any(id(p) in wanted for p in module._parameters.values()):
                top = _top(module, above)
                tops.setdefault(id(top), top)
        for top in tops.values():
            self.describe(top)

    def model_of(self, module: nn.Module) -> int:
        """The model that a module is part of, written down."""
        module = unwrapped(module)
        top = _top(module, _above(alive()))
        self.describe(top)
        return self.models.of(top)

    def describe(self, top: nn.Module) -> None:
        number = self.models.of(top)
        modules = dict(top.named_modules())
        signature = hash((*(id(m) for m in modules.values()), *(id(p) for p in top.parameters())))
        if self._signatures.get(number) == signature:
            return
        self._signatures[number] = signature
        seen: set[int] = set()
        parameters = []
        for path, module in modules.items():
            for name, p in module._parameters.items():
                if p is None or id(p) in seen:
                    continue
                seen.add(id(p))
                shape = [] if isinstance(p, nn.UninitializedParameter) else list(p.shape)
                one = self.parameters.of(p)
                kind = kind_of(module, name, tuple(shape))
                full = f"{path}.{name}" if path else name
                drawn = self.initialised.get(one)
                parameters.append([one, full, shape, kind, bool(p.requires_grad), type(module).__name__, drawn])
        self.members[number] = [(weakref.ref(p), self.parameters.of(p)) for p in top.parameters()]
        self.log.write(
            "model",
            model=number,
            step=self.log.step,
            type=type(top).__name__,
            at=self._made.get(top),
            modules=[[path, *self._class(type(m))] for path, m in modules.items()],
            parameters=parameters,
            unregistered=_unregistered(modules),
        )

    def _class(self, kind: type) -> list[Any]:
        """[name, the user's file it stands in, or None]."""
        file = getattr(sys.modules.get(kind.__module__), "__file__", None)
        if file is None or not self.log.mine(file):
            return [kind.__qualname__ if kind.__module__ == "__main__" else kind.__name__, None]
        return [kind.__qualname__, self.log.shown(file)]


def _unregistered(modules: dict[str, nn.Module]) -> list[list[Any]]:
    """[path, attribute, class, how many] of modules with parameters in plain lists and dicts."""
    known = {id(module) for module in modules.values()}
    found = []
    for path, module in modules.items():
        for name, value in list(vars(module).items()):
            if (name.startswith("_") and name in ("_modules", "_parameters", "_buffers")) or not isinstance(
                value, (list, tuple, dict)
            ):
                continue
            lost = [one for one in _modules_in(value) if id(one) not in known and any(True for _ in one.parameters())]
            if lost:
                found.append([path, name, type(module).__qualname__, len(lost)])
    return found


def _modules_in(value: Any, depth: int = 2) -> Iterator[nn.Module]:
    if isinstance(value, nn.Module):
        yield value
    elif depth and isinstance(value, (list, tuple, dict)):
        for inner in list(value.values() if isinstance(value, dict) else value)[:100]:
            yield from _modules_in(inner, depth - 1)


def unwrapped(module: nn.Module) -> nn.Module:
    """The model inside DataParallel, DDP, torch.compile and the like."""
    while type(module).__module__.startswith(_WRAPPERS):
        inner = next((m for m in module._modules.values() if m is not None), None)
        if inner is None:
            return module
        module = inner
    return module


def alive() -> list[nn.Module]:
    """All modules there are. No generator: one that is left half-way would keep every object of the process, itself too."""
    # `type`, not `isinstance`: a proxy may answer for its class, and load what it stands for.
    return [
        thing
        for thing in gc.get_objects()
        if issubclass(type(thing), nn.Module) and "_modules" in thing.__dict__ and "_parameters" in thing.__dict__
    ]


def _above(modules: list[nn.Module]) -> dict[int, nn.Module]:
    found: dict[int, nn.Module] = {}
    for module in modules:
        if not type(module).__module__.startswith(_WRAPPERS):
            for inner in module._modules.values():
                if inner is not None:
                    found.setdefault(id(unwrapped(inner)), module)
    return found


def _top(module: nn.Module, above: dict[int, nn.Module]) -> nn.Module:
    seen = {id(module)}
    while id(module) in above and id(above[id(module)]) not in seen:
        module = above[id(module)]
        seen.add(id(module))
    return module


def tensors_in(value: Any, depth: int = 3) -> Iterator[torch.Tensor]:
    """The tensors in what a call gave back."""
    if isinstance(value, torch.Tensor):
        yield value
    elif depth and isinstance(value, dict):
        for inner in value.values():
            yield from tensors_in(inner, depth - 1)
    elif depth and isinstance(value, (list, tuple)):
        for inner in value[:64]:
            yield from tensors_in(inner, depth - 1)
    elif depth and hasattr(value, "__dataclass_fields__"):
        yield from tensors_in(vars(value), depth - 1)
