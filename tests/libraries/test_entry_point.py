"""A package describes its own trainer and model base: installed, it is asked by the group `tricklint.libraries`."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

MODEL = '''
import libcst as cst

from tricklint.interpreter.behaviour import Behaviour, behaves, function
from tricklint.interpreter.callargs import CallArgs
from tricklint.interpreter.machine import Machine
from tricklint.interpreter.objects import plain
from tricklint.interpreter.values import NONE, UNKNOWN, Instance, Value, instances
from tricklint.knowledge.names import same_as
from tricklint.libraries.events import TrainerGiven, TrainsOver


same_as("mylab.models.Base", "torch.nn.Module")


@function("mylab.Trainer")
def trainer(m: Machine, name: str, args: CallArgs, node: cst.CSTNode) -> Value:
    made = plain(m, name, args, node)
    made.kind = "mylab trainer"
    return made


@behaves("mylab trainer")
class Trainer(Behaviour):
    def method(self, m: Machine, value: Instance, name: str, args: CallArgs, node: cst.CSTNode) -> Value | None:
        if name != "train":
            return UNKNOWN
        for model in instances(value.kwargs.get("model"), "module"):
            m.emit(TrainerGiven(m.now(node), model, "mylab", value))
        for loader in instances(value.kwargs.get("loader")):
            m.emit(TrainsOver(m.now(node), loader, "mylab", value))
        return NONE
'''
PROJECT = """[build-system]
requires = ["setuptools"]
build-backend = "setuptools.build_meta"

[project]
name = "mylab-tricklint"
version = "1.0"

[project.entry-points."tricklint.libraries"]
mylab = "mylab_tricklint"

[tool.setuptools]
py-modules = ["mylab_tricklint"]
"""
SCRIPT = """import mylab
import torch
from mylab.models import Base
from torch import nn
from torch.utils.data import DataLoader, TensorDataset


class Net(Base):
    def __init__(self):
        super().__init__()
        self.body = nn.Sequential(nn.Linear(4, 32), nn.Tanh(), nn.Linear(32, 32), nn.Tanh(), nn.Linear(32, 2))

    def forward(self, x):
        return self.body(x)


loader = DataLoader(TensorDataset(torch.randn(8, 4)), batch_size=4, shuffle=True)
mylab.Trainer(model=Net(), loader=loader, device="cuda").train()
"""


@pytest.fixture(scope="module")
def target(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder that the package is installed into, as pip does it."""
    source = tmp_path_factory.mktemp("mylab")
    (source / "pyproject.toml").write_text(PROJECT)
    (source / "mylab_tricklint.py").write_text(MODEL)
    into = tmp_path_factory.mktemp("target")
    options = ["--quiet", "--no-deps", "--no-build-isolation", "--no-index", "--target", str(into)]
    subprocess.run([sys.executable, "-m", "pip", "install", *options, str(source)], check=True, timeout=300)
    assert list(into.glob("mylab_tricklint-*.dist-info/entry_points.txt"))
    return into


def check(folder: Path, path: str) -> tuple[int, list[str], str]:
    command = [sys.executable, "-m", "tricklint", "check", "--isolated", "--no-cache", "--output-format", "json", str(folder)]
    environment = {**os.environ, "PYTHONPATH": path}
    found = subprocess.run(command, capture_output=True, text=True, env=environment, timeout=300)
    codes = [one["code"] for one in json.loads(found.stdout)] if found.stdout else []
    return found.returncode, sorted(codes), found.stderr


def test_rules_know_what_the_package_describes(target: Path, tmp_path: Path) -> None:
    (tmp_path / "train.py").write_text(SCRIPT)
    assert check(tmp_path, str(target))[1] == ["TRK301", "TRK501"]
    assert check(tmp_path, "")[1] == []  # without it: a base and a trainer of which nothing is known


def test_a_package_that_cannot_be_loaded_is_one_line(target: Path, tmp_path: Path) -> None:
    broken = tmp_path / "broken"
    (broken / "bad-1.0.dist-info").mkdir(parents=True)
    (broken / "bad-1.0.dist-info/METADATA").write_text("Metadata-Version: 2.1\nName: bad\nVersion: 1.0\n")
    (broken / "bad-1.0.dist-info/entry_points.txt").write_text("[tricklint.libraries]\nbad = bad_model\n")
    (broken / "bad_model.py").write_text("raise ValueError('no such thing')\n")
    (tmp_path / "project").mkdir()
    (tmp_path / "project/train.py").write_text(SCRIPT)
    code, codes, told = check(tmp_path / "project", str(broken))
    assert code == 2 and codes == []
    assert "bad = bad_model" in told and "no such thing" in told and "Traceback" not in told
