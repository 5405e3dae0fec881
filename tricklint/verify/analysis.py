"""From runs to verdicts: which metrics are judged, how each variant compares, what it cost."""

from __future__ import annotations

import math
import statistics
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

from tricklint.verify import stats
from tricklint.verify.judging import choose
from tricklint.verify.metrics import default_margin, direction
from tricklint.verify.plan import AGAIN, Plan, Variant
from tricklint.verify.records import Key, Run
from tricklint.verify.stats import Paired, Verdict


@dataclass(frozen=True)
class Comparison:
    """One variant on one metric, against the baseline. Means and effect are of the same pairs: those in which both runs
    gave a score."""

    metric: str
    higher_is_better: bool
    baseline_mean: float | None
    variant_mean: float | None
    baseline_scores: tuple[float | None, ...]
    scores: tuple[float | None, ...]
    paired: Paired
    untouched: bool  # every pair is bit-equal
    within_noise: bool = False  # the pairs differ no more than the baseline does from itself when it is run again

    @property
    def tells(self) -> bool:
        """Whether the change is to be seen in this metric."""
        return not self.untouched and not self.within_noise


@dataclass(frozen=True)
class Outcome:
    """What a variant did. `verdict` is that of its leading comparison: the first metric that it touches."""

    variant: Variant
    comparisons: tuple[Comparison, ...]
    verdict: Verdict
    why: str
    leading: Comparison | None
    statuses: Mapping[str, int]
    steps_to: tuple[float | None, float | None]  # median steps to the baseline's final loss: baseline's, own
    step_ms: tuple[float | None, float | None]  # median of the seeds, in the phases that differ
    step_change: tuple[float, float, float] | None  # own time a step / baseline's: paired mean, 95 % interval
    peak: tuple[float | None, float | None]  # bytes
    notes: tuple[str, ...] = ()
    rung: Comparison | None = None  # over the rung before it on the ladder: shown, not judged


@dataclass(frozen=True)
class Analysis:
    plan: Plan
    runs: Mapping[Key, Run]
    metrics: tuple[str, ...]
    higher: Mapping[str, bool]
    margins: Mapping[str, float]
    outcomes: tuple[Outcome, ...]  # without the baseline
    baseline_statuses: Mapping[str, int] = field(default_factory=dict)

    def source(self, metric: str) -> str:
        """Where a metric's numbers came from: printed, wandb.log, metrics.csv …"""
        return next((run.sources[metric] for run in self.runs.values() if metric in run.sources), "")

    def scores(self, variant: str, metric: str, scale: float = 1.0) -> list[float | None]:
        """One entry a seed."""
        found = []
        for seed in range(self.plan.seeds):
            run = self.runs.get((variant, seed, scale))
            found.append(run.score(metric) if run else None)
        return found

    def outcome(self, variant: str) -> Outcome | None:
        return next((o for o in self.outcomes if o.variant.name == variant), None)

    def runs_of(self, variant: str, scale: float = 1.0) -> list[Run]:
        return [r for s in range(self.plan.seeds) if (r := self.runs.get((variant, s, scale))) is not None]

    @property
    def complete(self) -> bool:
        return all(task.key in self.runs for task in self.plan.tasks())


def is_judged(plan: Plan, variant: Variant) -> bool:
    """Whether a variant gets a verdict: a fix alone, or the stack of all."""
    return variant.kind != "stack" or variant.name == plan.ladder[-1]


