"""Fixes that plain `--fix` does not make: what reaches into parts that nothing is known of, and what the code does not say."""

from __future__ import annotations

from pathlib import Path

import pytest

from tricklint.check import Options, run
from tricklint.settings import load

SCRIPT = """\
import torch
from scanners import Scan
from torch import nn


class Block(nn.Module):
    def __init__(self, dim):
        super().__init__()
        self.up = nn.Linear(dim, dim)
        self.mix = {mix}

    def forward(self, x):
        return self.mix(torch.relu(self.up(x)))


class Net(nn.Module):
    def __init__(self, dim=16):
        super().__init__()
        self.first = Block(dim)
        self.second = Block(dim)
        self.head = nn.Linear(dim, 3)

    def forward(self, x):
        return self.head(self.second(self.first(x)))


net = Net()
optimizer = torch.optim.SGD(net.parameters(), lr=0.1)
for x, y in [(torch.randn(3, 16), torch.tensor([0, 1, 2]))]:
    optimizer.zero_grad()
    nn.functional.cross_entropy(net(x), y).backward()
    optimizer.step()
"""


@pytest.mark.parametrize(("mix", "level"), [("nn.Linear(dim, dim)", "recipe"), ("Scan(dim)", "unsafe")])
def test_level(tmp_path: Path, mix: str, level: str) -> None:
    (tmp_path / "train.py").write_text(SCRIPT.format(mix=mix))
    settings = load([tmp_path], isolated=True, options={"select": ["TRK501"]})
    (finding,) = run([tmp_path], settings, Options(cache=False)).findings
    assert finding.fix is not None and finding.fix.level.value == level, finding.fix


HEAD = """\
import torch
from torch import nn


class Tagger(nn.Module):
    def __init__(self):
        super().__init__()
        self.hidden = nn.Linear(32, 64)
        self.head = nn.Linear(64, 10)

    def forward(self, x):
        return self.head(torch.relu(self.hidden(x)))


model = Tagger()
optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
criterion = nn.BCEWithLogitsLoss({weight})
for x, y in [(torch.randn(8, 32), torch.randint(0, 10, (8,)))] * 3:
    optimizer.zero_grad()
    criterion(model(x), {target}).backward()
    optimizer.step()
"""


@pytest.mark.parametrize(
    ("weight", "target", "level", "share"),
    [
        ("", "nn.functional.one_hot(y, 10).float()", "recipe", "0.1"),
        ("", "labels_of(y)", "unsafe", "0.01"),
        ("pos_weight=torch.tensor(99.0)", "labels_of(y)", "unsafe", "0.01"),
    ],
)
def test_a_share_of_positives_is_known_or_guessed(
    tmp_path: Path, weight: str, target: str, level: str, share: str
) -> None:
    (tmp_path / "train.py").write_text(HEAD.format(weight=weight, target=target))
    settings = load([tmp_path], isolated=True, options={"select": ["TRK503"]})
    (finding,) = run([tmp_path], settings, Options(cache=False)).findings
    assert finding.fix is not None and finding.fix.level.value == level, finding.fix
    guessed = level == "unsafe" and not weight
    written = "".join(edit.content for edit in finding.fix.edits)
    assert f"math.log({share} / (1 - {share}))" in written
    assert ("a guess at" in written) is guessed and ("is a guess" in (finding.fix.reason or "")) is guessed
