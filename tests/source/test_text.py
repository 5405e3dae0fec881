"""Bytes → text: encodings, newlines, and what cannot be read."""

from __future__ import annotations

import codecs
import os
from pathlib import Path

import pytest

from tricklint.finding import Location
from tricklint.source import Source, SourceError


def read(tmp_path: Path, data: bytes) -> Source:
    path = tmp_path / "a.py"
    path.write_bytes(data)
    return Source.read(path)


@pytest.mark.parametrize(
    ("data", "encoding", "text"),
    [
        (b"", "utf-8", ""),
        ("x = 'α'\n".encode(), "utf-8", "x = 'α'\n"),
        (codecs.BOM_UTF8 + b"x = 1\n", "utf-8-sig", "x = 1\n"),
        (b"# -*- coding: latin-1 -*-\nx = '\xe9'\n", "iso8859-1", "# -*- coding: latin-1 -*-\nx = 'é'\n"),
        (b"#!/usr/bin/python\n# vim: set fileencoding=cp1251 :\nx = '\xe9'\n", "cp1251", None),
        (b"x = 1\n\n# coding: latin-1\n", "utf-8", None),  # too late: row 3
        (b"x = 1\n# coding: latin-1\n", "utf-8", None),  # row 1 is code
    ],
)
def test_encodings(tmp_path: Path, data: bytes, encoding: str, text: str | None) -> None:
    source = read(tmp_path, data)
    assert source.encoding == encoding
    assert text is None or source.text == text
    assert source.encode(source.text) == data


@pytest.mark.parametrize(
    ("data", "row", "message"),
    [
        (b"ok = 1\nname = '\xe9'\n", 2, "byte 0xe9 in column 9 is not UTF-8 and no coding cookie names another"),
        (b"# coding: klingon\n", 1, "unknown encoding 'klingon'"),
        (codecs.BOM_UTF8 + b"# coding: latin-1\n", 1, "the byte order mark says UTF-8"),
        (b"a = 1\nb = '\0'\n", 2, "holds a null byte"),
        ("x = 1\n".encode("utf-16"), 1, "is UTF-16"),
    ],
)
def test_one_clear_line_for_what_is_no_text(tmp_path: Path, data: bytes, row: int, message: str) -> None:
    with pytest.raises(SourceError) as caught:
        read(tmp_path, data)
    assert caught.value.row == row
    assert message in caught.value.message
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("text", "newline"), [("a\r\nb\r\nc\n", "\r\n"), ("a\nb\n", "\n"), ("a\rb\r", "\r"), ("", "\n")]
)
def test_newlines_are_kept(tmp_path: Path, text: str, newline: str) -> None:
    source = read(tmp_path, text.encode())
    assert (source.text, source.newline) == (text, newline)


def test_rows_are_those_of_python(tmp_path: Path) -> None:
    source = read(tmp_path, "a = 1\r\n\fb = '\u2028 \x1c'\nc = 3".encode())
    assert source.lines == ["a = 1", "\fb = '\u2028 \x1c'", "c = 3"]


def test_with_text_keeps_the_encoding_and_refuses_what_it_lacks(tmp_path: Path) -> None:
    source = read(tmp_path, b"# coding: latin-1\nx = '\xe9'\n")
    assert source.with_text(source.text + "y = 2\n").data == b"# coding: latin-1\nx = '\xe9'\ny = 2\n"
    with pytest.raises(SourceError, match="'α' cannot be written in iso8859-1"):
        source.with_text(source.text + "α = 2\n")


def test_missing_and_irregular_files(tmp_path: Path) -> None:
    with pytest.raises(SourceError, match="No such file"):
        Source.read(tmp_path / "missing.py")
    with pytest.raises(SourceError, match="no regular file"):
        Source.read(tmp_path)
    pipe = tmp_path / "pipe.py"
    os.mkfifo(pipe)
    with pytest.raises(SourceError, match="no regular file"):  # opening it would wait for ever
        Source.read(pipe)
    loop = tmp_path / "loop.py"
    loop.symlink_to(loop)
    with pytest.raises(SourceError, match="cannot be read: Too many levels"):
        Source.read(loop)


def test_digest_and_stamp(tmp_path: Path) -> None:
    source = read(tmp_path, b"x = 1\n")
    assert source.digest == Source.from_text(tmp_path / "b.py", "x = 1\n").digest
    assert source.digest != Source.from_text(tmp_path / "b.py", "x = 2\n").digest
    assert source.size == 6
    assert source.mtime_ns == source.path.stat().st_mtime_ns


def test_place_in_a_plain_file_is_the_same(tmp_path: Path) -> None:
    assert read(tmp_path, b"x = 1\n").place(Location(1, 3)) == (None, Location(1, 3))
