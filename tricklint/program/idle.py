"""Optimizers that train nothing: what an entry goes on to do with them or with their model is something else."""

from __future__ import annotations

from collections import defaultdict
from typing import TYPE_CHECKING

from tricklint.interpreter.events import Escaped, Event
from tricklint.interpreter.values import Instance, members
from tricklint.libraries.events import Backward, Forward, OptimizerBuilt, SchedulerStepped, Stepped, TrainerGiven
from tricklint.libraries.facts import OptimizerFacts, SchedulerFacts
from tricklint.libraries.modules import held
from tricklint.libraries.paramsets import roots_of

if TYPE_CHECKING:
    from tricklint.program.program import Program


def idle(program: Program, event: OptimizerBuilt) -> bool:
    """Whether nothing is backpropagated in the entry of an optimizer and its model or its schedule is used all the same: a
    script that tests a model, or plots a schedule. Where it is stepped nevertheless, its model is not run at all."""
    answers: dict[int, bool] = program.remember("idle optimizers", lambda: _all_idle(program))
    return answers.get(id(event.subject), False)


def seen_training(program: Program, event: Event) -> bool:
    """Whether what is given to an optimizer or a trainer is seen to train: a framework does it, something is backpropagated
    in that entry, or the optimizer makes a step."""
    return (
        not isinstance(event, OptimizerBuilt)
        or any(each.entry == event.entry for each in program.events(Backward))
        or any(event.subject is each for step in program.events(Stepped) for each in members(step.subject))
    )


def _all_idle(program: Program) -> dict[int, bool]:
    trains = {event.entry for event in program.events(Backward, TrainerGiven)}
    stepped = {id(member) for event in program.events(Stepped) for member in members(event.subject)}
    given_away = {id(member) for event in program.events(Escaped) for member in members(event.subject)}
    later: dict[str, list[Event]] = defaultdict(list)
    for event in program.events(Forward, SchedulerStepped):
        later[event.entry].append(event)
    return {
        id(built.subject): built.entry not in trains
        and program.complete(built)
        and not _followed_for_its_own_sake(built)
        and id(built.subject) not in given_away
        and _used_otherwise(built, [event for event in later[built.entry] if event.seq > built.seq], given_away, stepped)
        for built in program.events(OptimizerBuilt)
    }


def _followed_for_its_own_sake(built: OptimizerBuilt) -> bool:
    """A function or class that nothing calls: who calls it may well train."""
    return not built.entry.startswith("run ")


def _used_otherwise(built: OptimizerBuilt, later: list[Event], given_away: set[int], stepped: set[int]) -> bool:
    models = [root for group in built.subject.fact(OptimizerFacts).groups for root in roots_of(group.params)]
    if any(id(model) in given_away for model in models):
        return False
    below = {each for model in models for each in held(model)}
    used = False
    for event in later:
        if isinstance(event, SchedulerStepped):
            optimizer = event.subject.fact(SchedulerFacts).optimizer
            used = used or any(member is built.subject for member in members(optimizer))
        elif isinstance(event, Forward) and isinstance(event.subject, Instance) and id(event.subject) in below:
            if event.grad is not False or id(built.subject) in stepped:
                return False
            used = True
    return used


__all__ = ["idle", "seen_training"]
