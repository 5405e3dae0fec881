"""The cache folder of a stranger's repository: nothing outside of it is read, written or removed."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest
from click.testing import CliRunner

from tests.hostile.conftest import Clone
from tricklint.cli import main
from tricklint.source.vault import Vault


def everything(folder: Path) -> dict[str, tuple[bytes, int]]:
    return {
        str(path.relative_to(folder)): (path.read_bytes(), path.stat().st_mtime_ns)
        for path in sorted(folder.rglob("*"))
        if path.is_file() and not path.is_symlink()
    }


@pytest.fixture
def victim(tmp_path: Path) -> Path:
    """A folder beside the clone, with many files that look like entries of a cache."""
    folder = tmp_path / "victim"
    (folder / "results").mkdir(parents=True)
    for number in range(40):
        for name in (f"{number:032x}.json", f"notes{number}.json", f"{number:032x}.1.tmp"):
            (folder / name).write_text("{}")
            (folder / "results" / name).write_text("{}")
    for name in ("CACHEDIR.TAG", ".gitignore", "config"):
        (folder / name).write_text("mine\n")
    return folder


@pytest.fixture
def clone(clone: Clone) -> Path:
    return clone.root


def check() -> str:
    result = CliRunner().invoke(main, ["check", ".", "--output-format", "concise"], catch_exceptions=False)
    assert result.exit_code == 1 and "TRK601" in result.stdout
    return result.stderr


MARKED = "Signature: 8a477f597d28d172789f06886806bc55\n# Made by tricklint; may be deleted at any time.\n"


@pytest.mark.parametrize("case", ["whole", "results", "screen", "files", "dangling"])
@pytest.mark.parametrize("marked", [True, False])
def test_links_in_the_cache_lead_nowhere(clone: Path, victim: Path, case: str, marked: bool) -> None:
    cache = clone / ".tricklint_cache"
    if case == "whole":
        if marked:
            (victim / "CACHEDIR.TAG").write_text(MARKED)
        cache.symlink_to(victim, target_is_directory=True)
    else:
        cache.mkdir()
        if marked:
            (cache / "CACHEDIR.TAG").write_text(MARKED)
        elif case == "files":
            (cache / "CACHEDIR.TAG").symlink_to(victim / "CACHEDIR.TAG")
    if case in ("results", "screen"):
        (cache / case).symlink_to(victim / "results", target_is_directory=True)
    if case == "files":
        (cache / ".gitignore").symlink_to(victim / ".gitignore")
    if case == "dangling":
        (cache / ".gitignore").symlink_to(victim / "new")
        (cache / "results").symlink_to(victim / "made", target_is_directory=True)
    before = everything(victim)
    for number in range(3):
        (clone / "other.py").write_text(f"x = {number}\n")
        check()
    assert everything(victim) == before
    assert not (victim / "new").exists() and not (victim / "made").exists()


def test_an_entry_that_is_a_link_is_replaced_and_not_written_through(clone: Path, victim: Path) -> None:
    check()
    results = clone / ".tricklint_cache/results"
    (entry,) = results.iterdir()
    entry.unlink()
    entry.symlink_to(victim / "config")
    before = everything(victim)
    check()
    assert everything(victim) == before
    assert not entry.is_symlink() and json.loads(entry.read_bytes())


@pytest.mark.parametrize("folder", [".", "sub", ".tricklint_cache"])
def test_a_folder_with_files_of_others_is_left_alone(clone: Path, monkeypatch: pytest.MonkeyPatch, folder: str) -> None:
    monkeypatch.setenv("TRICKLINT_CACHE_DIR", folder)
    for below in ("results", "screen", "trace"):
        (clone / folder / below).mkdir(parents=True)
        for number in range(40):
            (clone / folder / below / f"{number:032x}.json").write_text('{"tricklint": 1}')
    before = everything(clone)
    assert "was not made by tricklint" in check()
    assert everything(clone) == before


def test_only_what_it_wrote_is_removed(clone: Path) -> None:
    check()
    results = clone / ".tricklint_cache/results"
    mine = {"notes.json", f"{1:032x}.json", "a.tmp", "x.json.bak"}
    for name in mine:
        (results / name).write_text("{}")
        os.utime(results / name, (1, 1))
    for number in range(20):
        (clone / "other.py").write_text(f"x = {number}\n")
        check()
    assert mine <= {path.name for path in results.iterdir()}
    assert 16 <= len(list(results.iterdir())) <= 16 + len(mine)


def test_leftovers_of_killed_runs_are_cleaned(clone: Path) -> None:
    check()
    results = clone / ".tricklint_cache/results"
    old, young = results / f"{1:032x}.123.tmp", results / f"{2:032x}.124.tmp"
    for path in (old, young):
        path.write_text("{")
    os.utime(old, (1, 1))
    (clone / "other.py").write_text("x = 1\n")
    check()
    assert young.exists() and not old.exists()


def test_a_pipe_in_the_cache_does_not_wait(clone: Path) -> None:
    check()
    (entry,) = (clone / ".tricklint_cache/results").iterdir()
    entry.unlink()
    os.mkfifo(entry)
    check()


@pytest.mark.parametrize(
    "change",
    [
        {"suppressed": "x"},
        {"problems": [["train.py", "one", "text", None]]},
        {"problems": [[None, None, 3, None]]},
        {"beyond": []},
        {"findings": [[]]},
        {"findings": [{}]},
        {"path": 3},
        {"severity": "loud"},
        {"at": [[0, 1], [1, 1]]},
        {"at": [["1", 1], [1, 1]]},
        {"at": [[True, 1], [1, 1]]},
        {"evidence": [["a", [1, 1], [1, 2]]]},
        {"message": None},
        {"fix": []},
        {"fix": {"level": "safe", "message": "m", "reason": "", "edits": [["a", [1, 1], [1, 2], 4]]}},
    ],
)
def test_contents_are_held_against_their_schema(clone: Path, change: dict[str, object]) -> None:
    check()
    (entry,) = (clone / ".tricklint_cache/results").iterdir()
    data = json.loads(entry.read_bytes())
    inner = data["tricklint"]
    assert inner["findings"]
    for key, value in change.items():
        if key in inner:
            inner[key] = value
        else:
            inner["findings"][0][key] = value
    entry.write_text(json.dumps(data, separators=(",", ":")))
    check()


def test_the_vault_reads_back_what_it_kept(tmp_path: Path) -> None:
    vault = Vault(tmp_path / "deep" / "vault")
    assert vault.read("kind", "0" * 32) is None and not vault.foreign
    vault.keep("kind", "0" * 32, b'{"a": 1}')
    assert vault.read("kind", "0" * 32) == b'{"a": 1}' and not vault.foreign
    assert (tmp_path / "deep/vault/.gitignore").read_text() == "*\n"
