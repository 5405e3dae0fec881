"""Where autograd records: `no_grad`, `inference_mode`, `set_grad_enabled`, `enable_grad`."""

from __future__ import annotations

import libcst as cst

from tricklint.interpreter.behaviour import Behaviour, behaves_below, enters
from tricklint.interpreter.callargs import CallArgs
from tricklint.interpreter.contexts import enter
from tricklint.interpreter.machine import Machine
from tricklint.interpreter.truth import truth
from tricklint.interpreter.values import (
    Instance,
    Value,
)


@enters("torch.no_grad", "torch.inference_mode", "torch.autograd.no_grad", "torch.autograd.inference_mode")
def no_grad(m: Machine, value: Value) -> None:
    args = value.args if isinstance(value, Instance) else ()
    if not args or truth(m, args[0])[0] is not False:
        m.grad = False


@enters("torch.set_grad_enabled", "torch.autograd.set_grad_enabled")
def set_grad_enabled(m: Machine, value: Value) -> None:
    args = value.args if isinstance(value, Instance) else ()
    m.grad = truth(m, args[0])[0] if args else None


@enters("torch.enable_grad")
def enable_grad(m: Machine, value: Value) -> None:
    m.grad = True


@behaves_below("torch.no_grad", "torch.inference_mode", "torch.set_grad_enabled", "torch.enable_grad", "torch.autograd.")
class SwitchedByHand(Behaviour):
    """`torch.no_grad().__enter__()`: it holds from there on."""

    def method(self, m: Machine, value: Instance, name: str, args: CallArgs, node: cst.CSTNode) -> Value | None:
        if name == "__enter__":
            enter(m, value)
            return value
        if name == "__exit__":
            m.grad = True
        return None


@behaves_below("contextlib.ExitStack", "contextlib.AsyncExitStack")
class ManyContexts(Behaviour):
    """`stack.enter_context(torch.no_grad())`: it holds as long as the stack is open."""

    def method(self, m: Machine, value: Instance, name: str, args: CallArgs, node: cst.CSTNode) -> Value | None:
        if name == "enter_context" and args.positional:
            enter(m, args.positional[0])
            return args.positional[0]
        return None
