"""What unknown objects must be, from how they are used."""

from __future__ import annotations

import re

import libcst as cst

from tricklint.interpreter.behaviour import Behaviour, after, behaves, function, guesses, method
from tricklint.interpreter.callargs import CallArgs
from tricklint.interpreter.calls import call_unknown
from tricklint.interpreter.classes import kind_of_class
from tricklint.interpreter.machine import Machine
from tricklint.interpreter.objects import is_statement, plain
from tricklint.interpreter.truth import truth
from tricklint.interpreter.values import (
    NONE,
    UNKNOWN,
    Bound,
    Class,
    Const,
    Instance,
    Namespace,
    Ref,
    Unknown,
    Value,
    first,
    members,
)
from tricklint.libraries.checkpoints import whole_model
from tricklint.libraries.events import Backward, GradsCleared, ModeSet
from tricklint.libraries.facts import ModuleFacts
from tricklint.libraries.paramsets import ParamSet
from tricklint.libraries.tensors import with_grad
from tricklint.libraries.torch_forward import forward
from tricklint.libraries.torch_optim import step, zero_grad
from tricklint.libraries.unknown_freezes import Outsider, unknown_freeze
from tricklint.source.tree import dotted

_OPTIMIZER_NAME = re.compile(r"^(?:self_)?(?:\w+_)?(?:optim|optimizer|optimiser|opt)(?:izer)?(?:_\w+)?$")


@guesses
def guess_model(m: Machine, node: cst.Call, callee: Value) -> Value | None:
    """`x.eval()` and `x.train()` on something unknown say that it is a model: from here on it is known as one."""
    func = node.func
    if not isinstance(func, cst.Attribute) or func.attr.value not in ("eval", "train") or not may_be_model(callee):
        return None
    if len(node.args) > (func.attr.value == "train") or not is_statement(m, node):
        return None
    made = Instance(Ref("<unknown>.Model"), node, m.file)
    made.kind = "guessed"
    if not place_guess(m, func.value, made):
        return None
    return Bound(made, None, func.attr.value)


class Named(Unknown):
    """Something unknown whose `named_parameters()` were asked for: `root` stands for whatever it is."""

    __slots__ = ("root",)

    def __init__(self, root: Instance) -> None:
        super().__init__()
        self.root = root


@guesses
def guess_named_parameters(m: Machine, node: cst.Call, callee: Value) -> Value | None:
    """`x.named_parameters()` on something unknown: what is sorted by these names is known by them, whatever `x` is."""
    func = node.func
    if not isinstance(callee, Unknown) or not isinstance(func, cst.Attribute) or func.attr.value != "named_parameters":
        return None
    owner = m.eval(func.value)
    if type(owner) is Named:
        return Bound(owner, None, func.attr.value)
    if not dotted(func.value) or (isinstance(func.value, cst.Attribute) and isinstance(m.eval(func.value.value), Unknown)):
        return None
    root = Instance(Ref("<unknown>.Model"), node, m.file)
    root.kind = "guessed"
    root.fact(ModuleFacts).external = root.fact(ModuleFacts).guessed = True
    made = Named(root)
    return Bound(made, None, func.attr.value) if place_guess(m, func.value, made) else None


@behaves(Named)
class NamedBehaviour(Outsider):
    def method(self, m: Machine, value: Named, name: str, args: CallArgs, node: cst.CSTNode) -> Value | None:
        return ParamSet(value.root, "param", named=True, node=node) if name == "named_parameters" else None


@guesses
def guess_optimizer(m: Machine, node: cst.Call, callee: Value) -> Value | None:
    """`optimizer.step()` on something unknown that is called an optimizer."""
    func = node.func
    if (
        not isinstance(callee, Unknown)
        or not isinstance(func, cst.Attribute)
        or func.attr.value not in ("step", "zero_grad")
    ):
        return None
    named = func.value.attr if isinstance(func.value, cst.Attribute) else func.value
    if not isinstance(named, cst.Name) or not _OPTIMIZER_NAME.search(named.value.lower()):
        return None
    made = Instance(Ref("<unknown>.Optimizer"), func, m.file)
    made.kind = "guessed_optimizer"
    return Bound(made, None, func.attr.value) if place_guess(m, func.value, made) else None


