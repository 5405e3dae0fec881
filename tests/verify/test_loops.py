"""Loops are timed on the user's own frame inside the user's own run; results must be equal."""

from __future__ import annotations

import textwrap
from pathlib import Path
from typing import Any

import pytest

from tricklint.finding import Finding, Fix, FixLevel, Location, Severity
from tricklint.verify.proofs import prove_loops, prove_memory, size, slope, time
from tricklint.verify.replay import Command, ReplayWork
from tricklint.verify.runner.loops import difference, enclosing
from tricklint.verify.stats import Verdict
from tricklint.verify.workspace import Project

pd = pytest.importorskip("pandas")

SCRIPT = """
import pandas as pd

class Reader:
    def __init__(self, frame):
        self.frame = frame

    def names(self):
        out = []
        for _, row in self.frame.iterrows():
            out.append(row["name"].upper())
        return out

def ids(frame, column="id"):
    out = []
    for _, row in frame.iterrows():
        out.append(row["id"])
    return out

def never(frame):
    return [row["id"] for _, row in frame.iterrows()]

df = pd.DataFrame({"id": [3, 1, 2], "name": ["a", "b", "c"], "x": [0.5, 1.5, float("nan")]})
if __name__ == "__main__":
    ids(df)
    Reader(df).names()
    total = []
    for _, row in df.iterrows():
        total.append(row["name"])
"""


def finding(path: Path, row: int, code: str = "TRK401") -> Finding:
    fix = Fix(FixLevel.RECIPE, "what the test hands in", ())
    return Finding(code, "iterrows-loop", Severity.WARNING, "m", path, Location(row, 1), Location(row, 2), fix=fix)


def row_of(text: str, needle: str, nth: int = 1) -> int:
    rows = [i for i, line in enumerate(text.splitlines(), 1) if needle in line]
    return rows[nth - 1]


def prove(root: Path, engine: Any, text: str, fixed: str, rows: list[int], limit_s: float = 2.0) -> list[Any]:
    (root / "train.py").write_text(text)
    folder = root / ".tricklint" / "verify" / "now"
    (folder / "work").mkdir(parents=True)
    (folder / "logs").mkdir()
    work = ReplayWork(Project.scan(root), Command.parse(["train.py"], root), folder)
    return prove_loops(
        [finding(root / "train.py", row) for row in rows], work, engine, lambda codes: {"train.py": fixed}, limit_s
    )


def test_functions_methods_and_module_level_loops(project: Path, engine: Any) -> None:
    fixed = SCRIPT.replace(
        '    out = []\n    for _, row in frame.iterrows():\n        out.append(row["id"])\n    return out',
        '    return frame["id"].tolist()',
    )
    fixed = fixed.replace(
        '        for _, row in self.frame.iterrows():\n            out.append(row["name"].upper())',
        '        for name in self.frame["name"].tolist():\n            out.append(name.upper())',
    )
    fixed = fixed.replace(
        '    for _, row in df.iterrows():\n        total.append(row["name"])',
        '    for name in df["name"].tolist():\n        total.append(name)',
    )
    rows = [row_of(SCRIPT, "frame.iterrows()", n) for n in (1, 2, 3)]
    proofs = {p.place: p for p in prove(project, engine, SCRIPT, fixed, rows)}
    names, ids, never = (proofs[f"train.py:{row}"] for row in rows)
    for proof in (names, ids):
        assert proof.verdict is Verdict.HELPS, proof.text
        assert [row[0] for row in proof.rows][:2] == [1000, 10000]
        assert all(before > after for _, before, after in proof.rows)
        assert "equal results" in proof.text
    assert never.verdict is Verdict.NOT_REACHED


