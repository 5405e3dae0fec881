"""The last layer: a bias that starts at the prior, features of one length."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING

import torch
from torch import nn
from torch.nn import functional

from tricklint.surgery.changes import Change, Changes, SurgeryError
from tricklint.surgery.find import the_head
from tricklint.trace.formulas import alpha_low, sigmoid_prior_bias, softmax_prior_bias

if TYPE_CHECKING:
    from tricklint.trace.live import Example

_CONVOLUTIONS = (nn.Conv1d, nn.Conv2d, nn.Conv3d)


def _get(model: nn.Module, head: str | nn.Module | None, example: Example, operation: str) -> tuple[str, nn.Module]:
    if isinstance(head, nn.Module):
        for path, module in model.named_modules():
            if module is head:
                return path, module
        raise SurgeryError(f"{operation}: this head is no part of the model")
    path = the_head(model, example, operation) if head is None else head
    modules = dict(model.named_modules())
    if path not in modules:
        raise SurgeryError(f"{operation}: the model has no module {path!r}")
    return path, modules[path]


def prior_bias(
    model: nn.Module,
    prior: float | Sequence[float] = 0.01,
    activation: str = "sigmoid",
    head: str | nn.Module | None = None,
    example: Example = None,
) -> Changes:
    """Start the head's bias at the log prior, in place, so that the first predictions are the class frequencies.

    Args:
        prior: with `activation="sigmoid"` π, the share of positives (default 0.01), or one π an output; with
            `"softmax"` the count (or frequency) of each class.
        activation: what the loss applies to the logits. "sigmoid": b = −log((1 − π)/π) (Lin et al. 2017, section
            4.1; π = 0.01 gives −4.595). "softmax": b_c = log(n_c / Σn).
        head: the layer's name or the module; when None it is found in the traced graph.

    A convolutional head with A·C outputs takes a prior of C values A times (anchors first, as in RetinaNet).
    Raises SurgeryError when there is no single head, the head has no bias, or the sizes do not match.
    """
    if activation not in ("sigmoid", "softmax"):
        raise SurgeryError(f'prior_bias: activation is "sigmoid" or "softmax", not {activation!r}')
    path, module = _get(model, head, example, "prior_bias")
    bias = getattr(module, "bias", None)
    if not isinstance(module, (nn.Linear, *_CONVOLUTIONS)):
        raise SurgeryError(f"prior_bias: {path} is a {type(module).__name__}, not a Linear or Conv layer")
    if not isinstance(bias, torch.Tensor):
        raise SurgeryError(f"prior_bias: {path} has no bias (bias=False); adding one would change the state_dict")
    many = not isinstance(prior, (int, float))
    values = [float(value) for value in prior] if many else [float(prior)]  # type: ignore[union-attr,arg-type]
    try:
        if activation == "sigmoid":
            biases = [sigmoid_prior_bias(value) for value in values]
        elif many:
            biases = softmax_prior_bias(values)
        else:
            raise SurgeryError("prior_bias: softmax needs the count of each class, not one number")
    except ValueError as error:
        raise SurgeryError(f"prior_bias: {error}") from error
    outputs = bias.shape[0]
    if len(biases) == 1:
        biases = biases * outputs
    elif isinstance(module, _CONVOLUTIONS) and outputs % len(biases) == 0:
        biases = biases * (outputs // len(biases))
    if len(biases) != outputs:
        raise SurgeryError(f"prior_bias: {path} has {outputs} outputs, {len(biases)} priors were given")
    with torch.no_grad():
        bias.copy_(torch.tensor(biases, dtype=torch.float64).to(bias))
    low, high = min(biases), max(biases)
    span = f"{low:.3f}" if math.isclose(low, high) else f"{low:.3f} … {high:.3f}"
    return Changes("prior_bias", [Change(f"{path}.bias" if path else "bias", f"log prior, {span}")])


class NormalizedLinear(nn.Linear):
    """A Linear layer over features of one length: y = W (s · x/‖x‖₂) + b.

    x: (…, in_features), any number of leading dimensions; y: (…, out_features). `scale` s is a buffer, or a
    parameter when learnable. With `normalize_weight` the rows of W are divided by their length too, so that
    y = s · cos(x, w) + b. `weight` and `bias` keep the names and shapes they have in nn.Linear.
    Source: Ranjan et al. 2017, "L2-constrained Softmax Loss for Discriminative Face Verification".
    """

    scale: torch.Tensor
    normalize_weight: bool

    def forward(self, input: torch.Tensor) -> torch.Tensor:
        features = functional.normalize(input, dim=-1) * self.scale.to(input.dtype)
        weight = functional.normalize(self.weight, dim=-1) if self.normalize_weight else self.weight
        return functional.linear(features, weight, self.bias)

    def extra_repr(self) -> str:
        return f"{super().extra_repr()}, normalize_weight={self.normalize_weight}"


def normalize_head(
    model: nn.Module,
    classes: int | None = None,
    p: float = 0.9,
    scale: float | None = None,
    normalize_weight: bool = False,
    learnable: bool = False,
    head: str | nn.Module | None = None,
    example: Example = None,
) -> Changes:
    """Feed the head features of one length: L2-normalise, then multiply by a scale s ≥ α_low.

    The head (a plain nn.Linear) becomes a `NormalizedLinear` with the very same weight and bias parameters, hooks,
    device and mode, so an optimizer built before still holds them. `<head>.scale` is new in the state_dict.

    Args:
        classes: C; the head's out_features when None.
        p: the probability the softmax shall be able to reach, α_low = log(p (C − 2) / (1 − p)).
        scale: s; α_low when None. Must be at least α_low.
        normalize_weight: divide the class weights by their length too (cosine logits, as in CosFace).
        learnable: make s a parameter (hand it to the optimizer yourself).

    Raises SurgeryError when there is no single head, it is no plain nn.Linear, has tied or parametrised weights, or
    `scale` < α_low.
    """
    path, old = _get(model, head, example, "normalize_head")
    if type(old) is not nn.Linear:
        raise SurgeryError(f"normalize_head: {path or 'the model'} is a {type(old).__name__}, not a plain nn.Linear")
    if not path:
        raise SurgeryError("normalize_head: the model itself is the head, there is nothing to put the new one in")
    holders = [name for name, parameter in model.named_parameters(remove_duplicate=False) if parameter is old.weight]
    if len(holders) > 1:
        raise SurgeryError(
            f"normalize_head: {path}.weight is tied to {', '.join(n for n in holders if n != path + '.weight')}"
        )
    count = old.out_features if classes is None else classes
    try:
        least = alpha_low(count, p)
    except ValueError as error:
        raise SurgeryError(f"normalize_head: {error}") from error
    chosen = least if scale is None else float(scale)
    if chosen < least:
        raise SurgeryError(f"normalize_head: scale {chosen:g} is below α_low = {least:.3f} (C = {count}, p = {p:g})")
    new = NormalizedLinear.__new__(NormalizedLinear)
    new.__dict__ = dict(old.__dict__)
    for registry in ("_parameters", "_buffers", "_modules"):
        new.__dict__[registry] = dict(old.__dict__[registry])
    value = torch.tensor(chosen, dtype=torch.float32, device=old.weight.device)
    if learnable:
        new.register_parameter("scale", nn.Parameter(value.to(old.weight.dtype)))
    else:
        new.register_buffer("scale", value)
    new.normalize_weight = normalize_weight
    for where, module in list(model.named_modules(remove_duplicate=False)):
        if module is old:
            above, _, leaf = where.rpartition(".")
            setattr(model.get_submodule(above), leaf, new) if not leaf.isdigit() else model.get_submodule(
                above
            )._modules.__setitem__(leaf, new)
    what = "features L2-normalised" + (", class weights too" if normalize_weight else "")
    return Changes(
        "normalize_head", [Change(path, f"{what}, scale {chosen:.3f} ≥ α_low {least:.3f} (C = {count}, p = {p:g})")]
    )
