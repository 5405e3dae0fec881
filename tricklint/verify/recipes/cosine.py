"""Normalised logits of 1,000 classes: without a scale above α_low softmax cannot become sure."""

from __future__ import annotations

import functools
from pathlib import Path

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from tricklint.verify.recipes.base import Data, Recipe, default_init

CLASSES, FEATURES = 1000, 48
ALPHA_LOW = 9.10  # log(p (C - 2) / (1 - p)) at p = 0.9, C = 1000
SCALES = {"scale-1": 1.0, "scale-4": 4.0, "scale-16": 16.0, "scale-32": 32.0}


@functools.cache
def clusters() -> Data:
    """1,000 classes round random centres in 32 dimensions, seen through a fixed random non-linear map."""
    g = torch.Generator().manual_seed(7)
    centres = torch.randn(CLASSES, 32, generator=g)
    mix = torch.randn(32, 64, generator=g) / 32**0.5

    def sample(each: int) -> tuple[Tensor, Tensor]:
        y = torch.arange(CLASSES).repeat(each)
        noisy = centres[y] + 0.5 * torch.randn(len(y), 32, generator=g)
        return torch.tanh(noisy @ mix), y

    x, y = sample(12)
    x_test, y_test = sample(3)
    return Data(x, y, x_test, y_test)


class CosineNet(nn.Module):
    """Features and class weights of length 1; the logits are `scale` times their cosine."""

    def __init__(self, scale: float) -> None:
        super().__init__()
        self.body = nn.Sequential(nn.Linear(64, 128), nn.ReLU(), nn.Linear(128, FEATURES))
        self.weight = nn.Parameter(torch.randn(CLASSES, FEATURES) / FEATURES**0.5)
        self.scale = scale

    def forward(self, x: Tensor) -> Tensor:
        return self.scale * F.normalize(self.body(x), dim=1) @ F.normalize(self.weight, dim=1).T


class Cosine1000(Recipe):
    name = "cosine-1000"
    title = "cosine classifier over 1,000 generated classes (α_low = 9.1)"
    rules = ("TRK201",)
    variants = {
        "scale-1": "Baseline: scale 1",
        "scale-4": "scale 4, below α_low",
        "scale-16": "scale 16, above α_low",
        "scale-32": "scale 32, above α_low",
    }
    ladder = tuple(variants)
    metrics = ("test_acc", "highest_probability")
    steps = 400
    batch = 128

    def data(self) -> Data:
        return clusters()

    def model(self, variant: str, seed: int, folder: Path | None = None) -> nn.Module:
        default_init(seed)
        return CosineNet(SCALES[variant])

    def optimizer(self, variant: str, model: nn.Module, lr_scale: float) -> torch.optim.Optimizer:
        return torch.optim.Adam(model.parameters(), lr=2e-3 * lr_scale)

    def evaluate(self, model: nn.Module, data: Data) -> dict[str, float]:
        outputs = model(data.x_test)
        sure = outputs.softmax(1).amax(1)
        return {
            "test_acc": float((outputs.argmax(1) == data.y_test).float().mean()),
            "highest_probability": float(sure.max()),
        }
