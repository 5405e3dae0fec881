"""Progress on the terminal: how many runs are done, how long the rest will take, how far apart the scores are now."""

from __future__ import annotations

import statistics
import time
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from tricklint.verify.plan import Plan, shown
from tricklint.verify.records import Key, Run

if TYPE_CHECKING:
    from rich.console import Console


class Bar:
    """A rich progress bar on a terminal; elsewhere a line every tenth of the runs."""

    def __init__(self, console: Console, plan: Plan, runs: Mapping[Key, Run], metric: str | None, total: int) -> None:
        self.console, self.plan, self.runs, self.metric = console, plan, runs, metric
        self.total, self.done, self.started = total, 0, time.monotonic()
        self.bar: Any = None
        self.task: Any = None

    def __enter__(self) -> Bar:
        if self.console.is_terminal:
            from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

            self.bar = Progress(
                TextColumn("training"),
                BarColumn(bar_width=24),
                MofNCompleteColumn(),
                TimeRemainingColumn(),
                TextColumn("{task.fields[gap]}"),
                console=self.console,
                transient=True,
            )
            self.bar.start()
            self.task = self.bar.add_task("training", total=self.total, gap="")
        return self

    def __exit__(self, *_: object) -> None:
        if self.bar is not None:
            self.bar.stop()

    def update(self, run: Run) -> None:
        self.done += 1
        gap = self.gap()
        if run.status != "ok":
            self.console.print(
                f"  {run.variant}, seed {run.seed}: {run.status}: {run.message}", markup=False, highlight=False
            )
        if self.bar is not None:
            self.bar.update(self.task, advance=1, gap=gap)
        elif self.done == self.total or self.done % max(1, self.total // 10) == 0:
            elapsed = time.monotonic() - self.started
            left = elapsed / self.done * (self.total - self.done)
            after = f"about {shown(left)} left" if self.done < self.total else f"took {shown(elapsed)}"
            self.console.print(f"  {self.done}/{self.total} runs, {after}{'; ' + gap if gap else ''}", highlight=False)

    def gap(self) -> str:
        """The last variant's mean distance from the baseline so far: "TRK501 +0.05 val_acc"."""
        if not self.metric:
            return ""
        parts = []
        for variant in self.plan.variants[1:]:
            pairs = [
                (a, b)
                for seed in range(self.plan.seeds)
                if (x := self.runs.get((self.plan.baseline, seed, 1.0)))
                and (y := self.runs.get((variant.name, seed, 1.0)))
                and (a := x.score(self.metric)) is not None
                and (b := y.score(self.metric)) is not None
            ]
            if pairs:
                parts.append((statistics.fmean(b - a for a, b in pairs), variant.name))
        if not parts:
            return ""
        value, name = max(parts, key=lambda part: abs(part[0]))
        return f"{name} {value:+.3g} {self.metric}"
