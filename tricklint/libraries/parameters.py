"""What is done with sets of parameters and modules, and what a test on one of their elements means."""

from __future__ import annotations

import libcst as cst

from tricklint.interpreter.behaviour import Behaviour, behaves
from tricklint.interpreter.callargs import CallArgs
from tricklint.interpreter.machine import Machine
from tricklint.interpreter.narrowing import path_preds
from tricklint.interpreter.truth import truth
from tricklint.interpreter.values import (
    UNKNOWN,
    Bound,
    Const,
    Instance,
    Pred,
    Sequence,
    Test,
    Value,
    first,
    instances,
)
from tricklint.knowledge.slips import meant_as_requires_grad
from tricklint.libraries.events import FreezeMissed, Froze, ModeSet, NormStatsSet
from tricklint.libraries.facts import ModuleFacts
from tricklint.libraries.paramsets import Attr, OfLowered, ParamSet, element_of_any, roots_of, strings, type_names
from tricklint.libraries.tensors import Tensor
from tricklint.libraries.torch_init import _FILLS, _SETS_WEIGHTS, initialise


def paramset_attribute(m: Machine, value: ParamSet, name: str, node: cst.CSTNode) -> Value:
    if value.names:
        return Bound(value, None, name)
    if value.kind == "param":
        if name in ("ndim", "shape", "requires_grad", "is_leaf"):
            if name == "requires_grad":
                compared_for_nothing(m, value, node)
            return Attr(value, name)
        if name in ("data", "T"):
            return value
        return Bound(value, None, name)
    if name in ("weight", "bias", "weight_g", "weight_v"):
        return ParamSet(value.root, "param", (*value.preds, Pred("attr", (name,))), True, node=value.node)
    if name in ("__class__",):
        return Attr(value, "class")
    if name == "requires_grad":
        compared_for_nothing(m, value, node)
    return Bound(value, None, name)


def compared_for_nothing(m: Machine, owner: Value, node: cst.CSTNode) -> None:
    """`p.requires_grad == False` as a statement (`node`: what is compared): meant as an assignment."""
    tree = m.file.tree
    compared = tree.parent(node)
    if not isinstance(compared, cst.Comparison) or not isinstance(tree.parent(compared), cst.Expr):
        return
    if len(compared.comparisons) == 1 and isinstance(compared.comparisons[0].operator, cst.Equal):
        value = m.eval(compared.comparisons[0].comparator)
        m.emit(FreezeMissed(m.now(compared), owner, "requires_grad ==", truth(m, value)[0]))


def texts_for(names: ParamSet, value: Value) -> tuple[str, ...] | None:
    """The strings that names are tested for."""
    texts = strings(value)
    return tuple(map(OfLowered, texts)) if texts is not None and names.lowered else texts


def element_test(m: Machine, kind: type, left: Value, right: Value) -> Pred | None:
    """The test that a comparison makes on a loop element, or None when it makes none."""
    negated = kind in (cst.NotIn, cst.NotEqual, cst.IsNot)
    for a, b, flipped in ((left, right, False), (right, left, True)):
        a = element_of_any(a) or first(a) or UNKNOWN
        if isinstance(a, ParamSet) and a.names:
            texts = texts_for(a, b)
            if kind in (cst.In, cst.NotIn):
                if flipped:  # "bias" in name
                    return Pred("name_contains" if texts else "unknown", texts or (), negated)
                if texts is not None:  # name in no_decay
                    return Pred("name_in", texts, negated)
                return Pred("name_in_unknown", (), negated)
            if kind in (cst.Equal, cst.NotEqual):
                return Pred("name_equals" if texts else "unknown", texts or (), negated)
            return Pred("unknown")
        if isinstance(a, Attr):
            if a.what in ("ndim", "len_shape", "dim"):
                number = first(b)
                if isinstance(number, Const) and isinstance(number.value, (int, float)):
                    spelled: dict[type, str] = {cst.LessThan: "<", cst.LessThanEqual: "<=", cst.GreaterThan: ">", cst.GreaterThanEqual: ">=",
                          cst.Equal: "==", cst.NotEqual: "!="}  # fmt: skip
                    op = spelled.get(kind, "?")
                    if flipped:
                        op = {"<": ">", "<=": ">=", ">": "<", ">=": "<="}.get(op, op)
                    return Pred("ndim", (op, number.value))
                return Pred("ndim", ("?", 0))
            if a.what == "classname":
                texts = strings(b)
                if kind in (cst.In, cst.NotIn, cst.Equal, cst.NotEqual) and texts:
                    return Pred("classname_contains" if kind in (cst.In, cst.NotIn) else "classname", texts, negated)
                return Pred("unknown")
            number = first(b)
            if a.what in ("find_classname", "find_name") and (
                not isinstance(number, Const) or (kind in (cst.Equal, cst.NotEqual) and number.value != -1)
            ):
                return Pred("unknown")
            if a.what == "find_classname":
                # classname.find("Conv") != -1
                return Pred("classname_contains", a.of.preds[-1].args if a.of.preds else (), kind is cst.Equal)
            if a.what == "find_name":
                return Pred("name_contains", a.of.preds[-1].args if a.of.preds else (), kind is cst.Equal)
            if a.what == "class":
                if kind in (cst.Equal, cst.NotEqual, cst.Is, cst.IsNot, cst.In, cst.NotIn):
                    return Pred("isinstance", type_names(b), negated)
                return Pred("unknown")
            if a.what == "requires_grad" and isinstance(number, Const) and isinstance(number.value, bool):
                if kind in (cst.Equal, cst.NotEqual, cst.Is, cst.IsNot):  # `param.requires_grad == True`
                    return Pred("requires_grad", (), negated is number.value)
                return Pred("unknown")
            if a.what == "id":
                if kind in (cst.In, cst.NotIn):
                    return Pred("id_in", (b,), negated)
                return Pred("unknown")
            return Pred("unknown")
        if isinstance(a, ParamSet) and a.elem:
            if isinstance(first(b), Const) and first(b).value is None:  # type: ignore[union-attr]
                return Pred("not_none", (), kind in (cst.Is, cst.Equal))
            if kind in (cst.In, cst.NotIn) and not flipped:
                return Pred("id_in", (b,), negated)
            if kind in (cst.Is, cst.IsNot, cst.Equal, cst.NotEqual) and isinstance(first(b), Instance):
                return Pred("is", (first(b),), negated)
            return Pred("unknown")
    return None


