"""One line a finding: `train.py:42:17: TRK601 [*] message`."""

from __future__ import annotations

from tricklint.output.places import place
from tricklint.output.style import Style
from tricklint.output.summary import summary
from tricklint.report import Report
from tricklint.settings import Settings


def render(report: Report, settings: Settings) -> str:
    style = Style()
    lines = []
    for finding in report.findings:
        fixable = finding.fix is not None and finding.fix.level.rank <= settings.fix_level.rank
        mark = f" {style.good('[*]')}" if fixable else ""
        code = style.severity(finding.severity, finding.code)
        message = finding.message.replace("\n", " ")
        lines.append(f"{style.bold(place(report, finding).label)}: {code} {finding.name}{mark}: {message}")
    lines.append(summary(report, settings, style))
    return "\n".join(lines)
