"""A traced model → ModelFacts."""

from __future__ import annotations

import inspect
import math
from collections.abc import Callable

import torch
from torch import nn

from tricklint.trace import formulas
from tricklint.trace.analysis import products
from tricklint.trace.facts import (
    GroupFact,
    HeadFact,
    InputFact,
    LayerFact,
    ModelFacts,
    ModuleFact,
    NormFact,
    OptimizerFact,
    ParameterFact,
    ProductFact,
    Site,
    Unregistered,
)
from tricklint.trace.initwatch import Drawn
from tricklint.trace.kinds import is_norm, parameter_kinds
from tricklint.trace.ladder import Inputs
from tricklint.trace.ops import Outline
from tricklint.trace.recorder import named_tensors
from tricklint.trace.wrapped import plain

Source = Callable[[type], Site | None]
PINNED = "_tricklint_pinned_eval"


def site_of(kind: type) -> Site | None:
    """Where a class is defined, for classes outside site-packages and the standard library."""
    try:
        file = inspect.getsourcefile(kind)
        if file is None or "site-packages" in file or "dist-packages" in file:
            return None
        lines, row = inspect.getsourcelines(kind)
    except (TypeError, OSError):
        return None
    return Site(file, row, row + len(lines) - 1, kind.__qualname__)


def extract(
    model: nn.Module,
    outline: Outline,
    target: str,
    *,
    reached: set[str] | None = None,
    drawn: Callable[[torch.Tensor], Drawn | None] | None = None,
    shapes: dict[str, tuple[int, ...]] | None = None,
    inputs: Inputs | None = None,
    optimizer: torch.optim.Optimizer | None = None,
    source: Source = site_of,
    live: nn.Module | None = None,
) -> ModelFacts:
    """All facts but memory and signal.

    `reached` holds the parameters the autograd graph reaches (then it decides `used`, else the traced graph does);
    `drawn` knows how parameters were initialised; `live` is the real model `model` is the meta twin of.
    """
    real = live if live is not None else model
    drawn = drawn or measured
    facts = ModelFacts(target, type(model).__qualname__, outline.rung, torch=torch.__version__)
    facts.tried, facts.opaque_share = outline.tried, outline.opaque_share
    facts.head_reason, facts.output_activation = outline.reason, outline.output_activation
    _modules(model, outline, facts, source, shapes or {})
    _parameters(real, outline, facts, reached, drawn)
    _layers(real, outline, facts, drawn)
    _heads(real, outline, facts, drawn)
    shapes_of = {name: tuple(p.shape) for name, p in real.named_parameters(remove_duplicate=False)}
    for product in products(outline.ops):
        classes = product.classes or next(
            (shapes_of[w][0] for w in product.weights if len(shapes_of.get(w, ())) == 2), None
        )
        facts.products.append(
            ProductFact(product.module, classes, product.weights_normalised, product.scale, product.learnable)
        )
    _norms(real, facts)
    _unregistered(model, facts, source)
    if inputs is not None:
        facts.inputs = _inputs(inputs)
    if optimizer is not None:
        facts.optimizer = optimizer_facts(real, optimizer, facts)
    return facts


def _inputs(inputs: Inputs) -> list[InputFact]:
    named = [(f"input {index}", value) for index, value in enumerate(inputs.args)] + list(inputs.kwargs.items())
    return [
        InputFact(name, tuple(tensor.shape), str(tensor.dtype).removeprefix("torch."), inputs.source)
        for name, value in named
        for _, tensor in named_tensors(value)
    ]


def _modules(
    model: nn.Module, outline: Outline, facts: ModelFacts, source: Source, shapes: dict[str, tuple[int, ...]]
) -> None:
    known: dict[type, str] = {}
    for path, module in model.named_modules():
        kind = type(module)
        if kind not in known:
            site = None if kind.__module__.startswith("torch.") else source(kind)
            known[kind] = kind.__qualname__ if site else ""
            if site:
                facts.sites[kind.__qualname__] = site
        count = sum(p.numel() for p in module.parameters(recurse=False))
        shape = shapes.get(path, ())
        facts.modules.append(ModuleFact(path, kind.__name__, count, known[kind], shape, outline.calls.get(path, 0)))
    facts.site = facts.sites.get(known[type(model)]) if known[type(model)] else None


def measured(parameter: torch.Tensor) -> Drawn | None:
    """The distribution of a real tensor, from its values; None for tensors without any."""
    if parameter.is_meta or plain(parameter).numel() == 0 or not parameter.is_floating_point():
        return None
    with torch.no_grad():
        values = plain(parameter).float()
        low, high = values.min().item(), values.max().item()
        if low == high:
            return Drawn(0.0, low)
        return Drawn(values.std(unbiased=False).item())


