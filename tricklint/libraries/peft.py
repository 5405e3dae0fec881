"""PEFT: adapters train, the model they sit in does not."""

from __future__ import annotations

import libcst as cst

from tricklint.interpreter.behaviour import function
from tricklint.interpreter.callargs import CallArgs
from tricklint.interpreter.machine import Machine
from tricklint.interpreter.values import (
    UNKNOWN,
    Const,
    Instance,
    Value,
    members,
)
from tricklint.libraries.facts import ModuleFacts
from tricklint.libraries.parameters import freeze
from tricklint.libraries.paramsets import ParamSet


@function("peft.get_peft_model", "peft.PeftModel.from_pretrained")
def with_adapters(m: Machine, name: str, args: CallArgs, node: cst.CSTNode) -> Value:
    model = args.get(0, "model") or UNKNOWN
    for member in members(model):
        if isinstance(member, Instance) and member.kind == "module":
            freeze(m, ParamSet(member, "param"), Const(False), node)
            member.fact(ModuleFacts).peft = True
    return model
