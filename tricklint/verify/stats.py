"""What paired runs say about one change: the only place where `--verify` does statistics.

Every function takes differences `d[i] = variant[i] - baseline[i]` of one score over paired seeds, signed so that
positive means *better*. The tests: the exact sign-flip test (Fisher 1935; all 2^n signs), the paired-t interval, two
one-sided t tests for equivalence (Schuirmann 1987) against a margin stated beforehand, Holm's step-down correction
(1979) over the changes judged together, and the exact McNemar test for runs that diverged or crashed.
"""

from __future__ import annotations

import enum
import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray
from scipy import stats

MIN_SEEDS = 6  # below six pairs the sign-flip test cannot reach p <= 0.05 at all
DEFAULT_SEEDS = 8  # power .67 for an effect of one sigma of the differences, .94 for 1.5 sigma
EXACT_UP_TO = 14  # pairs; beyond this the sign-flip test draws 20,000 random signs
ALPHA = 0.05


class Verdict(enum.Enum):
    """The four words of a verdict, one for changes that the runs never reached, one where the runs cannot tell, one for
    what is only shown."""

    HELPS = "helps"
    HURTS = "hurts"
    EQUIVALENT = "equivalent"
    INCONCLUSIVE = "inconclusive"
    NOT_REACHED = "not reached"
    NONE = "no verdict"  # the runs cannot tell: they are one run made again, or the metric never moves
    NOT_JUDGED = "–"  # shown with its interval, but outside the family that verdicts are given on


@dataclass(frozen=True)
class Paired:
    """One change against the baseline over `n` paired seeds. `effect`, `low` and `high` are in the score's own unit,
    positive is better; `p` is the raw sign-flip p, `p_holm` the corrected one, `p_tost` the equivalence p."""

    n: int
    effect: float
    low: float
    high: float
    p: float
    p_better: float
    p_tost: float
    margin: float
    lost_baseline: int = 0  # baseline runs without a usable score (diverged, crashed)
    lost_variant: int = 0
    p_lost: float = 1.0  # exact McNemar over those
    p_holm: float = 1.0
    p_tost_holm: float = 1.0
    verdict: Verdict = Verdict.INCONCLUSIVE
    why: str = ""


def _array(values: Sequence[float]) -> NDArray[np.float64]:
    return np.asarray(values, dtype=np.float64)


def sign_flip_p(differences: Sequence[float]) -> float:
    """Two-sided p of the sign-flip test of mean difference 0: exact up to `EXACT_UP_TO` pairs."""
    d = _array(differences)
    if len(d) < 2 or not d.any():  # one pair and its mirror image are as far from 0 as each other
        return 1.0
    exact = len(d) <= EXACT_UP_TO
    result = stats.permutation_test(
        (d,),
        lambda x, axis: np.mean(x, axis=axis),
        permutation_type="samples",
        vectorized=True,
        n_resamples=np.inf if exact else 20_000,
        alternative="two-sided",
        rng=np.random.default_rng(0),
    )
    return float(min(1.0, result.pvalue))


def t_interval(differences: Sequence[float], level: float = 0.95) -> tuple[float, float]:
    """The paired-t interval of the mean difference; infinite for fewer than two pairs."""
    d = _array(differences)
    if len(d) < 2:
        return -math.inf, math.inf
    half = float(stats.t.ppf((1 + level) / 2, len(d) - 1) * stats.sem(d))
    return float(d.mean()) - half, float(d.mean()) + half


def probability_better(differences: Sequence[float]) -> float:
    """P(mean difference > 0) under Student's t with a flat prior; 0.5 when nothing differs."""
    d = _array(differences)
    if len(d) < 2 or not d.any():
        return 0.5
    error = float(stats.sem(d))
    if error == 0:
        return 1.0 if d.mean() > 0 else 0.0
    return float(stats.t.cdf(d.mean() / error, len(d) - 1))


def tost_p(differences: Sequence[float], margin: float) -> float:
    """p of the two one-sided t tests that the mean difference lies inside (-margin, margin)."""
    d = _array(differences)
    if len(d) < 2 or margin <= 0:
        return 1.0
    error = float(stats.sem(d))
    if error == 0:
        return 0.0 if abs(d.mean()) < margin else 1.0
    above = stats.t.sf((d.mean() + margin) / error, len(d) - 1)
    below = stats.t.cdf((d.mean() - margin) / error, len(d) - 1)
    return float(max(above, below))


def larger(these: Sequence[float], those: Sequence[float], alpha: float = ALPHA) -> bool:
    """Whether sizes `these` are larger than `those` by more than chance: the one-sided rank-sum test (Mann & Whitney,
    1947)."""
    if not these or not those:
        return bool(these)
    return float(stats.mannwhitneyu(these, those, alternative="greater").pvalue) <= alpha


def holm(p_values: Sequence[float]) -> list[float]:
    """Holm's step-down adjusted p values, in the order given."""
    order = sorted(range(len(p_values)), key=lambda i: p_values[i])
    adjusted = [1.0] * len(p_values)
    highest = 0.0
    for rank, index in enumerate(order):
        highest = max(highest, min(1.0, (len(p_values) - rank) * p_values[index]))
        adjusted[index] = highest
    return adjusted


