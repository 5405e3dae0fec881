"""typed-argument-parser: a class of options is its own parser."""

from __future__ import annotations

import libcst as cst

from tricklint.interpreter.behaviour import kind_of, method
from tricklint.interpreter.callargs import CallArgs
from tricklint.interpreter.machine import Machine
from tricklint.interpreter.values import Bound, Class, Const, Func, Instance, Value


@kind_of
def options(cls: Class) -> str:
    return "tap" if any(name.startswith("tap.") for name in cls.libraries()) else ""


@method("tap", "parse_args")
def parsed(m: Machine, value: Instance, args: CallArgs, node: cst.CSTNode) -> Value:
    """The object itself, with the values that the class says unless the command line does."""
    cls = value.cls
    if isinstance(cls, Class):
        for at in reversed([each for each in cls.mro() if isinstance(each, Class)]):
            for name, known in at.fields.items():
                if isinstance(known, Const):
                    m.write(value.fields, name, Const(known.value, True))
        process = cls.lookup("process_args")
        if isinstance(process, Func):
            m.call(Bound(value, process, "process_args"), CallArgs(), node)
    return value
