"""Open documents: where each stands for the checker, what it holds, and how places in it look to the editor."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from lsprotocol import types as lsp
from pygls.uris import from_fs_path, to_fs_path
from pygls.workspace import Workspace

from tricklint.finding import Finding, Location
from tricklint.source.text import Problem, Source, SourceError

_SCHEMES = ("file", "untitled")


@dataclass
class Seen:
    """What was last found in a document, in the text of that version. `whole`: the last check that followed all."""

    version: int
    source: Source
    findings: tuple[Finding, ...] = ()
    problems: tuple[Problem, ...] = ()
    whole: Seen | None = None

    @property
    def fixable(self) -> bool:
        return any(finding.fix is not None for finding in self.findings)


@dataclass
class Document:
    """One open document. `version` counts every change, also one of a notebook's cells or of their order."""

    uri: str
    path: Path
    is_notebook: bool = False
    version: int = 0
    seen: Seen | None = None
    shown: set[str] = field(default_factory=set)  # the URIs that diagnostics were published for

    def data(self, workspace: Workspace) -> bytes:
        """The text as a file would hold it; for a notebook a JSON of its cells."""
        if not self.is_notebook:
            return workspace.get_text_document(self.uri).source.encode("utf-8", "surrogatepass")
        cells = [{"cell_type": kind, "source": text} for _, kind, text in self._cells(workspace)]
        return json.dumps({"cells": cells, "metadata": {}, "nbformat": 4, "nbformat_minor": 5}).encode()

    def source(self, workspace: Workspace) -> Source:
        """Raises SourceError when it is no text that Python reads."""
        return Source.from_bytes(self.path, self.data(workspace))

    def uris(self, workspace: Workspace) -> list[str]:
        """The documents that diagnostics stand in: itself, or the cells of a notebook."""
        return [uri for uri, _, _ in self._cells(workspace)] if self.is_notebook else [self.uri]

    def cell_uri(self, workspace: Workspace, index: int | None) -> str:
        uris = self.uris(workspace)
        return uris[index or 0] if (index or 0) < len(uris) else self.uri

    def _cells(self, workspace: Workspace) -> Iterator[tuple[str, str, str]]:
        """(URI, kind, text) of each cell."""
        notebook = workspace.get_notebook_document(notebook_uri=self.uri)
        for cell in notebook.cells if notebook else ():
            text = workspace.get_text_document(cell.document)
            python = cell.kind == lsp.NotebookCellKind.Code and (text.language_id or "python") == "python"
            yield cell.document, "code" if python else "markdown", text.source


class Documents:
    """The open documents by path."""

    def __init__(self) -> None:
        self.by_path: dict[Path, Document] = {}
        self._by_uri: dict[str, Document] = {}

    def __iter__(self) -> Iterator[Document]:
        return iter(list(self.by_path.values()))

    def open(self, uri: str, workspace: Workspace, *, language: str | None = None) -> Document | None:
        """None for what is no Python: another language, another kind of file system."""
        scheme = uri.partition(":")[0]
        notebook = language is None
        if scheme not in _SCHEMES or (not notebook and language != "python"):
            return None
        path = _path(uri, workspace, ".ipynb" if notebook else ".py")
        if path is None or (path.suffix == ".ipynb") is not notebook or path.suffix == ".pyi":
            return None
        document = Document(uri, path, notebook)
        self.by_path[path] = self._by_uri[uri] = document
        return document

    def close(self, uri: str) -> Document | None:
        document = self._by_uri.pop(uri, None)
        if document is not None:
            self.by_path.pop(document.path, None)
        return document

    def at(self, uri: str, workspace: Workspace) -> Document | None:
        """The document that a URI belongs to, which may be that of a notebook's cell."""
        if uri in self._by_uri:
            return self._by_uri[uri]
        notebook = workspace.get_notebook_document(cell_uri=uri)
        return self._by_uri.get(notebook.uri) if notebook else None


def _path(uri: str, workspace: Workspace, suffix: str) -> Path | None:
    """Where a document stands. One that is in no file stands in the first folder of the workspace, which is where its
    imports start."""
    if uri.startswith("file:"):
        name = to_fs_path(uri)
        return Path(name) if name else None
    folder = to_fs_path(next(iter(workspace.folders), "")) or workspace.root_path or str(Path.cwd())
    stem = re.sub(r"\W+", "-", uri.partition(":")[2].removesuffix(suffix)).strip("-") or "untitled"
    path = Path(folder) / f"{stem}{suffix}"
    while path.exists():
        path = path.with_name(f"{path.stem}-{suffix}")
    return path


class Places:
    """From rows and columns of source texts to ranges in the units that the editor counts in."""

    def __init__(self, documents: Documents, workspace: Workspace) -> None:
        self._documents = documents
        self.workspace = workspace
        self._sources: dict[Path, Source | None] = {}

    def source(self, path: Path) -> Source | None:
        if path not in self._sources:
            document = self._documents.by_path.get(path)
            try:
                self._sources[path] = document.source(self.workspace) if document else Source.read(path)
            except SourceError:
                self._sources[path] = None
        return self._sources[path]

    def know(self, source: Source) -> None:
        self._sources[source.path] = source

    def find(self, path: Path, start: Location, end: Location) -> tuple[str, lsp.Range]:
        """(URI, range) of a place in a file; the URI is a cell's in an open notebook."""
        document = self._documents.by_path.get(path)
        source = self.source(path)
        uri = document.uri if document else from_fs_path(str(path)) or path.as_uri()
        if source is None:
            return uri, lsp.Range(lsp.Position(0, 0), lsp.Position(0, 0))
        span = self.range(source.lines, start, end)
        if document is None or not document.is_notebook:
            return uri, span
        cell, first = source.place(start)
        shift = start.row - first.row
        span.start.line -= shift
        span.end.line -= shift
        return document.cell_uri(self.workspace, cell), span

    def range(self, lines: Sequence[str], start: Location, end: Location) -> lsp.Range:
        points = lsp.Range(lsp.Position(start.row - 1, start.column - 1), lsp.Position(end.row - 1, end.column - 1))
        return self.workspace.position_codec.range_to_client_units(lines, points)
