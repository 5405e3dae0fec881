"""A step that really runs out of a stated memory: what koila, or the model in pieces, makes of it."""

from __future__ import annotations

from pathlib import Path

import torch
from torch import nn

from tricklint.surgery import init_weights
from tricklint.verify.recipes.base import Data, Recipe, default_init, explicit_init
from tricklint.verify.recipes.mlp import DeepMlp
from tricklint.verify.recipes.pictures import digits

LIMIT = 12 << 20  # bytes of activations that a step may keep for its backward; in one piece it keeps three times that
DEPTH, WIDTH = 24, 384


class MemoryLimited(Recipe):
    """Every variant trains the same model on the same batches. `limited` ones get OutOfMemoryError above the limit, from
    a meter of what autograd keeps: it is exact, and the same on every device."""

    name = "memory-limited"
    title = f"24-layer MLP, {LIMIT >> 20} MB for what a step keeps"
    rules = ("TRK301",)
    variants = {"baseline": "All in one, no limit", "koila": "limited, koila", "accumulate": "limited, pieces"}
    ladder = ()
    steps = 40
    batch = 1000

    def data(self) -> Data:
        x, y, x_test, y_test = digits()
        return Data(
            nn.functional.pad(x.flatten(1), (0, WIDTH - 64)),
            y,
            nn.functional.pad(x_test.flatten(1), (0, WIDTH - 64)),
            y_test,
        )

    def model(self, variant: str, seed: int, folder: Path | None = None) -> nn.Module:
        default_init(seed)
        model = DeepMlp(DEPTH, WIDTH)
        init_weights(model, example=torch.zeros(1, WIDTH), generator=explicit_init(seed))
        return model

    # Not Adam: where a gradient is all but zero, its division makes whole steps of rounding.
    def optimizer(self, variant: str, model: nn.Module, lr_scale: float) -> torch.optim.Optimizer:
        return torch.optim.SGD(model.parameters(), lr=0.0015 * lr_scale, momentum=0.9)

    def memory(self, variant: str) -> tuple[float | None, str | None]:
        return (None, None) if variant == "baseline" else (LIMIT, variant)
