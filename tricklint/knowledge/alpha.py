"""How large the scale of normalised logits must be, and what softmax can reach with a smaller one.

With unit features and unit class weights every logit is a cosine in [−1, 1], times a scale s.

* Ranjan, Castillo, Chellappa, "L2-constrained Softmax Loss for Discriminative Face Verification" (2017,
  arXiv:1703.09507), section 3.3: with C > 2 classes spread over the sphere, the other class weights stand orthogonal to
  the feature but for one opposite to it, so that p ≈ e^s / (e^s + C − 2), and
  α_low = log(p (C − 2) / (1 − p)).
* Wang et al., "CosFace: Large Margin Cosine Loss for Deep Face Recognition" (2018, arXiv:1801.09414), section 3.3: with
  the class weights on a regular simplex (cosine −1/(C − 1) between any two), s ≥ (C − 1)/C · log((C − 1) p / (1 − p)).
  It holds for C = 2 too, where the first formula is undefined.
* No feature can do better than cosine 1 with its own class and −1 with all others:
  p ≤ e^s / (e^s + (C − 1) e^−s).
"""

from __future__ import annotations

import math


def alpha_low(classes: int, p: float) -> float:
    """The lowest scale at which a probability of `p` is in reach for `classes` classes. classes ≥ 2, 0 < p < 1."""
    if classes < 2:
        raise ValueError(f"a softmax needs two classes, not {classes}")
    if classes == 2:
        return (classes - 1) / classes * math.log((classes - 1) * p / (1 - p))
    return math.log(p * (classes - 2) / (1 - p))


def reachable(classes: int, scale: float) -> float:
    """The probability that the model behind `alpha_low` gives at `scale`: `reachable(C, alpha_low(C, p)) == p`."""
    if classes == 2:
        return 1 / (1 + math.exp(-2 * scale))
    return 1 / (1 + (classes - 2) * math.exp(-scale))


def highest(classes: int, scale: float) -> float:
    """The bound that no sample can pass: cosine 1 with its own class, −1 with every other."""
    return 1 / (1 + (classes - 1) * math.exp(-2 * scale))


def rounded_scale(low: float) -> float:
    """A usual scale at or above `low`: 16, 30, 64 (L2-softmax, CosFace and ArcFace use such), or the next ten."""
    return next((usual for usual in (16.0, 30.0, 64.0) if usual >= low), math.ceil(low / 10) * 10.0)
