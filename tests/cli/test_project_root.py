"""Where a project begins that is no repository."""

from __future__ import annotations

from pathlib import Path

import pytest

from tricklint.settings import load


def touch(*paths: Path) -> None:
    for path in paths:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()


@pytest.mark.parametrize("name", ["setup.py", "setup.cfg", "pyproject.toml"])
def test_a_project_file_stands_at_the_top(tmp_path: Path, name: str) -> None:
    touch(tmp_path / name, tmp_path / "pkg" / "__init__.py", tmp_path / "pkg" / "deep" / "net.py")
    settings = load([tmp_path / "pkg" / "deep" / "net.py"])
    assert settings.root == tmp_path
    assert tmp_path / "src" in settings.src


def test_else_what_holds_the_topmost_package(tmp_path: Path) -> None:
    touch(tmp_path / "pkg" / "__init__.py", tmp_path / "pkg" / "models" / "__init__.py", tmp_path / "pkg" / "models" / "net.py")
    assert load([tmp_path / "pkg" / "models" / "net.py"]).root == tmp_path


def test_else_the_folder_itself(tmp_path: Path) -> None:
    touch(tmp_path / "scripts" / "train.py")
    assert load([tmp_path / "scripts" / "train.py"]).root == tmp_path / "scripts"
