"""Processes of this machine, with one thread each. A server process that has imported torch forks for every run, so that a run
does not pay the imports."""

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
    """One runner in `--serve` mode, which forks for every job that it is given, as many at a time as there are threads that
    give it one."""

    def __init__(self, python: str, options: Payload, threads: int, seat: Seat) -> None:
        self.errors: IO[bytes] = tempfile.TemporaryFile()  # noqa: SIM115 - lives as long as the server
        self.process = subprocess.Popen(
            [python, str(RUNNER), "--serve", json.dumps(options)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self.errors,
            env=environment(threads, seat),
            start_new_session=True,
        )
        self.children: set[int] = set()
        self._lock = threading.Lock()
        self._serial = 0
        self._ended = ""  # why it answers no more
        self._waiting: dict[int, queue.SimpleQueue[Payload | None]] = {}
        ready = self._expect()
        threading.Thread(target=self._listen, daemon=True).start()
        self._next(*ready)

    def _expect(self) -> tuple[int, queue.SimpleQueue[Payload | None]]:
        """A number for a message, and where its answers will come; answers to number 0 say that the server is ready."""
        with self._lock:
            number, self._serial = self._serial, self._serial + 1
            answers = self._waiting[number] = queue.SimpleQueue()
            if self._ended:
                answers.put(None)
        return number, answers

    def _listen(self) -> None:
        assert self.process.stdout is not None
        try:
            for line in self.process.stdout:
                answer: Payload = json.loads(line)
                with self._lock:
                    answers = self._waiting.get(answer["number"])
                if answers is not None:
                    answers.put(answer)
        except (OSError, ValueError):
            pass  # closed
        with self._lock:
            self._ended = self._last_words() or "the runner ended"
            for answers in self._waiting.values():
                answers.put(None)

    def _last_words(self) -> str:
        with contextlib.suppress(OSError, ValueError):
            self.errors.seek(0)
            return "".join(self.errors.read().decode(errors="replace").strip().splitlines()[-1:])
        return ""

    def _next(self, number: int, answers: queue.SimpleQueue[Payload | None], last: bool = True) -> Payload:
        answer = answers.get()
        if last or answer is None:
            with self._lock:
                self._waiting.pop(number, None)
        if answer is None:
            raise ChildProcessError(self._ended)
        return answer

    def _say(self, message: Payload) -> None:
        assert self.process.stdin is not None
        line = json.dumps(message).encode() + b"\n"
        with self._lock:
            self.process.stdin.write(line)
            self.process.stdin.flush()

    def preload(self, names: Sequence[str]) -> None:
        """Import these too; when it returns, the next forks have them."""
        number, answers = self._expect()
        self._say({"number": number, "preload": list(names)})
        self._next(number, answers)

    def run(self, job: Payload, timeout_s: float | None) -> int:
        """The exit status of a job. Raises ChildProcessError when the server is gone."""
        number, answers = self._expect()
        self._say({"number": number, "job": job})
        child = int(self._next(number, answers, last=False)["pid"])
        self.children.add(child)
        late = threading.Event()

        def end() -> None:
            late.set()
            _kill_group(child)

        timer = threading.Timer(timeout_s, end) if timeout_s else None
        if timer:
            timer.start()
        try:
            status = int(self._next(number, answers)["status"])
            return TIMED_OUT if late.is_set() else status
        finally:
            if timer:
                timer.cancel()
            self.children.discard(child)

    def close(self) -> None:
        for child in list(self.children):
            _kill_group(child)
        _kill_group(self.process.pid)
        self.process.wait()
        for stream in (self.process.stdin, self.process.stdout):
            if stream is not None:
                with contextlib.suppress(OSError):
                    stream.close()
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
        self.servers: dict[Seat, _Server] = {}  # seats with the same cards share one
        self.stop = threading.Event()
        self.lock = threading.Lock()
        self.starting = threading.Lock()

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
        for seat in [seat for seat in self.servers if seat not in self.seats]:
            self._drop(self.servers[seat])

    def preload(self, names: Sequence[str]) -> None:
        """Import these too before forking, in the servers that run already as well."""
        missing = [name for name in dict.fromkeys(names) if name not in self.options["preload"]]
        self.options["preload"] = [*self.options["preload"], *missing]
        for server in list(self.servers.values()) if missing else ():
            try:
                server.preload(missing)
            except (ChildProcessError, OSError):
                self._drop(server)

    def run(self, jobs: Sequence[Job], alone: bool = False, may_start: Callable[[], bool] | None = None) -> None:
        self.stop.clear()
        self.may_start = may_start or (lambda: True)
        waiting: queue.SimpleQueue[Job] = queue.SimpleQueue()
        for job in jobs:
            waiting.put(job)
        failures: list[BaseException] = []
        threads = [
            threading.Thread(target=self._work, args=(waiting, failures, seat), daemon=True)
            for seat in self.seats[: 1 if alone else len(jobs)]
        ]
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

    def _work(self, waiting: queue.SimpleQueue[Job], failures: list[BaseException], seat: Seat) -> None:
        try:
            while not self.stop.is_set() and not failures and self.may_start():
                try:
                    job = waiting.get_nowait()
                except queue.Empty:
                    break
                payload = job.prepare()
                if hasattr(os, "fork"):
                    status = self._forked(payload, job.timeout_s, seat)
                else:
                    status = self._alone(payload, job.timeout_s, seat)
                if self.stop.is_set():
                    return
                job.finish(read_record(payload), status)
        except BaseException as error:
            failures.append(error)

    def _forked(self, payload: Payload, timeout_s: float | None, seat: Seat) -> int:
        server = self._server(seat)
        try:
            return server.run(payload, timeout_s)
        except (ChildProcessError, OSError, ValueError):
            if not self.stop.is_set():
                self._drop(server)
            return -9

    def _server(self, seat: Seat) -> _Server:
        with self.starting:  # the others wait for it
            server = self.servers.get(seat)
            if server is None:
                server = _Server(self.python, self.options, self.threads, seat)
                with self.lock:
                    self.servers[seat] = server
            return server

    def _drop(self, server: _Server) -> None:
        with self.lock:
            seats = [seat for seat, other in self.servers.items() if other is server]
            for seat in seats:
                del self.servers[seat]
        if seats:
            server.close()

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
            servers, self.servers = list(self.servers.values()), {}
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
