"""Calls of libraries that no file here describes."""

from __future__ import annotations

import libcst as cst

from tricklint.interpreter.behaviour import Function, finder
from tricklint.interpreter.callargs import CallArgs
from tricklint.interpreter.calls import call_unknown
from tricklint.interpreter.events import Built, Made
from tricklint.interpreter.machine import Machine
from tricklint.interpreter.objects import plain
from tricklint.interpreter.values import (
    Value,
)
from tricklint.knowledge import frameworks
from tricklint.libraries.facts import ModuleFacts
from tricklint.libraries.tensors import Tensor


@finder(rank=100)
def any_other(name: str) -> Function | None:
    return None if name.startswith("builtins.") else stranger


def stranger(m: Machine, name: str, args: CallArgs, node: cst.CSTNode) -> Value:
    """An object of the library (a module, where it is a class of a package of modules); what it is given may be changed by
    the call, and a function of tensors gives a tensor."""
    made = plain(m, name, args, node)
    if name.startswith("lightning."):
        m.emit(Made(m.now(node), made))
    if name.startswith(frameworks.MODULE_PACKAGES) and name.rpartition(".")[2][:1].isupper():
        made.kind = "module"
        made.fact(ModuleFacts).external = True
        m.emit(Built(m.now(node), made))
    elif name not in frameworks.HARMLESS and not name.startswith(frameworks.HARMLESS_PREFIXES):
        call_unknown(m, args, node, name)
    tensors = [value for value in args.all() if isinstance(value, Tensor)]
    if tensors and name.rpartition(".")[2][:1].islower():
        grad = any(tensor.grad for tensor in tensors)
        return Tensor("unknown", tuple(args.all()), tensors[0].module, node, m.file, grad, name=name)
    return made
