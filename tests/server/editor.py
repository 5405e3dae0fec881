"""An editor that speaks to the real server over its standard input and output."""

from __future__ import annotations

import asyncio
import asyncio.subprocess
import contextlib
import sys
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

from lsprotocol import types as lsp
from pygls.lsp.client import LanguageClient

WAIT = 30.0  # seconds, for machines that have other things to do


class Editor:
    """Keeps what the server shows, by URI."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.client = LanguageClient("test", "1")
        self.shown: dict[str, list[lsp.Diagnostic]] = {}
        self.published: list[lsp.PublishDiagnosticsParams] = []
        self.messages: list[str] = []
        self.result: lsp.InitializeResult
        self.refreshes = 0
        self.registered: list[str] = []
        self._news = asyncio.Event()
        self._versions: dict[str, int] = {}

        @self.client.feature(lsp.TEXT_DOCUMENT_PUBLISH_DIAGNOSTICS)
        def published(params: lsp.PublishDiagnosticsParams) -> None:
            self.published.append(params)
            self.shown[params.uri] = list(params.diagnostics)
            self._news.set()

        @self.client.feature(lsp.WINDOW_SHOW_MESSAGE)
        def message(params: lsp.ShowMessageParams) -> None:
            self.messages.append(params.message)
            self._news.set()

        @self.client.feature(lsp.WORKSPACE_DIAGNOSTIC_REFRESH)
        def refresh(params: None) -> None:
            self.refreshes += 1
            self._news.set()

        @self.client.feature(lsp.CLIENT_REGISTER_CAPABILITY)
        def register(params: lsp.RegistrationParams) -> None:
            self.registered += [registration.method for registration in params.registrations]
            self._news.set()

    async def start(self, capabilities: lsp.ClientCapabilities, options: dict[str, Any]) -> lsp.InitializeResult:
        await self.client.start_io(sys.executable, "-m", "tricklint", "server")
        params = lsp.InitializeParams(
            capabilities=capabilities, root_uri=self.root.as_uri(), initialization_options=options
        )
        result = await asyncio.wait_for(self.client.initialize_async(params), WAIT)
        self.client.initialized(lsp.InitializedParams())
        return result

    @property
    def server_pid(self) -> int:
        server = self.client._server
        assert isinstance(server, asyncio.subprocess.Process)
        return server.pid

    def uri(self, name: str) -> str:
        return name if ":" in name else (self.root / name).as_uri()

    def open(self, name: str, text: str | None = None, language: str = "python") -> str:
        uri = self.uri(name)
        text = (self.root / name).read_text() if text is None else text
        self._versions[uri] = 1
        self.client.text_document_did_open(lsp.DidOpenTextDocumentParams(lsp.TextDocumentItem(uri, language, 1, text)))
        return uri

    def change(self, uri: str, text: str) -> int:
        self._versions[uri] += 1
        version = lsp.VersionedTextDocumentIdentifier(self._versions[uri], uri)
        whole = lsp.TextDocumentContentChangeWholeDocument(text)
        self.client.text_document_did_change(lsp.DidChangeTextDocumentParams(version, [whole]))
        return self._versions[uri]

    def close(self, uri: str) -> None:
        self.client.text_document_did_close(lsp.DidCloseTextDocumentParams(lsp.TextDocumentIdentifier(uri)))

    async def until(self, holds: Callable[[], bool], seconds: float = WAIT) -> None:
        """Wait until something holds; fails with what is shown when it does not come."""
        try:
            await asyncio.wait_for(self._until(holds), seconds)
        except asyncio.TimeoutError:
            raise AssertionError(f"still shown: {self.codes()}, said: {self.messages}") from None

    async def _until(self, holds: Callable[[], bool]) -> None:
        while not holds():
            self._news.clear()
            await self._news.wait()

    async def shows(self, uri: str, *codes: str) -> list[lsp.Diagnostic]:
        """Wait until a document shows exactly these codes."""
        await self.until(lambda: uri in self.shown and sorted(map(_code, self.shown[uri])) == sorted(codes))
        return self.shown[uri]

    def codes(self) -> dict[str, list[str]]:
        return {uri.rpartition("/")[2]: [_code(one) for one in found] for uri, found in self.shown.items()}

    async def actions(
        self, uri: str, *, only: list[str] | None = None, span: lsp.Range | None = None
    ) -> list[lsp.CodeAction]:
        span = span or lsp.Range(lsp.Position(0, 0), lsp.Position(10_000, 0))
        params = lsp.CodeActionParams(
            lsp.TextDocumentIdentifier(uri), span, lsp.CodeActionContext(self.shown.get(uri, []), only)
        )
        found = await asyncio.wait_for(self.client.text_document_code_action_async(params), WAIT)
        return [action for action in found or [] if isinstance(action, lsp.CodeAction)]


def _code(diagnostic: lsp.Diagnostic) -> str:
    return str(diagnostic.code or diagnostic.message)


@contextlib.asynccontextmanager
async def editing(
    root: Path, capabilities: lsp.ClientCapabilities | None = None, **options: Any
) -> AsyncIterator[Editor]:
    """An editor in `root`, ended in good order."""
    editor = Editor(root)
    editor.result = await editor.start(capabilities or lsp.ClientCapabilities(), options)
    try:
        yield editor
    finally:  # `stop` waits for the server, which ends when it is told to
        await asyncio.wait_for(editor.client.shutdown_async(None), WAIT)
        editor.client.exit(None)
        await editor.client.stop()
