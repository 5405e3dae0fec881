"""Which files are checked."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import pytest

from tricklint.settings import DEFAULT_EXCLUDE, Settings
from tricklint.source.files import collect


def tree(root: Path, *names: str) -> None:
    for name in names:
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("x = 1\n")


def names(root: Path, *paths: Path, **settings: object) -> list[str]:
    found, problems = collect(paths or (root,), dataclasses.replace(Settings(root=root), **settings))  # type: ignore[arg-type]
    assert problems == []
    return [path.relative_to(root).as_posix() for path in found]


def test_python_files_and_notebooks_sorted_and_once(tmp_path: Path) -> None:
    tree(tmp_path, "b.py", "a/c.ipynb", "a/d.txt", "a/e.pyc")
    assert names(tmp_path, tmp_path, tmp_path / "b.py") == ["a/c.ipynb", "b.py"]


def test_environments_and_caches_are_skipped(tmp_path: Path) -> None:
    tree(tmp_path, "train.py", "node_modules/x.py", ".git/x.py", ".venv/x.py", "build/x.py", "src/__pycache__/x.py")
    tree(tmp_path, "myenv/pyvenv.cfg", "myenv/lib/x.py", "conda/conda-meta/history", "conda/lib/y.py")
    assert names(tmp_path) == ["train.py"]


def test_gitignore_with_depth_and_negation(tmp_path: Path) -> None:
    tree(tmp_path, "keep.py", "gen_a.py", "gen_b.py", "out/x.py", "sub/gen_c.py", "sub/local.py", "sub/deep/gen_d.py")
    (tmp_path / ".gitignore").write_text("# made by a script\ngen_*.py\n!gen_b.py\n/out/\n")
    (tmp_path / "sub/.gitignore").write_text("local.py\n!gen_c.py\n")
    assert names(tmp_path) == ["gen_b.py", "keep.py", "sub/gen_c.py"]


def test_gitignore_above_the_checked_folder_counts_inside_a_repository(tmp_path: Path) -> None:
    tree(tmp_path, "src/gen.py", "src/a.py")
    (tmp_path / ".gitignore").write_text("gen.py\n")
    assert names(tmp_path, tmp_path / "src") == ["src/a.py", "src/gen.py"]
    (tmp_path / ".git").mkdir()
    assert names(tmp_path, tmp_path / "src") == ["src/a.py"]


def test_git_info_exclude(tmp_path: Path) -> None:
    tree(tmp_path, "a.py", "b.py", ".git/info/x")
    (tmp_path / ".git/info/exclude").write_text("b.py\n")
    assert names(tmp_path) == ["a.py"]


def test_exclude_and_force_exclude(tmp_path: Path) -> None:
    tree(tmp_path, "a.py", "legacy/b.py", "x/legacy/c.py", "docs/conf.py")
    exclude = (*DEFAULT_EXCLUDE, "legacy", "/docs/conf.py")
    assert names(tmp_path, exclude=exclude) == ["a.py"]
    named = (tmp_path / "legacy/b.py", tmp_path / "docs/conf.py", tmp_path / "a.py")
    assert len(names(tmp_path, *named, exclude=exclude)) == 3
    assert names(tmp_path, *named, exclude=exclude, force_exclude=True) == ["a.py"]


def test_links_to_folders_are_not_followed_so_loops_end(tmp_path: Path) -> None:
    tree(tmp_path, "pkg/a.py")
    (tmp_path / "pkg/loop").symlink_to(tmp_path)
    assert names(tmp_path) == ["pkg/a.py"]


def test_missing_paths_are_problems_and_the_rest_is_found(tmp_path: Path) -> None:
    tree(tmp_path, "a.py")
    found, problems = collect([tmp_path / "nowhere", tmp_path], Settings(root=tmp_path))
    assert found == [tmp_path / "a.py"]
    assert [problem.message for problem in problems] == ["does not exist"]


def test_a_file_named_itself_is_taken_whatever_its_ending(tmp_path: Path) -> None:
    tree(tmp_path, "script", "stub.pyi")
    assert names(tmp_path, tmp_path / "script", tmp_path / "stub.pyi") == ["script", "stub.pyi"]


@pytest.mark.parametrize("folder", ["a.py", "b.ipynb"])
def test_a_folder_with_a_files_name_is_no_file(tmp_path: Path, folder: str) -> None:
    tree(tmp_path, f"{folder}/x.txt")
    assert names(tmp_path) == []
