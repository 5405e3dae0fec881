"""Out of memory: first alone, then in pieces whose gradients are proven equal, else the run ends and says why."""

from __future__ import annotations

import os
import tempfile
import textwrap
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.utils.data import DataLoader, TensorDataset

from tricklint.verify.plan import BASELINE
from tricklint.verify.runner.pieces import NotProven, Pieces, cut, prove
from tricklint.verify.runner.pieces import _Batch as Batch

from .helpers import run_script, session_for


def rows(n: int = 13, width: int = 6) -> Tensor:
    return torch.randn(n, width, generator=torch.Generator().manual_seed(1))


def net(*extra: nn.Module) -> nn.Module:
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(6, 12), nn.LayerNorm(12), nn.ReLU(), *extra, nn.Linear(12, 3))


def gradients(model: nn.Module) -> list[Tensor]:
    return [p.grad.clone() for p in model.parameters() if p.grad is not None]


LOSSES: dict[str, Callable[[Tensor], Tensor]] = {
    "mean": lambda out: F.cross_entropy(out, torch.arange(len(out)) % 3),
    "sum": lambda out: F.cross_entropy(out, torch.arange(len(out)) % 3, reduction="sum"),
    "class weights": lambda out: F.cross_entropy(out, torch.arange(len(out)) % 3, torch.tensor([1.0, 5.0, 0.1])),
    "contrastive": lambda out: F.cross_entropy(out @ out.T, torch.arange(len(out))),
    "norm of all": lambda out: out.norm(),
}


@pytest.mark.parametrize("pieces", [2, 3, 5, 13])
@pytest.mark.parametrize("loss", LOSSES)
def test_any_loss_of_the_whole_batch_has_the_whole_batchs_gradient(loss: str, pieces: int) -> None:
    x = rows()
    whole, parts = net(), net()
    expected = LOSSES[loss](whole(x))
    expected.backward()
    got = LOSSES[loss](Pieces(pieces).call(parts, parts, (x,), {}))
    got.backward()
    assert got.item() == pytest.approx(expected.item(), rel=1e-5)
    for a, b in zip(gradients(whole), gradients(parts)):
        torch.testing.assert_close(a, b)


def test_inputs_get_gradients_too() -> None:
    """A generator in front of the model that is cut."""
    x = rows()
    one, other = x.clone().requires_grad_(), x.clone().requires_grad_()
    model = net()
    F.softplus(model(one)).sum().backward()
    F.softplus(Pieces(3).call(model, model, (other,), {})).sum().backward()
    torch.testing.assert_close(one.grad, other.grad)


class Named(nn.Module):
    """Takes keywords, returns a dict with a mean loss inside, as models of transformers do."""

    def __init__(self) -> None:
        super().__init__()
        self.net = net()

    def forward(self, x: Tensor, labels: Tensor, scale: float = 1.0) -> dict[str, Any]:
        logits = self.net(x) * scale
        return {"loss": F.cross_entropy(logits, labels), "logits": logits, "kind": "named"}


def test_a_mean_loss_that_the_model_computes_itself_is_weighted() -> None:
    x, labels = rows(), torch.arange(13) % 3
    whole, parts = Named(), Named()
    expected = whole(x, labels=labels, scale=2.0)
    expected["loss"].backward()
    got = Pieces(3).call(parts, parts, (x,), {"labels": labels, "scale": 2.0})
    got["loss"].backward()
    torch.testing.assert_close(got["logits"], expected["logits"])
    assert got["kind"] == "named"
    for a, b in zip(gradients(whole), gradients(parts)):
        torch.testing.assert_close(a, b)


class Summed(Named):
    def forward(self, x: Tensor, labels: Tensor, scale: float = 1.0) -> Any:
        return F.cross_entropy(self.net(x), labels, reduction="sum")


class OverTime(nn.Module):
    """Rows are steps of time, not samples."""

    def __init__(self) -> None:
        super().__init__()
        self.net = nn.LSTM(6, 5)

    def forward(self, x: Tensor) -> Tensor:
        return self.net(x)[0]  # type: ignore[no-any-return]


