"""Classes of the program that are dicts, `class DotDict(dict)`: what is in them is got by key and by attribute."""

from __future__ import annotations

import libcst as cst

from tricklint.interpreter.behaviour import Behaviour, behaves, kind_of
from tricklint.interpreter.callargs import CallArgs
from tricklint.interpreter.machine import Machine
from tricklint.interpreter.objects import attributes_of
from tricklint.interpreter.values import NONE, Class, Const, Dict, Func, Instance, Value, first
from tricklint.libraries.builtin_methods import dict_method
from tricklint.libraries.builtins import make_dict
from tricklint.libraries.configs import DICT_METHODS, nested

_BASES = frozenset(("builtins.dict", "collections.OrderedDict", "collections.UserDict"))


@kind_of
def own_dict(cls: Class) -> str:
    return "own dict" if not _BASES.isdisjoint(cls.libraries()) else ""


def fill(m: Machine, value: Instance, args: CallArgs, node: cst.CSTNode) -> None:
    given = make_dict(m, "builtins.dict", args, node)
    if isinstance(given, Dict):
        value.open_kwargs = value.open_kwargs or given.open
        for key, held in given.fields.items():
            m.write(value.fields, key, nested(m, held, node))


def held(value: Instance, key: Value | None) -> Value | None:
    at = first(key)
    return value.fields.get(at.value) if isinstance(at, Const) and isinstance(at.value, (str, int)) else None


@behaves("own dict")
class OwnDict(Behaviour):
    def built(self, m: Machine, made: Instance, cls: Class, args: CallArgs, node: cst.CSTNode) -> bool:
        if not isinstance(cls.lookup("__init__"), Func):
            fill(m, made, args, node)
        return False

    def super_method(self, m: Machine, value: Instance, name: str, args: CallArgs, node: cst.CSTNode) -> Value | None:
        if name == "__init__":
            fill(m, value, args, node)
            return NONE
        if name in ("__getattr__", "__getitem__"):
            return held(value, args.get(0, "key"))
        return self.method(m, value, name, args, node)

    def set_attribute(self, m: Machine, value: Instance, name: str, new: Value, node: cst.CSTNode) -> bool:
        return name == "__dict__"  # `self.__dict__ = self`: the items are the attributes, as they are here

    def item(self, m: Machine, value: Instance, index: Value, node: cst.CSTNode) -> Value | None:
        own = value.cls.lookup("__getitem__") if isinstance(value.cls, Class) else None
        return held(value, index) if not isinstance(own, Func) else None

    def method(self, m: Machine, value: Instance, name: str, args: CallArgs, node: cst.CSTNode) -> Value | None:
        if name not in DICT_METHODS:
            return None
        return dict_method(m, attributes_of(m, value.fields, node, value.open_kwargs), name, args, node)
