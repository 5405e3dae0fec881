"""The arithmetic of the tricks, torch-free: gains, initial standard deviations, α_low, prior biases.

Sources: Glorot & Bengio 2010 (Xavier), He et al. 2015 (Kaiming), Ranjan et al. 2017 (α_low), Wang et al. 2018
(CosFace, the bound for two classes), Lin et al. 2017 (focal loss, the prior π).
"""

from __future__ import annotations

import math
from collections.abc import Sequence

# Activations after which half of the signal's power is lost, so that He's gain is the right one.
RELU_FAMILY = frozenset(
    {"relu", "relu6", "leaky_relu", "rrelu", "prelu", "elu", "celu", "gelu", "silu", "mish", "hardswish", "softplus"}
)
# Activations that are about linear round zero, or nothing at all: Xavier's.
XAVIER_FAMILY = frozenset({"tanh", "sigmoid", "hardtanh", "hardsigmoid", "softsign", "none"})


def gain(activation: str, slope: float = 0.01) -> float:
    """The factor on 1/√fan_in that keeps a signal's power through `activation` (as `torch.nn.init.calculate_gain`).

    `slope` is a leaky ReLU's. GELU, SiLU, ELU, Mish and Hardswish take ReLU's √2; SELU its own 3/4; tanh 5/3.
    """
    if activation == "leaky_relu":
        return math.sqrt(2.0 / (1.0 + slope**2))
    if activation == "tanh":
        return 5.0 / 3.0
    if activation == "selu":
        return 0.75
    return math.sqrt(2.0) if activation in RELU_FAMILY else 1.0


def kaiming_std(fan_in: int, activation: str = "relu") -> float:
    """He et al. 2015, equation 10: gain / √fan_in."""
    return gain(activation) / math.sqrt(fan_in)


def xavier_std(fan_in: int, fan_out: int, activation: str = "none") -> float:
    """Glorot & Bengio 2010, equation 12: gain · √(2 / (fan_in + fan_out))."""
    return gain(activation) * math.sqrt(2.0 / (fan_in + fan_out))


def torch_default_std(fan_in: int) -> float:
    """The standard deviation of PyTorch's own default, U(±1/√fan_in): 1 / √(3·fan_in)."""
    return 1.0 / math.sqrt(3.0 * fan_in)


def alpha_low(classes: int, p: float = 0.9) -> float:
    """The least scale of L2-normalised logits with which a softmax over `classes` can reach probability `p`.

    log(p (C − 2) / (1 − p)) (Ranjan et al. 2017, equation 8); for two classes, where that is undefined, CosFace's
    (C − 1)/C · log((C − 1) p / (1 − p)). Raises ValueError when `classes` < 2 or `p` is not between 1/C and 1.
    """
    if classes < 2:
        raise ValueError(f"alpha_low needs two classes or more, got {classes}")
    if not 1.0 / classes < p < 1.0:
        raise ValueError(f"alpha_low needs a probability between 1/{classes} and 1, got {p}")
    if classes == 2:
        return (classes - 1) / classes * math.log((classes - 1) * p / (1.0 - p))
    return math.log(p * (classes - 2) / (1.0 - p))


def best_probability(scale: float, classes: int) -> float:
    """The highest probability a softmax reaches when all logits lie in ±`scale`: its own at +s, the others at −s.

    For cosines of `classes` well spread weights the others sit near 0 or at −1/(C−1), so this is an upper bound.
    """
    return 1.0 / (1.0 + (classes - 1) * math.exp(-2.0 * scale))


def sigmoid_prior_bias(prior: float) -> float:
    """b = −log((1 − π)/π) (Lin et al. 2017, section 4.1). Raises ValueError unless 0 < π < 1."""
    if not 0.0 < prior < 1.0:
        raise ValueError(f"a prior must lie strictly between 0 and 1, got {prior}")
    return -math.log((1.0 - prior) / prior)


def softmax_prior_bias(counts: Sequence[float]) -> list[float]:
    """log of the class frequencies, one per class. Raises ValueError when a count is not positive."""
    total = float(sum(counts))
    if not counts or min(counts) <= 0:
        raise ValueError(f"class counts must all be positive, got {list(counts)}")
    return [math.log(count / total) for count in counts]
