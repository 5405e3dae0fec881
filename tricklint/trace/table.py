"""The findings of `check_model`: a list, falsy when empty, a table in a notebook."""

from __future__ import annotations

import html
from collections.abc import Iterator, Sequence
from typing import overload

from tricklint.trace.facts import ModelFacts
from tricklint.trace.judge import FactFinding


class Findings(Sequence[FactFinding]):
    """What `check_model` found. `facts` holds everything that was looked at."""

    def __init__(self, findings: Sequence[FactFinding], facts: ModelFacts) -> None:
        self._findings = list(findings)
        self.facts = facts

    @overload
    def __getitem__(self, index: int) -> FactFinding: ...
    @overload
    def __getitem__(self, index: slice) -> Sequence[FactFinding]: ...
    def __getitem__(self, index: int | slice) -> FactFinding | Sequence[FactFinding]:
        return self._findings[index]

    def __len__(self) -> int:
        return len(self._findings)

    def __iter__(self) -> Iterator[FactFinding]:
        return iter(self._findings)

    def codes(self) -> list[str]:
        """The rules that have something to say, each once, sorted."""
        return sorted({finding.code for finding in self._findings})

    def __repr__(self) -> str:
        if not self._findings:
            return f"no findings in {self.facts.type} ({self.facts.total:,} parameters){self._unseen()}"
        return "\n".join(str(finding) for finding in self._findings)

    __str__ = __repr__

    def _unseen(self) -> str:
        """What an empty list does not say: that not all could be looked at."""
        why = list(self.facts.notes)
        if not why and self.facts.rung == "tree" and self.facts.total:
            why.append("its forward could not be followed")
        return f"; {'; '.join(why)}" if why else ""

    def _repr_html_(self) -> str:
        if not self._findings:
            return f"<p>{html.escape(repr(self))}</p>"
        rows = "".join(
            f"<tr><td><code>{f.code}</code> {f.name}</td><td>{f.level}</td>"
            f"<td><code>{html.escape(f.module_path or '—')}</code></td>"
            f"<td style='text-align:left'>{html.escape(f.message.removeprefix('traced: '))}</td></tr>"
            for f in self._findings
        )
        head = "<tr><th>rule</th><th></th><th>module</th><th style='text-align:left'>what the model shows</th></tr>"
        return f"<table>{head}{rows}</table>"