def analyse(
    plan: Plan,
    runs: Mapping[Key, Run],
    metrics: Sequence[str] = (),
    higher: bool | None = None,
    margin: float | None = None,
    all_metrics: bool = False,
) -> Analysis:
    """Compare every variant with the baseline.

    Verdicts are given, and Holm's correction runs, over one family fixed by the plan: each fix alone and the whole
    stack, on the first metric that it touches (on every metric with `all_metrics`). On a device on which the baseline
    differs from itself when it is run again, that is the first metric whose differences are larger than those; they are
    compared by size alone, so that the sign-flip test keeps its level. The rungs between and the other
    metrics are shown with their intervals only: more tests would cost every fix its power. Where the runs are no
    replicates, or the metric is the same number in all of them, there is no verdict but the sentence why.
    """
    base = [r for s in range(plan.seeds) if (r := runs.get((plan.baseline, s, 1.0))) is not None]
    names = list(metrics) or [metric.name for metric in (choose(base[0], higher=higher) if base else ())]
    directions = {name: (direction(name) is not False) if higher is None else higher for name in names}
    margins: dict[str, float] = {}
    empty = Analysis(plan, runs, tuple(names), directions, margins, ())
    for name in names:
        known = [s for s in empty.scores(plan.baseline, name) if s is not None]
        margins[name] = (
            margin if margin is not None else default_margin(name, statistics.fmean(known) if known else 0.0)
        )
    pending: list[tuple[Variant, list[Comparison]]] = []
    for variant in plan.variants[1:]:
        pending.append((variant, [_compare(empty, variant, name, directions[name], margins[name]) for name in names]))
    family = []
    for i, (variant, comparisons) in enumerate(pending):
        touched = [j for j, c in enumerate(comparisons) if not c.untouched]
        first = ([j for j in touched if comparisons[j].tells] or touched)[:1]
        chosen = (touched if all_metrics else first) if is_judged(plan, variant) else []
        family += [(i, j) for j in chosen]
        for j in touched:
            if j not in chosen:
                c = comparisons[j]
                why = "shown with its interval, not judged"
                comparisons[j] = replace(
                    c, paired=replace(c.paired, verdict=Verdict.NOT_JUDGED, why=why, p_holm=c.paired.p)
                )
    for (i, j), paired in zip(family, stats.judge([pending[i][1][j].paired for i, j in family])):
        pending[i][1][j] = replace(pending[i][1][j], paired=paired)
    repeated = _repeated(base)
    outcomes = tuple(
        replace(_outcome(empty, variant, comparisons, repeated), rung=_rung(empty, variant))
        for variant, comparisons in pending
    )
    return Analysis(plan, runs, tuple(names), directions, margins, outcomes, Counter(r.status for r in base))


def _mean(values: Sequence[float | None]) -> float | None:
    known = [v for v in values if v is not None]
    return statistics.fmean(known) if known else None


def _rung(analysis: Analysis, variant: Variant) -> Comparison | None:
    """A rung against the one before it, on the first metric that tells the two apart; None for the first two rungs."""
    ladder = analysis.plan.ladder
    place = ladder.index(variant.name) if variant.name in ladder else 0
    if place < 2:
        return None
    found = [
        _compare(analysis, variant, m, analysis.higher[m], analysis.margins[m], ladder[place - 1])
        for m in analysis.metrics
    ]
    return _leading(found)


def _leading(comparisons: Sequence[Comparison]) -> Comparison | None:
    """The first metric in which a change is to be seen; else the first that it touches, else the first."""
    ranked = sorted(comparisons, key=lambda c: (not c.tells, c.untouched))  # stable: the metrics keep their order
    return ranked[0] if ranked else None


def _noise(analysis: Analysis, metric: str) -> list[float]:
    """How far the metric of a baseline's run is from that of the same run made again; none where every run that was
    made again is the same to the last bit."""
    found: list[float] = []
    differs = False
    for seed in range(analysis.plan.repeats):
        one, other = analysis.runs.get((analysis.plan.baseline, seed, 1.0)), analysis.runs.get((AGAIN, seed, 1.0))
        if one is None or other is None:
            continue
        differs |= one.losses != other.losses
        a, b = one.score(metric), other.score(metric)
        if a is not None and b is not None:
            found.append(abs(a - b))
    return found if differs or any(found) else []


