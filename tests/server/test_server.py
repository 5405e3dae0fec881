"""The language server, spoken to by a real client over its standard input and output."""

from __future__ import annotations

import asyncio
import os
import signal
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("pygls")

from lsprotocol import types as lsp

from tests.cli.conftest import Project
from tests.server.conftest import FREEZE, NET, TRAIN
from tests.server.editor import editing

needs_proc = pytest.mark.skipif(not Path("/proc/self/task").exists(), reason="looks into /proc")
TEXT = "import torch\nname = '𝛼'; mistake = 1\n"


def test_diagnostics_and_quick_fixes(project: Project) -> None:
    async def talk() -> None:
        async with editing(project.root, trusted=True) as editor:
            uri = editor.open("a.py", TEXT)
            (diagnostic,) = await editor.shows(uri, "XYZ101")
            assert diagnostic.source == "tricklint"
            assert diagnostic.code_description is None  # the page of a local rule is nowhere
            # Clients count UTF-16 units unless they say otherwise: the letter before takes two.
            assert (diagnostic.range.start.line, diagnostic.range.start.character) == (1, 13)
            assert [one.message for one in diagnostic.related_information or []] == ["the file starts here"]
            fix, ignore = await editor.actions(uri)
            assert list(fix.diagnostics or []) == list(ignore.diagnostics or []) == [diagnostic]
            (edit,) = edits(fix, uri)
            assert (fix.title, edit.new_text, edit.range) == ("tricklint: say mended", "mended", diagnostic.range)
            (edit,) = edits(ignore, uri)
            assert edit.new_text == "name = '𝛼'; mistake = 1  # tricklint: ignore[XYZ101]"
            editor.change(uri, "import torch\n")
            await editor.shows(uri)

    asyncio.run(talk())


def edits(action: lsp.CodeAction, uri: str) -> list[Any]:
    assert action.edit is not None and action.edit.changes is not None
    return list(action.edit.changes[uri])


@pytest.mark.parametrize(
    ("encoding", "column"),
    [
        (lsp.PositionEncodingKind.Utf8, 15),
        (lsp.PositionEncodingKind.Utf16, 13),
        (lsp.PositionEncodingKind.Utf32, 12),
    ],
)
def test_columns_are_counted_as_the_client_counts(
    project: Project, encoding: lsp.PositionEncodingKind, column: int
) -> None:
    async def talk() -> None:
        general = lsp.GeneralClientCapabilities(position_encodings=[encoding])
        async with editing(project.root, lsp.ClientCapabilities(general=general), trusted=True) as editor:
            assert editor.result.capabilities.position_encoding == encoding
            uri = editor.open("a.py", TEXT)
            (diagnostic,) = await editor.shows(uri, "XYZ101")
            assert diagnostic.range.start.character == column

    asyncio.run(talk())


def test_a_file_that_cannot_be_parsed_shows_why(training: Project) -> None:
    async def talk() -> None:
        async with editing(training.root) as editor:
            uri = editor.open("a.py", "import torch\nprint 'x'\n")
            await editor.until(lambda: bool(editor.shown.get(uri)))
            (diagnostic,) = editor.shown[uri]
            assert "cannot be parsed" in diagnostic.message
            assert diagnostic.range.start.line == 1

    asyncio.run(talk())


def test_open_documents_that_hang_on_a_change_are_checked_again(training: Project) -> None:
    """Unsaved text counts, in the file itself and in what imports it."""

    async def talk() -> None:
        async with editing(training.root) as editor:
            net = editor.open("net.py")
            await editor.shows(net, "TRK501")
            train = editor.open("train.py")
            await editor.shows(train)
            editor.change(train, TRAIN.replace("model = Net()", "model = None"))
            await editor.shows(net)
            editor.change(train, TRAIN)
            await editor.shows(net, "TRK501")
            editor.change(net, NET.replace("super().__init__()", "super().__init__()\n        self.more = 1"))
            await editor.shows(net, "TRK501")
            (training.root / "train.py").write_text("import torch\n")
            editor.close(train)  # what the disk holds counts again
            await editor.shows(net)

    asyncio.run(talk())


def test_a_changed_configuration_checks_all_again(training: Project) -> None:
    async def talk() -> None:
        async with editing(training.root) as editor:
            net, freeze = editor.open("net.py"), editor.open("freeze.py")
            await editor.shows(net, "TRK501")
            await editor.shows(freeze, "TRK107")
            training.write({"pyproject.toml": '[tool.tricklint]\nignore = ["TRK1", "TRK5"]\n'})
            await editor.shows(net)
            await editor.shows(freeze)

    asyncio.run(talk())


