"""Python's builtin functions."""

from __future__ import annotations

from typing import Any

import libcst as cst

from tricklint.interpreter import behaviour
from tricklint.interpreter.attributes import get_attribute, set_attribute
from tricklint.interpreter.behaviour import Behaviour, behaves, function
from tricklint.interpreter.binding import spread
from tricklint.interpreter.callargs import CallArgs
from tricklint.interpreter.classes import kind_of_class
from tricklint.interpreter.folding import folded
from tricklint.interpreter.imports import ModuleValue, dynamic_member
from tricklint.interpreter.iteration import rounds, unrolled
from tricklint.interpreter.machine import Machine
from tricklint.interpreter.objects import attributes_of, plain
from tricklint.interpreter.truth import truth
from tricklint.interpreter.values import (
    FALSE,
    NONE,
    UNKNOWN,
    Class,
    Const,
    Dict,
    Instance,
    IteratorFacts,
    Length,
    Namespace,
    Pred,
    Ref,
    Sequence,
    Share,
    Strided,
    Test,
    Union,
    Unknown,
    Value,
    first,
    join,
    members,
)
from tricklint.knowledge import layers
from tricklint.libraries.paramsets import Attr, ParamSet, type_names
from tricklint.libraries.paths import path_text
from tricklint.libraries.tensors import Tensor, surely_tensor
from tricklint.libraries.torch_nn import set_module_attribute


@function(*("builtins." + name for name in ("float", "int", "str", "bool", "abs", "round", "min", "max", "len", "sum")))
def fold(m: Machine, name: str, args: CallArgs, node: cst.CSTNode) -> Value:
    name = name.removeprefix("builtins.")
    given = [first(a) for a in args.positional]
    if name in ("float", "int", "str", "bool", "abs", "round", "min", "max") and given and not args.kwargs:
        if all(isinstance(a, Const) for a in given):
            func = {"float": float, "int": int, "str": str, "bool": bool, "abs": abs, "round": round, "min": min,
                    "max": max}[name]  # fmt: skip
            values = [a.value for a in given if isinstance(a, Const)]
            return folded(lambda: func(*values), *given)  # type: ignore[operator]
    if name == "str" and given and isinstance(given[0], Instance):
        text = path_text(given[0])
        return Const(text) if text is not None else UNKNOWN
    if name in ("float", "int", "round", "max", "min"):
        shares = [a for a in given if isinstance(a, Share)]
        if shares:
            return shares[0]
    if name == "len" and given:
        inner = given[0]
        if inner is not None and (known := behaviour.of(inner).length(m, inner)) is not None:
            return known
        if isinstance(inner, Sequence) and not inner.open:
            return Const(len(inner.items))
        if isinstance(inner, Dict) and not inner.open:
            return Const(len(inner.fields))
        if isinstance(inner, Attr) and inner.what == "shape":
            return Attr(inner.of, "ndim")
        if isinstance(inner, Const) and isinstance(inner.value, str):
            return Const(len(inner.value))
        return Length()
    if name == "sum" and given:
        given_over = members(args.positional[0])
        held = [item for each in given_over if isinstance(each, Sequence) for item in each.items]
        held += [each for each in given_over if isinstance(each, Tensor)]  # losses.values() of what a model returned
        tensors = [member for item in held for member in members(item) if isinstance(member, Tensor)]
        if tensors:
            return Tensor("sum", tuple(tensors), None, node, m.file, any(t.grad for t in tensors))
    if name in ("float", "int") and given and isinstance(given[0], Tensor):
        return Tensor("number", (given[0],), None, node, m.file, False)
    return UNKNOWN


def _modules_in(value: Value | None) -> list[Instance]:
    return [m for m in members(value) if isinstance(m, Instance) and m.kind == "module"]


