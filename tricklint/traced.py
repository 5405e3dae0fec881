"""`--trace` within a run: what the real models show, held against what the rules read in the source."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from tricklint.finding import Finding
from tricklint.settings import Settings
from tricklint.source.text import Problem, Source

if TYPE_CHECKING:
    from tricklint.program import Program
    from tricklint.trace.facts import FactsReport

_Key = tuple[str, Path, str]


@dataclass
class Traced:
    """The facts of a run, and what became of the findings. Models are built from the files as they stand on disk, so
    while files are mended in memory the first judgement holds: a finding is known by the text of its row."""

    facts: FactsReport
    problems: list[Problem] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    _judged: bool = False
    _refuted: set[_Key] = field(default_factory=set)
    _added: list[tuple[_Key, Finding]] = field(default_factory=list)

    def judge(self, findings: list[Finding], sources: Mapping[Path, Source], settings: Settings) -> list[Finding]:
        """The findings without those that the facts refute, with those that only the facts show."""
        if self._judged:
            kept = [finding for finding in findings if _key(finding, sources) not in self._refuted]
            return kept + [finding for key, finding in self._added if _key(finding, sources) == key]
        from tricklint.trace import merge

        merged = merge(findings, self.facts, settings)
        before = {_key(finding, sources) for finding in findings}
        after = {_key(finding, sources) for finding in merged}
        self._refuted = before - after
        self._added = [(key, finding) for finding in merged if (key := _key(finding, sources)) not in before]
        self._judged = True
        return merged


def _key(finding: Finding, sources: Mapping[Path, Source]) -> _Key:
    source = sources.get(finding.path)
    row = finding.location.row
    line = source.lines[row - 1].strip() if source and row <= len(source.lines) else ""
    return finding.code, finding.path, line


def trace(program: Program, settings: Settings) -> Traced:
    """Build and trace the project's models. What could not be built is a note; of a model that the configuration
    names, or when nothing can be traced at all, a problem."""
    from tricklint.trace import facts_for

    traced = Traced(facts_for(program, settings))
    for failure in traced.facts.failures:
        message = f"--trace: {failure.target}: {failure.message}".replace("--trace: --trace", "--trace")
        if failure.target == "--trace" and "No module named 'torch'" in message and settings.python is None:
            message += "; pip install 'tricklint[trace]'"
        if failure.target in settings.models or failure.target == "--trace":
            traced.problems.append(Problem(None, None, message))
        else:
            traced.notes.append(message)
    return traced
