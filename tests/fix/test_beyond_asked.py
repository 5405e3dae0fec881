"""A fix in a file that was asked for breaks nothing in a file that was not."""

from __future__ import annotations

from pathlib import Path

from click.testing import CliRunner

from tricklint.cli import main
from tricklint.finding import Finding, Fix, FixLevel, Location, Severity
from tricklint.fix.looks import Looks
from tricklint.inquiry import Found
from tricklint.source.text import Source

NET = """\
import torchvision
from torch import nn


def build(classes):
    model = torchvision.models.resnet18(weights="DEFAULT")
    model.fc = nn.Linear(512, classes)
    return model
"""
TRAIN = """\
import torch
from net import build
from torch import nn

model = build(5)
optimizer = torch.optim.SGD([p for p in model.parameters() if p.requires_grad], lr=0.01)
for epoch in range(3):
    model.train()
    for x, y in [(torch.randn(2, 3, 64, 64), torch.tensor([0, 1]))]:
        optimizer.zero_grad()
        nn.functional.cross_entropy(model(x), y).backward()
        optimizer.step()
"""


def test_a_freeze_that_lets_norms_drift_in_another_file_is_not_made(tmp_path: Path) -> None:
    (tmp_path / "setup.py").touch()  # the project is what lies beside it
    (tmp_path / "net.py").write_text(NET)
    (tmp_path / "train.py").write_text(TRAIN)
    asked = ["--isolated", "--no-cache", "--select", "TRK101,TRK104", "--fix", "--unsafe-fixes"]
    one = CliRunner().invoke(main, ["check", str(tmp_path / "net.py"), *asked])
    assert "TRK101: fix not made: TRK104 would be found in net.py" in one.stderr
    assert (tmp_path / "net.py").read_text() == NET
    CliRunner().invoke(main, ["check", str(tmp_path), *asked])
    assert "requires_grad = False" in (tmp_path / "net.py").read_text()
    assert "_BatchNorm" in (tmp_path / "train.py").read_text()


def test_a_finding_that_arises_where_nobody_asked_counts() -> None:
    asked, other = Path("asked.py"), Path("other.py")
    old, new = ({asked: Source.from_text(asked, text), other: Source.from_text(other, "")} for text in ("x = 1\n", "x = 2\n"))
    place = Location(1, 1)
    mine = Finding("TRK101", "one", Severity.WARNING, "here", asked, place, place)
    there = Finding("TRK103", "two", Severity.ERROR, "there", other, place, place)
    looks = Looks(lambda now: Found([mine]) if now is old else Found(elsewhere=[there]))
    broken = looks.prove(old, new, [(mine, Fix(FixLevel.RECIPE, "mend it", ()))])
    assert broken is not None and broken.why == "TRK103 would be found in other.py"
    without = Looks(lambda now: Found([mine], elsewhere=[there]) if now is old else Found(elsewhere=[there]))
    assert without.prove(old, new, [(mine, Fix(FixLevel.RECIPE, "mend it", ()))]) is None
