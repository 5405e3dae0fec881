"""Processes of this machine, with one thread each. Each worker keeps one server process that has imported torch and
forks for every run, so that a run does not pay the imports."""

from __future__ import annotations

import contextlib
import json
import os
import queue
import signal
import subprocess
import sys
import tempfile
import threading
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import IO, Any

from tricklint.verify.devices import Card, Placement, Seat, cards_here
from tricklint.verify.engines import TIMED_OUT, Job, Payload
from tricklint.verify.records import Run

RUNNER = Path(__file__).resolve().parents[1] / "runner" / "__main__.py"
THREADS = (
    "OMP_NUM_THREADS",
    "MKL_NUM_THREADS",
    "OPENBLAS_NUM_THREADS",
    "NUMEXPR_NUM_THREADS",
    "VECLIB_MAXIMUM_THREADS",
)


def cores() -> int:
    """CPU cores this process may use."""
    try:
        return len(os.sched_getaffinity(0))
    except AttributeError:
        return os.cpu_count() or 1


def environment(threads: int = 1, seat: Seat | None = None) -> dict[str, str]:
    """The environment of a run: the user's, with `threads` threads a process, no bytecode left behind, and the cards of
    its seat."""
    settings = {name: str(threads) for name in THREADS}
    settings["OMP_WAIT_POLICY"] = "PASSIVE"
    settings["PYTHONDONTWRITEBYTECODE"] = "1"
    settings["PYTHONHASHSEED"] = "0"  # sets are iterated in the same order in both runs of a pair
    settings["TOKENIZERS_PARALLELISM"] = "false"
    return {**os.environ, **settings, **(seat.environment if seat else {})}


