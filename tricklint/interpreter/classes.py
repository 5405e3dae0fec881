"""Instances of the program's classes: `__init__` is followed, a dataclass is filled from its fields."""

from __future__ import annotations

import libcst as cst

from tricklint.interpreter import behaviour
from tricklint.interpreter.callargs import CallArgs
from tricklint.interpreter.events import Building, Built
from tricklint.interpreter.machine import Machine
from tricklint.interpreter.values import (
    UNKNOWN,
    Bound,
    Class,
    Const,
    Func,
    Instance,
    Ref,
    Value,
    members,
)

_DATACLASS = frozenset(("dataclasses.dataclass", "pydantic.dataclasses.dataclass", "attr.s", "attrs.define", "attr.dataclass",
                        "chex.dataclass", "flax.struct.dataclass"))  # fmt: skip


# Base classes whose annotated names are the constructor's parameters
_FIELD_CLASSES = frozenset(("typing.NamedTuple", "pydantic.BaseModel", "pydantic.BaseSettings", "pydantic.v1.BaseModel",
                            "pydantic.v1.BaseSettings", "pydantic_settings.BaseSettings", "transformers.TrainingArguments",
                            "tap.Tap"))  # fmt: skip


def _of_the_class(annotation: cst.BaseExpression) -> bool:
    """`ClassVar[int]`: no field of its instances."""
    at = annotation.value if isinstance(annotation, cst.Subscript) else annotation
    name = at.attr if isinstance(at, cst.Attribute) else at
    return isinstance(name, cst.Name) and name.value == "ClassVar"


def kind_of_class(cls: Class) -> str:
    """What an instance is to the libraries that its bases come from; "" for a plain object."""
    return next((kind for test in behaviour.KINDS_OF_CLASS if (kind := test(cls))), "")


def by_own_new(m: Machine, cls: Class, args: CallArgs, node: cst.CSTNode) -> Instance | None:
    """The object that a plain class's own `__new__` gives: the one that there is already, where it keeps just one."""
    new = cls.lookup("__new__")
    if not isinstance(new, Func) or kind_of_class(cls):
        return None
    given = m.call(Bound(cls, new, "__new__"), args, node)
    return next((each for each in members(given) if isinstance(each, Instance) and each.cls is cls), None)


def instantiate(m: Machine, cls: Class, args: CallArgs, node: cst.CSTNode) -> Value:
    made = by_own_new(m, cls, args, node) or Instance(cls, node, m.file)
    made.kind = kind_of_class(cls)
    made.args, made.kwargs = tuple(args.positional), dict(args.kwargs)
    made.open_kwargs = args.open_kwargs
    owner = m.frame.func.owner if m.frame.func is not None else None
    made.made_in = owner
    init = cls.lookup("__init__")
    building = sum(1 for frame in m.frames if isinstance(frame.self, Instance) and frame.self.cls is cls)
    m.emit(Building(m.now(node), made))
    if isinstance(init, Func) and building < 3:
        m.call(Bound(made, init, "__init__"), args, node)
    elif is_dataclass(m, cls):
        fill_dataclass(m, made, cls, args)
    m.seq += 1
    made.seq = m.seq
    if not behaviour.of(made).built(m, made, cls, args, node):
        m.emit(Built(m.now(node), made))
    if is_enum(m, cls):
        return UNKNOWN
    return made


def is_enum(m: Machine, cls: Class) -> bool:
    return any(name.startswith("enum.") for name in cls.libraries())


def is_dataclass(m: Machine, cls: Class) -> bool:
    for at in cls.mro():
        if isinstance(at, Class):
            for decorator in at.decorators:
                name = decorator.name if isinstance(decorator, Ref) else getattr(decorator, "library", "")
                if name in _DATACLASS or name.endswith(".dataclass"):
                    return True
        elif isinstance(at, Ref) and at.name in _FIELD_CLASSES:
            return True
    return False


def fill_dataclass(m: Machine, made: Instance, cls: Class, args: CallArgs) -> None:
    names: list[str] = []
    for at in reversed([c for c in cls.mro() if isinstance(c, Class)]):
        for statement in at.node.body.body:
            for small in getattr(statement, "body", ()) if isinstance(statement, cst.SimpleStatementLine) else ():
                if isinstance(small, cst.AnnAssign) and isinstance(small.target, cst.Name):
                    if small.target.value not in names and not _of_the_class(small.annotation.annotation):
                        names.append(small.target.value)
    for i, name in enumerate(names):
        passed = args.get(i, name)
        if passed is not None:
            made.fields[name] = passed
            continue
        default = cls.lookup(name)
        made.fields[name] = dataclass_default(m, default)
    post = cls.lookup("__post_init__")
    if isinstance(post, Func):
        m.call(Bound(made, post, "__post_init__"), CallArgs(), made.node)  # type: ignore[arg-type]


def dataclass_default(m: Machine, default: Value | None) -> Value:
    if isinstance(default, Const):
        return Const(default.value, True)
    if isinstance(default, Instance) and default.library.endswith((".field", ".Field", ".ib")):
        inner = default.kwargs.get("default")
        if inner is None and default.args:
            inner = default.args[0]
        if isinstance(inner, Const):
            return Const(inner.value, True)
        factory = default.kwargs.get("default_factory")
        if isinstance(factory, (Func, Class)):
            return m.call(factory, CallArgs(), default.node)  # type: ignore[arg-type]
        return inner or UNKNOWN
    return default or UNKNOWN
