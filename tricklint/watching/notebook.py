"""`tricklint.watch`: the recorder round a block of your own code, in this process."""

from __future__ import annotations

import html
import json
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any, overload

import torch
from torch import nn

from tricklint.finding import Finding
from tricklint.rule import discover
from tricklint.selection import matches
from tricklint.settings import nearest
from tricklint.watching.record import Run
from tricklint.watching.recorder.log import Log
from tricklint.watching.recorder.recorder import Recorder
from tricklint.watching.verdicts import shown


def watch(
    model: nn.Module | None = None,
    optimizer: torch.optim.Optimizer | None = None,
    *,
    select: Iterable[str] | None = None,
    ignore: Iterable[str] = (),
) -> Watching:
    """Watch what happens in a `with` block, and judge it when the block ends.

    Args:
        model, optimizer: those that were built before the block; what is built within it is seen by itself.
        select, ignore: only these rules, all but these: codes ("TRK601"), prefixes ("TRK5") or names.

    The value of the block is a list-like of findings, falsy when there is none. Hooks are taken out when the block ends,
    whatever ends it; no random number is drawn, no value changed. One block at a time.

    Raises ValueError when a selector names no rule, RuntimeError when a block is entered within another.
    """
    return Watching(model, optimizer, _chosen(select, ignore))


class Watching(Sequence[Finding]):
    """The findings of a watched block; empty until it ends. `run` is its record."""

    _active = False

    def __init__(self, model: Any, optimizer: Any, wanted: Callable[[Any], bool]) -> None:
        self._model, self._optimizer, self._wanted = model, optimizer, wanted
        self._findings: list[Finding] = []
        self._recorder: Recorder | None = None
        self.run: Run | None = None

    def __enter__(self) -> Watching:
        if Watching._active:
            raise RuntimeError("tricklint.watch: another block is being watched")
        Watching._active = True
        self._recorder = Recorder(Log(None, None), None, lambda: None)
        try:
            if self._model is not None:
                self._recorder.names.describe(self._model)
                self._recorder.weights.measure(self._model)
            self._recorder.install()
            if self._optimizer is not None:
                self._recorder.steps.seen(self._optimizer)
        except BaseException:
            self._leave()
            raise
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        recorder = self._recorder
        self._leave()
        if recorder is None:
            return
        recorder.end("ended" if error is None else "crashed", str(error or ""))
        self.run = Run(Path.cwd(), [json.loads(line) for line in recorder.log.lines])
        crashes: list[str] = []
        found, _ = shown(self.run, [rule for rule in discover() if self._wanted(rule)], crashes)
        self._findings = sorted(dict.fromkeys(found), key=lambda finding: finding.sort_key)

    def _leave(self) -> None:
        Watching._active = False
        if self._recorder is not None:
            self._recorder.undo()
            self._recorder = None

    @overload
    def __getitem__(self, index: int) -> Finding: ...
    @overload
    def __getitem__(self, index: slice) -> Sequence[Finding]: ...
    def __getitem__(self, index: int | slice) -> Finding | Sequence[Finding]:
        return self._findings[index]

    def __len__(self) -> int:
        return len(self._findings)

    def codes(self) -> list[str]:
        """The rules that have something to say, each once, sorted."""
        return sorted({finding.code for finding in self._findings})

    def __repr__(self) -> str:
        if self.run is None:
            return "nothing was watched yet"
        if not self._findings:
            return f"no findings in {self.run.steps} steps"
        return "\n".join(
            f"{one.code} {one.name}: row {one.location.row} of {_file(one)}: {one.message} ({one.confirmed})"
            for one in self._findings
        )

    __str__ = __repr__

    def _repr_html_(self) -> str:
        if not self._findings:
            return f"<p>{html.escape(repr(self))}</p>"
        rows = "".join(
            f"<tr><td><code>{one.code}</code> {one.name}</td><td>{one.severity.value}</td>"
            f"<td>{html.escape(_file(one))}, row {one.location.row}</td>"
            f"<td style='text-align:left'>{html.escape(one.message)}</td>"
            f"<td style='text-align:left'>{html.escape(one.confirmed.removeprefix('watched: '))}</td></tr>"
            for one in self._findings
        )
        head = "<tr><th>rule</th><th></th><th>where</th><th>what</th><th>what was watched</th></tr>"
        return f"<table>{head}{rows}</table>"


def _file(finding: Finding) -> str:
    """A file; of a notebook's cell, which has none, "the cell"."""
    name = finding.path.name
    return "the cell" if name.startswith("<ipython") or finding.path.parent.name.startswith("ipykernel_") else name


def _chosen(select: Iterable[str] | None, ignore: Iterable[str]) -> Callable[[Any], bool]:
    rules = discover()
    chosen = None if select is None else _listed(select)
    left_out = _listed(ignore)
    for selector in [*(chosen or ()), *left_out]:
        if not any(matches([selector], rule) for rule in rules):
            words = [word for rule in rules for word in (rule.code, rule.name)]
            raise ValueError(f"tricklint.watch: no rule is called {selector!r}{nearest(selector, words)}")

    def wanted(rule: Any) -> bool:
        kept = rule.on_by_default if chosen is None else matches(chosen, rule)
        return bool(kept and not matches(left_out, rule))

    return wanted


def _listed(selectors: Iterable[str]) -> list[str]:
    return [selectors] if isinstance(selectors, str) else list(selectors)
