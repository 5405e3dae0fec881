"""GitHub's workflow commands: findings appear beside the lines of a pull request."""

from __future__ import annotations

from tricklint.finding import Severity
from tricklint.output.places import place
from tricklint.output.printable import lines
from tricklint.output.style import Style
from tricklint.report import Report, shown_path
from tricklint.settings import Settings

_LEVELS = {Severity.ERROR: "error", Severity.WARNING: "warning", Severity.ADVICE: "notice"}


def render(report: Report, settings: Settings, style: Style) -> str:
    commands = []
    for finding in report.findings:
        at = place(report, finding)
        cell = "" if at.cell is None else f"cell {at.cell}: "
        properties = {
            "title": f"tricklint {finding.code} {finding.name}",
            "file": at.filename,
            "line": str(at.start.row),
            "col": str(at.start.column),
            "endLine": str(at.end.row),
            "endColumn": str(at.end.column),
        }
        commands.append(_command(_LEVELS[finding.severity], properties, cell + finding.message))
    for problem in report.problems:
        properties = {"title": "tricklint"}
        if problem.path is not None:
            properties["file"] = shown_path(problem.path)
        if problem.row:
            properties["line"] = str(problem.row)
        commands.append(_command("error", properties, problem.message))
    return "\n".join(commands)


def _command(level: str, properties: dict[str, str], message: str) -> str:
    listed = ",".join(f"{key}={_escape(lines(value), ':,')}" for key, value in properties.items())
    return f"::{level} {listed}::{_escape(lines(message))}"


def _escape(text: str, also: str = "") -> str:
    """What ends a command or one of its parts, escaped as GitHub reads it back."""
    for character in "%\r\n" + also:
        text = text.replace(character, f"%{ord(character):02X}")
    return text
