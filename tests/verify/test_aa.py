"""A fix that changes nothing: a few sessions of what `bench/verify_aa.py` measures over forty."""

from __future__ import annotations

import importlib.util
from pathlib import Path
from typing import Any

import pytest

from tricklint.verify.judging import choose
from tricklint.verify.plan import BASELINE
from tricklint.verify.records import Run
from tricklint.verify.replay import Command
from tricklint.verify.session import Session
from tricklint.verify.workspace import Project

BENCH = Path(__file__).parents[2] / "bench" / "verify_aa.py"
SESSIONS, SEEDS = 3, 6


def bench() -> Any:
    spec = importlib.util.spec_from_file_location("verify_aa", BENCH)
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def made(root: Path, engine: Any, folder: Path, seeds: int) -> tuple[Any, dict[Any, Run]]:
    """The bench and all its runs of the tiny project."""
    aa = bench()
    work = aa.ShamWork(Project.scan(root), Command("train.py", None, ("--epochs", "1")), folder)
    session = Session(folder, aa.plan_of(seeds, "train.py", (root / "train.py").read_text()), work, engine)
    session.run(session.missing())
    return aa, session.ledger.runs


@pytest.mark.long
def test_sessions_of_a_fix_that_changes_nothing(project: Path, engine: Any, tmp_path: Path) -> None:
    aa, runs = made(project, engine, tmp_path / "session", SESSIONS * SEEDS)
    different = {repr(run.losses) for run in runs.values() if run.variant != aa.COMMENT}
    assert len(different) == 2 * SESSIONS * SEEDS  # every run is another sample
    (metric,) = choose(runs[(BASELINE, 0, 1.0)])
    assert metric.name == "val_acc"
    for sham, words in ((aa.COMMENT, {"equivalent"}), (aa.SHAM, {"equivalent", "inconclusive"})):
        analyses = aa.sessions(runs, sham, aa.in_order(sham, SESSIONS, SEEDS), [metric.name])
        bad, verdicts = aa.wrong(analyses)
        assert (bad, sum(verdicts.values())) == (0, SESSIONS) and set(verdicts) <= words, verdicts


def test_a_fix_that_does_something_is_not_called_nothing(project: Path, engine: Any, tmp_path: Path) -> None:
    """The same bench, where the sham's scores are lifted: it can count wrong."""
    aa, runs = made(project, engine, tmp_path / "session", SEEDS)
    for run in runs.values():
        if run.variant == aa.SHAM:
            run.series["val_acc"] = [v + 0.6 for v in run.series["val_acc"] if v is not None]
    bad, verdicts = aa.wrong(aa.sessions(runs, aa.SHAM, aa.in_order(aa.SHAM, 1, SEEDS), ["val_acc"]))
    assert (bad, dict(verdicts)) == (1, {"helps": 1})