class Overwrites(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.net = net()

    def forward(self, x: Tensor) -> Tensor:
        return self.net(x.mul_(0.5))  # type: ignore[no-any-return]


class Centred(nn.Module):
    """Mixes samples without any layer that is known for it."""

    def __init__(self) -> None:
        super().__init__()
        self.net = net()

    def forward(self, x: Tensor) -> Tensor:
        return self.net(x - x.mean(0))  # type: ignore[no-any-return]


@pytest.mark.parametrize(
    ("model", "why"),
    [
        (lambda: net(nn.BatchNorm1d(12)), r"each forward changes the buffer .*batch norm \(3\)"),
        (lambda: net(nn.BatchNorm1d(12, track_running_stats=False)), r"differs by .*batch norm \(3\)"),
        (lambda: net(nn.Dropout(0.2)), r"differs by .*dropout \(3\)"),
        (OverTime, "differs by"),
        (Centred, "differs by"),
        (Overwrites, "changes its input in place"),
    ],
)
def test_what_would_come_out_wrong_is_refused(model: Callable[[], nn.Module], why: str) -> None:
    made = model()
    with pytest.raises(NotProven, match=why):
        Pieces(2).call(made, made, (rows(),), {})


def test_a_sum_inside_the_model_is_refused() -> None:
    model = Summed()
    with pytest.raises(NotProven, match="differs by"):
        Pieces(2).call(model, model, (rows(), torch.arange(13) % 3), {})


def test_batch_norm_in_eval_mode_and_dropout_of_zero_are_no_hindrance() -> None:
    model = net(nn.BatchNorm1d(12).eval(), nn.Dropout(0.0))
    model(rows())
    model[3].eval()
    assert prove(model, model, Batch((rows(),), {}), 2) < 1e-4


def test_the_proof_leaves_nothing_behind() -> None:
    """Random numbers, buffers and gradients are as before."""
    model = net()
    state = torch.get_rng_state()
    prove(model, model, Batch((rows(),), {}), 2)
    assert torch.equal(torch.get_rng_state(), state)
    assert all(p.grad is None for p in model.parameters())
    noisy = net(nn.BatchNorm1d(12))
    before = {k: v.clone() for k, v in noisy.state_dict().items()}
    with pytest.raises(NotProven):
        prove(noisy, noisy, Batch((rows(),), {}), 2)
    assert all(torch.equal(v, before[k]) for k, v in noisy.state_dict().items())


def test_gradients_of_gradients_are_refused_and_separate_gradients_are_right() -> None:
    model, x = net(), rows()
    expected = torch.autograd.grad(model(x).pow(2).sum(), list(model.parameters()))
    got = torch.autograd.grad(Pieces(2).call(model, model, (x,), {}).pow(2).sum(), list(model.parameters()))
    for a, b in zip(expected, got):
        torch.testing.assert_close(a, b)
    with pytest.raises(NotProven, match="gradients of gradients"):
        loss = Pieces(2).call(model, model, (x,), {}).pow(2).sum()
        torch.autograd.grad(loss, list(model.parameters()), create_graph=True)


def test_no_more_than_one_piece_has_a_graph_at_a_time() -> None:
    """What it is for: what autograd keeps is that of a piece."""
    from tricklint.verify.runner.memory import SavedBytes

    torch.manual_seed(0)
    model = nn.Sequential(*[part for _ in range(8) for part in (nn.Linear(64, 64), nn.ReLU())], nn.Linear(64, 2))
    x = torch.randn(256, 64)
    peaks = []
    for pieces in (1, 8):
        meter = SavedBytes()
        with meter.hooks():
            out = cut(model, model, Batch((x,), {}), pieces) if pieces > 1 else model(x)
            out.pow(2).mean().backward()
        peaks.append(meter.peak)
    assert peaks[1] < peaks[0] / 4


KINDS = ("plain", "schedule", "clip", "scaler", "scaler and clip", "accumulate", "sum", "average of weights", "bfloat")


def training(kind: str) -> dict[str, Any]:
    """A short training of the usual forms: its losses and what it ends with."""
    torch.manual_seed(0)
    x = torch.randn(150, 10)
    loader = DataLoader(TensorDataset(x, (x.sum(1) > 0).long()), batch_size=64)
    model = nn.Sequential(nn.Linear(10, 16), nn.ReLU(), nn.Linear(16, 2))
    optimizer = torch.optim.SGD(model.parameters(), lr=0.5, momentum=0.9)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, 12) if kind == "schedule" else None
    scaler = torch.amp.GradScaler("cpu", init_scale=64.0) if "scaler" in kind else None
    average = torch.optim.swa_utils.AveragedModel(model) if kind == "average of weights" else None
    losses = []
    for _ in range(4):
        for i, (a, b) in enumerate(loader):
            with torch.autocast("cpu", torch.bfloat16, enabled=kind == "bfloat"):
                loss = F.cross_entropy(model(a), b, reduction="sum" if kind == "sum" else "mean")
            losses.append(loss.item())
            if kind == "accumulate":
                (loss / 2).backward()
                if i % 2:
                    optimizer.step()
                    optimizer.zero_grad()
                continue
            if kind == "sum":
                loss = loss / len(a)
            optimizer.zero_grad()
            (scaler.scale(loss) if scaler else loss).backward()
            if scaler and "clip" in kind:
                scaler.unscale_(optimizer)
            if "clip" in kind:
                nn.utils.clip_grad_norm_(model.parameters(), 0.3)
            if scaler:
                scaler.step(optimizer)
                scaler.update()
            else:
                optimizer.step()
            if schedule:
                schedule.step()
            if average:
                average.update_parameters(model)
    final = average or model
    return {"losses": losses, "weights": list(final.parameters()), "lr": optimizer.param_groups[0]["lr"]}


