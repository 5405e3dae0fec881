"""The learning rate of a finding is the one at which the steps are made, not the one that a schedule overrides."""

from __future__ import annotations

from pathlib import Path

import pytest

from tricklint.check import Options, run
from tricklint.settings import load

SCRIPT = """\
import torch
from torch import nn
from torchvision import models
from transformers import get_linear_schedule_with_warmup

model = models.vgg11(weights="IMAGENET1K_V1")
model.classifier[6] = nn.Linear(4096, 7)
optimizer = torch.optim.Adam(model.parameters(){rate})
{schedule}
for images, targets in [(torch.randn(2, 3, 64, 64), torch.zeros(2, dtype=torch.long))] * 100:
    optimizer.zero_grad()
    nn.functional.cross_entropy(model(images), targets).backward()
    optimizer.step()
"""
ONE_CYCLE = "schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, {}, total_steps=100)"
CYCLE = "schedule = torch.optim.lr_scheduler.CyclicLR(optimizer, 1e-5, {}, cycle_momentum=False)"
WARM = "schedule = get_linear_schedule_with_warmup(optimizer, {}, num_training_steps=100)"


@pytest.mark.parametrize(
    ("rate", "schedule", "told", "mended"),
    [
        ("", "", "rate 0.001 from", True),
        (", lr=1e-4", "", "rate 0.0001 from", True),  # it does not rise: the head's first steps are as large as any
        ("", ONE_CYCLE.format("1e-4"), "rate, at most 0.0001, from", False),
        ("", ONE_CYCLE.format("max_lr=[5e-5]"), "rate from", True),
        (", lr=1e-5", ONE_CYCLE.format("max_lr=0.01"), "rate, at most 0.01, from", True),
        (", lr=1e-5", CYCLE.format("1e-2"), "rate, at most 0.01, from", True),
        (", lr=1e-4", ONE_CYCLE.format("1e-4, div_factor=1"), "rate 0.0001 from", True),
        (", lr=1e-4", WARM.format("30"), "rate 0.0001 from", False),
        (", lr=1e-4", WARM.format("num_warmup_steps=0"), "rate 0.0001 from", True),
        (", lr=1e-2", WARM.format("30"), "rate 0.01 from", True),
    ],
)
def test_rate(tmp_path: Path, rate: str, schedule: str, told: str, mended: bool) -> None:
    (tmp_path / "train.py").write_text(SCRIPT.format(rate=rate, schedule=schedule))
    settings = load([tmp_path], isolated=True, options={"select": ["TRK101"]})
    (finding,) = run([tmp_path], settings, Options(cache=False)).findings
    assert told in finding.message, finding.message
    assert (finding.fix is not None) is mended


OPTION = """\
import argparse

import torch
from torch import nn
from torchvision import models
from transformers import BertModel

parser = argparse.ArgumentParser()
parser.add_argument("--lr", type=float, default=0.01)
args = parser.parse_args()
{model}
optimizer = torch.optim.SGD(model.parameters(), lr={rate})
"""
BERT = """\
class Sentiment(nn.Module):
    def __init__(self):
        super().__init__()
        self.bert = BertModel.from_pretrained("bert-base-cased")
        self.out = nn.Linear(768, 3)

    def forward(self, ids):
        return self.out(self.bert(ids).pooler_output)


model = Sentiment()
"""
VGG = 'model = models.vgg11(weights="IMAGENET1K_V1")\nmodel.classifier[6] = nn.Linear(4096, 7)\n'


@pytest.mark.parametrize(
    ("model", "rate", "level"),
    [(BERT, "args.lr", ""), (BERT, "0.01", "recipe"), (VGG, "args.lr", "recipe")],
)
def test_a_transformer_whose_rate_is_an_option_may_be_meant_to_train_whole(
    tmp_path: Path, model: str, rate: str, level: str
) -> None:
    (tmp_path / "train.py").write_text(OPTION.format(model=model, rate=rate))
    settings = load([tmp_path], isolated=True, options={"select": ["TRK101"]})
    (finding,) = run([tmp_path], settings, Options(cache=False)).findings
    assert (finding.fix.level.value if finding.fix is not None else "") == level
