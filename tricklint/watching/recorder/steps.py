"""Optimizers and their groups, the order of backward, step and zero_grad, and schedulers."""

from __future__ import annotations

import contextlib
import os
import weakref
from collections.abc import Callable
from typing import Any

import torch

from tricklint.watching.recorder.log import Log, Row
from tricklint.watching.recorder.names import Names, Serials
from tricklint.watching.recorder.patches import Patches

VALUES_READ = 5  # steps of which gradients' values are read on an accelerator: reading makes it be waited for
IDLE = 5  # steps in which parameters without a gradient are looked for


class Optimizer:
    """What is known of one optimizer between two of its steps."""

    def __init__(self, optimizer: Any, number: int, place: int) -> None:
        self.ref = weakref.ref(optimizer)
        self.number, self.place = number, place
        self.steps = 0
        self.held: Any = None  # how many parameters, in which lists
        self.decays: Any = None
        self.sample: tuple[Any, Any, int] | None = None  # a parameter, its gradient and that one's version at the step
        self.cleared = True
        self.fresh = False  # whether a backward reached it since its last step
        self.backward: int | None = None  # where that was


class Steps:
    """`ends`: called before the step that the run is not to make any more."""

    def __init__(self, log: Log, names: Names, limit: int | None, ends: Callable[[], None]) -> None:
        self.log, self.names, self.limit, self.ends = log, names, limit, ends
        self.serials, self.schedulers = Serials(), Serials()
        self.optimizers: dict[int, Optimizer] = {}
        self.before: list[Callable[[Any], None]] = []  # called with the optimizer before each step
        self.after: list[Callable[[], None]] = []
        self.backwards: list[Callable[[Any], None]] = []
        self._building = 0
        self._stepping = 0
        self._scheduling = 0

    def install(self, patches: Patches) -> None:
        from torch.optim.lr_scheduler import LRScheduler
        from torch.optim.optimizer import register_optimizer_step_post_hook, register_optimizer_step_pre_hook

        kind = torch.optim.Optimizer
        patches.set(kind, "__init__", self._init)
        patches.set(kind, "add_param_group", self._add_param_group)
        patches.set(kind, "zero_grad", self._zero_grad)
        patches.set(torch.autograd, "backward", self._backward)
        patches.later(register_optimizer_step_pre_hook(self._pre).remove)
        patches.later(register_optimizer_step_post_hook(self._post).remove)
        patches.set(LRScheduler, "__init__", self._scheduler_init)
        for scheduler in _with_step(LRScheduler):
            patches.set(scheduler, "step", self._scheduler_step)

    # -- building

    def _init(self, plain: Any) -> Any:
        def init(optimizer: Any, *args: Any, **kwargs: Any) -> None:
            self._building += 1
            try:
                plain(optimizer, *args, **kwargs)
            finally:
                self._building -= 1
            self.seen(optimizer)

        return init

    def seen(self, optimizer: Any) -> Optimizer:
        """An optimizer that was built, or met at its first step."""
        number = self.serials.of(optimizer)
        known = self.optimizers.get(number)
        if known is None:
            place = self.log.place()
            self.names.built += 1
            known = self.optimizers[number] = Optimizer(optimizer, number, place)
            kind = type(optimizer)
            self.log.write(
                "optimizer", optimizer=number, at=place, step=self.log.step, type=kind.__name__,
                own=self.log.is_own(kind),
            )  # fmt: skip
        self._groups(known, optimizer, "built")
        return known

    def trained(self) -> set[int]:
        """The parameters of optimizers that made a step."""
        stepped = [optimizer for one in self.optimizers.values() if one.steps and (optimizer := one.ref()) is not None]
        return {self.names.parameters.of(p) for one in stepped for group in one.param_groups for p in group["params"]}

    def _groups(self, known: Optimizer, optimizer: Any, why: str) -> None:
        """Write the groups down where they are other than they were. A decay that follows a schedule is another one at
        each step: what counts is the one before the first."""
        held = [(len(group["params"]), id(group["params"])) for group in optimizer.param_groups]
        decays = [group.get("weight_decay") for group in optimizer.param_groups]
        if held == known.held and (known.steps or decays == known.decays):
            return
        if held != known.held:
            self.names.holding(p for group in optimizer.param_groups for p in group["params"])
        known.held, known.decays = held, decays
        self.log.write(
            "groups",
            optimizer=known.number,
            at=self.log.place(),
            why=why,
            step=self.log.step,
            own=known.steps,
            groups=[
                {
                    "lr": _number(group.get("lr")),
                    "weight_decay": _number(group.get("weight_decay")),
                    "parameters": [self.names.parameters.of(p) for p in group["params"]],
                }
                for group in optimizer.param_groups
            ],
        )

    def _add_param_group(self, plain: Any) -> Any:
        def add_param_group(optimizer: Any, *args: Any, **kwargs: Any) -> None:
            plain(optimizer, *args, **kwargs)
            if not self._building:
                known = self.optimizers.get(self.serials.of(optimizer))
                if known is not None:
                    self._groups(known, optimizer, "added")

        return add_param_group

    # -- the order of a round

    def _zero_grad(self, plain: Any) -> Any:
        def zero_grad(optimizer: Any, *args: Any, **kwargs: Any) -> Any:
            number = self.serials.get(optimizer)
            place = self.log.place()
            row = self.log.row("zero_grad", number, place, optimizer=number, at=place, count=0)
            row["count"] += 1
            known = self.optimizers.get(number) if number is not None else None
            if known is not None:
                known.cleared = True
            return plain(optimizer, *args, **kwargs)

        return zero_grad

    def _backward(self, plain: Any) -> Any:
        def backward(tensors: Any, *args: Any, **kwargs: Any) -> Any:
            with contextlib.suppress(Exception):
                self._before_backward(tensors)
            return plain(tensors, *args, **kwargs)

        return backward

    def _before_backward(self, tensors: Any) -> None:
        place = self.log.place()
        row = self.log.row("backward", place, at=place, count=0)
        row["count"] += 1
        row["last"] = self.log.step
        for known in self.optimizers.values():
            if not known.cleared:
                known.cleared = self._is_cleared(known)
            known.backward = place
        for call in self.backwards:
            call(tensors)

    def _is_cleared(self, known: Optimizer) -> bool:
        """Whether the gradient that the last step used is gone."""
        if known.sample is None:
            return True  # nothing to tell it by
        ref, was, version = known.sample
        p = ref()
        if p is None or p.grad is None:
            return True
        same = p.grad is was() and p.grad._version == version
        if p.device.type != "cpu" and known.steps > VALUES_READ:
            return not same
        return not bool(p.grad.detach().any())

    def _pre(self, optimizer: Any, args: Any, kwargs: Any) -> None:
        if os.getpid() != self.log.pid:
            return
        if self._stepping == 0 and self.limit is not None and self.log.step >= self.limit:
            self.ends()
        self._stepping += 1
        with contextlib.suppress(Exception):
            known = self.seen(optimizer)
            for call in self.before:
                call(optimizer)
            known.fresh = self._has_new_gradient(known)

    def _has_new_gradient(self, known: Optimizer) -> bool:
        if known.sample is None:
            return True
        ref, was, version = known.sample
        p = ref()
        return p is None or (p.grad is not None and (p.grad is not was() or p.grad._version != version))

    def _post(self, optimizer: Any, args: Any, kwargs: Any) -> None:
        if os.getpid() != self.log.pid:
            return
        self._stepping = max(0, self._stepping - 1)
        with contextlib.suppress(Exception):
            self._stepped(optimizer)
        self.log.step += 1
        for call in self.after:
            with contextlib.suppress(Exception):
                call()
        self.log.flush()

    def _stepped(self, optimizer: Any) -> None:
        known = self.seen(optimizer)
        # A closure clears and goes backward within the step: then the gradients are new only now.
        fresh = known.fresh or self._has_new_gradient(known)
        stale = known.steps > 0 and fresh and not known.cleared
        place = self.log.place()
        row = self.log.row("step", known.number, place, known.backward, stale, fresh, optimizer=known.number, at=place,
                           backward=known.backward, stale=stale, fresh=fresh, count=0)  # fmt: skip
        row["count"] += 1
        row["last"] = self.log.step
        row["rates"] = [_number(group.get("lr")) for group in optimizer.param_groups]
        if known.steps < IDLE:
            self._idle(known, optimizer)
        known.steps += 1
        known.cleared = False
        known.sample = self._sample(optimizer)
        if known.sample is None:
            known.cleared = True

    def _idle(self, known: Optimizer, optimizer: Any) -> None:
        """Parameters that no backward has reached in any of the first steps."""
        idle = [
            self.names.parameters.of(p)
            for group in optimizer.param_groups
            for p in group["params"]
            if p.requires_grad and p.grad is None
        ]
        row = self.log.row("idle", known.number, at=known.place, optimizer=known.number, parameters=idle, steps=0)
        row["steps"] += 1
        if known.steps:
            row["parameters"] = sorted(set(row["parameters"]) & set(idle))

    @staticmethod
    def _sample(optimizer: Any) -> tuple[Any, Any, int] | None:
        """A small parameter whose gradient is not zero."""
        found = [p for group in optimizer.param_groups for p in group["params"] if p.grad is not None]
        for p in sorted(found, key=_size)[:8]:
            if not p.grad.is_sparse and (p.device.type != "cpu" or bool(p.grad.detach().any())):
                return weakref.ref(p), weakref.ref(p.grad), p.grad._version
        return None

    # -- schedulers

    def _scheduler_init(self, plain: Any) -> Any:
        def init(scheduler: Any, optimizer: Any, *args: Any, **kwargs: Any) -> None:
            self._scheduling += 1
            try:
                plain(scheduler, optimizer, *args, **kwargs)
            finally:
                self._scheduling -= 1
            with contextlib.suppress(Exception):
                number = self.schedulers.of(scheduler)
                kind = type(scheduler)
                self.log.write(
                    "scheduler", scheduler=number, at=self.log.place(), step=self.log.step, type=kind.__name__,
                    base=_base(kind), optimizer=self.serials.get(optimizer), options=_options(scheduler),
                )  # fmt: skip

        return init

    def _scheduler_step(self, plain: Any) -> Any:
        def step(scheduler: Any, *args: Any, **kwargs: Any) -> Any:
            if not self._scheduling:
                with contextlib.suppress(Exception):
                    self._scheduled(scheduler, bool(args or kwargs))
            self._scheduling += 1
            try:
                return plain(scheduler, *args, **kwargs)
            finally:
                self._scheduling -= 1

        return step

    def _scheduled(self, scheduler: Any, told: bool) -> None:
        number = self.schedulers.of(scheduler)
        of = self.serials.get(getattr(scheduler, "optimizer", None))
        optimizer = self.optimizers.get(of) if of is not None else None
        made = optimizer.steps if optimizer is not None else None
        place = self.log.place()
        row: Row = self.log.row("scheduled", number, place, scheduler=number, at=place, count=0, first=made, told=told, same=0)
        row["count"] += 1
        # Calls that followed one optimizer step each since the last.
        row["same"] += made is not None and made == row.get("made", made) + 1
        row["made"] = made


def _with_step(kind: type) -> list[type]:
    import torch.optim.lr_scheduler as module

    kinds = [value for value in vars(module).values() if isinstance(value, type) and issubclass(value, kind)]
    return [value for value in kinds if "step" in vars(value)]


def _base(kind: type) -> str:
    """The scheduler of PyTorch's that makes the steps of a class; "" where the class makes its own."""
    module = "torch.optim.lr_scheduler"
    if getattr(kind.step, "__module__", "") != module:  # type: ignore[attr-defined]
        return ""
    return next((one.__name__ for one in kind.__mro__ if one.__module__ == module), "")


def _options(scheduler: Any) -> dict[str, Any]:
    """The numbers that its schedule is made of."""
    found: dict[str, Any] = {}
    for name in ("step_size", "milestones", "T_max", "gamma", "total_steps", "T_0", "total_iters"):
        value = getattr(scheduler, name, None) or getattr(scheduler, f"_{name}", None)
        if isinstance(value, (int, float)):
            found[name] = value
        elif value:
            found[name] = sorted(value)
    return found


def _number(value: Any) -> float | None:
    try:
        return float(value)
    except (TypeError, ValueError):
        return None


def _size(p: Any) -> int:
    return int(p.numel())
