"""OmegaConf: configurations as objects, merged, with interpolations that are resolved a bounded number of times."""

from __future__ import annotations

import re
from dataclasses import dataclass, field

import libcst as cst

from tricklint.interpreter.behaviour import function
from tricklint.interpreter.callargs import CallArgs
from tricklint.interpreter.machine import Machine
from tricklint.interpreter.values import (
    NONE,
    UNKNOWN,
    Class,
    Const,
    Dict,
    Instance,
    Namespace,
    Sequence,
    Unknown,
    Value,
    first,
)
from tricklint.libraries.config_files import TO_BE_GIVEN, value_of
from tricklint.libraries.configs import merge_into, nested, plain_dict
from tricklint.libraries.paths import data_at
from tricklint.source.data import DataError, parse_data

MAX_STEPS = 2_000  # values that interpolations of one configuration may give in all
MAX_DEPTH = 16
_REFERENCE = re.compile(r"\$\{([^${}]*)\}")
_RESOLVER = re.compile(r"^([\w.]+):(.*)$", re.DOTALL)


@dataclass(slots=True, eq=False)
class OmegaFacts:
    """Configurations as they were written, by the id of what their interpolations were resolved to."""

    raw: dict[int, tuple[Namespace, Namespace]] = field(default_factory=dict)


def finished(m: Machine, raw: Namespace) -> Namespace:
    """A configuration with its interpolations resolved; it remembers how it was written, for a later merge."""
    made = Resolver(m, raw).whole()
    m.fact(OmegaFacts).raw[id(made)] = (made, raw)
    return made


def written(m: Machine, value: Value | None, node: cst.CSTNode) -> Namespace:
    """A configuration of its own, as it was written: of a namespace, a dict, a dataclass or an object of one."""
    at = first(value)
    if isinstance(at, Class):
        at = first(m.call(at, CallArgs(), node))
    made = Namespace(node, m.file)
    if isinstance(at, Namespace) and id(at) in m.fact(OmegaFacts).raw:
        at = m.fact(OmegaFacts).raw[id(at)][1]
    if isinstance(at, (Namespace, Dict)):
        made.fields.update({key: nested(m, each, node) for key, each in at.fields.items() if isinstance(key, str)})
    elif isinstance(at, Instance) and isinstance(at.cls, Class):
        made.fields.update({key: _record(m, each, node) for key, each in at.fields.items() if isinstance(key, str)})
    return made


def _record(m: Machine, value: Value, node: cst.CSTNode) -> Value:
    at = first(value)
    if isinstance(at, Instance) and isinstance(at.cls, Class) and not at.kind:
        return written(m, at, node)
    if isinstance(at, Const) and at.value == "???":
        return TO_BE_GIVEN
    return nested(m, value, node)


class Resolver:
    """Resolves `${optim.lr}`, `${..lr}` and `${oc.env:NAME,0.1}` within one configuration."""

    def __init__(self, m: Machine, root: Namespace) -> None:
        self.m = m
        self.root = root
        self.steps = 0
        self.done: dict[int, tuple[Value, Value]] = {}

    def whole(self) -> Namespace:
        made = self.value(self.root, (), 0)
        assert isinstance(made, Namespace)
        return made

    def value(self, value: Value, above: tuple[Namespace, ...], depth: int) -> Value:
        self.steps += 1
        if depth > MAX_DEPTH or self.steps > MAX_STEPS * 10:
            return UNKNOWN
        if isinstance(value, Namespace):
            if id(value) in self.done:
                return self.done[id(value)][1]
            made = Namespace(value.node, value.file)
            self.done[id(value)] = (value, made)
            for key, each in value.fields.items():
                made.fields[key] = self.value(each, (*above, value), depth + 1)
            return made
        if isinstance(value, Sequence):
            items = tuple(self.value(item, above, depth + 1) for item in value.items)
            return Sequence(value.kind, items, value.open, value.node, value.file)
        if isinstance(value, Const) and isinstance(value.value, str) and "${" in value.value:
            return self.text(value, above, depth + 1)
        return value

    def text(self, value: Const, above: tuple[Namespace, ...], depth: int) -> Value:
        text: str = value.value
        for _ in range(MAX_DEPTH):
            whole = _REFERENCE.fullmatch(text)
            if whole is not None:
                return self.reference(whole[1], above, depth)
            inner = _REFERENCE.search(text)
            if inner is None:
                break
            part = first(self.reference(inner[1], above, depth))
            if not isinstance(part, Const) or len(text) > 1_000:
                return UNKNOWN
            text = f"{text[: inner.start()]}{part.value}{text[inner.end() :]}"
        return UNKNOWN if "${" in text else Const(text, True, value.place)

    def reference(self, wanted: str, above: tuple[Namespace, ...], depth: int) -> Value:
        self.steps += 1
        if self.steps > MAX_STEPS or depth > MAX_DEPTH:
            return UNKNOWN
        wanted = wanted.strip()
        resolver = _RESOLVER.match(wanted)
        if resolver is not None:
            return self.resolver(resolver[1], resolver[2], above, depth)
        dots = len(wanted) - len(wanted.lstrip("."))
        at: Value = self.root
        if dots:
            at = above[-dots] if dots <= len(above) else UNKNOWN
        around: tuple[Namespace, ...] = above[: len(above) - dots] if dots else ()
        for key in filter(None, wanted.lstrip(".").replace("[", ".").replace("]", "").split(".")):
            if isinstance(at, Const) and isinstance(at.value, str) and "${" in at.value:
                at = self.text(at, around, depth + 1)
            if isinstance(at, Namespace):
                around = (*around, at)
                at = at.fields.get(key, UNKNOWN)
            elif isinstance(at, Sequence) and key.isdecimal() and int(key) < len(at.items):
                at = at.items[int(key)]
            else:
                return UNKNOWN
        return self.value(at, around, depth + 1)

    def resolver(self, name: str, given: str, above: tuple[Namespace, ...], depth: int) -> Value:
        wanted, comma, default = given.partition(",")
        if name == "oc.select":
            found = self.reference(wanted, above, depth)
            if not isinstance(found, Unknown):
                return found
        if name == "oc.env" and comma:  # the environment holds text
            return Const(default.strip(), True)
        if name == "oc.select" and comma:
            return _scalar(default.strip())
        return UNKNOWN