def _parameters(
    model: nn.Module,
    outline: Outline,
    facts: ModelFacts,
    reached: set[str] | None,
    drawn: Callable[[torch.Tensor], Drawn | None],
) -> None:
    kinds = parameter_kinds(model)
    names: dict[int, list[str]] = {}
    for name, parameter in model.named_parameters(remove_duplicate=False):
        names.setdefault(id(parameter), []).append(name)
    traced = reached if reached is not None else outline.reached if outline.ops and outline.rung != "tree" else None
    opaque = outline.opaque_share > 0
    for name, parameter in model.named_parameters():
        known = drawn(parameter)
        aliases = names[id(parameter)]
        used: bool | None = None
        if traced is not None:
            used = any(alias in traced for alias in aliases)
            if not used and ((opaque and reached is None) or (not parameter.requires_grad and reached is not None)):
                used = None
        facts.parameters.append(
            ParameterFact(
                name,
                tuple(parameter.shape),
                str(parameter.dtype).removeprefix("torch."),
                kinds[name],
                frozen=not parameter.requires_grad,
                tied_to=tuple(alias for alias in aliases if alias != name),
                used=used,
                std=_round(known.std) if known else None,
                constant=_round(known.constant) if known else None,
            )
        )


def _round(value: float | None) -> float | None:
    return None if value is None or not math.isfinite(value) else float(f"{value:.6g}")


def _layers(
    model: nn.Module, outline: Outline, facts: ModelFacts, drawn: Callable[[torch.Tensor], Drawn | None]
) -> None:
    modules = dict(model.named_modules())
    parameters = dict(model.named_parameters(remove_duplicate=False))
    kinds = {op.module if op.leaf else "": op.kind for op in outline.ops}
    for path in outline.order:
        module = modules.get(path)
        weight = getattr(module, "weight", None) if module is not None else parameters.get(path)
        if not isinstance(weight, torch.Tensor) or weight.dim() < 2:
            continue
        fan_in, fan_out = fans(module, weight)
        activation = outline.activation_after[path]
        known = drawn(weight)
        std = known.std if known else None
        bias = getattr(module, "bias", None) if module is not None else None
        layer = LayerFact(
            path,
            type(module).__name__ if module is not None else "Parameter",
            kinds.get(path, "linear"),
            f"{path}.weight" if module is not None and path else path or "weight",
            (f"{path}.bias" if path else "bias") if isinstance(bias, torch.Tensor) else "",
            fan_in,
            fan_out,
            activation,
            outline.norm_after[path],
            outline.skip_after[path],
            _round(std),
            default_std=float(f"{formulas.torch_default_std(fan_in):.6g}"),
            xavier_std=float(f"{formulas.xavier_std(fan_in, fan_out, 'tanh' if activation == 'tanh' else 'none'):.6g}"),
            kaiming_std=float(f"{formulas.kaiming_std(fan_in):.6g}"),
        )
        layer.init, layer.own_init = _init_name(layer, known, weight)
        facts.layers.append(layer)


def fans(module: nn.Module | None, weight: torch.Tensor) -> tuple[int, int]:
    """(fan_in, fan_out) of a layer; a transposed convolution and transformers' Conv1D store them the other way."""
    field = 1
    for side in weight.shape[2:]:
        field *= side
    fan_in, fan_out = weight.shape[1] * field, weight.shape[0] * field
    if module is not None and ("Transpose" in type(module).__name__ or type(module).__name__ == "Conv1D"):
        fan_in, fan_out = fan_out, fan_in
    return max(1, fan_in), max(1, fan_out)


def _near(value: float, wanted: float, share: float) -> bool:
    return abs(value - wanted) <= share * wanted


def _init_name(layer: LayerFact, known: Drawn | None, weight: torch.Tensor) -> tuple[str, bool]:
    if known is None or known.std is None:
        return "unknown", False
    if known.constant is not None:
        return ("zero" if known.constant == 0 else "constant"), True
    if known.times or weight.is_meta:  # watched while it was drawn: exact
        if known.default:
            return "default", False
        slack, own = 0.02, True
    else:
        slack = 0.02 + 2.0 / math.sqrt(weight.numel())
        bound = plain(weight).abs().max().item()
        # Where fan_out = 5 fan_in the default is Xavier's own distribution: then it is right as it is.
        fits = layer.activation not in formulas.RELU_FAMILY and _near(layer.default_std, layer.xavier_std, 0.02)
        if not fits and _near(known.std, layer.default_std, slack) and bound <= 1.0001 / math.sqrt(layer.fan_in):
            return "default", False
        own = True
    names = {
        "kaiming": layer.kaiming_std,
        "xavier": formulas.xavier_std(layer.fan_in, layer.fan_out),
        "xavier, gain 5/3": formulas.xavier_std(layer.fan_in, layer.fan_out, "tanh"),
        "xavier, gain √2": formulas.xavier_std(layer.fan_in, layer.fan_out, "relu"),
        "kaiming out": math.sqrt(2.0 / layer.fan_out),
        "lecun": 1.0 / math.sqrt(layer.fan_in),
    }
    # Two names may fit one number: then it is the one that suits the activation.
    best = "kaiming" if layer.activation in formulas.RELU_FAMILY else "xavier"
    best = "xavier, gain 5/3" if layer.activation == "tanh" else best
    for name in (best, *names):
        if _near(known.std, names[name], slack):
            return name, own
    return "other", own


