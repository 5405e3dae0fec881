"""How rare the positives are that a loss is given, and whose bias starts its logits."""

from __future__ import annotations

from typing import Any

import torch

from tricklint.watching.recorder.graphs import head_of
from tricklint.watching.recorder.names import Names, alive

MOST_CLASSES = 1000
_BINARY = ("binary_cross_entropy", "binary_cross_entropy_with_logits")


def head(names: Names, given: torch.Tensor) -> dict[str, Any] | None:
    """The bias that yields a loss's input, and the place where its layer is made."""
    bias = head_of(given)
    if bias is None:
        return None
    module = next((m for m in alive() if any(p is bias for p in m._parameters.values())), None)
    made = names.made(module) if module is not None else None
    return {"bias": names.parameters.of(bias), "made": made}


def counts(name: str, given: torch.Tensor, args: tuple[Any, ...], kwargs: dict[str, Any]) -> dict[str, Any] | None:
    """{"seen": how many of each class, "weighed": the same as the loss weighs them}; of binary targets negatives and
    positives. None where the targets do not say."""
    target = args[1] if len(args) > 1 else kwargs.get("target")
    weight = args[2] if len(args) > 2 else kwargs.get("weight")
    if not isinstance(target, torch.Tensor):
        return None
    target = target.detach()
    if name in _BINARY:
        return _binary(target, kwargs.get("pos_weight"))
    classes = given.shape[1] if given.dim() > 1 else 0
    if not 2 <= classes <= MOST_CLASSES:
        return None
    if target.is_floating_point():
        seen = target.double().movedim(1, -1).reshape(-1, classes).sum(0)
    else:
        ignored = kwargs.get("ignore_index", -100)
        labels = target.reshape(-1)
        labels = labels[(labels != ignored) & (labels >= 0) & (labels < classes)]
        seen = torch.zeros(classes, dtype=torch.float64, device=labels.device)
        seen.scatter_add_(0, labels.long(), torch.ones(labels.shape, dtype=torch.float64, device=labels.device))
    weighed = seen * weight.detach().double() if isinstance(weight, torch.Tensor) else seen
    return {"seen": seen.tolist(), "weighed": weighed.tolist()}


def _binary(target: torch.Tensor, pos_weight: Any) -> dict[str, Any]:
    target = target.double()
    negatives, positives = (1 - target).sum().item(), target.sum().item()
    weighed = (target * pos_weight.detach()).sum().item() if isinstance(pos_weight, torch.Tensor) else positives
    return {"seen": [negatives, positives], "weighed": [negatives, weighed]}
