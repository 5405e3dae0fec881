"""How far a split of the parameters may be trusted depends on what later code does with the optimizer's groups."""

from __future__ import annotations

from pathlib import Path

import pytest

from tricklint.check import Options, run
from tricklint.settings import load

SCRIPT = """\
import torch
from torch import nn

model = nn.Sequential(nn.Linear(4, 8), nn.BatchNorm1d(8), nn.ReLU(), nn.Linear(8, 2))
optimizer = torch.optim.SGD(model.parameters(), lr=0.1, weight_decay=1e-4)
other = torch.optim.SGD([model[0].weight], lr=0.1)
{before}
for x, y in [(torch.randn(3, 4), torch.tensor([0, 1, 0]))]:
    optimizer.zero_grad()
    nn.functional.cross_entropy(model(x), y).backward()
    optimizer.step()
    {inside}
"""


@pytest.mark.parametrize(
    ("before", "inside", "expected"),
    [
        ("", "pass", "recipe"),
        ("", "print(optimizer.param_groups[0]['lr'])", "recipe"),
        ("", "for group in optimizer.param_groups: group['lr'] *= 0.9", "recipe"),
        ("", "for group in optimizer.param_groups: group['weight_decay'] *= 0.9", "unsafe"),
        ("", "optimizer.param_groups[0]['lr'] *= 0.9", "unsafe"),
        ("", "nn.utils.clip_grad_norm_(optimizer.param_groups[0]['params'], 1.0)", "unsafe"),
        ("", "for group in optimizer.param_groups: nn.utils.clip_grad_norm_(group['params'], 1.0)", "recipe"),
        ("optimizer.load_state_dict(torch.load('last.pt')['optimizer'])", "pass", "unsafe"),
        ("import sys\nif '--resume' in sys.argv: optimizer.load_state_dict(torch.load('last.pt'))", "pass", "unsafe"),
        ("other.load_state_dict(torch.load('last.pt')['optimizer'])", "pass", "recipe"),
        ("model.load_state_dict(torch.load('last.pt')['model'])", "pass", "recipe"),
    ],
)
def test_level(tmp_path: Path, before: str, inside: str, expected: str) -> None:
    (tmp_path / "train.py").write_text(SCRIPT.format(before=before, inside=inside))
    settings = load([tmp_path], isolated=True, options={"select": ["TRK601"]})
    (finding,) = run([tmp_path], settings, Options(cache=False)).findings
    assert finding.fix is not None and finding.fix.level.value == expected, finding.fix
