"""The classifier that turns a backbone's features into class logits, seen from the loss."""

from __future__ import annotations

from dataclasses import dataclass

import libcst as cst

from tricklint.interpreter.modules import FileModule
from tricklint.interpreter.values import (
    Instance,
    Value,
    first,
    number,
)
from tricklint.libraries.facts import ModuleFacts
from tricklint.libraries.paramsets import ParamSet, roots_of
from tricklint.libraries.tensors import Tensor

# What keeps the length that features came with: what is twice as long goes out twice as long. So do pooling, a choice of
# some of them and a ReLU (DenseNet's own last step); a tanh or a norm layer does not.
_SAME = frozenset((
    "input", "view", "flatten", "squeeze", "reshape", "float", "to", "cuda", "contiguous", "mean", "amax", "index",
    "dropout", "dropout1d", "dropout2d", "dropout3d", "dropout_", "permute", "transpose", "relu", "relu_", "leaky_relu",
    "avg_pool1d", "avg_pool2d", "avg_pool3d", "adaptive_avg_pool1d", "adaptive_avg_pool2d", "adaptive_avg_pool3d",
    "max_pool1d", "max_pool2d", "max_pool3d", "adaptive_max_pool1d", "adaptive_max_pool2d", "adaptive_max_pool3d",
))  # fmt: skip
_PASSIVE = frozenset((
    "Dropout", "Dropout1d", "Dropout2d", "Dropout3d", "Flatten", "Identity", "ReLU", "LeakyReLU",
    "AvgPool1d", "AvgPool2d", "AvgPool3d", "AdaptiveAvgPool1d", "AdaptiveAvgPool2d", "AdaptiveAvgPool3d",
    "MaxPool1d", "MaxPool2d", "MaxPool3d", "AdaptiveMaxPool1d", "AdaptiveMaxPool2d", "AdaptiveMaxPool3d",
))  # fmt: skip


@dataclass(frozen=True)
class Classifier:
    """The call of a Linear that yields the logits, of which backbone's features it is fed, and for how many classes."""

    node: cst.CSTNode
    file: FileModule
    backbone: Instance
    classes: int | None


def classifier_behind(logits: Value | None) -> Classifier | None:
    """The Linear behind `logits` when a pretrained backbone's features go into it unchanged, else None."""
    at = _through(first(logits))
    if at is None or at.op != "call" or at.module is None or at.module.library != "torch.nn.Linear":
        return None
    if at.node is None or at.file is None or not at.inputs:
        return None
    features = _through(first(at.inputs[0]))
    if features is None or features.op != "call" or features.module is None:
        return None
    backbone = _pretrained(features.module)
    if backbone is None:
        return None
    out = at.module.passed(1, "out_features")
    count = number(out)
    return Classifier(at.node, at.file, backbone, int(count) if count is not None and 1 <= count <= 10**9 else None)


def _through(value: Value | None) -> Tensor | None:
    """`value` without what keeps the length of features: dropout, flattening, pooling, the frames of forwards."""
    for _ in range(60):
        if not isinstance(value, Tensor):
            return None
        if value.op == "call" and value.result is not None:
            value = first(value.result)
        elif value.op in _SAME and value.inputs:
            value = first(value.inputs[0])
        elif value.op == "call" and value.module is not None and value.module.library.rpartition(".")[2] in _PASSIVE:
            value = first(value.inputs[0]) if value.inputs else None
        else:
            return value
    return None


def _pretrained(module: Instance) -> Instance | None:
    """The pretrained model that `module` is, or is a part or a slice of."""
    owner = module.owner
    if owner.fact(ModuleFacts).pretrained is True:
        return owner
    if module.library == "torch.nn.Sequential":
        for value in module.fields.values():
            for root in roots_of(value) if isinstance(value, ParamSet) else ():
                if root.fact(ModuleFacts).pretrained is True:
                    return root
    return None
