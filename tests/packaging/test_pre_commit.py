"""The real pre-commit, in a scratch repository, against this checkout: a commit is refused, then mended."""

from __future__ import annotations

import os
import shutil
import sys
import textwrap
from pathlib import Path

import pytest

from tests.packaging.conftest import run

TRAIN = """\
import torch
from models import build

model = build()
optimizer = torch.optim.SGD(model.parameters(), lr=0.1, weight_decay=5e-4)
for batch, label in batches:
    optimizer.zero_grad()
    torch.nn.functional.cross_entropy(model(batch), label).backward()
    optimizer.step()
"""
MODELS = """\
from torch import nn


def build():
    return nn.Sequential(nn.Linear(8, 16), nn.LayerNorm(16), nn.Linear(16, 2))
"""

pytestmark = [
    pytest.mark.network,
    pytest.mark.slow,
    pytest.mark.skipif(shutil.which("git") is None, reason="needs git"),
]


def git(*args: str, cwd: Path, check: bool = True) -> str:
    identity = ["-c", "user.name=Test", "-c", "user.email=test@example.com", "-c", "commit.gpgsign=false"]
    done = run("git", *identity, *args, cwd=cwd, check=check)
    return done.stdout + done.stderr


@pytest.fixture
def repository(checkout: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A project with the hooks installed from a git copy of the checkout."""
    monkeypatch.setenv("PRE_COMMIT_HOME", str(tmp_path / "pre-commit"))
    monkeypatch.setenv("PATH", f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}")
    hooks = tmp_path / "hooks"
    shutil.copytree(checkout, hooks, ignore=shutil.ignore_patterns("build", "*.egg-info"))
    git("init", "--quiet", cwd=hooks)
    git("add", ".", cwd=hooks)
    git("commit", "--quiet", "-m", "hooks", cwd=hooks)
    project = tmp_path / "project"
    project.mkdir()
    git("init", "--quiet", cwd=project)
    (project / "models.py").write_text(MODELS)
    (project / "pyproject.toml").write_text('[tool.tricklint]\nselect = ["TRK601"]\n')
    configure(project, hooks, "tricklint")
    run("pre-commit", "install", cwd=project)
    git("add", ".", cwd=project)
    git("commit", "--quiet", "-m", "start", cwd=project)
    return project


def configure(project: Path, hooks: Path, hook: str) -> None:
    revision = git("rev-parse", "HEAD", cwd=hooks).strip()
    (project / ".pre-commit-config.yaml").write_text(
        textwrap.dedent(f"""\
        repos:
          - repo: {hooks}
            rev: {revision}
            hooks:
              - id: {hook}
        """)
    )


def test_a_commit_is_refused_then_mended(repository: Path, tmp_path: Path) -> None:
    train = repository / "train.py"
    train.write_text(TRAIN)
    git("add", "train.py", cwd=repository)
    refused = git("commit", "-m", "train", cwd=repository, check=False)
    assert "train.py:5:13" in refused
    assert "models.py" in refused  # the model is built in a file that is not part of the commit
    assert "TRK601" in refused
    assert git("log", "--oneline", cwd=repository).count("\n") == 1
    assert train.read_text() == TRAIN

    configure(repository, tmp_path / "hooks", "tricklint-fix")
    git("add", ".", cwd=repository)
    mended = git("commit", "-m", "train", cwd=repository, check=False)
    assert "files were modified by this hook" in mended
    assert "no_decay" in train.read_text()

    git("add", ".", cwd=repository)
    git("commit", "-m", "train", cwd=repository)
    assert git("log", "--oneline", cwd=repository).count("\n") == 2
