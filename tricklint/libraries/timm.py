"""timm's optimizer factories, which split biases and norms by themselves."""

from __future__ import annotations

import libcst as cst

from tricklint.interpreter.behaviour import function
from tricklint.interpreter.callargs import CallArgs
from tricklint.interpreter.machine import Machine
from tricklint.interpreter.objects import plain
from tricklint.interpreter.values import (
    UNKNOWN,
    Value,
)
from tricklint.knowledge import optimizers
from tricklint.libraries.events import OptimizerBuilt
from tricklint.libraries.facts import OptimizerFacts
from tricklint.libraries.torch_optim import groups_of


@function(*optimizers.FACTORIES)
def optimizer_factory(m: Machine, name: str, args: CallArgs, node: cst.CSTNode) -> Value:
    made = plain(m, name, args, node)
    made.kind = "optimizer"
    target = (
        args.get(0 if name.endswith("_v2") else 1, "model_or_params" if name.endswith("_v2") else "model") or UNKNOWN
    )
    options = dict(args.kwargs)
    known = made.fact(OptimizerFacts)
    known.row, known.name, known.options, known.params = optimizers.OptimizerRow(0.0, 3), name, options, target
    known.factory, known.open, known.groups = True, args.open_kwargs, groups_of(m, target)
    m.emit(OptimizerBuilt(m.now(node), made))
    return made
