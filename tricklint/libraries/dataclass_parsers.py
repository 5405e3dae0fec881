"""Command lines that fill a class of the program, or call a function of it: what is not given keeps its default."""

from __future__ import annotations

import libcst as cst

from tricklint.interpreter.behaviour import function, parameter_defaults
from tricklint.interpreter.callargs import CallArgs
from tricklint.interpreter.machine import Frame, Machine
from tricklint.interpreter.values import (
    UNKNOWN,
    Class,
    Const,
    Dict,
    Func,
    Instance,
    Namespace,
    Ref,
    Value,
    first,
)


@function(
    "tyro.cli", "simple_parsing.parse", "pyrallis.parse", "draccus.parse", "chz.entrypoint", "chz.nested_entrypoint",
    "argparse_dataclass.parse_args", "datargs.parse", "corgy.parse_from_cmdline", "tapify.tapify", "tap.tapify",
    "pydantic_settings.CliApp.run",
)  # fmt: skip
def filled(m: Machine, name: str, args: CallArgs, node: cst.CSTNode) -> Value:
    default = args.kwargs.get("default")
    if default is not None and not isinstance(first(default), Const):
        return default
    wanted = first(args.positional[0]) if args.positional else first(args.kwargs.get("config_class"))
    if isinstance(wanted, Func) and name.startswith("chz."):
        return m.call(wanted, CallArgs(annotated(m, wanted)), node)
    if isinstance(wanted, Func):  # a parameter that is annotated with a class is filled like one
        return m.call(wanted, CallArgs([], wanted_by(m, wanted)), node)
    return m.call(wanted, CallArgs(), node) if isinstance(wanted, (Class, Func)) else UNKNOWN


def annotation_of(m: Machine, func: Func, param: cst.Param) -> Value:
    if param.annotation is None:
        return UNKNOWN
    m.frames.append(Frame(None, func.file, {}, func.closure, len(m.path)))
    try:
        return m.eval(param.annotation.annotation)
    finally:
        m.frames.pop()


def wanted_by(m: Machine, func: Func) -> dict[str, Value]:
    """Parameters without a default whose annotation is a class of the program: objects of those classes."""
    made: dict[str, Value] = {}
    for param in (*func.node.params.params, *func.node.params.kwonly_params):
        kind = first(annotation_of(m, func, param)) if param.default is None else None
        if isinstance(kind, Class):
            made[param.name.value] = m.call(kind, CallArgs(), func.node)
    return made


def annotated(m: Machine, func: Func) -> list[Value]:
    kinds = [first(annotation_of(m, func, param)) for param in func.node.params.params[:1]]
    return [m.call(kind, CallArgs(), func.node) if isinstance(kind, Class) else UNKNOWN for kind in kinds]


_WRAPS = ("pyrallis.wrap", "draccus.wrap", "pyrallis.argparsing.wrap", "simple_parsing.decorators.main")


@parameter_defaults
def wrapped(m: Machine, func: Func) -> dict[str, Value]:
    """`@pyrallis.wrap() def main(config: TrainConfig)`."""
    names = [at.library if isinstance(at, Instance) else at.name if isinstance(at, Ref) else "" for at in func.decorators]
    if not any(name in _WRAPS for name in names) or not func.node.params.params:
        return {}
    made = annotated(m, func)
    return {func.node.params.params[0].name.value: made[0]} if made else {}


@function("dacite.from_dict", "cattrs.structure", "cattr.structure", "dacite.core.from_dict")
def from_dict(m: Machine, name: str, args: CallArgs, node: cst.CSTNode) -> Value:
    kind = first(args.get(0, "data_class") if name.startswith("dacite") else args.get(1, "cl"))
    data = first(args.get(1, "data") if name.startswith("dacite") else args.get(0, "obj"))
    if not isinstance(kind, Class):
        return UNKNOWN
    return structured(m, kind, data, node)


def structured(m: Machine, kind: Class, data: Value | None, node: cst.CSTNode) -> Value:
    """An object of a dataclass from a dict, with those of its fields that are dataclasses themselves."""
    given = CallArgs()
    if not isinstance(data, (Dict, Namespace)):
        given.open_kwargs = True
        return m.call(kind, given, node)
    for key, value in data.fields.items():
        if not isinstance(key, str):
            continue
        below = first(value)
        field_kind = _field_kind(m, kind, key) if isinstance(below, (Dict, Namespace)) else None
        given.kwargs[key] = structured(m, field_kind, below, node) if field_kind is not None else value
    return m.call(kind, given, node)


def _field_kind(m: Machine, kind: Class, name: str) -> Class | None:
    for statement in kind.node.body.body:
        for small in statement.body if isinstance(statement, cst.SimpleStatementLine) else ():
            if isinstance(small, cst.AnnAssign) and isinstance(small.target, cst.Name) and small.target.value == name:
                m.frames.append(Frame(None, kind.file, {}, (), len(m.path)))
                try:
                    found = first(m.eval(small.annotation.annotation))
                finally:
                    m.frames.pop()
                return found if isinstance(found, Class) else None
    return None


__all__ = ["annotated", "structured", "wanted_by"]