def _compare(
    analysis: Analysis, variant: Variant, metric: str, higher: bool, margin: float, reference: str | None = None
) -> Comparison:
    reference = reference or analysis.plan.baseline
    before, after = analysis.scores(reference, metric), analysis.scores(variant.name, metric)
    both = [
        s
        for s in range(analysis.plan.seeds)
        if (reference, s, 1.0) in analysis.runs and (variant.name, s, 1.0) in analysis.runs
    ]
    x, y = [before[s] for s in both], [after[s] for s in both]
    paired = stats.compare(x, y, margin=margin, higher_is_better=higher)
    scored = [(a, b) for a, b in zip(x, y) if a is not None and b is not None]
    means = _mean([a for a, _ in scored]), _mean([b for _, b in scored])
    noise = _noise(analysis, metric)
    lost = any((a is None) != (b is None) for a, b in zip(x, y))
    within = bool(noise) and not lost and not stats.larger([abs(b - a) for a, b in scored], noise)
    return Comparison(metric, higher, *means, tuple(before), tuple(after), paired, bool(both) and x == y, within)


def _repeated(base: Sequence[Run]) -> str:
    """Why the baseline's runs are no replicates; '' where each is another sample."""
    seeds: dict[str, list[int]] = {}
    for run in base:
        if any(loss is not None for losses in run.losses for loss in losses):
            seeds.setdefault(repr(run.losses), []).append(run.seed)
    same = max(seeds.values(), key=len, default=[])
    if len(same) < 2:
        return ""
    which = f"all {len(base)}" if len(same) == len(base) else f"{len(same)} of {len(base)}"
    return (
        f"no verdict: {which} runs of the baseline are equal to the last bit although their seeds differ: they are one "
        "run made again, and say nothing about chance (the script draws its numbers where no seed reaches)"
    )


def _outcome(analysis: Analysis, variant: Variant, comparisons: list[Comparison], repeated: str) -> Outcome:
    runs = analysis.runs_of(variant.name)
    touched = [c for c in comparisons if not c.untouched]
    leading = _leading(comparisons)
    notes = list(dict.fromkeys(note for run in runs for note in run.notes))
    unreached = _unreached(runs, variant)
    if unreached:
        verdict, why = Verdict.NOT_REACHED, unreached
    elif repeated and runs:
        verdict, why = Verdict.NONE, repeated
    elif leading is not None and _never_moves(leading) and _losses_differ(analysis, runs):
        verdict, why = (
            Verdict.NONE,
            f"no verdict: {leading.metric} is the same number in every run, so it tells nothing",
        )
    elif touched:
        assert leading is not None
        verdict, why = leading.paired.verdict, leading.paired.why
    elif not runs:
        verdict, why = Verdict.INCONCLUSIVE, "no run"
    elif not comparisons:
        verdict, why = Verdict.INCONCLUSIVE, "the runs give no score to compare"
    else:
        verdict, why = _identical(analysis, runs)
    same_seeds = [(b, r) for r in runs if (b := analysis.runs.get((analysis.plan.baseline, r.seed, 1.0))) is not None]
    targets = [_steps_to(b, r) for b, r in same_seeds]
    reached = [t for t in targets if t is not None]
    phases = _phases_that_differ(same_seeds)
    alike = [(b, r) for b, r in same_seeds if b.engine == r.engine]  # a step of eight runs together is no step of one
    return Outcome(
        variant,
        tuple(comparisons),
        verdict,
        why,
        leading,
        Counter(r.status for r in runs),
        (
            statistics.median(t[0] for t in reached) if reached else None,
            statistics.median(t[1] for t in reached) if len(reached) * 2 > len(targets) else None,
        ),
        (_median(_step_ms(b, phases) for b, _ in alike), _median(_step_ms(r, phases) for _, r in alike)),
        _step_change(alike, phases),
        (_median(b.peak() for b, _ in alike), _median(r.peak() for _, r in alike)),
        tuple(notes),
    )


