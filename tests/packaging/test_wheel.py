"""The wheel holds everything, and works in an environment that has no torch."""

from __future__ import annotations

import json
import sys
import zipfile
from pathlib import Path

import pytest

from tests.packaging.conftest import run

TRAIN = """\
import pandas as pd
import torch
from torch import nn

paths = []
for _, row in pd.read_csv("train.csv").iterrows():
    paths.append(row["path"])

model = nn.Sequential(nn.Linear(8, 16), nn.LayerNorm(16), nn.ReLU(), nn.Linear(16, 2))
optimizer = torch.optim.SGD(model.parameters(), lr=0.1, weight_decay=5e-4)
for batch, label in batches:
    optimizer.zero_grad()
    nn.functional.cross_entropy(model(batch), label).backward()
    optimizer.step()
"""


def test_the_wheel_holds_every_module(wheel: Path, checkout: Path) -> None:
    inside = set(zipfile.ZipFile(wheel).namelist())
    expected = {path.relative_to(checkout).as_posix() for path in (checkout / "tricklint").rglob("*.py")}
    expected |= {f"tricklint/{path.relative_to(checkout).as_posix()}" for path in (checkout / "rules").rglob("*.py")}
    assert expected - inside == set()
    assert "tricklint/py.typed" in inside
    assert not any(name.startswith(("tests/", "fixtures/", "rules/")) for name in inside)


def test_data_files_are_packed(wheel: Path, checkout: Path) -> None:
    inside = set(zipfile.ZipFile(wheel).namelist())
    for path in (checkout / "tricklint").rglob("*"):
        if path.is_file() and path.suffix not in (".py", ".pyc") and "__pycache__" not in path.parts:
            assert path.relative_to(checkout).as_posix() in inside, f"{path.name} is missing from package-data"


@pytest.mark.network
@pytest.mark.slow
def test_check_and_fix_without_torch(wheel: Path, tmp_path: Path) -> None:
    run(sys.executable, "-m", "venv", "env", cwd=tmp_path)
    python = tmp_path / "env/bin/python"
    run(python, "-m", "pip", "install", "--quiet", wheel, cwd=tmp_path)
    installed = {
        item["name"].lower()
        for item in json.loads(run(python, "-m", "pip", "list", "--format", "json", cwd=tmp_path).stdout)
    }
    assert "libcst" in installed
    assert not installed.intersection({"torch", "pandas", "numpy", "scipy"})

    project = tmp_path / "project"
    project.mkdir()
    (project / "train.py").write_text(TRAIN)
    tricklint = tmp_path / "env/bin/tricklint"
    found = run(tricklint, "check", ".", "--output-format", "json", cwd=project, check=False)
    assert found.returncode == 1, found.stderr
    assert {"TRK401", "TRK601"} <= {finding["code"] for finding in json.loads(found.stdout)}

    fixed = run(
        tricklint, "check", ".", "--fix", "--unsafe-fixes", "--select", "TRK601,TRK401", cwd=project, check=False
    )
    assert fixed.returncode == 0, fixed.stdout + fixed.stderr
    text = (project / "train.py").read_text()
    assert "iterrows" not in text
    assert "no_decay" in text
    assert "TRK601" in run(tricklint, "rule", "decay-on-bias-norm", cwd=project).stdout
    # What needs an extra says which, in one line, and findings still come.
    (project / "pyproject.toml").write_text('[tool.tricklint.models]\nnet = { factory = "train:build" }\n')
    for command, extra in (
        (("check", "--trace"), "trace"),
        (("check", "--verify"), "verify"),
        (("verify", "--yes", "train.py"), "verify"),
        (("server",), "lsp"),
    ):
        missing = run(tricklint, *command, cwd=project, check=False)
        assert missing.returncode == 2, missing.stderr
        assert f"pip install 'tricklint[{extra}]'" in missing.stderr
        assert len(missing.stderr.splitlines()) == 1
        assert command[0] != "check" or "TRK501" in missing.stdout
