"""Memory: the estimate, pieces weighted n_i / N, and koila behind its proof."""

from __future__ import annotations

import sys

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from tricklint.verify.memory import Guard, largest_batch, saved_bytes, step_bytes
from tricklint.verify.runner.memory import SavedBytes


def mlp() -> nn.Module:
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(8, 16), nn.ReLU(), nn.Linear(16, 4))


def deep() -> nn.Module:
    """Keeps far more than its input."""
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(8, 64), nn.ReLU(), nn.Linear(64, 64), nn.ReLU(), nn.Linear(64, 64), nn.Linear(64, 4))


def batch(n: int = 13) -> tuple[Tensor, Tensor]:
    g = torch.Generator().manual_seed(1)
    return torch.randn(n, 8, generator=g), torch.randint(0, 4, (n,), generator=g)


def gradients(model: nn.Module) -> list[Tensor]:
    return [p.grad.clone() for p in model.parameters() if p.grad is not None]


class OnlySmall(nn.Module):
    """Raises OutOfMemoryError for batches above `limit`, as a card would."""

    def __init__(self, limit: int) -> None:
        super().__init__()
        self.net, self.limit = mlp(), limit

    def forward(self, x: Tensor) -> Tensor:
        if len(x) > self.limit:
            raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2 GiB")
        return self.net(x)


def test_out_of_memory_halves_the_batch_and_keeps_the_gradient() -> None:
    x, y = batch()
    model, plain = OnlySmall(4), mlp()
    guard = Guard(F.cross_entropy)
    guard.backward(model, x, y)
    F.cross_entropy(plain(x), y).backward()
    assert guard.pieces == 4
    assert "run in 4 pieces; gradients proven equal" in guard.notes[-1]
    for a, b in zip(gradients(plain), gradients(model)):
        torch.testing.assert_close(a, b)


def test_no_guard_lets_the_error_through() -> None:
    x, y = batch()
    with pytest.raises(torch.OutOfMemoryError):
        Guard(F.cross_entropy, "none").backward(OnlySmall(4), x, y)
    with pytest.raises(torch.OutOfMemoryError):
        Guard(F.cross_entropy).backward(OnlySmall(0), x, y)


def test_a_model_that_mixes_samples_is_not_run_in_pieces() -> None:
    """Batch norm: the error says so, instead of other gradients."""
    model = nn.Sequential(OnlySmall(4), nn.BatchNorm1d(4))
    with pytest.raises(torch.OutOfMemoryError, match=r"not run in pieces: .*batch norm \(1\)"):
        Guard(F.cross_entropy).backward(model, *batch())


def test_the_estimate_on_meta_is_that_of_a_real_step() -> None:
    """Saved for backward by hand: the inputs of both Linears, the ReLU's output (shared with the second Linear's
    input), log-softmax's output, and the targets."""
    x, y = batch(10)
    real = saved_bytes(mlp(), F.cross_entropy, x, y)
    meta = saved_bytes(mlp().to("meta"), F.cross_entropy, x.to("meta"), y.to("meta"))
    by_hand = 4 * (10 * 8 + 10 * 16 + 10 * 4) + 8 * 10
    assert real == meta
    assert by_hand <= real <= by_hand + 8  # the total weight of the loss is one number more


def test_step_bytes_counts_weights_gradients_and_states() -> None:
    x, y = batch(10)
    model = mlp()
    weights = sum(p.numel() * 4 for p in model.parameters())
    sgd, adam = step_bytes(model, F.cross_entropy, x, y, 1), step_bytes(model, F.cross_entropy, x, y, 2)
    assert adam - sgd == weights
    assert sgd == saved_bytes(mlp(), F.cross_entropy, x, y) + 3 * weights + x.numel() * 4
    assert all(p.grad is None for p in model.parameters())


def test_largest_batch() -> None:
    assert largest_batch(lambda n: 100 + 10 * n, 1000) == 90
    assert largest_batch(lambda n: 100 + 10 * n, 50) == 0
    found = largest_batch(lambda n: 7 * n, 1_000_000)
    assert 0.97 * 1_000_000 / 7 <= found <= 1_000_000 / 7


