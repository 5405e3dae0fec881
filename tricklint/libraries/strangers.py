"""Calls of libraries that no file here describes, and what their results turn out to be."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from typing import NamedTuple

import libcst as cst

from tricklint.interpreter.behaviour import STRANGER, Behaviour, Function, behaves, finder, of
from tricklint.interpreter.callargs import CallArgs
from tricklint.interpreter.calls import escape, method
from tricklint.interpreter.events import Built, Made, Moment
from tricklint.interpreter.machine import Machine
from tricklint.interpreter.objects import is_statement, plain
from tricklint.interpreter.values import (
    Const,
    Instance,
    Pred,
    Value,
    instances,
    members,
)
from tricklint.knowledge import frameworks, pretrained
from tricklint.libraries.facts import LoaderFacts, ModuleFacts
from tricklint.libraries.modules import adopt
from tricklint.libraries.paramsets import ParamSet
from tricklint.libraries.pretrained import asks_for_weights
from tricklint.libraries.tensors import Tensor
from tricklint.libraries.torch_data import batch_of
from tricklint.libraries.torch_init import initialise
from tricklint.libraries.torch_optim import is_optimizer, unknown_optimizer
from tricklint.libraries.unknown_freezes import unknown_freeze

# What is asked of an object says that it is a model: no other library has objects with methods of these names
_OF_MODELS = frozenset(("parameters", "named_parameters", "eval", "requires_grad_", "load_state_dict", "named_modules"))


@dataclass(slots=True, eq=False)
class StrangerFacts:
    """at: when a `from_pretrained` made it, of whatever class."""

    at: Moment | None = None


class Says(NamedTuple):
    """What the dotted name of a library's function or class tells by itself. loss: it lies in a package of losses."""

    lightning: bool
    pretrained: bool
    module: bool
    loss: bool
    harmless: bool
    function: bool


@cache
def _says(name: str) -> Says:
    above, _, last = name.rpartition(".")
    if last.startswith("from_"):  # another constructor of the class, `EfficientNet.from_name("efficientnet-b3")`
        last = above.rpartition(".")[2]
    loss = not {"loss", "losses"}.isdisjoint(name.split(".")[1:-1])
    return Says(
        lightning=name.startswith("lightning."),
        pretrained=name.endswith(".from_pretrained"),
        module=name.startswith(frameworks.MODULE_PACKAGES)
        and (loss or not name.startswith(frameworks.WEIGHTLESS_PACKAGES))
        and last[:1].isupper(),
        loss=loss,
        harmless=name in frameworks.HARMLESS or name.startswith(frameworks.HARMLESS_PREFIXES),
        function=name.rpartition(".")[2][:1].islower(),
    )


@finder(rank=100)
def any_other(name: str) -> Function | None:
    return None if name.startswith("builtins.") else stranger


def stranger(m: Machine, name: str, args: CallArgs, node: cst.CSTNode) -> Value:
    """An object of the library (a module, where it is a class of a package of modules or is asked for weights); what it is
    given may be changed by the call, and a function of tensors gives a tensor."""
    made = plain(m, name, args, node)
    says = _says(name)
    if says.lightning:
        m.emit(Made(m.now(node), made))
    if says.pretrained:
        made.fact(StrangerFacts).at = m.now(node)
    if says.module:
        adopt(made, args)
        if says.loss:
            made.kind = "loss"
        else:
            becomes_model(m, made)
        return made
    if fills_parameters(m, name, args, node):
        return made
    if is_optimizer(args):
        return unknown_optimizer(m, name, args, node)
    if not says.harmless:
        escape(m, args, node, name)
    tensors = [value for value in args.all() if isinstance(value, Tensor)]
    if tensors and says.function:
        grad = any(tensor.grad for tensor in tensors)
        return Tensor("unknown", tuple(args.all()), tensors[0].module, node, m.file, grad, name=name)
    if not args.kwargs:
        return made
    if not says.harmless and any(weights_by(flag, args.kwargs.get(flag)) for flag in pretrained.FLAGS):
        becomes_model(m, made)
    elif "batch_size" in args.kwargs:
        made.kind = "batches"
        made.fact(LoaderFacts).batch_size = args.kwargs["batch_size"]
        m.emit(Made(m.now(node), made))
    return made


def fills_parameters(m: Machine, name: str, args: CallArgs, node: cst.CSTNode) -> bool:
    """Whether the call gives parameters their values: a function that is handed one of a module's, and whose result nobody
    takes (`timm.layers.trunc_normal_(m.weight, std=0.02)`)."""
    given = [
        member
        for value in args.positional[:1]
        for member in members(value)
        if isinstance(member, ParamSet) and member.kind == "param" and member.elem and not member.names
    ]
    if not given or not isinstance(node, cst.Call) or not (name.endswith("_") or is_statement(m, node)):
        return False
    for member in given:
        initialise(m, member, name.rpartition(".")[2], args.positional[1:], node, kwargs=args.kwargs)
    return True


def weights_by(flag: str, passed: Value | None) -> bool:
    """Whether an argument is one that only a model's constructor has: `pretrained`, `weights` that are named or None."""
    if passed is None or flag != "weights":
        return passed is not None
    named = isinstance(passed, Const) and (passed.value is None or isinstance(passed.value, str))
    return named or asks_for_weights(passed) is True


def becomes_model(m: Machine, made: Instance) -> None:
    """What a library made turns out to be a model, with weights where it was asked for them."""
    made.kind = "module"
    known = made.fact(ModuleFacts)
    known.external = made.library not in frameworks.WEIGHTLESS
    passed = next((made.kwargs[flag] for flag in pretrained.FLAGS if flag in made.kwargs), None)
    if made.library.endswith(".from_pretrained"):
        known.pretrained = True
    elif passed is not None:
        known.pretrained = asks_for_weights(passed)
    else:
        known.guessed = not made.library.startswith(frameworks.MODULE_PACKAGES)
    assert made.node is not None
    m.emit(Built(made.fact(StrangerFacts).at or m.now(made.node), made))


@behaves(STRANGER)
class Stranger(Behaviour):
    """An object of a library of which nothing is known, until its use says that it is a model."""

    def set_attribute(self, m: Machine, value: Instance, name: str, new: Value, node: cst.CSTNode) -> bool:
        unknown_freeze(m, name, new, node)
        if value.fact(StrangerFacts).at is None or not any(True for _ in instances(new, "module")):
            return False
        becomes_model(m, value)  # a part of what came with weights is replaced by a module
        return of(value).set_attribute(m, value, name, new, node)

    def method(self, m: Machine, value: Instance, name: str, args: CallArgs, node: cst.CSTNode) -> Value | None:
        if not isinstance(value, Instance) or not value.library or name not in _OF_MODELS or args.positional[1:]:
            return None
        becomes_model(m, value)
        return method(m, value, name, args, node)



@behaves("batches")
class Batches(Stranger):
    """What a library made with a size of batches: a loader, once a loop goes over it; anything else as long as it does not."""

    def element(self, m: Machine, value: Instance, node: cst.CSTNode) -> Value | None:
        return batch_of(m, value, node)

    def spread(self, m: Machine, value: Instance, count: int) -> list[Value] | None:
        """`train_batches, test_batches = Iterator.splits(…, batch_size=32)`"""
        return [value] * count

    def item(self, m: Machine, value: Instance, index: Value, node: cst.CSTNode) -> Value | None:
        return value

    def truth(self, m: Machine, value: Instance) -> tuple[bool | None, Pred | None] | None:
        return None, None