def paramset_method(m: Machine, value: ParamSet, name: str, args: list[Value], node: cst.CSTNode) -> Value | None:
    """A method of a symbolic name, parameter or module."""

    if value.names:
        texts = texts_for(value, args[0]) if args else None
        if name in ("startswith", "endswith"):
            return Test(Pred(f"name_{name}" if texts else "unknown", texts or ()))
        if name == "find" and texts:
            return Attr(value.narrowed(Pred("name_contains", texts)), "find_name")
        if name in ("lower", "casefold"):
            return value.but(lowered=True)
        if name in ("upper", "strip", "replace"):
            return value
        return UNKNOWN
    if value.kind == "param":
        if name == "requires_grad_":
            on = args[0] if args else Const(True)
            freeze(m, value, on, node)
            return value
        if name in ("dim", "ndimension"):
            return Attr(value, "ndim")
        if name in ("size",):
            return Attr(value, "shape")
        if name in _FILLS or name.startswith(("xavier", "kaiming", "orthogonal", "trunc_normal")):
            initialise(m, value, name, args, node)
            return value
        if name == "items" and value.named:
            return value
        if name in ("keys", "values") and value.named:
            return value.but(names=name == "keys", named=False)
        if name in ("detach", "cpu", "cuda", "to", "clone", "view", "float", "reshape"):
            return value
        if name in ("norm", "sum", "mean", "abs", "pow"):
            return Tensor("param", (), None, node, m.file, True)
        return UNKNOWN
    if name in ("parameters", "named_parameters"):
        return ParamSet(
            value.root, "param", (*value.preds, Pred("within")), False, name.startswith("named"), node=value.node
        )
    if name in ("modules", "children", "named_modules", "named_children"):
        return ParamSet(value.root, "module", (*value.preds, Pred("within")), False, name.startswith("named"))
    if name in ("eval", "train"):
        train: bool | None = name == "train"
        if name == "train" and args:
            train = truth(m, args[0])[0]
        m.emit(ModeSet(m.now(node), value.narrowed(*path_preds(m)), train))
        return value
    if name == "requires_grad_":
        freeze(m, value, args[0] if args else Const(True), node)
        return value
    if name == "apply":
        return UNKNOWN
    if name == "reset_parameters" or _SETS_WEIGHTS.search(name):
        initialise(m, value, name, args, node)
    return UNKNOWN


def attr_method(m: Machine, value: Attr, name: str, args: list[Value]) -> Value:
    """A method of a class name: `classname.find("Conv")`."""
    texts = strings(args[0]) if args else None
    if value.what == "classname" and name == "find" and texts:
        return Attr(value.of.narrowed(Pred("classname_contains", texts)), "find_classname")
    if value.what == "classname" and name in ("lower", "strip"):
        return value if name == "strip" else UNKNOWN
    return UNKNOWN


def freeze(m: Machine, subject: Value, on: Value, node: cst.CSTNode) -> None:
    verdict, pred = truth(m, on)
    if isinstance(subject, ParamSet):
        subject = subject.narrowed(*path_preds(m))
    m.emit(Froze(m.now(node), subject, verdict, pred))


