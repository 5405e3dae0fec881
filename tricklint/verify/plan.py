"""What will be trained: variants times paired seeds (times learning rates), fitted to a budget of time."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from typing import Any

from tricklint.verify.records import VerifyError

BASELINE = "baseline"
AGAIN = "baseline again"  # the same runs made once more, where a device does not add up in the same order twice
LEAST_SHARE = 0.02  # of a run's steps: less says nothing about the training


@dataclass(frozen=True)
class Variant:
    """One way to train. `kind`: "baseline", "alone" (one fix) or "stack" (this fix on top of the previous rung)."""

    name: str
    label: str
    kind: str = "alone"
    codes: tuple[str, ...] = ()
    edits: dict[str, str] = field(default_factory=dict)  # file relative to the project → its new text
    diff: str = ""
    level: str = ""  # of the fix: safe, recipe, unsafe
    note: str = ""


@dataclass(frozen=True)
class Task:
    """One run to make."""

    variant: str
    seed: int
    lr_scale: float = 1.0

    @property
    def key(self) -> tuple[str, int, float]:
        return (self.variant, self.seed, self.lr_scale)


@dataclass(frozen=True)
class Plan:
    """`ladder`: variants in the order of the ladder chart, baseline first. `repeats`: of how many seeds the baseline is
    run again, to see what of a difference is the device's own."""

    title: str
    command: str
    variants: tuple[Variant, ...]
    ladder: tuple[str, ...]
    seeds: int
    steps: int | None = None
    lr_scales: tuple[float, ...] = (1.0,)
    notes: tuple[str, ...] = ()
    repeats: int = 0

    def tasks(self) -> list[Task]:
        """Seed by seed, so that an interrupted run has whole pairs; the learning rate as it is comes first."""
        scales = sorted(self.lr_scales, key=lambda s: (s != 1.0, s))
        tasks = []
        for scale in scales:
            for seed in range(self.seeds):
                tasks += [Task(variant.name, seed, scale) for variant in self.variants]
                if scale == 1.0 and seed < self.repeats:
                    tasks.append(Task(AGAIN, seed))
        return tasks

    @property
    def comparisons(self) -> int:
        """How many verdicts the plan asks for: each fix alone, and the whole stack."""
        return sum(v.kind == "alone" or (v.kind == "stack" and v.name == self.ladder[-1]) for v in self.variants)

    def variant(self, name: str) -> Variant:
        if name == AGAIN:
            return replace(self.variants[0], name=AGAIN)
        return next(v for v in self.variants if v.name == name)

    @property
    def baseline(self) -> str:
        return self.variants[0].name

    def to_json(self) -> dict[str, Any]:
        return asdict(self)

    @classmethod
    def from_json(cls, value: dict[str, Any]) -> Plan:
        variants = tuple(Variant(**{**v, "codes": tuple(v["codes"])}) for v in value["variants"])
        lists = {name: tuple(value[name]) for name in ("ladder", "lr_scales", "notes")}
        return cls(**{**value, "variants": variants, **lists})


def seconds(plan: Plan, run_s: float, workers: int) -> float:
    """How long a plan takes when one run takes `run_s` seconds: rounds of `workers` runs at a time."""
    return -(-len(plan.tasks()) // workers) * run_s


def fit(
    plan: Plan,
    run_s: float,
    run_steps: int,
    workers: int,
    budget_s: float,
    given: Mapping[str, Sequence[int]] | None = None,
    start_s: float = 0.0,
) -> Plan:
    """The plan made to end within `budget_s`, saying what was left out, in this order: neighbouring learning rates,
    seeds (never below what a verdict needs), rungs in the middle of the ladder, then steps. `run_s` and `run_steps`
    are those of one whole baseline run, of which the first `start_s` are spent before its first step; `given` says after which steps it gave the metric that is judged: steps are cut
    to one of those. Raises VerifyError where hardly a step would be left, or none after which the metric is given."""
    from tricklint.verify.stats import seeds_needed  # needs numpy, which a watched run does not

    notes = list(plan.notes)

    def over(p: Plan) -> bool:
        return seconds(p, run_s, workers) > budget_s

    if over(plan) and plan.lr_scales != (1.0,):
        plan = replace(plan, lr_scales=(1.0,))
        notes.append("budget: neighbouring learning rates left out")
    least = seeds_needed(plan.comparisons)
    if over(plan) and plan.seeds > least:
        while over(plan) and plan.seeds > least:
            plan = replace(plan, seeds=plan.seeds - 1)
        notes.append(f"budget: {plan.seeds} seeds instead of more")
    while over(plan):
        middle = [v for v in plan.variants if v.kind == "stack" and v.name != plan.ladder[-1]]
        if not middle:
            break
        gone = middle[-1].name
        plan = replace(
            plan,
            variants=tuple(v for v in plan.variants if v.name != gone),
            ladder=tuple(name for name in plan.ladder if name != gone),
        )
        notes.append(f"budget: the ladder's rung {gone!r} left out")
    if over(plan) and run_steps > 1:
        rounds = seconds(plan, 1.0, workers)
        share = max(0.0, budget_s / rounds - start_s) / max(1e-9, run_s - start_s)
        if share < LEAST_SHARE:
            raise VerifyError(
                f"the budget is too short: {len(plan.tasks())} runs of {shown(run_s)}, {workers} at a time, take "
                f"{shown(seconds(plan, run_s, workers))}, and {shown(max(0.0, budget_s))} are left"
            )
        steps = max(1, int(run_steps * min(1.0, share) * 0.95))
        for name, at in (given or {}).items():
            if at and min(at) > steps:
                least_s = rounds * (start_s + (run_s - start_s) * min(at) / run_steps / 0.95)
                raise VerifyError(
                    f"the budget is too short: {name} is first given after step {min(at)} of {run_steps}, and runs of "
                    f"{steps} steps are what fits; training to there takes {shown(least_s)}"
                )
            steps = max((step for step in at if step <= steps), default=steps)
        plan = replace(plan, steps=steps)
        notes.append(f"budget: runs end after {plan.steps} of {run_steps} steps")
    return replace(plan, notes=tuple(notes))


def duration(text: str) -> float:
    """'90', '90s', '10m', '1h' or '1h30m' → seconds. Raises ValueError."""
    match = re.fullmatch(r"(?:(\d+(?:\.\d+)?)h)?(?:(\d+(?:\.\d+)?)m)?(?:(\d+(?:\.\d+)?)s?)?", text.strip())
    if not match or not any(match.groups()):
        raise ValueError(f'{text!r} is no duration like "10m"')
    hours, minutes, rest = (float(part or 0) for part in match.groups())
    return hours * 3600 + minutes * 60 + rest


def shown(seconds_: float) -> str:
    """95 → '1 min 35 s'."""
    whole = round(seconds_)
    if whole < 60:
        return f"{seconds_:.2g} s" if seconds_ < 10 else f"{whole} s"
    if whole < 3600:
        return f"{whole // 60} min {whole % 60} s" if whole % 60 else f"{whole // 60} min"
    return f"{whole // 3600} h {whole % 3600 // 60} min"


def lr_scales(values: Sequence[float]) -> tuple[float, ...]:
    """Learning-rate factors with 1 always among them."""
    return tuple(dict.fromkeys((1.0, *values)))