@guesses
def guess_optimizer_class(m: Machine, node: cst.Call, callee: Value) -> Value | None:
    """`cls(model.parameters(), lr=…)` of something unknown: what is made of parameters and a learning rate."""
    if not isinstance(callee, Unknown) or not node.args:
        return None
    given = next((arg.value for arg in node.args if arg.keyword is not None and arg.keyword.value == "params"), node.args[0].value)
    ends = given.func.attr.value if isinstance(given, cst.Call) and isinstance(given.func, cst.Attribute) else ""
    named = {arg.keyword.value for arg in node.args if arg.keyword is not None}
    if ends not in ("parameters", "trainable_parameters") or is_statement(m, node):
        return None
    if not ({"lr", "learning_rate"} & named or _becomes_optimizer(m, node)):
        return None
    return Ref("<unknown>.Optimizer")


def _becomes_optimizer(m: Machine, node: cst.Call) -> bool:
    """The result is called an optimizer."""
    statement = m.file.tree.parent(node)
    if not isinstance(statement, cst.Assign) or len(statement.targets) != 1:
        return False
    target = statement.targets[0].target
    name = target.attr if isinstance(target, cst.Attribute) else target
    return isinstance(name, cst.Name) and _OPTIMIZER_NAME.search(name.value.lower()) is not None


@guesses
def guess_setting(m: Machine, node: cst.Call, callee: Value) -> Value | None:
    """`settings.get("lr", 1e-3)` of something unknown, which is read from outside: the number that stands beside the key is
    what the code takes where nobody says otherwise."""
    func = node.func
    if not isinstance(callee, Unknown) or not isinstance(func, cst.Attribute) or func.attr.value not in ("get", "pop"):
        return None
    given = [arg.value for arg in node.args if not arg.star and (arg.keyword is None or arg.keyword.value == "default")]
    if len(given) != 2 or len(node.args) != 2 or not isinstance(given[0], cst.SimpleString):
        return None
    return Ref("<unknown>.setting")


@function("<unknown>.setting")
def setting(m: Machine, name: str, args: CallArgs, node: cst.CSTNode) -> Value:
    at = first(args.get(1, "default"))
    return Const(at.value, True) if isinstance(at, Const) and at.value is not None else UNKNOWN


def place_guess(m: Machine, node: cst.CSTNode, made: Value) -> bool:
    if isinstance(node, cst.Name):
        if node.value == "self":
            return False
        m.bind(node.value, made)
        return True
    if isinstance(node, cst.Attribute):
        owner = m.eval(node.value)
        if isinstance(owner, Unknown):
            owner = Namespace(node, m.file)
            if not place_guess(m, node.value, owner):
                return False
        if isinstance(owner, (Instance, Namespace)):
            m.write(owner.fields, node.attr.value, made)
            return True
    return False


def guessed_method(m: Machine, model: Instance, name: str, args: CallArgs, node: cst.CSTNode) -> Value:
    """A method of something that is only known to be a model."""
    if name in ("train", "eval"):
        train: bool | None = name == "train"
        if train and args.positional:
            train = truth(m, args.positional[0])[0]
        m.emit(ModeSet(m.now(node), model, train))
        return model
    if name in ("to", "cuda", "cpu", "half", "float", "double", "bfloat16"):
        return model
    if name == "zero_grad":
        m.emit(GradsCleared(m.now(node), model))
    elif name == "forward":
        return forward(m, model, args, node)
    call_unknown(m, args, node, f"<unknown>.Model.{name}")
    return UNKNOWN


