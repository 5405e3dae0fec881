"""Files that an ignore pattern names, and that git tracks all the same."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from tricklint.settings import load
from tricklint.source.files import collect, skipped
from tricklint.source.tracked import paths_in

FILES = ("models/train.py", "models/deep/net.py", "src/app.py", "src/apple.py")


@pytest.fixture(params=(2, 4))
def repository(request: pytest.FixtureRequest, tmp_path: Path) -> Path:
    for name in FILES:
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text("x = 1\n")
    git(tmp_path, "init", "-q")
    git(tmp_path, "add", ".")
    git(tmp_path, "update-index", "--index-version", str(request.param))
    (tmp_path / ".gitignore").write_text("models/\n*.tmp.py\n")
    return tmp_path


def git(folder: Path, *words: str) -> None:
    subprocess.run(["git", *words], cwd=folder, check=True, capture_output=True)


def test_the_index_is_read_as_git_reads_it(repository: Path) -> None:
    assert paths_in((repository / ".git" / "index").read_bytes()) == sorted(FILES)


def test_what_git_tracks_is_checked(repository: Path) -> None:
    (repository / "models" / "draft.py").write_text("x = 1\n")
    (repository / "models" / "more").mkdir()
    (repository / "models" / "more" / "draft.py").write_text("x = 1\n")
    (repository / "src" / "app.tmp.py").write_text("x = 1\n")
    settings = load([repository], isolated=True)
    found, problems = collect([repository], settings)
    assert not problems
    assert [path.relative_to(repository).as_posix() for path in found] == sorted(FILES)
    assert not skipped(repository / "models" / "train.py", settings)
    assert skipped(repository / "models" / "draft.py", settings)


@pytest.mark.parametrize("data", [b"", b"DIRC", b"DIRC\0\0\0\2\0\0\0\1" + b"\0" * 30, b"DIRC\0\0\0\4\0\0\0\1" + b"\xff" * 80])
def test_bytes_that_are_no_index(data: bytes, tmp_path: Path) -> None:
    with pytest.raises((ValueError, IndexError)):
        paths_in(data)
    (tmp_path / ".git").mkdir()
    (tmp_path / ".git" / "index").write_bytes(data)
    (tmp_path / ".gitignore").write_text("*.py\n")
    (tmp_path / "a.py").write_text("x = 1\n")
    assert collect([tmp_path], load([tmp_path], isolated=True)) == ([], [])
