"""SARIF 2.1.0. Columns count code points; fixes are given only when they are safe, since viewers apply them blindly."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any
from urllib.parse import quote

from tricklint import __version__
from tricklint.about import REPOSITORY, RULE_PAGES
from tricklint.finding import Edit, Evidence, Finding, FixLevel, Severity
from tricklint.output.places import place
from tricklint.output.style import Style
from tricklint.report import Report, shown_path
from tricklint.rule import Rule
from tricklint.settings import Settings
from tricklint.source.text import Problem

SCHEMA = "https://docs.oasis-open.org/sarif/sarif/v2.1.0/errata01/os/schemas/sarif-schema-2.1.0.json"
_LEVELS = {Severity.ERROR: "error", Severity.WARNING: "warning", Severity.ADVICE: "note"}


def render(report: Report, settings: Settings, style: Style) -> str:
    codes = sorted({finding.code for finding in report.findings})
    rules = [rule for code in codes if (rule := report.rule(code))]
    index = {rule.code: number for number, rule in enumerate(rules)}
    run = {
        "tool": {
            "driver": {
                "name": "tricklint",
                "version": __version__,
                "informationUri": REPOSITORY,
                "rules": [_rule(rule) for rule in rules],
            }
        },
        "columnKind": "unicodeCodePoints",
        "invocations": [_invocation(report)],
        "results": [_result(report, finding, index) for finding in report.findings],
    }
    return json.dumps({"$schema": SCHEMA, "version": "2.1.0", "runs": [run]}, indent=2)


def _rule(rule: Rule) -> dict[str, Any]:
    own = {"helpUri": f"{RULE_PAGES}{rule.name}.md"} if rule.code.startswith("TRK") else {}
    return own | {
        "id": rule.code,
        "name": "".join(word.capitalize() for word in rule.name.split("-")),
        "shortDescription": {"text": rule.summary},
        "fullDescription": {"text": rule.page.partition("\n")[0] or rule.summary},
        "help": {"text": rule.page or rule.summary, "markdown": rule.page or rule.summary},
        "defaultConfiguration": {"level": _LEVELS[rule.severity]},
        "properties": {"tags": [rule.trick] if rule.trick else []},
    }


def _invocation(report: Report) -> dict[str, Any]:
    return {
        "executionSuccessful": not report.problems,
        "toolExecutionNotifications": [_notification(problem) for problem in report.problems],
    }


def _notification(problem: Problem) -> dict[str, Any]:
    notification: dict[str, Any] = {"level": "error", "message": {"text": problem.message}}
    if problem.path is not None:
        physical: dict[str, Any] = {"artifactLocation": _artifact(problem.path)}
        if problem.row:
            physical["region"] = {"startLine": problem.row}
        notification["locations"] = [{"physicalLocation": physical}]
    return notification


def _artifact(path: Path) -> dict[str, str]:
    shown = shown_path(path)
    return {"uri": Path(shown).as_uri() if Path(shown).is_absolute() else quote(os.fsencode(shown))}


def _location(report: Report, spot: Finding | Evidence | Edit) -> dict[str, Any]:
    at = place(report, spot)
    region = {
        "startLine": at.start.row,
        "startColumn": at.start.column,
        "endLine": at.end.row,
        "endColumn": at.end.column,
    }
    location: dict[str, Any] = {"physicalLocation": {"artifactLocation": _artifact(spot.path), "region": region}}
    if at.cell is not None:  # SARIF knows no notebooks: the region counts within the cell that is named here
        location["logicalLocations"] = [{"name": f"cell {at.cell}", "kind": "module"}]
    return location


def _result(report: Report, finding: Finding, index: dict[str, int]) -> dict[str, Any]:
    result: dict[str, Any] = {
        "ruleId": finding.code,
        "level": _LEVELS[finding.severity],
        "message": {"text": finding.message},
        "locations": [_location(report, finding)],
    }
    if finding.code in index:
        result["ruleIndex"] = index[finding.code]
    if finding.evidence:
        result["relatedLocations"] = [
            _location(report, evidence) | {"id": number, "message": {"text": evidence.message}}
            for number, evidence in enumerate(finding.evidence, 1)
        ]
    notebook = finding.path in report.sources and report.sources[finding.path].is_notebook
    if finding.fix and finding.fix.level is FixLevel.SAFE and not notebook:
        result["fixes"] = [{"description": {"text": finding.fix.message}, "artifactChanges": _changes(report, finding)}]
    return result


def _changes(report: Report, finding: Finding) -> list[dict[str, Any]]:
    by_path: dict[Path, list[dict[str, Any]]] = {}
    for edit in finding.fix.edits if finding.fix else ():
        region = _location(report, edit)["physicalLocation"]["region"]
        by_path.setdefault(edit.path, []).append({"deletedRegion": region, "insertedContent": {"text": edit.content}})
    return [{"artifactLocation": _artifact(path), "replacements": edits} for path, edits in by_path.items()]
