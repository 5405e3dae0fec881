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
from typing import Any, NoReturn

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
    """Read messages until stdin closes: jobs, for each of which it forks, and names to import first. Each answer is a line with
    the message's number; number 0 is the start's own."""
    answers = os.fdopen(os.dup(1), "w", buffering=1)
    os.dup2(2, 1)  # what preloaded packages print must not mix with the answers
    jobs = os.fdopen(os.dup(0), "rb", buffering=0)
    _import(options.get("preload", []), options.get("path", []), options.get("warm", []))
    wake, woken = socket.socketpair()
    wake.setblocking(False)
    woken.setblocking(False)
    signal.signal(signal.SIGCHLD, lambda *_: None)
    signal.set_wakeup_fd(wake.fileno())
    print(json.dumps({"number": 0, "ready": os.getpid()}), file=answers)
    running: dict[int, int] = {}  # children, and the numbers of their jobs
    buffer = b""
    while True:
        sources: list[Any] = [woken, jobs]
        ready = select.select(sources, [], [], 5.0)[0]
        if woken in ready:
            with contextlib.suppress(BlockingIOError):
                woken.recv(4096)
        for child in list(running):
            pid, status = os.waitpid(child, os.WNOHANG)
            if pid:
                number = running.pop(child)
                print(json.dumps({"number": number, "status": os.waitstatus_to_exitcode(status)}), file=answers)
        if jobs not in ready:
            continue
        chunk = os.read(jobs.fileno(), 65536)
        if not chunk:  # the engine itself is gone
            _leave(running)
        *lines, buffer = (buffer + chunk).split(b"\n")
        for message in map(json.loads, lines):
            if "preload" in message:
                _import(message["preload"], options.get("path", []), [])
                print(json.dumps({"number": message["number"], "ready": os.getpid()}), file=answers)
                continue
            sys.stdout.flush()
            child = os.fork()
            if child == 0:
                _child(message["job"], answers)
            running[child] = message["number"]
            print(json.dumps({"number": message["number"], "pid": child}), file=answers)


def _import(names: list[str], folders: list[str], warm: list[Any]) -> None:
    path = list(sys.path)
    sys.path[:0] = folders
    asked = os.environ.get(_LIGHTLY)
    os.environ[_LIGHTLY] = "1"
    gc.disable()  # imports leave hardly any garbage, and looking for it is an eighth of torch's
    for name in names:
        try:
            importlib.import_module(name)
        except BaseException as error:
            sys.stderr.write(f"preload {name}: {type(error).__name__}: {error}" + "\n")
    for target, arguments in warm:
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
    gc.enable()
    gc.collect()
    gc.freeze()  # a child's collector need not look at what was imported here: looking would copy its pages


def _child(job: Job, answers: Any) -> NoReturn:
    """A forked process: it runs the job and ends."""
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


def _leave(running: dict[int, int]) -> NoReturn:
    """End the children, and leave."""
    for child in running:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(child, signal.SIGKILL)
    os._exit(0)


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
