"""Findings as diagnostics, and as what is shown when the mouse rests on one."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

from lsprotocol import types as lsp

from tricklint.finding import Finding, Location, Severity
from tricklint.server.documents import Document, Places, Seen
from tricklint.source.text import Problem, Source

_SEVERITIES = {
    Severity.ERROR: lsp.DiagnosticSeverity.Error,
    Severity.WARNING: lsp.DiagnosticSeverity.Warning,
    Severity.ADVICE: lsp.DiagnosticSeverity.Information,
}


def diagnostics(document: Document, seen: Seen, places: Places) -> dict[str, list[lsp.Diagnostic]]:
    """By URI: a notebook's stand in its cells."""
    places.know(seen.source)
    found: dict[str, list[lsp.Diagnostic]] = {}
    for finding in seen.findings:
        uri, one = diagnostic(finding, places)
        found.setdefault(uri, []).append(one)
    for problem in seen.problems:
        uri, one = _problem(document, problem, seen.source, places)
        found.setdefault(uri, []).append(one)
    return found


def diagnostic(finding: Finding, places: Places) -> tuple[str, lsp.Diagnostic]:
    uri, span = places.find(finding.path, finding.location, finding.end_location)
    related = []
    for evidence in finding.evidence:
        where = lsp.Location(*places.find(evidence.path, evidence.location, evidence.end_location))
        related.append(lsp.DiagnosticRelatedInformation(where, evidence.message))
    return uri, lsp.Diagnostic(
        span,
        f"{finding.name}: {finding.message}",
        severity=_SEVERITIES[finding.severity],
        code=finding.code,
        code_description=lsp.CodeDescription(finding.url) if finding.url else None,
        source="tricklint",
        related_information=related,
    )


def _problem(document: Document, problem: Problem, source: Source, places: Places) -> tuple[str, lsp.Diagnostic]:
    """What could not be done in the document, at its row."""
    row = problem.row or 1
    if document.is_notebook:
        span = lsp.Range(lsp.Position(row - 1, 0), lsp.Position(row, 0))
        uri = document.cell_uri(places.workspace, problem.cell)
    else:
        line = source.lines[row - 1] if row <= len(source.lines) else ""
        uri, span = places.find(source.path, Location(row, 1), Location(row, len(line) + 1))
    return uri, lsp.Diagnostic(span, problem.message, severity=lsp.DiagnosticSeverity.Error, source="tricklint")


def hover(finding: Finding, pages: Mapping[str, str], places: Places) -> lsp.Hover:
    """The rule's page."""
    _, span = places.find(finding.path, finding.location, finding.end_location)
    page = pages.get(finding.code, "")
    link = f"\n\n[{finding.url}]({finding.url})" if finding.url else ""
    text = f"**{finding.code} {finding.name}**\n\n{page}{link}"
    return lsp.Hover(lsp.MarkupContent(lsp.MarkupKind.Markdown, text), span)


def carried(before: Seen, now: Seen) -> tuple[Finding, ...]:
    """The findings of an earlier, wider look that may still hold: those in lines that did not change and that the new
    look says nothing about, moved to where the lines now stand. Their fixes are not: they were made for another text."""
    old, new = before.source.lines, now.source.lines
    shortest = min(len(old), len(new))
    head = next((row for row in range(shortest) if old[row] != new[row]), shortest)
    tail = next((row for row in range(shortest - head) if old[-1 - row] != new[-1 - row]), shortest - head)
    shift = len(new) - len(old)
    fresh = {(finding.code, finding.location.row) for finding in now.findings}
    kept = []
    for finding in before.findings:
        first, last = finding.location.row, finding.end_location.row
        moved = 0 if last <= head else shift
        if (last <= head or first > len(old) - tail) and (finding.code, first + moved) not in fresh:
            kept.append(_moved(finding, moved))
    return tuple(kept)


def _moved(finding: Finding, rows: int) -> Finding:
    def at(place: Location) -> Location:
        return Location(place.row + rows, place.column)

    evidence = tuple(one for one in finding.evidence if one.path != finding.path or not rows)
    location, end = at(finding.location), at(finding.end_location)
    return replace(finding, location=location, end_location=end, evidence=evidence, fix=None)
