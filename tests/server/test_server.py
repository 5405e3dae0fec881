"""The language server, spoken to by a real client over its standard input and output."""

from __future__ import annotations

import asyncio
import sys
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("pygls")

from lsprotocol import types as lsp
from pygls.lsp.client import LanguageClient

from tests.cli.conftest import Project

TEXT = "import torch\nname = '𝛼'; mistake = 1\n"


async def talk(root: Path, text: str) -> tuple[list[Any], list[Any], list[Any]]:
    """Open a document, change it; (diagnostics after opening, actions at the first of them, diagnostics at the end)."""
    client = LanguageClient("test", "1")
    published: asyncio.Queue[lsp.PublishDiagnosticsParams] = asyncio.Queue()

    @client.feature(lsp.TEXT_DOCUMENT_PUBLISH_DIAGNOSTICS)
    def received(params: lsp.PublishDiagnosticsParams) -> None:
        published.put_nowait(params)

    await client.start_io(sys.executable, "-m", "tricklint", "server")
    try:
        await client.initialize_async(
            lsp.InitializeParams(
                capabilities=lsp.ClientCapabilities(),
                root_uri=root.as_uri(),
                initialization_options={"trusted": True},  # the rules are the project's own
            )
        )
        client.initialized(lsp.InitializedParams())
        uri = (root / "a.py").as_uri()
        document = lsp.TextDocumentItem(uri, "python", 1, text)
        client.text_document_did_open(lsp.DidOpenTextDocumentParams(document))
        opened = (await asyncio.wait_for(published.get(), 30)).diagnostics
        span = opened[0].range
        params = lsp.CodeActionParams(lsp.TextDocumentIdentifier(uri), span, lsp.CodeActionContext(list(opened)))
        actions = await client.text_document_code_action_async(params)
        whole = lsp.TextDocumentContentChangeWholeDocument("import torch\n")
        version = lsp.VersionedTextDocumentIdentifier(2, uri)
        client.text_document_did_change(lsp.DidChangeTextDocumentParams(version, [whole]))
        changed = (await asyncio.wait_for(published.get(), 30)).diagnostics
        await client.shutdown_async(None)
        client.exit(None)
    finally:
        await client.stop()
    return list(opened), list(actions or []), list(changed)


@pytest.mark.slow
def test_diagnostics_and_quick_fixes(project: Project) -> None:
    opened, actions, changed = asyncio.run(talk(project.root, TEXT))
    assert len(opened) == 1, opened
    (diagnostic,) = opened
    assert (diagnostic.code, diagnostic.source) == ("XYZ101", "tricklint")
    # Clients count UTF-16 units unless they say otherwise: the letter before takes two.
    assert (diagnostic.range.start.line, diagnostic.range.start.character) == (1, 13)
    assert diagnostic.related_information[0].message == "the file starts here"
    fix, ignore = actions
    (edit,) = next(iter(fix.edit.changes.values()))
    assert (fix.title, edit.new_text, edit.range) == ("tricklint: say mended", "mended", diagnostic.range)
    (edit,) = next(iter(ignore.edit.changes.values()))
    assert edit.new_text == "name = '𝛼'; mistake = 1  # tricklint: ignore[XYZ101]"
    assert changed == []


@pytest.mark.slow
def test_a_file_that_cannot_be_parsed_shows_why(project: Project) -> None:
    opened, _, _ = asyncio.run(talk(project.root, "import torch\nprint 'x'\n"))
    assert "cannot be parsed" in opened[0].message
    assert opened[0].range.start.line == 1
