"""Tensors: a small data-flow graph of what made them, and what is done with them."""

from __future__ import annotations

from typing import Any

import libcst as cst

from tricklint.interpreter.behaviour import Behaviour, behaves, opaque_calls
from tricklint.interpreter.callargs import CallArgs
from tricklint.interpreter.events import Accumulated
from tricklint.interpreter.machine import Machine
from tricklint.interpreter.modules import FileModule
from tricklint.interpreter.truth import truth
from tricklint.interpreter.values import (
    NONE,
    UNKNOWN,
    Bound,
    Const,
    Instance,
    Sequence,
    Unknown,
    Value,
    join,
    members,
)
from tricklint.knowledge import layers, tensors
from tricklint.knowledge.slips import meant_as_requires_grad
from tricklint.libraries.events import Backward, FreezeMissed, Froze


class Tensor(Value):
    """A tensor that flows: which operation made it, of which inputs. The inputs are a small data-flow graph."""

    crowd = silent = True
    __slots__ = ("attrs", "file", "grad", "inputs", "module", "node", "op", "result")

    def __init__(
        self,
        op: str,
        inputs: tuple[Value, ...] = (),
        module: Instance | None = None,
        node: cst.CSTNode | None = None,
        file: FileModule | None = None,
        grad: bool = False,
        **attrs: Any,
    ) -> None:
        self.op = op
        self.inputs = inputs
        self.module = module
        self.node = node
        self.file = file
        self.grad = grad  # an autograd graph hangs on it
        self.attrs = attrs
        self.result: Value | None = None  # for op "call": what the module's forward returned

    @property
    def made_by(self) -> int:  # type: ignore[override]
        return id(self.module) if self.op == "call" else 0

    def __repr__(self) -> str:
        return f"Tensor({self.op}{', ' + self.module.label if self.module else ''})"


class Training(Unknown):
    """`self.training` of a module: what a function does that is given it depends on the module's mode."""

    __slots__ = ("module",)

    def __init__(self, module: Instance) -> None:
        super().__init__()
        self.module = module


# Attributes of a tensor that are tensors with the same graph behind them
_VIEWS = frozenset(
    ("T", "mT", "H", "mH", "real", "imag", "logits", "last_hidden_state", "pooler_output", "out", "sample")
)

# What others hold too: a change made to it by one name is read off events, not off the name
_LEAVES = frozenset(("parameter", "data", "detach"))

# Ops whose outcome is the memory of what they were given, under another shape
_SAME_MEMORY = frozenset(("item", "index", "view", "transpose", "permute", "squeeze", "unsqueeze", "select", "narrow"))
WRITTEN = "written"  # the attribute of a tensor that lists what was put into it, or into a view of it
MAX_WRITTEN = 16


def write_into(at: Value, new: Value) -> None:
    """`x[0] = new`, `for channel in x: channel.sub_(mean)`: whoever holds the tensor sees it."""
    for _ in range(MAX_WRITTEN):
        if not isinstance(at, Tensor):
            return
        held = at.attrs.setdefault(WRITTEN, [])
        if len(held) < MAX_WRITTEN:
            held.append(new)
        if at.op not in _SAME_MEMORY or not at.inputs:
            return
        at = at.inputs[0]


def part_of_output(tensor: Tensor) -> Value | None:
    """Of several values that a module returns, the one that a tensor is: `scores, labels = model(x, y)`. None for another
    tensor, or where the module's code is not known."""
    made = tensor.inputs[0] if tensor.op == "item" and "part" in tensor.attrs else None
    if not isinstance(made, Tensor) or made.result is None:
        return None
    at, count = tensor.attrs["part"]
    whole = [each for each in members(made.result) if isinstance(each, Sequence) and not each.open and len(each.items) == count]
    return join(*(each.items[at] for each in whole)) if whole else None


def surely_tensor(value: Value | None) -> bool:
    """A loss, or what was computed with a graph: what a module gives may be a tuple of tensors, and a batch a dict."""
    every = members(value)
    return bool(every) and all(
        isinstance(at, Tensor) and (at.op == "loss" or (at.grad and at.op not in _OF_SOME_KIND)) for at in every
    )


_OF_SOME_KIND = frozenset(("call", "forward", "item", "unknown", "view", "state"))


def with_grad(value: Value | None) -> bool:
    """Whether an alternative of the value has an autograd graph."""
    return any(isinstance(member, Tensor) and member.grad for member in members(value))


