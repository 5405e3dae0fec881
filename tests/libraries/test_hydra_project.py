"""A project whose scripts name nothing: Hydra's configuration says what is built, and with what."""

from __future__ import annotations

from pathlib import Path

from tricklint.check import Options, run
from tricklint.settings import load

FILES = {
    "configs/data/mnist.yaml": """\
_target_: src.data.dm.DM
batch_size: 128
""",
    "configs/model/mnist.yaml": """\
_target_: src.models.module.LitModule
optimizer:
  _target_: torch.optim.AdamW
  _partial_: true
  lr: 0.001
  weight_decay: 0.05
net:
  _target_: src.models.net.Net
  width: 64
""",
    "configs/train.yaml": """\
# @package _global_
defaults:
  - _self_
  - data: mnist
  - model: mnist
  - trainer: gpu
  - experiment: null
  - optional local: default
task_name: "train"
""",
    "configs/trainer/gpu.yaml": """\
_target_: lightning.pytorch.trainer.Trainer
accelerator: gpu
devices: 1
""",
    "src/data/dm.py": """\
from lightning import LightningDataModule
from torch.utils.data import DataLoader
from torchvision.datasets import MNIST
class DM(LightningDataModule):
    def __init__(self, batch_size: int = 64):
        super().__init__()
        self.save_hyperparameters(logger=False)
        self.batch_size_per_device = batch_size
    def setup(self, stage=None):
        self.data_train = MNIST("d", train=True)
    def train_dataloader(self):
        return DataLoader(self.data_train, batch_size=self.batch_size_per_device, shuffle=True)
""",
    "src/models/module.py": """\
import torch
from lightning import LightningModule
class LitModule(LightningModule):
    def __init__(self, net, optimizer):
        super().__init__()
        self.save_hyperparameters(logger=False)
        self.net = net
        self.criterion = torch.nn.CrossEntropyLoss()
    def forward(self, x):
        return self.net(x)
    def training_step(self, batch, i):
        x, y = batch
        return self.criterion(self.forward(x), y)
    def configure_optimizers(self):
        optimizer = self.hparams.optimizer(params=self.trainer.model.parameters())
        return {"optimizer": optimizer}
""",
    "src/models/net.py": """\
from torch import nn
class Net(nn.Module):
    def __init__(self, width=32):
        super().__init__()
        self.model = nn.Sequential(nn.Linear(784, width), nn.BatchNorm1d(width), nn.ReLU(), nn.Linear(width, width), nn.ReLU(), nn.Linear(width, 10))
    def forward(self, x):
        return self.model(x)
""",
    "src/train.py": """\
import hydra
import lightning as L
import rootutils
from omegaconf import DictConfig

rootutils.setup_root(__file__, indicator=".project-root", pythonpath=True)


def train(cfg: DictConfig):
    datamodule = hydra.utils.instantiate(cfg.data)
    model = hydra.utils.instantiate(cfg.model)
    trainer = hydra.utils.instantiate(cfg.trainer)
    trainer.fit(model=model, datamodule=datamodule, ckpt_path=cfg.get("ckpt_path"))


@hydra.main(version_base="1.3", config_path="../configs", config_name="train.yaml")
def main(cfg: DictConfig):
    train(cfg)


if __name__ == "__main__":
    main()
""",
}


def test_all_is_followed_from_the_configuration(tmp_path: Path) -> None:
    for name, text in FILES.items():
        file = tmp_path / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text)
    (tmp_path / ".git").mkdir()
    report = run([tmp_path], load([tmp_path], isolated=True), Options(cache=False))
    assert not report.problems
    found = {(each.code, each.path.relative_to(tmp_path).as_posix()): each for each in report.findings}
    assert set(found) == {("TRK301", "src/train.py"), ("TRK501", "src/models/net.py"), ("TRK601", "src/models/module.py")}
    told = found["TRK601", "src/models/module.py"].evidence[-1]
    assert (told.path, told.location.row) == (tmp_path / "configs/model/mnist.yaml", 6)
    assert "batches of 128" in found["TRK301", "src/train.py"].message