class TestKoila:
    """With the real koila 0.1.1."""

    @pytest.fixture(autouse=True)
    def real_koila(self) -> None:
        pytest.importorskip("koila", reason="koila is not installed (pip install 'tricklint[verify]')")

    def test_is_used_where_its_gradients_are_right(self) -> None:
        from tricklint.verify.koila_guard import prove

        x, y = batch()
        step, why = prove(mlp(), F.cross_entropy, x, y)
        assert step is not None, why
        whole, lazy = mlp(), mlp()
        F.cross_entropy(whole(x), y).backward()
        step(lazy, x, y, 3)
        for a, b in zip(gradients(whole), gradients(lazy)):
            torch.testing.assert_close(a, b)

    def test_is_refused_for_batch_norm(self) -> None:
        from tricklint.verify.koila_guard import prove

        model = nn.Sequential(nn.Linear(8, 16), nn.BatchNorm1d(16), nn.Linear(16, 4))
        step, why = prove(model, F.cross_entropy, *batch())
        assert step is None
        assert "batch norm" in why

    def test_is_refused_where_its_gradients_differ(self) -> None:
        """A loss that sums cannot be cut into weighted means; the proof sees it."""
        from tricklint.verify.koila_guard import prove

        def summed(outputs: Tensor, targets: Tensor) -> Tensor:
            return F.cross_entropy(outputs, targets, reduction="sum")

        step, why = prove(mlp(), summed, *batch())
        assert step is None
        assert why

    def test_the_guard_uses_it_where_memory_runs_out(self) -> None:
        """Not before: a batch that fits is run as it is."""
        x, y = batch(64)
        model, twin = deep(), deep()
        guard = Guard(F.cross_entropy, "koila")
        guard.backward(model, x, y)
        assert guard.notes == [] and guard.koila is None
        model.zero_grad()
        whole = saved_bytes(deep(), F.cross_entropy, x, y)
        meter = SavedBytes(whole / 3)
        with meter.hooks():
            guard.backward(model, x, y)
        F.cross_entropy(twin(x), y).backward()
        (note,) = guard.notes
        assert note.startswith("out of memory: run by koila in 4 pieces; gradients proven equal to PyTorch's")
        assert meter.peak <= whole / 3
        for a, b in zip(gradients(twin), gradients(model)):
            torch.testing.assert_close(a, b)

    def test_the_guard_falls_back_with_one_line(self) -> None:
        """Where koila cannot be used, the model runs in pieces, and where these cannot either, it says so."""
        x, y = batch(64)
        noisy = nn.Sequential(nn.Linear(8, 16), nn.BatchNorm1d(16), nn.Linear(16, 4))
        with SavedBytes(4000).hooks(), pytest.raises(torch.OutOfMemoryError, match=r"not run in pieces: .*batch norm"):
            Guard(F.cross_entropy, "koila").backward(noisy, x, y)

        def summed(outputs: Tensor, targets: Tensor) -> Tensor:
            return F.cross_entropy(outputs, targets, reduction="sum")

        model, twin = deep(), deep()
        guard = Guard(summed, "koila")
        with SavedBytes(saved_bytes(deep(), summed, x, y) / 1.6).hooks():
            guard.backward(model, x, y)
        summed(twin(x), y).backward()
        assert guard.notes[0].startswith("koila not used: ")
        assert "run in " in guard.notes[1]
        for a, b in zip(gradients(twin), gradients(model)):
            torch.testing.assert_close(a, b)

    def test_loads_without_the_old_pynvml(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """pynvml ≥ 12 has no `smi`; the stand-in takes its place (in a process of its own)."""
        import subprocess

        code = (
            "import sys, types\n"
            "fake = types.ModuleType('pynvml'); fake.__path__ = []\n"
            "sys.modules['pynvml'] = fake\n"
            "from tricklint.verify.koila_guard import load\n"
            "print(load().lazy.__name__)\n"
        )
        done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
        assert done.stdout.strip() == "lazy", done.stderr