@behaves(Tensor)
class TensorBehaviour(Behaviour):
    def attribute(self, m: Machine, value: Tensor, name: str, node: cst.CSTNode) -> Value | None:
        if name == "data":
            return Tensor("detach", (value,), value.module, node, m.file, False)
        if name == "requires_grad" and value.grad and surely_tensor(value):
            return Const(True, given=True)
        if name in ("shape", "ndim", "device", "dtype", "is_cuda", "requires_grad", "grad", "size"):
            return Bound(value, None, name) if name == "size" else UNKNOWN
        if name in _VIEWS or (name == "loss" and value.op in ("call", "forward")):
            return Tensor("view", (value,), value.module, node, m.file, value.grad, attribute=name)
        return Bound(value, None, name)

    def set_attribute(self, m: Machine, value: Tensor, name: str, new: Value, node: cst.CSTNode) -> bool:
        if name == "requires_grad":
            m.emit(Froze(m.now(node), value, truth(m, new)[0]))
        elif value.op == "parameter" and meant_as_requires_grad(name):
            m.emit(FreezeMissed(m.now(node), value, name, truth(m, new)[0]))
        return True

    def item(self, m: Machine, value: Tensor, index: Value, node: cst.CSTNode) -> Value | None:
        indices = value.op in layers.VALUES_AND_INDICES and isinstance(index, Const) and index.value == 1
        return Tensor("index", (value,), value.module, node, m.file, value.grad and not indices)

    def set_item(self, m: Machine, value: Tensor, index: Value, new: Value, node: cst.CSTNode) -> bool:
        write_into(value, new)
        return True

    def sliced(self, m: Machine, value: Tensor, node: cst.CSTNode) -> Value | None:
        return Tensor("index", (value,), value.module, node, m.file, value.grad)

    def method(self, m: Machine, value: Tensor, name: str, args: CallArgs, node: cst.CSTNode) -> Value | None:
        return tensor_method(m, value, name, args, node)

    def in_place(self, m: Machine, value: Tensor, made: Value) -> bool:
        return value.op not in _LEAVES and all(isinstance(each, Tensor) for each in members(made))

    def call(self, m: Machine, value: Tensor, args: CallArgs, node: cst.CSTNode) -> Value | None:
        return Tensor("unknown", tuple(args.all()), None, node, m.file, True)

    def element(self, m: Machine, value: Tensor, node: cst.CSTNode) -> Value | None:
        return Tensor("item", (value,), None, node, m.file, value.grad)

    def spread(self, m: Machine, value: Tensor, count: int) -> list[Value] | None:
        if value.op == "loss":
            return None  # one number: what is unpacked comes from another branch
        item = Tensor("item", (value,), value.module, value.node, value.file, value.grad)
        parts: list[Value] = [item] * count
        if value.op == "call":
            parts = [Tensor("item", (value,), value.module, value.node, value.file, value.grad, part=(i, count)) for i in range(count)]
        if value.op in layers.VALUES_AND_INDICES and count == 2:
            parts[1] = Tensor("indices", (value,), None, value.node, value.file, False)
        return parts

    def elementwise(self, m: Machine, left: Value, right: Value, node: cst.CSTNode) -> Value | None:
        return Tensor("compare", (left, right), None, node, m.file, False)  # true or false each, without a gradient

    def unlike_none(self, value: Tensor) -> bool:
        return value.op != "data"

    def operate(self, m: Machine, node: cst.CSTNode, op: str, left: Value, right: Value) -> Value | None:
        mine = next(each for each in (*members(left), *members(right)) if isinstance(each, Tensor))
        grad = (with_grad(left) or with_grad(right)) and m.grad is not False
        return Tensor(op.lower(), (left, right), mine.module, node, m.file, grad)

    def negate(self, m: Machine, value: Tensor, node: cst.CSTNode) -> Value | None:
        return Tensor("negate", (value,), value.module, node, m.file, value.grad)

    def added(
        self, m: Machine, value: Tensor, target: Any, how: str, old: Value | None, new: Value, node: cst.CSTNode
    ) -> bool:
        if value.grad:
            m.emit(Accumulated(m.now(node), value, target, how, old, new))
        return value.grad


@opaque_calls
def opaque(m: Machine, args: CallArgs, node: cst.CSTNode, name: str, of: Value | None) -> Value:
    """A tensor that depends on the tensors given; of an object's method only where a graph hangs on one."""
    tensors = [member for value in args.all() for member in members(value) if isinstance(member, Tensor)]
    grad = any(tensor.grad for tensor in tensors)
    if of is not None:
        given = any(isinstance(value, Tensor) and value.grad for value in args.all())
        return Tensor("unknown", tuple(args.all()), None, node, m.file, True) if given else UNKNOWN
    if tensors:
        return Tensor("unknown", tuple(args.all()), tensors[0].module, node, m.file, grad, name=name)
    return UNKNOWN


def tensor_method(m: Machine, value: Tensor, name: str, args: CallArgs, node: cst.CSTNode) -> Value:
    if name == "backward":
        m.emit(Backward(m.now(node), value))
        return NONE
    if name in ("item", "tolist", "numpy", "size", "dim", "numel"):
        return Tensor("number", (value,), None, node, m.file, False) if name == "item" else UNKNOWN
    if name in ("detach", "detach_"):
        return Tensor("detach", (value,), value.module, node, m.file, False)
    if name == "requires_grad_":
        return value
    grad = (value.grad or any(isinstance(v, Tensor) and v.grad for v in args.all())) and (
        m.grad is not False or name in ("to", "cpu", "cuda", "float", "view", "reshape", "squeeze")
    )
    if name in layers.INTEGER_OPS:
        grad = False
    if grad and name not in tensors.METHODS:  # a library's own object (a graph, a distribution, an output)
        return Tensor("unknown", (value, *args.all()), value.module, node, m.file, grad, name=name)
    if name in ("add_", "sub_") and grad:
        m.emit(Accumulated(m.now(node), value, None, name, value))
    made = Tensor(name, (value, *args.all()), value.module, node, m.file, grad, kwargs=args.kwargs)
    if name.endswith("_") and value.op in _SAME_MEMORY and value.inputs:
        write_into(value.inputs[0], made)
    return made
