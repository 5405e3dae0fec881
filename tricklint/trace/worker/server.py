"""The preloaded process: reads jobs from stdin, forks a child for each, answers on stdout, one JSON line each."""

from __future__ import annotations

import contextlib
import gc
import importlib
import json
import os
import select
import signal
import sys
import time
import warnings
from typing import Any


def serve() -> None:
    """Until stdin closes. Lines in: {"preload": [...]} or {"job": {...}}; out: {"ready"}, {"preloaded"}, {"done"}."""
    answers = os.fdopen(os.dup(1), "wb", buffering=0)
    null = os.open(os.devnull, os.O_RDWR)
    os.dup2(null, 1)
    sys.dont_write_bytecode = True
    warnings.simplefilter("ignore")
    started = time.perf_counter()
    gc.disable()  # imports leave hardly any garbage, and looking for it is an eighth of torch's
    try:
        import torch
    except ImportError as error:
        answers.write(json.dumps({"error": f"torch cannot be imported by {sys.executable}: {error}"}).encode() + b"\n")
        return
    torch.set_num_threads(1)
    import torch.fx
    import torch.utils._python_dispatch

    from tricklint.trace.worker import downloads, job, torchvision_ops
    from tricklint.trace.worker.guard import Guard

    downloads.patch_torch()
    _spare_dynamo()
    _warm_up()
    gc.enable()
    gc.freeze()
    guard = Guard()
    guard.install()
    lines = sys.stdin.buffer
    ready = {"ready": True, "torch": torch.__version__, "seconds": round(time.perf_counter() - started, 3)}
    answers.write(json.dumps(ready).encode() + b"\n")
    for line in iter(lines.readline, b""):
        order = json.loads(line)
        if "preload" in order:
            answers.write(job.dumps({"preloaded": _preload(order["preload"], guard, torchvision_ops)}))
        else:
            answers.write(job.dumps({"done": _fork(order["job"], guard)}))


def _spare_dynamo() -> None:
    """Optimizers and meta kernels import torch._dynamo (seconds) only to switch it off round themselves: here it never
    is on. Before their modules are imported the decorator goes; from optimizers, which are, it is taken out."""
    import torch
    import torch._compile

    from tricklint.trace.worker.patch import put

    def plain(fn: Any = None, recursive: bool = True) -> Any:
        return fn if fn is not None else plain

    put(torch._compile, "_disable_dynamo", plain)
    put(torch, "_disable_dynamo", plain)
    for value in vars(torch.optim.Optimizer).values():
        inner = getattr(value, "__wrapped__", None)
        if inner is not None:
            inner.__dynamo_disable = inner


def _warm_up() -> None:
    """Run the usual layers on meta once: their kernels' Python modules are imported here, not in every child."""
    import torch
    from torch import nn

    with torch.device("meta"):
        layers = [
            nn.Conv2d(3, 4, 3),
            nn.BatchNorm2d(4),
            nn.ReLU(),
            nn.MaxPool2d(2),
            nn.AdaptiveAvgPool2d(1),
            nn.Flatten(),
        ]
        model = nn.Sequential(*layers, nn.Linear(4, 4), nn.LayerNorm(4), nn.GELU(), nn.Dropout(), nn.Softmax(1))
        model(torch.zeros(2, 3, 8, 8))
        nn.MultiheadAttention(4, 2)(*(torch.zeros(3, 2, 4),) * 3)
        nn.LSTM(4, 4)(torch.zeros(3, 2, 4))


def _preload(names: list[str], guard: Any, torchvision_ops: Any) -> dict[str, str]:
    """Import packages once for all children; what fails here fails again, and is told, in the child."""
    problems: dict[str, str] = {}
    guard.mode = "library"
    for name in names:
        try:
            if name in ("torchvision", "timm", "segmentation_models_pytorch", "monai"):
                torchvision_ops.declare()
            importlib.import_module(name)
            torchvision_ops.allow()
        except BaseException as error:
            problems[name] = f"{type(error).__name__}: {error}"
    guard.mode = "off"
    return problems


