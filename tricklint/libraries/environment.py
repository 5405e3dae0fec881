"""The environment: a variable that is asked for with a default has that value, and by default a program is run without
arguments."""

from __future__ import annotations

import libcst as cst

from tricklint.interpreter.behaviour import Behaviour, behaves, function, named
from tricklint.interpreter.callargs import CallArgs
from tricklint.interpreter.machine import Machine
from tricklint.interpreter.values import UNKNOWN, Const, Pred, Unknown, Value, first


class Argv(Unknown):
    """`sys.argv`: what stands in it is not known, only that the script's name alone does where no more is given."""

    __slots__ = ()


@named("sys.argv")
def argv(m: Machine) -> Value:
    return Argv()


@behaves(Argv)
class ArgvBehaviour(Behaviour):
    def length(self, m: Machine, value: Argv) -> Value | None:
        return Const(1, True)


class Unset(Unknown):
    """A variable that is asked for without a default: what it holds is not known, only that it is None where nobody set it."""

    __slots__ = ()


@behaves(Unset)
class UnsetBehaviour(Behaviour):
    def truth(self, m: Machine, value: Value) -> tuple[bool | None, Pred | None]:
        return False, None


@function("os.getenv", "os.environ.get", "decouple.config", "environ.Env")
def getenv(m: Machine, name: str, args: CallArgs, node: cst.CSTNode) -> Value:
    at = first(args.get(1, "default"))
    if args.get(1, "default") is None and name in ("os.getenv", "os.environ.get"):
        return Unset()
    return Const(at.value, True) if isinstance(at, Const) and at.value is not None else UNKNOWN
