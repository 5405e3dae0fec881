"""What each parameter is: a matrix, a bias, part of a norm, an embedding, or a scalar."""

from __future__ import annotations

from torch import nn

_TABLES = (nn.Embedding, nn.EmbeddingBag)
_NORMS = (
    nn.modules.batchnorm._NormBase,
    nn.LayerNorm,
    nn.GroupNorm,
    nn.LocalResponseNorm,
)
# Bare parameters that are added to (or stand beside) the tokens: positions, class tokens, mask tokens, bias tables.
_TABLE_WORDS = ("pos_emb", "position", "posit", "_token", "token_", "embed", "query_tokens", "prompt", "_table")
_NORM_WORDS = ("norm", "gdn")


def is_norm(module: nn.Module) -> bool:
    """A normalisation layer: one of PyTorch's, or a class of that name (LayerNorm2d, T5's RMSNorm, FrozenBatchNorm)."""
    if isinstance(module, _NORMS):
        return True
    name = type(module).__name__.lower()
    return any(word in name for word in _NORM_WORDS) and not any(True for _ in module.children())


def kind_of(owner: nn.Module, name: str, shape: tuple[int, ...]) -> str:
    """The kind of the parameter `name` (without its path) that `owner` holds directly.

    - matrix: weights that multiply (Linear, Conv*, recurrent, attention, bare parameters of two real dimensions);
    - bias: added vectors, by name or as the vector of such a layer;
    - norm: everything a normalisation layer holds;
    - embedding: nn.Embedding tables, positions, class tokens, relative-position tables;
    - scalar: one number, or a per-channel factor (LayerScale, PReLU's slopes, temperatures).
    """
    size = 1
    for side in shape:
        size *= side
    real = sum(side > 1 for side in shape)
    if isinstance(owner, _TABLES):
        return "embedding"
    if is_norm(owner):
        return "norm"
    low = name.lower()
    plain = low.split("original")[0].rstrip("01")  # parametrizations hold `original0`
    if low == "bias" or low.startswith("bias_") or (low.endswith("_bias") and real <= 1):
        return "bias"
    if isinstance(owner, nn.Linear | nn.Bilinear | nn.modules.conv._ConvNd) and len(shape) >= 2:
        return "matrix"
    if any(word in plain for word in _TABLE_WORDS) and len(shape) >= 2:
        return "embedding"
    if real >= 2:
        return "matrix"
    if size == 1 or isinstance(owner, nn.PReLU):
        return "scalar"
    if low.endswith("weight") and len(shape) >= 2:
        return "matrix"
    if low in ("beta", "b") or "bias" in low or "shift" in low:
        return "bias"
    return "scalar"


def parameter_kinds(model: nn.Module) -> dict[str, str]:
    """Full parameter name → kind, for every name `model.named_parameters()` gives.

    A tied parameter takes the kind of the first module that holds it, but a matrix tied to an embedding table is an
    embedding.
    """
    kinds: dict[str, str] = {}
    first: dict[int, str] = {}
    for path, module in model.named_modules():
        owner, prefix = module, path
        for name, parameter in module.named_parameters(recurse=False, remove_duplicate=False):
            full = f"{prefix}.{name}" if prefix else name
            if type(owner).__name__ == "ParametrizationList":
                name = prefix.rsplit(".", 1)[-1]
            shape = tuple(parameter.shape) if not isinstance(parameter, nn.UninitializedParameter) else ()
            kind = kind_of(owner, name, shape)
            if id(parameter) in first:
                if kind == "embedding":
                    kinds[first[id(parameter)]] = kind
                continue
            first[id(parameter)] = full
            kinds[full] = kind
    return kinds
