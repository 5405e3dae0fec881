"""What can go wrong: each ends with a clear line, and nothing is lost."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from tricklint.verify.conduct import Wishes, conduct
from tricklint.verify.plan import BASELINE, Task
from tricklint.verify.records import Ledger, Run, VerifyError

from .helpers import MODEL_INIT, edited, run_script, session_for


def test_a_script_without_an_optimizer(project: Path, engine: Any) -> None:
    run = run_script(project, engine, "print('acc: 0.5')")
    assert run.status == "no-steps"
    assert "without one optimizer step" in run.message


def test_sys_exit_with_an_error(project: Path, engine: Any) -> None:
    run = run_script(project, engine, "import sys\nprint('no GPU found', file=sys.stderr)\nsys.exit(3)")
    assert run.status == "crashed"
    assert "sys.exit(3)" in run.message and "no GPU found" in run.message


def test_sys_exit_zero_after_training_is_fine(project: Path, engine: Any) -> None:
    text = """
        import sys, torch
        torch.optim.SGD([torch.nn.Parameter(torch.ones(1))], lr=0.1).step()
        sys.exit(0)
    """
    assert run_script(project, engine, text).status == "ok"


def test_a_script_that_needs_arguments(project: Path, engine: Any) -> None:
    text = """
        import argparse
        parser = argparse.ArgumentParser()
        parser.add_argument("--data", required=True)
        parser.parse_args()
    """
    run = run_script(project, engine, text)
    assert run.status == "crashed"
    assert "the following arguments are required: --data" in run.message


def test_an_exception_names_its_place(project: Path, engine: Any) -> None:
    run = run_script(project, engine, "x = 1\nraise ValueError('wrong shape')\n")
    assert run.message == "ValueError: wrong shape (train.py:2)"


def test_a_nan_loss_is_a_result_and_ends_the_run_early(project: Path, engine: Any) -> None:
    text = """
        import torch
        w = torch.nn.Parameter(torch.ones(1))
        optimizer = torch.optim.SGD([w], lr=0.1)
        for step in range(1000):
            (w * (float("nan") if step > 4 else 1.0)).sum().backward()
            optimizer.step()
    """
    run = run_script(project, engine, text)
    assert run.status == "diverged"
    assert run.steps < 50
    assert run.losses[0][5:] == [None] * (run.steps - 5)
    assert run.score("train loss") is None


def test_an_exploding_loss_counts_as_diverged(project: Path, engine: Any) -> None:
    text = """
        import torch
        w = torch.nn.Parameter(torch.ones(1))
        optimizer = torch.optim.SGD([w], lr=1.5)
        for step in range(40):
            (w ** 2).sum().backward()
            optimizer.step()
            optimizer.zero_grad()
    """
    assert run_script(project, engine, text).status == "diverged"


def test_a_killed_process_is_a_result_and_the_others_go_on(project: Path, engine: Any) -> None:
    """kill -9 of one run: it is shown as killed, the next run is made."""
    (project / "train.py").write_text(
        "import os, signal, torch\n"
        "if torch.initial_seed() == 0: os.kill(os.getpid(), signal.SIGKILL)\n"
        "torch.optim.SGD([torch.nn.Parameter(torch.ones(1))], lr=0.1).step()\n"
    )
    session = session_for(project, engine, seeds=2)
    session.run(session.missing())
    runs = session.ledger.runs
    assert runs[(BASELINE, 0, 1.0)].status == "killed"
    assert "killed" in runs[(BASELINE, 0, 1.0)].message
    assert runs[(BASELINE, 1, 1.0)].status == "ok"


def test_a_run_that_takes_too_long_is_ended(project: Path, engine: Any) -> None:
    run = run_script(project, engine, "import time\ntime.sleep(600)", timeout_s=3)
    assert run.status == "killed"
    assert run.message == "it took longer than --timeout allows"


def test_a_pilot_longer_than_the_budgets_steps_is_made_again(project: Path, engine: Any) -> None:
    session = session_for(project, engine)
    session.run(session.missing())
    assert session.missing() == []
    session.plan = replace(session.plan, steps=4)
    assert [task.seed for task in session.missing()] == [0]
    session.run(session.missing())
    assert session.ledger.runs[(BASELINE, 0, 1.0)].steps == 4
    assert session.missing() == []


def test_an_interpreter_without_torch_is_one_line(project: Path, tmp_path: Path) -> None:
    from tricklint.verify.engines.local import LocalEngine

    bare = tmp_path / "python"
    bare.write_text(f'#!/bin/sh\nexec {sys.executable} -I -S "$@"\n')
    bare.chmod(0o755)
    engine = LocalEngine(1, str(bare))
    try:
        session = session_for(project, engine)
        session.run([Task(BASELINE, 0)])
    finally:
        engine.close()
    run = session.ledger.runs[(BASELINE, 0, 1.0)]
    assert run.status in ("crashed", "killed")
    assert run.message


def test_the_baseline_must_train(project: Path, engine: Any) -> None:
    from rich.console import Console

    (project / "train.py").write_text("raise SystemExit('data is missing')")
    session = session_for(project, engine, [edited("init", model=MODEL_INIT)])
    with pytest.raises(VerifyError, match=r"the baseline does not train: .*data is missing"):
        conduct(session.folder, session.plan, session.work, engine, 1, Wishes(yes=True), Console(quiet=True), None)


def test_a_torn_last_line_costs_only_that_run(tmp_path: Path) -> None:
    ledger = Ledger(tmp_path / "results.jsonl")
    ledger.add(Run("baseline", 0))
    ledger.add(Run("baseline", 1))
    text = ledger.path.read_text()
    ledger.path.write_text(text[:-20])
    again = Ledger(ledger.path)
    assert list(again.runs) == [("baseline", 0, 1.0)]
    again.add(Run("baseline", 1))
    assert list(Ledger(ledger.path).runs) == [("baseline", 0, 1.0), ("baseline", 1, 1.0)]


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="needs /dev/full, which Linux has")
def test_a_full_disk_is_one_line(tmp_path: Path) -> None:
    ledger = Ledger(tmp_path / "results.jsonl")
    ledger.add(Run("baseline", 0))
    kept = ledger.path.read_text()
    ledger.path = Path("/dev/full")
    with pytest.raises(VerifyError, match="the disk is full; finished runs are kept"):
        ledger.add(Run("baseline", 1))
    assert (tmp_path / "results.jsonl").read_text() == kept


def test_a_disk_that_fills_up_while_copying_is_one_line(
    project: Path, engine: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    import errno

    session = session_for(project, engine)

    def full(*_: Any) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr("tricklint.verify.workspace.Project.copy", full)
    with pytest.raises(VerifyError, match="the disk is full"):
        session.run([Task(BASELINE, 0)])


SLOW_TRAIN = """
import time, torch
w = torch.nn.Parameter(torch.ones(1))
optimizer = torch.optim.SGD([w], lr=0.1)
for step in range(3):
    time.sleep(0.1)
    (w ** 2).sum().backward()
    optimizer.step()
