"""What a run does to files: fixes written or shown as a diff, and ignore comments added."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from tricklint.finding import Finding, Fix
from tricklint.report import Report
from tricklint.source import ignores
from tricklint.source.text import Problem, Source, SourceError, read_bytes
from tricklint.universe import Universe

if TYPE_CHECKING:
    from tricklint.check import Options
    from tricklint.fix.engine import FixResult
    from tricklint.inquiry import Found

Ask = Callable[[Mapping[Path, Source]], "Found"]


def paths_of(findings: Iterable[Finding]) -> set[Path]:
    """The files that findings and their evidence stand in."""
    return {path for finding in findings for path in (finding.path, *(evidence.path for evidence in finding.evidence))}


def fix(
    report: Report, universe: Universe, ask: Ask, keep: Callable[[list[Finding], Mapping[Path, Source]], list[Finding]], options: Options
) -> None:
    """Mend everything up to the fix level, to a fixpoint in memory, each fix proven, then write it or show the diff.

    ask: what every rule finds in other texts, with what is known of the program. keep: those that are to be reported.
    """
    from tricklint.fix.diff import unified
    from tricklint.fix.engine import fix_sources

    looks = _Looks(ask)
    untouchable: set[Path] = set()

    def ask_again(now: Mapping[Path, Source]) -> list[Finding]:
        findings = keep(looks.at(now).findings, now)
        return [_within(finding, universe.asked - untouchable) for finding in findings]

    def mended() -> FixResult:
        return fix_sources(universe.sources, ask_again, universe.settings.fix_level, prove=looks.prove)

    result = mended()
    stale = _changed_on_disk(result.changed, universe, report) if options.fix and not options.stdin else set()
    if stale:  # a fix is made whole or not at all, so those that touch such a file are not made at all
        untouchable |= stale
        result = mended()

    report.findings, report.fixed = result.remaining, result.applied
    report.notes += [f"{_at(finding)}: fix not made: {why}" for finding, why in result.reverted]
    report.sources = {**universe.sources, **result.changed}
    for path, changed in sorted(result.changed.items()):
        if options.diff:
            report.diffs.append(unified(universe.sources[path], changed.text))
        elif not options.stdin:
            _write(universe.sources[path], changed.text, report)


class _Looks:
    """What was found in texts before, so that no text is followed twice; and the proofs that rest on it."""

    def __init__(self, ask: Ask) -> None:
        self._ask = ask
        self._seen: dict[int, tuple[tuple[Source, ...], Found]] = {}  # the sources keep their ids as long as they stand here

    def at(self, sources: Mapping[Path, Source]) -> Found:
        texts = tuple(sources.values())
        state = hash(tuple(map(id, texts)))
        if state not in self._seen:
            if len(self._seen) > 3:
                del self._seen[next(iter(self._seen))]
            self._seen[state] = (texts, self._ask(sources))
        return self._seen[state][1]

    def prove(self, old: Mapping[Path, Source], new: Mapping[Path, Source], made: Sequence[tuple[Finding, Fix]]) -> str:
        """What the fixes made between two texts break; "" when they keep their word."""
        from tricklint.fix.proof import arisen, broken, lost_name, widest

        for path, source in new.items():
            if source is not old[path] and (name := lost_name(old[path].text, source.text)):
                return f"it would read {name!r} where nothing has bound it"
        before, after = self.at(old), self.at(new)
        if after.problems and not before.problems:
            return f"the mended program could not be followed: {after.problems[0].message}"
        if before.facts is not None and after.facts is not None:
            why = broken(before.facts, after.facts, widest(fix.keeps for _, fix in made))
            if why:
                return why
        more = arisen(before.findings, after.findings, [finding for finding, _ in made])
        if more is None:
            return ""
        code, path = more
        if any(finding.code == code and finding.path == path for finding, _ in made):
            return f"{code} would still be found"
        return f"{code} would be found in {path.name}"


def _at(finding: Finding) -> str:
    from tricklint.report import shown_path

    return f"{shown_path(finding.path)}:{finding.location.row}: {finding.code}"


def _within(finding: Finding, allowed: Iterable[Path]) -> Finding:
    """A fix that would rewrite a file nobody asked to be checked is not made."""
    if finding.fix and not {edit.path for edit in finding.fix.edits} <= set(allowed):
        return replace(finding, fix=None)
    return finding


def _changed_on_disk(changed: Iterable[Path], universe: Universe, report: Report) -> set[Path]:
    stale = set()
    for path in changed:
        try:
            if read_bytes(path)[0] == universe.sources[path].data:
                continue
            report.problems.append(Problem(path, None, "changed on disk since it was read; not rewritten"))
        except SourceError as error:
            report.problems.append(error.problem)
        stale.add(path)
    return stale


def _write(old: Source, text: str, report: Report) -> None:
    """A file that could not be written is a problem, and its findings are not mended."""
    from tricklint.fix.write import FixError, write_source

    try:
        write_source(old, text)
    except FixError as error:
        report.problems.append(Problem(None, None, str(error)))
        report.findings += [finding for finding in report.fixed if finding.path == old.path]
        report.fixed = [finding for finding in report.fixed if finding.path != old.path]


def add_ignores(report: Report) -> None:
    """Append an ignore comment for every finding; the findings are then suppressed."""
    by_path: dict[Path, list[Finding]] = {}
    for finding in report.findings:
        by_path.setdefault(finding.path, []).append(finding)
    for path, findings in by_path.items():
        source = report.sources[path]
        _write(source, ignores.with_comments(source, findings), report)
    report.suppressed += len(report.findings)
    report.notes.append(f"Added ignore comments for {len(report.findings)} findings in {len(by_path)} files")
    report.findings = []
