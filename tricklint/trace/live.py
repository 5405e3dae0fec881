"""A live module in this process: its outline for `surgery`, its findings for `check_model`. It is never changed."""

from __future__ import annotations

import copy
import warnings
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import torch
from torch import nn

from tricklint.trace.extract import measured, optimizer_facts
from tricklint.trace.facts import ModelFacts, ParameterFact
from tricklint.trace.inputs import from_example, guesses, like
from tricklint.trace.ladder import Inputs, climb, one_line
from tricklint.trace.ops import Outline
from tricklint.trace.read import read
from tricklint.trace.signal import LIMIT
from tricklint.trace.study import real_rung, real_trace, study, watched_forward
from tricklint.trace.twin import meta_twin, strip_hooks
from tricklint.trace.wrapped import unseen, unwrapped

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
    model = unwrapped(model)
    with warnings.catch_warnings(), torch.device("meta"):
        warnings.simplefilter("ignore")
        try:
            twin, candidates = _prepare(model, example)
        except Exception as error:
            return Outline([], "tree", reason=f"the model cannot be copied: {one_line(error)}")
        run = watched_forward(twin, candidates)
        seen = read(climb(twin, candidates[:1] if isinstance(run, str) else [run[0]], export=False))
    if seen.rung == "tree":
        with _real_copy(model) as copied:
            found = real_trace(copied, candidates) if copied is not None else []
        if isinstance(found, tuple):
            return read(found[0])
    return seen


@contextmanager
def _real_copy(model: nn.Module) -> Iterator[nn.Module | None]:
    """A CPU copy to run, without users' hooks; None for models that are large or cannot be copied. The random state
    is put back afterwards."""
    if sum(p.numel() for p in model.parameters()) > LIMIT or any(p.is_meta for p in model.parameters()):
        yield None
        return
    with warnings.catch_warnings(), torch.random.fork_rng(devices=[]):
        warnings.simplefilter("ignore")
        try:
            copied = copy.deepcopy(model).cpu().float()
            strip_hooks(copied)
        except Exception:
            yield None
            return
        yield copied


def facts_of(model: nn.Module, optimizer: torch.optim.Optimizer | None = None, example: Example = None) -> ModelFacts:
    """ModelFacts of a live module. Weights are read, the module is neither run nor changed (a copy may be run).

    Raises TypeError when `model` is no nn.Module, ValueError when it cannot be copied to meta.
    """
    if not isinstance(model, nn.Module):
        raise TypeError(f"check_model wants a torch.nn.Module, got {type(model).__name__}")
    model = unwrapped(model)
    why = unseen(model)
    if why:
        return _bare(model, optimizer, why)
    with warnings.catch_warnings(), torch.device("meta"):
        warnings.simplefilter("ignore")
        try:
            twin, candidates = _prepare(model, example)
        except Exception as error:
            raise ValueError(f"{type(model).__name__} cannot be copied to meta: {one_line(error)}") from error
        name = type(model).__qualname__
        facts = study(twin, candidates, name, drawn=measured, optimizer=optimizer, live=model, export=False)
    if facts.rung == "tree":
        with _real_copy(model) as copied:
            if copied is not None:
                facts = real_rung(facts, copied, candidates)
    return facts


def _bare(model: nn.Module, optimizer: torch.optim.Optimizer | None, why: str) -> ModelFacts:
    """What is known of a model that is not looked into: its parameters, and who optimises them."""
    facts = ModelFacts(type(model).__qualname__, type(model).__qualname__, "tree", notes=[why], torch=torch.__version__)
    for name, parameter in model.named_parameters():
        kind = str(parameter.dtype).removeprefix("torch.")
        facts.parameters.append(
            ParameterFact(name, tuple(parameter.shape), kind, "matrix", frozen=not parameter.requires_grad)
        )
    if optimizer is not None:
        facts.optimizer = optimizer_facts(model, optimizer, facts)
    return facts


def check_model(
    model: nn.Module,
    optimizer: torch.optim.Optimizer | None = None,
    example: Example = None,
    *,
    select: Iterable[str] | None = None,
    ignore: Iterable[str] = (),
    batch_size: int | None = None,
    gpu: str | None = None,
    signal: bool = True,
) -> Findings:
    """Hold a live module (and its optimizer) against the rules; the module is not changed and keeps its mode.

    A model inside torch.compile, DDP, FSDP or DataParallel is looked at without them. Nothing is trained or compiled,
    and warnings of others are not shown.

    Args:
        model: the module, best right after it was built: the initialisation rules look at the weights it has now.
        optimizer: the one that will train it; without it the rules about who is optimised, and how (TRK101, TRK103,
            TRK601, TRK602), are silent.
        example: inputs of the forward (a tensor, a tuple or a dict; only shapes and dtypes count), where they cannot
            be guessed from the first layer.
        batch_size, gpu: with both ("24GB"), says when the batch does not fit the card (TRK301).
        select, ignore: only these rules, all but these: codes ("TRK601"), prefixes ("TRK5") or names.
        signal: measure how the signal's standard deviation changes from layer to layer, on a copy, for models of up
            to 20 million parameters.

    Returns a list-like of findings, falsy when there is none, a table in Jupyter, so that a test may say
    `assert not check_model(model, optimizer, ignore=["missing-init"])`.

    Raises TypeError when `model` is no nn.Module, ValueError when it cannot be copied or a selector names no rule.
    """
    from tricklint.trace.choice import chosen
    from tricklint.trace.held import judge_objects
    from tricklint.trace.judge import judge
    from tricklint.trace.signal import measure_signal
    from tricklint.trace.table import Findings

    wanted = chosen(select, ignore)
    facts = facts_of(model, optimizer, example)
    model = unwrapped(model)
    if signal and facts.layers:
        measure_signal(model, facts, copy_model=True)
    # Who is in which group is said once, exactly, by what looks at the objects themselves.
    found = [finding for finding in judge(facts, batch_size=batch_size, gpu=gpu) if finding.code != "TRK602"]
    found = [finding for finding in (*judge_objects(facts), *found) if wanted(finding.code)]
    return Findings(sorted(found, key=lambda finding: finding.code), facts)
