"""marimo notebooks: cells share names, and run in the order in which they need each other."""

from __future__ import annotations

from pathlib import Path

from tricklint.check import Options, run
from tricklint.settings import load

NOTEBOOK = '''\
import marimo

__generated_with = "0.25.2"
app = marimo.App(width="medium")

with app.setup:
    import torch


@app.cell
def _(model):
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-3, weight_decay=0.05)
    return (optimizer,)


@app.cell(hide_code=True)
def _(mo):
    mo.md(r"""# A model""")
    return


@app.cell
def build(nn):
    model = nn.Sequential(nn.Linear(8, 16), nn.LayerNorm(16), nn.ReLU(), nn.Linear(16, 2))
    return (model,)


@app.cell
def _():
    import marimo as mo
    from torch import nn
    return mo, nn


@app.cell
def _(nowhere, torch):
    other = torch.optim.SGD(nowhere.parameters(), lr=0.1, weight_decay=0.05)
    return (other,)


if __name__ == "__main__":
    app.run()
'''


def found(folder: Path, text: str, fix: bool = False) -> list[tuple[str, int]]:
    path = folder / "notebook.py"
    path.write_text(text)
    settings = load([path], isolated=True, options={"select": ["TRK601", "TRK701"]})
    report = run([path], settings, Options(fix=fix, cache=False))
    assert not report.problems
    return [(finding.code, finding.location.row) for finding in report.findings]


def test_cells_share_names_whatever_their_order(tmp_path: Path) -> None:
    assert found(tmp_path, NOTEBOOK) == [("TRK601", 12)]


def test_a_cell_is_mended_in_its_place(tmp_path: Path) -> None:
    assert found(tmp_path, NOTEBOOK, fix=True) == []
    mended = (tmp_path / "notebook.py").read_text()
    assert "    for name, param in model.named_parameters():\n" in mended
    assert "    return (optimizer,)\n" in mended
    compile(mended, "notebook.py", "exec")


def test_without_its_run_the_notebook_is_no_program(tmp_path: Path) -> None:
    assert found(tmp_path, NOTEBOOK.partition("if __name__")[0]) == []
