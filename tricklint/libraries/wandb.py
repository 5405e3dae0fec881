"""Weights & Biases: `wandb.config` holds what `init` was given, and what a sweep puts over it."""

from __future__ import annotations

from dataclasses import dataclass, field

import libcst as cst

from tricklint.interpreter.behaviour import Behaviour, behaves, function, named
from tricklint.interpreter.callargs import CallArgs
from tricklint.interpreter.machine import Machine
from tricklint.interpreter.objects import plain
from tricklint.interpreter.values import UNKNOWN, Const, Dict, Instance, Namespace, Sequence, Value, first, join
from tricklint.libraries.configs import nested


@dataclass(slots=True, eq=False)
class WandbFacts:
    config: Namespace | None = None
    swept: dict[str, Value] = field(default_factory=dict)


@named("wandb.config", "wandb.run.config")
def config(m: Machine) -> Value:
    known = m.fact(WandbFacts)
    if known.config is None:
        known.config = Namespace()
        known.config.fields.update(known.swept)
    return known.config


@function("wandb.init")
def init(m: Machine, name: str, args: CallArgs, node: cst.CSTNode) -> Value:
    known = m.fact(WandbFacts)
    at = first(args.kwargs.get("config"))
    made = Namespace(node, m.file)
    if isinstance(at, (Dict, Namespace)):
        made.fields.update({key: nested(m, value, node) for key, value in at.fields.items() if isinstance(key, str)})
    elif isinstance(at, Instance):  # a dataclass
        made.fields.update(at.fields)
    made.fields.update(known.swept)
    known.config = made
    run = plain(m, name, args, node)
    run.kind = "wandb run"
    return run


@behaves("wandb run")
class Run(Behaviour):
    def attribute(self, m: Machine, value: Instance, name: str, node: cst.CSTNode) -> Value | None:
        return config(m) if name == "config" else None

    def method(self, m: Machine, value: Instance, name: str, args: CallArgs, node: cst.CSTNode) -> Value | None:
        return UNKNOWN


@function("wandb.sweep")
def sweep(m: Machine, name: str, args: CallArgs, node: cst.CSTNode) -> Value:
    """A parameter with one value has it; of several values any may be."""
    at = first(args.get(0, "sweep"))
    parameters = first(at.fields.get("parameters")) if isinstance(at, (Dict, Namespace)) else None
    for key, given in parameters.fields.items() if isinstance(parameters, (Dict, Namespace)) else ():
        how = first(given)
        if not isinstance(how, (Dict, Namespace)) or not isinstance(key, str):
            continue
        values = first(how.fields.get("values"))
        value: Value = how.fields.get("value", UNKNOWN)
        if isinstance(values, Sequence) and values.items and not values.open:
            value = join(*values.items)
        at_value = first(value)
        m.fact(WandbFacts).swept[key] = Const(at_value.value, True) if isinstance(at_value, Const) else value
    return UNKNOWN
