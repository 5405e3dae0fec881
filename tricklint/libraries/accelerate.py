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
    Instance,
    Sequence,
    Value,
)
from tricklint.libraries.events import Backward


def accelerator_method(m: Machine, value: Instance, name: str, args: CallArgs, node: cst.CSTNode) -> Value:
    if name == "prepare":
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


@function("accelerate.Accelerator")
def accelerator(m: Machine, name: str, args: CallArgs, node: cst.CSTNode) -> Value:
    made = plain(m, name, args, node)
    made.kind = "accelerator"
    return made


@behaves("accelerator")
class AcceleratorBehaviour(Behaviour):
    def method(self, m: Machine, value: Instance, name: str, args: CallArgs, node: cst.CSTNode) -> Value | None:
        return accelerator_method(m, value, name, args, node)
