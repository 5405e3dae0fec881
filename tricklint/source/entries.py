"""Findings and problems as plain JSON and back. What is read is held against its schema: a wrong type is a ValueError."""

from __future__ import annotations

from pathlib import Path
from typing import Any, TypeVar

from tricklint.finding import Edit, Evidence, Finding, Fix, FixLevel, Location, Severity
from tricklint.source.text import Problem

_T = TypeVar("_T")


def _as(kind: type[_T], value: object) -> _T:
    if type(value) is not kind:
        raise ValueError(f"expected {kind.__name__}, got {type(value).__name__}")
    return value


def _spot(location: Location) -> list[int]:
    return [location.row, location.column]


def _location(value: object) -> Location:
    row, column = (_as(int, number) for number in _as(list, value))
    if row < 1 or column < 1:
        raise ValueError("rows and columns start at 1")
    return Location(row, column)


def _place(value: object) -> tuple[Path, Location, Location, str]:
    path, start, end, text = _as(list, value)
    return Path(_as(str, path)), _location(start), _location(end), _as(str, text)


def plain_finding(finding: Finding) -> dict[str, Any]:
    fix = finding.fix
    return {
        "code": finding.code,
        "name": finding.name,
        "severity": finding.severity.value,
        "message": finding.message,
        "path": str(finding.path),
        "at": [_spot(finding.location), _spot(finding.end_location)],
        "evidence": [[str(e.path), _spot(e.location), _spot(e.end_location), e.message] for e in finding.evidence],
        "fix": fix
        and {
            "level": fix.level.value,
            "message": fix.message,
            "reason": fix.reason,
            "edits": [[str(e.path), _spot(e.location), _spot(e.end_location), e.content] for e in fix.edits],
        },
        "pedantic": finding.pedantic,
        "confirmed": finding.confirmed,
    }


def finding_of(value: object) -> Finding:
    """Raises ValueError or KeyError."""
    item = _as(dict, value)
    start, end = _as(list, item["at"])
    return Finding(
        _as(str, item["code"]),
        _as(str, item["name"]),
        Severity(item["severity"]),
        _as(str, item["message"]),
        Path(_as(str, item["path"])),
        _location(start),
        _location(end),
        tuple(Evidence(*_place(one)) for one in _as(list, item["evidence"])),
        None if item["fix"] is None else _fix_of(_as(dict, item["fix"])),
        _as(bool, item["pedantic"]),
        _as(str, item["confirmed"]),
    )


def _fix_of(item: dict[str, Any]) -> Fix:
    return Fix(
        FixLevel(item["level"]),
        _as(str, item["message"]),
        tuple(Edit(*_place(one)) for one in _as(list, item["edits"])),
        _as(str, item["reason"]),
    )


def plain_problem(problem: Problem) -> list[Any]:
    return [str(problem.path) if problem.path else None, problem.row, problem.message, problem.cell]


def problem_of(value: object) -> Problem:
    """Raises ValueError."""
    path, row, message, cell = _as(list, value)
    return Problem(
        None if path is None else Path(_as(str, path)),
        None if row is None else _as(int, row),
        _as(str, message),
        None if cell is None else _as(int, cell),
    )
