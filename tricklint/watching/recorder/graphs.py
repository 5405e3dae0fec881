"""What the output of each layer meets next, and which layer yields logits: read off autograd's own graph.

The graph leads from results to what they were made of. It is walked once from a loss at the first backwards, and turned
round: then each layer's node knows who takes its output.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from typing import Any

import torch
from torch import nn

from tricklint.watching.recorder.log import Log
from tricklint.watching.recorder.names import Names, tensors_in
from tricklint.watching.recorder.steps import Steps

LOOKED = 2  # backwards of one place whose graph is walked
MOST_BUILT = 16  # optimizers, after which no more graphs are walked
MOST = 20_000  # nodes of a graph that are looked at
# Nodes by the beginning of their name, which a number ends; the activations as `nn.init.calculate_gain` groups them
_ACTIVATIONS = {
    "relu": "Relu ClampMin Elu Celu Gelu Silu Mish Hardswish Softplus Threshold",
    "leaky_relu": "LeakyRelu PreluKernel Prelu RreluWithNoise",
    "tanh": "Tanh",
    "sigmoid": "Sigmoid Hardsigmoid LogSigmoid",
}
_NORMS = """NativeBatchNorm CudnnBatchNorm MiopenBatchNorm NativeLayerNorm NativeGroupNorm FusedRmsNorm
InstanceNorm""".split()
_WEIGHTED = "Addmm Mm Bmm Baddbmm Addmv Mv Convolution MkldnnConvolution ConvolutionOverrideable Linear Mkldnn".split()
_ENDS_LINEAR = """Softmax LogSoftmax ScaledDotProduct SafeSoftmax MkldnnRnnLayer CudnnRnn Lstm Gru""".split()
_LOSSES = """NllLoss NllLoss2D NllLossNd BinaryCrossEntropy BinaryCrossEntropyWithLogits MseLoss SmoothL1Loss HuberLoss
L1Loss KlDiv CtcLoss SoftMarginLoss""".split()
_PASSES = """View UnsafeView ReshapeAlias Reshape T Transpose Permute Squeeze Unsqueeze Alias Clone ToCopy Expand Repeat Slice Select
Index IndexSelect Gather Split SplitWithSizes Chunk Unbind Cat Stack Mean Sum Max Amax Add Sub Flip Roll ConstantPadNd
ReflectionPad ReplicationPad MaxPool MaxPool1DWithIndices MaxPool2DWithIndices MaxPool3DWithIndices AvgPool AdaptiveAvgPool
AdaptiveMaxPool Upsample PixelShuffle NativeDropout FeatureDropout FusedDropout AsStrided Narrow Contiguous Copy""".split()


def _named(words: str | list[str]) -> frozenset[str]:
    return frozenset(words.split() if isinstance(words, str) else words)


_GROUP = {word: group for group, words in _ACTIVATIONS.items() for word in words.split()}
_IS_NORM, _IS_WEIGHTED, _IS_LINEAR_END, _IS_LOSS, _IS_PASS = (
    _named(words) for words in (_NORMS, _WEIGHTED, _ENDS_LINEAR, _LOSSES, _PASSES)
)


def kind(node: Any) -> str:
    """`Addmm` of AddmmBackward0; pooling and padding of any number of dimensions alike."""
    name = type(node).__name__.partition("Backward")[0]
    for word in (
        "MaxPool",
        "AvgPool",
        "AdaptiveAvgPool",
        "AdaptiveMaxPool",
        "Upsample",
        "ReflectionPad",
        "ReplicationPad",
        "ScaledDotProduct",
    ):
        if name.startswith(word):
            return word
    return name


def parameter_of(node: Any) -> Any:
    """The parameter that an input of a product is, as it is or transposed; None where it is none."""
    for _ in range(4):
        if node is None:
            return None
        if type(node).__name__ == "AccumulateGrad":
            return node.variable
        if kind(node) not in ("T", "Transpose", "Permute", "View", "ToCopy", "Expand"):
            return None
        node = node.next_functions[0][0]
    return None


def _inputs(node: Any) -> list[Any]:
    return [one for one, _ in node.next_functions if one is not None]


def activation(node: Any) -> str | None:
    """The group of an activation; None for what is none."""
    name = kind(node)
    if name == "Hardtanh":  # ReLU6 is the one from 0 on
        return "relu" if getattr(node, "_saved_min_val", None) == 0 else "tanh"
    if name == "Elu" and abs(float(getattr(node, "_saved_scale", 1) or 1) - 1.0507) < 1e-3:
        return "selu"
    return _GROUP.get(name)


class Graphs:
    """`met`: what each weight's layer meets, over the graphs that were walked."""

    def __init__(self, log: Log, names: Names) -> None:
        self.log, self.names = log, names
        self.met: dict[int, set[str]] = {}
        self._counts: dict[int, int] = {}
        self._built = self._since = 0  # optimizers that there were, and the step at which the last was there

    def install(self, steps: Steps) -> None:
        steps.backwards.append(self.look)

    def look(self, tensors: Any) -> None:
        """Before a backward from these tensors: before the first step, and before the first after an optimizer was built."""
        if self._built != self.names.built:
            self._since = self.log.step if self.names.built <= MOST_BUILT else -1
            self._built = self.names.built
            self._counts.clear()
        if self.log.step != self._since:
            return
        place = self.log.place()
        count = self._counts[place] = self._counts.get(place, 0) + 1
        if count > LOOKED:
            return
        roots = [tensor.grad_fn for tensor in tensors_in(tensors) if tensor.grad_fn is not None]
        found = follow(roots)
        for p, met in found:
            self.met.setdefault(self.names.parameters.of(p), set()).update(met)
        if found:
            met_by = {str(number): sorted(met) for number, met in self.met.items()}
            self.log.row("followed", at=None, met=met_by)["met"] = met_by


