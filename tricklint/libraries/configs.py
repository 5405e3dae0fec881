"""Config objects: namespaces of defaults."""

from __future__ import annotations

import libcst as cst

from tricklint.interpreter.behaviour import Behaviour, behaves, function, kind_of
from tricklint.interpreter.callargs import CallArgs
from tricklint.interpreter.machine import Machine
from tricklint.interpreter.objects import attributes_of
from tricklint.interpreter.values import (
    NONE,
    UNKNOWN,
    Bound,
    Class,
    Const,
    Dict,
    Instance,
    Namespace,
    Pred,
    Sequence,
    Value,
    first,
)
from tricklint.libraries.builtin_methods import dict_method
from tricklint.libraries.config_files import value_of
from tricklint.libraries.paths import data_at

# Methods of config objects: copies of their defaults, and those that only read files over them or lock them
CONFIG_COPIES = frozenset(("clone", "copy", "copy_and_resolve_references"))


CONFIG_METHODS = CONFIG_COPIES | {
    "freeze",
    "defrost",
    "merge_from_file",
    "merge_from_list",
    "merge_from_other_cfg",
    "lock",
    "unlock",
}
DICT_METHODS = frozenset(("get", "items", "keys", "values", "update", "pop", "setdefault"))
TO_DICT = frozenset(("to_dict", "toDict", "to_container", "todict", "as_dict", "model_dump", "dict"))


@function(
    "argparse.Namespace",
    "types.SimpleNamespace",
    "easydict.EasyDict",
    "munch.Munch",
    "munch.munchify",
    "munch.DefaultMunch.fromDict",
    "munch.Munch.fromDict",
    "addict.Dict",
    "box.Box",
    "dotmap.DotMap",
    "attrdict.AttrDict",
    "ml_collections.ConfigDict",
    "ml_collections.config_dict.ConfigDict",
    "yacs.config.CfgNode",
    "mmengine.Config",
    "mmengine.config.Config",
    "mmengine.config.ConfigDict",
)
def namespace(m: Machine, name: str, args: CallArgs, node: cst.CSTNode) -> Value:
    made = Namespace(node, m.file)
    for value in args.positional:
        inner = first(value)
        if isinstance(inner, (Dict, Namespace)):
            made.fields.update({k: nested(m, v, node) for k, v in inner.fields.items() if isinstance(k, str)})
    made.fields.update(args.kwargs)
    return made


def nested(m: Machine, value: Value, node: cst.CSTNode) -> Value:
    """Dicts within dicts, as objects with attributes."""
    inner = first(value)
    if isinstance(inner, (Dict, Namespace)):
        made = Namespace(node, m.file)
        made.fields.update({k: nested(m, v, node) for k, v in inner.fields.items() if isinstance(k, str)})
        return made
    if isinstance(inner, Sequence) and any(isinstance(first(item), Dict) for item in inner.items):
        return Sequence(inner.kind, tuple(nested(m, item, node) for item in inner.items), inner.open, node, m.file)
    return value


def plain_dict(m: Machine, value: Value, node: cst.CSTNode) -> Value:
    """Objects with attributes within objects, as dicts."""
    inner = first(value)
    if isinstance(inner, (Dict, Namespace)):
        made = Dict(node, m.file, isinstance(inner, Dict) and inner.open)
        made.fields.update({k: plain_dict(m, v, node) for k, v in inner.fields.items()})
        return made
    if isinstance(inner, Sequence):
        return Sequence(inner.kind, tuple(plain_dict(m, item, node) for item in inner.items), inner.open, node, m.file)
    return value


def merge_into(m: Machine, target: Namespace, other: Value | None) -> None:
    """`other`'s values over those of `target`, level by level."""
    inner = first(other)
    if not isinstance(inner, (Dict, Namespace)):
        return
    for key, value in inner.fields.items():
        below, new = first(target.fields.get(key)), first(value)
        if isinstance(below, Namespace) and isinstance(new, (Dict, Namespace)):
            merge_into(m, below, new)
        else:
            m.write(target.fields, key, nested(m, value, target.node) if target.node is not None else value)


@kind_of
def config_class(cls: Class) -> str:
    return "config" if "yacs.config.CfgNode" in cls.libraries() else ""


@behaves("config")
class ConfigObject(Behaviour):
    def method(self, m: Machine, value: Instance, name: str, args: CallArgs, node: cst.CSTNode) -> Value | None:
        return value if name in CONFIG_COPIES else None


@behaves(Namespace)
class NamespaceBehaviour(Behaviour):
    def attribute(self, m: Machine, value: Namespace, name: str, node: cst.CSTNode) -> Value | None:
        if name == "__dict__":
            return attributes_of(m, value.fields, node)
        known = name in CONFIG_METHODS or name in DICT_METHODS or name in TO_DICT
        return Bound(value, None, name) if known else None

    def method(self, m: Machine, value: Namespace, name: str, args: CallArgs, node: cst.CSTNode) -> Value | None:
        if name in CONFIG_COPIES:
            return value
        if name in TO_DICT:
            return plain_dict(m, value, node)
        if name in DICT_METHODS:
            return dict_method(m, attributes_of(m, value.fields, node), name, args, node)
        if name == "merge_from_file":  # yacs reads with YAML, and then takes `1e-4` for the number that it says
            found = data_at(m, args.get(0, "cfg_filename"))
            if found is not None:
                merge_into(m, value, value_of(m, found[1], found[0], node, attributes=True))
        elif name == "merge_from_other_cfg" and args.positional:
            merge_into(m, value, args.positional[0])
        return NONE

    def compare(self, m: Machine, kind: type, left: Value, right: Value, node: cst.CSTNode) -> Value | None:
        """`"lr" in config`."""
        a, b = first(left), first(right)
        if kind not in (cst.In, cst.NotIn) or not isinstance(b, Namespace):
            return None
        if not isinstance(a, Const) or not isinstance(a.value, str):
            return UNKNOWN
        return Const((a.value in b.fields) is (kind is cst.In), True)

    def children(self, m: Machine, value: Namespace) -> Value | None:
        return Sequence("list", tuple(Const(key) for key in value.fields), False, value.node, value.file)

    def truth(self, m: Machine, value: Namespace) -> tuple[bool | None, Pred | None] | None:
        return (True, None) if value.fields else (None, None)


@function("dataclasses.asdict", "attr.asdict", "attrs.asdict", "dataclasses.astuple")
def as_dict(m: Machine, name: str, args: CallArgs, node: cst.CSTNode) -> Value:
    made = Dict(node, m.file)
    at = first(args.get(0, "obj"))
    if not isinstance(at, (Instance, Namespace)):
        return UNKNOWN
    for key, value in at.fields.items():
        inner = first(value)
        record = isinstance(inner, Instance) and isinstance(inner.cls, Class) and not inner.kind
        made.fields[key] = as_dict(m, name, CallArgs([value]), node) if record else value
    return made


@function("dataclasses.replace", "attr.evolve", "attrs.evolve", "copy.replace")
def with_changes(m: Machine, name: str, args: CallArgs, node: cst.CSTNode) -> Value:
    at = first(args.positional[0]) if args.positional else None
    if not isinstance(at, Instance):
        return UNKNOWN
    made = Instance(at.cls, node, m.file)
    made.fields.update({**at.fields, **args.kwargs})
    return made


__all__ = ["as_dict", "merge_into", "namespace", "nested", "plain_dict"]