def one_of_several_sets(value: Value) -> Union | None:
    """The parameters of one model or of another (of None, on a path that the defaults do not take)."""
    if not isinstance(value, Union):
        return None
    sets = tuple(member for member in value.values if isinstance(member, ParamSet))
    if len(sets) < 2 or not (len(sets) == len(value.values) or (value.sure and sets[0] is value.values[0])):
        return None
    return Union(sets, value.sure)


def make_list(kind: str) -> Any:
    def run(m: Machine, name: str, args: CallArgs, node: cst.CSTNode) -> Value:
        if not args.positional:
            return Sequence(kind, (), False, node, m.file)
        value = args.positional[0]
        if (sets := one_of_several_sets(value)) is not None:
            return sets
        inner = first(value)
        if isinstance(inner, Sequence):
            return Sequence(kind, inner.items, inner.open, node, m.file)
        if isinstance(inner, ParamSet):
            return inner
        if isinstance(inner, Dict):
            return Sequence(kind, tuple(Const(k) for k in inner.fields), inner.open, node, m.file)
        if isinstance(inner, (Tensor,)):
            return inner
        if isinstance(inner, Instance) and inner.kind == "module":
            return Sequence(kind, tuple(v for v in inner.fields.values() if isinstance(v, Value)), False, node, m.file)
        if isinstance(inner, Instance) and inner.has(IteratorFacts):
            return Sequence(kind, tuple(rounds(m, inner, node)), True, node, m.file)
        if isinstance(value, Union):
            return value
        return Sequence(kind, (), True, node, m.file)

    return run


@function("builtins.filter")
def filtered(m: Machine, name: str, args: CallArgs, node: cst.CSTNode) -> Value:
    if len(args.positional) < 2:
        return UNKNOWN

    func, over = args.positional[0], args.positional[1]
    if (sets := one_of_several_sets(over)) is not None:
        return join(*(filtered(m, name, CallArgs([func, member]), node) for member in sets.values), sure=sets.sure)
    inner = first(over)
    if isinstance(inner, ParamSet):
        element: Value = inner.but(elem=True, node=node)
        if inner.named:
            element = Sequence("tuple", tuple(spread(m, element, 2)), False, node, m.file)
        _, pred = truth(m, m.call(func, CallArgs([element]), node))
        return inner.narrowed(pred if pred is not None else Pred("unknown"))
    if isinstance(inner, Sequence):
        return Sequence("list", inner.items, True, node, m.file)
    return UNKNOWN


@function("builtins.map")
def mapped(m: Machine, name: str, args: CallArgs, node: cst.CSTNode) -> Value:
    if len(args.positional) < 2:
        return UNKNOWN
    func = args.positional[0]
    parts = [rounds(m, over, node) for over in args.positional[1:]]
    items: list[Value] = []
    for row in zip(*parts) if len(parts) > 1 else [(element,) for element in parts[0]]:
        items.append(m.call(func, CallArgs(list(row)), node))
    return Sequence("list", tuple(items), True, node, m.file)


_TENSORS = frozenset(("torch.Tensor", "torch.autograd.Variable"))  # to `isinstance` the two are one since PyTorch 0.4


_NO_PARAMETERS = {"builtins.dict", "builtins.str", "builtins.int", "builtins.float", "collections.OrderedDict"}


