"""What a recipe is, and the plain loop that trains one variant with one seed."""

from __future__ import annotations

import contextlib
import math
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from tricklint.verify.runner.memory import SavedBytes
from tricklint.verify.runner.pieces import out_of_memory
from tricklint.verify.runner.record import peak_memory, reset_peak

_STRIDE = 1_000_003
EVALUATIONS = 5  # times a run is evaluated, the last one at its end


@dataclass(frozen=True)
class Data:
    """Tensors of one data set; `x` of shape (samples, …), `y` of shape (samples,)."""

    x: Tensor
    y: Tensor
    x_test: Tensor
    y_test: Tensor

    def to(self, device: torch.device) -> Data:
        return Data(self.x.to(device), self.y.to(device), self.x_test.to(device), self.y_test.to(device))


class Recipe:
    """One training recipe. A subclass sets the attributes and says how a variant's model and optimizer are built."""

    name: str
    title: str
    rules: tuple[str, ...]  # the rules whose Evidence it gives
    variants: dict[str, str]  # name → label; the first one is the baseline
    ladder: tuple[str, ...] = ()  # variants in the order of the chart
    metrics: tuple[str, ...] = ("test_acc",)  # those that verdicts are given on, the first one leads
    higher_is_better = True
    margin = 0.005
    steps = 300
    batch = 64

    def prepare(self, folder: Path) -> None:
        """Work that all runs share (a pre-training); called once, results go to `folder`."""

    def data(self) -> Data:
        raise NotImplementedError

    def model(self, variant: str, seed: int, folder: Path | None = None) -> nn.Module:
        """The variant's model at its start. Randomness comes from `default_init(seed)` and `explicit_init(seed)`."""
        raise NotImplementedError

    def optimizer(self, variant: str, model: nn.Module, lr_scale: float) -> torch.optim.Optimizer:
        raise NotImplementedError

    def loss(self, outputs: Tensor, targets: Tensor) -> Tensor:
        """Mean loss over the batch."""
        return nn.functional.cross_entropy(outputs, targets)

    def before_step(
        self, variant: str, step: int, steps: int, model: nn.Module, optimizer: torch.optim.Optimizer
    ) -> None:
        """A change in mid-training (unfreezing). A recipe that overrides it is never stacked."""

    def memory(self, variant: str) -> tuple[float | None, str | None]:
        """(bytes of activations above which a step is out of memory, the guard against it); None: no limit, and the
        guard that was asked for."""
        return None, None

    def evaluate(self, model: nn.Module, data: Data) -> dict[str, float]:
        """Test accuracy, in 0…1."""
        outputs = torch.cat([model(part) for part in data.x_test.split(500)])
        return {"test_acc": float((outputs.argmax(1) == data.y_test).float().mean())}


def stream(purpose: int, seed: int) -> torch.Generator:
    """A generator for one purpose of one run, on the CPU: the same numbers on every device."""
    return torch.Generator().manual_seed(purpose + seed * _STRIDE)


def default_init(seed: int) -> None:
    """Seed the global generator, from which PyTorch's layers draw their default weights."""
    torch.manual_seed(1 + seed * _STRIDE)


def explicit_init(seed: int) -> torch.Generator:
    return stream(2, seed)


def batches(samples: int, batch: int, steps: int, seed: int) -> Iterator[Tensor]:
    """Index tensors of shape (batch,), epoch after epoch shuffled; an epoch's short rest is left out."""
    order = stream(3, seed)
    left: list[Tensor] = []
    for _ in range(steps):
        if not left:
            left = [part for part in torch.randperm(samples, generator=order).split(batch) if len(part) == batch]
            if not left:
                raise ValueError(f"a batch of {batch} is more than the {samples} samples there are")
        yield left.pop(0)


def pick_device(name: str = "auto") -> torch.device:
    return torch.device(("cuda" if torch.cuda.is_available() else "cpu") if name == "auto" else name)


def run_one(
    recipe: str,
    variant: str,
    seed: int,
    steps: int | None = None,
    lr_scale: float = 1.0,
    device: str = "auto",
    folder: str | None = None,
    oom_guard: str = "accumulate",
    batch: int | None = None,
) -> dict[str, Any]:
    """Train one variant with one seed in the plain way; returns the record of the run."""
    from tricklint.verify.recipes import load

    torch.set_num_threads(1)
    return train(load(recipe), variant, seed, steps, lr_scale, pick_device(device), folder, oom_guard, batch)


