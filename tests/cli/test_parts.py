"""Big projects in parts: the same findings however many processes follow them, each part remembered for itself."""

from __future__ import annotations

import json
import subprocess
import weakref
from pathlib import Path
from typing import Any

import pytest

from tests.cli.conftest import Project
from tricklint import crew, inquiry, units
from tricklint.source.tree import Tree

TRAIN = """\
import torch
from torch import nn
from helper{n} import mean

model = nn.Linear(8, 2)
model.requires_grad = False
optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
for x, y in torch.load("batches.pt"):
    optimizer.zero_grad()
    nn.functional.cross_entropy(model(x), y).backward()
    optimizer.step()
print(mean([1, 2]))
"""
HELPER = "import torch\n\n\ndef mean(values):\n    return sum(values) / len(values)\n"
FOLDERS = 6


@pytest.fixture
def big(project: Project, monkeypatch: pytest.MonkeyPatch) -> Project:
    """More roots than are followed as one: several parts of two files each."""
    monkeypatch.setattr(units, "FEW", 3)
    monkeypatch.setenv(crew.PROCESSES, "1")
    project.write({"pyproject.toml": "[tool.tricklint]\n"})
    (project.root / "local_rules/mistake.py").unlink()
    for n in range(FOLDERS):
        project.write({f"part{n}/train.py": TRAIN.format(n=n), f"part{n}/helper{n}.py": HELPER})
    return project