@function("builtins.isinstance")
def is_instance(m: Machine, name: str, args: CallArgs, node: cst.CSTNode) -> Value:
    if len(args.positional) < 2:
        return UNKNOWN
    value, kinds = args.positional[0], type_names(args.positional[1])
    value = first(value) or UNKNOWN
    if isinstance(value, ParamSet):
        if value.kind == "param" and not value.names and set(kinds) <= {"torch.nn.Parameter", "torch.Tensor"}:
            return Test(Pred("not_none"))
        if value.kind == "param" and not value.names and set(kinds) <= _NO_PARAMETERS:
            return FALSE
        return Test(Pred("isinstance", kinds) if value.kind == "module" else Pred("unknown"))
    if isinstance(value, Instance) and None not in kinds:
        if isinstance(value.cls, Class):
            names = set(value.cls.libraries())
            hit = any(kind in names or any(kind is c for c in value.cls.mro()) for kind in kinds)
            return (
                Const(hit)
                if hit or (value.cls.knows_bases and not value.cls.libraries())
                else UNKNOWN
                if not hit
                else Const(True)
            )
        if value.library in kinds:
            return Const(True)
        if value.kind == "module" and value.library in layers.WEIGHTED | layers.NORM:
            return Const("torch.nn.Module" in kinds)
        return UNKNOWN
    if isinstance(value, Const) and all(isinstance(k, str) for k in kinds):
        names = {f"builtins.{type(value.value).__name__}"}
        if isinstance(value.value, bool):
            names.add("builtins.int")
        return Const(bool(names & set(kinds)), value.default)
    if isinstance(value, Tensor) and surely_tensor(args.positional[0]):
        if not _TENSORS.isdisjoint(kinds):
            return Const(True, given=True)
        if all(isinstance(kind, str) and kind.startswith(("builtins.", "numpy.")) for kind in kinds):
            return Const(False, given=True)
    if isinstance(value, (Sequence, Dict)) and all(isinstance(k, str) for k in kinds):
        kind = value.kind if isinstance(value, Sequence) else "dict"
        return Const(f"builtins.{kind}" in kinds)
    return UNKNOWN


_OF_TENSORS = frozenset(("item", "detach", "data", "cpu", "numpy", "backward", "tolist", "requires_grad", "grad_fn", "shape"))


@function("builtins.hasattr")
def has_attribute(m: Machine, name: str, args: CallArgs, node: cst.CSTNode) -> Value:
    value = first(args.positional[0]) if args.positional else UNKNOWN
    asked = first(args.positional[1]) if len(args.positional) > 1 else UNKNOWN
    if isinstance(asked, Const) and isinstance(asked.value, str):
        if isinstance(value, ParamSet) and value.elem:
            return Test(Pred("hasattr", (asked.value,)))
        if isinstance(value, Instance) and isinstance(value.cls, Class):
            if asked.value in value.fields or value.cls.lookup(asked.value) is not None:
                return Const(True)
            if value.cls.knows_bases and not value.cls.libraries():
                return FALSE
        if isinstance(value, Instance) and value.kind == "module" and value.library in layers.WEIGHTED:
            return Const(asked.value in ("weight", "bias"))
        if isinstance(value, Namespace):
            return Const(asked.value in value.fields, True)
        if asked.value in _OF_TENSORS and surely_tensor(args.positional[0]):
            return Const(True, given=True)
    return UNKNOWN


@function("builtins.object.__new__")
def bare_object(m: Machine, name: str, args: CallArgs, node: cst.CSTNode) -> Value:
    """`object.__new__(cls)`: an instance whose `__init__` has not run."""
    cls = first(args.get(0, "cls"))
    return Instance(cls, node, m.file) if isinstance(cls, Class) and not kind_of_class(cls) else UNKNOWN


@function("builtins.getattr")
def get_by_name(m: Machine, name: str, args: CallArgs, node: cst.CSTNode) -> Value:
    if len(args.positional) < 2:
        return UNKNOWN
    target, key = args.positional[0], first(args.positional[1])

    found: Value = UNKNOWN
    if isinstance(target, ModuleValue):
        return dynamic_member(m, target, args.positional[1])
    if isinstance(target, Union) and any(isinstance(each, ModuleValue) for each in target.values):
        every = (get_by_name(m, name, CallArgs([each, *args.positional[1:]]), node) for each in target.values)
        return join(*every, sure=target.sure)
    if isinstance(key, Const) and isinstance(key.value, str):
        found = UNKNOWN
        for part in key.value.split("."):
            found = get_attribute(m, target, part, node)
        if isinstance(found, Unknown) and len(args.positional) > 2:
            return args.positional[2]
        return found
    if isinstance(target, Ref):
        return Ref(target.name + ".<dynamic>")
    return found


