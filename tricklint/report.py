"""What a run found and did: the one thing that every output format shows."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from tricklint.finding import Finding, FixLevel, Severity
from tricklint.rule import Rule
from tricklint.source.text import Problem, Source


@dataclass
class Report:
    """`findings` are those left after fixing; `fixed` those mended; `refused` those whose fix would not have kept its
    word, each with the reason; `diffs` unified diffs (only with `--diff`)."""

    findings: list[Finding] = field(default_factory=list)
    problems: list[Problem] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    fixed: list[Finding] = field(default_factory=list)
    refused: list[tuple[Finding, str]] = field(default_factory=list)
    diffs: list[str] = field(default_factory=list)
    suppressed: int = 0
    spent: list[str] = field(default_factory=list)  # what was followed only in part, since it takes too many steps
    asked: frozenset[Path] = frozenset()  # the files that were to be checked
    ran: frozenset[str] = frozenset()  # the codes of the rules that were asked
    quiet: bool = False  # people are shown the findings and nothing else
    # The texts that the findings stand in, for showing them; those of the last pass when files were mended.
    sources: Mapping[Path, Source] = field(default_factory=dict)
    rules: Sequence[Rule] = ()

    @property
    def files_checked(self) -> int:
        return len(self.asked)

    def exit_code(self, fail_on: Severity, *, exit_zero: bool = False) -> int:
        """0 clean or all mended, 1 findings left (or a diff), 2 the tool could not do its work."""
        if self.problems:
            return 2
        left = any(finding.severity.rank >= fail_on.rank for finding in self.findings)
        return int((left or bool(self.diffs)) and not exit_zero)

    def rule(self, code: str) -> Rule | None:
        return next((rule for rule in self.rules if rule.code == code), None)


def shown_path(path: Path) -> str:
    """Relative to the working directory where the file lies below it, else absolute."""
    try:
        return path.relative_to(Path.cwd()).as_posix()
    except (OSError, ValueError):  # it lies elsewhere, or there is no working directory any more
        return path.as_posix()


def fixable(findings: Sequence[Finding], level: FixLevel) -> int:
    """How many findings have a fix of at most this level."""
    return sum(1 for finding in findings if finding.fix and finding.fix.level.rank <= level.rank)