def _scalar(text: str) -> Value:
    """A scalar as OmegaConf's grammar reads it."""
    try:
        datum = parse_data(".yaml", text.encode())
    except DataError:
        return UNKNOWN
    if isinstance(datum.value, (dict, list)):
        return UNKNOWN
    try:
        return Const(float(text), True) if isinstance(datum.value, str) else Const(datum.value, True)
    except ValueError:
        return Const(datum.value, True)


@function("omegaconf.OmegaConf.load")
def load(m: Machine, name: str, args: CallArgs, node: cst.CSTNode) -> Value:
    found = data_at(m, args.get(0, "file_"))
    raw = value_of(m, found[1], found[0], node, attributes=True) if found is not None else UNKNOWN
    return finished(m, raw) if isinstance(raw, Namespace) else raw


@function("omegaconf.OmegaConf.create", "omegaconf.OmegaConf.structured", "omegaconf.DictConfig")
def create(m: Machine, name: str, args: CallArgs, node: cst.CSTNode) -> Value:
    given = args.get(0, "obj") or args.get(0, "content")
    at = first(given)
    if isinstance(at, Const) and isinstance(at.value, str):
        try:
            raw = value_of(m, parse_data(".yaml", at.value.encode()), None, node, attributes=True)
        except DataError:
            return UNKNOWN
        return finished(m, raw) if isinstance(raw, Namespace) else raw
    if isinstance(at, Sequence):
        return at
    return finished(m, written(m, given, node))


@function("omegaconf.OmegaConf.merge", "omegaconf.OmegaConf.unsafe_merge")
def merge(m: Machine, name: str, args: CallArgs, node: cst.CSTNode) -> Value:
    if not args.positional:
        return UNKNOWN
    made = written(m, args.positional[0], node)
    for other in args.positional[1:]:
        if not isinstance(first(other), Unknown):  # what the command line may say is not the default
            merge_into(m, made, written(m, other, node))
    return finished(m, made)


@function("omegaconf.OmegaConf.from_cli", "omegaconf.OmegaConf.from_dotlist")
def from_cli(m: Machine, name: str, args: CallArgs, node: cst.CSTNode) -> Value:
    return Namespace(node, m.file)


@function("omegaconf.OmegaConf.to_container", "omegaconf.OmegaConf.to_object")
def to_container(m: Machine, name: str, args: CallArgs, node: cst.CSTNode) -> Value:
    return plain_dict(m, args.positional[0], node) if args.positional else UNKNOWN


@function("omegaconf.OmegaConf.select")
def select(m: Machine, name: str, args: CallArgs, node: cst.CSTNode) -> Value:
    at, key = first(args.get(0, "cfg")), first(args.get(1, "key"))
    if not isinstance(at, Namespace) or not isinstance(key, Const) or not isinstance(key.value, str):
        return UNKNOWN
    found = Resolver(m, at).reference(key.value, (), 0)
    return found if not isinstance(found, Unknown) else args.get(2, "default") or NONE


@function(
    "omegaconf.OmegaConf.set_struct", "omegaconf.OmegaConf.set_readonly", "omegaconf.OmegaConf.resolve",
    "omegaconf.OmegaConf.save", "omegaconf.OmegaConf.register_new_resolver",
)  # fmt: skip
def leaves_as_is(m: Machine, name: str, args: CallArgs, node: cst.CSTNode) -> Value:
    return NONE


@function("omegaconf.open_dict", "omegaconf.read_write", "omegaconf.flag_override")
def opened(m: Machine, name: str, args: CallArgs, node: cst.CSTNode) -> Value:
    return args.positional[0] if args.positional else UNKNOWN


__all__ = ["finished", "written"]
