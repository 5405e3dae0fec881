"""`torch.nn.init` and other ways to give parameters their first values."""

from __future__ import annotations

import re
from collections.abc import Iterable

import libcst as cst

from tricklint.interpreter.behaviour import Function, finder
from tricklint.interpreter.callargs import CallArgs
from tricklint.interpreter.machine import Machine
from tricklint.interpreter.narrowing import path_preds
from tricklint.interpreter.objects import plain
from tricklint.interpreter.values import (
    UNKNOWN,
    Value,
    members,
)
from tricklint.libraries.checkpoints import saved
from tricklint.libraries.events import Initialised, WeightsLoaded
from tricklint.libraries.facts import Load, ModuleFacts
from tricklint.libraries.paramsets import ParamSet, roots_of
from tricklint.libraries.tensors import Tensor

# Methods that give a parameter new values; others (`clamp_`, `mul_`, `add_`) change the ones it has
_FILLS = frozenset((
    "normal_", "uniform_", "fill_", "zero_", "copy_", "random_", "log_normal_", "exponential_", "cauchy_", "geometric_",
    "bernoulli_", "ones_", "constant_", "set_",
))  # fmt: skip


_COPIES = frozenset(("copy_", "set_", "assign", "assign_item"))

# Methods of the program's own modules that give them other weights: `block.load_from(weights)`, `layer.init_weights()`
_SETS_WEIGHTS = re.compile(r"(?:^|_)(?:load|init|initialize|initialise|reset|copy)(?:$|_)")


def initialise(m: Machine, subject: Value, scheme: str, args: Iterable[Value], node: cst.CSTNode,
               which: str | None = None, kwargs: dict[str, Value] | None = None) -> None:  # fmt: skip
    """A parameter (or several) is given values; of what was read from a file, it is given its weights."""
    args = tuple(args)
    filled = scheme in _COPIES or scheme.startswith("load")  # `unit.load_from(weights)` of modules in a loop
    source = next((file for value in args if (file := saved(value)) is not None), None) if filled else None
    if source is not None:
        for root in roots_of(subject):
            m.emit(WeightsLoaded(m.now(node), root, source))
            if m.before_training(root):
                root.fact(ModuleFacts).loads.append(Load(node, source, m.file, tuple(m.path), m.entry))
    if isinstance(subject, ParamSet):
        subject = subject.narrowed(*path_preds(m))
    m.emit(Initialised(m.now(node), subject, scheme, tuple(args), kwargs or {}, which))


def init_call(m: Machine, name: str, args: CallArgs, node: cst.CSTNode) -> Value:
    scheme = name.rpartition(".")[2]
    if scheme == "calculate_gain":
        return plain(m, name, args, node)
    for member in members(args.get(0, "tensor")):
        if isinstance(member, ParamSet):
            initialise(m, member, scheme, args.positional[1:], node, kwargs=args.kwargs)
        elif isinstance(member, Tensor):
            m.emit(Initialised(m.now(node), member, scheme, tuple(args.positional[1:]), args.kwargs))
    return args.positional[0] if args.positional else UNKNOWN


@finder(rank=5)
def init_functions(name: str) -> Function | None:
    return init_call if name.startswith("torch.nn.init.") else None
