"""What stands at the end of a network: the last thing that happened to a tensor before a loss was given it."""

from __future__ import annotations

from dataclasses import dataclass

from tricklint.interpreter.values import (
    Const,
    Instance,
    Union,
    Value,
    first,
)
from tricklint.knowledge import layers
from tricklint.libraries.facts import ModuleFacts
from tricklint.libraries.tensors import Tensor

# Where the libraries whose models return their classifier's output keep that classifier
_CLASSIFIERS = ("fc", "classifier", "head", "heads", "last_linear", "_fc")
_IMAGE_MODELS = frozenset(("torchvision", "timm", "cadene", "efficientnet"))

# Operations that change neither the values nor their meaning
_SHAPES = frozenset((
    "view", "reshape", "squeeze", "unsqueeze", "flatten", "permute", "transpose", "contiguous", "float", "double",
    "half", "to", "cpu", "cuda", "clone", "index", "item", "narrow", "t", "input", "squeeze_", "unsqueeze_", "view_as",
    "expand", "repeat", "type", "chunk", "split", "select", "movedim", "swapaxes", "ravel",
    "masked_select", "index_select", "reshape_as", "type_as", "requires_grad_", "bfloat16", "unbind", "variable",
))  # fmt: skip
_KINDS = {
    "softmax": "softmax", "softmax_": "softmax", "log_softmax": "log_softmax", "sigmoid": "sigmoid",
    "sigmoid_": "sigmoid", "logsigmoid": "log_sigmoid", "expit": "sigmoid",
}  # fmt: skip
_MANY = frozenset(("stack", "cat", "concat", "hstack", "vstack"))


@dataclass(frozen=True)
class Ending:
    """kind: softmax, log_softmax, sigmoid, log_sigmoid, raw (a weight layer's own output) or other; `tensor` is the
    step that makes it so."""

    kind: str
    tensor: Tensor | None


def endings(value: Value | None, depth: int = 0) -> list[Ending]:
    """What a value may end in: one entry for each alternative of the default path, "other" where it cannot be told."""
    if isinstance(value, Union):
        if value.sure:
            return endings(value.values[0], depth)
        return [found for member in value.values for found in endings(member, depth)]
    if not isinstance(value, Tensor) or depth > 60:
        return [Ending("other", None)]
    if value.op in _MANY:
        parts = [part for part in value.inputs if isinstance(part, (Tensor, Union))]
        return [found for part in parts for found in endings(part, depth + 1)] or [Ending("other", None)]
    if value.op in _SHAPES:
        return endings(value.inputs[0], depth + 1) if value.inputs else [Ending("other", None)]
    if value.op in _KINDS:
        return [Ending(_KINDS[value.op], value)]
    if value.op == "call" and value.module is not None:
        return _of_module(value, value.module, depth)
    return [Ending("other", value)]


def _of_module(value: Tensor, module: Instance, depth: int) -> list[Ending]:
    if value.result is not None:
        return endings(value.attrs.get("alternatives", value.result), depth + 1)
    name = module.library
    if name in layers.SOFTMAX:
        return [Ending(layers.SOFTMAX[name], value)]
    if name == layers.NN + "Sigmoid":
        return [Ending("sigmoid", value)]
    if name == layers.NN + "LogSigmoid":
        return [Ending("log_sigmoid", value)]
    if name in layers.WEIGHTED:
        return [Ending("raw", value)]
    if name in layers.PASSIVE or name in layers.DROPOUT:
        return endings(value.inputs[0], depth + 1) if value.inputs else [Ending("other", value)]
    if module.fact(ModuleFacts).family == "smp":
        return _of_masks(value, module, depth)
    head = _last_of(_new_classifier(module))
    if head is not None:
        return _of_module(Tensor("call", (), head, value.node, value.file), head, depth + 1)
    return [Ending("other", value)]


# What segmentation_models_pytorch puts behind its last convolution, by the name that `activation` is given
_ACTIVATIONS = {"sigmoid": "sigmoid", "softmax": "softmax", "softmax2d": "softmax", "logsoftmax": "log_softmax"}


def _of_masks(value: Tensor, model: Instance, depth: int) -> list[Ending]:
    """A model of segmentation_models_pytorch gives one tensor of masks, unless it was asked for labels as well: raw ones
    where it was told of no activation."""
    head = model.fields.get("segmentation_head")
    if isinstance(head, Instance) and head.part_of is None:
        last = _last_of(head)
        return (
            _of_module(Tensor("call", (), last, value.node, value.file), last, depth + 1)
            if last
            else [Ending("other", value)]
        )
    labels = first(model.kwargs.get("aux_params"))
    told = model.kwargs.get("activation")
    if (
        model.open_kwargs
        or len(model.args) > 2
        or not (labels is None or (isinstance(labels, Const) and labels.value is None))
    ):
        return [Ending("other", value)]
    if told is None:
        return [Ending("raw", value)]
    named = first(told)
    if not isinstance(named, Const):
        return [Ending("other", value)]
    return [Ending("raw" if named.value is None else _ACTIVATIONS.get(str(named.value), "other"), value)]


def _new_classifier(model: Instance) -> Instance | None:
    """What the program put in the place of a library model's classifier, `model.fc = nn.Sequential(…)`: its output is
    the model's. None for models that return more than one tensor."""
    if model.fact(ModuleFacts).family not in _IMAGE_MODELS:
        return None
    if any(part in model.library for part in (".detection.", ".segmentation.", "inception", "googlenet")):
        return None
    values = [model.fields.get(name) for name in _CLASSIFIERS]
    put = [value for value in values if isinstance(value, Instance) and value.part_of is None]
    return put[0] if len(put) == 1 and put[0].kind == "module" else None


def _last_of(head: Instance | None) -> Instance | None:
    """The layer that a classifier ends in, behind what changes nothing (dropout, flattening)."""
    if head is None or head.library != layers.NN + "Sequential":
        return head
    for child in reversed(list(head.fields.values())):
        if not isinstance(child, Instance):
            return None
        if child.library not in layers.PASSIVE and child.library not in layers.DROPOUT:
            return _last_of(child)
    return None


def only_ending(value: Value | None) -> Ending | None:
    """The one kind that every alternative ends in; None when they differ."""
    found = endings(value)
    return found[0] if found and len({each.kind for each in found}) == 1 else None


__all__ = ["Ending", "endings", "only_ending"]
