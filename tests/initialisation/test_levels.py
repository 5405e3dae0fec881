"""A fix that reaches into parts that nothing is known of is not made by plain `--fix`."""

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
