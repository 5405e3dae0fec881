"""What only a card can show: scripts replayed there, forks beside an open CUDA, a real end of memory, runs side by side.

Run with `python -m pytest -m gpu tests/verify`.
"""

from __future__ import annotations

import subprocess
import sys
import textwrap
from pathlib import Path
from typing import Any

import pytest
import torch

from tricklint.verify.devices import cards_here, place
from tricklint.verify.engines.local import LocalEngine
from tricklint.verify.plan import BASELINE, Task

from .helpers import MODEL, edited, run_script, session_for

pytestmark = [
    pytest.mark.gpu,
    pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device"),
]

TRAIN = """
    import torch
    from torch import nn
    from torch.utils.data import DataLoader, TensorDataset
    from model import Net

    torch.manual_seed(0)
    torch.use_deterministic_algorithms(True)
    torch.backends.cudnn.benchmark = False
    drawn = torch.Generator(device="cuda").manual_seed(5)
    x = torch.randn(120, 6, generator=drawn, device="cuda")
    y = (x[:, 0] * x[:, 1] > 0).long()
    loader = DataLoader(TensorDataset(x[:80], y[:80]), batch_size=16, shuffle=True)
    model = Net().cuda()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1, momentum=0.9)
    for epoch in range(2):
        for a, b in loader:
            optimizer.zero_grad()
            loss = nn.functional.cross_entropy(nn.functional.dropout(model(a), 0.1), b)
            loss.backward()
            optimizer.step()
    with torch.no_grad():
        print(f"val_loss: {nn.functional.cross_entropy(model(x[80:]), y[80:]).item():.9f}")
        print(f"drawn: {torch.rand(1, device='cuda').item():.9f}")
"""