@function("builtins.setattr")
def set_by_name(m: Machine, name: str, args: CallArgs, node: cst.CSTNode) -> Value:
    if len(args.positional) == 3:
        key = first(args.positional[1])
        if isinstance(key, Const) and isinstance(key.value, str):
            set_attribute(m, args.positional[0], key.value, args.positional[2], node)
        else:
            for member in members(args.positional[0]):
                if isinstance(member, Instance) and member.kind == "module":
                    label = f"<dynamic {len(member.fields)}>"
                    set_module_attribute(m, member, label, args.positional[2], node)
                elif isinstance(member, ParamSet):
                    set_attribute(m, member, "<dynamic>", args.positional[2], node)
    return NONE


@function("builtins.dict", "collections.OrderedDict")
def make_dict(m: Machine, name: str, args: CallArgs, node: cst.CSTNode) -> Value:
    made = Dict(node, m.file, args.open_kwargs)
    for value in args.positional:
        inner = first(value)
        if isinstance(inner, ParamSet) and inner.named and len(args.positional) == 1 and not args.kwargs:
            return inner  # names and parameters: a loop over its items is one over the pairs
        if isinstance(inner, (Dict, Namespace)):
            made.fields.update(inner.fields)
            made.open = made.open or (isinstance(inner, Dict) and inner.open)
        elif isinstance(inner, Sequence):
            for item in inner.items:
                if isinstance(item, Sequence) and len(item.items) == 2:
                    key = first(item.items[0])
                    if isinstance(key, Const):
                        made.fields[key.value] = item.items[1]
                    else:
                        made.fields[f"<dynamic {len(made.fields)}>"] = item.items[1]
        elif isinstance(inner, ParamSet):
            made.fields["<params>"] = inner.but(named=False, elem=True)
            made.open = True
        else:
            made.open = True
    made.fields.update(args.kwargs)
    return made


def is_record(value: Instance) -> bool:
    """An object of a class of the program that stands for nothing of a library: its fields are all there is to it."""
    return isinstance(value.cls, Class) and not value.kind


@function("builtins.vars", "builtins.locals", "builtins.globals")
def variables(m: Machine, name: str, args: CallArgs, node: cst.CSTNode) -> Value:
    made = Dict(node, m.file)
    for member in members(args.positional[0]) if args.positional else ():
        if isinstance(member, Namespace) or (isinstance(member, Instance) and is_record(member)):
            return attributes_of(m, member.fields, node)  # `vars(args)["lr"] = …` writes to the object itself
        if isinstance(member, ModuleValue):
            return ModuleValue(member.module, as_dict=True)
    if name == "builtins.globals":
        made.fields.update(m.file.names)
        made.open = bool(m.file.star_libraries)
        return made
    if not args.positional:
        made.fields.update(m.frame.locals)
    made.open = True
    return made


def keys_of(m: Machine, value: Value, node: cst.CSTNode) -> Value:
    """What a loop over a dict goes over; other values as they are."""
    if not isinstance(value, Dict) or value.open:
        return value
    return Sequence("list", tuple(Const(key) for key in value.fields), False, node, m.file)


def make_pairs(note: str) -> Any:
    def run(m: Machine, name: str, args: CallArgs, node: cst.CSTNode) -> Value:
        if note == "enumerates":
            inner = unrolled(m, first(args.positional[0]) or UNKNOWN) if args.positional else UNKNOWN
            if isinstance(inner, Sequence) and not inner.open:
                items = tuple(
                    Sequence("tuple", (Const(i), item), False, node, m.file) for i, item in enumerate(inner.items)
                )
                return Sequence("list", items, False, node, m.file)
        elif note == "zips":
            inners = [keys_of(m, unrolled(m, first(a) or UNKNOWN), node) for a in args.positional]
            if inners and all(isinstance(i, Sequence) and not i.open for i in inners):
                rows = zip(*(i.items for i in inners if isinstance(i, Sequence)))
                return Sequence("list", tuple(Sequence("tuple", tuple(r), False, node, m.file) for r in rows), False,
                                node, m.file)  # fmt: skip
        made = plain(m, "builtins." + note, args, node)
        made.kind = "iterator"
        known = made.fact(IteratorFacts)
        if note == "enumerates":
            known.enumerates = args.positional[0] if args.positional else UNKNOWN
        else:
            known.zips = tuple(args.positional)
        return made

    return run


