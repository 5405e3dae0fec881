"""What type checkers say about a user's file, which sees the package's lazy names as typed ones."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]

GOOD = """
import torch

import tricklint
from tricklint import check_model, surgery
from tricklint.finding import Finding
from tricklint.rule import Rule

model = torch.nn.Sequential(torch.nn.Linear(2, 2))
optimizer = torch.optim.SGD(surgery.param_groups(model, 0.01), lr=0.1)
found = check_model(model, optimizer, select=["TRK6"], ignore=["missing-init"], batch_size=8, gpu="24GB")
codes: list[str] = found.codes()
for finding in found:
    message: str = finding.message
assert not tricklint.check_model(model)
report: str = str(surgery.freeze_backbone(model, "0"))
version: str = tricklint.__version__
"""
BAD = {
    "check_model(model, selct=[])": "selct",
    "check_model('model')": "Module",
    "surgery.param_groups(model)": "weight_decay",
    "surgery.fuse(model)": "fuse",
    "tricklint.chek_model(model)": "chek_model",
}


def mypy(file: Path) -> str:
    options = ["--strict", "--follow-imports=silent", "--explicit-package-bases", "--no-error-summary"]
    cache = ["--cache-dir", str(ROOT / ".mypy_cache" / "user")]
    done = subprocess.run(
        [sys.executable, "-m", "mypy", *options, *cache, str(file)],
        env={**os.environ, "MYPYPATH": str(ROOT)}, cwd=file.parent, capture_output=True, text=True,
    )  # fmt: skip
    assert done.returncode in (0, 1), done.stderr
    return done.stdout


def pyright(file: Path) -> str:
    (file.parent / "pyrightconfig.json").write_text(
        json.dumps({"extraPaths": [str(ROOT)], "typeCheckingMode": "standard", "pythonVersion": "3.10"})
    )
    done = subprocess.run(
        [sys.executable, "-m", "basedpyright", "--pythonpath", sys.executable, "--project", str(file.parent)],
        cwd=file.parent, capture_output=True, text=True,
    )  # fmt: skip
    assert done.returncode in (0, 1), done.stderr + done.stdout
    return "" if done.returncode == 0 else done.stdout


@pytest.mark.slow
@pytest.mark.parametrize("checker", [mypy, pyright])
def test_a_users_file(checker: object, tmp_path: Path) -> None:
    assert callable(checker)
    file = tmp_path / "user.py"
    file.write_text(GOOD)
    assert checker(file) == ""
    file.write_text(GOOD + "\n".join(BAD) + "\n")
    complaints = checker(file)
    first = GOOD.count("\n") + 1
    for row, word in enumerate(BAD.values(), first):
        assert any(f"user.py:{row}" in line and word in line for line in complaints.splitlines()), (row, complaints)
