"""Everything that is hooked into one training process, and what it saw: the script's own process, or one of several
that the script starts (`children`)."""

from __future__ import annotations

import sys
from typing import Any

from tricklint.verify.runner import files, record, seeds, trackers
from tricklint.verify.runner.frameworks import Frameworks
from tricklint.verify.runner.logged import Logged
from tricklint.verify.runner.memory import SavedBytes, held_bytes
from tricklint.verify.runner.outputs import Outputs
from tricklint.verify.runner.pieces import Pieces


class Observers:
    """The hooks of one process for a job; `caught`: overlays take what is written outside of the copy."""

    def __init__(self, job: dict[str, Any], caught: bool) -> None:
        self.job, self.root = job, job["root"]
        self.guard = files.Guard(self.root, job["original"], tuple(job.get("allowed", ())), caught)
        self.recorder = record.Recorder(job.get("steps"))
        self.pieces = Pieces(job.get("pieces", 1), self.recorder)
        self.logged = Logged(lambda: self.recorder.steps)
        self.frameworks = Frameworks(self.logged)
        self.outputs = Outputs(self.root, lambda: self.recorder.steps)
        self.meter = SavedBytes(job.get("limit")) if job.get("mode") == "memory" else None

    def install(self) -> None:
        """Hook everything; torch must be imported by now."""
        self.guard.install()
        files.wrap_torch_save(self.guard.before_write)
        files.redirect_imports(self.root, self.job["original"])
        seeds.install(self.job["seed"], self.job.get("inserted"))
        self.recorder.install()
        if self.pieces.k > 1:
            self.pieces.install()
        if self.job.get("lr_scale", 1.0) != 1.0:
            _scale_learning_rates(self.job["lr_scale"])
        trackers.install()
        self.logged.install()
        self.frameworks.install()
        self.outputs.install()
        self.recorder.at_start.append(self.outputs.begin)
        if self.meter is not None:
            self.recorder.after_step.append(self.meter.mark)
            self.recorder.before_backward.append(self.meter.watch)
            self.meter.watch_loaders()
            self.meter.hooks().__enter__()
        record.reset_peak()

    def result(self) -> dict[str, Any]:
        """What was seen, for the run's record."""
        found: dict[str, Any] = self.recorder.summary()
        found["memory"] = {**record.peak_memory(), **self.recorder.loaders}
        found["files"] = sorted({*record.project_files(self.root), *self.outputs.code()})
        found["packages"] = record.third_party()
        found["texts"] = self.outputs.tables(self.logged.add)
        found["logged"] = self.logged.to_json()
        found["messages"] = self.frameworks.messages
        found["arguments"] = self.frameworks.arguments
        found["output"] = self.recorder.printed_by()
        found["torch"] = sys.modules["torch"].__version__
        found["refused"] = self.guard.refused
        found["pieces"] = self.pieces.k if self.pieces.proven else 1
        found["notes"] = [self.pieces.note()] if self.pieces.proven else []
        if self.meter is not None:
            held = held_bytes([phase.optimizer for phase in self.recorder.phases])
            found["saved"] = {**self.meter.summary(), "held": held}
        return found


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
