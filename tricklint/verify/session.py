"""Carry a plan out: skip what the ledger has, run the rest, keep every result as it comes, show how far it is."""

from __future__ import annotations

import contextlib
import json
import math
import platform
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Protocol

from tricklint.verify.engines import TIMED_OUT, Engine, Job, Payload
from tricklint.verify.plan import Plan, Task
from tricklint.verify.records import Ledger, Run, VerifyError, disk_error, finite, write_atomically
from tricklint.verify.series import of_run

DEATHS = {
    TIMED_OUT: "it took longer than --timeout allows",
    -9: "the process was killed (out of memory, or by hand)",
    -11: "the process crashed (segmentation fault)",
}
MOST_PIECES = 64
DIVERGED_ABOVE = 10.0  # a final loss this many times the first one counts as diverged


class Work(Protocol):
    """What a session trains: a script (`replay`) or a recipe (`recipe_work`)."""

    metric_pattern: str | None
    oom_guard: str  # "none": a run out of memory is a result, not made again in pieces

    def groups(self, tasks: Sequence[Task]) -> list[list[Task]]: ...

    def payload(self, tasks: Sequence[Task], plan: Plan, pieces: int) -> Payload: ...

    def cleanup(self, tasks: Sequence[Task]) -> list[str]:
        """Remove what a run left; the paths outside of its folder that it wrote to."""
        ...


@dataclass(frozen=True)
class _Attempt:
    """One try at a group of runs: `alone`: no other run takes memory meanwhile; `repeated`: an earlier try ran out."""

    tasks: list[Task]
    pieces: int = 1
    alone: bool = False
    repeated: bool = False

    def next(self, record: Payload, guard: str) -> _Attempt | None:
        """What to try after this one ended out of memory; None: it is the run's result."""
        if guard == "none":
            return None
        if not self.alone:
            return replace(self, alone=True, repeated=True)
        if record.get("smaller") and self.pieces < MOST_PIECES:
            return replace(self, pieces=self.pieces * 2, repeated=True)
        return None


class Progress(Protocol):
    """How far it is; `update` is called after each run."""

    def update(self, run: Run) -> None: ...


class Session:
    """One folder with plan.json, results.jsonl, logs and the report."""

    def __init__(self, folder: Path, plan: Plan, work: Work, engine: Engine, timeout_s: float | None = None) -> None:
        self.folder, self.plan, self.work, self.engine, self.timeout_s = folder, plan, work, engine, timeout_s
        try:
            for part in ("logs", "work", "diffs"):
                (folder / part).mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise disk_error(error, folder) from error
        self.ledger = Ledger(folder / "results.jsonl")

    def save_plan(self, extra: dict[str, Any]) -> None:
        text = json.dumps({"plan": self.plan.to_json(), "machine": machine(), **extra}, indent=1)
        write_atomically(self.folder / "plan.json", text)
        for variant in self.plan.variants:
            if variant.diff:
                write_atomically(self.folder / "diffs" / f"{safe(variant.name)}.diff", variant.diff)

    def missing(self) -> list[Task]:
        """The plan's runs that are not there yet; one that ran longer than the plan's steps is made again."""
        return [task for task in self.plan.tasks() if not self.has(task)]

    def has(self, task: Task) -> bool:
        run = self.ledger.runs.get(task.key)
        return run is not None and (self.plan.steps is None or run.steps <= self.plan.steps)

    def forget_killed(self) -> None:
        """Before going on with a session: what was ended from outside is no result and is made again."""
        for key, run in list(self.ledger.runs.items()):
            if run.status in ("killed", "interrupted") and (run.message != DEATHS[TIMED_OUT] or not self.timeout_s):
                del self.ledger.runs[key]

    def trial(self, count: int, steps: int) -> list[Run]:
        """`count` baseline runs of a few steps side by side, which are no results: what a run takes beside others."""
        plan, found = replace(self.plan, steps=steps), []

        def job(task: Task) -> Job:
            payload: Payload = {}

            def prepare() -> Payload:
                payload.update(self.work.payload([task], plan, 1))
                return payload

            def finish(record: Payload | None, status: int) -> None:
                self.work.cleanup([task])
                found.append(self.to_run(task, record, status, payload))

            return Job(f"trial-{task.seed}", prepare, finish, self.timeout_s)

        self.engine.run([job(Task(plan.baseline, seed)) for seed in range(count)])
        return found

    def run(
        self,
        tasks: Sequence[Task],
        progress: Callable[[Run], None] | None = None,
        may_start: Callable[[], bool] | None = None,
    ) -> None:
        """Make these runs, as long as the next one `may_start`. One that ends out of memory is made again alone, and where that does not help alone and in
        pieces. KeyboardInterrupt leaves what is finished in the ledger and is raised again."""
        again: list[_Attempt] = []
        groups = self.work.groups(tasks)
        beside = len(groups) > 1 and self.engine.workers > 1
        first = [_Attempt(group, alone=not beside) for group in groups]
        self.engine.run([self._job(attempt, again, progress) for attempt in first], may_start=may_start)
        while again:
            turn, again = again, []
            self.engine.run([self._job(attempt, again, progress) for attempt in turn], alone=True)

    def _job(self, attempt: _Attempt, again: list[_Attempt], progress: Callable[[Run], None] | None) -> Job:
        payload: Payload = {}
        tasks = attempt.tasks

        def prepare() -> Payload:
            try:
                payload.update(self.work.payload(tasks, self.plan, attempt.pieces))
            except OSError as error:
                raise disk_error(error, self.folder) from error
            for name in ("record", "stdout", "stderr"):
                Path(payload[name]).unlink(missing_ok=True)
            return payload

        def finish(record: Payload | None, status: int) -> None:
            elsewhere = self.work.cleanup(tasks)
            if (
                record is not None
                and record.get("status") == "oom"
                and (next_ := attempt.next(record, self.work.oom_guard))
            ):
                again.append(next_)
                return
            records = (record or {}).get("runs", [record] * len(tasks))
            for task, one in zip(tasks, records):
                run = self.to_run(task, one, status, payload)
                run.elsewhere = sorted({*elsewhere, *run.elsewhere})
                if attempt.repeated and attempt.pieces == 1:
                    run.notes.insert(0, "out of memory beside other runs: made again alone")
                self.ledger.add(run)
                if progress:
                    progress(run)
            Path(payload["record"]).unlink(missing_ok=True)

        name = "-".join((safe(tasks[0].variant), str(tasks[0].seed), str(attempt.pieces)))
        return Job(name, prepare, finish, self.timeout_s)

    def to_run(self, task: Task, record: Payload | None, status: int, payload: Payload) -> Run:
        """A run out of the runner's record and what the script printed."""
        run = Run(task.variant, task.seed, task.lr_scale)
        texts = [_read(payload.get(name)) for name in ("stdout", "stderr")]
        if record is None:
            run.status, run.message = "killed", DEATHS.get(status, f"the process ended with status {status}")
            if _disk_full(self.folder):
                raise VerifyError(
                    f"{self.folder}: the disk is full; finished runs are kept, make room and go on with --resume"
                )
        else:
            run.status, run.message = record["status"], record.get("message", "")
            run.wall_s, run.steps = record.get("wall_s", 0.0), record.get("steps", 0)
            run.start_s = min(record.get("start_s", 0.0), run.wall_s)
            for phase in record.get("phases", ()):
                run.phases.append(phase["name"])
                run.losses.append(phase["losses"])
                run.step_s.append(phase["step_s"])
            run.memory, run.files = record.get("memory", {}), record.get("files", [])
            run.packages = record.get("packages", [])
            run.pieces, run.engine = record.get("pieces", 1), record.get("engine", "plain")
            run.notes = list(record.get("notes", []))
            run.refused, run.sandbox = record.get("refused", []), record.get("sandbox", "")
            run.sandbox_why, run.elsewhere = record.get("sandbox_why", ""), record.get("elsewhere", [])
        if "series" in (record or {}):  # a recipe names its own
            run.series = {name: finite(values) for name, values in (record or {})["series"].items()}
        else:
            run.arguments = (record or {}).get("arguments", {})
            for name, series in of_run(record or {}, texts[0], texts[1], self.work.metric_pattern).items():
                run.series[name], run.sources[name], run.at[name] = finite(series.values), series.source, series.at
        run.series.update(final_losses(run))
        if run.status == "ok" and _exploded(run):
            run.status, run.message = "diverged", "the loss ended far above where it began"
        return run


