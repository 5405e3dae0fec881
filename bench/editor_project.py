"""A project of 50 files around one training script of some 500 lines, for `editor_speed.py --make`."""

from __future__ import annotations

from pathlib import Path

_BLOCK = """\
import torch
from torch import nn
{before}

class Block{n}(nn.Module):
    def __init__(self, width=16):
        super().__init__()
        self.conv = nn.Conv2d(width, width, 3, padding=1)
        self.norm = nn.BatchNorm2d(width)
        nn.init.kaiming_normal_(self.conv.weight, nonlinearity="relu")
        self.inner = {inner}

    def forward(self, x):
        return self.inner(self.norm(self.conv(x)).relu())
"""
_DATA = """\
import torch
from torch.utils.data import DataLoader, TensorDataset


def loader(batch=8):
    return DataLoader(TensorDataset(torch.randn(100, 16, 8, 8), torch.arange(100) % 2), batch_size=batch, shuffle=True)
"""
_MODEL = """\
from torch import nn
from pkg.block7 import Block7


def build():
    return nn.Sequential(Block7(16), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(16, 2))
"""
_TRAIN = """\
import torch
from torch import nn
from pkg.data1 import loader
from pkg.model import build


def train(epochs=3, lr=0.1):
    model = build()
    optimizer = torch.optim.SGD(model.parameters(), lr=lr, weight_decay=5e-4)
    total = 0
    for epoch in range(epochs):
        for x, y in loader():
            optimizer.zero_grad()
            loss = nn.functional.cross_entropy(model(x), y)
            loss.backward()
            optimizer.step()
            total += loss
    return total
"""
_METRIC = """

def metric_{n}(scores, labels, threshold=0.{n}):
    hits = 0
    for score, label in zip(scores, labels):
        if (score > threshold) == bool(label):
            hits += 1
    return hits / max(1, len(labels))
"""


def make(root: Path) -> None:
    files = {"pyproject.toml": "[tool.tricklint]\n", "pkg/__init__.py": "", "pkg/model.py": _MODEL}
    for n in range(40):
        before = f"from pkg.block{n - 1} import Block{n - 1}\n" if n else ""
        inner = f"Block{n - 1}(width)" if n % 4 else "nn.Identity()"
        files[f"pkg/block{n}.py"] = _BLOCK.format(n=n, before=before, inner=inner)
    files |= {f"pkg/data{n}.py": _DATA for n in range(7)}
    metrics = "".join(_METRIC.format(n=n) for n in range(60))
    files["train.py"] = f'{_TRAIN}{metrics}\n\nif __name__ == "__main__":\n    print(train())\n'
    for name, text in files.items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
