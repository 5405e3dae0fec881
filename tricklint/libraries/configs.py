"""Config objects: namespaces of defaults."""

from __future__ import annotations

import libcst as cst

from tricklint.interpreter.behaviour import Behaviour, behaves, function, kind_of
from tricklint.interpreter.callargs import CallArgs
from tricklint.interpreter.machine import Machine
from tricklint.interpreter.values import (
    NONE,
    Bound,
    Class,
    Dict,
    Instance,
    Namespace,
    Value,
    first,
)

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


@function(
    "argparse.Namespace",
    "types.SimpleNamespace",
    "easydict.EasyDict",
    "omegaconf.OmegaConf.create",
    "munch.Munch",
    "addict.Dict",
    "ml_collections.ConfigDict",
    "yacs.config.CfgNode",
)
def namespace(m: Machine, name: str, args: CallArgs, node: cst.CSTNode) -> Value:
    made = Namespace(node, m.file)
    for value in args.positional:
        inner = first(value)
        if isinstance(inner, Dict):
            made.fields.update({k: _nested(v, node, m) for k, v in inner.fields.items() if isinstance(k, str)})
    made.fields.update(args.kwargs)
    return made


def _nested(value: Value, node: cst.CSTNode, m: Machine) -> Value:
    inner = first(value)
    if isinstance(inner, Dict):
        made = Namespace(node, m.file)
        made.fields.update({k: _nested(v, node, m) for k, v in inner.fields.items() if isinstance(k, str)})
        return made
    return value


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
        return Bound(value, None, name) if name in CONFIG_METHODS else None

    def method(self, m: Machine, value: Namespace, name: str, args: CallArgs, node: cst.CSTNode) -> Value | None:
        return value if name in CONFIG_COPIES else NONE
