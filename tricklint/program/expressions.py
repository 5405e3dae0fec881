"""Expressions: names, attributes, operators, literals, comprehensions, tests. A mixin of the interpreter."""

from __future__ import annotations

import operator
from typing import TYPE_CHECKING, Any

import libcst as cst

from tricklint.knowledge import layers
from tricklint.knowledge.names import canonical
from tricklint.program.events import Step
from tricklint.program.params import Attr
from tricklint.program.values import (
    FALSE,
    NONE,
    TRUE,
    UNKNOWN,
    Bound,
    Class,
    Const,
    Dict,
    Func,
    Instance,
    Namespace,
    Obj,
    ParamSet,
    Partial,
    Pred,
    Prefixed,
    Ref,
    Sequence,
    Super,
    Tensor,
    Test,
    Union,
    Unknown,
    Value,
    first,
    join,
    members,
)

if TYPE_CHECKING:
    from tricklint.program.interpreter import Interpreter

_ARITHMETIC: dict[str, Any] = {
    "Add": operator.add,
    "Subtract": operator.sub,
    "Multiply": operator.mul,
    "Divide": operator.truediv,
    "FloorDivide": operator.floordiv,
    "Modulo": operator.mod,
    "BitOr": operator.or_,
    "BitAnd": operator.and_,
    "LeftShift": operator.lshift,
    "RightShift": operator.rshift,
    "BitXor": operator.xor,
}
_COMPARE: dict[type, Any] = {
    cst.Equal: operator.eq,
    cst.NotEqual: operator.ne,
    cst.LessThan: operator.lt,
    cst.GreaterThan: operator.gt,
    cst.LessThanEqual: operator.le,
    cst.GreaterThanEqual: operator.ge,
}
_LITERALS = {"None": NONE, "True": TRUE, "False": FALSE}
# Attributes of a tensor that are tensors with the same graph behind them
_VIEWS = frozenset(
    ("T", "mT", "H", "mH", "real", "imag", "logits", "last_hidden_state", "pooler_output", "out", "sample")
)


