"""Files kept between runs: read again when they changed, parsed once."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from tricklint.source.shelf import Shelf
from tricklint.source.text import Source, SourceError

LONG_AGO = 1_600_000_000_000_000_000


def written(path: Path, text: str, stamp: int = LONG_AGO) -> Path:
    path.write_text(text)
    os.utime(path, ns=(stamp, stamp))
    return path


def test_a_file_is_read_once_while_its_stamp_stays(tmp_path: Path) -> None:
    path, shelf = written(tmp_path / "a.py", "a = 1\n"), Shelf()
    first = shelf.read(path)
    tree = first.source.tree
    assert shelf.read(path) is first
    assert shelf.read(path).source.tree is tree
    written(path, "a = 2\n", LONG_AGO + 1)
    assert shelf.read(path).source.text == "a = 2\n"


def test_a_change_under_a_fresh_stamp_is_seen(tmp_path: Path) -> None:
    path, shelf = tmp_path / "a.py", Shelf()
    path.write_text("a = 1\n")
    stamp = path.stat().st_mtime_ns
    before = shelf.read(path)
    written(path, "a = 2\n", stamp)
    assert shelf.read(path).source.text == "a = 2\n"
    written(path, "a = 2\n", stamp + 1)
    assert shelf.read(path) is not before


def test_an_equal_text_keeps_its_tree(tmp_path: Path) -> None:
    path, shelf = written(tmp_path / "a.py", "a = 1\n"), Shelf()
    raw = shelf.read(path)
    written(path, "a = 1\n", LONG_AGO + 1)
    assert shelf.read(path) is raw


def test_open_texts_stand_before_the_disk(tmp_path: Path) -> None:
    path, shelf = written(tmp_path / "a.py", "a = 1\n"), Shelf()
    shelf.lay({path: Source.from_text(path, "a = 3\n")})
    opened = shelf.read(path)
    assert opened.source.text == "a = 3\n"
    shelf.lay({path: Source.from_text(path, "a = 3\n")})
    assert shelf.read(path) is opened
    shelf.lay({})
    assert shelf.read(path).source.text == "a = 1\n"


def test_a_file_that_went_is_not_kept(tmp_path: Path) -> None:
    path, shelf = written(tmp_path / "a.py", "a = 1\n"), Shelf()
    shelf.read(path)
    path.unlink()
    with pytest.raises(SourceError, match="cannot be read"):
        shelf.read(path)


def test_the_trees_used_longest_ago_go_first(tmp_path: Path) -> None:
    paths = [written(tmp_path / f"{name}.py", f"{name} = 1\n") for name in "abc"]
    shelf = Shelf()
    for path in (*paths, paths[0]):
        assert shelf.read(path).source.tree.text.endswith("1\n")
    shelf.trim(limit=12)
    assert [shelf.read(path).source.tree_used is not None for path in paths] == [True, False, True]
