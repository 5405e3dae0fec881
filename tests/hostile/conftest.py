"""A stranger's repository, and the command run beside or within it as a process of its own."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import pytest
from click.testing import CliRunner

from tricklint.cli import main

BAD = """\
import torch
from torch import nn, optim

net = nn.Sequential(nn.Linear(4, 4), nn.BatchNorm1d(4), nn.ReLU(), nn.Linear(4, 2))
optimizer = optim.SGD(net.parameters(), lr=0.1, weight_decay=5e-4)
for x, y in loader:
    loss = nn.functional.cross_entropy(net(x), y)
    loss.backward()
    optimizer.step()
"""
START = "import sys; from tricklint.cli import main; main(prog_name='tricklint')"


@dataclass
class Clone:
    """`root` holds a `train.py` with mistakes; `run` starts the command in it."""

    root: Path

    def write(self, files: Mapping[str, str | bytes]) -> None:
        for name, content in files.items():
            path = self.root / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(content.encode() if isinstance(content, str) else content)

    def run(
        self, *args: str, start: str = START, cwd: Path | None = None, seconds: float = 60, **environment: str
    ) -> subprocess.CompletedProcess[bytes]:
        kept = {key: value for key, value in os.environ.items() if not key.startswith(("TRICKLINT_", "XDG_"))}
        kept |= {"XDG_CONFIG_HOME": str(self.root.parent / "config"), **environment}
        return subprocess.run(
            [sys.executable, "-c", start, *args],
            capture_output=True,
            cwd=cwd or self.root,
            env=kept,
            timeout=seconds,
            check=False,
        )

    def check(self, *args: str) -> tuple[int, str, str]:
        """`check --no-cache` in this process: its exit code, and what it says."""
        given = ["check", "--no-cache", *args]
        if not {"--output-format", "--diff"} & set(args):
            given += ["--output-format", "concise"]
        done = CliRunner().invoke(main, given, catch_exceptions=False)
        return done.exit_code, done.stdout, done.stderr


@pytest.fixture
def clone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Clone:
    made = Clone(tmp_path / "clone")
    (made.root / ".git").mkdir(parents=True)
    made.write({"train.py": BAD})
    monkeypatch.chdir(made.root)
    for name in ("TRICKLINT_NO_CACHE", "TRICKLINT_CACHE_DIR"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "config"))
    return made
