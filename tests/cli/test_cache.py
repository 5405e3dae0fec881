"""The cache: same answers, sooner; never a reason to fail."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from tests.cli.conftest import Project


@pytest.fixture
def counted(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """How often rules were asked."""
    from tricklint import check

    calls: list[int] = []
    original = check.ask

    def ask(*args: object, **kwargs: object) -> object:
        calls.append(1)
        return original(*args, **kwargs)  # type: ignore[arg-type]

    monkeypatch.setattr(check, "ask", ask)
    return calls


def test_a_second_run_remembers(project: Project, counted: list[int]) -> None:
    project.write({"a.py": "mistake = 1\n", "old.py": "print 'x'\n"})
    first = project.check(cache=True)
    second = project.check(cache=True)
    assert len(counted) == 1
    assert (first.code, first.out, first.err) == (second.code, second.out, second.err)
    assert (project.root / ".tricklint_cache/CACHEDIR.TAG").read_text().startswith("Signature: 8a477f597d28d172789f06")
    assert (project.root / ".tricklint_cache/.gitignore").read_text() == "*\n"


@pytest.mark.parametrize("change", ["file", "new file", "settings", "rule", "no cache"])
def test_what_a_result_depends_on(project: Project, counted: list[int], change: str) -> None:
    project.write({"a.py": "mistake = 1\n"})
    project.check(cache=True)
    if change == "file":
        project.write({"a.py": "mistake_advice = 1\n"})
    elif change == "new file":
        project.write({"b.py": "x = 1\n"})
    elif change == "settings":
        project.configure("pedantic = true")
    elif change == "rule":
        rule = project.root / "local_rules/mistake.py"
        os.utime(rule, ns=(1, 1))
    project.check(cache=change != "no cache")
    assert len(counted) == 2


@pytest.mark.parametrize("damage", ["garbage", "wrong shape", "folder is a file", "empty"])
def test_a_broken_cache_is_no_cache(project: Project, damage: str) -> None:
    project.write({"a.py": "mistake = 1\n"})
    before = project.check(cache=True)
    folder = project.root / ".tricklint_cache"
    for entry in folder.rglob("*.json"):
        entry.write_bytes({"garbage": b"\xff{", "wrong shape": b'{"findings": 3, "beyond": {}}'}.get(damage, b""))
    if damage == "folder is a file":
        import shutil

        shutil.rmtree(folder)
        folder.write_text("")
    after = project.check(cache=True)
    assert (after.code, after.out, after.err) == (before.code, before.out, before.err)


def test_the_folder_can_be_elsewhere(project: Project, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TRICKLINT_CACHE_DIR", str(tmp_path / "elsewhere"))
    project.write({"a.py": "x = 1\n"})
    project.check(cache=True)
    assert (tmp_path / "elsewhere/results").is_dir()
    assert not (project.root / ".tricklint_cache").exists()


def test_old_results_are_forgotten(project: Project) -> None:
    for number in range(25):
        project.write({"a.py": f"x = {number}\n"})
        project.check(cache=True)
    assert len(list((project.root / ".tricklint_cache/results").glob("*.json"))) == 16
