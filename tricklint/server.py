"""The language server: findings as you type, fixes as quick fixes. Needs the extra `lsp`."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import click
from lsprotocol import types as lsp
from pygls.lsp.server import LanguageServer
from pygls.uris import from_fs_path, to_fs_path
from pygls.workspace import TextDocument

from tricklint import __version__, settings
from tricklint.check import Options, run
from tricklint.finding import Edit, Finding, FixLevel, Location, Severity
from tricklint.report import Report
from tricklint.source.ignores import with_comments
from tricklint.source.text import Source, SourceError

_DELAY = 0.5  # seconds of rest before a change is checked
_SEVERITIES = {
    Severity.ERROR: lsp.DiagnosticSeverity.Error,
    Severity.WARNING: lsp.DiagnosticSeverity.Warning,
    Severity.ADVICE: lsp.DiagnosticSeverity.Information,
}


@dataclass
class _Checked:
    """What was last found in a document, and the version of the text it was found in."""

    version: int | None
    source: Source
    findings: list[Finding] = field(default_factory=list)


class TricklintServer(LanguageServer):
    def __init__(self) -> None:
        super().__init__("tricklint", __version__)
        self.checked: dict[str, _Checked] = {}
        self._waiting: dict[str, asyncio.Task[None]] = {}
        self.trusted = False  # whether the user trusts the workspace: only then may its configuration name code to run

    def later(self, uri: str, delay: float) -> None:
        """Check a document after a pause; a newer change takes the place of an older one."""
        waiting = self._waiting.pop(uri, None)
        if waiting:
            waiting.cancel()
        self._waiting[uri] = asyncio.ensure_future(self._check(uri, delay))

    def forget(self, uri: str) -> None:
        waiting = self._waiting.pop(uri, None)
        if waiting:
            waiting.cancel()
        self.checked.pop(uri, None)
        self.text_document_publish_diagnostics(lsp.PublishDiagnosticsParams(uri, []))

    async def _check(self, uri: str, delay: float) -> None:
        await asyncio.sleep(delay)
        document = self.workspace.get_text_document(uri)
        version, path = document.version, to_fs_path(uri)
        if path is None:
            return
        try:
            source = Source.from_text(Path(path), document.source)
            report = await asyncio.to_thread(_report, source, self.trusted)
        except (settings.SettingsError, SourceError) as error:
            self.window_log_message(lsp.LogMessageParams(lsp.MessageType.Error, f"tricklint: {error}"))
            return
        self.checked[uri] = _Checked(version, source, report.findings)
        diagnostics = [_diagnostic(self, document, finding) for finding in report.findings]
        diagnostics += _problems(report)
        self.text_document_publish_diagnostics(lsp.PublishDiagnosticsParams(uri, diagnostics, version))


def _report(source: Source, trusted: bool = False) -> Report:
    return run([source.path], settings.load([source.path], trusted=trusted), Options(stdin=source))


def _range(server: TricklintServer, lines: Sequence[str], start: Location, end: Location) -> lsp.Range:
    """Rows and columns from 0, in the units the client counts in."""
    points = lsp.Range(lsp.Position(start.row - 1, start.column - 1), lsp.Position(end.row - 1, end.column - 1))
    return server.workspace.position_codec.range_to_client_units(lines, points)


def _diagnostic(server: TricklintServer, document: TextDocument, finding: Finding) -> lsp.Diagnostic:
    related = []
    for evidence in finding.evidence:
        other = server.workspace.get_text_document(from_fs_path(str(evidence.path)) or document.uri)
        span = _range(server, other.lines, evidence.location, evidence.end_location)
        related.append(lsp.DiagnosticRelatedInformation(lsp.Location(other.uri, span), evidence.message))
    return lsp.Diagnostic(
        _range(server, document.lines, finding.location, finding.end_location),
        f"{finding.name}: {finding.message}",
        severity=_SEVERITIES[finding.severity],
        code=finding.code,
        code_description=lsp.CodeDescription(finding.url),
        source="tricklint",
        related_information=related,
    )


def _problems(report: Report) -> list[lsp.Diagnostic]:
    """What could not be done in the open file, at its row."""
    found = []
    for problem in report.problems:
        row = (problem.row or 1) - 1
        span = lsp.Range(lsp.Position(row, 0), lsp.Position(row + 1, 0))
        found.append(lsp.Diagnostic(span, problem.message, severity=lsp.DiagnosticSeverity.Error, source="tricklint"))
    return found


def _text_edit(server: TricklintServer, document: TextDocument, edit: Edit) -> lsp.TextEdit:
    return lsp.TextEdit(_range(server, document.lines, edit.location, edit.end_location), edit.content)


def _fix_action(server: TricklintServer, uri: str, finding: Finding) -> lsp.CodeAction | None:
    if finding.fix is None:
        return None
    changes: dict[str, list[lsp.TextEdit]] = {}
    for edit in finding.fix.edits:
        target = from_fs_path(str(edit.path)) or uri
        document = server.workspace.get_text_document(target)
        changes.setdefault(target, []).append(_text_edit(server, document, edit))
    level = finding.fix.level
    return lsp.CodeAction(
        f"tricklint: {finding.fix.message}" + ("" if level is FixLevel.SAFE else f" ({level.value})"),
        kind=lsp.CodeActionKind.QuickFix,
        is_preferred=level is not FixLevel.UNSAFE,
        edit=lsp.WorkspaceEdit(changes=changes),
    )


def _ignore_action(server: TricklintServer, uri: str, finding: Finding, source: Source) -> lsp.CodeAction:
    """Silence one finding: the row that gets the comment is replaced."""
    before, after = source.lines, Source.from_text(source.path, with_comments(source, [finding])).lines
    edits = [
        lsp.TextEdit(_range(server, before, Location(row, 1), Location(row, len(old) + 1)), new)
        for row, (old, new) in enumerate(zip(before, after, strict=True), 1)
        if old != new
    ]
    return lsp.CodeAction(
        f"tricklint: ignore {finding.code} here",
        kind=lsp.CodeActionKind.QuickFix,
        edit=lsp.WorkspaceEdit(changes={uri: edits}),
    )


def build() -> TricklintServer:
    """A server with its features registered."""
    server = TricklintServer()

    @server.feature(lsp.INITIALIZE)
    def initialized(params: lsp.InitializeParams) -> None:
        given = params.initialization_options
        # The protocol knows no workspace trust: the editor's side says it, as VS Code's `workspace.isTrusted`.
        server.trusted = isinstance(given, dict) and given.get("trusted") is True

    @server.feature(lsp.TEXT_DOCUMENT_DID_OPEN)
    def opened(params: lsp.DidOpenTextDocumentParams) -> None:
        server.later(params.text_document.uri, 0)

    @server.feature(lsp.TEXT_DOCUMENT_DID_SAVE)
    def saved(params: lsp.DidSaveTextDocumentParams) -> None:
        server.later(params.text_document.uri, 0)

    @server.feature(lsp.TEXT_DOCUMENT_DID_CHANGE)
    def changed(params: lsp.DidChangeTextDocumentParams) -> None:
        server.later(params.text_document.uri, _DELAY)

    @server.feature(lsp.TEXT_DOCUMENT_DID_CLOSE)
    def closed(params: lsp.DidCloseTextDocumentParams) -> None:
        server.forget(params.text_document.uri)

    @server.feature(
        lsp.TEXT_DOCUMENT_CODE_ACTION, lsp.CodeActionOptions(code_action_kinds=[lsp.CodeActionKind.QuickFix])
    )
    def actions(params: lsp.CodeActionParams) -> list[lsp.CodeAction]:
        uri = params.text_document.uri
        checked = server.checked.get(uri)
        document = server.workspace.get_text_document(uri)
        if checked is None or checked.version != document.version:
            return []  # the text moved on: edits would hit the wrong place
        found = []
        for finding in checked.findings:
            span = _range(server, document.lines, finding.location, finding.end_location)
            if span.start.line <= params.range.end.line and params.range.start.line <= span.end.line:
                fix = _fix_action(server, uri, finding)
                found += [fix] if fix else []
                found.append(_ignore_action(server, uri, finding, checked.source))
        return found

    return server


@click.command()
def server() -> None:
    """Start the language server on standard input and output: diagnostics, and fixes as quick fixes."""
    build().start_io()
