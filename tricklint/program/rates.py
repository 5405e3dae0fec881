"""The learning rate at which an optimizer's steps are really made, where a schedule sets its own."""

from __future__ import annotations

from tricklint.interpreter.values import Instance, Value, members, number
from tricklint.libraries.events import SchedulerBuilt
from tricklint.libraries.facts import SchedulerFacts
from tricklint.program.backbone import learning_rate
from tricklint.program.program import Program


def peak_rate(program: Program, optimizer: Instance) -> float | None:
    """The highest learning rate of its steps: a one-cycle schedule goes up to its own, whatever the optimizer was given.
    None where it is not known."""
    peaks = [value for event in schedules(program, optimizer) if (value := _peak(event.subject)) is not None]
    if not peaks:
        return learning_rate(optimizer)
    rates = [number(each) for peak in peaks for each in members(peak)]
    known = [rate for rate in rates if rate is not None]
    return max(known) if len(known) == len(rates) else None


def warmed_up(program: Program, optimizer: Instance) -> bool:
    """Whether a schedule lets the learning rate rise from a small part of its height: the first, random gradients of a new
    head move little."""
    for event in schedules(program, optimizer):
        made = event.subject
        if made.library.endswith(".OneCycleLR"):
            factor = made.passed(10, "div_factor")
            known = None if factor is None else number(factor)
            return known is None or known > 1
        steps = made.passed(1, "num_warmup_steps")  # transformers.get_…_schedule_with_warmup
        if steps is not None and made.library.endswith("_with_warmup"):
            return number(steps) != 0
    return False


def only_falls(scheduler: Instance) -> bool:
    """The schedule begins at the rate that its optimizer was given, and never lets it rise above that."""
    if not scheduler.library.startswith("torch.optim.") or scheduler.open_kwargs:
        return False
    name = scheduler.library.rpartition(".")[2]
    begun = scheduler.passed(_LAST_EPOCH[name], "last_epoch") if name in _LAST_EPOCH else None
    factor = scheduler.passed(2 if name in ("StepLR", "MultiStepLR") else 1, "gamma") if name in _BY_FACTOR else None
    return (
        (name in _LAST_EPOCH or name == "ReduceLROnPlateau")
        and (begun is None or number(begun) == -1)
        and (factor is None or (number(factor) or 9.0) <= 1)
    )


# Schedules of torch.optim that lower the rate from where it begins, with the place of their `last_epoch`
_LAST_EPOCH = {
    "StepLR": 3, "MultiStepLR": 3, "ExponentialLR": 2, "CosineAnnealingLR": 3, "CosineAnnealingWarmRestarts": 4, "PolynomialLR": 3,
}  # fmt: skip
_BY_FACTOR = ("StepLR", "MultiStepLR", "ExponentialLR")


def schedules(program: Program, optimizer: Instance) -> list[SchedulerBuilt]:
    """The schedules that an optimizer may get on the path that the code takes by default."""
    return [
        event
        for event in program.events(SchedulerBuilt)
        if event.possible and any(each is optimizer for each in members(event.subject.fact(SchedulerFacts).optimizer))
    ]


def _peak(scheduler: Instance) -> Value | None:
    """What a schedule was given as the height to which it raises the rate of every group."""
    if scheduler.library.endswith(".OneCycleLR"):
        return scheduler.passed(1, "max_lr")
    return scheduler.passed(2, "max_lr") if scheduler.library.endswith(".CyclicLR") else None
