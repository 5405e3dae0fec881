"""Whether the targets that a loss was given are so uneven that a start at even odds is far from them."""

from __future__ import annotations

import math
from collections.abc import Sequence

from tricklint.watching.record import Parameter

FAR = 2.0  # the loss of even odds, as a multiple of that of always answering with the shares seen
SURE = 1.96  # standard errors that a share may be larger than it was seen to be


def even_odds(classes: int) -> float:
    """The loss of a head that begins at even odds: ln 2 for a sigmoid, ln C for a softmax."""
    return math.log(classes)


def base_rate(seen: Sequence[float], weighed: Sequence[float]) -> float | None:
    """The least loss of an answer that is the same for all, at the most that the targets leave open; None where they show
    one class alone. `weighed`: the classes as the loss weighs them, which is what it learns."""
    count, total = sum(seen), sum(weighed)
    if sum(one > 0 for one in seen) < 2 or total <= 0:
        return None
    if len(seen) == 2:
        rare = min(weighed) / total
        if rare >= 0.5:
            return math.log(2)
        return _entropy((upper := _at_most(rare, count), 1 - upper))
    # Few samples show fewer classes than there are, so that their entropy comes out low (Miller and Madow 1955).
    return min(math.log(len(seen)), _entropy([one / total for one in weighed]) + (len(seen) - 1) / (2 * count))


def _at_most(share: float, count: float) -> float:
    """The upper end of Wilson's interval."""
    z = SURE * SURE / count
    middle, off = share + z / 2, math.sqrt(share * (1 - share) * z + z * z / 4)
    return min(0.5, (middle + off) / (1 + z))


def _entropy(shares: Sequence[float]) -> float:
    return -sum(share * math.log(share) for share in shares if share > 0)


def default_bias(bias: Parameter) -> bool | None:
    """Whether a bias began with the small numbers of PyTorch's default, U(±1/√fan_in); None where that is not known."""
    if bias.statistics is None or bias.model is None:
        return None
    if bias.drawn is not None or bias.loaded is not None:
        return False
    weight = next((p for p in bias.model.parameters if p.name == bias.name.removesuffix("bias") + "weight"), None)
    if weight is None or weight.kind != "matrix":
        return None
    bound = 1 / math.sqrt(max(1, weight.size // max(1, weight.shape[0])))
    return bias.statistics.largest <= bound * 1.0001
