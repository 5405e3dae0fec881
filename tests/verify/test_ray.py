"""The same runs as Ray tasks, on a real local Ray."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("ray", reason="ray is not installed (pip install 'tricklint[cluster]')")

from tricklint.verify.plan import BASELINE

from .helpers import MODEL_INIT, edited, session_for


@pytest.fixture(scope="module")
def cluster() -> Any:
    os.environ["RAY_USAGE_STATS_ENABLED"] = "0"
    from tricklint.verify.engines.ray import RayEngine

    try:
        engine = RayEngine()
    except Exception as error:
        pytest.skip(f"no local Ray can be started: {error}")
    yield engine
    engine.close()


def test_scripts_give_the_results_of_the_local_engine(project: Path, engine: Any, cluster: Any) -> None:
    import shutil

    here = session_for(project, engine, [edited("init", model=MODEL_INIT)], seeds=2)
    here.run(here.missing())
    local = {key: (run.status, run.losses, run.series) for key, run in here.ledger.runs.items()}
    shutil.rmtree(project / ".tricklint")
    there = session_for(project, cluster, [edited("init", model=MODEL_INIT)], seeds=2, timeout_s=300)
    there.run(there.missing())
    assert {key: (run.status, run.losses, run.series) for key, run in there.ledger.runs.items()} == local


def test_a_crash_is_a_result_there_too(project: Path, cluster: Any) -> None:
    (project / "train.py").write_text("raise ValueError('wrong shape')")
    session = session_for(project, cluster, timeout_s=300)
    session.run(session.missing())
    run = session.ledger.runs[(BASELINE, 0, 1.0)]
    assert run.status == "crashed"
    assert "wrong shape" in run.message


def test_a_node_without_the_folder_gets_the_files(project: Path, cluster: Any, tmp_path: Path) -> None:
    """What a machine without a shared disk does: asks for the files, unpacks them, runs there."""
    from tricklint.verify.engines.ray import NEEDS_FILES, _execute, bundle
    from tricklint.verify.plan import Task

    session = session_for(project, cluster)
    payload = session.work.payload([Task(BASELINE, 0)], session.plan, 1)
    files = bundle(payload)
    session.work.cleanup([Task(BASELINE, 0)])
    assert _execute(payload, None, None, 60) == NEEDS_FILES
    record, status, out, _ = _execute(payload, files, None, 60)
    assert status == 0
    assert record["status"] == "ok" and record["steps"] == 10
    assert "val_acc" in out