class Expressions:
    """What an expression evaluates to."""

    def eval(self: Interpreter, node: cst.CSTNode) -> Value:
        handler = _EVAL.get(type(node))
        return handler(self, node) if handler is not None else UNKNOWN

    def eval_name(self: Interpreter, node: cst.Name) -> Value:
        literal = _LITERALS.get(node.value)
        if literal is not None:
            return literal
        return self.lookup(node.value) or UNKNOWN

    def eval_integer(self: Interpreter, node: cst.Integer) -> Value:
        return Const(int(node.value) if node.value.isdecimal() else node.evaluated_value)

    def eval_string(self: Interpreter, node: cst.SimpleString) -> Value:
        text = node.value
        if text[0] in "'\"" and text[1:2] != text[0] and "\\" not in text:  # most strings: no prefix, no escapes
            return Const(text[1:-1])
        try:
            return Const(node.evaluated_value)
        except Exception:  # an odd escape: the text is of no interest
            return UNKNOWN

    def eval_concatenated(self: Interpreter, node: cst.ConcatenatedString) -> Value:
        left, right = self.eval(node.left), self.eval(node.right)
        if isinstance(left, Const) and isinstance(right, Const):
            return Const(left.value + right.value)
        return UNKNOWN

    def eval_formatted(self: Interpreter, node: cst.FormattedString) -> Value:
        text = ""
        default = False
        whole = True
        for part in node.parts:
            if isinstance(part, cst.FormattedStringText):
                text += part.value
            elif isinstance(part, cst.FormattedStringExpression):
                value = self.eval(part.expression)
                if isinstance(value, Const) and part.format_spec is None:
                    text += str(value.value)
                    default = default or value.default
                else:
                    whole = False
                    break
        return Const(text, default) if whole else Prefixed(text) if text else UNKNOWN

    # -- attributes and items ------------------------------------------------------------------------------------------

    def eval_attribute(self: Interpreter, node: cst.Attribute) -> Value:
        return self.get_attribute(self.eval(node.value), node.attr.value, node)

    def get_attribute(self: Interpreter, value: Value, name: str, node: cst.CSTNode) -> Value:
        if isinstance(value, Union):
            return join(*(self.get_attribute(member, name, node) for member in value.values), sure=value.sure)
        if isinstance(value, Ref):
            return Ref(canonical(f"{value.name}.{name}"))
        if isinstance(value, Instance):
            return self.instance_attribute(value, name, node)
        if isinstance(value, Namespace):
            from tricklint.program.library import CONFIG_METHODS

            return value.fields.get(name) or (Bound(value, None, name) if name in CONFIG_METHODS else UNKNOWN)
        if isinstance(value, Class):
            found = value.lookup(name)
            if isinstance(found, Func) and any(
                isinstance(d, Ref) and d.name == "builtins.classmethod" for d in found.decorators
            ):
                return Bound(value, found, name)
            if found is not None:
                return found
            if name == "load_from_checkpoint" and "lightning.LightningModule" in value.libraries():
                return Bound(value, None, name)
            for base in value.libraries():
                if name[:1].islower():
                    return Ref(canonical(f"{base}.{name}"))
            return UNKNOWN
        if isinstance(value, Super):
            return self.super_attribute(value, name)
        if isinstance(value, ParamSet):
            return self.paramset_attribute(value, name, node)
        if isinstance(value, Tensor):
            if name in ("data",):
                return Tensor("detach", (value,), value.module, node, self.file, False)
            if name in ("shape", "ndim", "device", "dtype", "is_cuda", "requires_grad", "grad", "size"):
                return Bound(value, None, name) if name == "size" else UNKNOWN
            if name in _VIEWS or (value.op in ("call", "forward") and not hasattr(_Any, name)):
                return (
                    Tensor("view", (value,), value.module, node, self.file, value.grad, attribute=name)
                    if (name in _VIEWS or name == "loss")
                    else Bound(value, None, name)
                )
            return Bound(value, None, name)
        if isinstance(value, (Sequence, Dict, Const)):
            return Bound(value, None, name)
        if isinstance(value, Attr):  # `m.__class__.__name__`, then a method of that name
            return Attr(value.of, "classname") if name in ("__name__", "__qualname__") else Bound(value, None, name)
        from tricklint.program.calls import ModuleValue

        if isinstance(value, ModuleValue):
            return self.module_attribute(value, name)
        return UNKNOWN

    def eval_subscript(self: Interpreter, node: cst.Subscript) -> Value:
        value = self.eval(node.value)
        index: Value = UNKNOWN
        sliced: cst.Slice | None = None
        if len(node.slice) == 1:
            at = node.slice[0].slice
            if isinstance(at, cst.Index):
                index = self.eval(at.value)
            elif isinstance(at, cst.Slice):
                sliced = at
        else:
            for element in node.slice:
                if isinstance(element.slice, cst.Index):
                    self.eval(element.slice.value)
        return self.get_item(value, index, sliced, node)

    def get_item(self: Interpreter, value: Value, index: Value, sliced: cst.Slice | None, node: cst.CSTNode) -> Value:
        if isinstance(value, Union):
            return join(*(self.get_item(member, index, sliced, node) for member in value.values), sure=value.sure)
        if isinstance(value, Sequence):
            if sliced is not None:
                return self.slice_of(value, sliced, node)
            at = first(index)
            if isinstance(at, Const) and isinstance(at.value, int) and not value.open:
                try:
                    return value.items[at.value]
                except IndexError:
                    return UNKNOWN
            return join(*value.items) if value.items else UNKNOWN
        if isinstance(value, Dict):
            at = first(index)
            if isinstance(at, Const) and _hashable(at.value) and (at.value in value.fields or not at.default):
                return value.fields.get(at.value, UNKNOWN)
            found = join(*value.fields.values()) if value.fields else UNKNOWN
            if isinstance(at, ParamSet) and at.names:  # `by_name[name]`, as far as the names were narrowed
                return self.narrow(found, list(at.preds))
            return self.narrow(found, [Pred("unknown", ("key",))]) if isinstance(at, Unknown) else found
        if isinstance(value, Tensor):
            indices = value.op in layers.VALUES_AND_INDICES and isinstance(index, Const) and index.value == 1
            return Tensor("index", (value,), value.module, node, self.file, value.grad and not indices)
        if isinstance(value, Instance):
            return self.instance_item(value, index, node)
        if isinstance(value, ParamSet):
            return value.but(elem=True) if sliced is None else value.narrowed(Pred("unknown", ("slice",)))
        if isinstance(value, Namespace):
            at = first(index)
            if isinstance(at, Const) and isinstance(at.value, str):
                return value.fields.get(at.value, UNKNOWN)
        if isinstance(value, Ref) and isinstance(index, Const) and value.name.endswith("__dict__"):
            return Ref(canonical(f"{value.name[: -len('.__dict__')]}.{index.value}"))
        if isinstance(value, Ref) and value.name.endswith("__dict__"):
            return Ref(value.name[: -len(".__dict__")] + ".<dynamic>")
        from tricklint.program.calls import ModuleValue

        if isinstance(value, ModuleValue) and value.as_dict:
            return self.dynamic_member(value, index)
        return UNKNOWN

    def slice_of(self: Interpreter, value: Sequence, sliced: cst.Slice, node: cst.CSTNode) -> Value:
        bounds: list[int | None] = []
        for part in (sliced.lower, sliced.upper, sliced.step):
            at = first(self.eval(part)) if part is not None else NONE
            if not isinstance(at, Const) or not (at.value is None or isinstance(at.value, int)):
                return Sequence(value.kind, value.items, True, node, self.file)
            bounds.append(at.value)
        if value.open:
            return Sequence(value.kind, value.items, True, node, self.file)
        try:
            return Sequence(value.kind, value.items[slice(*bounds)], False, node, self.file)
        except ValueError:
            return UNKNOWN

    # -- operators -----------------------------------------------------------------------------------------------------

    def eval_binary(self: Interpreter, node: cst.BinaryOperation) -> Value:
        return self.binary(node, type(node.operator).__name__, self.eval(node.left), self.eval(node.right))

    def binary(self: Interpreter, node: cst.CSTNode, op: str, left: Value, right: Value) -> Value:
        for side, other in ((left, right), (right, left)):
            for member in members(side):
                if isinstance(member, Tensor):
                    grad = member.grad or any(isinstance(m, Tensor) and m.grad for m in members(other))
                    grad = grad and self.grad is not False
                    inputs = (left, right)
                    module = member.module
                    return Tensor(op.lower(), inputs, module, node, self.file, grad)
        a, b = first(left), first(right)
        if isinstance(a, Const) and isinstance(b, Const) and op in _ARITHMETIC:
            try:
                result = _ARITHMETIC[op](a.value, b.value)
            except Exception:
                return UNKNOWN
            if isinstance(result, (str, tuple)) and len(result) > 10_000:
                return UNKNOWN
            return Const(result, a.default or b.default)
        if isinstance(b, Unknown) and isinstance(a, Const) and isinstance(a.value, str) and op in ("Add", "Modulo"):
            return Prefixed(a.value if op == "Add" else a.value.partition("%")[0])
        if isinstance(a, Prefixed) and op == "Add":
            return a
        if op == "Power" and isinstance(a, Const) and isinstance(b, Const):
            try:
                if abs(b.value) < 64:
                    return Const(a.value**b.value, a.default or b.default)
            except Exception:
                return UNKNOWN
        if isinstance(a, Sequence) and isinstance(b, Sequence) and op == "Add":
            return Sequence(a.kind, a.items + b.items, a.open or b.open, node, self.file)
        if isinstance(a, Sequence) and op == "Multiply" and isinstance(b, Const) and isinstance(b.value, int):
            return Sequence(a.kind, a.items * min(b.value, 4), a.open or b.value > 4, node, self.file)
        if isinstance(a, (ParamSet, Sequence)) and isinstance(b, (ParamSet, Sequence)) and op == "Add":
            items: list[Value] = []
            for part in (a, b):
                items.extend(part.items if isinstance(part, Sequence) else (part.but(elem=True),))
            return Sequence("list", tuple(items), True, node, self.file)
        if isinstance(a, Sequence) and op == "Add":
            return Sequence(a.kind, a.items, True, node, self.file)
        if op in ("BitAnd", "BitOr", "Subtract") and isinstance(a, Sequence):
            return Sequence(a.kind, a.items, True, node, self.file)
        if op == "Multiply" and isinstance(a, Const) and isinstance(a.value, (int, float)) and a.value == 0:
            return a
        if op == "Multiply" and isinstance(b, Const) and isinstance(b.value, (int, float)) and b.value == 0:
            return b
        return UNKNOWN

    def eval_unary(self: Interpreter, node: cst.UnaryOperation) -> Value:
        value = self.eval(node.expression)
        if isinstance(node.operator, cst.Not):
            verdict, pred = self.truth(value)
            if pred is not None:
                return Test(~pred)
            return UNKNOWN if verdict is None else Const(not verdict, self.is_default(value))
        if isinstance(node.operator, cst.BitInvert):
            return UNKNOWN
        at = first(value)
        if isinstance(at, Const) and isinstance(at.value, (int, float)):
            return Const(-at.value if isinstance(node.operator, cst.Minus) else at.value, at.default)
        if isinstance(value, Tensor):
            return Tensor("negate", (value,), value.module, node, self.file, value.grad)
        return UNKNOWN

    def eval_boolean(self: Interpreter, node: cst.BooleanOperation) -> Value:
        is_and = isinstance(node.operator, cst.And)
        left = self.eval(node.left)
        verdict, pred = self.truth(left)
        if verdict is not None and verdict is not is_and:  # short cut: `False and …`, `True or …`
            return left
        right = self.eval(node.right)
        right_verdict, right_pred = self.truth(right)
        if verdict is not None:
            return right
        if pred is not None or right_pred is not None:
            if right_verdict is not None and pred is not None:
                if right_verdict is is_and:
                    return Test(pred)
                return right
            parts = tuple(p if p is not None else Pred("unknown") for p in (pred, right_pred))
            return Test(Pred("and" if is_and else "or", parts))
        if right_verdict is not None and right_verdict is not is_and:
            return Const(right_verdict)
        if not is_and and any(isinstance(m, (Instance, Sequence, Dict)) for m in members(left)):
            return join(left, right)
        return UNKNOWN

    def eval_comparison(self: Interpreter, node: cst.Comparison) -> Value:
        left = self.eval(node.left)
        result: Value = TRUE
        for target in node.comparisons:
            right = self.eval(target.comparator)
            outcome = self.compare(type(target.operator), left, right)
            if isinstance(outcome, Unknown) and type(target.operator) in _COMPARE:
                tensors = [m for m in (*members(left), *members(right)) if isinstance(m, Tensor)]
                if tensors:  # elementwise: true or false, without a gradient
                    outcome = Tensor("compare", (left, right), None, node, self.file, False)
            if len(node.comparisons) == 1:
                return outcome
            verdict, _ = self.truth(outcome)
            if verdict is False:
                return FALSE
            if verdict is None:
                result = UNKNOWN
            left = right
        return result

    def compare(self: Interpreter, kind: type, left: Value, right: Value) -> Value:
        pred = self.element_test(kind, left, right)
        if pred is not None:
            return Test(pred)
        a, b = first(left), first(right)
        if kind in (cst.Is, cst.IsNot, cst.Equal, cst.NotEqual) and (_is_none(a) or _is_none(b)):
            other = b if _is_none(a) else a
            negative = kind in (cst.IsNot, cst.NotEqual)
            if isinstance(other, Const):
                return Const((other.value is None) is not negative, other.default)
            if isinstance(other, Unknown) or other is None:
                return UNKNOWN
            if isinstance(other, Tensor) and other.op == "data":
                return UNKNOWN
            return Const(negative, isinstance(left, Union) or isinstance(right, Union))
        if _not_given(a) or _not_given(b):
            return UNKNOWN
        if isinstance(a, Const) and isinstance(b, Const):
            default = a.default or b.default
            try:
                if kind in _COMPARE:
                    return Const(bool(_COMPARE[kind](a.value, b.value)), default)
                if kind is cst.In:
                    return Const(a.value in b.value, default)
                if kind is cst.NotIn:
                    return Const(a.value not in b.value, default)
                if kind is cst.Is:
                    return Const(a.value is b.value, default)
                if kind is cst.IsNot:
                    return Const(a.value is not b.value, default)
            except Exception:
                return UNKNOWN
        if kind in (cst.In, cst.NotIn) and isinstance(a, Const):
            if isinstance(b, Sequence) and not b.open and all(isinstance(i, Const) for i in b.items):
                found = any(i.value == a.value for i in b.items if isinstance(i, Const))
                return Const(found is (kind is cst.In), a.default)
            if isinstance(b, Dict) and not b.open and _hashable(a.value):
                return Const((a.value in b.fields) is (kind is cst.In), a.default)
        if isinstance(a, Sequence) and isinstance(b, Sequence) and kind in (cst.Equal, cst.NotEqual):
            return UNKNOWN
        if isinstance(a, (Ref, Class)) and isinstance(b, (Ref, Class)) and kind in (cst.Equal, cst.Is):
            return Const(a is b or a == b)
        return UNKNOWN

    def is_default(self: Interpreter, value: Value) -> bool:
        return isinstance(value, Const) and value.default

    def truth(self: Interpreter, value: Value) -> tuple[bool | None, Pred | None]:
        """Whether a value is true on the default path, and the test on loop elements that it stands for."""
        if isinstance(value, Union):
            if value.sure:
                return self.truth(value.values[0])
            verdicts, preds = set(), set()
            for member in value.values:
                verdict, pred = self.truth(member)
                verdicts.add(verdict)
                preds.add(pred)
            # one test on the elements of several sets: `for n, p in groups_of_this_or_that: if "bias" in n`
            return (verdicts.pop() if len(verdicts) == 1 else None), (preds.pop() if len(preds) == 1 else None)
        if isinstance(value, Const):
            return bool(value.value), None
        if isinstance(value, Test):
            return None, value.pred
        if isinstance(value, Attr):
            return None, Pred("requires_grad") if value.what == "requires_grad" else Pred("unknown")
        if isinstance(value, ParamSet):
            return None, Pred("not_none") if value.elem and not value.names else None
        if isinstance(value, Instance) and (value.kind == "unknown" or is_answer(value)):
            return None, None
        if isinstance(value, (Instance, Func, Class, Bound, Ref, Partial)):
            return True, None
        if isinstance(value, Sequence):
            return (bool(value.items) if not value.open or value.items else None), None
        if isinstance(value, Dict):
            return (bool(value.fields) if not value.open or value.fields else None), None
        return None, None

    def eval_ifexp(self: Interpreter, node: cst.IfExp) -> Value:
        verdict, pred = self.truth(self.eval(node.test))
        results: list[Value] = []

        def run(branch: cst.CSTNode) -> Any:
            def go() -> int:
                results.append(self.eval(branch))
                return 0

            return go

        if verdict is None:
            self.fork(
                (
                    (run(node.body), Step(node.body, None, pred)),
                    (run(node.orelse), Step(node.orelse, None, ~pred if pred else None)),
                ),
                False,
            )
            if pred is not None and any(isinstance(result, (Sequence, Dict)) for result in results):
                return UNKNOWN  # which of them depends on the element: what is put in goes to neither as a whole
            return join(*results)
        taken, other = (node.body, node.orelse) if verdict else (node.orelse, node.body)
        self.fork(((run(taken), Step(taken, True)), (run(other), Step(other, False))), True)
        if isinstance(results[0], Const) and not any(isinstance(r, Instance) for r in results):
            value = results[0]
            return Const(value.value, True)
        return join(*results, sure=True)

    # -- literals that hold others -------------------------------------------------------------------------------------

    def eval_list(self: Interpreter, node: cst.List | cst.Tuple | cst.Set) -> Value:
        items: list[Value] = []
        opened = False
        for element in node.elements:
            value = self.eval(element.value)
            if isinstance(element, cst.StarredElement):
                inner = first(value)
                if isinstance(inner, Sequence):
                    items.extend(inner.items)
                    opened = opened or inner.open
                elif isinstance(inner, ParamSet):
                    items.append(inner.but(elem=True))
                    opened = True
                else:
                    opened = True
            else:
                items.append(value)
        kind = {cst.List: "list", cst.Tuple: "tuple", cst.Set: "set"}[type(node)]
        return Sequence(kind, tuple(items), opened, node, self.file)

    def eval_dict(self: Interpreter, node: cst.Dict) -> Value:
        made = Dict(node, self.file)
        for element in node.elements:
            value = self.eval(element.value)
            if isinstance(element, cst.StarredDictElement):
                inner = first(value)
                if isinstance(inner, Dict):
                    made.fields.update(inner.fields)
                    made.open = made.open or inner.open
                else:
                    made.open = True
                continue
            key = first(self.eval(element.key)) if isinstance(element, cst.DictElement) else UNKNOWN
            if isinstance(key, Const) and _hashable(key.value):
                made.fields[key.value] = value
            else:
                made.open = True
                if not isinstance(value, Unknown):
                    made.fields[f"<dynamic {len(made.fields)}>"] = value
        return made

    def eval_comprehension(self: Interpreter, node: Any) -> Value:
        from tricklint.program.interpreter import Frame

        frame = self.frame
        inner = Frame(frame.func, frame.file, {}, (frame.locals, *frame.closure), len(self.path))
        if frame.func is None and frame.locals is frame.file.names:
            inner.closure = ()
        inner.returns = frame.returns
        items: list[Value] = []
        pairs: list[tuple[Value, Value]] = []
        opened = [False]
        self.frames.append(inner)
        length = len(self.path)
        try:
            self._comprehend(node, node.for_in, items, pairs, opened)
        finally:
            self.frames.pop()
            del self.path[length:]
        if isinstance(node, cst.DictComp):
            made = Dict(node, self.file, open=opened[0])
            for key, value in pairs:
                at = first(key)
                if isinstance(at, Const) and _hashable(at.value):
                    made.fields[at.value] = value
                else:
                    made.open = True
                    made.fields[f"<dynamic {len(made.fields)}>"] = value
            return made
        kind = "set" if isinstance(node, cst.SetComp) else "list"
        return Sequence(kind, tuple(items), opened[0], node, self.file)

    def _comprehend(
        self: Interpreter,
        node: Any,
        clause: cst.CompFor,
        items: list[Value],
        pairs: list[tuple[Value, Value]],
        opened: list[bool],
    ) -> None:
        over = self.unrolled(self.eval(clause.iter))
        rounds = self.rounds(over, clause)
        known = isinstance(over, Sequence) and not over.open and len(over.items) <= 24
        if not known:
            opened[0] = True
        from tricklint.program.events import Loop

        outer = self.loops
        for element in rounds:
            self.tick()
            self.seq += 1
            self.loops = [*outer, Loop(clause, over, self.file, self.seq)]
            length = len(self.path)
            self.assign(clause.target, element, clause)
            preds: list[Pred] = []
            skip = False
            for condition in clause.ifs:
                verdict, pred = self.truth(self.eval(condition.test))
                if verdict is False:
                    skip = True
                    break
                if verdict is None:
                    opened[0] = True
                    preds.append(pred if pred is not None else Pred("unknown"))
            if not skip:
                for pred in preds:
                    self.path.append(Step(clause, None, pred))
                if clause.inner_for_in is not None:
                    self._comprehend(node, clause.inner_for_in, items, pairs, opened)
                elif isinstance(node, cst.DictComp):
                    pairs.append((self.eval(node.key), self.narrow(self.eval(node.value), preds)))
                else:
                    items.append(self.narrow(self.eval(node.elt), preds))
            del self.path[length:]
        self.loops = outer

    def narrow(self: Interpreter, value: Value, preds: list[Pred]) -> Value:
        """The elements of a set that passed `preds`."""
        if isinstance(value, ParamSet) and preds:
            return value.narrowed(*preds)
        if isinstance(value, Sequence) and preds:
            return Sequence(
                value.kind, tuple(self.narrow(item, preds) for item in value.items), value.open, value.node, value.file
            )
        if isinstance(value, Union) and preds:
            return Union(tuple(self.narrow(member, preds) for member in value.values), value.sure)
        return value

    def eval_lambda(self: Interpreter, node: cst.Lambda) -> Value:
        return Func(node, self.file, self.closure())

    def eval_await(self: Interpreter, node: cst.Await) -> Value:
        return self.eval(node.expression)

    def eval_yield(self: Interpreter, node: cst.Yield) -> Value:
        if node.value is not None:
            value = node.value.item if isinstance(node.value, cst.From) else node.value
            self.frame.returns.append((Sequence("list", (self.eval(value),), True, node, self.file), None))
        return UNKNOWN

    def eval_named(self: Interpreter, node: cst.NamedExpr) -> Value:
        value = self.eval(node.value)
        self.assign(node.target, value, node)
        return value

    def eval_starred(self: Interpreter, node: Any) -> Value:
        return self.eval(node.value)


