"""Take jobs: one from a file, or many from stdin with a fork for each, so that `import torch` is paid once."""

from __future__ import annotations

import contextlib
import gc
import importlib
import json
import os
import select
import signal
import socket
import sys
import tempfile
import traceback
from typing import Any

Job = dict[str, Any]

# Has torch.cuda.is_available ask the driver's library only. Else the question alone, which many packages ask when they
# are imported, makes a process from which no child can use the card.
_LIGHTLY = "PYTORCH_NVML_BASED_CUDA_CHECK"


def main(arguments: list[str]) -> int:
    if arguments[:1] == ["--serve"]:
        return _serve(json.loads(arguments[1]) if len(arguments) > 1 else {})
    with open(arguments[0], encoding="utf-8") as file:
        job = json.load(file)
    if arguments[1:] == ["--once"]:
        os.unlink(arguments[0])
    return run_job(job)


def run_job(job: Job) -> int:
    """Run one job in this process; what it found is in the job's record file. Returns the exit status."""
    _redirect(job)
    if job["kind"] == "call":
        sys.path[:0] = [p for p in job.get("path", []) if p not in sys.path]
        module, _, name = job["target"].partition(":")
        try:
            result = getattr(importlib.import_module(module), name)(**job["arguments"])
        except BaseException as error:
            traceback.print_exc()
            result = {"status": "crashed", "message": f"{type(error).__name__}: {error}"}
        write_json(job["record"], result)
        return 0
    from tricklint.verify.runner.script import run_script

    return run_script(job)


def write_json(path: str, value: Any) -> None:
    """Write atomically: a record either is whole or is not there."""
    temporary = f"{path}.{os.getpid()}.part"
    with open(temporary, "w", encoding="utf-8") as file:
        json.dump(value, file)
    os.replace(temporary, path)


def _redirect(job: Job) -> None:
    """The job's own stdout and stderr files, also for what C code and child processes print; stdin is empty."""
    sys.stdout.flush()
    sys.stderr.flush()
    for name, number in (("stdout", 1), ("stderr", 2)):
        if job.get(name):
            target = os.open(job[name], os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o644)
            os.dup2(target, number)
            os.close(target)
            # It lasts as long as the process.
            stream = open(number, "w", buffering=1, encoding="utf-8", errors="replace", closefd=False)  # noqa: SIM115
            setattr(sys, name, stream)
    empty = os.open(os.devnull, os.O_RDONLY)
    os.dup2(empty, 0)
    os.close(empty)
    sys.stdin = open(0, encoding="utf-8", closefd=False)  # noqa: SIM115


def _serve(options: Job) -> int:
    """Read jobs until stdin closes; answer `{"ready"}` once, then one line a job: its id and exit status."""
    answers = os.fdopen(os.dup(1), "w", buffering=1)
    os.dup2(2, 1)  # what preloaded packages print must not mix with the answers
    jobs = os.fdopen(os.dup(0), "rb", buffering=0)
    path = list(sys.path)
    sys.path[:0] = options.get("path", [])
    asked = os.environ.get(_LIGHTLY)
    os.environ[_LIGHTLY] = "1"
    for name in options.get("preload", []):
        try:
            importlib.import_module(name)
        except BaseException as error:
            sys.stderr.write(f"preload {name}: {type(error).__name__}: {error}" + "\n")
    for target, arguments in options.get("warm", []):
        module, _, function = target.partition(":")
        try:
            getattr(importlib.import_module(module), function)(**arguments)
        except BaseException as error:
            sys.stderr.write(f"warm-up {target}: {type(error).__name__}: {error}" + "\n")
    sys.path[:] = path
    if asked is None:
        del os.environ[_LIGHTLY]
    else:
        os.environ[_LIGHTLY] = asked
    gc.collect()
    gc.freeze()  # a child's collector need not look at what was imported here: looking would copy its pages
    wake, woken = socket.socketpair()
    wake.setblocking(False)
    woken.setblocking(False)
    signal.signal(signal.SIGCHLD, lambda *_: None)
    signal.set_wakeup_fd(wake.fileno())
    print(json.dumps({"ready": os.getpid()}), file=answers)
    buffer = b""
    while True:
        while b"\n" not in buffer:
            chunk = os.read(jobs.fileno(), 65536)
            if not chunk:
                return 0
            buffer += chunk
        line, _, buffer = buffer.partition(b"\n")
        job = json.loads(line)
        sys.stdout.flush()
        child = os.fork()
        if child == 0:
            signal.set_wakeup_fd(-1)
            signal.signal(signal.SIGCHLD, signal.SIG_DFL)
            status = 70
            try:
                os.setpgid(0, 0)
                answers.close()
                if _card_is_lost():
                    _anew(job)
                status = run_job(job)
            except BaseException:
                traceback.print_exc()
            finally:
                sys.stdout.flush()
                sys.stderr.flush()
                os._exit(status)
        print(json.dumps({"started": job["id"], "pid": child}), file=answers)
        status = _wait(child, jobs.fileno(), woken)
        print(json.dumps({"done": job["id"], "status": status}), file=answers)


def _card_is_lost() -> bool:
    """Whether something that was imported before the fork has opened CUDA: a fork cannot use it."""
    torch = sys.modules.get("torch")
    lost = getattr(getattr(torch, "_C", None), "_cuda_isInBadFork", None)
    return bool(lost is not None and lost())


def _anew(job: Job) -> None:
    """Replace this process by one that imports everything itself."""
    file, path = tempfile.mkstemp(suffix=".json", prefix="tricklint-job-")
    with open(file, "w", encoding="utf-8") as stream:
        json.dump(job, stream)
    runner = os.path.join(os.path.dirname(os.path.abspath(__file__)), "__main__.py")
    os.execv(sys.executable, [sys.executable, runner, path, "--once"])


def _wait(child: int, jobs: int, woken: socket.socket) -> int:
    """Wait for a child; when the engine itself is gone (stdin closed), end the child and leave."""
    while True:
        pid, status = os.waitpid(child, os.WNOHANG)
        if pid:
            return os.waitstatus_to_exitcode(status)
        sources: list[Any] = [woken, jobs]
        ready = select.select(sources, [], [], 5.0)[0]
        if woken in ready:
            with contextlib.suppress(BlockingIOError):
                woken.recv(4096)
        elif jobs in ready:  # only its end can be read here: the engine sends one job at a time
            with contextlib.suppress(ProcessLookupError):
                os.killpg(child, signal.SIGKILL)
            os._exit(0)
