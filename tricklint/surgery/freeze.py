"""Freeze a backbone, thaw it later at a lower learning rate, keep frozen norms still."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

import torch
from torch import nn

from tricklint.surgery.changes import Change, Changes, SurgeryError
from tricklint.surgery.find import the_head

if TYPE_CHECKING:
    from tricklint.trace.live import Example

PINNED = "_tricklint_pinned_eval"


def freeze_backbone(
    model: nn.Module, head: str | nn.Module | Iterable[str] | None = None, example: Example = None
) -> Changes:
    """Set requires_grad = False on every parameter that is not the head's, in place.

    Args:
        head: the module(s) that stay trainable: a name (`"fc"`), names, or the module. When None, the head is found
            in the traced graph: the last layer with parameters before the output, with no residual add behind it.
        example: inputs of the forward, where they cannot be guessed from the first layer.

    Build the optimizer after this, over what still is trainable, and see `freeze_norms`: BatchNorm statistics of a
    frozen backbone go on drifting in train mode.

    Raises SurgeryError when no head (or more than one candidate) is found, when `head` names no module, or when a head
    parameter is tied to the backbone, so that it cannot be frozen and trained at once.
    Source: Kumar et al. 2022 (LP-FT): probing first, then fine-tuning, beats either alone.
    """
    names = [head] if isinstance(head, str) else None
    if isinstance(head, nn.Module):
        names = [path for path, module in model.named_modules() if module is head]
        if not names:
            raise SurgeryError("head: this module is no part of the model")
    elif head is not None and names is None:
        names = list(head)  # type: ignore[arg-type,unused-ignore]
    if names is None:
        names = [the_head(model, example, "freeze_backbone")]
    modules = dict(model.named_modules())
    for name in names:
        if name not in modules:
            raise SurgeryError(f"head: the model has no module {name!r}")
    kept = {id(p) for name in names for p in modules[name].parameters()}
    if not kept:
        raise SurgeryError(f"head: {', '.join(names)} has no parameters, so nothing would be left to train")
    inside = tuple(f"{name}." for name in names)
    for name, parameter in model.named_parameters(remove_duplicate=False):
        if id(parameter) in kept and not name.startswith(inside):
            raise SurgeryError(
                f"{name} is tied to the head ({', '.join(names)}): it cannot be frozen and trained at once"
            )
    entries = []
    for name, parameter in model.named_parameters():
        if id(parameter) in kept:
            entries.append(Change(name, "the head, trainable" if parameter.requires_grad else "the head", left=True))
        elif parameter.requires_grad:
            parameter.requires_grad_(False)
            parameter.grad = None
            entries.append(Change(name, "frozen"))
    return Changes("freeze_backbone", entries)


def unfreeze(model: nn.Module, optimizer: torch.optim.Optimizer, lr: float) -> Changes:
    """Make every frozen parameter trainable again and give it to `optimizer` at the learning rate `lr`.

    Frozen parameters the optimizer does not hold are added as new groups; those it already holds are moved out of
    their group into one with `lr`, keeping their state. Where the optimizer treats biases and norms without decay,
    the new groups do so too. A norm that `freeze_norms` pinned is released.

    Args:
        lr: the thawed layers' learning rate; must be below the highest one now in `optimizer` (step 4 of the
            transfer-learning trick: fine-tune with a smaller rate).

    Raises SurgeryError when nothing is frozen, or `lr` is not positive and lower. A scheduler built before keeps to
    its own groups; build it anew to let it move the new ones.
    """
    frozen = [(name, p) for name, p in model.named_parameters() if not p.requires_grad]
    if not frozen:
        raise SurgeryError("nothing in the model is frozen")
    rates = [float(group["lr"]) for group in optimizer.param_groups]
    if not 0 < lr < max(rates):
        raise SurgeryError(f"lr must be positive and below the optimizer's {max(rates):g}, got {lr:g}")
    from tricklint.trace.kinds import parameter_kinds

    kinds = parameter_kinds(model)
    decays = {float(group.get("weight_decay", 0.0)) for group in optimizer.param_groups}
    splits = 0.0 in decays and len(decays) > 1
    groups: dict[float, list[nn.Parameter]] = {}
    entries: list[Change] = []
    for name, parameter in frozen:
        parameter.requires_grad_(True)
        home = next((g for g in optimizer.param_groups if any(p is parameter for p in g["params"])), None)
        if home is not None:
            decay = float(home.get("weight_decay", 0.0))
            home["params"] = [p for p in home["params"] if p is not parameter]
        else:
            decay = max(decays) if not splits or kinds.get(name) in ("matrix", "embedding") else 0.0
        groups.setdefault(decay, []).append(parameter)
        entries.append(Change(name, f"trainable, lr {lr:g}, weight decay {decay:g}"))
    for decay, members in groups.items():
        group: dict[str, Any] = {"params": members, "lr": lr, "initial_lr": lr}
        if "weight_decay" in optimizer.defaults:
            group["weight_decay"] = decay
        optimizer.add_param_group(group)
    optimizer.param_groups[:] = [group for group in optimizer.param_groups if group["params"]]
    for path, module in model.named_modules():
        pin = module.__dict__.pop(PINNED, None)
        if pin is not None:
            pin.remove()
            module.train(model.training)
            entries.append(Change(path, "its running statistics move again in train mode"))
    return Changes("unfreeze", entries)


def _stay_in_eval(module: nn.Module, args: Any) -> None:
    module.training = False


def freeze_norms(model: nn.Module, frozen_only: bool = True) -> Changes:
    """Keep BatchNorm layers (whatever holds running statistics) in eval mode, also after `model.train()`.

    A forward pre-hook puts the layer back in eval mode before each forward, so its running mean and variance stay
    those of the pre-training. Keys, parameters and existing hooks are untouched.

    Args:
        frozen_only: only norms whose own weight and bias are frozen (or absent, inside a frozen parent); with False
            every norm with running statistics.
    """
    entries: list[Change] = []
    modules = dict(model.named_modules())
    for path, module in modules.items():
        if not isinstance(getattr(module, "running_mean", None), torch.Tensor):
            continue
        if PINNED in module.__dict__:
            entries.append(Change(path, "already kept in eval mode", left=True))
            continue
        own = list(module.parameters(recurse=False))
        if not own:
            parent = modules[path.rpartition(".")[0]] if path else module
            own = list(parent.parameters())
        if frozen_only and any(p.requires_grad for p in own):
            entries.append(Change(path, "trainable, so its statistics should move", left=True))
            continue
        module.eval()
        module.__dict__[PINNED] = module.register_forward_pre_hook(_stay_in_eval)
        entries.append(Change(path, "kept in eval mode: running statistics no longer move"))
    return Changes("freeze_norms", entries)
