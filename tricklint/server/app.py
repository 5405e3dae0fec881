"""The features of the language server, each as the editor asks for it."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from lsprotocol import types as lsp
from pygls.lsp.server import LanguageServer
from pygls.uris import to_fs_path

from tricklint import __version__
from tricklint.server import actions, show
from tricklint.server.session import Session
from tricklint.server.stamps import CONFIGURATION, Stamps
from tricklint.source.files import SUFFIXES

_NOTEBOOKS = lsp.NotebookDocumentSyncOptions(
    [lsp.NotebookDocumentFilterWithNotebook("*", [lsp.NotebookCellLanguage("python")])], save=True
)
_WATCHED = "**/{" + ",".join([*CONFIGURATION, "*.py", "*.ipynb"]) + "}"


class TricklintServer(LanguageServer):
    def __init__(self) -> None:
        super().__init__("tricklint", __version__, notebook_document_sync=_NOTEBOOKS)
        self.session = Session(self)


def build() -> TricklintServer:
    """A server with its features registered."""
    server = TricklintServer()
    _lifecycle(server)
    _documents(server)
    _notebooks(server)
    _questions(server)
    _code_actions(server)
    return server


def _lifecycle(server: TricklintServer) -> None:
    session = server.session

    @server.feature(lsp.INITIALIZE)
    async def initialize(params: lsp.InitializeParams) -> None:
        options = params.initialization_options
        session.trusted = isinstance(options, dict) and options.get("trusted") is True
        await session.start()

    @server.feature(lsp.INITIALIZED)
    def initialized(params: lsp.InitializedParams) -> None:
        workspace = server.client_capabilities.workspace
        watched = workspace.did_change_watched_files if workspace else None
        if watched and watched.dynamic_registration:
            options = lsp.DidChangeWatchedFilesRegistrationOptions([lsp.FileSystemWatcher(_WATCHED)])
            registration = lsp.Registration("watch", lsp.WORKSPACE_DID_CHANGE_WATCHED_FILES, options)
            server.client_register_capability(lsp.RegistrationParams([registration]))
        else:
            session.stamps = Stamps(session.documents)
            session.spawn(session.stamps.watch(session.all_changed))

    @server.feature(lsp.WORKSPACE_DID_CHANGE_WATCHED_FILES)
    def on_disk(params: lsp.DidChangeWatchedFilesParams) -> None:
        paths = [Path(name) for change in params.changes if (name := to_fs_path(change.uri))]
        if any(path.suffix not in SUFFIXES for path in paths):
            session.all_changed()
        # What is open says itself what it holds.
        elif closed := [path for path in paths if path not in session.documents.by_path]:
            session.changed(closed)

    @server.feature(lsp.WORKSPACE_DID_CHANGE_CONFIGURATION)
    def configured(params: lsp.DidChangeConfigurationParams) -> None:
        session.all_changed()

    @server.feature(lsp.SHUTDOWN)
    async def shutdown(params: None) -> None:
        await session.close()


def _documents(server: TricklintServer) -> None:
    session = server.session

    @server.feature(lsp.TEXT_DOCUMENT_DID_OPEN)
    def opened(params: lsp.DidOpenTextDocumentParams) -> None:
        item = params.text_document
        if document := session.documents.open(item.uri, server.workspace, language=item.language_id):
            session.opened(document.path)

    @server.feature(lsp.TEXT_DOCUMENT_DID_CHANGE)
    def changed(params: lsp.DidChangeTextDocumentParams) -> None:
        if document := session.documents.at(params.text_document.uri, server.workspace):
            session.changed([document.path])

    @server.feature(lsp.TEXT_DOCUMENT_DID_SAVE)
    def saved(params: lsp.DidSaveTextDocumentParams) -> None:
        if Path(to_fs_path(params.text_document.uri) or "").name in CONFIGURATION:
            session.all_changed()

    @server.feature(lsp.TEXT_DOCUMENT_DID_CLOSE)
    def closed(params: lsp.DidCloseTextDocumentParams) -> None:
        session.forget(params.text_document.uri)


def _notebooks(server: TricklintServer) -> None:
    session = server.session

    @server.feature(lsp.NOTEBOOK_DOCUMENT_DID_OPEN)
    def opened(params: lsp.DidOpenNotebookDocumentParams) -> None:
        if document := session.documents.open(params.notebook_document.uri, server.workspace):
            session.opened(document.path)

    @server.feature(lsp.NOTEBOOK_DOCUMENT_DID_CHANGE)
    def changed(params: lsp.DidChangeNotebookDocumentParams) -> None:
        if document := session.documents.at(params.notebook_document.uri, server.workspace):
            session.changed([document.path])

    @server.feature(lsp.NOTEBOOK_DOCUMENT_DID_CLOSE)
    def closed(params: lsp.DidCloseNotebookDocumentParams) -> None:
        session.forget(params.notebook_document.uri)


def _questions(server: TricklintServer) -> None:
    session = server.session

    @server.feature(
        lsp.TEXT_DOCUMENT_DIAGNOSTIC,
        lsp.DiagnosticOptions(inter_file_dependencies=True, workspace_diagnostics=False, identifier="tricklint"),
    )
    async def pulled(params: lsp.DocumentDiagnosticParams) -> lsp.DocumentDiagnosticReport:
        uri = params.text_document.uri
        document = session.documents.at(uri, server.workspace)
        if document is None:
            return lsp.RelatedFullDocumentDiagnosticReport([])
        await session.settled(document)
        found = session.diagnostics(document).get(uri, [])
        mark = f"{hash(repr(found)):x}"
        if mark == params.previous_result_id:
            return lsp.RelatedUnchangedDocumentDiagnosticReport(mark)
        return lsp.RelatedFullDocumentDiagnosticReport(found, result_id=mark)

    @server.feature(lsp.TEXT_DOCUMENT_HOVER)
    def hover(params: lsp.HoverParams) -> lsp.Hover | None:
        document = session.documents.at(params.text_document.uri, server.workspace)
        if document is None or document.seen is None or document.seen.version != document.version:
            return None
        at, places = params.position, session.places
        for finding, shown in actions.at(document.seen, params.text_document.uri, lsp.Range(at, at), places):
            start, end = shown.range.start, shown.range.end
            if (start.line, start.character) <= (at.line, at.character) <= (end.line, end.character):
                return show.hover(finding, session.pages, places)
        return None


def _code_actions(server: TricklintServer) -> None:
    session = server.session

    @server.feature(
        lsp.TEXT_DOCUMENT_CODE_ACTION, lsp.CodeActionOptions(code_action_kinds=actions.KINDS, resolve_provider=True)
    )
    async def offered(params: lsp.CodeActionParams) -> list[lsp.CodeAction]:
        uri, only = params.text_document.uri, params.context.only
        document = session.documents.at(uri, server.workspace)
        if document is None:
            return []
        found: list[lsp.CodeAction] = []
        seen = document.seen
        # When the text moved on, edits would hit the wrong place.
        if seen and seen.version == document.version and actions.wanted("quickfix", only):
            places = session.places
            for finding, shown in actions.at(seen, uri, params.range, places):
                found += actions.quick_fixes(seen, finding, shown, places)
        if actions.wanted(actions.FIX_ALL, only) and (only or (seen and seen.fixable)):
            if _resolves(server.client_capabilities):
                found.append(actions.fix_all(document))
            elif only and (edit := await session.fix_all(document)) and edit.changes:
                found.append(actions.fix_all(document, edit))
        return found

    @server.feature(lsp.CODE_ACTION_RESOLVE)
    async def resolved(action: lsp.CodeAction) -> lsp.CodeAction:
        uri = action.data.get("uri", "") if isinstance(action.data, dict) else ""
        document = session.documents.at(uri, server.workspace)
        if document is not None:
            action.edit = await session.fix_all(document) or lsp.WorkspaceEdit(changes={})
        return action


def _resolves(capabilities: lsp.ClientCapabilities) -> bool:
    """Whether the editor can ask for the edit of an action later."""
    text = capabilities.text_document
    support: lsp.ClientCodeActionResolveOptions | None = (
        text.code_action.resolve_support if text and text.code_action else None
    )
    properties: Iterable[str] = support.properties if support else ()
    return "edit" in properties
