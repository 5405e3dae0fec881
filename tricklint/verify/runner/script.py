"""Run the user's training script, unchanged, in its copy of the project, and record what it does."""

from __future__ import annotations

import os
import runpy
import sys
import tempfile
import time
import traceback
from typing import Any

from tricklint.verify.runner import box, files, loops, record, seeds
from tricklint.verify.runner.frameworks import Frameworks
from tricklint.verify.runner.logged import Logged
from tricklint.verify.runner.memory import SavedBytes, held_bytes
from tricklint.verify.runner.outputs import Outputs
from tricklint.verify.runner.pieces import NotProven, Pieces, out_of_memory
from tricklint.verify.runner.serve import write_json


def run_script(job: dict[str, Any]) -> int:
    """Run one script job; the record is written whatever happens. Returns the process' exit status."""
    started = time.perf_counter()
    root, original = job["root"], job["original"]
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
    guard = files.Guard(root, original, tuple(job.get("allowed", ())), caught=kind == "mounts")
    guard.install()
    files.wrap_torch_save(guard.before_write)
    sys.argv = [job["script"] or job["module"], *job["args"]]
    sys.path.insert(0, os.path.dirname(os.path.abspath(job["script"])) if job["script"] else job["cwd"])
    files.redirect_imports(root, original)
    seeds.install(job["seed"], job.get("inserted"))
    recorder = record.Recorder(job.get("steps"))
    recorder.install()
    pieces = Pieces(job.get("pieces", 1), recorder)
    if pieces.k > 1:
        pieces.install()
    if job.get("lr_scale", 1.0) != 1.0:
        _scale_learning_rates(job["lr_scale"])
    logged = Logged(lambda: recorder.steps)
    logged.install()
    frameworks = Frameworks(logged)
    frameworks.install()
    outputs = Outputs(root, lambda: recorder.steps)
    outputs.install()
    recorder.at_start.append(outputs.begin)
    meter = SavedBytes(job.get("limit")) if job.get("mode") == "memory" else None
    if meter is not None:
        recorder.after_step.append(meter.mark)
        recorder.before_backward.append(meter.watch)
        meter.watch_loaders()
    probe = loops.Probe(job["loops"], root) if job.get("mode") == "loops" else None
    record.reset_peak()
    status, message = "ok", ""
    try:
        if meter is not None:
            meter.hooks().__enter__()
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
    result.update(recorder.summary())
    if status == "ok" and result["non_finite"]:
        result["status"], result["message"] = "diverged", "some losses are not a number"
    if status == "ok" and recorder.steps == 0 and probe is None:
        result["status"] = "no-steps"
        result["message"] = "the script ended without one optimizer step: nothing to compare"
    result["memory"] = record.peak_memory()
    result["files"] = sorted({*record.project_files(root), *outputs.code()})
    result["packages"] = record.third_party()
    result["texts"] = outputs.tables(logged.add)
    result["logged"] = logged.to_json()
    result["messages"] = frameworks.messages
    result["arguments"] = frameworks.arguments
    result["output"] = recorder.printed_by()
    result["torch"] = torch.__version__
    result["sandbox"], result["sandbox_why"], result["refused"] = kind, why, guard.refused
    result["elsewhere"] = box.written(job.get("store", ""))
    result["pieces"] = pieces.k if pieces.proven else 1
    result["notes"] = [pieces.note()] if pieces.proven else []
    result["smaller"] = status == "oom" and (pieces.k == 1 or pieces.within)  # whether smaller pieces may help
    if meter is not None:
        result["saved"] = {**meter.summary(), "held": held_bytes([phase.optimizer for phase in recorder.phases])}
    if probe is not None:
        result["loops"] = probe.results
    write_json(job["record"], result)
    return 0


def _where(error: BaseException, root: str) -> str:
    """The error in one line, with the place in the user's code that raised it."""
    frames = [f for f in traceback.extract_tb(error.__traceback__) if f.filename.startswith(root)]
    place = f" ({os.path.relpath(frames[-1].filename, root)}:{frames[-1].lineno})" if frames else ""
    return f"{type(error).__name__}: {error}".split("\n")[0][:300] + place


def _last_line(job: dict[str, Any]) -> str:
    sys.stderr.flush()
    try:
        with open(job["stderr"], encoding="utf-8", errors="replace") as file:
            lines = [line.strip() for line in file if line.strip()]
    except OSError:
        lines = []
    return lines[-1][:200] if lines else "it printed no reason"


def _scale_learning_rates(scale: float) -> None:
    """Multiply every learning rate that an optimizer is built with."""
    import torch

    plain = torch.optim.Optimizer.__init__

    def init(self: Any, params: Any, defaults: dict[str, Any]) -> None:
        groups = [dict(g) if isinstance(g, dict) else g for g in params]
        for group in (*(g for g in groups if isinstance(g, dict)), defaults):
            if isinstance(group.get("lr"), (int, float)):
                group["lr"] = group["lr"] * scale
        plain(self, groups, defaults)

    torch.optim.Optimizer.__init__ = init  # type: ignore[method-assign]