def train(
    recipe: Recipe,
    variant: str,
    seed: int,
    steps: int | None = None,
    lr_scale: float = 1.0,
    device: torch.device | None = None,
    folder: str | None = None,
    oom_guard: str = "accumulate",
    batch: int | None = None,
) -> dict[str, Any]:
    from tricklint.verify.memory import Guard

    started = time.perf_counter()
    device = device or pick_device()
    steps = steps or recipe.steps
    data = recipe.data().to(device)
    model = recipe.model(variant, seed, Path(folder) if folder else None).to(device)
    optimizer = recipe.optimizer(variant, model, lr_scale)
    limit, own_guard = recipe.memory(variant)
    guard = Guard(recipe.loss, own_guard or oom_guard)
    measured = type(recipe).memory is not Recipe.memory
    meter = SavedBytes(limit) if measured else None
    losses: list[Tensor | float] = []
    times: list[float] = []
    series: dict[str, list[float]] = {}
    reset_peak()
    status, message = "ok", ""
    marks = {round(steps * (i + 1) / EVALUATIONS) for i in range(EVALUATIONS)}
    torch.manual_seed(4 + seed * _STRIDE)  # dropout and noise
    began = time.perf_counter()
    for step, index in enumerate(batches(len(data.x), batch or recipe.batch, steps, seed), 1):
        recipe.before_step(variant, step, steps, model, optimizer)
        begin = time.perf_counter()
        index = index.to(device)
        optimizer.zero_grad()
        try:
            with meter.hooks() if meter else contextlib.nullcontext():
                loss = guard.backward(model, data.x[index], data.y[index])
        except (torch.cuda.OutOfMemoryError, RuntimeError, MemoryError) as error:
            if not out_of_memory(error):
                raise
            status, message = "oom", str(error).split("\n")[0]
            break
        optimizer.step()
        losses.append(float(loss) if device.type == "cpu" else loss)
        times.append(time.perf_counter() - begin)
        if step % 50 == 0 and not math.isfinite(float(losses[-1])):
            status, message = "diverged", f"the loss is not a number at step {step}"
            break
        if step in marks:
            for name, value in evaluation(recipe, model, data).items():
                series.setdefault(name, []).append(value)
    values = [float(v) for v in losses]  # on an accelerator this waits for the last step
    if device.type != "cpu":
        times = [(time.perf_counter() - began) / max(1, len(values))]  # a launch says nothing about the step itself
    notes = list(guard.notes)
    if meter is not None:
        notes.append(f"a step kept {meter.peak / 2**20:.1f} MB" + (f" of {limit / 2**20:.0f}" if limit else ""))
    return summary(values, times, series, started, status, message, guard.pieces, notes)


def evaluation(recipe: Recipe, model: nn.Module, data: Data) -> dict[str, float]:
    model.eval()
    with torch.no_grad():
        result = recipe.evaluate(model, data)
    model.train()
    return result


def summary(
    losses: list[float],
    times: list[float],
    series: dict[str, list[float]],
    started: float,
    status: str = "ok",
    message: str = "",
    pieces: int = 1,
    notes: list[str] | None = None,
    engine: str = "plain",
) -> dict[str, Any]:
    """The record of a recipe run, in the form that script runs have."""
    ordered = sorted(times[1:] or times)
    # How far a run is after a fifth of it: some tricks change only the start.
    series.update({f"early_{name}": [values[0]] for name, values in list(series.items())})
    if status == "ok" and not all(map(math.isfinite, losses)):
        status, message = "diverged", "some losses are not a number"
    return {
        "status": status,
        "message": message,
        "wall_s": time.perf_counter() - started,
        "steps": len(losses),
        "phases": [
            {
                "name": "training",
                "losses": [v if math.isfinite(v) else None for v in losses],
                "step_s": ordered[len(ordered) // 2] if ordered else None,
            }
        ],
        "series": series,
        "memory": peak_memory(),
        "pieces": pieces,
        "notes": notes or [],
        "engine": engine,
        "torch": torch.__version__,
    }


def warm(recipe: str, folder: str | None = None) -> None:
    """Load the data and build a model, so that runs forked from this process find both ready."""
    from tricklint.verify.recipes import load

    torch.set_num_threads(1)
    found = load(recipe)
    found.data()
    for variant in found.variants:
        found.model(variant, 0, Path(folder) if folder else None)
