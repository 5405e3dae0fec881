"""Callbacks that trainers are given: their hooks, called on the model while it trains.

Of what happens in them, what changes the model or its optimizers counts. In which mode a model is there, and whether
autograd records, the trainer decides before and after, so the rest says nothing about the training.
"""

from __future__ import annotations

from collections.abc import Iterator

import libcst as cst

from tricklint.interpreter.callargs import CallArgs
from tricklint.interpreter.calls import invoke
from tricklint.interpreter.classes import instantiate
from tricklint.interpreter.events import Loop
from tricklint.interpreter.machine import Machine
from tricklint.interpreter.values import UNKNOWN, Class, Const, Func, Instance, Sequence, Value, members
from tricklint.libraries.events import (
    Froze,
    GroupAdded,
    GroupOptionSet,
    HeadReplaced,
    OptimizerBuilt,
    SchedulerBuilt,
    WeightsLoaded,
)
from tricklint.libraries.facts import TrainerFacts

_CHANGES = (Froze, GroupAdded, GroupOptionSet, HeadReplaced, OptimizerBuilt, SchedulerBuilt, WeightsLoaded)
# In the order in which they are called. transformers makes the optimizer before the first of its own, Lightning after
# `setup`.
TRANSFORMERS_HOOKS = (
    "on_train_begin", "on_epoch_begin", "on_step_begin", "on_pre_optimizer_step", "on_step_end", "on_evaluate", "on_log",
    "on_save", "on_epoch_end",
)  # fmt: skip
LIGHTNING_HOOKS = ("on_fit_start", "on_train_start", "on_train_epoch_start", "on_train_batch_start")
LIGHTNING_LATER = ("on_train_batch_end", "on_train_epoch_end")


def callbacks_of(m: Machine, trainer: Instance, node: cst.CSTNode) -> list[Instance]:
    """The program's own callbacks among those that a trainer was given; transformers takes classes too."""
    found: list[Instance] = []
    for each in _listed([trainer.kwargs.get("callbacks"), *trainer.fact(TrainerFacts).callbacks]):
        if isinstance(each, Class):
            made = instantiate(m, each, CallArgs(), node)
            each = made if isinstance(made, Instance) else each
        if isinstance(each, Instance) and isinstance(each.cls, Class) and each not in found:
            found.append(each)
    return found


def _listed(given: list[Value | None]) -> Iterator[Value]:
    for value in given:
        for member in members(value):
            if isinstance(member, Sequence):
                yield from _listed(list(member.items))
            else:
                yield member


def run_hooks(m: Machine, trainer: Instance, callbacks: list[Instance], model: Instance, hooks: tuple[str, ...], node: cst.CSTNode) -> None:
    """Call the hooks of these names, each as a round that may come again; `over` of the round is the trainer."""
    outer = m.loops
    for hook in hooks:
        for callback in callbacks:
            method = callback.cls.lookup(hook) if isinstance(callback.cls, Class) else None
            if not isinstance(method, Func):
                continue
            before, covered, fresh = len(m.events), set(m.covered), set(m.fresh)
            m.seq += 1
            m.loops = [*outer, Loop(method.node, trainer, method.file, m.seq, len(m.frames))]
            invoke(m, method, callback, _given(trainer, model, hook), node)
            m.events[before:] = [event for event in m.events[before:] if event.makes or isinstance(event, _CHANGES)]
            m.covered, m.fresh = covered, fresh  # what else happens there is followed for its own sake
    m.loops = outer


def _given(trainer: Instance, model: Instance, hook: str) -> CallArgs:
    if trainer.fact(TrainerFacts).framework == "lightning":
        more: list[Value] = [Const("fit")] if hook == "setup" else []
        more += [UNKNOWN, UNKNOWN] if hook == "on_train_batch_start" else []
        more += [UNKNOWN, UNKNOWN, UNKNOWN] if hook == "on_train_batch_end" else []
        return CallArgs([trainer, model, *more])
    options = trainer.kwargs.get("args", trainer.args[1] if len(trainer.args) > 1 else UNKNOWN)
    given = CallArgs([options, UNKNOWN, UNKNOWN], {"model": model, "optimizer": UNKNOWN, "lr_scheduler": UNKNOWN})
    given.open_kwargs = True
    return given


__all__ = ["LIGHTNING_HOOKS", "LIGHTNING_LATER", "TRANSFORMERS_HOOKS", "callbacks_of", "run_hooks"]
