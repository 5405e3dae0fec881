"""Weights initialised for the activation that really follows each layer."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch import nn
from torch.nn.utils import parametrize

from tricklint.surgery.changes import Change, Changes, SurgeryError
from tricklint.trace.formulas import RELU_FAMILY
from tricklint.trace.formulas import gain as gain_of

if TYPE_CHECKING:
    from tricklint.trace.live import Example

_CONVOLUTIONS = (nn.Conv1d, nn.Conv2d, nn.Conv3d)
_TRANSPOSED = (nn.ConvTranspose1d, nn.ConvTranspose2d, nn.ConvTranspose3d)
LAYERS = (nn.Linear, nn.Bilinear, *_CONVOLUTIONS, *_TRANSPOSED)
_NORM_HOOKS = ("weight_g", "weight_orig")  # what the old weight_norm and spectral_norm leave on a module


def init_weights(
    model: nn.Module,
    gain_from_graph: bool = True,
    example: Example = None,
    generator: torch.Generator | None = None,
) -> Changes:
    """Initialise every Linear, Conv*, ConvTranspose* and Bilinear layer of `model`, in place.

    Where a ReLU-like activation follows (walking through norms, dropout, pooling and residual adds in the traced
    graph): Kaiming normal over fan_in, W ~ N(0, gain²/fan_in), gain √2 (He et al. 2015). Elsewhere Xavier uniform,
    W ~ U(±gain·√(6/(fan_in + fan_out))), gain 5/3 before tanh, else 1 (Glorot & Bengio 2010). Biases become zero.

    Left alone, and listed in `Changes.left`: norms, embeddings, recurrent and bare parameters; weights tied to an
    embedding; frozen weights; weights that are all zero on purpose (adaLN-Zero, zero-initialised residuals).

    Args:
        gain_from_graph: with False no trace is made, and every layer gets the gain of a ReLU.
        example: inputs of the forward (a tensor, a tuple or a dict), where they cannot be guessed from the first
            layer. Only its shapes and dtypes are used.
        generator: where the random numbers come from; PyTorch's default generator when None.

    Raises SurgeryError for lazy (uninitialised) or quantised layers, and for weight_norm/spectral_norm of the old
    style, whose weight is recomputed from other tensors.
    """
    layers = [(name, module) for name, module in model.named_modules() if isinstance(module, LAYERS)]
    for name, module in layers:
        _refuse_strange(name, module)
    follows: dict[str, str] = {}
    if gain_from_graph and layers:
        from tricklint.trace.live import outline

        follows = outline(model, example).activation_after
    elsewhere = _owned_elsewhere(model)
    entries: list[Change] = []
    done: set[int] = set()
    with torch.no_grad():
        for name, module in layers:
            weight_name = f"{name}.weight" if name else "weight"
            weight = module.weight
            if parametrize.is_parametrized(module, "weight"):
                key = id(module.parametrizations.weight)  # type: ignore[union-attr,unused-ignore]
            else:
                key = id(weight)
            if key in done:
                entries.append(Change(weight_name, "tied to a layer that was just initialised", left=True))
                continue
            done.add(key)
            if id(weight) in elsewhere:
                entries.append(Change(weight_name, f"tied to {elsewhere[id(weight)]}", left=True))
                continue
            if not _trains(module):
                entries.append(Change(weight_name, "frozen", left=True))
                continue
            if not weight.is_meta and not bool(weight.any()):
                entries.append(Change(weight_name, "all zero on purpose", left=True))
                continue
            activation = follows.get(name, "none") if gain_from_graph else "relu"
            entries.append(Change(weight_name, _fill(module, activation, generator)))
            if module.bias is not None and module.bias.requires_grad and id(module.bias) not in done:
                done.add(id(module.bias))
                module.bias.zero_()
                entries.append(Change(f"{name}.bias" if name else "bias", "zero"))
    return Changes("init_weights", entries)


def _refuse_strange(name: str, module: nn.Module) -> None:
    if any(isinstance(p, nn.parameter.UninitializedParameter) for p in module.parameters(recurse=False)):
        raise SurgeryError(f"{name}: a lazy layer has no shape yet; run one forward before init_weights")
    for left_over in _NORM_HOOKS:
        if hasattr(module, left_over):
            raise SurgeryError(
                f"{name}: its weight is recomputed from {left_over} (old-style weight_norm or spectral_norm); "
                "initialise before that is applied, or use torch.nn.utils.parametrizations"
            )
    weight = module.weight
    if not isinstance(weight, torch.Tensor) or not weight.is_floating_point():
        raise SurgeryError(f"{name}: its weight is no floating-point tensor (a quantised layer?)")


def _owned_elsewhere(model: nn.Module) -> dict[int, str]:
    """id of a parameter → the name under which something that is no Linear/Conv layer holds it."""
    owners: dict[int, str] = {}
    for path, module in model.named_modules():
        if not isinstance(module, LAYERS):
            for name, parameter in module.named_parameters(recurse=False, remove_duplicate=False):
                owners.setdefault(id(parameter), f"{path}.{name}" if path else name)
    return owners


def _trains(module: nn.Module) -> bool:
    """Whether the weight is trainable; of a parametrised one, what it is computed from."""
    if parametrize.is_parametrized(module, "weight"):
        return any(p.requires_grad for p in module.parametrizations.weight.parameters())  # type: ignore[union-attr]
    return bool(module.weight.requires_grad)  # type: ignore[union-attr,unused-ignore]


def _fill(module: nn.Module, activation: str, generator: torch.Generator | None) -> str:
    weight = module.weight
    assert isinstance(weight, torch.Tensor)
    target = torch.empty_like(weight) if parametrize.is_parametrized(module, "weight") else weight
    factor = gain_of(activation)
    if activation in RELU_FAMILY:
        # A transposed convolution stores (in, out/groups, …), so what PyTorch calls fan_out is its fan_in.
        fan_in, fan_out = nn.init._calculate_fan_in_and_fan_out(target)
        fan = fan_out if isinstance(module, _TRANSPOSED) else fan_in
        target.normal_(0.0, factor / max(1.0, float(fan)) ** 0.5, generator=generator)
        did = (
            f"Kaiming normal, std {factor / max(1.0, float(fan)) ** 0.5:.3g} (gain {factor:.3g}: {activation} follows)"
        )
    else:
        fan_in, fan_out = nn.init._calculate_fan_in_and_fan_out(target)
        bound = factor * (6.0 / float(fan_in + fan_out)) ** 0.5
        target.uniform_(-bound, bound, generator=generator)
        what = "no activation follows" if activation == "none" else f"{activation} follows"
        did = f"Xavier uniform, ±{bound:.3g} (gain {factor:.3g}: {what})"
    if target is not weight:
        module.weight = target
        did += ", through its parametrization"
    return did