def final_losses(run: Run) -> dict[str, list[float | None]]:
    """The training loss at the end of each phase: the mean of its last twentieth."""
    from tricklint.verify.stats import smooth  # needs numpy, which a watched run does not

    result: dict[str, list[float | None]] = {}
    for number, losses in enumerate(run.losses, 1):
        name = "train loss" if len(run.losses) == 1 else f"train loss {number}"
        numbers = [v for v in losses if v is not None]
        whole = len(numbers) == len(losses) and bool(numbers)
        result[name] = [float(smooth(numbers)[-1])] if whole else [None]
    return result


def _exploded(run: Run) -> bool:
    from tricklint.verify.stats import smooth

    for losses in run.losses:
        numbers = [v for v in losses if v is not None]
        if len(numbers) >= 20:
            first, last = abs(smooth(numbers[:10])[-1]), smooth(numbers)[-1]
            if math.isfinite(last) and last > DIVERGED_ABOVE * max(first, 1e-8) and last > 1.0:
                return True
    return False


def replace_steps(plan: Plan, steps: int | None) -> Plan:
    return replace(plan, steps=steps)


def safe(name: str) -> str:
    """A variant's name as a file name."""
    return "".join(c if c.isalnum() or c in "-_." else "_" for c in name)


def _read(path: str | None, limit: int = 8 << 20) -> tuple[str, int]:
    """The last `limit` bytes of a log, and how many stand before them."""
    if not path:
        return "", 0
    try:
        with open(path, "rb") as file:
            skipped = max(0, file.seek(0, 2) - limit)
            file.seek(skipped)
            return file.read().decode(errors="replace"), skipped
    except OSError:
        return "", 0


def _disk_full(folder: Path) -> bool:
    import shutil

    return shutil.disk_usage(folder).free < 1 << 20


def machine() -> dict[str, Any]:
    """What the figures were made on."""
    from tricklint.verify.engines.local import cores

    found: dict[str, Any] = {
        "python": platform.python_version(),
        "system": f"{platform.system()} {platform.release()}",
        "processor": _processor(),
        "cores": cores(),
        "date": time.strftime("%Y-%m-%d %H:%M"),
        "packages": {},
    }
    from importlib.metadata import PackageNotFoundError, version

    for name in ("tricklint", "torch", "numpy", "pandas", "scipy"):
        with contextlib.suppress(PackageNotFoundError):
            found["packages"][name] = version(name)
    torch = sys.modules.get("torch")
    if torch is not None and torch.cuda.is_available():
        found["gpu"] = torch.cuda.get_device_name()
    return found


def _processor() -> str:
    try:
        for line in Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines():
            if line.startswith("model name"):
                return line.split(":", 1)[1].strip()
    except OSError:
        pass
    return platform.processor() or platform.machine()