def test_a_loop_at_module_level(project: Path, engine: Any) -> None:
    text = textwrap.dedent("""
        import pandas as pd
        df = pd.DataFrame({"id": [3, 1, 2], "name": ["a", "b", "c"]})
        total = []
        for _, row in df.iterrows():
            total.append(row["name"])
        raise SystemExit("the rest is not run")
    """)
    fixed = text.replace(
        'for _, row in df.iterrows():\n    total.append(row["name"])',
        'for name in df["name"].tolist():\n    total.append(name)',
    )
    (proof,) = prove(project, engine, text, fixed, [row_of(text, "iterrows")])
    assert proof.verdict is Verdict.HELPS, proof.text


def test_a_rewrite_that_changes_the_result_is_caught(project: Path, engine: Any) -> None:
    text = (
        "import pandas as pd\ndef f(df):\n    out = []\n"
        '    for _, row in df.iterrows():\n        out.append(row["x"])\n'
        '    return out\nf(pd.DataFrame({"x": [1, 2], "y": [0.5, 1.0]}))\n'
    )
    fixed = text.replace('    for _, row in df.iterrows():\n        out.append(row["x"])', '    out = df["x"].tolist()')
    (proof,) = prove(project, engine, text, fixed, [4])
    assert proof.verdict is Verdict.HURTS
    assert "became" in proof.text  # iterrows upcasts to float, the column list holds ints


def test_where_a_row_stands() -> None:
    import ast

    tree = ast.parse(SCRIPT)
    assert enclosing(tree, row_of(SCRIPT, "self.frame.iterrows")) == ("Reader.names", row_of(SCRIPT, "def names"))
    assert enclosing(tree, row_of(SCRIPT, "df = pd")) is None


def test_differences() -> None:
    frame = pd.DataFrame({"a": [1, 2]})
    assert difference([1, float("nan")], [1, float("nan")]) == ""
    assert difference(1, 1.0) == "int became float"
    assert difference(frame, frame.copy()) == ""
    assert difference(frame, frame.astype(float)) != ""
    assert difference({"a": [1]}, {"a": [2]}) == "1 became 2"
    assert difference([1], [1, 2]) == "1 items became 2"


LEAK = """
import torch
from torch import nn
model = nn.Sequential(nn.Linear(50, 50), nn.ReLU(), nn.Linear(50, 1))
optimizer = torch.optim.SGD(model.parameters(), lr=0.01)
total = 0
for step in range(30):
    optimizer.zero_grad()
    loss = model(torch.randn(64, 50)).pow(2).mean()
    loss.backward()
    optimizer.step()
    total += model(torch.randn(64, 50)).pow(2).mean()
"""


def counting(project: Path, text: str) -> ReplayWork:
    """The project's train.py replaced by `text`, and the work that runs it."""
    (project / "train.py").write_text(text)
    folder = project / ".tricklint" / "verify" / "now"
    (folder / "work").mkdir(parents=True)
    (folder / "logs").mkdir()
    return ReplayWork(Project.scan(project), Command.parse(["train.py"], project), folder)


def test_a_kept_graph_is_seen_growing(project: Path, engine: Any) -> None:
    work = counting(project, LEAK)
    found = finding(project / "train.py", 12, "TRK302")
    fixed = LEAK.replace("pow(2).mean()\n", "pow(2).mean().item()\n").replace(
        "loss = model(torch.randn(64, 50)).pow(2).mean().item()", "loss = model(torch.randn(64, 50)).pow(2).mean()"
    )
    (proof,) = prove_memory([found], work, engine, lambda codes: {"train.py": fixed}, None)
    assert proof.verdict is Verdict.HELPS, proof.text
    before, after = [row[1] for row in proof.rows], [row[2] for row in proof.rows]
    assert before[-1] > 10 * before[1] > 0
    assert max(after) == 0
    assert "more stayed alive" in proof.text


TOTAL = """
import torch
from torch import nn
model = nn.Sequential(nn.Linear(50, 50), nn.ReLU(), nn.Linear(50, 1))
optimizer = torch.optim.SGD(model.parameters(), lr=0.01)
total = 0
for step in range(30):
    optimizer.zero_grad()
    loss = model(torch.randn(64, 50)).pow(2).mean()
    loss.backward()
    optimizer.step()
    total += loss
"""


