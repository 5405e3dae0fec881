"""Run the user's training script, unchanged, in its copy of the project, and record what it does."""

from __future__ import annotations

import os
import runpy
import sys
import tempfile
import time
import traceback
from typing import Any

from tricklint.verify.runner import box, children, files, loops, observe, record
from tricklint.verify.runner.pieces import NotProven, out_of_memory
from tricklint.verify.runner.serve import write_json


def run_script(job: dict[str, Any]) -> int:
    """Run one script job; the record is written whatever happens. Returns the process' exit status."""
    started = time.perf_counter()
    root = job["root"]
    for name, value in job.get("environment", {}).items():
        if value is None:
            os.environ.pop(name, None)
        else:
            os.environ[name] = value
    tempfile.tempdir = None  # what was imported before the fork may have asked for it
    kind, why = box.enter(job.get("sandbox", "hooks"), [root, *job.get("allowed", ())], job.get("store", ""))
    os.chdir(job["cwd"])
    sys.dont_write_bytecode = True
    import torch

    torch.set_num_threads(job.get("threads", 1))
    observers = observe.Observers(job, caught=kind == "mounts")
    words = job["args"]
    if kind != "mounts":
        words = [files.own_output(word, job["aside"]) for word in words]
    sys.argv = [job["script"] or job["module"], *words]
    sys.path.insert(0, os.path.dirname(os.path.abspath(job["script"])) if job["script"] else job["cwd"])
    children.announce(job, observers, caught=kind == "mounts")
    observers.install()
    recorder, pieces = observers.recorder, observers.pieces
    probe = loops.Probe(job["loops"], root) if job.get("mode") == "loops" else None
    status, message = "ok", ""
    try:
        if probe is not None:
            probe.install()
        if job["script"]:
            runpy.run_path(job["script"], run_name="__main__")
        else:
            runpy.run_module(job["module"], run_name="__main__", alter_sys=True)
    except record.Diverged:
        status, message = "diverged", f"the loss is not a number after step {recorder.steps}"
    except loops.Measured:
        pass
    except record.StopTraining:
        message = f"ended after {recorder.steps} steps"
    except SystemExit as error:
        if error.code not in (None, 0):
            status, message = "crashed", f"the script called sys.exit({error.code!r}): {_last_line(job)}"
    except KeyboardInterrupt:
        status, message = "interrupted", "interrupted"
    except NotProven as error:
        status, message = "oom", f"out of memory, and not run in pieces: {error}"
    except BaseException as error:
        traceback.print_exc()
        status, message = "crashed", _where(error, root)
        if out_of_memory(error):
            status = "oom"
            if pieces.k > 1 and not pieces.within:
                message = f"out of memory, also in pieces, and not where the model is called: {message}"
    result: dict[str, Any] = {"status": status, "message": message, "wall_s": time.perf_counter() - started}
    result.update(observers.result())
    result["smaller"] = status == "oom" and (pieces.k == 1 or pieces.within)  # whether smaller pieces may help
    result["sandbox"], result["sandbox_why"] = kind, why
    result["elsewhere"] = box.written(job.get("store", ""))
    children.gather(job, result)
    if result["status"] == "ok" and result["non_finite"]:
        result["status"], result["message"] = "diverged", "some losses are not a number"
    if result["status"] == "ok" and result["steps"] == 0 and probe is None:
        result["status"] = "no-steps"
        result["message"] = "the script ended without one optimizer step: nothing to compare"
    if probe is not None:
        result["loops"] = probe.results
    write_json(job["record"], result)
    return 0


def _where(error: BaseException, root: str) -> str:
    """The error in one line, with the place in the user's code that raised it."""
    frames = [f for f in traceback.extract_tb(error.__traceback__) if f.filename.startswith(root)]
    place = f" ({os.path.relpath(frames[-1].filename, root)}:{frames[-1].lineno})" if frames else ""
    # What another process raised comes with its whole traceback: its last line is the error.
    lines = [line for line in str(error).splitlines() if line.strip()] or [""]
    text = lines[0] if not lines[0].startswith("-- Process ") else lines[-1]
    return f"{type(error).__name__}: {text}"[:300] + place


def _last_line(job: dict[str, Any]) -> str:
    sys.stderr.flush()
    try:
        with open(job["stderr"], encoding="utf-8", errors="replace") as file:
            lines = [line.strip() for line in file if line.strip()]
    except OSError:
        lines = []
    return lines[-1][:200] if lines else "it printed no reason"
