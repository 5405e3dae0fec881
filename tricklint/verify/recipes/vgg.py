"""The slides' ladder at the size of digits: a norm-free VGG-16 from scratch, baseline → + Xavier → + no bias decay, and
the same with the activation's gain, which is what the fix of TRK501 writes."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from tricklint.surgery import init_weights, param_groups
from tricklint.verify.recipes.base import Data, Recipe, default_init, explicit_init
from tricklint.verify.recipes.pictures import digits

# VGG-16's 13 convolutions in 5 blocks. 8 x 8 pictures are halved twice: on 1 x 1 maps, where 8 of a kernel's 9 taps see
# only padding, no initialisation keeps the signal.
BLOCKS = ((16, 16), (24, 24, "M"), (32, 32, 32), (32, 32, 32, "M"), (32, 32, 32))


class Vgg16(nn.Module):
    """13 convolutions and 3 linear layers with ReLU, no norm layers, for (n, 1, 8, 8)."""

    def __init__(self, classes: int = 10) -> None:
        super().__init__()
        layers: list[nn.Module] = []
        width = 1
        for block in BLOCKS:
            for size in block:
                if isinstance(size, int):
                    layers += [nn.Conv2d(width, size, 3, padding=1), nn.ReLU()]
                    width = size
                else:
                    layers.append(nn.MaxPool2d(2))
        self.features = nn.Sequential(*layers)
        self.classifier = nn.Sequential(
            nn.Linear(width * 4, 64), nn.ReLU(), nn.Linear(64, 64), nn.ReLU(), nn.Linear(64, classes)
        )

    def forward(self, x: Tensor) -> Tensor:
        scores: Tensor = self.classifier(self.features(x).flatten(1))
        return scores


class VggDigits(Recipe):
    name = "vgg-digits"
    title = "VGG-16 without norm layers, from scratch, on digits, with AdamW"
    rules = ("TRK501", "TRK502", "TRK601")
    variants = {
        "baseline": "Baseline",
        "xavier": "+ Xavier (gain 1)",
        "xavier+no-decay": "+ Xavier + no bias decay",
        "init": "+ init (gain of the activation)",
        "init+no-decay": "+ init + no bias decay",
        "no-decay": "+ no bias decay",
    }
    ladder = ("baseline", "xavier", "xavier+no-decay", "init", "init+no-decay")
    steps = 400
    lr, decay = 1e-3, 0.05

    def data(self) -> Data:
        return Data(*digits())

    def model(self, variant: str, seed: int, folder: Path | None = None) -> nn.Module:
        default_init(seed)
        model = Vgg16()
        if "init" in variant:
            init_weights(model, example=torch.zeros(1, 1, 8, 8), generator=explicit_init(seed))
        elif "xavier" in variant:
            generator = explicit_init(seed)
            for module in model.modules():
                if isinstance(module, (nn.Conv2d, nn.Linear)):
                    nn.init.xavier_uniform_(module.weight, generator=generator)
                    assert module.bias is not None
                    nn.init.zeros_(module.bias)
        return model

    def optimizer(self, variant: str, model: nn.Module, lr_scale: float) -> torch.optim.Optimizer:
        return torch.optim.AdamW(self._parameters(variant, model), lr=self.lr * lr_scale, weight_decay=self.decay)

    def _parameters(self, variant: str, model: nn.Module) -> Any:
        return param_groups(model, self.decay) if "no-decay" in variant else model.parameters()


class VggDigitsSgd(VggDigits):
    """With SGD the weight decay outweighs the gradients that reach the first layers: from the default initialisation
    the net never starts to learn, from Xavier's only after some hundred steps."""

    name = "vgg-digits-sgd"
    title = "the same VGG-16 with SGD"
    steps = 1200
    lr, decay = 0.02, 5e-4

    def optimizer(self, variant: str, model: nn.Module, lr_scale: float) -> torch.optim.Optimizer:
        parameters = self._parameters(variant, model)
        return torch.optim.SGD(parameters, lr=self.lr * lr_scale, momentum=0.9, weight_decay=self.decay)