def test_files_are_watched_where_the_editor_can(training: Project) -> None:
    async def talk() -> None:
        watched = lsp.DidChangeWatchedFilesClientCapabilities(dynamic_registration=True)
        workspace = lsp.WorkspaceClientCapabilities(did_change_watched_files=watched)
        async with editing(training.root, lsp.ClientCapabilities(workspace=workspace)) as editor:
            await editor.until(lambda: editor.registered == [lsp.WORKSPACE_DID_CHANGE_WATCHED_FILES])
            net = editor.open("net.py")
            await editor.shows(net, "TRK501")
            training.write({"train.py": "import torch\n"})
            change = lsp.FileEvent(editor.uri("train.py"), lsp.FileChangeType.Changed)
            editor.client.workspace_did_change_watched_files(lsp.DidChangeWatchedFilesParams([change]))
            await editor.shows(net)

    asyncio.run(talk())


def test_a_wrong_configuration_is_shown_once(training: Project) -> None:
    async def talk() -> None:
        training.write({"pyproject.toml": '[tool.tricklint]\nslect = ["TRK1"]\n'})
        async with editing(training.root) as editor:
            uri = editor.open("freeze.py")
            await editor.shows(uri)
            for number in range(3):
                editor.change(uri, f"{FREEZE}# {number}\n")
                shown = len(editor.published)
                await editor.until(lambda shown=shown: len(editor.published) > shown)
            (message,) = editor.messages
            assert "pyproject.toml" in message and "slect" in message and "did you mean 'select'?" in message
            training.write({"pyproject.toml": "[tool.tricklint]\n"})
            await editor.shows(uri, "TRK107")

    asyncio.run(talk())


def test_code_of_a_project_is_run_only_where_it_is_trusted(project: Project) -> None:
    async def talk() -> None:
        project.write({"freeze.py": FREEZE + "mistake = 1\n"})
        async with editing(project.root) as editor:
            uri = editor.open("freeze.py")
            await editor.shows(uri, "TRK107")
            editor.change(uri, FREEZE + "mistake = 2\n")
            await editor.shows(uri, "TRK107")
            assert len(editor.messages) == 1
            assert "rule-paths" in editor.messages[0] and "trusted" in editor.messages[0]
        async with editing(project.root, trusted=True) as editor:
            await editor.shows(editor.open("freeze.py"), "TRK107", "XYZ101")

    asyncio.run(talk())


def test_what_check_passes_by_shows_nothing(training: Project) -> None:
    names = [
        "mine/freeze.py",
        ".venv/freeze.py",
        "env/lib/site-packages/pkg/freeze.py",
        "build/freeze.py",
        "log/freeze.py",
    ]

    async def talk() -> None:
        training.write(dict.fromkeys(names, FREEZE))
        training.write({".git/HEAD": "", ".gitignore": "log/\n"})
        training.write({"pyproject.toml": '[tool.tricklint]\nextend-exclude = ["mine"]\n'})
        async with editing(training.root) as editor:
            for name in names:
                await editor.shows(editor.open(name))
            await editor.shows(editor.open("freeze.py"), "TRK107")
            assert {uri for uri, found in editor.shown.items() if found} == {editor.uri("freeze.py")}

    asyncio.run(talk())


def test_text_that_is_in_no_file(training: Project) -> None:
    async def talk() -> None:
        async with editing(training.root) as editor:
            uri = editor.open("untitled:Untitled-1", TRAIN + FREEZE)
            await editor.shows(uri, "TRK107")
            other = editor.open("untitled:Untitled-2", "not Python\n", language="plaintext")
            fix, *_ = await editor.actions(uri)
            assert edits(fix, uri)
            assert other not in editor.shown

    asyncio.run(talk())


def test_hover_shows_the_page_of_the_rule(training: Project) -> None:
    async def talk() -> None:
        async with editing(training.root) as editor:
            uri = editor.open("freeze.py")
            (diagnostic,) = await editor.shows(uri, "TRK107")
            assert diagnostic.code_description is not None
            assert "noop-freeze" in diagnostic.code_description.href
            where = lsp.TextDocumentIdentifier(uri)
            hover = await editor.client.text_document_hover_async(lsp.HoverParams(where, diagnostic.range.start))
            assert hover is not None and isinstance(hover.contents, lsp.MarkupContent)
            assert hover.contents.value.startswith("**TRK107 noop-freeze**")
            assert "## Why it costs" in hover.contents.value
            assert hover.range == diagnostic.range
            elsewhere = lsp.HoverParams(where, lsp.Position(0, 0))
            assert await editor.client.text_document_hover_async(elsewhere) is None

    asyncio.run(talk())


