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


RULE = '''
"""A rule of a laboratory."""

from collections.abc import Iterator

from tricklint.finding import Finding, Fix, FixLevel, Keeps, Severity
from tricklint.fix import build
from tricklint.interpreter.events import Accumulated
from tricklint.interpreter.values import Const, Instance, first
from tricklint.libraries.events import Froze, GradsCleared, OptimizerBuilt, Stepped
from tricklint.libraries.facts import OptimizerFacts
from tricklint.program import Program
from tricklint.rule import Rule


class Slow(Rule):
    code = "LAB102"
    name = "slow"
    summary = "the learning rate is tiny"
    severity = Severity.WARNING
    triggers = ("optim",)

    def check(self, program: Program) -> Iterator[Finding]:
        stepped = {id(event.subject) for event in program.events(Stepped, GradsCleared)}
        for event in program.events(OptimizerBuilt):
            subject: Instance = event.subject
            rate = first(subject.fact(OptimizerFacts).options.get("lr"))
            if id(subject) not in stepped or not isinstance(rate, Const) or not event.possible:
                continue
            why = program.evidence(event.file, subject.node, "built here")
            edits = build.replace(event.file.tree, event.node, "optimizer")
            fix = Fix(FixLevel.UNSAFE, "take another", edits, "trains otherwise", Keeps(optimised="any"))
            yield program.finding(self, event.file, event.node, f"{rate.value}", [why], fix)
        for each in program.events(Froze, Accumulated):
            at: bool | None = each.value if isinstance(each, Froze) else None
            print(at, each.activation.calls, [loop.serial for loop in each.loops])
'''


@pytest.mark.slow
def test_a_rule_from_elsewhere_is_strictly_typed(tmp_path: Path) -> None:
    file = tmp_path / "lab_rule.py"
    file.write_text(RULE)
    assert mypy(file) == ""
    file.write_text(RULE.replace("event.possible", "event.posible").replace("each.value if", "each.vale if"))
    complaints = mypy(file)
    assert "posible" in complaints and "vale" in complaints
