"""A session from the outside: where the project is, when it starts, what --resume restores, what --budget means."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from tricklint.verify.conduct import Pace, Wishes
from tricklint.verify.devices import Placement, Seat
from tricklint.verify.plan import BASELINE, Plan, Variant, fit
from tricklint.verify.records import Run, VerifyError

from .helpers import MODEL, session_for

DECAYING = """
import argparse, os, torch
from torch import nn
from model import Net
parser = argparse.ArgumentParser()
parser.add_argument("--epochs", type=int, default=2)
args = parser.parse_args()
torch.manual_seed(0)
x = torch.randn(60, 6)
y = (x[:, 0] > 0).long()
model = Net()
optimizer = torch.optim.SGD(model.parameters(), lr=0.1, weight_decay=0.01)
for epoch in range(args.epochs):
    for i in range(0, 60, 20):
        optimizer.zero_grad()
        nn.functional.cross_entropy(model(x[i : i + 20]), y[i : i + 20]).backward()
        optimizer.step()
    with torch.no_grad():
        print(f"val_acc: {(model(x).argmax(1) == y).float().mean().item():.4f}")
"""
BESIDE = "print('scale score:', float(open('../data/scale.txt').read()))\n"
SHORT = ("--select", "TRK601", "--seeds", "2")


@pytest.fixture
def repository(tmp_path: Path) -> Path:
    """A repository with the script in a folder of its own, which reads a file beside that folder."""
    top = tmp_path / "repo"
    (top / "code").mkdir(parents=True)
    (top / ".git").mkdir()
    (top / "data").mkdir()
    (top / "data" / "scale.txt").write_text("2.5")
    (top / "code" / "model.py").write_text(MODEL)
    (top / "code" / "train.py").write_text(DECAYING + BESIDE)
    return top


def tricklint(folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "tricklint", *arguments]
    return subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=300, stdin=subprocess.DEVNULL)


def results(root: Path) -> tuple[Path, list[dict[str, Any]]]:
    (folder,) = (root / ".tricklint" / "verify").iterdir()
    return folder, [json.loads(line) for line in (folder / "results.jsonl").read_text().splitlines()]


@pytest.mark.parametrize(
    "arguments", [("train.py",), ("train.py", "--epochs", "1"), ("--recipe", "mlp-deep", "--steps", "2")]
)
def test_without_a_terminal_it_asks_for_yes_instead_of_starting(repository: Path, arguments: tuple[str, ...]) -> None:
    words = arguments if len(arguments) == 1 or arguments[0].startswith("-") else (arguments[0], "--", *arguments[1:])
    done = tricklint(repository / "code", "verify", *words)
    assert done.returncode == 2
    assert "no terminal" in done.stderr and "--yes" in done.stderr
    assert not list(repository.rglob("results.jsonl"))


def test_check_verify_asks_for_yes_too(repository: Path) -> None:
    (repository / "code" / "pyproject.toml").write_text('[tool.tricklint.verify]\ncommand = "train.py"\n')
    done = tricklint(repository / "code", "check", ".", "--verify", "--select", "TRK601")
    assert done.returncode == 2
    assert "--yes" in done.stderr
    assert not list(repository.rglob("results.jsonl"))


def test_the_project_is_the_one_that_check_finds_and_resume_runs_where_it_ran(repository: Path) -> None:
    """Begun in a folder of the repository: the script runs there, also when the session goes on, and runs that were
    killed are made again, the first one too."""
    code = repository / "code"
    done = tricklint(code, "verify", "train.py", "--yes", *SHORT, "--timeout", "5m", "--", "--epochs", "1")
    assert done.returncode == 0, done.stderr
    folder, runs = results(repository)
    assert [run["status"] for run in runs] == ["ok"] * 4
    assert runs[0]["series"]["scale score"] == [2.5]
    killed = {"status": "killed", "message": "the process was killed (out of memory, or by hand)"}
    kept = [{**runs[0], **killed}, runs[1], {**runs[2], **killed}]
    (folder / "results.jsonl").write_text("".join(json.dumps(run) + "\n" for run in kept))
    done = tricklint(code, "verify", "--resume", "--yes")
    assert done.returncode == 0, done.stderr
    _, again = results(repository)
    final = {(run["variant"], run["seed"]): run for run in again}
    assert {key: (run["status"], run["series"]) for key, run in final.items()} == {
        (run["variant"], run["seed"]): (run["status"], run["series"]) for run in runs
    }


@pytest.mark.long
def test_root_says_where_the_project_is(repository: Path, tmp_path: Path) -> None:
    (repository / ".git").rmdir()
    wrong = tricklint(repository / "code", "verify", "train.py", "--yes", "--root", "../nowhere")
    assert wrong.returncode == 2 and "there is no such folder" in wrong.stderr
    outside = tricklint(repository / "code", "verify", "train.py", "--yes", "--root", "../data")
    assert outside.returncode == 2 and "is outside the project" in outside.stderr
    done = tricklint(repository / "code", "verify", "train.py", "--yes", *SHORT, "--seeds", "1", "--root", "..")
    assert done.returncode == 0, done.stderr
    _, runs = results(repository)
    assert [run["status"] for run in runs] == ["ok"] * 2
    assert "code/model.py" in runs[0]["files"]


PLAN = Plan("t", "c", (Variant(BASELINE, BASELINE, "baseline"), Variant("a", "a")), (BASELINE,), 6)


def test_what_comes_before_the_first_step_cannot_be_cut() -> None:
    """6 rounds of 10 s, 4 of them before the first step: in 48 s there is time for two thirds of the steps."""
    assert fit(PLAN, 10.0, 100, 2, 48.0, start_s=4.0).steps == int(100 * 4 / 6 * 0.95)
    with pytest.raises(VerifyError, match="the budget is too short"):
        fit(PLAN, 10.0, 100, 2, 24.0, start_s=4.0)


class Trial:
    """A session whose runs beside others take three times as long a step."""

    def __init__(self) -> None:
        self.asked: tuple[int, int] | None = None

    def missing(self) -> list[int]:
        return [1]

    def trial(self, count: int, steps: int) -> list[Run]:
        self.asked = (count, steps)
        return [Run(BASELINE, i, wall_s=3.0, start_s=2.0, steps=steps, step_s=[0.3]) for i in range(count)]


def test_with_a_budget_the_pace_of_runs_beside_others_is_measured() -> None:
    pilot = Run(BASELINE, 0, wall_s=11.0, start_s=1.0, steps=100, step_s=[0.1])
    seats, session = Placement((Seat(),) * 4), Trial()
    alone = Pace.beside_others(session, pilot, seats, Wishes())  # type: ignore[arg-type]
    assert session.asked is None and alone.run_s(100) == pytest.approx(11.0, abs=0.2)
    pace = Pace.beside_others(session, pilot, seats, Wishes(budget_s=60.0))  # type: ignore[arg-type]
    assert session.asked == (4, 16)
    assert pace.run_s(100) == pytest.approx(2 + 100 * 0.1 * 3, abs=0.2)


def test_runs_that_would_end_late_are_not_begun(project: Path, engine: Any) -> None:
    """The first two runs begin; then the time is over, and what is there is kept."""
    session = session_for(project, engine, seeds=4)
    asked: list[int] = []

    def may_start() -> bool:
        asked.append(1)
        return len(asked) <= 2

    session.run(session.missing(), may_start=may_start)
    assert len(session.ledger.runs) == 2 == len(session.missing())


def test_a_trial_is_no_result(project: Path, engine: Any) -> None:
    session = session_for(project, engine, seeds=2)
    runs = session.trial(2, 3)
    assert [run.steps for run in runs] == [3, 3]
    assert all(0 < run.start_s <= run.wall_s for run in runs)
    assert session.ledger.runs == {} and len(session.missing()) == 2