class _Server:
    """One runner in `--serve` mode, used by one thread."""

    def __init__(self, python: str, options: Payload, threads: int, seat: Seat) -> None:
        self.seat = seat
        self.errors: IO[bytes] = tempfile.TemporaryFile()  # noqa: SIM115 - lives as long as the server
        self.process = subprocess.Popen(
            [python, str(RUNNER), "--serve", json.dumps(options)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self.errors,
            env=environment(threads, seat),
            start_new_session=True,
        )
        self.child: int | None = None
        self._answer()

    def _answer(self) -> Payload:
        assert self.process.stdout is not None
        line = self.process.stdout.readline()
        if not line:
            self.errors.seek(0)
            tail = self.errors.read().decode(errors="replace").strip().splitlines()[-1:]
            raise ChildProcessError(tail[0] if tail else "the runner ended")
        answer: Payload = json.loads(line)
        return answer

    def run(self, job: Payload, timeout_s: float | None) -> int:
        assert self.process.stdin is not None
        self.process.stdin.write(json.dumps(job).encode() + b"\n")
        self.process.stdin.flush()
        self.child = int(self._answer()["pid"])
        late = threading.Event()

        def end() -> None:
            late.set()
            self.kill_child()

        timer = threading.Timer(timeout_s, end) if timeout_s else None
        if timer:
            timer.start()
        try:
            status = int(self._answer()["status"])
            return TIMED_OUT if late.is_set() else status
        finally:
            if timer:
                timer.cancel()
            self.child = None

    def kill_child(self) -> None:
        if self.child is not None:
            _kill_group(self.child)

    def close(self) -> None:
        self.kill_child()
        _kill_group(self.process.pid)
        for stream in (self.process.stdin, self.process.stdout):
            if stream is not None:
                with contextlib.suppress(OSError):
                    stream.close()
        self.process.wait()
        self.errors.close()


def _kill_group(pid: int) -> None:
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.killpg(pid, signal.SIGKILL)


class LocalEngine:
    """`workers` runs at a time. `preload` are modules to import, and `warm` calls ("module:function", arguments) to
    make, once before forking; both must be harmless, and no call may run a backward pass."""

    def __init__(
        self,
        workers: int | None = None,
        python: str | None = None,
        preload: Sequence[str] = ("torch",),
        path: Sequence[str] = (),
        threads: int = 1,
        warm: Sequence[tuple[str, Payload]] = (),
    ) -> None:
        self.seats = [Seat()] * (workers or cores())
        self.python = python or sys.executable
        self.options: Payload = {"preload": list(preload), "path": list(path), "warm": list(warm)}
        self.threads = threads
        self.servers: list[_Server] = []
        self.stop = threading.Event()
        self.lock = threading.Lock()

    @property
    def workers(self) -> int:
        return len(self.seats)

    @workers.setter
    def workers(self, count: int) -> None:
        self.seats = [Seat()] * count

    def cards(self, pilot: Run) -> list[Card]:
        """This machine's cards."""
        return cards_here(self.python)

    def place(self, placement: Placement) -> None:
        """Each worker gets one seat, and its server the seat's cards from the start: what a library asked of CUDA
        before the fork would not be forgotten after it."""
        self.seats = list(placement.seats)
        with self.lock:
            stale = [server for server in self.servers if server.seat not in self.seats]
            self.servers = [server for server in self.servers if server not in stale]
        for server in stale:
            server.close()

    def preload(self, names: Sequence[str]) -> None:
        """Import these too before forking; servers that run already are replaced when they are next used."""
        wanted = list(dict.fromkeys([*self.options["preload"], *names]))
        if wanted != self.options["preload"]:
            self.options["preload"] = wanted
            self.close()

    def run(self, jobs: Sequence[Job], alone: bool = False, may_start: Callable[[], bool] | None = None) -> None:
        self.stop.clear()
        self.may_start = may_start or (lambda: True)
        waiting: queue.SimpleQueue[Job] = queue.SimpleQueue()
        for job in jobs:
            waiting.put(job)
        failures: list[BaseException] = []
        seats = self.seats[: 1 if alone else len(jobs)]
        with self.lock:
            idle, self.servers = self.servers, []
        threads = []
        for seat in seats:
            server = next((server for server in idle if server.seat == seat), None)
            if server is not None:
                idle.remove(server)
            threads.append(threading.Thread(target=self._work, args=(waiting, failures, server, seat), daemon=True))
        for server in idle:
            server.close()
        try:
            for thread in threads:
                thread.start()
            for thread in threads:
                while thread.is_alive():
                    thread.join(0.2)  # a bare join would not let Ctrl-C through
        except BaseException:
            self.stop.set()
            self.close()
            raise
        if failures:
            raise failures[0]

    def _work(
        self, waiting: queue.SimpleQueue[Job], failures: list[BaseException], server: _Server | None, seat: Seat
    ) -> None:
        try:
            while not self.stop.is_set() and not failures and self.may_start():
                try:
                    job = waiting.get_nowait()
                except queue.Empty:
                    break
                payload = job.prepare()
                if hasattr(os, "fork"):
                    if server is None:
                        server = _Server(self.python, self.options, self.threads, seat)
                    with self.lock:
                        self.servers.append(server)
                    try:
                        status = server.run(payload, job.timeout_s)
                    except (ChildProcessError, OSError, ValueError):
                        if self.stop.is_set():
                            return
                        server.close()
                        with self.lock:
                            self.servers.remove(server)
                        server = None
                        status = -9
                    else:
                        with self.lock:
                            self.servers.remove(server)
                else:
                    status = self._alone(payload, job.timeout_s, seat)
                if self.stop.is_set():
                    return
                job.finish(read_record(payload), status)
        except BaseException as error:
            failures.append(error)
        finally:
            if server is not None and not self.stop.is_set():
                with self.lock:
                    self.servers.append(server)

    def _alone(self, payload: Payload, timeout_s: float | None, seat: Seat) -> int:
        with tempfile.NamedTemporaryFile("w", suffix=".json", delete=False) as file:
            json.dump(payload, file)
        try:
            command = [self.python, str(RUNNER), file.name]
            return subprocess.run(command, env=environment(self.threads, seat), timeout=timeout_s).returncode
        except subprocess.TimeoutExpired:
            return TIMED_OUT
        finally:
            os.unlink(file.name)

    def close(self) -> None:
        """End every process. Safe to call twice."""
        with self.lock:
            servers, self.servers = self.servers, []
        for server in servers:
            server.close()


def read_record(payload: Payload) -> dict[str, Any] | None:
    """The record a run left, or None."""
    try:
        with open(payload["record"], encoding="utf-8") as file:
            record: dict[str, Any] = json.load(file)
            return record
    except (OSError, ValueError):
        return None
