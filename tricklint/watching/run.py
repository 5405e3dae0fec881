"""Start the user's command with the recorder in it, and say how it ended."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from tricklint.verify.replay import Command

CHILD = Path(__file__).resolve().parents[1] / "verify" / "runner" / "child"
PATIENCE = 30.0  # seconds that a process has to end after its last step
LATEST = "latest"


class WatchError(Exception):
    """The command cannot be watched, in one line."""


@dataclass
class Outcome:
    """`folder` holds the record; `code` is the process' exit status, `late` whether it had to be ended."""

    folder: Path
    code: int
    late: bool
    seconds: float


def new_folder(output: Path) -> Path:
    """A new folder for one run below `output`/.tricklint/watch."""
    base = output / ".tricklint" / "watch"
    name = time.strftime("%Y%m%d-%H%M%S")
    for extra in ("", *(f"-{number}" for number in range(2, 1000))):
        folder = base / (name + extra)
        try:
            folder.mkdir(parents=True)
        except FileExistsError:
            continue
        except OSError as error:
            raise WatchError(f"{folder}: cannot be made: {error.strerror}") from None
        ignore = base.parent / ".gitignore"
        if not ignore.exists():
            ignore.write_text("*\n", encoding="utf-8")
        return folder
    raise WatchError(f"{base}: too many runs within one second")


def check_interpreter(python: str) -> None:
    """Raises WatchError where that interpreter cannot be started, or has no torch."""
    code = "import importlib.util as u, sys; sys.exit(0 if u.find_spec('torch') else 3)"
    try:
        done = subprocess.run([python, "-c", code], capture_output=True, text=True, check=False)
    except OSError as error:
        raise WatchError(f"{python}: cannot be started: {error.strerror}") from None
    if done.returncode == 3:
        raise WatchError(f"{python} has no torch: --python names the project's interpreter")
    if done.returncode:
        lines = done.stderr.strip().splitlines() or ["it printed no reason"]
        raise WatchError(f"{python}: is no Python that runs: {lines[-1]}")


def start(
    command: Command,
    root: Path,
    folder: Path,
    python: str | None = None,
    steps: int | None = 50,
    limit_s: float | None = None,
    environment: Mapping[str, str] | None = None,
) -> Outcome:
    """Run the command in its own folder; what it prints goes to our stderr. Raises WatchError."""
    interpreter = python or sys.executable
    check_interpreter(interpreter)
    job = folder / "job.json"
    job.write_text(json.dumps({"folder": str(folder), "root": str(root), "steps": steps}), encoding="utf-8")
    given = dict(os.environ if environment is None else environment)
    given["TRICKLINT_WATCH_JOB"] = str(job)
    given.pop("TRICKLINT_WATCH_FIRST", None)
    given["PYTHONPATH"] = os.pathsep.join(filter(None, (str(CHILD), given.get("PYTHONPATH"))))
    given.setdefault("PYTHONUNBUFFERED", "1")
    what = ["-m", command.module] if command.module else [str(root / (command.script or ""))]
    began = time.monotonic()
    process = subprocess.Popen(
        [interpreter, *what, *command.arguments], cwd=root / command.folder, env=given, stdout=sys.stderr.fileno()
    )
    late = _wait(process, folder, limit_s)
    return Outcome(folder, process.returncode, late, time.monotonic() - began)


def _wait(process: subprocess.Popen[bytes], folder: Path, limit_s: float | None) -> bool:
    """Until it ends; whether it had to be ended: its time is up, or it does not leave after its last step. Ctrl-C is
    the command's: it ends, and is reported up to there."""
    began = time.monotonic()
    ended: float | None = None
    asked = False
    while True:
        try:
            process.wait(0.25)
            return asked
        except subprocess.TimeoutExpired:
            pass
        except KeyboardInterrupt:
            continue
        now = time.monotonic()
        if ended is None and _has_ended(folder, process.pid):
            ended = now
        over = limit_s is not None and now - began > limit_s
        if over and not asked:
            asked = True
            process.send_signal(signal.SIGINT)
            ended = now - PATIENCE + 5.0
        elif ended is not None and now - ended > PATIENCE:
            asked = True
            process.kill()


def _has_ended(folder: Path, pid: int) -> bool:
    try:
        with (folder / f"record-{pid}.jsonl").open("rb") as file:
            file.seek(0, os.SEEK_END)
            file.seek(max(0, file.tell() - 4096))
            return b'"fact": "end"' in file.read()
    except OSError:
        return False
