"""What can be done about findings: fixes, comments that silence, and everything at once."""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from difflib import SequenceMatcher

from lsprotocol import types as lsp

from tricklint.finding import Finding, FixLevel, Location
from tricklint.server.documents import Document, Places, Seen
from tricklint.server.show import diagnostic
from tricklint.source.ignores import with_comments
from tricklint.source.text import Source

FIX_ALL = "source.fixAll.tricklint"
_ROW = re.compile(r"[^\r\n]*(?:\r\n|\r|\n)|[^\r\n]+")  # str.splitlines would also end a row at a form feed
KINDS: list[lsp.CodeActionKind | str] = [lsp.CodeActionKind.QuickFix, FIX_ALL]


def wanted(kind: str, only: Sequence[lsp.CodeActionKind | str] | None) -> bool:
    """Whether the editor asks for actions of a kind: `source.fixAll` asks for `source.fixAll.tricklint` too."""
    asked = [one.value if isinstance(one, lsp.CodeActionKind) else one for one in only or ()]
    return only is None or any(one == "" or kind == one or kind.startswith(one + ".") for one in asked)


def at(seen: Seen, uri: str, span: lsp.Range, places: Places) -> list[tuple[Finding, lsp.Diagnostic]]:
    """The findings that touch a range, with their diagnostics."""
    places.know(seen.source)
    found = []
    for finding in seen.findings:
        where, one = diagnostic(finding, places)
        if where == uri and one.range.start.line <= span.end.line and span.start.line <= one.range.end.line:
            found.append((finding, one))
    return found


def quick_fixes(seen: Seen, finding: Finding, shown: lsp.Diagnostic, places: Places) -> list[lsp.CodeAction]:
    """The fix, if there is one, and the comment that silences the finding; both carry their diagnostic."""
    fix = _fix(finding, shown, places)
    return [*([fix] if fix else []), _ignore(seen.source, finding, shown, places)]


def _fix(finding: Finding, shown: lsp.Diagnostic, places: Places) -> lsp.CodeAction | None:
    if finding.fix is None:
        return None
    changes: dict[str, list[lsp.TextEdit]] = {}
    for edit in finding.fix.edits:
        uri, span = places.find(edit.path, edit.location, edit.end_location)
        changes.setdefault(uri, []).append(lsp.TextEdit(span, edit.content))
    level = finding.fix.level
    return lsp.CodeAction(
        f"tricklint: {finding.fix.message}" + ("" if level is FixLevel.SAFE else f" ({level.value})"),
        kind=lsp.CodeActionKind.QuickFix,
        diagnostics=[shown],
        is_preferred=level is not FixLevel.UNSAFE,
        edit=lsp.WorkspaceEdit(changes=changes),
    )


def _ignore(source: Source, finding: Finding, shown: lsp.Diagnostic, places: Places) -> lsp.CodeAction:
    """The row that gets the comment is replaced."""
    text = with_comments(source, [finding])
    after = Source(source.path, b"", text).lines
    changes: dict[str, list[lsp.TextEdit]] = {}
    for row, (old, new) in enumerate(zip(source.lines, after, strict=True), 1):
        if old != new:
            uri, span = places.find(source.path, Location(row, 1), Location(row, len(old) + 1))
            changes.setdefault(uri, []).append(lsp.TextEdit(span, new))
    return lsp.CodeAction(
        f"tricklint: ignore {finding.code} here",
        kind=lsp.CodeActionKind.QuickFix,
        diagnostics=[shown],
        edit=lsp.WorkspaceEdit(changes=changes),
    )


def fix_all(document: Document, edit: lsp.WorkspaceEdit | None = None) -> lsp.CodeAction:
    """Without its edit, which takes several checks: the editor asks for that when it wants it."""
    return lsp.CodeAction("tricklint: fix all", kind=FIX_ALL, edit=edit, data={"uri": document.uri})


def whole_edit(document: Document, before: bytes, after: bytes, places: Places) -> lsp.WorkspaceEdit:
    """What turns a document into its mended text, row by row."""
    if not document.is_notebook:
        edits = _row_edits(before.decode("utf-8", "surrogatepass"), after.decode("utf-8", "surrogatepass"), places)
        return lsp.WorkspaceEdit(changes={document.uri: edits} if edits else {})
    changes = {}
    cells = zip(document.uris(places.workspace), _cell_texts(before), _cell_texts(after), strict=True)
    for uri, old, new in cells:
        if edits := _row_edits(old, new, places):
            changes[uri] = edits
    return lsp.WorkspaceEdit(changes=changes)


def _cell_texts(notebook: bytes) -> list[str]:
    sources = [cell["source"] for cell in json.loads(notebook)["cells"]]
    return [source if isinstance(source, str) else "".join(source) for source in sources]


def _row_edits(before: str, after: str, places: Places) -> list[lsp.TextEdit]:
    old, new = _ROW.findall(before), _ROW.findall(after)
    edits = []
    for tag, first, last, new_first, new_last in SequenceMatcher(None, old, new, autojunk=False).get_opcodes():
        if tag == "equal":
            continue
        if last == len(old) and old and not old[-1].endswith(("\n", "\r")):
            end = Location(len(old), len(old[-1]) + 1)
        else:
            end = Location(last + 1, 1)
        span = places.range([*old, ""], Location(first + 1, 1), end)
        edits.append(lsp.TextEdit(span, "".join(new[new_first:new_last])))
    return edits
