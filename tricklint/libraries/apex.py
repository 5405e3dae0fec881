"""NVIDIA apex: mixed precision."""

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


@function("apex.amp.initialize")
def initialize(m: Machine, name: str, args: CallArgs, node: cst.CSTNode) -> Value:
    return Sequence("tuple", tuple(args.positional[:2]) or tuple(args.all()[:2]), False, node, m.file)


@function("apex.amp.scale_loss")
def scale_loss(m: Machine, name: str, args: CallArgs, node: cst.CSTNode) -> Value:
    return args.positional[0] if args.positional else UNKNOWN
