"""Which call leaves the BatchNorm layers of a frozen backbone in training mode."""

from __future__ import annotations

from collections.abc import Iterator

from tricklint.interpreter.events import Event
from tricklint.interpreter.values import (
    Instance,
    Pred,
    members,
)
from tricklint.knowledge import layers
from tricklint.libraries.events import Backward, Forward, Initialised, ModeSet, NormStatsSet, TrainerGiven
from tricklint.libraries.paramsets import ParamSet
from tricklint.program.loops import happens_with, shared_loops
from tricklint.program.program import Program
from tricklint.program.transfer import Norms, holds, holds_norms_of, optimised, touches

# Frameworks whose training puts all of the model in training mode
RUN_IN_TRAIN_MODE = ("lightning", "transformers", "fastai")


def trained_in_train_mode(program: Program, norms: Norms) -> Iterator[Event]:
    """The events that put a trained model around `norms` into training mode, where nothing puts them back before the
    training forward, or that forward, where the model is in the mode that it was built in; none when nothing is sure to, or
    something may."""
    if any(touches(event.subject, norms.holder) for event in program.events(NormStatsSet)) or _follows(program, norms):
        return
    modes = [event for event in program.events(ModeSet, TrainerGiven) if touches(event.subject, norms.holder)]
    found = False
    for event in modes:
        if isinstance(event, TrainerGiven):
            if event.framework not in RUN_IN_TRAIN_MODE or not _around(event, norms):
                continue
            if any(_evals(program, other, norms) for other in modes) or _overrides_train(event):
                continue
            found = True
            yield event
            continue
        if event.train is not True or not may_happen(program, event, norms) or not _around(event, norms):
            continue
        if not any(optimised(program, root) for root in _subjects(event)):
            continue
        if not _put_back(program, event, modes, norms):
            found = True
            yield event
    if not found:
        as_built = next((event for event in program.events(Forward) if _trains_as_built(program, event, modes, norms)), None)
        if as_built is not None:
            yield as_built


def _follows(program: Program, norms: Norms) -> bool:
    """Whether the weights are written in the rounds that train: an average of another net, whose norms are to go along."""
    return any(
        touches(event.subject, norms.holder) and any(shared_loops(event, backward) for backward in program.events(Backward))
        for event in program.events(Initialised)
    )


def _trains_as_built(program: Program, event: Forward, modes: list[ModeSet | TrainerGiven], norms: Norms) -> bool:
    """A pass that trains, in the mode that modules are built in: nothing sets another one before. (transformers' own loaders
    give models in evaluation mode.)"""
    if event.depth or event.grad is False or not event.possible or not _around(event, norms):
        return False
    if not optimised(program, event.subject) or any(isinstance(mode, TrainerGiven) for mode in modes):
        return False
    if any(owner.library.startswith("transformers.") for owner in (event.subject, norms.holder.owner)):
        return False
    before = (
        mode for mode in modes if mode.entry != event.entry or mode.seq < event.seq or shared_loops(mode, event)
    )
    if any(_evals(program, mode, norms) for mode in before):
        return False
    return any(
        backward.entry == event.entry and backward.seq > event.seq and (shared_loops(backward, event) or not event.loops)
        for backward in program.events(Backward)
    )


def _subjects(event: Event) -> list[Instance]:
    subject = event.subject
    if isinstance(subject, ParamSet):
        return []
    return [member for member in members(subject) if isinstance(member, Instance)]


def _around(event: Event, norms: Norms) -> bool:
    return any(holds(root, norms.holder) or holds_norms_of(root, norms.holder) for root in _subjects(event))


def may_happen(program: Program, event: Event, norms: Norms) -> bool:
    """It does not contradict the defaults, or only where they do not make the norms either: `if args.finetune:` round both."""
    return event.possible or any(happens_with(event, made) for made in program.made.get(id(norms.holder.owner), ()))


def _evals(program: Program, event: Event, norms: Norms) -> bool:
    """May put the norms (or a module around them) into evaluation mode."""
    if not isinstance(event, ModeSet) or event.train is True or not may_happen(program, event, norms):
        return False
    subject = event.subject
    return not isinstance(subject, ParamSet) or all(_may_take_norms(pred) for pred in subject.preds)


def _may_take_norms(pred: Pred) -> bool:
    if pred.op == "isinstance":
        kinds = [kind for kind in pred.args if isinstance(kind, str)]
        others = kinds and all(kind.startswith("torch.nn.") and kind not in layers.BATCH_NORM and "_Batch" not in kind
                               and "Module" not in kind for kind in kinds)  # fmt: skip
        return pred.negated or not others
    return True


def _put_back(program: Program, train: Event, modes: list[ModeSet | TrainerGiven], norms: Norms) -> bool:
    """Between `train` and the training forward that follows it, something puts the norms into evaluation mode."""
    passes = [event for event in program.events(Forward, Backward) if event.entry == train.entry and event.grad is not False]
    last = next((event.seq for event in passes if event.seq > train.seq), None)
    first = next((event for event in passes if shared_loops(event, train)), None) if last is None else None
    if first is not None:  # it stands at the end of a loop: the pass that follows is the next round's
        return any(
            _evals(program, event, norms) and shared_loops(event, train) and not first.seq < event.seq < train.seq for event in modes
        )
    return any(
        train.seq < event.seq
        and (last is None or event.seq < last)
        and event.entry == train.entry
        and _evals(program, event, norms)
        for event in modes
    )


def _overrides_train(event: Event) -> bool:
    from tricklint.interpreter.values import (
        Class,
    )

    return any(
        isinstance(root.cls, Class)
        and any(root.cls.lookup(hook) is not None for hook in ("train", "on_train_epoch_start"))
        for root in _subjects(event)
    )
