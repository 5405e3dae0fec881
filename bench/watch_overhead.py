"""What being watched costs: the time of a training step with the recorder in the process, against one without.

    python bench/watch_overhead.py [--rounds 9]

Each model trains in turns, some steps with hooks and some without, in one process; what is shown is the ratio of the
medians of the processor's time, after the first step of each turn, and beside it that of the shortest steps, which a busy
machine disturbs less. The aim is at most 1.15.
"""

from __future__ import annotations

import argparse
import statistics
import sys
import time
from collections.abc import Callable

import torch
from torch import nn

from tricklint.watching.recorder.log import Log
from tricklint.watching.recorder.recorder import Recorder

STEPS = 12  # of one turn


class Words(nn.Module):
    """A cell and a layer that the training loop itself calls, the cell for each word."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.cell, self.last = nn.LSTMCell(width, width), nn.Linear(width, 10)


def passed(model: nn.Module, x: torch.Tensor) -> torch.Tensor:
    """The logits, by calls from here."""
    if not isinstance(model, Words):
        logits: torch.Tensor = model(x)
        return logits
    state = None
    for word in x.unbind(1):
        state = model.cell(word, state)
    assert state is not None
    return torch.as_tensor(model.last(state[0]))


def models() -> dict[str, tuple[nn.Module, Callable[[], torch.Tensor]]]:
    """Name → (model, what makes its input): steps of some milliseconds and more, with few and with many modules."""

    def stack(depth: int, width: int) -> nn.Module:
        layers = [
            nn.Sequential(nn.Linear(width, width), nn.LayerNorm(width), nn.ReLU(), nn.Dropout(0.1))
            for _ in range(depth)
        ]
        return nn.Sequential(*layers, nn.Linear(width, 10))

    block = nn.TransformerEncoderLayer(64, 4, 128, batch_first=True)
    conv = nn.Sequential(
        nn.Conv2d(3, 16, 3), nn.BatchNorm2d(16), nn.ReLU(), nn.Conv2d(16, 32, 3, 2), nn.BatchNorm2d(32), nn.ReLU(),
        nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(32, 10),
    )  # fmt: skip
    return {
        "3 layers, 256 wide": (stack(3, 256), lambda: torch.randn(256, 256)),
        "40 layers, 64 wide": (stack(40, 64), lambda: torch.randn(64, 64)),
        "small conv net": (conv, lambda: torch.randn(32, 3, 32, 32)),
        "4 transformer blocks": (
            nn.Sequential(nn.TransformerEncoder(block, 4), nn.Flatten(), nn.Linear(64 * 32, 10)),
            lambda: torch.randn(16, 32, 64),
        ),
        "a cell, 20 calls": (Words(128), lambda: torch.randn(64, 20, 128)),
    }


def turn(
    model: nn.Module, optimizer: torch.optim.Optimizer, make: Callable[[], torch.Tensor], watched: bool
) -> list[float]:
    """The times of all steps but the first."""
    recorder = Recorder(Log(None, None), None, lambda: None) if watched else None
    if recorder is not None:
        recorder.install()
    times = []
    inputs = [make() for _ in range(STEPS)]
    targets = torch.zeros(len(inputs[0]), dtype=torch.long)
    for x in inputs:
        for group in optimizer.param_groups:
            group["weight_decay"] *= 1.001  # as schedules do
        began = time.process_time()
        optimizer.zero_grad()
        nn.functional.cross_entropy(passed(model, x), targets).backward()
        optimizer.step()
        times.append(time.process_time() - began)
    if recorder is not None:
        recorder.undo()
    return times[1:]


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=9)
    rounds = parser.parse_args().rounds
    torch.set_num_threads(1)
    worst = 0.0
    print(f"{'model':24}{'plain ms':>10}{'watched ms':>12}{'ratio':>8}{'of shortest':>13}")
    for name, (model, make) in models().items():
        optimizer = torch.optim.AdamW(model.parameters(), lr=1e-3)
        turn(model, optimizer, make, watched=False)
        plain: list[float] = []
        watched: list[float] = []
        for _ in range(rounds):
            plain += turn(model, optimizer, make, watched=False)
            watched += turn(model, optimizer, make, watched=True)
        before, after = statistics.median(plain), statistics.median(watched)
        worst = max(worst, after / before)
        print(
            f"{name:24}{1e3 * before:10.2f}{1e3 * after:12.2f}{after / before:8.3f}{min(watched) / min(plain):13.3f}",
            flush=True,
        )
    print(f"worst ratio {worst:.3f}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
