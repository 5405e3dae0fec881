"""Twenty plain layers: where PyTorch's default initialisation loses the signal."""

from __future__ import annotations

from pathlib import Path

import torch
from torch import Tensor, nn

from tricklint.surgery import init_weights, param_groups
from tricklint.verify.recipes.base import Data, Recipe, default_init, explicit_init
from tricklint.verify.recipes.pictures import digits


class DeepMlp(nn.Module):
    """(n, 1, 8, 8) → 10 logits through 20 linear layers with ReLU between."""

    def __init__(self, depth: int = 20, width: int = 64) -> None:
        super().__init__()
        hidden = [layer for _ in range(depth - 1) for layer in (nn.Linear(width, width), nn.ReLU())]
        self.layers = nn.Sequential(*hidden, nn.Linear(width, 10))

    def forward(self, x: Tensor) -> Tensor:
        scores: Tensor = self.layers(x.flatten(1))
        return scores


class MlpDeep(Recipe):
    name = "mlp-deep"
    title = "20-layer ReLU MLP on digits"
    rules = ("TRK501", "TRK601")
    variants = {"baseline": "Baseline", "init": "+ init", "init+no-decay": "+ init + no bias decay"}
    ladder = ("baseline", "init", "init+no-decay")
    steps = 300
    lr, decay = 0.02, 1e-3

    def data(self) -> Data:
        return Data(*digits())

    def model(self, variant: str, seed: int, folder: Path | None = None) -> nn.Module:
        default_init(seed)
        model = DeepMlp()
        if "init" in variant:
            init_weights(model, example=torch.zeros(1, 1, 8, 8), generator=explicit_init(seed))
        return model

    def optimizer(self, variant: str, model: nn.Module, lr_scale: float) -> torch.optim.Optimizer:
        parameters = param_groups(model, self.decay) if "no-decay" in variant else model.parameters()
        return torch.optim.SGD(parameters, lr=self.lr * lr_scale, momentum=0.9, weight_decay=self.decay)
