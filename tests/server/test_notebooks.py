"""Notebooks as an editor sends them, cell by cell."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

pytest.importorskip("pygls")

from lsprotocol import types as lsp

from tests.cli.conftest import Project
from tests.server.editor import Editor, editing

CAPABILITIES = lsp.ClientCapabilities(
    notebook_document=lsp.NotebookDocumentClientCapabilities(lsp.NotebookDocumentSyncClientCapabilities())
)
CELLS = [
    ("markdown", "# A title"),
    ("python", "%matplotlib inline\nimport torch\nfrom torch import nn"),
    ("python", "model = nn.Linear(8, 2)\nmodel.requires_grad = False"),
]


def opened(editor: Editor, name: str, cells: list[tuple[str, str]]) -> list[str]:
    uris = [f"vscode-notebook-cell:{editor.root}/{name}#{index}" for index in range(len(cells))]
    kinds = [lsp.NotebookCellKind.Markup if one == "markdown" else lsp.NotebookCellKind.Code for one, _ in cells]
    notebook = lsp.NotebookDocument(
        editor.uri(name), "jupyter-notebook", 1, [lsp.NotebookCell(kind, uri) for kind, uri in zip(kinds, uris)]
    )
    texts = [lsp.TextDocumentItem(uri, language, 1, text) for uri, (language, text) in zip(uris, cells)]
    editor.client.notebook_document_did_open(lsp.DidOpenNotebookDocumentParams(notebook, texts))
    return uris


def changed(editor: Editor, name: str, cells: lsp.NotebookDocumentCellChanges) -> None:
    identifier = lsp.VersionedNotebookDocumentIdentifier(2, editor.uri(name))
    change = lsp.NotebookDocumentChangeEvent(cells=cells)
    editor.client.notebook_document_did_change(lsp.DidChangeNotebookDocumentParams(identifier, change))


def test_findings_and_fixes_stand_in_cells(training: Project) -> None:
    async def talk() -> None:
        async with editing(training.root, CAPABILITIES) as editor:
            assert editor.result.capabilities.notebook_document_sync is not None
            title, imports, model = opened(editor, "n.ipynb", CELLS)
            (diagnostic,) = await editor.shows(model, "TRK107")
            assert (diagnostic.range.start.line, diagnostic.range.start.character) == (1, 0)
            assert editor.shown[title] == editor.shown[imports] == []
            fix, ignore = (one for one in await editor.actions(model) if one.kind == lsp.CodeActionKind.QuickFix)
            assert edit_of(fix, model).new_text.strip().endswith("requires_grad_(False)")
            silenced = edit_of(ignore, model)
            assert silenced.new_text == "model.requires_grad = False  # tricklint: ignore[TRK107]"
            assert (silenced.range.start.line, silenced.range.end.character) == (1, 27)

            text = lsp.NotebookDocumentCellContentChanges(
                lsp.VersionedTextDocumentIdentifier(2, model),
                [lsp.TextDocumentContentChangeWholeDocument("\n\n" + CELLS[2][1])],
            )
            changed(editor, "n.ipynb", lsp.NotebookDocumentCellChanges(text_content=[text]))
            await editor.until(lambda: [one.range.start.line for one in editor.shown[model]] == [3])
            gone = lsp.NotebookDocumentCellChangeStructure(
                lsp.NotebookCellArrayChange(2, 1), did_close=[lsp.TextDocumentIdentifier(model)]
            )
            changed(editor, "n.ipynb", lsp.NotebookDocumentCellChanges(structure=gone))
            await editor.shows(model)

    asyncio.run(talk())


def edit_of(action: lsp.CodeAction, uri: str) -> Any:
    assert action.edit is not None and action.edit.changes is not None
    (edit,) = action.edit.changes[uri]
    return edit


def test_everything_is_mended_at_once(training: Project) -> None:
    async def talk() -> None:
        async with editing(training.root, CAPABILITIES) as editor:
            *_, model = opened(editor, "n.ipynb", CELLS)
            await editor.shows(model, "TRK107")
            (action,) = await editor.actions(model, only=["source.fixAll"])
            assert action.edit is not None and action.edit.changes is not None
            assert list(action.edit.changes) == [model]
            assert "requires_grad_(False)" in edit_of(action, model).new_text

    training.write({"pyproject.toml": '[tool.tricklint]\nfix-level = "unsafe"\nselect = ["TRK107"]\n'})
    asyncio.run(talk())


def test_a_cell_that_cannot_be_parsed_shows_why(training: Project) -> None:
    async def talk() -> None:
        async with editing(training.root, CAPABILITIES) as editor:
            *_, broken = opened(editor, "n.ipynb", [*CELLS, ("python", "x = 1\nif x")])
            await editor.until(lambda: bool(editor.shown.get(broken)))
            assert "cannot be parsed" in editor.shown[broken][0].message
            assert editor.shown[broken][0].range.start.line == 1

    asyncio.run(talk())