@pytest.mark.parametrize("kind", KINDS)
def test_whole_trainings_in_pieces_are_those_in_one(kind: str, monkeypatch: pytest.MonkeyPatch) -> None:
    one = training(kind)
    monkeypatch.setattr(nn.Module, "__call__", nn.Module.__call__)  # so that it is put back
    meter = Pieces(4)
    meter.install()
    other = training(kind)
    assert list(meter.proven) == ["Sequential"]
    assert one["lr"] == other["lr"]
    close = {"rtol": 0, "atol": 5e-2 if kind == "bfloat" else 1e-5}
    torch.testing.assert_close(torch.tensor(one["losses"]), torch.tensor(other["losses"]), **close)
    for a, b in zip(one["weights"], other["weights"]):
        torch.testing.assert_close(a, b, **close)


CARD = """
import torch
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.a, self.b = nn.Linear(6, 8), nn.Linear(8, 3)
        self.norm = NORM
    def forward(self, x):
        if self.training and len(x) > LIMIT:
            raise torch.OutOfMemoryError("CUDA out of memory")
        return self.b(self.norm(self.a(x)).relu())

torch.manual_seed(0)
g = torch.Generator().manual_seed(5)
x, y = torch.randn(50, 6, generator=g), torch.randint(0, 3, (50,), generator=g)
model = Net()
optimizer = torch.optim.SGD(model.parameters(), lr=0.1, momentum=0.9)
schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, 8)
for epoch in range(2):
    for a, b in DataLoader(TensorDataset(x, y), batch_size=16, shuffle=True):
        optimizer.zero_grad()
        nn.functional.cross_entropy(model(a), b).backward()
        nn.utils.clip_grad_norm_(model.parameters(), 0.5)
        optimizer.step()
        schedule.step()
print("final score:", sum(p.double().sum().item() for p in model.parameters()))
"""


def card(limit: int, norm: str = "nn.LayerNorm(8)") -> str:
    return CARD.replace("LIMIT", str(limit)).replace("NORM", norm)


def test_a_script_out_of_memory_runs_in_pieces_with_the_same_result(project: Path, engine: Any, tmp_path: Path) -> None:
    import shutil

    whole = run_script(project, engine, card(16))
    shutil.rmtree(project / ".tricklint")
    pieces = run_script(project, engine, card(4))
    assert (whole.pieces, pieces.pieces) == (1, 4)
    assert whole.notes == []
    assert pieces.notes[0].startswith(
        "out of memory: run in 4 pieces; gradients proven equal to the whole batch's: Net"
    )
    assert pieces.steps == whole.steps == 8
    assert pieces.series["final score"] == pytest.approx(whole.series["final score"], abs=1e-5)
    assert pieces.losses[0] == pytest.approx(whole.losses[0], abs=1e-5)


def test_where_pieces_would_be_wrong_the_run_ends_and_says_so(project: Path, engine: Any) -> None:
    run = run_script(project, engine, card(4, "nn.BatchNorm1d(8)"))
    assert (run.status, run.pieces, run.steps) == ("oom", 1, 0)
    assert run.message.startswith("out of memory, and not run in pieces: each forward changes the buffer")
    assert "batch norm (norm) takes its statistics over the whole batch" in run.message


def test_memory_that_the_model_does_not_take_ends_the_run_at_once(project: Path, engine: Any) -> None:
    text = card(16).replace("optimizer.zero_grad()", "raise torch.OutOfMemoryError('CUDA out of memory')")
    run = run_script(project, engine, text)
    assert run.status == "oom"
    assert "also in pieces, and not where the model is called" in run.message


def test_a_script_out_of_memory_without_a_guard_is_a_result(project: Path, engine: Any) -> None:
    run = run_script(project, engine, card(4), oom_guard="none")
    assert (run.status, run.pieces) == ("oom", 1)
    assert "out of memory" in run.message


BESIDE = """
import os, time, torch
from pathlib import Path
here = Path(PLACE)
(here / str(os.getpid())).touch()
late = time.monotonic() + 60
while len(list(here.iterdir())) < 2 and time.monotonic() < late:
    time.sleep(0.02)
if len(list(here.iterdir())) == 2:
    time.sleep(0.2)
    raise torch.OutOfMemoryError("CUDA out of memory")
torch.optim.SGD([torch.nn.Parameter(torch.ones(1))], lr=0.1).step()
"""


@pytest.mark.skipif(not os.path.isdir("/dev/shm"), reason="no memory that processes share as a folder")
def test_a_run_out_of_memory_beside_others_is_first_made_again_alone(project: Path, engine: Any) -> None:
    """Two runs at a time do not fit; each alone does."""
    with tempfile.TemporaryDirectory(dir="/dev/shm") as place:
        (project / "train.py").write_text(textwrap.dedent(BESIDE.replace("PLACE", repr(place))))
        session = session_for(project, engine, seeds=2)
        session.run(session.missing())
    runs = [session.ledger.runs[(BASELINE, seed, 1.0)] for seed in range(2)]
    assert [run.status for run in runs] == ["ok", "ok"]
    assert [run.notes for run in runs] == [["out of memory beside other runs: made again alone"]] * 2
    assert all(run.pieces == 1 for run in runs)
