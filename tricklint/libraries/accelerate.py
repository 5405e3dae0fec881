"""Hugging Face accelerate."""

from __future__ import annotations

import libcst as cst

from tricklint.interpreter.behaviour import Behaviour, behaves, function
from tricklint.interpreter.callargs import CallArgs
from tricklint.interpreter.machine import Machine
from tricklint.interpreter.objects import plain
from tricklint.interpreter.values import (
    NONE,
    UNKNOWN,
    Const,
    Instance,
    Sequence,
    Value,
    first,
    members,
)
from tricklint.libraries.events import Backward, Moved


def accelerator_method(m: Machine, value: Instance, name: str, args: CallArgs, node: cst.CSTNode) -> Value:
    if name == "prepare":
        for member in (each for given in args.positional for each in members(given)):
            if isinstance(member, Instance) and member.kind == "module":
                m.emit(Moved(m.now(node), member, "to", CallArgs([device_of(m, value, node)])))
        if len(args.positional) == 1:
            return args.positional[0]
        return Sequence("tuple", tuple(args.positional), args.open, node, m.file)
    if name == "backward":
        if args.positional:
            m.emit(Backward(m.now(node), args.positional[0]))
        return NONE
    if name in ("unwrap_model", "gather", "gather_for_metrics", "reduce") and args.positional:
        return args.positional[0]
    if name in ("autocast", "accumulate", "no_sync"):
        return plain(m, f"accelerate.Accelerator.{name}", args, node)
    return UNKNOWN


def device_of(m: Machine, value: Instance, node: cst.CSTNode) -> Value:
    """The accelerator that the machine has, unless it is told to keep to the CPU."""
    told = first(value.kwargs.get("cpu"))
    if isinstance(told, Const) and told.value:
        return Const("cpu")
    return plain(m, "torch.accelerator.current_accelerator", CallArgs(), node)


@function("accelerate.Accelerator")
def accelerator(m: Machine, name: str, args: CallArgs, node: cst.CSTNode) -> Value:
    made = plain(m, name, args, node)
    made.kind = "accelerator"
    return made


@behaves("accelerator")
class AcceleratorBehaviour(Behaviour):
    def method(self, m: Machine, value: Instance, name: str, args: CallArgs, node: cst.CSTNode) -> Value | None:
        return accelerator_method(m, value, name, args, node)

    def attribute(self, m: Machine, value: Instance, name: str, node: cst.CSTNode) -> Value | None:
        return device_of(m, value, node) if name == "device" else None