@after("from_pretrained")
def with_weights(m: Machine, result: Value, node: cst.CSTNode) -> Value:
    """What a `from_pretrained` of the program gives: a model with weights, even where it could not be followed."""
    models = [member for member in members(result) if isinstance(member, Instance) and member.kind == "module"]
    owner = m.eval(node.func.value) if isinstance(node, cst.Call) and isinstance(node.func, cst.Attribute) else None
    if not models and isinstance(owner, Class) and owner.knows_bases and not kind_of_class(owner):
        return result  # a tokenizer, a configuration
    if not models:
        result = made = Instance(Ref("<program>.from_pretrained"), node, m.file)
        made.kind, models = "module", [made]
        made.fact(ModuleFacts).external = True
    for model in models:
        model.fact(ModuleFacts).is_pretrained = True
    return result


def may_be_model(method: Value) -> bool:
    """A method of something unknown, or of what `torch.load` gave: a whole model was saved."""
    pickled = isinstance(method, Bound) and isinstance(method.self, Instance) and method.self.kind == "checkpoint"
    return isinstance(method, Unknown) or pickled


@guesses
def guess_backward(m: Machine, node: cst.Call, callee: Value) -> Value | None:
    """`engine.backward(loss)` of something unknown: whoever it is, the loss is backpropagated."""
    named = isinstance(node.func, cst.Attribute) and node.func.attr.value in ("backward", "manual_backward")
    return Ref("<unknown>.backward") if named and node.args and isinstance(callee, Unknown) else None


@function("<unknown>.backward")
def guessed_backward(m: Machine, name: str, args: CallArgs, node: cst.CSTNode) -> Value:
    if args.positional and with_grad(args.positional[0]):
        m.emit(Backward(m.now(node), args.positional[0]))
    return NONE


@guesses
def guess_pickled(m: Machine, node: cst.Call, callee: Value) -> Value | None:
    """What `torch.load` gave is called, or its `forward` is: a whole model was saved."""
    loaded, at, name = callee, node.func, ""
    if isinstance(callee, Bound) and callee.func is None and isinstance(at, cst.Attribute):
        loaded, at, name = callee.self, at.value, callee.name
    if not isinstance(loaded, Instance) or loaded.kind != "checkpoint" or name not in ("", "forward"):
        return None
    model = Instance(Ref("<unknown>.Model"), node, m.file)
    model.kind = "guessed"
    if not place_guess(m, at, model):
        return None
    return Bound(model, None, name) if name else model


@function("torch.jit.load")
def scripted(m: Machine, name: str, args: CallArgs, node: cst.CSTNode) -> Value:
    """A model that was compiled and saved."""
    made = plain(m, name, args, node)
    made.kind = "guessed"
    return made


@method("checkpoint", "to", "cuda", "cpu", "half", "float", "double")
def moved(m: Machine, value: Instance, args: CallArgs, node: cst.CSTNode) -> Value:
    return value


@method("checkpoint", "eval")
def evaluated(m: Machine, value: Instance, args: CallArgs, node: cst.CSTNode) -> Value:
    """`torch.load(path).eval()`: only models have a mode."""
    return guessed_method(m, whole_model(value), "eval", args, node)


@method("guessed_optimizer", "step")
def guessed_step(m: Machine, value: Instance, args: CallArgs, node: cst.CSTNode) -> Value:
    return step(m, value, args, node)


@method("guessed_optimizer", "zero_grad")
def guessed_zero_grad(m: Machine, value: Instance, args: CallArgs, node: cst.CSTNode) -> Value:
    return zero_grad(m, value, args, node)


@behaves("guessed")
class GuessedModel(Behaviour):
    def set_attribute(self, m: Machine, value: Instance, name: str, new: Value, node: cst.CSTNode) -> bool:
        unknown_freeze(m, name, new, node)
        return False

    def method(self, m: Machine, value: Instance, name: str, args: CallArgs, node: cst.CSTNode) -> Value | None:
        return guessed_method(m, value, name, args, node)

    def call(self, m: Machine, value: Instance, args: CallArgs, node: cst.CSTNode) -> Value | None:
        return forward(m, value, args, node)
