"""`requires_grad` set on parameters, and set in vain on modules."""

from __future__ import annotations

import contextlib
import sys
from typing import Any

import torch
from torch import nn

from tricklint.watching.recorder.log import Log
from tricklint.watching.recorder.names import Names
from tricklint.watching.recorder.patches import Patches

IN_VAIN = frozenset(("requires_grad", "requires_grad_", "require_grad", "requires_grads"))  # on a module
MOST = 5000  # parameters of one place that are listed


class Freezing:
    def __init__(self, log: Log, names: Names) -> None:
        self.log, self.names = log, names
        self.options: set[tuple[type, str]] = set()

    def install(self, patches: Patches) -> None:
        patches.add(nn.Parameter, "requires_grad", Switch(self))
        patches.add(nn.Parameter, "requires_grad_", self._method())
        patches.set(nn.Module, "__setattr__", self._setattr)

    def _setattr(self, plain: Any) -> Any:
        def setattr_(module: Any, name: str, value: Any) -> None:
            if name in IN_VAIN and isinstance(value, bool):
                self.in_vain(module, name, value, sys._getframe(1))
            plain(module, name, value)

        return setattr_

    def _method(self) -> Any:
        def requires_grad_(parameter: Any, requires_grad: bool = True) -> Any:
            if not torch.compiler.is_compiling():
                self.set(parameter, requires_grad, sys._getframe(1))
            return torch.Tensor.requires_grad_(parameter, requires_grad)

        return requires_grad_

    def set(self, parameter: Any, value: bool, frame: Any) -> None:
        with contextlib.suppress(Exception):
            place = self.log.place(frame)
            row = self.log.row("froze", place, bool(value), at=place, value=bool(value), count=0, parameters=[], changed=0)
            row["count"] += 1
            row["changed"] += bool(torch.Tensor.requires_grad.__get__(parameter)) is not bool(value)  # type: ignore[attr-defined]
            row["last"] = self.log.step
            number = self.names.parameters.of(parameter)
            if len(row["parameters"]) < MOST and number not in row["parameters"]:
                row["parameters"].append(number)

    def in_vain(self, thing: Any, name: str, value: Any, frame: Any) -> None:
        with contextlib.suppress(Exception):
            if name != "requires_grad_" and hasattr(type(thing), name):
                return  # the class has a property of that name
            if all(p.requires_grad is value for p in thing.parameters()):
                return  # it is so already
            option = (type(thing), name)
            if frame.f_code.co_argcount and frame.f_locals.get(frame.f_code.co_varnames[0]) is thing:
                self.options.add(option)  # an option that the class gives itself
            if option in self.options:
                return
            place = self.log.place(frame)
            row = self.log.row("in_vain", place, at=place, name=name, type=type(thing).__name__, count=0, value=bool(value))
            row["count"] += 1


class Switch:
    """`requires_grad` of parameters as it is, with who sets it written down."""

    def __init__(self, freezing: Freezing) -> None:
        self.freezing = freezing
        self.plain: Any = torch.Tensor.requires_grad

    def __get__(self, parameter: Any, kind: Any = None) -> Any:
        return self if parameter is None else self.plain.__get__(parameter)

    def __set__(self, parameter: Any, value: bool) -> None:
        if not torch.compiler.is_compiling():
            self.freezing.set(parameter, value, sys._getframe(1))
        self.plain.__set__(parameter, value)
