"""One line a finding, advice last: `train.py:42:17: TRK601 decay-on-bias-norm [*]: message`."""

from __future__ import annotations

from tricklint.finding import Finding
from tricklint.output.places import place
from tricklint.output.printable import sentence
from tricklint.output.style import Style
from tricklint.output.summary import advice_last, summary
from tricklint.report import Report
from tricklint.settings import Settings


def render(report: Report, settings: Settings, style: Style) -> str:
    lines = [line(report, finding, settings, style) for finding in advice_last(report.findings)]
    return "\n".join([*lines, *summary(report, settings, style)])


def line(report: Report, finding: Finding, settings: Settings, style: Style) -> str:
    """One finding on one line."""
    fixable = finding.fix is not None and finding.fix.level.rank <= settings.fix_level.rank
    mark = f" {style.good('[*]')}" if fixable else ""
    code = style.severity(finding.severity, finding.code)
    message = sentence(finding.message)
    return f"{style.bold(place(report, finding).label)}: {code} {finding.name}{mark}: {message}"
