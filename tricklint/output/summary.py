"""The last line of what a person reads, and the table of `--statistics`."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Sequence

from tricklint.finding import Finding, FixLevel, Severity
from tricklint.output.style import Style
from tricklint.report import Report, fixable
from tricklint.settings import Settings


def count(number: int, word: str) -> str:
    return f"{number} {word}{'' if number == 1 else 's'}"


def advice_last(findings: Sequence[Finding]) -> list[Finding]:
    """Findings in the order of their places, advice after the rest."""
    return sorted(findings, key=lambda finding: finding.severity is Severity.ADVICE)


def summary(report: Report, settings: Settings, style: Style) -> list[str]:
    """The last line, or none when the run is to be quiet."""
    return [] if report.quiet else [_summary(report, settings, style)]


def _summary(report: Report, settings: Settings, style: Style) -> str:
    """Found 5 findings (3 fixable with --fix, 1 more with --unsafe-fixes), 2 of them advice, in 4 files"""
    mended = f"Mended {count(len(report.fixed), 'finding')}" if report.fixed else ""
    if not report.findings:
        checked = f"in {count(report.files_checked, 'file')}"
        if mended:
            return style.good(f"{mended}, none left {checked}")
        if report.problems:
            return f"No findings {checked} (see the problems above)"
        return style.good(f"All clean {checked}") if report.files_checked else "No Python files or notebooks to check"
    files = len({finding.path for finding in report.findings})
    line = style.bold(f"Found {count(len(report.findings), 'finding')}")
    if mended:
        line = f"{style.good(mended)}; {style.bold(count(len(report.findings), 'finding') + ' left')}"
    return f"{line}{_offers(report, settings)}{_advice(report)} in {count(files, 'file')}"


def _advice(report: Report) -> str:
    advice = sum(finding.severity is Severity.ADVICE for finding in report.findings)
    if not advice:
        return ""
    return f", {'all' if advice == len(report.findings) else f'{advice} of them'} advice,"


def _offers(report: Report, settings: Settings) -> str:
    now = fixable(report.findings, settings.fix_level)
    unsafe = fixable(report.findings, FixLevel.UNSAFE) - now
    offers = []
    if now:
        offers.append(f"{now} fixable with --fix")
    if unsafe:
        offers.append(f"{unsafe} {'more ' if now else 'fixable '}with --unsafe-fixes")
    return f" ({', '.join(offers)})" if offers else ""


def statistics(report: Report, settings: Settings) -> str:
    """How often each rule spoke, most first, and with `--fix` how many of its fixes were not made: a table, or JSON where
    the format is `json`."""
    counts = Counter((finding.code, finding.name, finding.severity) for finding in report.findings)
    can = Counter(f.code for f in report.findings if f.fix and f.fix.level.rank <= settings.fix_level.rank)
    refused = Counter(finding.code for finding, _ in report.refused)
    rows = sorted(counts.items(), key=lambda row: (-row[1], row[0][0]))
    if settings.output_format == "json":
        keys = ("code", "name", "severity", "count", "fixable", "refused")
        values = [(*row[:2], row[2].value, number, can[row[0]], refused[row[0]]) for row, number in rows]
        return json.dumps([dict(zip(keys, each, strict=True)) for each in values], indent=2)
    width = max((len(str(number)) for _, number in rows), default=1)
    lines = []
    for (code, name, severity), number in rows:
        line = f"{number:>{width}}  {code}  {name} ({severity.value})"
        line += f", {can[code]} fixable" if can[code] else ""
        line += f", {refused[code]} not made for what they would break" if refused[code] else ""
        lines.append(line)
    lines += [f"followed only in part (it takes too many steps): {entry.removeprefix('run ')}" for entry in report.spent]
    return "\n".join(lines)


STATISTICS_FORMATS = ("text", "concise", "json")


def would_fix(report: Report) -> str:
    """The last line of `--diff`."""
    if not report.fixed:
        return f"Nothing to mend; {count(len(report.findings), 'finding')} left"
    return f"Would mend {count(len(report.fixed), 'finding')}; {count(len(report.findings), 'finding')} would be left"