@pytest.fixture
def followed(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The first files of the parts that were followed in this process."""
    seen: list[str] = []
    real = inquiry.answer

    def answer(universe: Any, unit: units.Unit, *rest: Any, **given: Any) -> units.Answer:
        seen.append(Path(unit.roots[0]).parent.name)
        return real(universe, unit, *rest, **given)

    monkeypatch.setattr(inquiry, "answer", answer)
    return seen


def findings(project: Project, *, cache: bool = False) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = project.check("--output-format", "json", cache=cache).json
    return found


def test_parts_find_what_the_whole_finds(big: Project, followed: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    in_parts = findings(big)
    assert followed == [f"part{n}" for n in range(FOLDERS)]
    assert [one["code"] for one in in_parts].count("TRK107") == FOLDERS
    monkeypatch.setattr(units, "FEW", 1000)
    assert findings(big) == in_parts


def test_processes_change_nothing(big: Project, followed: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    alone = findings(big)
    followed.clear()
    monkeypatch.setenv(crew.PROCESSES, "2")
    monkeypatch.setattr(crew, "WORTH", 1)
    assert findings(big) == alone
    assert followed == []


def test_processes_that_were_started_early(big: Project, followed: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    """They change no finding, start once, and end where there turns out to be nothing for them to do."""
    alone = findings(big)
    followed.clear()
    started: list[subprocess.Popen[bytes]] = []
    start = crew._started

    def starting() -> subprocess.Popen[bytes]:
        started.append(start())
        return started[-1]

    monkeypatch.setattr(crew, "_started", starting)
    monkeypatch.setenv(crew.PROCESSES, "2")
    monkeypatch.setattr(crew, "MANY", 3)
    monkeypatch.setattr(crew, "WORTH", 100)
    assert findings(big, cache=True) == alone
    assert (len(started), followed) == (2, [])
    big.write({"part2/helper2.py": HELPER + "\n# changed\n"})
    findings(big, cache=True)  # what is known leaves one part to be followed
    assert (len(started), followed) == (2, ["part2"])
    monkeypatch.setattr(units, "FEW", 1000)
    assert findings(big) == alone
    assert len(started) == 4
    assert [process.poll() for process in started] == [0] * 4


def test_what_a_process_does_not_answer_is_followed_here(
    big: Project, followed: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    alone = findings(big)
    followed.clear()
    monkeypatch.setenv(crew.PROCESSES, "2")
    monkeypatch.setattr(crew, "WORTH", 1)
    monkeypatch.setattr(crew, "_START", "raise SystemExit")
    assert findings(big) == alone
    assert len(followed) == FOLDERS


def test_what_a_part_needed_goes_when_it_was_followed(big: Project, monkeypatch: pytest.MonkeyPatch) -> None:
    for n in range(FOLDERS):
        rows = (
            f"import pandas as pd\n\ndf = pd.read_csv('a.csv')\nfor i, row in df.iterrows():\n    print(row.a, {n})\n"
        )
        big.write({f"part{n}/helper{n}.py": HELPER + rows})
    made: list[weakref.ref[Tree]] = []
    left: list[int] = []
    begin, after = Tree.__init__, units.Tidy.after

    def making(tree: Tree, *rest: Any) -> None:
        made.append(weakref.ref(tree))
        begin(tree, *rest)

    def counting(tidy: units.Tidy, *rest: Any) -> None:
        after(tidy, *rest)
        left.append(sum(tree() is not None for tree in made))

    monkeypatch.setattr(Tree, "__init__", making)
    monkeypatch.setattr(units.Tidy, "after", counting)
    monkeypatch.setattr(units, "COLLECTED", 0)
    assert [one["code"] for one in findings(big)].count("TRK401") == FOLDERS
    assert len(made) == 2 * FOLDERS
    assert left == [0] * FOLDERS


def test_one_changed_file_costs_its_part(big: Project, followed: list[str]) -> None:
    findings(big, cache=True)
    followed.clear()
    big.write({"part2/helper2.py": HELPER + "\n# changed\n"})
    warm = findings(big, cache=True)
    assert followed == ["part2"]
    assert warm == findings(big)
    followed.clear()
    big.write({"part4/train.py": "import torch\n"})
    assert [one["code"] for one in findings(big, cache=True)].count("TRK107") == FOLDERS - 1
    assert followed == ["part4", "part4"]  # which no longer import each other


SUMMED = """\
import torch
from torch import nn

model = nn.Linear(8, 2)
optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
total = 0
for x, y in torch.load("batches.pt"):
    optimizer.zero_grad()
    loss = nn.functional.cross_entropy(model(x), y)
    loss.backward()
    optimizer.step()
    total += loss
print(total)
"""


def test_a_proof_follows_the_parts_whose_files_changed(big: Project, followed: list[str]) -> None:
    """One part is mended: each of the others is followed once."""
    big.write({"part2/train.py": SUMMED})
    big.check("--select", "TRK302", "--fix")
    assert "total += loss.detach()" in (big.root / "part2/train.py").read_text()
    assert followed == ["part0", "part1", "part2", "part2", "part3", "part4", "part5", "part2"]  # its helper is one of its own


def test_mended_in_parts_is_mended_as_a_whole(big: Project, monkeypatch: pytest.MonkeyPatch) -> None:
    """Processes, or one; parts, or the whole: the same rewrites, refusals and findings left."""
    big.write({f"part{n}/train.py": SUMMED for n in range(3)})
    shown = []
    for few, count in ((3, "1"), (3, "2"), (1000, "1")):
        monkeypatch.setattr(units, "FEW", few)
        monkeypatch.setenv(crew.PROCESSES, count)
        monkeypatch.setattr(crew, "WORTH", 1)
        done = big.check("--diff", "--unsafe-fixes")
        shown.append((done.out, done.err))
    assert shown[0] == shown[1] == shown[2] and shown[0][0].count("+    total += loss.detach()") == 3


def test_one_file_that_was_asked_for_costs_its_part(big: Project, followed: list[str]) -> None:
    of_all = [one for one in findings(big) if Path(one["filename"]).parent.name == "part3"]
    followed.clear()
    assert big.json("part3/helper3.py") == []
    assert big.json("part3/train.py") == of_all != []
    assert followed == ["part3", "part3"]
    followed.clear()
    big.check("part3/train.py", "--diff")
    assert set(followed) == {"part3"}


def test_what_was_asked_of_one_file_leaves_the_other_parts_known(big: Project, followed: list[str]) -> None:
    findings(big, cache=True)
    big.write({"part1/train.py": TRAIN.format(n=1) + "\n# changed\n"})
    big.check("part1/train.py", cache=True)
    big.write({"part2/helper2.py": HELPER + "\n# changed\n"})
    big.check("part1/train.py", cache=True)
    followed.clear()
    findings(big, cache=True)
    assert followed == ["part1", "part2"]  # which were not looked at as they stand, for all that can be found in them


def test_a_class_with_rows_counts_where_rows_are_met(big: Project, followed: list[str]) -> None:
    sheet = "import torch\n\n\nclass Sheet:\n    def iterrows(self):\n        return []\n"
    big.write({f"sheets/part{n}.py": sheet for n in range(4)})
    (big.root / "part5/train.py").write_text(
        "import torch\nfrom lib import Sheet\n\nfor at, row in Sheet().iterrows():\n    print(row['x'])\n"
    )
    assert [one["code"] for one in findings(big)].count("TRK401") == 0


def test_a_new_file_counts_for_those_that_import_it(big: Project, followed: list[str]) -> None:
    big.write({"part0/train.py": "import extra\n" + TRAIN.format(n=0)})
    findings(big, cache=True)
    followed.clear()
    big.write({"part0/extra.py": "import torch\n"})
    findings(big, cache=True)
    assert followed == ["part0"]


def test_a_damaged_cache_is_made_anew_in_silence(big: Project, followed: list[str]) -> None:
    before = findings(big, cache=True)
    (file,) = (big.root / ".tricklint_cache/parts").iterdir()
    kept = json.loads(file.read_bytes())
    for damaged in (b"", b"{", file.read_bytes()[:-50], file.read_bytes().replace(b'"row"', b'"rows"')):
        file.write_bytes(damaged)
        big.write({"part0/helper0.py": f"{HELPER}# {len(damaged)}\n"})
        run = big.check("--output-format", "json", cache=True)
        assert run.json == before
        assert "error" not in run.err
    assert json.loads(file.read_bytes()).keys() == kept.keys()


def test_the_cache_is_cleared(big: Project, followed: list[str]) -> None:
    findings(big, cache=True)
    run = big.run("cache", "clear")
    assert run.code == 0
    assert "entries removed" in run.out
    assert not list((big.root / ".tricklint_cache").rglob("*.json"))
    followed.clear()
    findings(big, cache=True)
    assert len(followed) == FOLDERS
