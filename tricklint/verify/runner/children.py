"""Runs of several processes: what `mp.spawn`, `multiprocessing` and torchrun start belongs to the run that started it.

The run's first process leaves its job in a file and names it in the environment. Each process that trains hooks itself
in as soon as it has imported torch, and leaves a record of its own when it ends. In the end the first process takes the
record of rank 0 for the run's, with the memory of all.
"""

from __future__ import annotations

import atexit
import glob
import json
import multiprocessing.util
import os
import sys
import threading
from typing import Any

# Imported now: where the process' hooks are put in, tricklint is no longer on its path.
from tricklint.verify.runner import logged, observe, record, serve

HERE = os.path.join(os.path.dirname(os.path.abspath(__file__)), "child")
PATIENCE = 10.0  # seconds that a process waits for the others of its run before it ends
_OF_RANK_0 = (
    "steps backwards phases start_s non_finite texts logged messages arguments output torch pieces notes packages saved"
).split()


def announce(job: dict[str, Any], observers: observe.Observers, caught: bool) -> None:
    """From now on, processes that this one starts are part of the run."""
    path = f"{job['record']}.job"
    with open(path, "w", encoding="utf-8") as file:
        json.dump({**job, "caught": caught}, file)
    os.environ["TRICKLINT_VERIFY_JOB"] = path
    os.environ["PYTHONPATH"] = os.pathsep.join(filter(None, (HERE, os.environ.get("PYTHONPATH"))))
    multiprocessing.util.register_after_fork(observers, lambda seen: _forked(job, seen))
    if job.get("ports"):
        _own_ports(job["ports"])


def begin(path: str) -> None:
    """In a new process: be ready to hook in once torch is there."""
    with open(path, encoding="utf-8") as file:
        job = json.load(file)

    def hook(_: Any) -> None:
        observers = observe.Observers(job, job["caught"])
        observers.install()
        if job.get("ports"):
            _own_ports(job["ports"])
        _leave_a_record(job, observers)
        multiprocessing.util.register_after_fork(observers, lambda seen: _forked(job, seen))

    logged.on_import({"torch": hook})


def _forked(job: dict[str, Any], observers: observe.Observers) -> None:
    """A process of `multiprocessing` that began as a copy: what it inherited is not its own."""
    recorder = observers.recorder
    recorder.steps = recorder.backwards = 0
    recorder.phases, recorder.pending = [], None
    _leave_a_record(job, observers)


def _leave_a_record(job: dict[str, Any], observers: observe.Observers) -> None:
    done = threading.Event()

    def leave(status: str = "ok", message: str = "") -> None:
        if done.is_set() or not (observers.recorder.steps or observers.pieces.refused):
            return
        done.set()
        found = {**observers.result(), "status": status, "message": message, "rank": _rank()}
        if observers.pieces.refused:
            found.update(status="oom", message=f"out of memory, and not run in pieces: {observers.pieces.refused}")
        found["smaller"] = observers.pieces.within
        serve.write_json(f"{job['record']}.child.{os.getpid()}", found)

    def end(error: record.StopTraining) -> None:
        diverged = isinstance(error, record.Diverged)
        steps = observers.recorder.steps
        message = f"the loss is not a number after step {steps}" if diverged else f"ended after {steps} steps"
        leave("diverged" if diverged else "ok", message)
        together()
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(0)  # an exception would look like a failure to whoever started this process

    observers.recorder.ends = end
    multiprocessing.util.Finalize(None, leave, exitpriority=100)
    atexit.register(leave)


def together() -> None:
    """Wait until every process of the run is here: one that leaves early breaks what the others still exchange."""
    timer = threading.Timer(PATIENCE, os._exit, (0,))
    timer.daemon = True
    timer.start()
    distributed = sys.modules.get("torch.distributed")
    try:
        if distributed is not None and distributed.is_available() and distributed.is_initialized():
            distributed.barrier()
    except Exception as error:
        sys.stderr.write(f"tricklint: the processes did not end together: {error}\n")
    timer.cancel()


def _rank() -> int:
    distributed = sys.modules.get("torch.distributed")
    if distributed is not None and distributed.is_available() and distributed.is_initialized():
        return int(distributed.get_rank())
    return int(os.environ.get("RANK", os.environ.get("LOCAL_RANK", "0")) or 0)


def gather(job: dict[str, Any], result: dict[str, Any]) -> None:
    """Put what the run's other processes saw into its record, where the first one itself did not train."""
    found = []
    for path in glob.glob(f"{glob.escape(job['record'])}.child.*"):
        with open(path, encoding="utf-8") as file:
            found.append(json.load(file))
        os.unlink(path)
    if os.path.exists(f"{job['record']}.job"):
        os.unlink(f"{job['record']}.job")
    if not found:
        return
    found.sort(key=lambda one: (not one["steps"], one["rank"]))
    first, memory_ = found[0], result["memory"]
    result["files"] = sorted({*result["files"], *(name for one in found for name in one["files"])})
    result["refused"] = list(dict.fromkeys([*result["refused"], *(path for one in found for path in one["refused"])]))
    if result["steps"]:
        return
    own = {name: result[name] for name in ("logged", "messages", "arguments")}
    for name in _OF_RANK_0:
        if name in first:
            result[name] = first[name]
    # What the first process itself logs, it logs when the others have ended; what it parsed, it parsed for all.
    result["logged"] += [{**series, "at": [first["steps"]] * len(series["at"])} for series in own["logged"]]
    result["messages"] += [[first["steps"], message] for _, message in own["messages"]]
    result["arguments"] = {**own["arguments"], **result["arguments"]}
    memory_["rss"] = memory_.get("rss", 0.0) + sum(one["memory"].get("rss", 0.0) for one in found)
    for name in ("cuda", "reserved"):
        shares = [one["memory"][name] for one in found if name in one["memory"]]
        if shares:
            memory_[name] = max(shares)
    memory_.update({k: v for k, v in first["memory"].items() if k not in memory_})
    memory_["processes"] = len(found)
    worst = next((one for one in found if one["status"] == "oom"), first)
    if worst["status"] == "oom" or result["status"] == "ok":
        result["status"], result["message"] = worst["status"], worst["message"]
        result["smaller"] = worst["smaller"]


def _own_ports(number: int) -> None:
    """Runs side by side may all meet on one port that the script has fixed: give each run its own in its place."""
    import torch.distributed

    if not torch.distributed.is_available():
        return
    plain: Any = torch.distributed.TCPStore  # type: ignore[attr-defined]

    class TCPStore(plain):  # type: ignore[misc]
        def __init__(self, host_name: str, port: int = 0, *args: Any, **kwargs: Any) -> None:
            super().__init__(host_name, own_port(port, number), *args, **kwargs)

    for name, module in list(sys.modules.items()):
        if name.startswith("torch.distributed") and getattr(module, "TCPStore", None) is plain:
            module.TCPStore = TCPStore  # type: ignore[attr-defined]


def own_port(port: int, number: int) -> int:
    """The port that run `number` uses for `port`; 0 (any free one) stays."""
    return 10_000 + (port + number * 613) % 50_000 if port else 0