@function("builtins.iter")
def same_iterator(m: Machine, name: str, args: CallArgs, node: cst.CSTNode) -> Value:
    return args.positional[0] if args.positional else UNKNOWN


@function("builtins.next")
def next_element(m: Machine, name: str, args: CallArgs, node: cst.CSTNode) -> Value:
    elements = rounds(m, args.positional[0], node) if args.positional else []
    return elements[0] if elements else UNKNOWN


@function("builtins.type")
def type_of(m: Machine, name: str, args: CallArgs, node: cst.CSTNode) -> Value:
    value = first(args.positional[0]) if args.positional else UNKNOWN
    if isinstance(value, ParamSet):
        return Attr(value, "class")
    if isinstance(value, Const) and value.value is not None:
        return Ref(f"builtins.{type(value.value).__name__}")
    if isinstance(value, Tensor) and surely_tensor(args.positional[0]):
        return Ref("torch.Tensor")
    return value.cls if isinstance(value, Instance) else UNKNOWN


@function("builtins.id")
def identity(m: Machine, name: str, args: CallArgs, node: cst.CSTNode) -> Value:
    value = first(args.positional[0]) if args.positional else UNKNOWN
    return Attr(value, "id") if isinstance(value, ParamSet) else UNKNOWN


def make_quantifier(which: str) -> Any:
    def run(m: Machine, name: str, args: CallArgs, node: cst.CSTNode) -> Value:
        """`any(nd in n for nd in no_decay)` over a known list is a test on `n`."""
        inner = first(args.positional[0]) if args.positional else UNKNOWN
        if isinstance(inner, Sequence) and inner.items:
            preds = []
            verdicts = []
            for item in inner.items:
                verdict, pred = truth(m, item)
                if pred is not None:
                    preds.append(pred)
                else:
                    verdicts.append(verdict)
            if preds and not verdicts:
                ops = {(p.op, p.negated) for p in preds}
                if len(ops) == 1 and preds[0].op in (
                    "name_contains",
                    "name_equals",
                    "name_startswith",
                    "name_endswith",
                ):
                    op, negated = ops.pop()
                    if not negated and which == "any":
                        return Test(Pred(op, tuple(a for p in preds for a in p.args)))
                return (
                    Test(Pred("or" if which == "any" else "and", tuple(preds)))
                    if not inner.open
                    else Test(preds[0] if len(preds) == 1 else Pred("or" if which == "any" else "and", tuple(preds)))
                )
            if not preds and None not in verdicts and not inner.open:
                return Const(any(verdicts) if which == "any" else all(verdicts))
            if preds:
                return Test(Pred("unknown"))
        return UNKNOWN

    return run


@function("builtins.range")
def make_range(m: Machine, name: str, args: CallArgs, node: cst.CSTNode) -> Value:
    made = plain(m, "builtins.range", args, node)
    made.kind = "range"
    return made


@behaves("range")
class Range(Behaviour):
    def element(self, m: Machine, value: Instance, node: cst.CSTNode) -> Value | None:
        return Strided(value.args[2]) if len(value.args) == 3 else None


function("builtins.list", "builtins.sorted", "builtins.reversed")(make_list("list"))
function("builtins.tuple")(make_list("tuple"))
function("builtins.set")(make_list("set"))
function("builtins.enumerate")(make_pairs("enumerates"))
function("builtins.zip")(make_pairs("zips"))
function("builtins.any")(make_quantifier("any"))
function("builtins.all")(make_quantifier("all"))