def test_run_0_on_a_card_is_the_users_own_run(
    project: Path, engine: Any, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("CUBLAS_WORKSPACE_CONFIG", ":4096:8")
    run = run_script(project, engine, TRAIN)
    assert run.status == "ok", run.message
    done = subprocess.run([sys.executable, "train.py"], cwd=project, capture_output=True, text=True, check=True)
    plain = dict(line.split(": ") for line in done.stdout.split("\n") if ": " in line)
    assert run.series["val_loss"][-1] == float(plain["val_loss"])
    assert run.memory["cuda"] > 0
    assert run.memory["reserved"] >= run.memory["cuda"]
    assert run.memory["cards"] == 1
    assert run.step_s[0] is not None and run.step_s[0] > 0


def test_seeds_of_the_cards_own_generators_are_shifted(
    project: Path, engine: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CUBLAS_WORKSPACE_CONFIG", ":4096:8")
    (project / "train.py").write_text(textwrap.dedent(TRAIN))
    session = session_for(project, engine, [edited("same", model=MODEL + "\n# a comment\n")], seeds=2)
    session.run(session.missing())
    runs = session.ledger.runs
    assert runs[(BASELINE, 0, 1.0)].losses == runs[("same", 0, 1.0)].losses
    assert runs[(BASELINE, 1, 1.0)].losses == runs[("same", 1, 1.0)].losses
    assert runs[(BASELINE, 0, 1.0)].losses != runs[(BASELINE, 1, 1.0)].losses
    assert runs[(BASELINE, 0, 1.0)].series["drawn"] != runs[(BASELINE, 1, 1.0)].series["drawn"]


@pytest.mark.parametrize("opening", ["torch.cuda.is_available()", "torch.zeros(1, device='cuda')"])
def test_a_package_that_opens_cuda_when_it_is_imported_costs_no_run(
    project: Path, tmp_path: Path, opening: str
) -> None:
    (tmp_path / "opens_cuda.py").write_text(f"import torch\n{opening}\n")
    engine = LocalEngine(workers=1, preload=["torch", "opens_cuda"], path=[str(tmp_path)])
    try:
        run = run_script(project, engine, TRAIN)
    finally:
        engine.close()
    assert run.status == "ok", run.message
    assert run.memory["cuda"] > 0


def test_runs_share_a_card_by_what_the_pilot_took(project: Path) -> None:
    engine = LocalEngine(workers=4, preload=["torch"])
    try:
        text = textwrap.dedent(TRAIN).replace("drawn =", "big = torch.zeros(2**28, device='cuda')\ndrawn =", 1)
        (project / "train.py").write_text(text)
        session = session_for(project, engine, seeds=4)
        session.run([Task(BASELINE, 0)])
        pilot = session.ledger.runs[(BASELINE, 0, 1.0)]
        assert pilot.status == "ok", pilot.message
        assert pilot.memory["reserved"] >= 2**30
        placement = place(pilot, 4, None, cards_here)
        assert placement.cards and all(seat.cards for seat in placement.seats)
        engine.place(placement)
        session.run(session.missing())
        assert [run.status for run in session.ledger.runs.values()] == ["ok"] * 4
        assert len({run.memory["device"] for run in session.ledger.runs.values()}) == 1
    finally:
        engine.close()


MEMORY = """
    import torch
    from torch import nn
    from torch.utils.data import DataLoader, TensorDataset

    WIDTH, BATCH = 4096, 16384
    total = torch.cuda.get_device_properties(0).total_memory
    torch.cuda.set_per_process_memory_fraction(LIMIT / total)

    class Net(nn.Module):
        def __init__(self):
            super().__init__()
            self.layers = nn.ModuleList(nn.Linear(WIDTH, WIDTH) for _ in range(4))
            self.last = nn.Linear(WIDTH, 3)
        def forward(self, x):
            x = x.repeat(1, WIDTH // 8)
            for layer in self.layers:
                x = nn.functional.gelu(layer(x)) + x
            return self.last(EXTRA(x))

    torch.manual_seed(0)
    g = torch.Generator().manual_seed(5)
    x, y = torch.randn(2 * BATCH, 8, generator=g), torch.randint(0, 3, (2 * BATCH,), generator=g)
    model = Net().cuda()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.02, momentum=0.9)
    scaler = torch.amp.GradScaler("cuda", enabled=HALF)
    for a, b in DataLoader(TensorDataset(x, y), batch_size=BATCH, shuffle=True):
        optimizer.zero_grad()
        with torch.autocast("cuda", torch.float16, enabled=HALF):
            loss = nn.functional.cross_entropy(model(a.cuda()), b.cuda())
        scaler.scale(loss).backward()
        scaler.unscale_(optimizer)
        nn.utils.clip_grad_norm_(model.parameters(), 0.5)
        scaler.step(optimizer)
        scaler.update()
    print("val_score:", sum(p.double().abs().mean().item() for p in model.parameters()))
"""


def limited(limit: float, half: bool = False, extra: str = "nn.Identity()") -> str:
    """The script with `limit` GiB of the card to itself."""
    return MEMORY.replace("LIMIT", str(int(limit * 2**30))).replace("HALF", str(half)).replace("EXTRA", extra)


@pytest.mark.parametrize("half", [False, True])
def test_a_script_that_does_not_fit_its_card_runs_in_pieces(project: Path, engine: Any, half: bool) -> None:
    import shutil

    whole = run_script(project, engine, limited(16, half))
    assert (whole.status, whole.pieces, whole.notes) == ("ok", 1, []), whole.message
    shutil.rmtree(project / ".tricklint")
    parts = run_script(project, engine, limited(0.6 * whole.memory["reserved"] / 2**30, half))
    assert parts.status == "ok", parts.message
    assert parts.pieces > 1
    assert parts.notes[0].startswith(f"out of memory: run in {parts.pieces} pieces; gradients proven equal")
    assert parts.memory["cuda"] < 0.7 * whole.memory["cuda"]
    close = 2e-2 if half else 1e-4
    assert parts.losses[0] == pytest.approx(whole.losses[0], rel=close)
    assert parts.series["val_score"] == pytest.approx(whole.series["val_score"], rel=close)


def test_what_pieces_would_change_is_not_cut_on_a_card(project: Path, engine: Any) -> None:
    text = textwrap.dedent(limited(2.0)).replace("self.last =", "self.norm = nn.BatchNorm1d(WIDTH)\n        self.last =")
    run = run_script(project, engine, text.replace("nn.Identity()(x)", "self.norm(x)"))
    assert (run.status, run.pieces) == ("oom", 1)
    assert "batch norm (norm) takes its statistics over the whole batch" in run.message
