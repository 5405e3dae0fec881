"""Sets of parameters and modules, and what a test on one of their elements means. A mixin of the interpreter."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

import libcst as cst

from tricklint.program.values import (
    UNKNOWN,
    Bound,
    Class,
    Const,
    Instance,
    ParamSet,
    Pred,
    Ref,
    Sequence,
    Tensor,
    Union,
    Value,
    first,
    members,
)

if TYPE_CHECKING:
    from tricklint.program.interpreter import Interpreter


# Methods that give a parameter new values; others (`clamp_`, `mul_`, `add_`) change the ones it has
_FILLS = frozenset((
    "normal_", "uniform_", "fill_", "zero_", "copy_", "random_", "log_normal_", "exponential_", "cauchy_", "geometric_",
    "bernoulli_", "ones_", "constant_", "set_",
))  # fmt: skip


# Methods of the program's own modules that give them other weights: `block.load_from(weights)`, `layer.init_weights()`
_SETS_WEIGHTS = re.compile(r"(?:^|_)(?:load|init|initialize|initialise|reset|copy)(?:$|_)")


class Attr(Value):
    """An attribute of a loop element that a test may ask for: `p.ndim`, `p.shape`, `type(m)`, `m.__class__.__name__`."""

    __slots__ = ("of", "what")

    def __init__(self, of: ParamSet, what: str) -> None:
        self.of = of
        self.what = what


def strings(value: Value | None) -> tuple[str, ...] | None:
    """The strings of a constant or of a list of constants; None when one is unknown."""
    value = first(value)
    if isinstance(value, Const):
        return (value.value,) if isinstance(value.value, str) else None
    if isinstance(value, Sequence) and not value.open:
        found = []
        for item in value.items:
            at = first(item)
            if not isinstance(at, Const) or not isinstance(at.value, str):
                return None
            found.append(at.value)
        return tuple(found)
    return None


def element_of_any(value: Value | None) -> Value | None:
    """One element that stands for those of several sets, when a loop goes over one set or another."""
    found = members(value)
    if len(found) < 2 or not all(isinstance(m, ParamSet) for m in found):
        return None
    sets = [m for m in found if isinstance(m, ParamSet)]
    return sets[0] if len({(m.kind, m.names, m.elem) for m in sets}) == 1 else None


def type_names(value: Value | None) -> tuple[Any, ...]:
    """Dotted names (and program classes) of the second argument of isinstance."""
    found: list[Any] = []
    for member in members(value):
        if isinstance(member, Sequence):
            for item in member.items:
                found.extend(type_names(item))
        elif isinstance(member, Ref):
            found.append(member.name)
        elif isinstance(member, Class):
            found.append(member)
        else:
            found.append(None)
    return tuple(found)


class Params:
    def paramset_attribute(self: Interpreter, value: ParamSet, name: str, node: cst.CSTNode) -> Value:
        if value.names:
            return Bound(value, None, name)
        if value.kind == "param":
            if name in ("ndim", "shape", "requires_grad", "is_leaf"):
                return Attr(value, name)
            if name in ("data", "T"):
                return value
            return Bound(value, None, name)
        if name in ("weight", "bias", "weight_g", "weight_v"):
            return ParamSet(value.root, "param", (*value.preds, Pred("attr", (name,))), True, node=value.node)
        if name in ("__class__",):
            return Attr(value, "class")
        return Bound(value, None, name)

    def element_test(self: Interpreter, kind: type, left: Value, right: Value) -> Pred | None:
        """The test that a comparison makes on a loop element, or None when it makes none."""
        negated = kind in (cst.NotIn, cst.NotEqual, cst.IsNot)
        for a, b, flipped in ((left, right, False), (right, left, True)):
            a = element_of_any(a) or first(a) or UNKNOWN
            if isinstance(a, ParamSet) and a.names:
                texts = strings(b)
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
                        return Pred(
                            "classname_contains" if kind in (cst.In, cst.NotIn) else "classname", texts, negated
                        )
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

    def paramset_method(
        self: Interpreter, value: ParamSet, name: str, args: list[Value], node: cst.Call
    ) -> Value | None:
        """A method of a symbolic name, parameter or module."""
        from tricklint.program.values import Test

        if value.names:
            texts = strings(args[0]) if args else None
            if name in ("startswith", "endswith"):
                return Test(Pred(f"name_{name}" if texts else "unknown", texts or ()))
            if name == "find" and texts:
                return Attr(value.narrowed(Pred("name_contains", texts)), "find_name")
            if name in ("lower", "upper", "strip", "replace"):
                return value
            return UNKNOWN
        if value.kind == "param":
            if name == "requires_grad_":
                on = args[0] if args else Const(True)
                self.freeze(value, on, node)
                return value
            if name in ("dim", "ndimension"):
                return Attr(value, "ndim")
            if name in ("size",):
                return Attr(value, "shape")
            if name in _FILLS or name.startswith(("xavier", "kaiming", "orthogonal", "trunc_normal")):
                self.initialise(value, name, args, node)
                return value
            if name in ("detach", "cpu", "cuda", "to", "clone", "view", "float", "reshape"):
                return value
            if name in ("norm", "sum", "mean", "abs", "pow"):
                return Tensor("param", (), None, node, self.file, True)
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
                train = self.truth(args[0])[0]
            self.emit("mode", node, value.narrowed(*self.path_preds()), train=train)
            return value
        if name == "requires_grad_":
            self.freeze(value, args[0] if args else Const(True), node)
            return value
        if name == "apply":
            return UNKNOWN
        if name == "reset_parameters" or _SETS_WEIGHTS.search(name):
            self.initialise(value, name, args, node)
        return UNKNOWN

    def attr_method(self: Interpreter, value: Attr, name: str, args: list[Value]) -> Value:
        """A method of a class name: `classname.find("Conv")`."""
        texts = strings(args[0]) if args else None
        if value.what == "classname" and name == "find" and texts:
            return Attr(value.of.narrowed(Pred("classname_contains", texts)), "find_classname")
        if value.what == "classname" and name in ("lower", "strip"):
            return value if name == "strip" else UNKNOWN
        return UNKNOWN

    def path_preds(self: Interpreter) -> list[Pred]:
        return [step.pred for step in self.path if step.pred is not None]

    def narrowed_here(self: Interpreter, value: Value) -> Value:
        """`value`, narrowed by the tests on loop elements that lead here."""
        return (
            self.narrow(value, self.path_preds())
            if isinstance(value, (ParamSet, Sequence, Union)) and self.path
            else value
        )

    def freeze(self: Interpreter, subject: Value, on: Value, node: cst.CSTNode) -> None:
        verdict, pred = self.truth(on)
        if isinstance(subject, ParamSet):
            subject = subject.narrowed(*self.path_preds())
        self.emit("froze", node, subject, value=verdict, pred=pred)

    def initialise(
        self: Interpreter, subject: Value, scheme: str, args: list[Value], node: cst.CSTNode, **data: Any
    ) -> None:
        if isinstance(subject, ParamSet):
            subject = subject.narrowed(*self.path_preds())
        self.emit("init", node, subject, scheme=scheme, args=args, **data)


def roots_of(value: Value | None) -> list[Instance]:
    """Instances that a set of parameters (or a list of them) hangs on."""
    found: list[Instance] = []
    for member in members(value):
        if isinstance(member, Instance):
            found.append(member)
        elif isinstance(member, ParamSet):
            found.extend(roots_of(member.root))
        elif isinstance(member, Sequence):
            for item in member.items:
                found.extend(roots_of(item))
    return found