def _fork(order: dict[str, Any], guard: Any) -> dict[str, Any]:
    """Run one job in a child. Whatever becomes of the child, this returns, soon after the job's time limit."""
    from tricklint.trace.worker import job

    read_end, write_end = os.pipe()
    error_end, error_write = os.pipe()
    child = os.fork()
    if child == 0:
        try:
            os.setsid()
            os.close(read_end)
            os.close(error_end)
            os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
            os.dup2(error_write, 2)
            sys.stdin = os.fdopen(0, encoding="utf-8")
            import faulthandler

            faulthandler.enable(file=error_write, all_threads=False)
            faulthandler.dump_traceback_later(float(order["seconds"]) + 1.5, file=error_write)
            job.run(order, guard, lambda message: _write_all(write_end, job.dumps(message)))
            os._exit(0)
        except BaseException:
            os._exit(70)
    os.close(write_end)
    os.close(error_write)
    deadline = time.monotonic() + float(order["seconds"]) + 3.0
    answer, complaint, killed = _collect(read_end, error_end, deadline)
    status = _end(child, killed)
    os.close(read_end)
    os.close(error_end)
    return _result(order, answer, complaint, killed, status)


def _write_all(end: int, data: bytes) -> None:
    while data:
        data = data[os.write(end, data) :]


def _collect(read_end: int, error_end: int, deadline: float) -> tuple[bytes, bytes, bool]:
    answer, complaint = bytearray(), bytearray()
    open_ends = {read_end, error_end}
    while read_end in open_ends:
        left = deadline - time.monotonic()
        if left <= 0:
            return bytes(answer), bytes(complaint), True
        ready, _, _ = select.select(list(open_ends), [], [], left)
        for end in ready:
            data = os.read(end, 65536)
            if not data:
                open_ends.discard(end)
            elif end == read_end:
                answer += data
            else:
                complaint += data
                del complaint[:-65536]
    ready, _, _ = select.select([error_end], [], [], 0)
    if ready and error_end in open_ends:
        complaint += os.read(error_end, 65536)
    return bytes(answer), bytes(complaint), False


def _end(child: int, killed: bool) -> int:
    """Reap the child; before that, while its number is still its own, kill what is left of its session."""
    patience = 0 if killed else 300
    while patience and os.waitid(os.P_PID, child, os.WEXITED | os.WNOWAIT | os.WNOHANG) is None:
        patience -= 1
        time.sleep(0.01)
    for kill in (os.killpg, os.kill):
        with contextlib.suppress(OSError):
            kill(child, signal.SIGKILL)
    return os.waitpid(child, 0)[1]


def _result(order: dict[str, Any], answer: bytes, complaint: bytes, killed: bool, status: int) -> dict[str, Any]:
    messages: dict[str, Any] = {}
    for line in answer.splitlines():
        try:
            messages.update(json.loads(line))
        except ValueError:
            continue  # cut off by a kill
    if "facts" in messages or "failure" in messages:
        if "facts" in messages and "failure" in messages:  # the second part, the signal, did not end well
            messages["note"] = messages.pop("failure")["message"]
        return messages
    site = _place(complaint, order["roots"])
    target = order["target"]
    if killed:
        message = f"not done after {order['seconds']:g} s (the time limit), and killed"
        failure = {"target": target, "cause": "limit", "message": message, "site": site}
    elif os.WIFSIGNALED(status):
        name = signal.Signals(os.WTERMSIG(status)).name
        what = {"SIGSEGV": "a segmentation fault", "SIGABRT": "an abort", "SIGKILL": "a kill, perhaps for memory"}
        message = f"the process died of {what.get(name, name)}"
        failure = {"target": target, "cause": "crash", "message": message, "site": site}
    else:
        code = os.WEXITSTATUS(status)
        message = f"the process ended itself (exit code {code}) before the model was built"
        failure = {"target": target, "cause": "exit", "message": message, "site": site}
    return {"failure": failure, **{k: v for k, v in messages.items() if k in ("files", "missing")}}


def _place(complaint: bytes, roots: list[str]) -> dict[str, Any] | None:
    """The first of the project's lines in faulthandler's traceback."""
    import re

    for file, row in re.findall(r'File "([^"]+)", line (\d+)', complaint.decode(errors="replace")):
        if file.startswith(tuple(roots)) and "site-packages" not in file:
            return {"path": file, "row": int(row), "end_row": 0, "name": ""}
    return None
