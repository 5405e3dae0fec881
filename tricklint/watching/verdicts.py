"""What the run shows, held against what reading says: each mistake once, and where they contradict, the run wins."""

from __future__ import annotations

import os
import shlex
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from tricklint.finding import Evidence, Finding
from tricklint.rule import Rule
from tricklint.source.text import Source
from tricklint.watching.record import Clean, Run

ANYWHERE = ("TRK203",)  # it is read at the transforms, and seen where the model gets what they made

_Key = tuple[str, Path, str, int]  # rule, file, the row's text, the how manyth row of that text


@dataclass
class Watched:
    """A run, and what became of the findings. The files are those on disk that ran: while they are mended in memory,
    the first judgement holds, and a finding is known by the text of its row.

    only: what is not seen in the run is left out."""

    run: Run
    only: bool = False
    notes: list[str] = field(default_factory=list)
    crashes: list[str] = field(default_factory=list)
    _judged: bool = False
    _kept: dict[_Key, str] = field(default_factory=dict)  # confirmed → what was watched
    _refuted: set[_Key] = field(default_factory=set)
    _added: list[tuple[_Key, Finding]] = field(default_factory=list)

    def judge(self, findings: list[Finding], rules: Sequence[Rule], sources: Mapping[Path, Source]) -> list[Finding]:
        """The findings without those that the run refutes, with those that only the run shows."""
        if not self._judged:
            self._judged = True
            self._first(findings, rules, sources)
        merged = []
        for finding in findings:
            key = _key(finding, sources)
            if key in self._kept:
                merged.append(replace(finding, confirmed=self._kept[key]))
            elif not self.only and key not in self._refuted:
                merged.append(finding)
        return merged + [moved for key, one in self._added if (moved := _moved(one, key[2], sources)) is not None]

    def _first(self, findings: list[Finding], rules: Sequence[Rule], sources: Mapping[Path, Source]) -> None:
        seen, clean = shown(self.run, rules, self.crashes)
        paths = {os.path.realpath(path): path for path in sources}
        own = [replace(one, path=paths[real]) for one in seen if (real := os.path.realpath(one.path)) in paths]
        used: set[int] = set()
        for finding in findings:
            matching = [index for index, one in enumerate(own) if same(finding, one)]
            if matching:
                used.update(matching)
                self._kept.setdefault(_key(finding, sources), own[matching[0]].confirmed)
                continue
            against = next((one for one in clean if _cleared(finding, one, self.run)), None)
            if against is not None:
                self._refuted.add(_key(finding, sources))
                self.notes.append(_contradiction(finding, against, sources, self.run.arguments))
        taken = set(self._kept)
        for index, one in enumerate(own):
            key = _key(one, sources)
            if index not in used and key not in taken:
                taken.add(key)
                self._added.append((key, one))


def shown(run: Run, rules: Iterable[Rule], crashes: list[str]) -> tuple[list[Finding], list[Clean]]:
    """What the rules make of a run. A place that shows a mistake at any time is not clean."""
    findings: list[Finding] = []
    clean: list[Clean] = []
    for rule in rules:
        try:
            for one in rule.watched(run):
                if isinstance(one, Finding):
                    findings.append(one)
                else:
                    clean.append(one)
        except Exception as error:
            said = f"{type(error).__name__}: {error}"
            crashes.append(f"rule {rule.code} ({rule.name}) crashed on the run: {said}; please report")
    bad = {(one.code, os.path.realpath(one.path), one.location.row) for one in findings}
    kept = [
        one
        for one in clean
        if one.place.at is not None
        and (one.code, os.path.realpath(run.spot(one.place.at)[0]), one.place.at.row) not in bad
    ]
    return findings, kept


def same(read: Finding, seen: Finding) -> bool:
    """Whether both are about one statement: the place of one is the other's, or stands in its evidence."""
    if read.code != seen.code:
        return False
    if _overlap(read, seen) or read.code in ANYWHERE:
        return True
    return any(_overlap(read, each) for each in seen.evidence) or any(_overlap(each, seen) for each in read.evidence)


def _overlap(one: Finding | Evidence, other: Finding | Evidence) -> bool:
    return (
        one.path == other.path
        and one.location.row <= other.end_location.row
        and other.location.row <= one.end_location.row
    )


def _cleared(finding: Finding, clean: Clean, run: Run) -> bool:
    if clean.code != finding.code or clean.place.at is None:
        return False
    path, start, end = run.spot(clean.place.at)
    if os.path.realpath(path) != os.path.realpath(finding.path):
        return False
    return finding.location.row <= end.row and start.row <= finding.end_location.row


def _contradiction(finding: Finding, clean: Clean, sources: Mapping[Path, Source], arguments: Sequence[str]) -> str:
    """Reading judges what a script does by default: arguments may be the reason why a run does something else."""
    line = _line(finding, sources)
    bug = "this is a bug of tricklint"
    if arguments:
        bug = f"where its arguments ({shlex.join(arguments)}) are not the reason, {bug}"
    return (
        f"{finding.path.name}:{finding.location.row}: read as {finding.code} ({finding.name}), but {clean.message}: the run is "
        f"right, and {bug}; please report it with this line: {line}"
    )


def _line(finding: Finding, sources: Mapping[Path, Source]) -> str:
    source = sources.get(finding.path)
    row = finding.location.row
    return source.lines[row - 1].strip() if source and row <= len(source.lines) else ""


def _key(finding: Finding, sources: Mapping[Path, Source]) -> _Key:
    line, source = _line(finding, sources), sources.get(finding.path)
    before = source.lines[: finding.location.row - 1] if source is not None else ()
    return finding.code, finding.path, line, sum(text.strip() == line for text in before)


def _moved(finding: Finding, line: str, sources: Mapping[Path, Source]) -> Finding | None:
    """The finding at the row where its line stands now; None where it is gone."""
    source = sources.get(finding.path)
    if source is None or not line:
        return None
    rows = [row for row, text in enumerate(source.lines, 1) if text.strip() == line]
    if not rows:
        return None
    by = min(rows, key=lambda row: abs(row - finding.location.row)) - finding.location.row
    start = replace(finding.location, row=finding.location.row + by)
    end = replace(finding.end_location, row=min(len(source.lines), finding.end_location.row + by))
    width = len(source.lines[end.row - 1]) + 1
    return replace(finding, location=start, end_location=replace(end, column=max(1, min(end.column, width))))
