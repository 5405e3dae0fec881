"""The whole look at one model on meta: graph, one watched forward, facts."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import nn

from tricklint.trace.extract import Source, extract, fixed_bytes, site_of
from tricklint.trace.facts import MemoryFact, ModelFacts
from tricklint.trace.initwatch import Drawn
from tricklint.trace.inputs import like
from tricklint.trace.ladder import Inputs, Traced, climb, one_line, record
from tricklint.trace.meter import Meter, batch_of, shapes_of
from tricklint.trace.read import read


def watched_forward(
    model: nn.Module, candidates: Sequence[Inputs]
) -> tuple[Inputs, Meter, dict[str, tuple[int, ...]]] | str:
    """The first of `candidates` whose forward runs, with what was seen; else why the likeliest one failed. The model
    is left in the mode it ran in: train, unless it only runs in eval."""
    why = "no input shape is known"
    for training in (True, False):  # detection models want targets in train mode
        model.train(training)
        for index, inputs in enumerate(candidates):
            meter = Meter(model)
            try:
                with warnings.catch_warnings(), shapes_of(model) as shapes:
                    warnings.simplefilter("ignore")
                    with meter:
                        output = model(*inputs.args, **inputs.kwargs)
                    meter.finish(output)
                return inputs, meter, shapes
            except Exception as error:
                if index == 0 and training:
                    why = f"{type(error).__name__}: {one_line(error)}"
    model.train()
    return why


def study(
    model: nn.Module,
    candidates: Sequence[Inputs],
    target: str,
    *,
    drawn: Callable[[torch.Tensor], Drawn | None] | None = None,
    optimizer: torch.optim.Optimizer | None = None,
    source: Source = site_of,
    live: nn.Module | None = None,
    export: bool = True,
    on_export: Callable[[], Any] | None = None,
) -> ModelFacts:
    """Facts about `model`, whose tensors should be on meta (`live` is the real one, when there is one)."""
    run = watched_forward(model, candidates)
    options = [run[0]] if not isinstance(run, str) else list(candidates[:1])
    traced = climb(model, options, export=export, on_export=on_export)
    outline = read(traced)
    inputs = meter = None
    shapes: dict[str, tuple[int, ...]] = {}
    if not isinstance(run, str):
        inputs, meter, shapes = run
    facts = extract(
        model,
        outline,
        target,
        reached=meter.reached if meter and model.training else None,
        drawn=drawn,
        shapes=shapes,
        inputs=inputs,
        optimizer=optimizer,
        source=source,
        live=live,
    )
    if meter is not None and not model.training:
        facts.eval_only = True
        for parameter in facts.parameters:
            parameter.used = parameter.used or None  # train mode may reach more
    if meter is None:
        facts.notes.append(f"no forward ran ({run}): shapes and memory unknown")
    elif inputs is not None:
        states = facts.optimizer.state_per_parameter if facts.optimizer else 2
        shape = next((i.shape for i in facts.inputs), ())
        facts.memory = MemoryFact(meter.saved // batch_of(inputs), fixed_bytes(model, states), shape)
    return facts


def real_trace(real: nn.Module, candidates: Sequence[Inputs]) -> tuple[Traced, Meter, Inputs] | list[str]:
    """The recorder over real tensors, for forwards that look at values; else why each attempt failed. `real` runs: its
    mode changes, its running statistics move."""
    tried = []
    for training in (True, False):
        for option in candidates[:4]:
            meter = Meter(real.train(training))
            try:
                return record(real, like(option, "cpu"), "recorder-cpu", meter), meter, option
            except Exception as error:
                tried.append(f"recorder-cpu ({option.source}): {type(error).__name__}: {one_line(error)}")
    return tried


def real_rung(facts: ModelFacts, real: nn.Module, candidates: Sequence[Inputs]) -> ModelFacts:
    """`facts`, which stopped at the tree, taken up again with a real model; as they were when that fails too."""
    found = real_trace(real, candidates)
    if isinstance(found, list):
        facts.tried += found
        return facts
    traced, meter, option = found
    outline = read(traced)
    outline.tried = facts.tried
    reached = meter.reached if real.training else None
    again = extract(real, outline, facts.target, reached=reached, shapes=traced.shapes, inputs=option)
    again.eval_only = not real.training
    again.optimizer = facts.optimizer
    groups = {p.name: p.groups for p in facts.parameters}
    for parameter in again.parameters:
        parameter.groups = groups.get(parameter.name, ())
        parameter.used = parameter.used or (False if real.training else None)
    states = facts.optimizer.state_per_parameter if facts.optimizer else 2
    shape = next((i.shape for i in again.inputs), ())
    again.memory = MemoryFact(meter.saved // batch_of(option), fixed_bytes(real, states), shape)
    return again
