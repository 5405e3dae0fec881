"""What a run does to files: fixes written or shown as a diff, and ignore comments added."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from tricklint.finding import Finding
from tricklint.report import Report
from tricklint.source import ignores
from tricklint.source.text import Problem, Source, SourceError, read_bytes
from tricklint.universe import Universe

if TYPE_CHECKING:
    from tricklint.check import Options
    from tricklint.fix.engine import FixResult
    from tricklint.fix.looks import Looks
    from tricklint.inquiry import Found
    from tricklint.rule import Rule



def paths_of(findings: Iterable[Finding]) -> set[Path]:
    """The files that findings and their evidence stand in."""
    return {path for finding in findings for path in (finding.path, *(evidence.path for evidence in finding.evidence))}


def looks_at(universe: Universe, known: Sequence[Rule], rules: Sequence[Rule]) -> Looks:
    """Looks at the texts of a universe, by `rules`; parts that were looked at before, as they stand, are not followed again."""
    from tricklint.fix.looks import Looks
    from tricklint.inquiry import ask
    from tricklint.memory import Memory

    memory = Memory()

    def look(now: Mapping[Path, Source], within: frozenset[Path] | None = None) -> Found:
        if within is not None:
            return ask(universe.only(within), known, rules, now, prove=True)
        return ask(universe, known, rules, now, prove=True, memory=memory)

    def alone(now: Mapping[Path, Source]) -> Found:
        return ask(replace(universe, haste={}), known, rules, now, prove=True, memory=memory)

    return Looks(look, alone, universe.haste)


def fix(
    report: Report, universe: Universe, looks: Looks, keep: Callable[[list[Finding], Mapping[Path, Source]], list[Finding]], options: Options
) -> None:
    """Mend everything up to the fix level, to a fixpoint in memory, each fix proven, then write it or show the diff.

    looks: what every rule finds in other texts, with what is known of the program. keep: those that are to be reported.
    """
    from tricklint.fix.diff import unified
    from tricklint.fix.engine import fix_sources

    first = report.findings
    untouchable = _led_away(universe)
    report.notes += [
        f"{_at(finding)}: fix not made: the file is a link; give what it leads to instead"
        for finding in first
        if finding.fix and not untouchable.isdisjoint(_touched(finding))
    ]

    def ask_again(now: Mapping[Path, Source], within: frozenset[Path] | None = None) -> list[Finding]:
        found = looks.settled(now) if within is None else looks.at(now, within)
        findings = keep(found.findings, now)
        return [_within(finding, universe.asked - untouchable) for finding in findings]

    def mended() -> FixResult:
        return fix_sources(universe.sources, ask_again, universe.settings.fix_level, prove=looks.prove)

    result = mended()
    stale = _changed_on_disk(result.changed, universe, report) if options.fix and not options.stdin else set()
    if stale:  # a fix is made whole or not at all, so those that touch such a file are not made at all
        untouchable |= stale
        result = mended()

    report.findings, report.fixed, report.refused = result.remaining, result.applied, result.reverted
    report.notes += [f"{_at(finding)}: fix not made: {why}" for finding, why in result.reverted]
    report.sources = {**universe.sources, **result.changed}
    if options.diff:
        report.diffs += [unified(universe.sources[path], now.text) for path, now in sorted(result.changed.items())]
    elif not options.stdin:
        for group in together(result.changed, result.applied, result.together):
            if not _written({universe.sources[path]: result.changed[path].text for path in group}, report):
                _take_back(group, first, universe, report)


def _led_away(universe: Universe) -> set[Path]:
    """Links to files outside the project, or to files that are checked under their own name: not written through."""
    root = os.path.realpath(universe.settings.root) + os.sep
    found = set()
    for path in universe.asked:
        if path.is_symlink():
            real = os.path.realpath(path)
            if not real.startswith(root) or Path(real) in universe.asked:
                found.add(path)
    return found


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


def together(
    changed: Iterable[Path], fixed: Iterable[Finding], leaning: Iterable[Iterable[Finding]] = ()
) -> list[list[Path]]:
    """The changed files in groups that share no fix, nor fixes that lean on each other: each group is written whole or not
    at all."""
    group = {path: {path} for path in changed}
    for findings in (*((finding,) for finding in fixed), *leaning):
        # a fix elsewhere may be what another fix at the finding's place needs
        paths = [path for finding in findings if finding.fix for path in sorted(_touched(finding)) if path in group]
        for other in paths[1:]:
            joined = group[paths[0]] | group[other]
            group.update(dict.fromkeys(joined, joined))
    return sorted({id(one): sorted(one) for one in group.values()}.values())


def _written(texts: Mapping[Source, str], report: Report) -> bool:
    """Write some files, all or none; why not is a problem."""
    from tricklint.fix.write import FixError, write_sources

    try:
        write_sources(list(texts.items()))
    except FixError as error:
        report.problems.append(Problem(None, None, str(error)))
        return False
    return True


def _take_back(group: Iterable[Path], first: Iterable[Finding], universe: Universe, report: Report) -> None:
    """Files that could not be written stand as they stood, with the findings they had."""
    left = set(group)
    report.findings = [finding for finding in report.findings if finding.path not in left]
    report.findings += [finding for finding in first if finding.path in left]
    report.findings.sort(key=lambda finding: finding.sort_key)
    report.fixed = [finding for finding in report.fixed if left.isdisjoint(_touched(finding))]
    report.sources = {**report.sources, **{path: universe.sources[path] for path in left}}


def _touched(finding: Finding) -> set[Path]:
    return {finding.path, *(edit.path for edit in finding.fix.edits)} if finding.fix else {finding.path}


def add_ignores(report: Report) -> None:
    """Append an ignore comment for every finding; the findings are then suppressed."""
    by_path: dict[Path, list[Finding]] = {}
    for finding in report.findings:
        by_path.setdefault(finding.path, []).append(finding)
    left: list[Finding] = []
    for path, findings in by_path.items():
        source = report.sources[path]
        if _written({source: ignores.with_comments(source, findings)}, report):
            report.suppressed += len(findings)
        else:
            left += findings
    silenced = len(report.findings) - len(left)
    files = len(by_path) - len({finding.path for finding in left})
    report.notes.append(f"Added ignore comments for {silenced} findings in {files} files")
    report.findings = left