print("val_acc:", 0.5)
"""
DRIVER = """
import signal
signal.signal(signal.SIGINT, signal.default_int_handler)  # it is ignored where a shell starts the tests in the background
import sys
from pathlib import Path
from rich.console import Console
sys.path.append({tests!r})
from verify.helpers import session_for, edited
from tricklint.verify.conduct import Wishes, conduct
from tricklint.verify.engines.local import LocalEngine
engine = LocalEngine(1)
session = session_for(Path({root!r}), engine, [edited("a", model="x = 1")], seeds=4)
about = {{"about": {{"training": "python train.py", "root": {root!r}, "project": session.work.project.digest()}}}}
wishes = Wishes(yes=True, about=about["about"])
try:
    conduct(session.folder, session.plan, session.work, engine, 1, wishes, Console(), None)
except KeyboardInterrupt:
    sys.exit(130)
finally:
    engine.close()
"""


@pytest.mark.parametrize("sent", [signal.SIGKILL, pytest.param(signal.SIGINT, marks=pytest.mark.long)])
def test_stopped_in_the_middle_and_resumed(project: Path, sent: signal.Signals) -> None:
    """kill -9 and Ctrl-C while runs are made: finished ones are kept, no process stays behind, --resume goes on."""
    (project / "train.py").write_text(SLOW_TRAIN)
    tests = str(Path(__file__).parents[1])
    driver = DRIVER.format(tests=tests, root=str(project))
    process = subprocess.Popen(
        [sys.executable, "-c", driver], stdout=subprocess.PIPE, text=True, start_new_session=True
    )
    results = project / ".tricklint/verify/now/results.jsonl"
    deadline = time.monotonic() + 120
    while not (results.exists() and len(results.read_text().splitlines()) >= 2):
        assert time.monotonic() < deadline and process.poll() is None, "no runs were made"
        time.sleep(0.05)
    process.send_signal(sent)
    out, _ = process.communicate(timeout=60)
    kept = [json.loads(line) for line in results.read_text().splitlines()]
    assert 2 <= len(kept) < 8
    if sent is signal.SIGINT:
        assert process.returncode == 130
        assert "--resume" in out and "are kept" in out
    _no_process_left(str(project))

    command = [sys.executable, "-m", "tricklint", "verify", "--resume", str(results.parent), "--yes", "--workers", "1"]
    done = subprocess.run(command, cwd=project, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr
    runs = [json.loads(line) for line in results.read_text().splitlines()]
    assert len(runs) == 8
    assert runs[: len(kept)] == kept
    assert (results.parent / "report.html").exists()


def _no_process_left(needle: str) -> None:
    """No runner works in the project any more (within a few seconds)."""
    if not os.path.isdir("/proc"):
        return
    for _ in range(100):
        left = []
        for entry in os.listdir("/proc"):
            if entry.isdigit():
                try:
                    if os.readlink(f"/proc/{entry}/cwd").startswith(needle):
                        left.append(entry)
                except OSError:
                    pass
        if not left:
            return
        time.sleep(0.1)
    raise AssertionError(f"processes left behind: {left}")


def test_a_script_that_cannot_be_parsed_is_named(project: Path) -> None:
    (project / "train.py").write_text("import torch\ndef (\n")
    done = subprocess.run(
        [sys.executable, "-m", "tricklint", "verify", "train.py", "--yes"], cwd=project, capture_output=True, text=True
    )
    assert done.returncode == 2
    assert "train.py:2" in done.stderr and "nothing to verify" in done.stderr
    assert "Traceback" not in done.stderr


@pytest.mark.skipif(sys.platform == "win32", reason="no limit on the size of files")
def test_a_file_that_may_not_grow_is_one_line_and_finished_runs_stay(project: Path) -> None:
    """A quota, here by RLIMIT_FSIZE: results.jsonl cannot grow beyond 6 kB."""
    import resource

    train = (project / "train.py").read_text().replace("lr=args.lr)", "lr=args.lr, weight_decay=0.01)")
    (project / "train.py").write_text(train)
    command = [sys.executable, "-m", "tricklint", "verify", "train.py", "--select", "TRK601", "--yes", "--workers", "1"]

    def limit() -> None:
        resource.setrlimit(resource.RLIMIT_FSIZE, (6000, 6000))

    done = subprocess.run(command, cwd=project, capture_output=True, text=True, timeout=300, preexec_fn=limit)
    assert done.returncode == 2
    assert "finished runs are kept" in done.stderr and "Traceback" not in done.stderr
    (results,) = (project / ".tricklint" / "verify").glob("*/results.jsonl")
    kept = Ledger(results).runs
    assert 2 <= len(kept) < 16 and all(run.status == "ok" for run in kept.values())
    assert (project / "train.py").read_text() == train


def test_resume_refuses_changed_code(project: Path, engine: Any) -> None:
    session = session_for(project, engine)
    session.save_plan({"about": {"training": "python train.py", "root": str(project), "project": "other"}})
    command = [sys.executable, "-m", "tricklint", "verify", "--resume", str(session.folder)]
    done = subprocess.run(command, cwd=project, capture_output=True, text=True)
    assert done.returncode == 2
    assert "has changed since" in done.stderr
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["nothere.py"], "there is no"),
        (["--recipe", "nope"], "no recipe 'nope'"),
        (["--recipe", "mlp-deep", "--select", "nope"], "has no variant 'nope'"),
        (["--recipe", "mlp-deep", "--lr-scale", "x"], "expected numbers"),
        (["--recipe", "mlp-deep", "--budget", "soon"], "no duration"),
        (["--resume"], "nothing to resume"),
        ([], "what is to be trained?"),
    ],
)
def test_wrong_use_is_one_line(project: Path, arguments: list[str], message: str) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "tricklint", "verify", *arguments], cwd=project, capture_output=True, text=True
    )
    assert done.returncode == 2
    assert message in done.stderr
    assert "Traceback" not in done.stderr
