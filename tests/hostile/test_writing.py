"""Writing mended files: all of a fix or nothing, the file stays the file it was, nothing is left behind."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.hostile.conftest import BAD, START, Clone
from tricklint.fix import staging
from tricklint.fix.staging import Staged, clean
from tricklint.fix.write import FixError, write_source, write_sources
from tricklint.source.text import Source

# A fix of one finding that rewrites two files, and one that rewrites one.
RULE = """\
from tricklint.finding import Edit, Finding, Fix, FixLevel, Location, Severity
from tricklint.rule import Rule
class Pair(Rule):
    code, name, summary, severity, triggers = "XYZ101", "pair", "A pair.", Severity.ERROR, ("old", "alone")
    fix_level = FixLevel.SAFE
    def check(self, program):
        def edits(word, paths):
            return tuple(
                Edit(path, Location(1, 1), Location(1, len(word) + 1), "new")
                for path in paths if program.sources[path].text.startswith(word)
            )
        paths = sorted(program.sources)
        both = edits("old", paths)
        if both:
            yield Finding(self.code, self.name, self.severity, "two files", both[0].path, Location(1, 1), Location(1, 4),
                          fix=Fix(FixLevel.SAFE, "both", both))
        for one in edits("alone", paths):
            yield Finding(self.code, self.name, self.severity, "one file", one.path, Location(1, 1), Location(1, 6),
                          fix=Fix(FixLevel.SAFE, "one", (one,)))
