"""DeepSpeed."""

from __future__ import annotations

import libcst as cst

from tricklint.interpreter.behaviour import function
from tricklint.interpreter.callargs import CallArgs
from tricklint.interpreter.machine import Machine
from tricklint.interpreter.values import (
    UNKNOWN,
    Sequence,
    Value,
)


@function("deepspeed.initialize")
def initialize(m: Machine, name: str, args: CallArgs, node: cst.CSTNode) -> Value:
    model = args.get(1, "model") or UNKNOWN
    return Sequence("tuple", (model, args.kwargs.get("optimizer", UNKNOWN), UNKNOWN, UNKNOWN), False, node, m.file)
