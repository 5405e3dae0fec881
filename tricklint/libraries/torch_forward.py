"""Calls of modules: `forward` is followed once, and its data flow kept."""

from __future__ import annotations

import libcst as cst

from tricklint.interpreter.callargs import CallArgs
from tricklint.interpreter.calls import invoke
from tricklint.interpreter.machine import Machine
from tricklint.interpreter.values import (
    UNKNOWN,
    Class,
    Const,
    Dict,
    Func,
    Instance,
    Sequence,
    Union,
    Value,
    first,
    members,
)
from tricklint.knowledge import layers
from tricklint.libraries.events import Forward, LossComputed, Outcome
from tricklint.libraries.facts import ModuleFacts
from tricklint.libraries.tensors import Tensor


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
    if isinstance(module.cls, Class):
        method = module.cls.lookup("forward")
        if isinstance(method, Func):
            memo = module.fact(ModuleFacts).output
            if memo is None and not module.fact(ModuleFacts).running:
                module.fact(ModuleFacts).running = True
                m.forward_depth += 1
                outer_loops = m.loops

                fresh = CallArgs(
                    [Tensor("input", (v,), None, node, m.file) if not isinstance(v, (Const, Instance, Sequence, Dict))
                     else v for v in (*inputs[: len(args.positional)],)],
                    dict(args.kwargs),
                )  # fmt: skip
                fresh.open, fresh.open_kwargs = args.open, args.open_kwargs
                try:
                    memo = invoke(m, method, module, fresh, node)
                finally:
                    m.forward_depth -= 1
                    m.loops = outer_loops
                    module.fact(ModuleFacts).running = False
                module.fact(ModuleFacts).output = memo
            if memo is not None:
                return outputs(m, module, memo, inputs, node, grad, is_loss)
        elif module.cls.libraries() and "torch.nn.Sequential" in module.cls.libraries():
            return run_children(m, module, inputs, node, grad)
    if module.library == "torch.nn.Sequential" and "*" not in module.fields:
        return run_children(m, module, inputs, node, grad)
    made = Tensor("loss" if is_loss else "call", inputs, module, node, m.file, grad)
    if module.library in layers.RECURRENT and not module.library.endswith("Cell"):
        state = Tensor("state", (made,), module, node, m.file, grad)
        return Sequence("tuple", (made, state), False, node, m.file)
    if module.library == "torch.nn.MultiheadAttention":
        return Sequence("tuple", (made, Tensor("weights", (made,), module, node, m.file, grad)), False, node, m.file)
    return made


def run_children(m: Machine, module: Instance, inputs: tuple[Value, ...], node: cst.CSTNode, grad: bool) -> Value:
    at: Value = inputs[0] if inputs else UNKNOWN
    memo = module.fact(ModuleFacts).output
    if memo is None:
        m.forward_depth += 1
        try:
            at = Tensor("input", (at,), None, node, m.file)
            for child in list(module.fields.values()):
                target = first(child) if not isinstance(child, Union) else child.values[0]
                if isinstance(target, Instance):
                    at = m.call(target, CallArgs([at]), node)
        finally:
            m.forward_depth -= 1
        memo = module.fact(ModuleFacts).output = at
    return outputs(m, module, memo, inputs, node, grad, False)


def outputs(
    m: Machine, module: Instance, memo: Value, inputs: tuple[Value, ...], node: cst.CSTNode, grad: bool, loss: bool
) -> Value:
    alternatives = memo
    memo = memo.values[0] if isinstance(memo, Union) else memo
    if isinstance(memo, Tensor):
        fed = (member for each in inputs for member in members(each))
        flows = memo.grad or (loss and any(isinstance(each, Tensor) and each.grad for each in fed))
        made = Tensor("loss" if loss else "call", inputs, module, node, m.file, grad and flows)
        made.result = memo
        if isinstance(alternatives, Union):
            made.attrs["alternatives"] = alternatives
        return made
    if isinstance(memo, Sequence):
        return Sequence(
            memo.kind,
            tuple(outputs(m, module, item, inputs, node, grad, loss) for item in memo.items),
            memo.open,
            node,
            m.file,
        )
    if isinstance(memo, Dict):
        made_dict = Dict(node, m.file, memo.open)
        for key, item in memo.fields.items():
            made_dict.fields[key] = outputs(m, module, item, inputs, node, grad, loss)
        return made_dict
    return Tensor("loss" if loss else "call", inputs, module, node, m.file, grad)
