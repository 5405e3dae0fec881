"""Fixes that would not keep their word are counted, and each says why in one line."""

from __future__ import annotations

import json
from pathlib import Path

from click.testing import CliRunner

from tricklint.cli import main

# The groups would have to stand before the line on which the model is made.
ONE_LINE = """\
import torch
from torch import nn


def main(batches):
    model = nn.Sequential(nn.Linear(4, 8), nn.BatchNorm1d(8), nn.Linear(8, 2)); opt = torch.optim.AdamW(model.parameters())
    for x, y in batches:
        opt.zero_grad()
        nn.functional.cross_entropy(model(x), y).backward()
        opt.step()


main([(torch.randn(3, 4), torch.tensor([0, 1, 0]))])
"""


def test_statistics_count_what_was_refused(tmp_path: Path) -> None:
    file = tmp_path / "train.py"
    file.write_text(ONE_LINE)
    asked = ["check", str(file), "--isolated", "--no-cache", "--select", "TRK601", "--statistics"]
    plain = CliRunner().invoke(main, asked)
    assert plain.stdout == "1  TRK601  decay-on-bias-norm (warning), 1 fixable\n"
    mended = CliRunner().invoke(main, [*asked, "--fix"])
    assert mended.stdout == "1  TRK601  decay-on-bias-norm (warning), 1 fixable, 1 not made for what they would break\n"
    assert "TRK601: fix not made: it would read 'model' where nothing has bound it" in mended.stderr
    assert file.read_text() == ONE_LINE
    (row,) = json.loads(CliRunner().invoke(main, [*asked, "--fix", "--output-format", "json"]).stdout)
    assert row["count"] == row["refused"] == 1