def _heads(
    model: nn.Module, outline: Outline, facts: ModelFacts, drawn: Callable[[torch.Tensor], Drawn | None]
) -> None:
    modules = dict(model.named_modules())
    parameters = dict(model.named_parameters(remove_duplicate=False))
    for path in outline.heads:
        module = modules.get(path)
        weight = getattr(module, "weight", None) if module is not None else parameters.get(path)
        bias = getattr(module, "bias", None)
        classes = next((getattr(module, n) for n in ("out_features", "out_channels") if hasattr(module, n)), None)
        if classes is None and isinstance(weight, torch.Tensor) and weight.dim() >= 2:
            classes = fans(module, weight)[1] if weight.dim() == 2 else weight.shape[0]
        default: bool | None = None
        value: float | None = None
        if isinstance(bias, torch.Tensor):
            known = drawn(bias)
            if known is not None and known.constant is not None:
                default, value = known.constant == 0, known.constant
            elif known is not None and (known.times or bias.is_meta):
                default = known.default
            elif known is not None and not bias.is_meta and isinstance(weight, torch.Tensor):
                bound = 1.0 / math.sqrt(fans(module, weight)[0])
                default = plain(bias).abs().max().item() <= 1.0001 * bound
        name = (f"{path}.bias" if path else "bias") if isinstance(bias, torch.Tensor) else ""
        kind = type(module).__name__ if module is not None else "Parameter"
        facts.heads.append(HeadFact(path, kind, int(classes) if classes else None, name, default, value))


def _norms(model: nn.Module, facts: ModelFacts) -> None:
    modules = dict(model.named_modules())
    for path, module in modules.items():
        if not is_norm(module) or not isinstance(getattr(module, "running_mean", None), torch.Tensor):
            continue
        if not getattr(module, "track_running_stats", True) or getattr(module, "running_mean", None) is None:
            continue
        own = list(module.parameters(recurse=False))
        if not own and path:
            own = list(modules[path.rpartition(".")[0]].parameters())
        frozen = bool(own) and not any(p.requires_grad for p in own)
        pinned = PINNED in module.__dict__ or not module.training
        mean = module.running_mean
        assert isinstance(mean, torch.Tensor)
        moved = not mean.is_meta and mean.numel() > 0 and plain(mean).abs().max().item() > 0
        facts.norms.append(NormFact(path, type(module).__name__, frozen, pinned, moved))


def _unregistered(model: nn.Module, facts: ModelFacts, source: Source) -> None:
    registered = {id(module) for module in model.modules()}
    for path, module in model.named_modules():
        if type(module).__module__.startswith("torch."):
            continue
        for name, value in vars(module).items():
            if name.startswith("_") or not isinstance(value, (list, tuple, dict)):
                continue
            items = value.values() if isinstance(value, dict) else value
            lost = [item for item in items if isinstance(item, nn.Module) and id(item) not in registered]
            weights = sum(p.numel() for item in lost for p in item.parameters())
            if weights:
                site = type(module).__qualname__
                facts.unregistered.append(
                    Unregistered(path, name, len(lost), weights, site if site in facts.sites else "")
                )


_STATES = {"SGD": 0, "Adagrad": 1, "RMSprop": 1, "Lion": 1, "ASGD": 1, "Rprop": 2, "Adadelta": 2}


def optimizer_facts(model: nn.Module, optimizer: torch.optim.Optimizer, facts: ModelFacts) -> OptimizerFact:
    """Where each parameter is in `optimizer`; also fills `groups` of the parameter facts."""
    kind = type(optimizer).__name__
    groups = [
        GroupFact(
            float(g.get("lr", 0.0)), float(g.get("weight_decay", 0.0) or 0.0), sum(p.numel() for p in g["params"])
        )
        for g in optimizer.param_groups
    ]
    found = OptimizerFact(kind, groups)
    found.state_per_parameter = _STATES.get(kind, 2)
    if kind == "SGD" and any(g.get("momentum") for g in optimizer.param_groups):
        found.state_per_parameter = 1
    homes: dict[int, list[int]] = {}
    for index, group in enumerate(optimizer.param_groups):
        for parameter in group["params"]:
            homes.setdefault(id(parameter), []).append(index)
    named = dict(model.named_parameters())
    own = {id(p) for p in named.values()}
    found.strangers = sum(1 for key in homes if key not in own)
    for fact in facts.parameters:
        parameter = named[fact.name]
        fact.groups = tuple(homes.get(id(parameter), ()))
        if not fact.groups and parameter.requires_grad:
            found.missing.append(fact.name)
        elif len(fact.groups) > 1:
            found.twice.append(fact.name)
    return found


def fixed_bytes(model: nn.Module, state_per_parameter: int) -> int:
    """Bytes that do not grow with the batch: parameters, gradients and optimizer state of the trainable, buffers."""
    total = 0
    for parameter in model.parameters():
        size = parameter.numel() * parameter.element_size()
        total += size * (2 + state_per_parameter) if parameter.requires_grad else size
    return total + sum(b.numel() * b.element_size() for b in model.buffers())
