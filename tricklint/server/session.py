"""What goes on between an editor and the worker: which documents are open, what was changed, what was found."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine, Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from lsprotocol import types as lsp

from tricklint.server import actions, messages, show
from tricklint.server.documents import Document, Documents, Places, Seen
from tricklint.server.link import Link
from tricklint.server.stamps import Stamps
from tricklint.source.text import Source, SourceError

if TYPE_CHECKING:
    from tricklint.server.app import TricklintServer

DELAY = 0.15  # seconds of rest before a change is checked


class Session:
    """`trusted`: code that the editor's projects bring (`rule-paths`) may be run."""

    def __init__(self, server: TricklintServer) -> None:
        self._server = server
        self.documents = Documents()
        self.trusted = False
        self.stamps: Stamps | None = None  # where the editor does not tell of files that change
        self.pages: dict[str, str] = {}
        self._link = Link(self._receive, lambda message: self.tell(message, lsp.MessageType.Error))
        self._serial = 0
        # What no check has come to the end of yet, with the serial of the check that was last asked to: the newest last.
        self._changed: dict[Path, int] = {}
        self._everything: int | None = None
        self._timer: asyncio.TimerHandle | None = None
        self._told: set[str] = set()
        self._waiting: dict[Path, list[asyncio.Future[None]]] = {}
        self._mending: dict[int, asyncio.Future[messages.Mended]] = {}
        self._tasks: set[asyncio.Future[Any]] = set()

    def spawn(self, work: Coroutine[Any, Any, Any]) -> None:
        task = asyncio.ensure_future(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def start(self) -> None:
        await self._link.start()

    async def close(self) -> None:
        if self._timer:
            self._timer.cancel()
        await self._link.close()

    def tell(self, message: str, kind: lsp.MessageType) -> None:
        """Show something to the user, once until the configuration changes."""
        if message not in self._told:
            self._told.add(message)
            self._server.window_show_message(lsp.ShowMessageParams(kind, f"tricklint: {message}"))

    # -- changes -------------------------------------------------------------------------------------------------------

    def opened(self, path: Path) -> None:
        """A document is opened; what is on disk is looked at anew."""
        if self.stamps is not None:
            self.stamps.opened()
        self.changed([path], delay=0)

    def changed(self, paths: Iterable[Path], *, delay: float = DELAY) -> None:
        """These files are not what they were."""
        for path in paths:
            self._changed.pop(path, None)
            self._changed[path] = self._serial + 1
            if document := self.documents.by_path.get(path):
                document.version += 1
        self._later(delay)

    def all_changed(self) -> None:
        """A configuration is not what it was."""
        self._everything = self._serial + 1
        self._told.clear()
        self._later(0)

    def _later(self, delay: float) -> None:
        """A newer change takes the place of an older one that still waits."""
        if self._timer:
            self._timer.cancel()
        self._timer = asyncio.get_running_loop().call_later(delay, self._check)

    def _check(self) -> None:
        self._timer = None
        self._serial += 1
        open_ = self._open()
        newest_first = tuple(reversed(self._changed))
        everything = self._everything is not None
        asked = frozenset(self.documents.by_path)
        self.spawn(self._link.send(messages.Check(self._serial, open_, newest_first, everything, asked, self.trusted)))

    def _open(self) -> dict[Path, messages.Document]:
        workspace = self._server.workspace
        return {one.path: messages.Document(one.data(workspace), one.version) for one in self.documents}

    # -- what the worker says ------------------------------------------------------------------------------------------

    def _receive(self, message: object) -> None:
        if isinstance(message, messages.Checked):
            self.pages.update(message.pages)
            document = self.documents.by_path.get(message.path)
            if document is not None and document.version == message.version:
                self._saw(document, message)
        elif isinstance(message, messages.Done):
            if not message.stopped:
                self._changed = {path: at for path, at in self._changed.items() if at > message.serial}
                if self._everything is not None and self._everything <= message.serial:
                    self._everything = None
        elif isinstance(message, messages.Mended):
            if waiting := self._mending.pop(message.serial, None):
                waiting.set_result(message)
        elif isinstance(message, messages.Said):
            self.tell(message.message, lsp.MessageType.Error if message.error else lsp.MessageType.Info)

    def _saw(self, document: Document, message: messages.Checked) -> None:
        try:
            source = document.source(self._server.workspace)
        except SourceError:
            source = Source(document.path, b"", "")
        before = document.seen
        seen = Seen(message.version, source, message.findings, message.problems)
        seen.whole = seen if message.whole else before.whole if before else None
        if not message.whole and seen.whole is not None:
            seen.findings += show.carried(seen.whole, seen)
        document.seen = seen
        self._show(document, before)

    # -- what the editor sees ------------------------------------------------------------------------------------------

    @property
    def pulls(self) -> bool:
        """Whether the editor asks for diagnostics, so that they need not be sent."""
        asked = self._server.client_capabilities.text_document
        return asked is not None and asked.diagnostic is not None

    @property
    def places(self) -> Places:
        return Places(self.documents, self._server.workspace)

    def diagnostics(self, document: Document) -> dict[str, list[lsp.Diagnostic]]:
        """By URI; nothing before the first look."""
        return show.diagnostics(document, document.seen, self.places) if document.seen else {}

    def _show(self, document: Document, before: Seen | None) -> None:
        for waiting in self._waiting.pop(document.path, []):
            if not waiting.done():
                waiting.set_result(None)
        if not self.pulls:
            self._publish(document, self.diagnostics(document))
        elif (
            before is not None
            and document.seen is not None
            and (before.findings, before.problems)
            != (
                document.seen.findings,
                document.seen.problems,
            )
        ):
            self._ask_to_pull()

    def _publish(self, document: Document, found: dict[str, list[lsp.Diagnostic]]) -> None:
        uris = dict.fromkeys([*document.uris(self._server.workspace), *found, *document.shown])
        document.shown = set(found)
        for uri in uris:
            text = self._server.workspace.text_documents.get(uri)
            version = text.version if text else None
            self._server.text_document_publish_diagnostics(
                lsp.PublishDiagnosticsParams(uri, found.get(uri, []), version)
            )

    def _ask_to_pull(self) -> None:
        workspace = self._server.client_capabilities.workspace
        if workspace and workspace.diagnostics and workspace.diagnostics.refresh_support:
            self._server.workspace_diagnostic_refresh(None)

    def forget(self, uri: str) -> None:
        """A document was closed: what it showed goes, and others may hang on what its file says instead."""
        document = self.documents.close(uri)
        if document is None:
            return
        if not self.pulls:
            for shown in document.shown:
                self._server.text_document_publish_diagnostics(lsp.PublishDiagnosticsParams(shown, []))
        for waiting in self._waiting.pop(document.path, []):
            waiting.cancel()
        if self.documents.by_path:
            self.changed([document.path])

    async def settled(self, document: Document) -> None:
        """Until the document was looked at as it now stands."""
        while document.seen is None or document.seen.version != document.version:
            if self.documents.by_path.get(document.path) is not document:
                return
            future = asyncio.get_running_loop().create_future()
            self._waiting.setdefault(document.path, []).append(future)
            await future

    async def fix_all(self, document: Document) -> lsp.WorkspaceEdit | None:
        """The edit that makes every fix, None when the document moved on meanwhile."""
        self._serial += 1
        self._mending[self._serial] = future = asyncio.get_running_loop().create_future()
        open_ = self._open()
        self.spawn(self._link.send(messages.Mend(self._serial, open_, document.path, self.trusted)))
        mended = await future
        if mended.data is None or mended.version != document.version:
            return None
        return actions.whole_edit(document, open_[document.path].data, mended.data, self.places)
