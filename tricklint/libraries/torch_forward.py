"""Calls of modules: `forward` is followed once, and its data flow kept."""

from __future__ import annotations

import libcst as cst

from tricklint.interpreter.callargs import CallArgs
from tricklint.interpreter.calls import invoke
from tricklint.interpreter.machine import Machine
from tricklint.interpreter.values import (
    UNKNOWN,
    Bound,
    Class,
    Const,
    Dict,
    Func,
    Instance,
    Partial,
    Sequence,
    Union,
    Value,
    first,
    join,
    members,
)
from tricklint.knowledge import layers
from tricklint.libraries.events import Forward, LossComputed, Outcome
from tricklint.libraries.facts import ModuleFacts
from tricklint.libraries.tensors import Tensor

# Operations behind which no graph goes on
_CUTS = frozenset(("detach", "number", "compare", "indices", "parameter"))


def forward(m: Machine, module: Instance, args: CallArgs, node: cst.CSTNode) -> Value:
    """Call a module; the event of the call knows what came out of it."""
    outcome = Outcome()
    output = _forward(m, module, args, node, outcome)
    outcome.values.append(output)
    return output


def _forward(m: Machine, module: Instance, args: CallArgs, node: cst.CSTNode, outcome: Outcome) -> Value:
    """A module's own `forward` runs once; later calls give what the first gave."""
    inputs = tuple(
        Tensor("data", (), None, node, m.file) if value is UNKNOWN else value for value in args.positional
    ) + tuple(args.kwargs.values())
    is_loss = module.kind == "loss" or module.library in layers.LOSSES or bool(module.fact(ModuleFacts).loss_class)
    if is_loss:
        kind = layers.LOSSES.get(module.library, "")
        m.emit(LossComputed(m.now(node), module, inputs, tuple(args.positional), args.kwargs, kind, outcome))
    outermost = m.forward_depth == 0
    if outermost:
        m.root_grad = m.grad
    if (outermost or m.grad is False or module.fact(ModuleFacts).pretrained is not False) and not is_loss:
        now = m.now(node)
        m.emit(Forward(now, module, inputs, tuple(args.positional), m.forward_depth, m.root_grad, m.mixed > 0, outcome))
    grad = m.grad is not False
    known = module.fact(ModuleFacts)
    own = first(module.fields.get("forward"))  # `net.forward = …`: what an instance was given comes before its class
    method: Value | None = own if isinstance(own, (Func, Partial)) or (isinstance(own, Bound) and own.func) else None
    if method is None and isinstance(module.cls, Class) and isinstance(found := module.cls.lookup("forward"), Func):
        method = Bound(module, found, "forward")
    if method is not None:
        memo = known.output
        if memo is None and not known.running:
            memo = known.output = _run_once(m, module, method, own is method, args, inputs, node)
            known.unrecorded = m.grad is False
        if memo is not None:
            return outputs(m, module, memo, inputs, node, grad, is_loss)
    elif isinstance(module.cls, Class) and "torch.nn.Sequential" in module.cls.libraries():
        return run_children(m, module, inputs, node, grad)
    if module.library == "torch.nn.Sequential" and (not module.fields or list(module.fields)[-1] != "*"):
        return run_children(m, module, inputs, node, grad)
    made = Tensor("loss" if is_loss else "call", inputs, module, node, m.file, grad)
    if module.library in layers.RECURRENT and not module.library.endswith("Cell"):
        state = Tensor("state", (made,), module, node, m.file, grad)
        return Sequence("tuple", (made, state), False, node, m.file)
    if module.library == "torch.nn.MultiheadAttention":
        return Sequence("tuple", (made, Tensor("weights", (made,), module, node, m.file, grad)), False, node, m.file)
    return made


