"""The statistics against simulated truth and against values worked out by hand."""

from __future__ import annotations

import itertools
import math

import numpy as np
import pytest
from scipy import stats as scipy_stats

from tricklint.verify import stats
from tricklint.verify.stats import Verdict, compare, judge


def by_hand(d: list[float]) -> float:
    """The sign-flip p by counting all sign patterns."""
    seen = abs(sum(d))
    sums = [abs(sum(s * x for s, x in zip(signs, d))) for signs in itertools.product((1, -1), repeat=len(d))]
    return sum(s >= seen - 1e-12 for s in sums) / len(sums)


@pytest.mark.parametrize("n", [3, 5, 6, 8])
def test_sign_flip_is_exact(n: int) -> None:
    d = np.random.default_rng(n).normal(0.4, 1, n).tolist()
    assert stats.sign_flip_p(d) == pytest.approx(by_hand(d))


@pytest.mark.parametrize(("n", "smallest"), [(3, 0.25), (5, 0.0625), (6, 0.03125), (8, 0.0078125)])
def test_smallest_p(n: int, smallest: float) -> None:
    assert stats.sign_flip_p([1.0 + 0.01 * i for i in range(n)]) == pytest.approx(smallest)


def test_no_difference_is_p_one() -> None:
    assert stats.sign_flip_p([0.0] * 8) == 1.0
    assert stats.probability_better([0.0] * 8) == 0.5


def test_interval_is_that_of_scipy() -> None:
    d = [0.1, 0.3, -0.05, 0.2, 0.15, 0.12]
    expected = scipy_stats.ttest_1samp(d, 0).confidence_interval(0.95)
    assert stats.t_interval(d) == pytest.approx((expected.low, expected.high))


def test_sizes_are_compared_by_rank() -> None:
    assert stats.larger([0.5] * 8, [0.1, 0.2, 0.1])
    assert not stats.larger([0.1, 0.2, 0.15, 0.1, 0.12, 0.3, 0.2, 0.1], [0.1, 0.2, 0.18])
    assert stats.larger([0.1] * 8, [0.0] * 3)
    assert not stats.larger([], [0.1])


def test_holm_by_hand() -> None:
    assert stats.holm([0.01, 0.04, 0.03]) == pytest.approx([0.03, 0.06, 0.06])
    assert stats.holm([0.5, 0.9]) == pytest.approx([1.0, 1.0])


def simulate(effect: float, seeds: int, runs: int, margin: float = 0.1, fixes: int = 1) -> list[list[Verdict]]:
    rng = np.random.default_rng(3)
    found = []
    for _ in range(runs):
        base = rng.normal(0, 1, seeds)
        fixed = [base + rng.normal(effect, 1, seeds) for _ in range(fixes)]
        found.append([c.verdict for c in judge([compare(base.tolist(), f.tolist(), margin=margin) for f in fixed])])
    return found


@pytest.mark.parametrize(("fixes", "runs"), [(1, 400), (4, 150), pytest.param(4, 1000, marks=pytest.mark.long)])
def test_false_positives_stay_below_five_per_cent(fixes: int, runs: int) -> None:
    """Of sessions without any effect at most 5 % call some fix helping or hurting (2 σ of the simulation)."""
    found = simulate(0.0, 8, runs, fixes=fixes)
    wrong = sum(any(v in (Verdict.HELPS, Verdict.HURTS) for v in verdicts) for verdicts in found) / len(found)
    assert wrong <= 0.05 + 2 * math.sqrt(0.05 * 0.95 / runs)


@pytest.mark.parametrize(("effect", "stated"), [(1.0, 0.67), (1.5, 0.94)])
def test_power_is_the_stated_one(effect: float, stated: float) -> None:
    found = simulate(effect, 8, 300, margin=0.01)
    power = sum(verdicts[0] is Verdict.HELPS for verdicts in found) / len(found)
    assert power == pytest.approx(stated, abs=0.06)


def test_equivalence_is_seldom_claimed_of_an_effect_as_large_as_the_margin() -> None:
    rng = np.random.default_rng(5)
    claims = 0
    for _ in range(400):
        d = rng.normal(0.5, 0.3, 8)
        claims += judge([compare([0.0] * 8, d.tolist(), margin=0.5)])[0].verdict is Verdict.EQUIVALENT
    assert claims / 400 <= 0.05 + 2 * math.sqrt(0.05 * 0.95 / 400)


def test_small_and_sure_is_equivalent() -> None:
    base = [0.90, 0.91, 0.92, 0.93, 0.94, 0.95, 0.96, 0.97]
    fixed = [b + 0.001 + 0.0001 * (i % 3) for i, b in enumerate(base)]
    assert judge([compare(base, fixed, margin=0.01)])[0].verdict is Verdict.EQUIVALENT


def test_no_verdict_below_six_seeds() -> None:
    c = judge([compare([0.0] * 5, [1.0, 1.1, 1.2, 0.9, 1.0], margin=0.1)])[0]
    assert c.verdict is Verdict.INCONCLUSIVE
    assert "6" in c.why


def test_lower_is_better_turns_the_sign() -> None:
    c = judge([compare([1.0] * 8, [0.5 + 0.01 * i for i in range(8)], margin=0.01, higher_is_better=False)])[0]
    assert c.verdict is Verdict.HELPS
    assert c.effect > 0


def test_runs_without_a_score_are_counted_and_can_decide() -> None:
    base: list[float | None] = [math.nan] * 8
    fixed: list[float | None] = [0.9 + 0.001 * i for i in range(8)]
    c = judge([compare(base, fixed, margin=0.01)])[0]
    assert (c.lost_baseline, c.lost_variant, c.n) == (8, 0, 0)
    assert c.verdict is Verdict.HELPS
    worse = judge([compare(fixed, base, margin=0.01)])[0]
    assert worse.verdict is Verdict.HURTS


def test_unpaired_scores_are_refused() -> None:
    with pytest.raises(ValueError, match="unpaired"):
        compare([1.0], [1.0, 2.0], margin=0.1)


def test_steps_to_a_loss() -> None:
    falling = [10.0 - i for i in range(10)]
    assert stats.steps_to(falling, 5.0) == 6
    assert stats.steps_to(falling, -1.0) is None
    assert stats.smooth([1.0, 3.0, 5.0], 2).tolist() == [1.0, 2.0, 4.0]