"""


@pytest.fixture
def pair(clone: Clone) -> Clone:
    (clone.root / "train.py").unlink()
    (clone.root.parent / "rules.py").write_text(RULE)
    clone.write({"a.py": "old = 1\n", "b/b.py": "old = 2\n", "c.py": "alone = 3\n"})
    return clone


def mend(clone: Clone) -> tuple[int, str, str]:
    return clone.check(".", "--fix", "--rule-path", str(clone.root.parent / "rules.py"))


def left(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.rglob("*") if path.is_file())


def test_both_are_written(pair: Clone) -> None:
    assert mend(pair)[0] == 0
    texts = [(pair.root / name).read_text() for name in ("a.py", "b/b.py", "c.py")]
    assert texts == ["new = 1\n", "new = 2\n", "new = 3\n"] and left(pair.root) == ["a.py", "b.py", "c.py"]


@pytest.mark.parametrize("step", ["staging", "replacing"])
@pytest.mark.parametrize("name", ["a.py", "b.py"])
def test_neither_is_written(pair: Clone, monkeypatch: pytest.MonkeyPatch, step: str, name: str) -> None:
    attribute = "_stage" if step == "staging" else "put"
    original: Callable[[Staged], None] = getattr(Staged, attribute)

    def refuse(self: Staged) -> None:
        if self.target.name == name:
            raise FixError(f"{self.old.path}: not rewritten: permission denied")
        original(self)

    monkeypatch.setattr(Staged, attribute, refuse)
    code, out, err = mend(pair)
    texts = [(pair.root / each).read_text() for each in ("a.py", "b/b.py", "c.py")]
    assert texts == ["old = 1\n", "old = 2\n", "new = 3\n"]  # what the fix does not touch is mended
    assert code == 2 and f"{name}: not rewritten: permission denied" in err
    assert "a.py:1:1: XYZ101 pair [*]: two files" in out and "1 finding left" in out
    assert left(pair.root) == ["a.py", "b.py", "c.py"]


def test_what_cannot_be_put_back_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("a.py", "b.py"):
        (tmp_path / name).write_text("x = 1\n")
    sources = [Source.read(tmp_path / name) for name in ("a.py", "b.py")]
    original = Staged.put

    def refuse(self: Staged) -> None:
        if self.target.name == "b.py":
            raise FixError("b.py: not rewritten: no space left on device")
        original(self)

    def stuck(self: Staged) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(Staged, "put", refuse)
    monkeypatch.setattr(Staged, "put_back", stuck)
    with pytest.raises(FixError, match=r"no space left on device; .*a\.py could not be put back as it was"):
        write_sources([(source, "x = 2\n") for source in sources])


def test_a_file_with_two_names_keeps_both(tmp_path: Path) -> None:
    one, other = tmp_path / "a.py", tmp_path / "b.py"
    one.write_text("x = 1\ny = 2\n")
    os.link(one, other)
    number = one.stat().st_ino
    write_source(Source.read(one), "x = 1\n")
    assert other.read_text() == "x = 1\n" and one.stat().st_ino == other.stat().st_ino == number
    assert left(tmp_path) == ["a.py", "b.py"]


@pytest.mark.skipif(os.geteuid() != 0, reason="only root may give files away")
def test_the_owner_stays(tmp_path: Path) -> None:
    path = tmp_path / "a.py"
    path.write_text("x = 1\n")
    os.chown(path, 1234, 4321)
    path.chmod(0o640)
    write_source(Source.read(path), "x = 2\n")
    status = path.stat()
    assert (status.st_uid, status.st_gid, status.st_mode & 0o7777) == (1234, 4321, 0o640)


def test_an_owner_that_cannot_be_given_is_kept_by_writing_in_place(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "a.py"
    path.write_text("x = 1\n")
    number = path.stat().st_ino
    monkeypatch.setattr(staging, "_takes_over", lambda *_: False)
    write_source(Source.read(path), "x = 2\n")
    assert path.read_text() == "x = 2\n" and path.stat().st_ino == number and left(tmp_path) == ["a.py"]


@pytest.mark.skipif(not hasattr(os, "setxattr"), reason="no extended attributes here")
def test_attributes_and_access_lists_stay(tmp_path: Path) -> None:
    path = tmp_path / "a.py"
    path.write_text("x = 1\n")
    # version 2: user::rw-, user 1234:r--, group::r--, mask::r--, other::---
    entries = [
        (0x01, 6, 0xFFFFFFFF),
        (0x02, 4, 1234),
        (0x04, 4, 0xFFFFFFFF),
        (0x10, 4, 0xFFFFFFFF),
        (0x20, 0, 0xFFFFFFFF),
    ]
    access = (2).to_bytes(4, "little") + b"".join(
        tag.to_bytes(2, "little") + bits.to_bytes(2, "little") + number.to_bytes(4, "little")
        for tag, bits, number in entries
    )
    given = {"user.note": b"mine", "system.posix_acl_access": access}
    for name, value in list(given.items()):
        try:
            os.setxattr(path, name, value)
        except OSError:
            del given[name]
    if not given:
        pytest.skip("this file system keeps neither")
    write_source(Source.read(path), "x = 2\n")
    assert {name: os.getxattr(path, name) for name in given} == given and path.read_text() == "x = 2\n"


def test_long_names(tmp_path: Path) -> None:
    path = tmp_path / ("a" * 252 + ".py")
    path.write_text("x = 1\n")
    write_source(Source.read(path), "x = 2\n")
    assert path.read_text() == "x = 2\n"


def test_leftovers_of_killed_runs_are_cleaned(tmp_path: Path) -> None:
    dead = subprocess.Popen([sys.executable, "-c", ""])
    dead.wait()
    names = {
        "old": f".tricklint-{dead.pid}-{'0' * 16}.tmp",
        "running": f".tricklint-{os.getpid()}-{'1' * 16}.tmp",
        "foreign": f".tricklint-{dead.pid}.tmp",
        "link": f".tricklint-{dead.pid}-{'2' * 16}.tmp",
        "folder": f".tricklint-{dead.pid}-{'3' * 16}.tmp",
    }
    for kind in ("old", "running", "foreign"):
        (tmp_path / names[kind]).write_text("x")
    (tmp_path / names["link"]).symlink_to(tmp_path / "a.py")
    (tmp_path / names["folder"]).mkdir()
    (tmp_path / "a.py").write_text("x = 1\n")
    write_source(Source.read(tmp_path / "a.py"), "x = 2\n")
    assert {path.name for path in tmp_path.iterdir()} == {"a.py", *names.values()} - {names["old"]}
    clean(tmp_path / "nowhere")


def test_a_link_out_of_the_project_is_not_written_through(clone: Clone, tmp_path: Path) -> None:
    mine = tmp_path / "mine.py"
    (clone.root / "train.py").rename(mine)
    (clone.root / "train.py").symlink_to(mine)
    code, out, err = clone.check(".", "--fix", "--unsafe-fixes")
    assert mine.read_text() == BAD and code == 1 and "TRK601" in out
    assert "fix not made: the file is a link; give what it leads to instead" in err


def test_a_file_and_a_link_to_it_are_mended_once(clone: Clone) -> None:
    (clone.root / "alias.py").symlink_to("train.py")
    code, _, err = clone.check(".", "--fix")
    assert "zero_grad" in (clone.root / "train.py").read_text() and (clone.root / "alias.py").is_symlink()
    assert code != 2 and "error" not in err
    assert clone.check(".")[0] == 0


@pytest.mark.slow
def test_killed_at_any_moment_nothing_is_torn(clone: Clone) -> None:
    names = [f"train{number}.py" for number in range(40)]
    clone.write(dict.fromkeys(names, BAD))
    mended = None
    for wait in (0.8, 1.2, 1.6, 2.0):
        process = subprocess.Popen(
            [sys.executable, "-c", START, "check", "--no-cache", "--fix", "."], stderr=subprocess.DEVNULL
        )
        time.sleep(wait)
        process.send_signal(signal.SIGKILL)
        process.wait()
        for name in names:
            text = (clone.root / name).read_text()
            if text != BAD:
                mended = mended or text
                assert text == mended
    clone.check(".", "--fix")
    assert all((clone.root / name).read_text() != BAD for name in names)
    assert left(clone.root) == sorted(["train.py", *names])