def test_a_total_of_backpropagated_losses_keeps_the_nodes_of_its_graphs(project: Path, engine: Any) -> None:
    """backward() let the activations go; what grows are the nodes: addmm, relu, addmm, pow, mean and two transposes."""
    work = counting(project, TOTAL)
    fixed = TOTAL.replace("total += loss", "total += loss.item()")
    found = finding(project / "train.py", 12, "TRK302")
    (proof,) = prove_memory([found], work, engine, lambda codes: {"train.py": fixed}, None)
    assert proof.verdict is Verdict.HELPS, proof.text
    assert "after each step 7 more nodes of graphs stayed alive, now 0" in proof.text
    assert proof.unit == "nodes"
    assert [row[1] for row in proof.rows] == [7.0 * (step + 1) for step in range(30)]
    # A step's own graph lives while `loss` refers to it: once, not 30 times.
    assert max(row[2] for row in proof.rows) <= 7


BATCH = """
import torch
from torch import nn
from torch.utils.data import DataLoader, TensorDataset
torch.manual_seed(0)
loader = DataLoader(TensorDataset(torch.randn(96, 20), torch.randint(0, 2, (96,))), batch_size=32)
model = nn.Sequential(nn.Linear(20, 100), nn.ReLU(), nn.Linear(100, 2))
optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
for x, y in loader:
    optimizer.zero_grad()
    loss = nn.functional.cross_entropy(model(x), y)
    loss.backward()
    optimizer.step()
"""
HALVED = BATCH.replace(
    """    optimizer.zero_grad()
    loss = nn.functional.cross_entropy(model(x), y)
    loss.backward()
""",
    """    pieces = 1
    while True:
        try:
            optimizer.zero_grad()
            for a, b in zip(x.chunk(pieces), y.chunk(pieces)):
                loss = nn.functional.cross_entropy(model(a), b) * (len(a) / len(x))
                loss.backward()
            break
        except torch.cuda.OutOfMemoryError:
            pieces *= 2
""",
)


def test_the_batch_that_fits_and_training_with_less_memory(project: Path, engine: Any) -> None:
    """Kept for a batch of 32: its input, the hidden layer, log-softmax, targets, and one number. About 32 (20 + 100 + 2) 4
    bytes and 32 targets of 8."""
    work = counting(project, BATCH)
    found = finding(project / "train.py", 6, "TRK301")
    (proof,) = prove_memory([found], work, engine, lambda codes: {"train.py": HALVED}, None, card=1e6)
    assert proof.verdict is Verdict.HELPS, proof.text
    kept = 32 * (20 + 100 + 2) * 4 + 32 * 8 + 4
    held = 2 * 4 * (20 * 100 + 100 + 100 * 2 + 2)
    fits = int((1e6 - held) / (kept / 32))
    assert (
        f"a step keeps {size(kept)} for a batch of 32: about {fits // 100 * 100:,} samples fit 976.6 kB" in proof.text
    )
    assert f"with {size(0.6 * kept)} the original ends out of memory, the fixed trains on in pieces" in proof.text


def test_without_a_fix_the_batch_that_fits_is_shown_all_the_same(project: Path, engine: Any) -> None:
    from dataclasses import replace

    work = counting(project, BATCH)
    found = replace(finding(project / "train.py", 6, "TRK301"), fix=None)
    (proof,) = prove_memory([found], work, engine, lambda codes: {}, None, card=1e6)
    assert proof.verdict is Verdict.NOT_JUDGED
    assert "samples fit 976.6 kB; there is no fix to measure here" in proof.text


def test_small_words() -> None:
    assert [size(n) for n in (12, 1536, 3 << 20)] == ["12 B", "1.5 kB", "3.0 MB"]
    assert [time(t) for t in (2.5, 0.0171, 0.00094)] == ["2.5 s", "17.1 ms", "940 µs"]
    assert slope([0, 10, 20, 30]) == pytest.approx(10)
    assert slope([5, 5]) == 0
