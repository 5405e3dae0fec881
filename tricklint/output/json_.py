"""A list of findings as JSON objects."""

from __future__ import annotations

import json
from typing import Any

from tricklint.finding import Fix, Location
from tricklint.output.places import place
from tricklint.output.style import Style
from tricklint.report import Report
from tricklint.settings import Settings


def render(report: Report, settings: Settings, style: Style) -> str:
    return json.dumps(_findings(report), indent=2)


def _findings(report: Report) -> list[dict[str, Any]]:
    items = []
    for finding in report.findings:
        at = place(report, finding)
        items.append(
            {
                "code": finding.code,
                "name": finding.name,
                "severity": finding.severity.value,
                "message": finding.message,
                "filename": at.filename,
                "location": _location(at.start),
                "end_location": _location(at.end),
                "cell": at.cell,
                "evidence": [_evidence(report, evidence) for evidence in finding.evidence],
                "fix": _fix(report, finding.fix),
                "url": finding.url,
            }
            | ({"confirmed": finding.confirmed} if finding.confirmed else {})
        )
    return items


def _location(location: Location) -> dict[str, int]:
    return {"row": location.row, "column": location.column}


def _evidence(report: Report, evidence: Any) -> dict[str, Any]:
    at = place(report, evidence)
    return {
        "filename": at.filename,
        "location": _location(at.start),
        "end_location": _location(at.end),
        "cell": at.cell,
        "message": evidence.message,
    }


def _fix(report: Report, fix: Fix | None) -> dict[str, Any] | None:
    if fix is None:
        return None
    edits = []
    for edit in fix.edits:
        at = place(report, edit)
        edits.append(
            {
                "content": edit.content,
                "location": _location(at.start),
                "end_location": _location(at.end),
                "cell": at.cell,
                "filename": at.filename,
            }
        )
    return {"level": fix.level.value, "message": fix.message, "reason": fix.reason, "edits": edits}
