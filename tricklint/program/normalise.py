"""The data flow from L2 normalisation to softmax: which logits are cosines, and what scale stands between.

Everything that is not known (a tensor of unknown origin as factor, an op of unknown effect) ends the search with None.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import libcst as cst

from tricklint.interpreter.modules import FileModule
from tricklint.interpreter.values import (
    Const,
    Instance,
    Sequence,
    Value,
    first,
    number,
)
from tricklint.libraries.facts import ModuleFacts
from tricklint.libraries.paramsets import ParamSet
from tricklint.libraries.tensors import Tensor

_DEPTH = 80
# What leaves the values as they are
_SAME = frozenset((
    "input", "float", "half", "double", "to", "cuda", "cpu", "view", "reshape", "squeeze", "unsqueeze", "flatten",
    "contiguous",
    "detach", "clone", "type", "type_as", "item", "index", "dropout", "identity",
))  # fmt: skip
_PASSIVE_LAYERS = ("Dropout", "Dropout1d", "Dropout2d", "Flatten", "Identity", "AlphaDropout")
_MATMUL = frozenset(("matmul", "mm", "matrixmultiply", "linear"))
_TRANSPOSED = frozenset(("t", "transpose", "permute", "mT", "T"))
_MASKS = frozenset(("zeros", "zeros_like", "one_hot", "scatter_", "scatter", "ones_like", "eye"))
_CLAMPS = frozenset(("clamp", "clip", "clamp_", "clamp_min", "add", "maximum"))
_MARGINS = frozenset(("clamp", "clip", "clamp_", "where"))

_MOST_CLASSES = 10**9


@dataclass(frozen=True)
class Cosine:
    """Logits that are products of unit features with class weights.

    scale: the constant factor between them and the softmax (1.0: none). weights: "unit" or "free".
    classes: their number, None when it is not visible. `node` is the product, `bias` whether one is added to it.
    """

    node: cst.CSTNode
    file: FileModule
    weights: str
    classes: int | None
    scale: float = 1.0
    margin: bool = False


def cosine_behind(logits: Value | None) -> Cosine | None:
    """The cosine product that `logits` are, with the constant scale on the way; None when they are anything else."""
    return _follow(logits, _DEPTH)


def _follow(value: Value | None, depth: int) -> Cosine | None:
    value = first(value)
    if not isinstance(value, Tensor) or depth <= 0:
        return None
    if value.op == "call":
        return _called(value, depth - 1)
    if value.op in _SAME or (value.op == "view" and value.inputs):
        return _follow(value.inputs[0], depth - 1) if value.inputs else None
    if value.op in _MATMUL and len(value.inputs) >= 2:
        return _product(value)
    if value.op == "cosine_similarity":
        return _similarity(value)
    if value.op == "einsum":
        return _contraction(value)
    if value.op in ("multiply", "mul", "mul_") and len(value.inputs) == 2:
        return _times(value, depth - 1)
    if value.op in ("divide", "div", "div_") and len(value.inputs) == 2:
        by = number(value.inputs[1])
        found = _follow(value.inputs[0], depth - 1)
        return replace(found, scale=found.scale / by) if found is not None and by else None
    if value.op in ("subtract", "add", "sub", "where") or value.op in _MARGINS:
        found_any = [at for each in value.inputs if (at := _follow(each, depth - 1)) is not None]
        if not found_any or any(_opaque(each) for each in value.inputs):
            return None
        return replace(max(found_any, key=lambda at: at.scale), margin=True)
    return None


def _called(value: Tensor, depth: int) -> Cosine | None:
    if value.result is not None:
        return _follow(value.result, depth)
    module = value.module
    if module is None or not value.inputs:
        return None
    if module.library == "torch.nn.Linear":
        if module.fact(ModuleFacts).reparametrised or not _unit(value.inputs[0], depth):
            return None
        out = module.passed(1, "out_features")
        if value.node is None or value.file is None:
            return None
        return Cosine(value.node, value.file, "free", _count(out))
    if module.library == "torch.nn.CosineSimilarity":
        return _similarity(value)
    if module.library.rpartition(".")[2] in _PASSIVE_LAYERS:
        return _follow(value.inputs[0], depth)
    return None


def _times(value: Tensor, depth: int) -> Cosine | None:
    for side, other in (value.inputs, reversed(value.inputs)):
        factor = number(other)
        if factor is not None:
            found = _follow(side, depth)
            return replace(found, scale=found.scale * factor) if found is not None else None
    for side, other in ((value.inputs[0], value.inputs[1]), (value.inputs[1], value.inputs[0])):
        if _mask(other):
            found = _follow(side, depth)
            if found is not None:
                return replace(found, margin=True)
    return None


def _mask(value: Value) -> bool:
    """A one-hot tensor of the labels, or one minus it: it picks logits, it does not scale them."""
    value = first(value) or value
    if not isinstance(value, Tensor):
        return False
    if value.op in _MASKS:
        return True
    if value.op in ("subtract", "to", "float", "cuda", "type_as", "bool"):
        return any(_mask(each) for each in value.inputs if isinstance(first(each), Tensor))
    return False


def _opaque(value: Value) -> bool:
    """A summand that may be anything, logits of another kind included."""
    value = first(value) or value
    if isinstance(value, Const) or number(value) is not None:
        return False
    if not isinstance(value, Tensor):
        return True
    return value.op in ("call", "unknown", "data", "parameter")


def _product(value: Tensor) -> Cosine | None:
    """`F.linear(x, W)`, `x @ W.t()`, `torch.mm(x, W)`: unit features on the left, class weights on the right."""
    features, weight = value.inputs[0], value.inputs[1]
    bias = first(value.inputs[2]) if len(value.inputs) > 2 else None
    if bias is not None and not isinstance(bias, Const):
        return None
    if value.node is None or value.file is None or not _unit(features, _DEPTH):
        return None
    unit, source, turned = _weight(weight)
    if source is None:
        return None
    position = 0 if (value.op == "linear") is not turned else -1
    classes = _classes(source, position)
    return Cosine(value.node, value.file, "unit" if unit else "free", classes)


def _similarity(value: Tensor) -> Cosine | None:
    """`F.cosine_similarity(x[:, None], W[None], dim=-1)` normalises both sides itself; one of them are class weights."""
    sources = [_weight(each)[1] for each in value.inputs[:2]]
    source = next((each for each in sources if each is not None), None)
    if source is None or all(each is not None for each in sources) or value.node is None or value.file is None:
        return None
    return Cosine(value.node, value.file, "unit", _classes(source, 0))


def _contraction(value: Tensor) -> Cosine | None:
    """`torch.einsum("bd,cd->bc", x, W)`: the one letter that goes is that of the features."""
    spec = first(value.inputs[0]) if value.inputs else None
    sides, arrow, out = (spec.value if isinstance(spec, Const) and isinstance(spec.value, str) else "").partition("->")
    letters = [side.strip() for side in sides.split(",")]
    if not arrow or len(letters) != 2 or len(value.inputs) != 3 or value.node is None or value.file is None:
        return None
    summed = set(letters[0]) & set(letters[1]) - set(out)
    for at, other in ((2, 1), (1, 2)):
        unit, source, _ = _weight(value.inputs[at])
        own = [letter for letter in letters[at - 1] if letter not in summed]
        if source is None or len(summed) != 1 or len(own) != 1 or not _unit(value.inputs[other], _DEPTH):
            continue
        position = 0 if letters[at - 1].startswith(own[0]) else -1
        return Cosine(value.node, value.file, "unit" if unit else "free", _classes(source, position))
    return None


def _weight(value: Value) -> tuple[bool, Value | None, bool]:
    """Of a product's right side: normalised?, the parameter it is made of (None: no class weights), transposed?"""
    unit = turned = False
    for _ in range(12):
        at = first(value) or value
        if isinstance(at, ParamSet):
            return unit, at, turned
        if not isinstance(at, Tensor):
            return unit, None, turned
        if at.op == "parameter":
            return unit, at, turned
        if _normalises(at):
            unit = True
        elif at.op in _TRANSPOSED or (at.op == "view" and at.attrs.get("attribute") in ("T", "mT")):
            turned = not turned
        elif at.op not in _SAME:
            return unit, None, turned
        if not at.inputs:
            return unit, None, turned
        value = at.inputs[0]
    return unit, None, turned


