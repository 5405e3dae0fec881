"""A small ResNet with batch norm, from scratch: norm layers make the initialisation matter little."""

from __future__ import annotations

import functools
from pathlib import Path

import torch
from torch import Tensor, nn

from tricklint.surgery import init_weights, param_groups
from tricklint.verify.recipes.base import Data, Recipe, default_init, explicit_init
from tricklint.verify.recipes.pictures import SIZE, pills

CLASSES = list(range(0, 24, 2))


class Block(nn.Module):
    """Two 3 x 3 convolutions with batch norm and a projected shortcut, halving the picture."""

    def __init__(self, inputs: int, outputs: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(inputs, outputs, 3, stride=2, padding=1, bias=False)
        self.bn1 = nn.BatchNorm2d(outputs)
        self.conv2 = nn.Conv2d(outputs, outputs, 3, padding=1, bias=False)
        self.bn2 = nn.BatchNorm2d(outputs)
        self.shortcut = nn.Conv2d(inputs, outputs, 1, stride=2, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        y = torch.relu(self.bn1(self.conv1(x)))
        return torch.relu(self.bn2(self.conv2(y)) + self.shortcut(x))


class SmallResNet(nn.Module):
    """(n, 3, 24, 24) → logits; `fc` is the head."""

    def __init__(self, classes: int) -> None:
        super().__init__()
        self.stem = nn.Conv2d(3, 8, 3, padding=1, bias=False)
        self.bn = nn.BatchNorm2d(8)
        self.layer1, self.layer2, self.layer3 = Block(8, 16), Block(16, 24), Block(24, 32)
        self.fc = nn.Linear(32, classes)

    def forward(self, x: Tensor) -> Tensor:
        x = torch.relu(self.bn(self.stem(x)))
        scores: Tensor = self.fc(self.layer3(self.layer2(self.layer1(x))).mean((2, 3)))
        return scores


@functools.cache
def catalogue() -> Data:
    x, y, _ = pills(CLASSES, 1500, seed=100)
    x_test, y_test, _ = pills(CLASSES, 1000, seed=200)
    return Data(x, y, x_test, y_test)


class ResNetPills(Recipe):
    name = "resnet-pills"
    title = "small ResNet with batch norm, from scratch, on generated pills"
    rules = ("TRK501", "TRK601")
    variants = {
        "baseline": "Baseline",
        "init": "+ init",
        "no-decay": "+ no bias decay",
        "init+no-decay": "+ init + no bias decay",
    }
    ladder = ("baseline", "init", "init+no-decay")
    margin = 0.01
    steps = 120
    lr, decay = 0.05, 5e-4

    def data(self) -> Data:
        return catalogue()

    def model(self, variant: str, seed: int, folder: Path | None = None) -> nn.Module:
        default_init(seed)
        model = SmallResNet(len(CLASSES))
        if "init" in variant:
            init_weights(model, example=torch.zeros(1, 3, SIZE, SIZE), generator=explicit_init(seed))
        return model

    def optimizer(self, variant: str, model: nn.Module, lr_scale: float) -> torch.optim.Optimizer:
        parameters = param_groups(model, self.decay) if "no-decay" in variant else model.parameters()
        return torch.optim.SGD(parameters, lr=self.lr * lr_scale, momentum=0.9, weight_decay=self.decay)
