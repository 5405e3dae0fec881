"""Reading and running agree on the fixtures: a sample of them, folder by folder in turn; all of them are
`python bench/watch_oracle.py fixtures`."""

from __future__ import annotations

import itertools
from pathlib import Path

import pytest

from .helpers import ROOT, oracle

FEW, MANY = 16, 400  # scripts; the same ones on every machine


def sample() -> list[Path]:
    """The scripts of all folders, one of each folder after the other."""
    folders = [oracle.scripts(folder) for folder in sorted((ROOT / "fixtures").iterdir()) if folder.is_dir()]
    turns = itertools.zip_longest(*(paths[::3] for paths in folders))
    return [path for turn in turns for path in turn if path is not None]


@pytest.mark.parametrize("count", [FEW, pytest.param(MANY, marks=pytest.mark.long)])
def test_reading_and_running_agree(count: int) -> None:
    paths = sample()[:count]
    oracle.warm([path for path in paths if "import pandas" in path.read_text(encoding="utf-8")][:1])
    results = list(oracle.study(paths))
    ran = [result for result in results if result.ran]
    wrong = [(result.path.name, result.only_read, result.only_watched) for result in ran if not result.agrees]
    assert len(ran) >= 10, [(result.path.name, result.why) for result in results]
    assert any(result.agree for result in ran)
    assert len(wrong) <= 0.02 * len(ran), wrong


def test_the_table_counts_disagreement(tmp_path: Path) -> None:
    """An oracle that cannot say no is none: a script whose run contradicts its text is counted."""
    script = tmp_path / "bad_hidden.py"
    script.write_text(
        "import torch\n"
        "net = torch.nn.Linear(2, 1)\n"
        "optimizer = torch.optim.SGD(net.parameters(), lr=0.1, weight_decay=0.1)\n"
        "exec('optimizer.param_groups[0][\"weight_decay\"] = 0')\n"
        "net(torch.randn(4, 2)).sum().backward()\n"
        "optimizer.step()\n"
    )
    broken = tmp_path / "bad_broken.py"
    broken.write_text("import nothing_of_that_name\n")
    oracle.warm([script])
    first, second = oracle.study([script, broken])
    assert first.ran and not first.agrees and first.only_read[0].startswith("TRK601")
    assert not second.ran and "nothing_of_that_name" in second.why
    assert "TRK601" in oracle.table([first])
