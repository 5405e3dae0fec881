"""PEFT and its likes: adapters train, the model they sit in does not."""

from __future__ import annotations

import libcst as cst

from tricklint.interpreter.behaviour import function, method
from tricklint.interpreter.callargs import CallArgs
from tricklint.interpreter.machine import Machine
from tricklint.interpreter.values import (
    NONE,
    UNKNOWN,
    Const,
    Instance,
    Value,
    members,
)
from tricklint.libraries.facts import ModuleFacts
from tricklint.libraries.parameters import freeze
from tricklint.libraries.paramsets import ParamSet


@function("peft.get_peft_model", "peft.PeftModel.from_pretrained", "peft.inject_adapter_in_model",
          "loralib.mark_only_lora_as_trainable")  # fmt: skip
def with_adapters(m: Machine, name: str, args: CallArgs, node: cst.CSTNode) -> Value:
    at = 1 if name.endswith("inject_adapter_in_model") else 0
    model = args.get(at, "model") or UNKNOWN
    for member in members(model):
        if isinstance(member, Instance) and member.kind == "module":
            adapted(m, member, node)
    return model


def adapted(m: Machine, model: Instance, node: cst.CSTNode) -> None:
    """Adapters are put into a model; what it had before no longer trains."""
    freeze(m, ParamSet(model, "param"), Const(False), node)
    model.fact(ModuleFacts).peft = True


@method("module", "add_adapter", "train_adapter")
def add_adapter(m: Machine, value: Instance, args: CallArgs, node: cst.CSTNode) -> Value:
    """transformers', diffusers' and adapters' own way to PEFT."""
    adapted(m, value, node)
    return NONE
