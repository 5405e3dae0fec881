"""One run's result, and the ledger that keeps results as they come."""

from __future__ import annotations

import errno
import json
import math
import os
from collections.abc import Iterable
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

Key = tuple[str, int, float]
GOOD = ("ok",)
LOST = ("crashed", "killed", "oom", "timeout", "interrupted")  # what such a run gave by then is no result of it


class VerifyError(Exception):
    """Verification could not be done; the message is one line that says what and where."""


@dataclass
class Run:
    """What one training run gave. `losses` and `step_s` have one entry an optimizer ("phase"), in the order in which
    they first stepped; a loss that is no number is None. `series` holds each metric's values, `sources` where they came
    from, `at` how many steps had been made by then, `arguments` the numbers of the command line."""

    variant: str
    seed: int
    lr_scale: float = 1.0
    status: str = "ok"  # ok, diverged, crashed, no-steps, oom, killed, timeout
    message: str = ""
    wall_s: float = 0.0
    start_s: float = 0.0  # of them, before the first step
    steps: int = 0
    losses: list[list[float | None]] = field(default_factory=list)
    phases: list[str] = field(default_factory=list)
    step_s: list[float | None] = field(default_factory=list)
    series: dict[str, list[float | None]] = field(default_factory=dict)
    sources: dict[str, str] = field(default_factory=dict)
    at: dict[str, list[int]] = field(default_factory=dict)
    arguments: dict[str, float] = field(default_factory=dict)
    memory: dict[str, Any] = field(default_factory=dict)
    files: list[str] = field(default_factory=list)
    packages: list[str] = field(default_factory=list)
    pieces: int = 1
    engine: str = "plain"
    notes: list[str] = field(default_factory=list)
    elsewhere: list[str] = field(default_factory=list)  # written outside of the copy, kept in the run's own folder
    refused: list[str] = field(default_factory=list)  # paths that it was not allowed to write
    sandbox: str = ""  # of runner.box.KINDS, and why no better one
    sandbox_why: str = ""

    @property
    def key(self) -> Key:
        return (self.variant, self.seed, self.lr_scale)

    def score(self, metric: str) -> float | None:
        """The last value of a metric; None when the run gave none, it is no number, or the run did not end by itself."""
        if self.status in LOST:
            return None
        values = self.series.get(metric, [])
        value = values[-1] if values else None
        return value if value is not None and math.isfinite(value) else None

    def peak(self) -> float | None:
        """Peak bytes: of the accelerator where one was used, else resident memory."""
        value = self.memory.get("cuda", self.memory.get("rss"))
        return float(value) if value is not None else None


def finite(values: Iterable[float | None]) -> list[float | None]:
    """JSON has no NaN: what is no finite number becomes None."""
    return [v if v is not None and math.isfinite(v) else None for v in values]


class Ledger:
    """results.jsonl: one line a run, written through as soon as the run ends; a torn last line is left out."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.runs: dict[Key, Run] = {}
        if path.exists():
            text = path.read_text(encoding="utf-8")
            whole = text if text.endswith("\n") or not text else text[: text.rfind("\n") + 1]
            for line in whole.splitlines():
                try:
                    run = Run(**json.loads(line))
                except (ValueError, TypeError):
                    continue
                self.runs[run.key] = run
            if whole != text:
                path.write_text(whole, encoding="utf-8")

    def add(self, run: Run) -> None:
        """Keep a run. Raises VerifyError when the disk is full; earlier runs stay readable."""
        self.runs[run.key] = run
        line = json.dumps(asdict(run), allow_nan=False) + "\n"
        try:
            with open(self.path, "a", encoding="utf-8") as file:
                file.write(line)
                file.flush()
                os.fsync(file.fileno())
        except OSError as error:
            raise disk_error(error, self.path) from error


def disk_error(error: OSError, path: Path) -> VerifyError:
    if error.errno in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG):
        return VerifyError(
            f"{path.parent}: the disk is full; finished runs are kept, make room and go on with --resume"
        )
    return VerifyError(f"{path}: {error.strerror or error}")


def write_atomically(path: Path, text: str) -> None:
    """Write beside, then rename. Raises VerifyError when that cannot be done."""
    temporary = path.with_name(f".{path.name}.{os.getpid()}.part")
    try:
        temporary.write_text(text, encoding="utf-8")
        os.replace(temporary, path)
    except OSError as error:
        temporary.unlink(missing_ok=True)
        raise disk_error(error, path) from error
