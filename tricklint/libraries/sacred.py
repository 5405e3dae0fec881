"""Sacred: functions of an experiment are called with what its config functions leave in their local names."""

from __future__ import annotations

from dataclasses import dataclass, field

import libcst as cst

from tricklint.interpreter.behaviour import Behaviour, behaves, function, parameter_defaults
from tricklint.interpreter.callargs import CallArgs
from tricklint.interpreter.machine import Frame, Machine
from tricklint.interpreter.objects import plain
from tricklint.interpreter.values import NONE, Bound, Const, Dict, Func, Instance, Namespace, Value, first
from tricklint.libraries.config_files import value_of
from tricklint.libraries.paths import data_at


@dataclass(slots=True, eq=False)
class ExperimentFacts:
    added: dict[str, Value] = field(default_factory=dict)
    config: dict[str, Value] | None = None


@function("sacred.Experiment", "sacred.Ingredient")
def experiment(m: Machine, name: str, args: CallArgs, node: cst.CSTNode) -> Value:
    made = plain(m, name, args, node)
    made.kind = "experiment"
    return made


@behaves("experiment")
class Experiment(Behaviour):
    def method(self, m: Machine, value: Instance, name: str, args: CallArgs, node: cst.CSTNode) -> Value | None:
        if name == "add_config":
            added = value.fact(ExperimentFacts).added
            given = first(args.positional[0]) if args.positional else None
            found = data_at(m, given)
            if found is not None:
                given = value_of(m, found[1], found[0], node)
            if isinstance(given, (Dict, Namespace)):
                added.update({str(key): each for key, each in given.fields.items()})
            added.update(args.kwargs)
        return NONE


def _marks(func: Func, *names: str) -> Instance | None:
    """The experiment that a decorator of these names belongs to."""
    for decorator in func.decorators:
        if isinstance(decorator, Bound) and decorator.name in names and isinstance(decorator.self, Instance):
            if decorator.self.kind == "experiment":
                return decorator.self
    return None


def _config(m: Machine, at: Instance, func: Func) -> dict[str, Value]:
    known = at.fact(ExperimentFacts)
    if known.config is None:
        known.config = dict(known.added)
        for value in list(func.file.names.values()):
            if isinstance(value, Func) and isinstance(value.node, cst.FunctionDef) and _marks(value, "config") is at:
                frame = Frame(value, value.file, dict(known.config), value.closure, len(m.path))
                with m.inside(frame):
                    m.run_body(value.node.body)
                known.config.update(frame.locals)
                m.covered.add(id(value.node))
    return known.config


@parameter_defaults
def captured(m: Machine, func: Func) -> dict[str, Value]:
    at = _marks(func, "main", "automain", "capture", "command")
    if at is None:
        return {}
    found = _config(m, at, func)
    given = {
        name: Const(inner.value, True, inner.place) if isinstance(inner := first(value), Const) else value
        for name, value in found.items()
    }
    whole = Dict(func.node, func.file)
    whole.fields.update(given)
    return {**given, "_config": whole}