def _unreached(runs: Sequence[Run], variant: Variant) -> str:
    """Why a variant says nothing: its runs executed none of the files that it changes; '' where they did."""
    files = {name for name in variant.edits if name.endswith(".py")}
    executed = {name for run in runs for name in run.files}
    if not files or not executed or files & executed:
        return ""
    return f"the command runs none of the changed files ({', '.join(sorted(files))})"


def _never_moves(c: Comparison) -> bool:
    """Whether a metric is one and the same number in every run of both sides."""
    numbers = {score for score in (*c.baseline_scores, *c.scores) if score is not None}
    return len(numbers) == 1 and c.paired.n > 1 and not c.paired.lost_baseline and not c.paired.lost_variant


def _losses_differ(analysis: Analysis, runs: Sequence[Run]) -> bool:
    return any(
        base.losses != run.losses
        for run in runs
        if (base := analysis.runs.get((analysis.plan.baseline, run.seed, 1.0))) is not None
    )


def _identical(analysis: Analysis, runs: Sequence[Run]) -> tuple[Verdict, str]:
    if all(r.score(name) is None for r in runs for name in r.series):
        return Verdict.INCONCLUSIVE, "no run ended with a score"
    if _losses_differ(analysis, runs):
        pairs = len(runs)
        if pairs < stats.MIN_SEEDS:
            return Verdict.INCONCLUSIVE, f"{pairs} paired seeds, {stats.MIN_SEEDS} are the least for a verdict"
        return Verdict.EQUIVALENT, f"the losses differ, the score is the same in all {pairs} pairs"
    return Verdict.EQUIVALENT, f"bit-equal: every loss and score is the same in all {len(runs)} pairs"


def _steps_to(base: Run, run: Run) -> tuple[float, float] | None:
    """(baseline's, own) steps until the loss reaches the baseline's final one, in the phase that differs."""
    for before, after in zip(base.losses, run.losses):
        if before != after:
            x, y = ([v for v in losses if v is not None] for losses in (before, after))
            if len(x) != len(before) or len(y) != len(after) or not x:
                return None
            target = float(stats.smooth(x)[-1])
            own, others = stats.steps_to(x, target), stats.steps_to(y, target)
            return (float(own), float(others)) if own and others else None
    return None


def _phases_that_differ(pairs: Sequence[tuple[Run, Run]]) -> frozenset[int]:
    """The phases that a change touches; all of them where it touches none."""
    count = max((len(run.losses) for pair in pairs for run in pair), default=0)
    touched = {p for p in range(count) for a, b in pairs if a.losses[p : p + 1] != b.losses[p : p + 1]}
    return frozenset(touched or range(count))


def _step_change(pairs: Sequence[tuple[Run, Run]], phases: frozenset[int]) -> tuple[float, float, float] | None:
    """How many times as long a step takes, as the geometric mean over the pairs with its t interval: on a busy machine
    single ratios say little."""
    times = [(_step_ms(base, phases), _step_ms(run, phases)) for base, run in pairs]
    logs = [math.log(own / before) for before, own in times if before and own]
    if len(logs) < 2:
        return None
    low, high = stats.t_interval(logs)
    return math.exp(statistics.fmean(logs)), math.exp(low), math.exp(high)


def _step_ms(run: Run, phases: frozenset[int]) -> float | None:
    """Milliseconds of a median step, over these phases, weighted by their steps."""
    known = [
        (s, len(losses)) for p, (s, losses) in enumerate(zip(run.step_s, run.losses)) if s is not None and p in phases
    ]
    steps = sum(n for _, n in known)
    return 1000 * sum(s * n for s, n in known) / steps if steps else None


def _median(values: object) -> float | None:
    known = [v for v in values if v is not None]  # type: ignore[attr-defined]
    return statistics.median(known) if known else None
