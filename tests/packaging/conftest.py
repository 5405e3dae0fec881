"""A copy of the tracked checkout, so that building leaves nothing in it, and isolated environments."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]


def run(*command: str | Path, cwd: Path, check: bool = True) -> subprocess.CompletedProcess[str]:
    environment = {key: value for key, value in os.environ.items() if not key.startswith(("PYTHON", "GIT_"))}
    done = subprocess.run([*map(str, command)], cwd=cwd, capture_output=True, text=True, env=environment, check=False)
    assert done.returncode == 0 or not check, f"{command}\n{done.stdout}\n{done.stderr}"
    return done


@pytest.fixture(scope="session")
def checkout(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The package's files as they stand now (also those not committed yet)."""
    folder = tmp_path_factory.mktemp("checkout") / "tricklint"
    ignore = shutil.ignore_patterns("__pycache__", "*.egg-info")
    for name in ("tricklint", "rules"):
        shutil.copytree(ROOT / name, folder / name, ignore=ignore)
    for name in ("pyproject.toml", "setup.py", "README.md", "LICENSE", ".pre-commit-hooks.yaml"):
        shutil.copy(ROOT / name, folder / name)
    return folder


@pytest.fixture(scope="session")
def wheel(checkout: Path) -> Path:
    """The built wheel."""
    out = checkout.parent / "dist"
    run(sys.executable, "-m", "build", "--wheel", "--no-isolation", "--outdir", out, checkout, cwd=checkout)
    (found,) = out.glob("tricklint-*.whl")
    return found
