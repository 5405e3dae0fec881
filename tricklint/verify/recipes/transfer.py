"""Transfer learning: pre-train on one half of the catalogue, fine-tune on few pictures of the other half."""

from __future__ import annotations

import functools
from pathlib import Path

import torch
from torch import nn

from tricklint.surgery import freeze_backbone, freeze_norms, unfreeze
from tricklint.verify.recipes.base import Data, Recipe, batches, default_init
from tricklint.verify.recipes.pictures import pills
from tricklint.verify.recipes.resnet import CLASSES as OLD
from tricklint.verify.recipes.resnet import SmallResNet, catalogue

NEW = list(range(1, 24, 2))
PRETRAINED = "transfer-pills.pt"


@functools.cache
def new_catalogue() -> Data:
    x, y, _ = pills(NEW, 240, seed=300)
    x_test, y_test, _ = pills(NEW, 1000, seed=400)
    return Data(x, y, x_test, y_test)


class TransferPills(Recipe):
    name = "transfer-pills"
    title = "fine-tuning on 240 pictures of 12 new pills, after pre-training on 12 others"
    rules = ("TRK101", "TRK102")
    variants = {
        "full": "Baseline: all layers at the head's rate",
        "frozen": "backbone frozen",
        "frozen-unfrozen": "frozen, then unfrozen at a tenth of the rate",
    }
    ladder = ("full", "frozen", "frozen-unfrozen")
    margin = 0.01
    steps = 200
    batch = 32
    lr = 0.1

    def prepare(self, folder: Path) -> None:
        torch.set_num_threads(1)  # two threads on a busy machine are slower than one
        default_init(0)
        data, model = catalogue(), SmallResNet(len(OLD))
        optimizer = torch.optim.Adam(model.parameters(), lr=3e-3)
        for index in batches(len(data.x), 64, 250, seed=0):
            optimizer.zero_grad()
            self.loss(model(data.x[index]), data.y[index]).backward()
            optimizer.step()
        torch.save(model.state_dict(), folder / PRETRAINED)

    def data(self) -> Data:
        return new_catalogue()

    def model(self, variant: str, seed: int, folder: Path | None = None) -> nn.Module:
        if folder is None:
            raise ValueError("transfer-pills needs the folder in which prepare() left its weights")
        model = SmallResNet(len(OLD))
        model.load_state_dict(torch.load(folder / PRETRAINED, weights_only=True))
        default_init(seed)
        model.fc = nn.Linear(32, len(NEW))
        if variant != "full":
            freeze_backbone(model, head="fc")
            freeze_norms(model)
        return model

    def optimizer(self, variant: str, model: nn.Module, lr_scale: float) -> torch.optim.Optimizer:
        trainable = [p for p in model.parameters() if p.requires_grad]
        return torch.optim.SGD(trainable, lr=self.lr * lr_scale, momentum=0.9, weight_decay=5e-4)

    def before_step(
        self, variant: str, step: int, steps: int, model: nn.Module, optimizer: torch.optim.Optimizer
    ) -> None:
        if variant == "frozen-unfrozen" and step == steps // 2:
            unfreeze(model, optimizer, lr=optimizer.param_groups[0]["lr"] / 10)
