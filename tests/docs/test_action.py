"""action.yml: its shape, and its script run as GitHub would."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml

ROOT = Path(__file__).parents[2]
ACTION: dict[str, Any] = yaml.safe_load((ROOT / "action.yml").read_text())


def test_its_shape() -> None:
    assert ACTION["runs"]["using"] == "composite"
    text = (ROOT / "action.yml").read_text()
    assert set(re.findall(r"inputs\.([\w-]+)", text)) == set(ACTION["inputs"])
    ids = {step["id"] for step in ACTION["runs"]["steps"] if "id" in step}
    assert set(re.findall(r"steps\.(\w+)\.outputs", text)) <= ids
    for step in ACTION["runs"]["steps"]:
        assert ("uses" in step) is not ("run" in step)
        assert "run" not in step or step["shell"] == "bash"
        assert "${{" not in step.get("run", ""), "what others wrote is never pasted into a script"
    for one in ACTION["inputs"].values():
        assert one["description"]
        assert isinstance(one["default"], str)


def run(tmp_path: Path, args: str) -> tuple[subprocess.CompletedProcess[str], str]:
    """The script, with a Python that makes no environment and installs nothing: tricklint is here already."""
    stub = tmp_path / "python"
    venv = tmp_path / "temp/tricklint-venv/bin"
    venv.mkdir(parents=True)
    stub.write_text("#!/bin/sh\nexit 0\n")
    (venv / "python").write_text(
        f'#!/bin/sh\nif [ "$2" = pip ]; then echo "$@" > {tmp_path}/installed; exit 0; fi\nexec {sys.executable} "$@"\n'
    )
    for file in (stub, venv / "python"):
        file.chmod(0o755)
    project = tmp_path / "project"
    (project / "my src").mkdir(parents=True)
    (project / "my src/a.py").write_text("from torch import nn\nnet = nn.Linear(2, 2)\nnet.requires_grad = False\n")
    env = {
        **os.environ,
        "ACTION_PATH": str(ROOT),
        "ARGS": args,
        "PYTHON": str(stub),
        "VERSION": "",
        "PLACE": str(tmp_path / "temp"),
        "GITHUB_OUTPUT": str(tmp_path / "output"),
        "PYTHONPATH": str(ROOT),
    }
    (tmp_path / "output").touch()
    done = subprocess.run(
        ["bash", str(ROOT / ".github/check.sh")], cwd=project, env=env, capture_output=True, text=True
    )
    return done, (tmp_path / "output").read_text()


@pytest.mark.parametrize(
    ("args", "code"), [("'my src' --no-cache", 1), ("'my src' --ignore TRK107", 0), ("nowhere", 2)]
)
def test_it_checks_and_leaves_sarif(args: str, code: int, tmp_path: Path) -> None:
    done, output = run(tmp_path, args)
    assert done.returncode == code, done.stderr
    sarif = json.loads(Path(output.strip().removeprefix("sarif=")).read_text())
    results = [result["ruleId"] for result in sarif["runs"][0]["results"]]
    assert results == (["TRK107"] if code == 1 else [])
    assert ("::error title=tricklint TRK107" in done.stdout) is (code == 1)
    assert str(ROOT) in (tmp_path / "installed").read_text()


def test_options_are_data(tmp_path: Path) -> None:
    done, _ = run(tmp_path, "'my src' --exclude '$(touch pwned)' ; touch pwned")
    assert done.returncode == 2
    assert not list(tmp_path.rglob("pwned"))
