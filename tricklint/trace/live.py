"""A live module in this process: its outline for `surgery`, its findings for `check_model`. It is never changed."""

from __future__ import annotations

import warnings
from typing import TYPE_CHECKING, Any

import torch
from torch import nn

from tricklint.trace.extract import measured
from tricklint.trace.facts import ModelFacts
from tricklint.trace.inputs import from_example, guesses, like
from tricklint.trace.ladder import Inputs, climb, one_line
from tricklint.trace.ops import Outline
from tricklint.trace.read import read
from tricklint.trace.study import study, watched_forward
from tricklint.trace.twin import meta_twin

if TYPE_CHECKING:
    from tricklint.trace.table import Findings

Example = Any  # a tensor, a tuple or list of arguments, a dict of keyword arguments, or None


def _prepare(model: nn.Module, example: Example) -> tuple[nn.Module, list[Inputs]]:
    twin = meta_twin(model)
    if example is not None:
        return twin, [like(from_example(example), "meta")]
    return twin, list(guesses(twin))


def outline(model: nn.Module, example: Example = None) -> Outline:
    """The graph of `model`, read. Works on a copy without data; raises nothing for models it cannot trace."""
    with warnings.catch_warnings(), torch.device("meta"):
        warnings.simplefilter("ignore")
        try:
            twin, candidates = _prepare(model, example)
        except Exception as error:
            return Outline([], "tree", reason=f"the model cannot be copied: {one_line(error)}")
        run = watched_forward(twin, candidates)
        return read(climb(twin, candidates[:1] if isinstance(run, str) else [run[0]], export=False))


def facts_of(model: nn.Module, optimizer: torch.optim.Optimizer | None = None, example: Example = None) -> ModelFacts:
    """ModelFacts of a live module. Weights are read, the module is neither run nor changed.

    Raises TypeError when `model` is no nn.Module, ValueError when it cannot be copied to meta.
    """
    if not isinstance(model, nn.Module):
        raise TypeError(f"check_model wants a torch.nn.Module, got {type(model).__name__}")
    with warnings.catch_warnings(), torch.device("meta"):
        warnings.simplefilter("ignore")
        try:
            twin, candidates = _prepare(model, example)
        except Exception as error:
            raise ValueError(f"{type(model).__name__} cannot be copied to meta: {one_line(error)}") from error
        return study(
            twin, candidates, type(model).__qualname__, drawn=measured, optimizer=optimizer, live=model, export=False
        )


def check_model(
    model: nn.Module,
    optimizer: torch.optim.Optimizer | None = None,
    example: Example = None,
    *,
    batch_size: int | None = None,
    gpu: str | None = None,
    signal: bool = True,
) -> Findings:
    """Hold a live module (and its optimizer) against the rules; the module is not changed and keeps its mode.

    Args:
        model: the module, best right after it was built: the initialisation rules look at the weights it has now.
        optimizer: the one that will train it; without it the rules on weight decay (TRK601, TRK602) are silent.
        example: inputs of the forward (a tensor, a tuple or a dict; only shapes and dtypes count), where they cannot
            be guessed from the first layer.
        batch_size, gpu: with both ("24GB"), says when the batch does not fit the card (TRK301).
        signal: measure how the signal's standard deviation changes from layer to layer, on a copy, for models of up
            to 20 million parameters.

    Returns a list-like of findings, falsy when there is none, a table in Jupyter: `assert not check_model(model)`.
    """
    from tricklint.trace.judge import judge
    from tricklint.trace.signal import measure_signal
    from tricklint.trace.table import Findings

    facts = facts_of(model, optimizer, example)
    if signal:
        measure_signal(model, facts, copy_model=True)
    return Findings(judge(facts, batch_size=batch_size, gpu=gpu), facts)
