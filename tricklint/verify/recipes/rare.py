"""Two per cent positives under a focal loss: a head that starts at the prior, against one that starts at one half."""

from __future__ import annotations

import functools
from pathlib import Path

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from tricklint.surgery import prior_bias
from tricklint.verify.recipes.base import Data, Recipe, default_init
from tricklint.verify.recipes.pictures import pills

SHARE = 0.02


@functools.cache
def stained() -> Data:
    x, _, y = pills(list(range(12)), 3000, seed=500, stained=SHARE)
    x_test, _, y_test = pills(list(range(12)), 2000, seed=600, stained=SHARE)
    return Data(x, y, x_test, y_test)


class Detector(nn.Module):
    """(n, 3, 24, 24) → one logit a picture; `head` is the last layer."""

    def __init__(self) -> None:
        super().__init__()
        layers: list[nn.Module] = []
        width = 3
        for size in (12, 16, 24):
            layers += [
                nn.Conv2d(width, size, 3, padding=1, bias=False),
                nn.GroupNorm(4, size),
                nn.ReLU(),
                nn.MaxPool2d(2),
            ]
            width = size
        self.body = nn.Sequential(*layers)
        self.head = nn.Linear(width * 9, 1)

    def forward(self, x: Tensor) -> Tensor:
        logits: Tensor = self.head(self.body(x).flatten(1)).squeeze(1)
        return logits


def focal_loss(logits: Tensor, targets: Tensor, alpha: float = 0.25, gamma: float = 2.0) -> Tensor:
    """Mean focal loss (Lin et al. 2017) of logits and 0/1 targets of the same shape."""
    loss = F.binary_cross_entropy_with_logits(logits, targets, reduction="none")
    p = torch.sigmoid(logits)
    p_t = p * targets + (1 - p) * (1 - targets)
    return ((alpha * targets + (1 - alpha) * (1 - targets)) * (1 - p_t) ** gamma * loss).mean()


def average_precision(scores: Tensor, truth: Tensor) -> float:
    """Area under precision over recall, of scores (n,) and 0/1 truth (n,)."""
    truth = truth[scores.argsort(descending=True, stable=True)]
    precision = truth.cumsum(0) / torch.arange(1, len(truth) + 1, device=truth.device)
    return float((precision * truth).sum() / truth.sum())


class RarePositives(Recipe):
    name = "rare-positives"
    title = "stained pills, 2 % of all, under a focal loss"
    rules = ("TRK503",)
    variants = {
        "baseline": "Baseline: bias 0",
        "prior": "+ prior bias (π = 0.02)",
        "prior-0.01": "+ prior bias (π = 0.01)",
    }
    ladder = tuple(variants)
    metrics = ("early_test_ap", "test_ap")
    margin = 0.02
    steps = 200

    def data(self) -> Data:
        return stained()

    def model(self, variant: str, seed: int, folder: Path | None = None) -> nn.Module:
        default_init(seed)
        model = Detector()
        nn.init.zeros_(model.head.bias)
        if variant != "baseline":
            prior_bias(model, SHARE if variant == "prior" else 0.01, head="head")
        return model

    def optimizer(self, variant: str, model: nn.Module, lr_scale: float) -> torch.optim.Optimizer:
        return torch.optim.Adam(model.parameters(), lr=2e-3 * lr_scale)

    def loss(self, outputs: Tensor, targets: Tensor) -> Tensor:
        return focal_loss(outputs, targets)

    def evaluate(self, model: nn.Module, data: Data) -> dict[str, float]:
        scores = torch.cat([model(part) for part in data.x_test.split(500)])
        return {"test_ap": average_precision(scores, data.y_test), "test_loss": float(focal_loss(scores, data.y_test))}
