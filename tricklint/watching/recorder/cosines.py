"""Whether logits are products of L2-normalised features, and the scale on them: read off autograd's own graph."""

from __future__ import annotations

from typing import Any

import torch

_THROUGH = (
    "TBackward", "TransposeBackward", "PermuteBackward", "ViewBackward", "UnsafeViewBackward", "ReshapeAliasBackward",
    "ToCopyBackward", "CloneBackward", "UnsqueezeBackward", "SqueezeBackward", "AliasBackward",
)  # fmt: skip
_PRODUCTS = ("MmBackward", "BmmBackward", "AddmmBackward", "MvBackward")
_NORMS = ("LinalgVectorNormBackward", "NormBackward")


def product(logits: torch.Tensor) -> dict[str, Any] | None:
    """{"scale": number or None where it is learnt, "features", "weights": whether each is normalised} of the last
    product before the logits; None where there is none that can be told."""
    node: Any = logits.grad_fn
    scale: float | None = 1.0
    for _ in range(12):
        if node is None:
            return None
        name = type(node).__name__
        inner = [one for one, _ in node.next_functions]
        if name.startswith(_PRODUCTS):
            sides = [one for one in inner if one is not None][-2:]
            normalised = [_normalised(one) for one in sides]
            own = [_is_parameter(one) for one in sides]
            if len(sides) != 2:
                return None
            weights = own.index(True) if any(own) else 1
            return {"scale": scale, "features": normalised[1 - weights], "weights": normalised[weights]}
        if name.startswith(("MulBackward", "DivBackward")):
            learnt = [one for one in inner if one is not None]
            if len(learnt) > 1:
                scale = None
                node = next((one for one in learnt if _leads_to(one, _PRODUCTS, 8)), None)
                continue
            other = getattr(node, "_saved_other", None)
            if scale is not None:
                if other is None or other.numel() != 1:
                    return None
                scale = scale * other.item() if name.startswith("Mul") else scale / other.item()
            node = learnt[0] if learnt else None
        elif name.startswith(_THROUGH):
            node = inner[0]
        else:
            return None
    return None


def _leads_to(node: Any, names: tuple[str, ...], most: int) -> bool:
    """Whether one of these operations stands within so many steps, along the first input that has a graph."""
    for _ in range(most):
        if node is None:
            return False
        if type(node).__name__.startswith(names):
            return True
        node = next((one for one, _ in node.next_functions if one is not None), None)
    return False


def _walk(node: Any) -> Any:
    """Through views, to what was computed."""
    for _ in range(8):
        if node is None or not type(node).__name__.startswith(_THROUGH):
            return node
        node = node.next_functions[0][0]
    return node


def _normalised(node: Any) -> bool:
    """x / ‖x‖: a division whose divisor is a norm."""
    node = _walk(node)
    if node is None or not type(node).__name__.startswith("DivBackward") or len(node.next_functions) < 2:
        return False
    return _leads_to(node.next_functions[1][0], _NORMS, 6)


def _is_parameter(node: Any) -> bool:
    """Whether a side comes straight from a leaf, normalised or not."""
    node = _walk(node)
    if node is not None and type(node).__name__.startswith("DivBackward"):
        node = _walk(node.next_functions[0][0])
    return type(node).__name__ == "AccumulateGrad"