def seeds_needed(comparisons: int, alpha: float = ALPHA) -> int:
    """The fewest paired seeds with which the smallest possible sign-flip p, 2^(1-n), survives Holm over so many
    comparisons: 6 for one, 8 for up to 6, 9 for up to 12."""
    return max(MIN_SEEDS, math.ceil(1 + math.log2(max(1, comparisons) / alpha)))


def mcnemar_p(only_baseline: int, only_variant: int) -> float:
    """Exact two-sided McNemar p: pairs where only the one, or only the other, run was lost."""
    discordant = only_baseline + only_variant
    return float(stats.binomtest(only_baseline, discordant, 0.5).pvalue) if discordant else 1.0


def compare(
    baseline: Sequence[float | None], variant: Sequence[float | None], *, margin: float, higher_is_better: bool = True
) -> Paired:
    """Compare paired scores (same length, one entry a seed; None or a non-finite number: the run yielded no score)."""
    if len(baseline) != len(variant):
        raise ValueError(f"unpaired: {len(baseline)} baseline scores, {len(variant)} of the variant")
    usable = [
        (x is not None and math.isfinite(x), y is not None and math.isfinite(y)) for x, y in zip(baseline, variant)
    ]
    sign = 1.0 if higher_is_better else -1.0
    d = [
        sign * (float(y) - float(x))
        for x, y, ok in zip(baseline, variant, usable)
        if all(ok) and x is not None and y is not None
    ]
    low, high = t_interval(d)
    return Paired(
        n=len(d),
        effect=float(np.mean(d)) if d else math.nan,
        low=low,
        high=high,
        p=sign_flip_p(d),
        p_better=probability_better(d),
        p_tost=tost_p(d, margin),
        margin=margin,
        lost_baseline=sum(not x for x, _ in usable),
        lost_variant=sum(not y for _, y in usable),
        p_lost=mcnemar_p(sum(y and not x for x, y in usable), sum(x and not y for x, y in usable)),
    )


def judge(comparisons: Sequence[Paired], alpha: float = ALPHA) -> list[Paired]:
    """Give each comparison its verdict, corrected (Holm) over all of them.

    A change that survives the margin as equivalent is called so even when a sign test sees its tiny effect.
    """
    p_holm = holm([min(1.0, 2 * min(c.p, c.p_lost)) if c.p_lost < 1 else c.p for c in comparisons])
    p_tost = holm([c.p_tost for c in comparisons])
    return [
        _verdict(replace(c, p_holm=p, p_tost_holm=q), alpha, len(comparisons))
        for c, p, q in zip(comparisons, p_holm, p_tost)
    ]


def _verdict(c: Paired, alpha: float, family: int) -> Paired:
    pairs = c.n + max(c.lost_baseline, c.lost_variant)
    if pairs < MIN_SEEDS:
        return replace(c, why=f"{pairs} paired seeds, {MIN_SEEDS} are the least for a verdict")
    lost = c.lost_variant - c.lost_baseline
    lost_word = (
        f"; lost runs: baseline {c.lost_baseline}, fixed {c.lost_variant}" if c.lost_variant or c.lost_baseline else ""
    )
    if c.p_holm <= alpha and c.p_lost < c.p:
        verdict = Verdict.HURTS if lost > 0 else Verdict.HELPS
        return replace(
            c, verdict=verdict, why=f"runs that end without a score: baseline {c.lost_baseline}, fixed {c.lost_variant}"
        )
    if c.n < MIN_SEEDS:
        return replace(c, why=f"only {c.n} pairs yielded a score{lost_word}")
    if c.p_tost_holm <= alpha and not lost:
        return replace(c, verdict=Verdict.EQUIVALENT, why=f"within the margin of ±{c.margin:.3g}")
    if c.p_holm <= alpha:
        verdict = Verdict.HELPS if c.effect > 0 else Verdict.HURTS
        return replace(c, verdict=verdict, why=f"sign-flip p {c.p_holm:.3f} after Holm{lost_word}")
    if pairs < seeds_needed(family, alpha):
        return replace(
            c,
            why=f"{family} comparisons need {seeds_needed(family, alpha)} paired seeds, there are {pairs}",
        )
    return replace(c, why=f"sign-flip p {c.p_holm:.2f} after Holm, and not within ±{c.margin:.3g}{lost_word}")


def smooth(losses: Sequence[float], window: int | None = None) -> NDArray[np.float64]:
    """Trailing mean over `window` steps (a twentieth of the run unless given); same length as `losses`."""
    x = _array(losses)
    if len(x) == 0:
        return x
    width = window or max(1, len(x) // 20)
    total = np.cumsum(np.concatenate([[0.0], x]))
    start = np.maximum(0, np.arange(1, len(x) + 1) - width)
    means: NDArray[np.float64] = (total[1:] - total[start]) / (np.arange(1, len(x) + 1) - start)
    return means


def steps_to(losses: Sequence[float], target: float) -> int | None:
    """The first step (1-based) whose smoothed loss reaches `target`, or None."""
    reached = np.flatnonzero(smooth(losses) <= target)
    return int(reached[0]) + 1 if len(reached) else None