def _run_once(
    m: Machine, module: Instance, method: Value, replaced: bool, args: CallArgs, inputs: tuple[Value, ...],
    node: cst.CSTNode,
) -> Value:  # fmt: skip
    """What a forward gives, on tensors that stand for its inputs; one that was replaced may call the one before it."""
    known = module.fact(ModuleFacts)
    fresh = CallArgs(
        [Tensor("input", (v,), None, node, m.file) if not isinstance(v, (Const, Instance, Sequence, Dict))
         else v for v in (*inputs[: len(args.positional)],)],
        dict(args.kwargs),
    )  # fmt: skip
    fresh.open, fresh.open_kwargs = args.open, args.open_kwargs
    outer_loops = m.loops
    m.forward_depth += 1
    known.running = not replaced
    own = module.fields.pop("forward", None) if replaced else None
    try:
        if isinstance(method, Bound) and method.func is not None and method.self is module:
            return invoke(m, method.func, module, fresh, node)
        return m.call(method, fresh, node)
    finally:
        if own is not None:
            module.fields["forward"] = own
        m.forward_depth -= 1
        m.loops = outer_loops
        known.running = False


def passes_on(memo: Tensor) -> bool:
    """Whether what a module gives was computed from what it was given, and not cut off from it."""
    stack: list[Value] = [memo]
    seen: set[int] = set()
    while stack:
        at = stack.pop()
        if not isinstance(at, (Tensor, Union)) or id(at) in seen:
            continue
        seen.add(id(at))
        if isinstance(at, Union):
            stack.extend(at.values)
        elif at.op == "input":
            return True
        elif at.op not in _CUTS and at.op not in layers.INTEGER_OPS:
            stack.extend(at.inputs)
    return False


def _cut_off(part: Value) -> bool:
    """What a loss gives beside itself, and no gradient flows through: a mask, labels, a number."""
    return isinstance(part, Tensor) and not part.grad and not passes_on(part)


def run_children(m: Machine, module: Instance, inputs: tuple[Value, ...], node: cst.CSTNode, grad: bool) -> Value:
    at: Value = inputs[0] if inputs else UNKNOWN
    memo = module.fact(ModuleFacts).output
    if memo is None:
        m.forward_depth += 1
        try:
            at = Tensor("input", (at,), None, node, m.file)
            for name, child in list(module.fields.items()):
                if name == "*":  # layers that are not known one by one, before those that were added later
                    at = Tensor("call", (at,), module, node, m.file, grad)
                    continue
                target = first(child) if not isinstance(child, Union) else child.values[0]
                if isinstance(target, Instance):
                    at = m.call(target, CallArgs([at]), node)
        finally:
            m.forward_depth -= 1
        memo = module.fact(ModuleFacts).output = at
        module.fact(ModuleFacts).unrecorded = m.grad is False
    return outputs(m, module, memo, inputs, node, grad, False)


def outputs(
    m: Machine, module: Instance, memo: Value, inputs: tuple[Value, ...], node: cst.CSTNode, grad: bool, loss: bool
) -> Value:
    if isinstance(memo, Union) and not memo.sure and any(isinstance(each, (Sequence, Dict)) for each in memo.values):
        every = (outputs(m, module, each, inputs, node, grad, loss) for each in memo.values)
        return join(*every)
    alternatives = memo
    memo = memo.values[0] if isinstance(memo, Union) else memo
    if isinstance(memo, Tensor):
        fed = any(isinstance(member, Tensor) and member.grad for each in inputs for member in members(each))
        flows = memo.grad or module.fact(ModuleFacts).unrecorded or (fed and (loss or passes_on(memo)))
        made = Tensor("loss" if loss else "call", inputs, module, node, m.file, grad and flows)
        made.result = memo
        if isinstance(alternatives, Union):
            made.attrs["alternatives"] = alternatives
        return made
    if isinstance(memo, Sequence):
        items = [outputs(m, module, item, inputs, node, grad, loss and not _cut_off(item)) for item in memo.items]
        if memo.open and not items:
            items.append(Tensor("call", inputs, module, node, m.file, grad))
        return Sequence(memo.kind, tuple(items), memo.open, node, m.file)
    if isinstance(memo, Dict):
        made_dict = Dict(node, m.file, memo.open)
        for key, item in memo.fields.items():
            made_dict.fields[key] = outputs(m, module, item, inputs, node, grad, loss and not _cut_off(item))
        if memo.open and not made_dict.fields:  # whatever else it computed
            made_dict.fields["<dynamic 0>"] = Tensor("call", inputs, module, node, m.file, grad)
        return made_dict
    return Tensor("loss" if loss else "call", inputs, module, node, m.file, grad)
