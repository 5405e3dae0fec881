"""A fix that takes a model's gradients away is not made, whatever else it leaves as it was."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tricklint.check import Options, run
from tricklint.finding import Finding, Fix, FixLevel, Keeps, Severity
from tricklint.fix import build
from tricklint.program import Program
from tricklint.rule import Rule
from tricklint.settings import load
from tricklint.source.tree import walk

SCRIPT = """\
import torch
from torch import nn

encoder, head = nn.Linear(8, 4), nn.Linear(4, 2)
nn.init.xavier_uniform_(encoder.weight)
nn.init.xavier_uniform_(head.weight)
optimizer = torch.optim.SGD([*encoder.parameters(), *head.parameters()], lr=0.1)
for x, y in torch.utils.data.DataLoader([(torch.randn(8), 1)] * 8):
    features = encoder(x)
    loss = nn.functional.cross_entropy(head(features), y)
    optimizer.zero_grad()
    loss.backward()
    optimizer.step()
"""


class Cuts(Rule):
    """Puts a method behind what `head` is given."""

    code = "XYZ101"
    name = "cuts"
    summary = "a rewrite that cuts"
    severity = Severity.ADVICE
    fix_level = FixLevel.RECIPE
    trick = "none"
    triggers = ("torch",)

    def __init__(self, method: str, keeps: Keeps) -> None:
        self.method, self.keeps = method, keeps

    def check(self, program: Program) -> Iterator[Finding]:
        for file in program.project.loaded():
            for node in walk(file.tree.module):
                if getattr(getattr(node, "func", None), "value", "") == "head" and file.tree.code(node) == "head(features)":
                    edits = build.replace(file.tree, node.args[0], f"features{self.method}")
                    fix = Fix(FixLevel.RECIPE, "cut", edits, "a test", self.keeps)
                    yield program.finding(self, file, node, "not cut", [], fix)


@pytest.mark.parametrize(
    ("method", "keeps", "why"),
    [
        (".detach()", Keeps(), "no gradient would come to Linear any more"),
        (".detach()", Keeps(frozen="any"), ""),  # a freeze is what such a fix is for
        (".relu()", Keeps(), ""),
    ],
)
def test_gradients_are_kept(tmp_path: Path, method: str, keeps: Keeps, why: str) -> None:
    (tmp_path / "train.py").write_text(SCRIPT)
    settings = load([tmp_path], isolated=True, options={"select": ["XYZ"]})
    report = run([tmp_path], settings, Options(diff=True, cache=False, rules=(Cuts(method, keeps),)))
    assert [reason for _, reason in report.refused] == ([why] if why else [])
    assert len(report.fixed) == (not why)


def test_what_was_followed_in_haste_tells_no_gradients(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A function's earlier answer may stand for a new one there: where that came from is not known."""
    from tricklint.fix import facts as known
    from tricklint.interpreter import yields

    for number in range(2):
        (tmp_path / f"train_{number}.py").write_text(SCRIPT)
    monkeypatch.setattr(yields, "LONG", 1)
    entries: list[str] = []
    facts_of = known.facts_of

    def facts(program: Program) -> known.Facts:
        found = facts_of(program)
        entries.extend(Path(event[0]).name for event in found.gradients)
        return found

    monkeypatch.setattr(known, "facts_of", facts)
    settings = load([tmp_path], isolated=True, options={"select": ["XYZ"]})
    run([tmp_path], settings, Options(diff=True, cache=False, rules=(Cuts(".relu()", Keeps()),)))
    assert set(entries) == {"train_0.py"}
