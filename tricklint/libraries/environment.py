"""The environment: a variable that is asked for with a default has that value."""

from __future__ import annotations

import libcst as cst

from tricklint.interpreter.behaviour import function
from tricklint.interpreter.callargs import CallArgs
from tricklint.interpreter.machine import Machine
from tricklint.interpreter.values import UNKNOWN, Const, Value, first


@function("os.getenv", "os.environ.get", "decouple.config", "environ.Env")
def getenv(m: Machine, name: str, args: CallArgs, node: cst.CSTNode) -> Value:
    at = first(args.get(1, "default"))
    return Const(at.value, True) if isinstance(at, Const) and at.value is not None else UNKNOWN
