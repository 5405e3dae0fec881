"""How large the signal is behind each layer when training begins: one real forward at init, on the CPU.

The signal is what varies between samples (and positions): each channel's deviation from its own mean. A bias adds the
same number to all of them, so a plain standard deviation over everything would take a layer's biases for signal.
"""

from __future__ import annotations

import copy
import math
import warnings
from typing import Any

import torch
from torch import nn

from tricklint.trace.facts import ModelFacts
from tricklint.trace.inputs import make
from tricklint.trace.ladder import one_line
from tricklint.trace.recorder import named_tensors
from tricklint.trace.twin import strip_hooks

LIMIT = 20_000_000  # parameters


def measure_signal(model: nn.Module, facts: ModelFacts, copy_model: bool = False, limit: int = LIMIT) -> None:
    """Fill `output_std` of each layer fact: the standard deviation of its output for standard normal inputs (token
    ids and masks are ones), in train mode, over a few samples. `facts.signal_note` says why when it was not measured.

    With `copy_model` the forward runs on a CPU copy, and neither the model nor the random state changes.
    """
    if not facts.inputs:
        facts.signal_note = "no forward ran"
        return
    if facts.total > limit:
        facts.signal_note = f"not measured: {facts.total / 1e6:.0f} M parameters"
        return
    if any(p.is_meta for p in model.parameters()):
        facts.signal_note = "not measured: weights on meta"
        return
    try:
        with torch.random.fork_rng(devices=[]), torch.no_grad(), warnings.catch_warnings():
            warnings.simplefilter("ignore")
            torch.manual_seed(0)
            if copy_model:
                model = copy.deepcopy(model).cpu().float()
                strip_hooks(model)
            model.train()
            _run(model, facts)
    except Exception as error:
        facts.signal_note = f"not measured: {type(error).__name__}: {one_line(error)}"


def work(facts: ModelFacts) -> float:
    """Multiplications of that forward, about: each layer's weights times the places it is applied at."""
    shapes = {module.path: module.shape for module in facts.modules}
    sizes = {parameter.name: parameter.size for parameter in facts.parameters}
    total = 0.0
    for layer in facts.layers:
        shape = shapes.get(layer.path, ())
        places = math.prod(shape[2:]) if layer.kind == "conv" else math.prod(shape[1:-1])
        total += sizes.get(layer.weight, 0) * max(1, places)
    own = math.prod(max((fact.shape for fact in facts.inputs), key=math.prod, default=(1,)))
    small = math.prod(max(_more([_smaller(fact.shape) for fact in facts.inputs]), key=math.prod, default=(1,)))
    return total * 2 * small / max(1, own)


def _run(model: nn.Module, facts: ModelFacts) -> None:
    """With more samples and smaller pictures where the model takes that, else with the shapes it was traced with."""
    own = [fact.shape for fact in facts.inputs]
    small = [_smaller(shape) for shape in own]
    for shapes in (_more(small), small):
        if shapes != own:
            try:
                _measure(model, facts, shapes)
                return
            except Exception:  # this model wants its own resolution, or its own batch
                continue
    _measure(model, facts, own)


def _more(shapes: list[tuple[int, ...]], batch: int = 8, most: int = 200_000) -> list[tuple[int, ...]]:
    if not all(shape and shape[0] == 2 and math.prod(shape) * batch // 2 <= most for shape in shapes):
        return shapes
    return [(batch, *shape[1:]) for shape in shapes]


def _measure(model: nn.Module, facts: ModelFacts, shapes: list[tuple[int, ...]]) -> None:
    args, kwargs = [], {}
    for fact, shape in zip(facts.inputs, shapes, strict=True):
        value = make(shape, getattr(torch, fact.dtype), "cpu")
        if fact.name.startswith("input "):
            args.append(value)
        else:
            kwargs[fact.name] = value
    stds: dict[str, float] = {}
    handles = []
    modules = dict(model.named_modules())
    for layer in facts.layers:
        if layer.path in modules:
            handles.append(modules[layer.path].register_forward_hook(_noting(layer.path, stds, layer.kind == "linear")))
    try:
        model(*args, **kwargs)
    finally:
        for handle in handles:
            handle.remove()
    for layer in facts.layers:
        if layer.path in stds:
            layer.output_std = float(f"{stds[layer.path]:.4g}")
    if not stds:
        facts.signal_note = "no layer ran as a module"


def _smaller(shape: tuple[int, ...], side: int = 64) -> tuple[int, ...]:
    """Images and volumes of at most 64 (32) a side: the standard deviation hardly depends on it, the time does."""
    if len(shape) < 4 or shape[-1] != shape[-2]:
        return shape
    side = side if len(shape) == 4 else side // 2
    return (
        (*shape[:2], *(min(length, side) for length in shape[2:])) if len(shape) == 4 or shape[2] == shape[3] else shape
    )


def _spread(output: torch.Tensor, channels_last: bool) -> float:
    """Root mean square over channels of the standard deviation over everything else."""
    if output.dim() < 2:
        return output.std().item()
    channels = output.movedim(-1 if channels_last else 1, 0).flatten(1)
    return channels.var(dim=1).mean().sqrt().item() if channels.shape[1] > 1 else output.std().item()


def _noting(path: str, stds: dict[str, float], channels_last: bool) -> Any:
    def hook(_module: nn.Module, _args: Any, output: Any) -> None:  # returns None: an answer would replace the output
        first = next(named_tensors(output), None)
        if first is not None and first[1].is_floating_point() and first[1].numel() > 1:
            stds.setdefault(path, _spread(first[1].float(), channels_last))

    return hook