@behaves(ParamSet)
class ParamSetBehaviour(Behaviour):
    def attribute(self, m: Machine, value: ParamSet, name: str, node: cst.CSTNode) -> Value | None:
        return paramset_attribute(m, value, name, node)

    def set_attribute(self, m: Machine, value: ParamSet, name: str, new: Value, node: cst.CSTNode) -> bool:
        if name == "requires_grad" and not value.names:
            if value.kind == "module":
                m.emit(FreezeMissed(m.now(node), value, name, truth(m, new)[0]))
            else:
                freeze(m, value, new, node)
        elif name in ("data", "weight", "bias"):
            initialise(m, value, "assign", [new], node, which=name)
        elif not value.names and meant_as_requires_grad(name):
            m.emit(FreezeMissed(m.now(node), value, name, truth(m, new)[0]))
        elif name in ("track_running_stats", "momentum") and value.kind == "module":
            m.emit(NormStatsSet(m.now(node), value, name, new))
        elif value.kind == "module" and any(True for _ in instances(new, "module")):
            for root in roots_of(value):
                root.fact(ModuleFacts).grown[name] = new
        return True

    def item(self, m: Machine, value: ParamSet, index: Value, node: cst.CSTNode) -> Value | None:
        if value.elem and value.kind == "param" and not value.names:
            return value.narrowed(Pred("unknown", ("part",)))  # of one tensor: a row, a column
        return value.but(elem=True)

    def sliced(self, m: Machine, value: ParamSet, node: cst.CSTNode) -> Value | None:
        return value.narrowed(Pred("unknown", ("slice",)))

    def set_item(self, m: Machine, value: ParamSet, index: Value, new: Value, node: cst.CSTNode) -> bool:
        at = first(index)
        if not (isinstance(at, Const) and isinstance(at.value, str)):  # by a name: it is a group of parameters, a dict
            initialise(m, value, "assign_item", [new], node)
        return True

    def method(self, m: Machine, value: ParamSet, name: str, args: CallArgs, node: cst.CSTNode) -> Value | None:
        given = paramset_method(m, value, name, args.positional, node) or UNKNOWN
        if isinstance(given, ParamSet) and name in ("parameters", "named_parameters"):
            deep = first(args.get(1 if name == "named_parameters" else 0, "recurse"))
            return given.but(recurse=not (isinstance(deep, Const) and not deep.value))
        return given

    def element(self, m: Machine, value: ParamSet, node: cst.CSTNode) -> Value | None:
        return value.but(elem=True, node=node)

    def spread(self, m: Machine, value: ParamSet, count: int) -> list[Value] | None:
        if value.named and value.elem and count == 2:
            return [value.but(names=True, named=False), value.but(named=False)]
        return None

    def starred(self, m: Machine, value: ParamSet) -> Value | None:
        return value.but(elem=True)

    def truth(self, m: Machine, value: ParamSet) -> tuple[bool | None, Pred | None] | None:
        return None, Pred("not_none") if value.elem and not value.names else None

    def compare(self, m: Machine, kind: type, left: Value, right: Value, node: cst.CSTNode) -> Value | None:
        pred = element_test(m, kind, left, right)
        return Test(pred) if pred is not None else None

    def operate(self, m: Machine, node: cst.CSTNode, op: str, left: Value, right: Value) -> Value | None:
        parts = (first(left), first(right))
        if op != "Add" or not all(isinstance(part, (ParamSet, Sequence)) for part in parts):
            return None
        items: list[Value] = []
        for part in parts:
            items.extend(
                part.items
                if isinstance(part, Sequence)
                else [part.but(elem=True)]
                if isinstance(part, ParamSet)
                else []
            )
        return Sequence("list", tuple(items), True, node, m.file)

    def narrow(self, value: ParamSet, preds: list[Pred]) -> Value:
        return value.narrowed(*preds)

    def escapes(self, value: ParamSet) -> bool:
        return not value.names


@behaves(Attr)
class AttrBehaviour(Behaviour):
    def attribute(self, m: Machine, value: Attr, name: str, node: cst.CSTNode) -> Value | None:
        # `m.__class__.__name__`, then a method of that name
        return Attr(value.of, "classname") if name in ("__name__", "__qualname__") else Bound(value, None, name)

    def method(self, m: Machine, value: Attr, name: str, args: CallArgs, node: cst.CSTNode) -> Value | None:
        return attr_method(m, value, name, args.positional)

    def truth(self, m: Machine, value: Attr) -> tuple[bool | None, Pred | None] | None:
        return None, Pred("requires_grad") if value.what == "requires_grad" else Pred("unknown")

    def compare(self, m: Machine, kind: type, left: Value, right: Value, node: cst.CSTNode) -> Value | None:
        pred = element_test(m, kind, left, right)
        return Test(pred) if pred is not None else None
