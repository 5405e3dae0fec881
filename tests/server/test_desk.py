"""What is shown soon of one file, and what the whole check says afterwards."""

from __future__ import annotations

from pathlib import Path

import pytest

pytest.importorskip("pygls")

from tests.cli.conftest import Project
from tests.server.conftest import FREEZE, NET
from tricklint import check
from tricklint.server import desk as desks
from tricklint.server.desk import Desk
from tricklint.settings import load
from tricklint.source.patience import Patience

# Its freeze freezes nothing, whatever `net.py` does; and what `net.py` builds is found wanting once it is followed.
TRAIN = """\
import torch
from torch import nn
from net import Net

model = Net()
model.requires_grad = False
optimizer = torch.optim.SGD(model.parameters(), lr=0.1, weight_decay=1e-4)
for x, y in torch.load("batches.pt"):
    optimizer.zero_grad()
    nn.functional.cross_entropy(model(x), y).backward()
    optimizer.step()
"""


class Clock:
    """Goes on by one each time it is looked at."""

    def __init__(self) -> None:
        self.now = 0

    def __call__(self) -> float:
        self.now += 1
        return self.now


def patient(monkeypatch: pytest.MonkeyPatch, far: float, end: float) -> Clock:
    clock = Clock()
    monkeypatch.setattr(desks, "_patience", lambda path, since: Patience(frozenset([path]), far, end, clock))
    return clock


def codes(desk: Desk, path: Path, *, alone: bool) -> list[str]:
    report = desk.alone(path) if alone else desk.whole([path])
    assert not report.problems
    return sorted(finding.code for finding in report.findings if finding.path == path)


@pytest.fixture
def path(training: Project) -> Path:
    training.write({"train.py": TRAIN})
    return training.root / "train.py"


def test_what_stands_in_the_file_itself_is_shown_without_others(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    whole = codes(Desk(), path, alone=False)
    patient(monkeypatch, far=1e9, end=1e9)
    assert codes(Desk(), path, alone=True) == whole
    assert "TRK601" in whole  # which takes to know what Net is made of
    desk = Desk()
    patient(monkeypatch, far=0, end=1e9)
    soon = codes(desk, path, alone=True)
    assert "TRK601" not in soon and soon and set(soon) < set(whole)
    assert codes(desk, path, alone=False) == whole


def test_nothing_is_followed_when_no_time_is_left(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    desk = Desk()
    patient(monkeypatch, far=0, end=0)
    assert codes(desk, path, alone=True) == []
    assert codes(desk, path, alone=False)


@pytest.mark.parametrize("share", [0.1, 0.3, 0.5, 0.7, 0.9])
def test_an_answer_that_was_cut_short_shows_nothing_that_is_not_so(
    path: Path, monkeypatch: pytest.MonkeyPatch, share: float
) -> None:
    whole = codes(Desk(), path, alone=False)
    clock = patient(monkeypatch, far=1e9, end=1e9)
    codes(Desk(), path, alone=True)
    patient(monkeypatch, far=share * clock.now, end=share * clock.now)
    assert set(codes(Desk(), path, alone=True)) <= set(whole)


def test_a_file_too_long_to_be_parsed_at_once_is_glanced_at(training: Project, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(desks, "LONG", 100)
    desk = Desk()
    training.write({"freeze.py": FREEZE, "short.py": "import torch\n", "wrong.py": FREEZE + "print 1\n" * 30})
    assert desk.is_long(training.root / "freeze.py") and not desk.is_long(training.root / "short.py")
    assert not desk.glance(training.root / "freeze.py").problems
    (problem,) = desk.glance(training.root / "wrong.py").problems
    assert "cannot be parsed" in problem.message


class LetGo(BaseException):
    """As when a newer change waits."""


def test_a_check_that_is_let_go_of_is_taken_up_again(path: Path) -> None:
    """Wherever it was, what it left behind is whole."""
    desk = Desk()
    whole = codes(Desk(), path, alone=False)
    calls, limit, ended = 0, 0, False

    def watch() -> None:
        nonlocal calls
        calls += 1
        if calls > limit:
            raise LetGo

    desk.watch = watch
    while not ended:
        calls = 0
        try:
            assert codes(desk, path, alone=False) == whole
            ended = True
        except LetGo:
            limit += 1
    assert limit > 6  # while files are read and screened, too
    desk.watch = lambda: None
    path.with_name("net.py").write_text(NET.replace("16)", "16, bias=False)").replace("2)", "2, bias=False)"))
    assert codes(desk, path, alone=False) == codes(Desk(), path, alone=False) != whole


def test_findings_are_those_of_a_check(training: Project) -> None:
    report = check.run([training.root], load([training.root]))
    for name in ("net.py", "train.py", "freeze.py"):
        path = training.root / name
        expected = [finding for finding in report.findings if finding.path == path]
        assert [finding for finding in Desk().whole([path]).findings if finding.path == path] == expected
