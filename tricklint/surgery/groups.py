"""Weight decay for matrices only."""

from __future__ import annotations

from typing import Any

from torch import nn

from tricklint.surgery.changes import SurgeryError
from tricklint.trace.kinds import parameter_kinds


def param_groups(model: nn.Module, weight_decay: float, lr: float | None = None) -> list[dict[str, Any]]:
    """Two optimizer groups: decay for matrices, none for biases, norms, scalars and other vectors.

    Every trainable parameter is in exactly one group, tied ones once, frozen ones in none; the order is that of
    `model.named_parameters()`. Embeddings and other tensors of two or more real dimensions decay; a tensor such as
    (1, C, 1, 1) is a vector and does not. A group that would be empty is left out.

    Args:
        weight_decay: the decay of the first group (what the optimizer would have got), 0 or more.
        lr: put into both groups when given, else the optimizer's own default holds.

    Returns groups for any `torch.optim` optimizer: `torch.optim.AdamW(param_groups(model, 0.05), lr=1e-3)`.

    Raises SurgeryError when nothing is trainable or a layer is lazy (its parameters do not exist yet).
    Source: He et al. 2018, "Bag of Tricks for Image Classification", section 3.1 (no bias decay).
    """
    if weight_decay < 0:
        raise SurgeryError(f"weight_decay must be 0 or more, got {weight_decay}")
    for name, parameter in model.named_parameters():
        if isinstance(parameter, nn.parameter.UninitializedParameter):
            raise SurgeryError(f"{name}: a lazy layer has no shape yet; run one forward before param_groups")
    kinds = parameter_kinds(model)
    trainable = [(name, p) for name, p in model.named_parameters() if p.requires_grad]
    if not trainable:
        raise SurgeryError("no parameter of the model is trainable, so there is nothing to group")
    decayed = [p for name, p in trainable if kinds[name] == "matrix" or (kinds[name] == "embedding" and _is_table(p))]
    chosen = {id(p) for p in decayed}
    others = [p for _, p in trainable if id(p) not in chosen]
    groups: list[dict[str, Any]] = []
    for members, decay in ((decayed, weight_decay), (others, 0.0)):
        if members:
            group: dict[str, Any] = {"params": members, "weight_decay": decay}
            if lr is not None:
                group["lr"] = lr
            groups.append(group)
    return groups


def _is_table(parameter: nn.Parameter) -> bool:
    return sum(size > 1 for size in parameter.shape) >= 2
