"""Runs as tasks of a Ray cluster: any number of machines, fractions of GPUs, retries when a node is lost.

The nodes run the same runner as the local engine. A node that does not share the session's folder gets the run's files
with the task, and the record and logs come back with its answer.
"""

from __future__ import annotations

import io
import json
import os
import signal
import subprocess
import sys
import tarfile
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import ray

from tricklint.verify.devices import Card, Placement
from tricklint.verify.engines import TIMED_OUT, Job, Payload
from tricklint.verify.engines.local import RUNNER, environment
from tricklint.verify.records import Run

RETRIES = 2  # when a node dies; a run that crashes is a result and is not repeated
NEEDS_FILES = "files"


class RayEngine:
    """`gpus` is the share of a GPU that one run takes (0: none); until a run has been measured it is a whole one.
    `workers` bounds the tasks in flight."""

    def __init__(self, address: str | None = None, python: str | None = None, gpus: float | None = None) -> None:
        self.python = python
        self.started = not ray.is_initialized()
        if self.started:
            options: dict[str, Any] = {"log_to_driver": False, "include_dashboard": False, "logging_level": "error"}
            os.environ.setdefault("RAY_worker_niceness", "0")  # Ray's 15 starves runs on a machine that does more
            os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
            if address:
                options = {"address": address, "log_to_driver": False}
                options["runtime_env"] = {"py_modules": [str(RUNNER.parents[2])]}
            try:
                ray.init(**options)
            except (ConnectionError, RuntimeError, ValueError) as error:
                from tricklint.verify.records import VerifyError

                raise VerifyError(f"Ray at {address or 'this machine'} cannot be reached: {error}") from error
        found = ray.cluster_resources()
        self.workers = max(1, int(found.get("CPU", 1)))
        self.gpu_count = int(found.get("GPU", 0))
        self.gpus = gpus if gpus is not None else float(bool(self.gpu_count))
        self.cpus = 1
        self._build()

    def cards(self, pilot: Run) -> list[Card]:
        """The cluster's cards, each taken to be like the one that the pilot had, and free."""
        total = int(pilot.memory.get("card_total", 0))
        name = str(pilot.memory.get("device", "GPU"))
        return [Card(str(i), name, total, total) for i in range(self.gpu_count)] if total else []

    def _build(self) -> None:
        self.task = ray.remote(num_cpus=self.cpus, num_gpus=self.gpus, max_retries=RETRIES)(_execute)

    def place(self, placement: Placement) -> None:
        """Ask for what the pilot took: its share of a card (or its cards), and a core for each of its processes."""
        self.gpus = placement.share if self.gpu_count else 0.0
        self.cpus = min(placement.cores, self.workers)
        self._build()

    def preload(self, names: Sequence[str]) -> None:
        """Each task is a fresh process: nothing to do."""

    def run(self, jobs: Sequence[Job], alone: bool = False, may_start: Callable[[], bool] | None = None) -> None:
        waiting = list(reversed(jobs))
        running: dict[Any, tuple[Job, Payload]] = {}
        try:
            while waiting or running:
                if may_start is not None and not may_start():
                    waiting.clear()
                while waiting and len(running) < (1 if alone else 2 * self.workers):
                    job = waiting.pop()
                    payload = job.prepare()
                    running[self.task.remote(payload, None, self.python, job.timeout_s)] = (job, payload)
                done, _ = ray.wait(list(running), num_returns=1, timeout=1.0)
                for reference in done:
                    job, payload = running.pop(reference)
                    try:
                        answer = ray.get(reference)
                    except ray.exceptions.RayError as error:
                        answer = (None, -9, "", f"{type(error).__name__}: {error}".split("\n")[0])
                    if answer == NEEDS_FILES:
                        running[self.task.remote(payload, bundle(payload), self.python, job.timeout_s)] = (job, payload)
                        continue
                    record, status, out, err = answer
                    for name, text in (("stdout", out), ("stderr", err)):
                        if text is not None:
                            Path(payload[name]).write_text(text, encoding="utf-8")
                    job.finish(record, status)
        except BaseException:
            for reference in running:
                ray.cancel(reference, force=True)
            raise

    def close(self) -> None:
        """Leave the cluster, if this engine entered it."""
        if self.started and ray.is_initialized():
            ray.shutdown()


def bundle(payload: Payload) -> bytes:
    """The files a run needs, as a tar: a script's copy of the project, or a recipe's shared folder."""
    folder = payload.get("root") or payload["arguments"]["folder"]
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as tar:
        tar.add(folder, arcname=".", filter=_no_records)
    return buffer.getvalue()


def _no_records(member: tarfile.TarInfo) -> tarfile.TarInfo | None:
    return None if member.name.endswith(".json.part") else member


def _own_places(payload: Payload, place: str) -> Payload:
    """The run's own folders on the node, in place of those on the machine that asks."""
    temporary, store = os.path.join(place, "tmp"), os.path.join(place, "elsewhere")
    for folder in (temporary, store):
        os.mkdir(folder)
    environment = {**payload["environment"], **dict.fromkeys(("TMPDIR", "TEMP", "TMP"), temporary)}
    own = {"store": store, "aside": os.path.join(place, "aside"), "environment": environment}
    return {"allowed": [*payload["allowed"], place], **own}


def _execute(payload: Payload, files: bytes | None, python: str | None, timeout_s: float | None) -> Any:
    """On the node: run one job in a process of its own; (record, exit status, stdout, stderr), or NEEDS_FILES."""
    folder = payload.get("root") or (payload.get("arguments") or {}).get("folder")
    shared = folder is None or os.path.isdir(folder)
    if not shared and files is None:
        return NEEDS_FILES
    with tempfile.TemporaryDirectory(prefix="tricklint-ray-") as place:
        if not shared:
            assert files is not None
            target = os.path.join(place, "files")
            with tarfile.open(fileobj=io.BytesIO(files)) as tar:
                tar.extractall(target, filter="data" if hasattr(tarfile, "data_filter") else None)
            payload = json.loads(json.dumps(payload).replace(json.dumps(folder)[1:-1], json.dumps(target)[1:-1]))
        payload = {**payload, **{name: os.path.join(place, name) for name in ("record", "stdout", "stderr")}}
        if payload["kind"] == "script":
            payload.update(_own_places(payload, place))
        job = os.path.join(place, "job.json")
        Path(job).write_text(json.dumps(payload), encoding="utf-8")
        # The runner finds tricklint by its own place, as it does on this machine.
        process = subprocess.Popen(
            [python or sys.executable, str(RUNNER), job], env=environment(), start_new_session=True
        )
        try:
            status = process.wait(timeout_s)
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGKILL)
            process.wait()
            status = TIMED_OUT
        texts = []
        for name in ("stdout", "stderr"):
            path = Path(payload[name])
            texts.append(path.read_text(encoding="utf-8", errors="replace") if path.exists() else "")
        try:
            record = json.loads(Path(payload["record"]).read_text(encoding="utf-8"))
        except (OSError, ValueError):
            record = None
        return record, status, texts[0], texts[1]
