from __future__ import annotations

import pytest

from tests.cli.conftest import Project, project

NET = """\
from torch import nn


class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.first = nn.Linear(8, 16)
        self.last = nn.Linear(16, 2)

    def forward(self, x):
        return self.last(self.first(x).relu())
"""
TRAIN = """\
import torch
from torch import nn
from net import Net

model = Net()
optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
for x, y in torch.load("batches.pt"):
    optimizer.zero_grad()
    nn.functional.cross_entropy(model(x), y).backward()
    optimizer.step()
"""
FREEZE = """\
import torch
from torch import nn

model = nn.Linear(8, 2)
model.requires_grad = False
optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
"""


@pytest.fixture
def training(project: Project) -> Project:
    """A project without rules of its own: `net.py` is found wanting because of what `train.py` does."""
    project.write({"pyproject.toml": "[tool.tricklint]\n", "net.py": NET, "train.py": TRAIN, "freeze.py": FREEZE})
    return project


__all__ = ["project"]
