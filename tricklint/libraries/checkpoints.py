"""Saved weights: what `torch.load` and its kin give."""

from __future__ import annotations

import libcst as cst

from tricklint.interpreter.behaviour import Behaviour, behaves, function, method
from tricklint.interpreter.callargs import CallArgs
from tricklint.interpreter.machine import Machine
from tricklint.interpreter.objects import plain
from tricklint.interpreter.values import (
    Instance,
    Value,
)
from tricklint.libraries.facts import CheckpointFacts


@function(
    "torch.load", "torch.hub.load_state_dict_from_url", "torch.utils.model_zoo.load_url",
    "torchvision.models.utils.load_state_dict_from_url", "torchvision._internally_replaced_utils.load_state_dict_from_url",
    "safetensors.torch.load_file",
)  # fmt: skip
def checkpoint(m: Machine, name: str, args: CallArgs, node: cst.CSTNode) -> Value:
    made = plain(m, name, args, node)
    made.kind = "checkpoint"
    made.fact(CheckpointFacts).source = name
    return made


@method("checkpoint", "get", "items", "pop", "state_dict")
def same_checkpoint(m: Machine, value: Instance, args: CallArgs, node: cst.CSTNode) -> Value:
    return value


@behaves("checkpoint")
class CheckpointBehaviour(Behaviour):
    def item(self, m: Machine, value: Instance, index: Value, node: cst.CSTNode) -> Value | None:
        return value