def follow(roots: list[Any]) -> list[tuple[Any, set[str]]]:
    """(weight, what its layer's output meets) of each layer in the graph below: groups of activations, "norm" where one
    stands on the way, "none" (another product, a softmax), "loss", "end", "unknown"."""
    takers: dict[Any, list[Any]] = {}
    layers: list[tuple[Any, Any]] = []
    seen = set(roots)
    stack = list(roots)
    while stack:
        node = stack.pop()
        if len(seen) > MOST:
            return []  # half a graph says nothing of who takes what
        if kind(node) in _IS_WEIGHTED:
            weights = [p for one in _inputs(node) if (p := parameter_of(one)) is not None and p.dim() > 1]
            if len(weights) == 1:
                layers.append((weights[0], node))
        for inner in _inputs(node):
            takers.setdefault(inner, []).append(node)
            if inner not in seen:
                seen.add(inner)
                stack.append(inner)
    return [(weight, set(_after(node, takers))) for weight, node in layers]


def _after(layer: Any, takers: dict[Any, list[Any]]) -> Iterator[str]:
    seen: set[Any] = set()
    stack = [layer]
    while stack:
        at = stack.pop()
        if at in seen:
            continue
        seen.add(at)
        if at not in takers:
            yield "end"
        for taker in takers.get(at, ()):
            name = kind(taker)
            group = activation(taker)
            if group is not None:
                yield group
            elif name in _IS_LOSS:
                yield "loss"
            elif name in _IS_WEIGHTED or name in _IS_LINEAR_END:
                yield "none"
            elif name in _IS_NORM:
                yield "norm"
                stack.append(taker)
            elif name in _IS_PASS or (name in ("Mul", "Div", "Neg") and len(_inputs(taker)) == 1):
                stack.append(taker)
            elif name in ("Mul", "Div") and _swish(taker):
                yield "relu"
            else:
                yield "unknown"


def _swish(product: Any) -> bool:
    """x · sigmoid(x)."""
    inputs = _inputs(product)
    return any(kind(one) == "Sigmoid" and set(_inputs(one)) & set(inputs) for one in inputs)


_TO_LOGITS = frozenset(("Softmax", "LogSoftmax", "Sigmoid", "LogSigmoid"))


def head_of(given: torch.Tensor) -> Any:
    """The bias of the layer that yields a loss's input, through changes of shape and the last softmax or sigmoid; None
    where that is no one layer with a bias."""
    node: Any = given.grad_fn
    with contextlib.suppress(Exception):
        for _ in range(12):
            name = kind(node)
            inputs = _inputs(node)
            if name in _IS_WEIGHTED:
                biases = [p for one in inputs if (p := parameter_of(one)) is not None and p.dim() == 1]
                return biases[0] if len(biases) == 1 and isinstance(biases[0], nn.Parameter) else None
            if name == "Add" and len(inputs) == 2:  # x @ W.T + b: a product of more than two dimensions
                biases = [p for one in inputs if (p := parameter_of(one)) is not None and p.dim() == 1]
                products = [one for one in inputs if _leads_to_product(one)]
                return biases[0] if len(biases) == 1 and len(products) == 1 else None
            if len(inputs) != 1 or not (name in _IS_PASS - {"Add", "Sub", "Cat", "Stack"} or name in _TO_LOGITS):
                return None
            node = inputs[0]
    return None


def _leads_to_product(node: Any) -> bool:
    for _ in range(3):
        if kind(node) in _IS_WEIGHTED:
            return True
        inputs = _inputs(node)
        if len(inputs) != 1:
            return False
        node = inputs[0]
    return False