class _Any:
    """Names every object has."""


def is_answer(value: Instance) -> bool:
    """What a library's function said, not an object that it made: `os.path.exists(…)`, `shutil.which(…)`."""
    return not value.kind and not value.notes and value.library.rpartition(".")[2][:1].islower()


def _is_none(value: Any) -> bool:
    return isinstance(value, Const) and value.value is None


def _not_given(value: Any) -> bool:
    """An option whose default is None: whoever names a choice has given another value."""
    return isinstance(value, Const) and value.value is None and value.default


def _hashable(value: Any) -> bool:
    return isinstance(value, (str, int, float, bool, type(None), tuple, bytes))


_EVAL: dict[type, Any] = {
    cst.Name: Expressions.eval_name,
    cst.Integer: Expressions.eval_integer,
    cst.Float: Expressions.eval_integer,
    cst.SimpleString: Expressions.eval_string,
    cst.ConcatenatedString: Expressions.eval_concatenated,
    cst.FormattedString: Expressions.eval_formatted,
    cst.Attribute: Expressions.eval_attribute,
    cst.Subscript: Expressions.eval_subscript,
    cst.BinaryOperation: Expressions.eval_binary,
    cst.UnaryOperation: Expressions.eval_unary,
    cst.BooleanOperation: Expressions.eval_boolean,
    cst.Comparison: Expressions.eval_comparison,
    cst.IfExp: Expressions.eval_ifexp,
    cst.List: Expressions.eval_list,
    cst.Tuple: Expressions.eval_list,
    cst.Set: Expressions.eval_list,
    cst.Dict: Expressions.eval_dict,
    cst.ListComp: Expressions.eval_comprehension,
    cst.SetComp: Expressions.eval_comprehension,
    cst.GeneratorExp: Expressions.eval_comprehension,
    cst.DictComp: Expressions.eval_comprehension,
    cst.Lambda: Expressions.eval_lambda,
    cst.Await: Expressions.eval_await,
    cst.Yield: Expressions.eval_yield,
    cst.NamedExpr: Expressions.eval_named,
    cst.StarredElement: Expressions.eval_starred,
    cst.Element: Expressions.eval_starred,
}


def _eval_call(self: Interpreter, node: cst.Call) -> Value:
    return self.eval_call(node)


_EVAL[cst.Call] = _eval_call
__all__ = ["Expressions", "Obj"]
