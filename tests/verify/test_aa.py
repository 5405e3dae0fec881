"""A fix that changes nothing: a few sessions of what `bench/verify_aa.py` measures over forty."""

from __future__ import annotations

import importlib.util
from pathlib import Path
from typing import Any

from tricklint.verify.judging import choose
from tricklint.verify.plan import BASELINE
from tricklint.verify.replay import Command
from tricklint.verify.session import Session
from tricklint.verify.workspace import Project

BENCH = Path(__file__).parents[2] / "bench" / "verify_aa.py"
SESSIONS, SEEDS = 4, 6


def bench() -> Any:
    spec = importlib.util.spec_from_file_location("verify_aa", BENCH)
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_sessions_of_a_fix_that_changes_nothing(project: Path, engine: Any, tmp_path: Path) -> None:
    aa = bench()
    work = aa.ShamWork(Project.scan(project), Command("train.py", None, ("--epochs", "1")), tmp_path / "session")
    session = Session(tmp_path / "session", aa.plan_of(SESSIONS * SEEDS), work, engine)
    session.run(session.missing())
    runs = session.ledger.runs
    assert len({repr(run.losses) for run in runs.values()}) == 2 * SESSIONS * SEEDS  # every run is another sample
    (metric,) = choose(runs[(BASELINE, 0, 1.0)])
    assert metric.name == "val_acc"
    bad, verdicts = aa.wrong(aa.sessions(runs, SESSIONS, SEEDS, [metric.name]))
    assert (bad, sum(verdicts.values())) == (0, SESSIONS), verdicts


def test_a_fix_that_does_something_is_not_called_nothing(project: Path, engine: Any, tmp_path: Path) -> None:
    """The same bench, where the sham's scores are lifted: it can count wrong."""
    aa = bench()
    work = aa.ShamWork(Project.scan(project), Command("train.py", None, ("--epochs", "1")), tmp_path / "session")
    session = Session(tmp_path / "session", aa.plan_of(SEEDS), work, engine)
    session.run(session.missing())
    for run in session.ledger.runs.values():
        if run.variant == aa.SHAM:
            run.series["val_acc"] = [v + 0.6 for v in run.series["val_acc"] if v is not None]
    bad, verdicts = aa.wrong(aa.sessions(session.ledger.runs, 1, SEEDS, ["val_acc"]))
    assert (bad, dict(verdicts)) == (1, {"helps": 1})
