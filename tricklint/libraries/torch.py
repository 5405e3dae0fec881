"""torch itself: tensor functions, wrappers, autograd's own calls."""

from __future__ import annotations

import libcst as cst

from tricklint.interpreter.behaviour import Function, finder, function
from tricklint.interpreter.callargs import CallArgs
from tricklint.interpreter.contexts import enter
from tricklint.interpreter.machine import Machine
from tricklint.interpreter.objects import is_statement, plain
from tricklint.interpreter.truth import truth
from tricklint.interpreter.values import (
    FALSE,
    NONE,
    UNKNOWN,
    Const,
    Instance,
    Ref,
    Sequence,
    Value,
    first,
    members,
)
from tricklint.knowledge import layers
from tricklint.libraries.events import Backward, LossComputed
from tricklint.libraries.facts import ModuleFacts
from tricklint.libraries.tensors import Tensor, Training, surely_tensor

# Below these, calls make objects, no tensors
_OBJECTS = (
    "torch.utils.data.", "torch.cuda.", "torch.distributed.", "torch.backends.", "torch.device", "torch.Generator", "torch.hub.",
    "torch.multiprocessing.", "torch.profiler.", "torch.amp.", "torch.optim.", "torch.save", "torch.utils.tensorboard",
    "torch.manual_seed",
)  # fmt: skip
_GRAD_SWITCHES = (
    "torch.no_grad", "torch.inference_mode", "torch.set_grad_enabled", "torch.enable_grad", "torch.autograd.no_grad",
    "torch.autograd.set_grad_enabled",
)  # fmt: skip


@function(*(layers.WRAPPERS - {"copy.copy", "copy.deepcopy"}))
def wrapped(m: Machine, name: str, args: CallArgs, node: cst.CSTNode) -> Value:
    """A wrapper is the model in it."""
    for member in members(args.positional[0]) if args.positional else ():
        if isinstance(member, Instance) and name.startswith("torch.") and name.endswith("_norm"):
            member.fact(ModuleFacts).reparametrised = name  # the weight has a scale of its own, or a bound
        elif isinstance(member, Instance) and name.endswith("FullyShardedDataParallel"):
            member.fact(ModuleFacts).flat = True  # its parameters are one long vector
        elif isinstance(member, Instance) and name == "torch.jit.script" and member.kind == "module":
            member.fact(ModuleFacts).scripted = m.seq
    return args.positional[0] if args.positional else args.kwargs.get("module", UNKNOWN)


@function("torch.jit.is_scripting", "torch.jit.is_tracing", "torch.onnx.is_in_onnx_export", "torch._C._get_tracing_state")
def compiled(m: Machine, name: str, args: CallArgs, node: cst.CSTNode) -> Value:
    """Training runs the code as it stands."""
    return FALSE


@function("torch.is_tensor")
def is_tensor(m: Machine, name: str, args: CallArgs, node: cst.CSTNode) -> Value:
    return Const(True, given=True) if surely_tensor(args.get(0, "obj")) else UNKNOWN


@function("torch.autograd.Variable")
def variable(m: Machine, name: str, args: CallArgs, node: cst.CSTNode) -> Value:
    return args.positional[0] if args.positional else UNKNOWN


@function(*layers.LOSS_FUNCTIONS)
def loss_function(m: Machine, name: str, args: CallArgs, node: cst.CSTNode) -> Value:
    given = tuple(args.positional)
    m.emit(LossComputed(m.now(node), Ref(name), given, given, args.kwargs, layers.LOSS_FUNCTIONS[name]))
    return Tensor("loss", tuple(args.all()), None, node, m.file, m.grad is not False, name=name)


@function(*_GRAD_SWITCHES)
def grad_switch(m: Machine, name: str, args: CallArgs, node: cst.CSTNode) -> Value:
    made = plain(m, name, args, node)
    if name.endswith("set_grad_enabled") and isinstance(node, cst.Call) and is_statement(m, node):
        enter(m, made)
    return made


@finder(rank=50)
def any_torch(name: str) -> Function | None:
    """What no other file knows of torch."""
    if not name.startswith("torch."):
        return None
    tail = name.rpartition(".")[2]
    makes = tail[:1].isupper() and not name.startswith(("torch.Tensor", "torch.cuda")) and not tail.endswith("Tensor")
    return plain if name.startswith(_OBJECTS) or makes else tensor_function


def tensor_function(m: Machine, name: str, args: CallArgs, node: cst.CSTNode) -> Value:
    """A function of tensors: its result depends on those it is given, also within lists."""
    tail = name.rpartition(".")[2]
    grad = any(isinstance(value, Tensor) and value.grad for value in args.all())
    inputs: list[Value] = []
    for value in args.all():
        inner = first(value)
        if isinstance(inner, Training):
            inner.module.fact(ModuleFacts).modal = (tail, m.file, node)
        if isinstance(inner, Sequence):
            inputs.extend(inner.items)
            grad = grad or any(isinstance(item, Tensor) and item.grad for item in inner.items)
        else:
            inputs.append(value)
    if tail in layers.INTEGER_OPS or m.grad is False:
        grad = False
    return Tensor(tail, tuple(inputs), None, node, m.file, grad, name=name, kwargs=args.kwargs)


@function("torch.tensor", "torch.as_tensor", "torch.asarray")
def copied(m: Machine, name: str, args: CallArgs, node: cst.CSTNode) -> Value:
    """Values are copied out of their graphs: always by `tensor`, by the others where they stand in a list."""
    made = tensor_function(m, name, args, node)
    if isinstance(made, Tensor) and (name == "torch.tensor" or isinstance(first(args.get(0, "data")), Sequence)):
        made.grad = truth(m, args.kwargs.get("requires_grad", NONE))[0] is True
    return made


@function("torch.nn.Parameter", "torch.nn.parameter.Parameter")
def parameter(m: Machine, name: str, args: CallArgs, node: cst.CSTNode) -> Value:
    return Tensor("parameter", tuple(args.all()), None, node, m.file, True)


@function("torch.autograd.backward")
def backward(m: Machine, name: str, args: CallArgs, node: cst.CSTNode) -> Value:
    if args.positional:
        m.emit(Backward(m.now(node), args.positional[0]))
    return NONE


@function("torch.autograd.grad")
def autograd_grad(m: Machine, name: str, args: CallArgs, node: cst.CSTNode) -> Value:
    outputs = args.get(0, "outputs") or UNKNOWN
    m.emit(Backward(m.now(node), outputs, partial=True))
    return Tensor("gradient", (outputs,), None, node, m.file, True)