def test_diagnostics_that_the_editor_asks_for(training: Project) -> None:
    async def talk() -> None:
        capabilities = lsp.ClientCapabilities(
            text_document=lsp.TextDocumentClientCapabilities(diagnostic=lsp.DiagnosticClientCapabilities()),
            workspace=lsp.WorkspaceClientCapabilities(
                diagnostics=lsp.DiagnosticWorkspaceClientCapabilities(refresh_support=True)
            ),
        )
        async with editing(training.root, capabilities) as editor:
            net, train = editor.open("net.py"), editor.open("train.py")

            async def pull(uri: str, mark: str | None = None) -> Any:
                params = lsp.DocumentDiagnosticParams(lsp.TextDocumentIdentifier(uri), previous_result_id=mark)
                return await asyncio.wait_for(editor.client.text_document_diagnostic_async(params), 30)

            async def pulled(uri: str, *codes: str) -> Any:
                while True:
                    seen = editor.refreshes  # a refresh may come while the answer is on its way
                    report = await pull(uri)
                    if [one.code for one in report.items] == list(codes):
                        return report
                    await editor.until(lambda seen=seen: editor.refreshes > seen)

            report = await pulled(net, "TRK501")
            assert (await pull(net, report.result_id)).kind == "unchanged"
            editor.change(train, "import torch\n")
            await pulled(net)
            assert editor.published == []

    asyncio.run(talk())


def test_everything_is_mended_at_once(training: Project, tmp_path: Path) -> None:
    text = FREEZE + "\n\ndef later():\n    other = nn.Linear(2, 2)\n    other.requires_grad = False\n    return other\n"
    mended = text.replace("model.requires_grad = False", "model.requires_grad_(False)").replace(
        "other.requires_grad = False", "other.requires_grad_(False)"
    )

    async def talk() -> None:
        async with editing(project_root) as editor:
            uri = editor.open("freeze.py", text)
            await editor.shows(uri, "TRK107", "TRK107")
            for only in (["source.fixAll"], ["source.fixAll.tricklint"], ["source"]):
                (action,) = await editor.actions(uri, only=only)
                assert action.kind == "source.fixAll.tricklint"
                assert applied(text, edits(action, uri)) == mended
            assert await editor.actions(uri, only=["source.organizeImports"]) == []

    async def talk_lazily() -> None:
        resolve = lsp.ClientCodeActionResolveOptions(["edit"])
        support = lsp.CodeActionClientCapabilities(resolve_support=resolve)
        capabilities = lsp.ClientCapabilities(text_document=lsp.TextDocumentClientCapabilities(code_action=support))
        async with editing(project_root, capabilities) as editor:
            uri = editor.open("freeze.py", text)
            await editor.shows(uri, "TRK107", "TRK107")
            (action,) = await editor.actions(uri, only=["source.fixAll"])
            assert action.edit is None
            action = await editor.client.code_action_resolve_async(action)
            assert applied(text, edits(action, uri)) == mended

    project_root = training.root
    training.write({"pyproject.toml": '[tool.tricklint]\nfix-level = "unsafe"\nselect = ["TRK107"]\n'})
    asyncio.run(talk())
    asyncio.run(talk_lazily())


def applied(text: str, changes: list[Any]) -> str:
    rows = text.splitlines(keepends=True)
    for edit in sorted(changes, key=lambda edit: edit.range.start.line, reverse=True):
        first, last = edit.range.start, edit.range.end
        assert first.character == last.character == 0
        rows[first.line : last.line] = [edit.new_text]
    return "".join(rows)


@needs_proc
def test_many_fast_changes_leave_no_queue_and_no_memory(training: Project) -> None:
    """Only the last of them is checked, and nothing of the others is kept."""

    async def talk() -> None:
        async with editing(training.root) as editor:
            uri = editor.open("freeze.py")
            await editor.shows(uri, "TRK107")
            before = memory(editor.server_pid)
            shown = len(editor.published)
            for number in range(500):
                last = editor.change(uri, f"{FREEZE}# {number}\n" + "# padding\n" * 500)
                await asyncio.sleep(0.002)
            await editor.until(lambda: editor.published[-1].version == last)
            await editor.shows(uri, "TRK107")
            assert len(editor.published) - shown < 100
            await asyncio.sleep(0.5)
            assert editor.published[-1].version == last
            assert sum(memory(editor.server_pid)) - sum(before) < 60

    asyncio.run(talk())


def memory(pid: int) -> list[int]:
    """MB of the server and of its worker."""
    children = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
    found = []
    for each in (pid, *map(int, children)):
        lines = Path(f"/proc/{each}/status").read_text().splitlines()
        found.append(next(int(line.split()[1]) // 1024 for line in lines if line.startswith("VmRSS")))
    return found


@needs_proc
def test_a_worker_that_ends_is_started_again(training: Project) -> None:
    async def talk() -> None:
        async with editing(training.root) as editor:
            uri = editor.open("freeze.py")
            await editor.shows(uri, "TRK107")
            pid = editor.server_pid
            (worker,) = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
            os.kill(int(worker), signal.SIGKILL)
            editor.change(uri, FREEZE.replace("model.requires_grad = False", "pass"))
            await editor.shows(uri)
            assert Path(f"/proc/{pid}/task/{pid}/children").read_text().split() != [worker]

    asyncio.run(talk())
