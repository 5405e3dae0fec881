"""The classifier that turns a backbone's features into class logits, seen from the loss."""

from __future__ import annotations

from dataclasses import dataclass

import libcst as cst

from tricklint.interpreter.modules import FileModule
from tricklint.interpreter.values import (
    Instance,
    Value,
    first,
    members,
    number,
)
from tricklint.knowledge.pretrained import HEAD_NAMES
from tricklint.libraries.events import HeadReplaced
from tricklint.libraries.facts import ModuleFacts
from tricklint.libraries.paramsets import ParamSet, roots_of
from tricklint.libraries.tensors import Tensor
from tricklint.program.program import Program
from tricklint.program.thaw import has_layers

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


_PUBLISHED = 1000  # classes of ImageNet, which published classifiers tell apart


@dataclass(frozen=True)
class Classifier:
    """The call of a Linear that yields the logits, of which backbone's features it is fed, and for how many classes."""

    node: cst.CSTNode
    file: FileModule
    backbone: Instance
    classes: int | None


def classifier_behind(program: Program, logits: Value | None) -> Classifier | None:
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
    if backbone is None or _classified(program, features, backbone, at.module):
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
        elif (value.op in _SAME or _state_or_pooled(value)) and value.inputs:
            value = first(value.inputs[0])
        elif value.op == "call" and value.module is not None and value.module.library.rpartition(".")[2] in _PASSIVE:
            value = first(value.inputs[0]) if value.inputs else None
        else:
            return value
    return None


def _state_or_pooled(value: Tensor) -> bool:
    """One of the first two that a model of transformers gives, unpacked: its last state, or what its pooler makes of it."""
    made = first(value.inputs[0]) if value.op == "item" and "part" in value.attrs else None
    if not isinstance(made, Tensor) or made.op != "call" or made.module is None or made.module.owner is not made.module:
        return False
    return made.module.fact(ModuleFacts).family == "transformers" and value.attrs["part"][0] < 2


def _classified(program: Program, features: Tensor, backbone: Instance, linear: Instance) -> bool:
    """What goes into `linear` are no features: a classifier within the backbone, its own or one put in its place, stands
    between, and no part of the backbone alone was called."""
    if features.module is not backbone:
        return False
    known = backbone.fact(ModuleFacts)
    if known.family == "transformers":
        return known.new_head
    put_in = [event for event in program.events(HeadReplaced) if event.possible and _at_head(event, backbone)]
    if put_in:
        return any(has_layers(event.value) for event in put_in)
    own = backbone.kwargs.get("num_classes")
    classes = number(own) if own is not None else _PUBLISHED
    taken = linear.passed(0, "in_features")
    if number(taken) is not None:
        return number(taken) == classes
    dense = any(word in backbone.library for word in (".detection.", ".segmentation."))
    return known.family == "torchvision" and not dense


def _at_head(event: HeadReplaced, backbone: Instance) -> bool:
    """The backbone's classifier, or a layer of it, was replaced."""
    for each in members(event.subject):
        if isinstance(each, Instance) and each.owner is backbone:
            path = "" if each is backbone else str(each.fact(ModuleFacts).path)
            return f"{path}.{event.attribute}".lstrip(".").partition(".")[0] in HEAD_NAMES
    return False


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
