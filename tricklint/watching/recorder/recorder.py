"""All hooks of one process, put in and taken out together."""

from __future__ import annotations

import contextlib
import sys
import time
from collections.abc import Callable
from typing import Any

from tricklint.watching.recorder.forwards import Forwards
from tricklint.watching.recorder.freezing import Freezing
from tricklint.watching.recorder.graphs import Graphs
from tricklint.watching.recorder.log import Log
from tricklint.watching.recorder.losses import Losses
from tricklint.watching.recorder.names import Names
from tricklint.watching.recorder.patches import Patches
from tricklint.watching.recorder.samplers import Samplers
from tricklint.watching.recorder.steps import Steps
from tricklint.watching.recorder.weights import Weights

TIMES = 5000  # steps whose time is kept


class Recorder:
    """`ends` is called before the step after the last one that is to be watched."""

    def __init__(self, log: Log, limit: int | None, ends: Callable[[], None]) -> None:
        self.log = log
        self.patches = Patches()
        self.names = Names(log)
        self.steps = Steps(log, self.names, limit, ends)
        self.weights = Weights(log, self.names)
        self.forwards = Forwards(log, self.names)
        self.losses = Losses(log, self.forwards)
        self.freezing = Freezing(log, self.names)
        self.samplers = Samplers(log)
        self.graphs = Graphs(log, self.names)
        self.times: list[float] = []
        self.steps.before.append(self.weights.look)
        self.steps.after += [self.forwards.stepped, self._time]
        self.forwards.first.append(self.weights.measure)
        self.weights.trained = self.steps.trained

    def install(self) -> None:
        """Hook everything; torch must be imported."""
        self.graphs.install(self.steps)
        self.forwards.loader = lambda: self.samplers.current
        for part in (self.names, self.steps, self.weights, self.freezing, self.forwards, self.losses, self.samplers):
            part.install(self.patches)
        self.times.append(time.perf_counter())

    def undo(self) -> None:
        self.patches.undo()

    def _time(self) -> None:
        if len(self.times) < TIMES:
            self.times.append(time.perf_counter())

    def end(self, status: str, message: str = "", place: int | None = None) -> None:
        """Write what is left, and how it ended."""
        from tricklint.verify.runner.record import peak_memory

        memory: dict[str, Any] = {}
        with contextlib.suppress(Exception):
            memory = peak_memory()
        for row in self.log.rows("forward"):
            self.log.touch(row)  # what a backward, or the end of a graph, changed since its last call
        self.log.flush(now=True)
        steps = sorted(after - before for before, after in zip(self.times[1:], self.times[2:], strict=False))
        torch = sys.modules.get("torch")
        self.log.write(
            "end", status=status, message=message, at=place, steps=self.log.step, memory=memory,
            files=self.log.files(), step_s=steps[len(steps) // 2] if steps else None, torch=getattr(torch, "__version__", ""),
        )  # fmt: skip
