"""Where autograd records: `no_grad`, `inference_mode`, `set_grad_enabled`, `enable_grad`."""

from __future__ import annotations

from tricklint.interpreter.behaviour import enters
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
