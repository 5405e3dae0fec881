"""Positions are those of the text as it stands, also where libcst gives another text back."""

from __future__ import annotations

import ast
from pathlib import Path

import libcst as cst
import pytest
from click.testing import CliRunner
from hypothesis import example, given, settings
from hypothesis import strategies as st

from tests.hostile.conftest import BAD, Clone
from tricklint.cli import main
from tricklint.source.alignment import Alignment, Misread
from tricklint.source.text import Source
from tricklint.source.tree import Tree, walk

PIECES = [
    "x = 1",
    "if a:",
    "    y = 2",
    "f(z)",
    "\f",
    "\\",
    "    \\",
    "  ",
    "# c",
    "s = '\f'",
    "t = '''\n\f\\\n'''",
    "\t",
    "",
]
ENDS = ["\n", "\r\n", "\r", "\n\f", "\n\\\n", "\n \f", " \\\n", "\f\n"]


def names_stand_where_they_say(text: str) -> None:
    tree = Tree(Path("a.py"), text)
    for node in walk(tree.module):
        if isinstance(node, (cst.Name, cst.Integer)):
            start, end = tree.span(node)
            rows = Source.from_text(Path("a.py"), text).lines
            assert tree.code(node) == node.value
            assert start.row == end.row and rows[start.row - 1][start.column - 1 : end.column - 1] == node.value
        elif isinstance(node, cst.SimpleStatementLine):
            assert tree.text[slice(*tree.offsets(node))].strip(" \t\f\\\r\n")[:1] not in ("", "#")


@given(st.lists(st.tuples(st.sampled_from(PIECES), st.sampled_from(ENDS)), max_size=8))
@settings(max_examples=300, deadline=None)
@example([("x = 1", "\n\f"), ("f(z)", "\n")])
@example([("x = 1", "\n\\\n"), ("f(z)", "\n")])
@example([("if a:", "\n\f"), ("    y = 2", "\r")])
@example([("    \\", "\r"), ("\x0c", "\n"), ("x = 1", "\n")])
def test_names_stand_where_they_say(pieces: list[tuple[str, str]]) -> None:
    text = "".join(map("".join, pieces))
    try:
        ast.parse(text)
        cst.parse_module(text.lstrip("\f"))
    except (SyntaxError, cst.ParserSyntaxError):
        return
    try:
        names_stand_where_they_say(text)
    except Misread:  # refused: no position of it is used
        return


def test_another_text_is_refused() -> None:
    with pytest.raises(Misread, match="row 2"):
        Alignment("a\nb\n", "a\nc\n")
    with pytest.raises(Misread):
        Alignment("a\n", "a\nb")


ROWS = BAD.splitlines()


@pytest.mark.parametrize("row", range(len(ROWS) - 2))
@pytest.mark.parametrize("insert", ["\f", "\\\n", "\f\f", "\f\\\n"])
def test_fixes_are_written_where_they_belong(clone: Clone, row: int, insert: str) -> None:
    """A form feed before a row, or a row that is a lone backslash: mended like the plain text."""
    rows = [*ROWS[:row], insert + ROWS[row], *ROWS[row + 1 :]]
    if row > 5:
        rows[row] = insert + ROWS[row]
    clone.write({"train.py": "\n".join(rows) + "\n", "plain.py": BAD})
    ran = CliRunner().invoke(main, ["check", "--no-cache", "--fix", "train.py", "plain.py"], catch_exceptions=False)
    assert ran.exit_code in (0, 1), ran.output
    mended, plain = (clone.root / "train.py").read_text(), (clone.root / "plain.py").read_text()
    assert "zero_grad()" in plain
    assert ast.dump(ast.parse(mended)) == ast.dump(ast.parse(plain))
    assert mended.replace(insert, "") == plain


def test_lone_carriage_returns(clone: Clone) -> None:
    clone.write({"train.py": BAD.replace("\n", "\r"), "plain.py": BAD})
    CliRunner().invoke(main, ["check", "--no-cache", "--fix", "train.py", "plain.py"], catch_exceptions=False)
    mended = (clone.root / "train.py").read_bytes()
    assert mended.replace(b"\r", b"\n") == (clone.root / "plain.py").read_bytes()


@pytest.mark.parametrize("encoding", ["latin-1", "utf-8", "utf-16", "cp1252", "shift-jis"])
def test_an_editors_text_is_what_it_says_whatever_its_cookie(encoding: str) -> None:
    text = (
        f"# -*- coding: {encoding} -*-\nname = 'é'\nx = 1\n"
        if encoding != "shift-jis"
        else "# coding: shift-jis\nx = 'あ'\n"
    )
    source = Source.from_text(Path("a.py"), text)
    assert source.text == text
    assert source.with_text(text.replace("x", "why")).text == text.replace("x", "why")
