"""absl's flags: each has a default, and the program reads them off one object."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

import libcst as cst

from tricklint.interpreter.behaviour import Behaviour, Function, behaves, finder, function, named
from tricklint.interpreter.callargs import CallArgs
from tricklint.interpreter.imports import ModuleValue, run_file
from tricklint.interpreter.machine import Machine
from tricklint.interpreter.objects import plain
from tricklint.interpreter.values import NONE, UNKNOWN, Const, Dict, Func, Instance, Namespace, Ref, Value, first
from tricklint.libraries.paths import path_text, places


@dataclass(slots=True, eq=False)
class FlagsFacts:
    values: dict[str, Value] = field(default_factory=dict)
    object: Instance | None = None


@named("absl.flags.FLAGS", "tensorflow.flags.FLAGS", "tensorflow.app.flags.FLAGS")
def flags(m: Machine) -> Value:
    known = m.fact(FlagsFacts)
    if known.object is None:
        known.object = Instance(Ref("absl.flags.FLAGS"), None, None)
        known.object.kind = "flags"
        known.object.fields = known.values
    return known.object


@finder(rank=20)
def definitions(name: str) -> Function | None:
    return define if name.startswith("absl.flags.DEFINE_") else None


def define(m: Machine, name: str, args: CallArgs, node: cst.CSTNode) -> Value:
    """`flags.DEFINE_float("lr", 0.1, "…")`; what it gives is the flag, whose `value` may be asked for."""
    label, default = first(args.get(0, "name")), args.get(1, "default")
    made = Namespace(node, m.file)
    if isinstance(label, Const) and isinstance(label.value, str):
        at = first(default)
        value = Const(at.value, True, at.place) if isinstance(at, Const) else default or UNKNOWN
        m.fact(FlagsFacts).values[label.value] = made.fields["value"] = made.fields["default"] = value
    return made


@function("ml_collections.config_flags.DEFINE_config_file", "ml_collections.config_flags.config_flags.DEFINE_config_file")
def define_config_file(m: Machine, name: str, args: CallArgs, node: cst.CSTNode) -> Value:
    """The default file's `get_config()` makes the value of the flag."""
    label, path = first(args.get(0, "name")), path_text(args.get(1, "default"))
    made = Namespace(node, m.file)
    if not isinstance(label, Const) or not isinstance(label.value, str):
        return made
    value: Value = UNKNOWN
    found = [each for each in places(m, path) if each.is_file() and _inside(m, each)] if path else []
    module = run_file(m, found[0]) if len(found) == 1 else None
    if module is not None:
        make = module.names.get("get_config")
        value = m.call(make, CallArgs(), node) if isinstance(make, Func) else ModuleValue(module)
    m.fact(FlagsFacts).values[label.value] = made.fields["value"] = value
    return made


def _inside(m: Machine, path: Path) -> bool:
    return path.suffix == ".py" and any(root in path.parents for root in m.project.import_roots)


@behaves("flags")
class Flags(Behaviour):
    def attribute(self, m: Machine, value: Instance, name: str, node: cst.CSTNode) -> Value | None:
        return UNKNOWN if name[:1].islower() and name not in ("flag_values_dict",) else None

    def item(self, m: Machine, value: Instance, index: Value, node: cst.CSTNode) -> Value | None:
        at = first(index)
        made = Namespace(node, m.file)
        if isinstance(at, Const) and isinstance(at.value, str) and at.value in value.fields:
            made.fields["value"] = made.fields["default"] = value.fields[at.value]
        return made

    def method(self, m: Machine, value: Instance, name: str, args: CallArgs, node: cst.CSTNode) -> Value | None:
        if name == "flag_values_dict":
            made = Dict(node, m.file)
            made.fields.update(value.fields)
            return made
        return NONE

    def call(self, m: Machine, value: Instance, args: CallArgs, node: cst.CSTNode) -> Value | None:
        return plain(m, "absl.flags.parsed", args, node)
