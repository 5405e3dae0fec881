"""The formulas behind unscaled-normalized-logits, against their own definitions and against brute force."""

from __future__ import annotations

import math
import random

import pytest

from tricklint.knowledge.alpha import alpha_low, highest, reachable, rounded_scale


@pytest.mark.parametrize(("classes", "expected"), [(2, 1.0986), (10, 4.2767), (100, 6.7822), (1000, 9.1030)])
def test_alpha_low_at_nine_tenths(classes: int, expected: float) -> None:
    assert alpha_low(classes, 0.9) == pytest.approx(expected, abs=1e-4)


@pytest.mark.parametrize("classes", [2, 3, 10, 1000])
@pytest.mark.parametrize("p", [0.6, 0.9, 0.99])
def test_the_probability_at_alpha_low_is_p(classes: int, p: float) -> None:
    low = alpha_low(classes, p)
    assert reachable(classes, low) == pytest.approx(p)
    assert reachable(classes, low * 0.9) < p


def test_no_cosines_pass_the_highest_probability() -> None:
    draw = random.Random(0)
    for _ in range(2000):
        classes, scale = draw.randint(2, 20), draw.uniform(0.5, 10)
        logits = [scale * draw.uniform(-1, 1) for _ in range(classes)]
        best = math.exp(max(logits)) / sum(math.exp(logit) for logit in logits)
        assert best <= highest(classes, scale) + 1e-12
    extreme = [5.0, -5.0, -5.0]
    assert math.exp(5) / sum(map(math.exp, extreme)) == pytest.approx(highest(3, 5.0))


def test_one_class_has_no_alpha() -> None:
    with pytest.raises(ValueError, match="two classes"):
        alpha_low(1, 0.9)


@pytest.mark.parametrize(("low", "scale"), [(4.3, 16.0), (16.0, 16.0), (20.0, 30.0), (63.9, 64.0), (71.0, 80.0)])
def test_a_usual_scale_at_or_above(low: float, scale: float) -> None:
    assert rounded_scale(low) == scale
