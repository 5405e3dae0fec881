"""ignite: an engine calls the function it was given for every batch of what it is run over."""

from __future__ import annotations

from dataclasses import dataclass

import libcst as cst

from tricklint.interpreter.behaviour import Behaviour, behaves, function, kind_of
from tricklint.interpreter.callargs import CallArgs
from tricklint.interpreter.events import Loop
from tricklint.interpreter.iteration import rounds
from tricklint.interpreter.machine import Machine
from tricklint.interpreter.objects import plain
from tricklint.interpreter.values import NONE, UNKNOWN, Class, Func, Instance, Partial, Value, first, instances
from tricklint.libraries.events import TrainerGiven, TrainsOver
from tricklint.libraries.learners import measure


@dataclass(slots=True, eq=False)
class EngineFacts:
    """step: the function that is called for a batch. trains: the engine was made to train the model in its arguments."""

    step: Value | None = None
    trains: bool = False
    ran: bool = False


@function("ignite.engine.Engine", "ignite.engine.engine.Engine")
def engine(m: Machine, name: str, args: CallArgs, node: cst.CSTNode) -> Value:
    made = plain(m, name, args, node)
    made.kind = "engine"
    made.fact(EngineFacts).step = args.get(0, "process_function")
    return made


@function("ignite.engine.create_supervised_trainer", "ignite.engine.create_supervised_evaluator")
def supervised(m: Machine, name: str, args: CallArgs, node: cst.CSTNode) -> Value:
    made = plain(m, name, args, node)
    made.kind = "engine"
    made.fact(EngineFacts).trains = name.endswith("trainer")
    for model in instances(args.get(0, "model"), "module") if name.endswith("trainer") else ():
        m.emit(TrainerGiven(m.now(node), model, "ignite", made))
    return made


@kind_of
def engine_class(cls: Class) -> str:
    """The program's own subclass of an engine."""
    return "engine" if any(name.startswith("ignite.engine.") for name in cls.libraries()) else ""


@behaves("engine")
class Engine(Behaviour):
    def super_method(self, m: Machine, value: Instance, name: str, args: CallArgs, node: cst.CSTNode) -> Value | None:
        if name != "__init__":
            return self.method(m, value, name, args, node)
        value.fact(EngineFacts).step = args.get(0, "process_function")
        return NONE

    def method(self, m: Machine, value: Instance, name: str, args: CallArgs, node: cst.CSTNode) -> Value | None:
        known = value.fact(EngineFacts)
        if name != "run" or known.ran:
            return UNKNOWN
        known.ran = True
        data = args.get(0, "data")
        found = rounds(m, data, node) if data is not None else []
        batch = found[0] if found else UNKNOWN
        step = first(known.step)
        if isinstance(step, (Func, Partial)):
            func = step.func if isinstance(step, Partial) else step
            place = func if isinstance(func, Func) else None
            outer = m.loops
            m.seq += 1
            loop = Loop(place.node if place else node, data, place.file if place else m.file, m.seq, len(m.frames))
            m.loops = [*outer, loop]
            m.call(step, CallArgs([value, batch]), node)
            m.loops = outer
        elif known.trains:
            measure(m, value.args[0] if value.args else value.kwargs.get("model"), _loss(value), batch, node)
            for loader in instances(data):
                if loader.kind in ("loader", "batches"):
                    m.emit(TrainsOver(m.now(node), loader, "ignite", value))
        return UNKNOWN


def _loss(trainer: Instance) -> Value | None:
    return trainer.args[2] if len(trainer.args) > 2 else trainer.kwargs.get("loss_fn")