def _normalises(value: Tensor) -> bool:
    """L2 normalisation along the features."""
    if value.op == "normalize" and value.attrs.get("name") == "torch.nn.functional.normalize":
        p = _argument(value, "p")
        return p is None or number(p) == 2
    if value.op in ("divide", "div") and len(value.inputs) == 2:
        return _norm_of(value.inputs[1])
    return False


def _argument(value: Tensor, name: str) -> Value | None:
    """The second argument of a call on a tensor, by place or by name; None when it was not given."""
    kwargs = value.attrs.get("kwargs") or {}
    positional = value.inputs[: len(value.inputs) - len(kwargs)]
    return kwargs.get(name) or (positional[1] if len(positional) > 1 else None)


def _norm_of(value: Value) -> bool:
    at = first(value) or value
    for _ in range(6):
        if not isinstance(at, Tensor) or not at.inputs:
            return False
        if at.op in ("norm", "vector_norm"):
            order = _argument(at, "ord" if at.op == "vector_norm" else "p")
            return order is None or number(order) == 2
        if at.op not in _CLAMPS and at.op not in _SAME and at.op not in ("expand_as", "expand", "item"):
            return False
        at = first(at.inputs[0]) or at.inputs[0]
    return False


def _unit(value: Value, depth: int) -> bool:
    """The features have norm one, and nothing rescales them on the way."""
    at = first(value) or value
    for _ in range(max(depth, 0)):
        if isinstance(at, Sequence):
            return False
        if not isinstance(at, Tensor):
            return False
        if _normalises(at):
            return True
        if at.op == "call":
            if at.result is not None:
                at = first(at.result) or at.result
                continue
            tail = at.module.library.rpartition(".")[2] if at.module is not None else ""
            if tail not in _PASSIVE_LAYERS or not at.inputs:
                return False
        elif at.op not in _SAME or not at.inputs:
            return False
        at = first(at.inputs[0]) or at.inputs[0]
    return False


def _classes(source: Value, position: int) -> int | None:
    """The number of classes a weight stands for: one side of its shape."""
    if isinstance(source, ParamSet):
        module = first(source.root)
        if isinstance(module, Instance) and module.library == "torch.nn.Linear":
            return _count(module.passed(1, "out_features"))
        if isinstance(module, Instance) and module.library == "torch.nn.Embedding":
            return _count(module.passed(0, "num_embeddings"))
        return None
    at: Value | None = source
    for _ in range(8):
        if not isinstance(at, Tensor) or not at.inputs:
            return None
        sizes = [number(each) for each in at.inputs]
        if at.op in ("randn", "rand", "zeros", "ones", "empty", "Tensor", "FloatTensor") and len(sizes) >= 2:
            found = sizes[position] if len(sizes) == 2 else None
            return _whole(found)
        at = first(at.inputs[0])
    return None


def _count(value: Value | None) -> int | None:
    return _whole(number(value))


def _whole(found: float | None) -> int | None:
    """A number of things; None for what cannot be one (none at all, −1, infinity)."""
    return int(found) if found is not None and 1 <= found <= _MOST_CLASSES else None
