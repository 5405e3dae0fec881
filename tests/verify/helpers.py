"""A tiny project that trains in a fraction of a second, and sessions over it with hand-made variants."""

from __future__ import annotations

import textwrap
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from tricklint.verify.plan import BASELINE, Plan, Task, Variant
from tricklint.verify.records import Run
from tricklint.verify.replay import Command, ReplayWork
from tricklint.verify.session import Session
from tricklint.verify.workspace import Project

TRAIN = """
import argparse
import torch
from torch import nn
from torch.utils.data import DataLoader, TensorDataset
from model import Net

def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--epochs", type=int, default=2)
    parser.add_argument("--lr", type=float, default=0.1)
    args = parser.parse_args()
    torch.manual_seed(0)
    g = torch.Generator().manual_seed(5)
    x = torch.randn(120, 6, generator=g)
    y = (x[:, 0] * x[:, 1] > 0).long()
    loader = DataLoader(TensorDataset(x[:80], y[:80]), batch_size=16, shuffle=True)
    model = Net()
    optimizer = torch.optim.SGD(model.parameters(), lr=args.lr)
    for epoch in range(args.epochs):
        for a, b in loader:
            optimizer.zero_grad()
            loss = nn.functional.cross_entropy(model(a), b)
            loss.backward()
            optimizer.step()
        with torch.no_grad():
            acc = (model(x[80:]).argmax(1) == y[80:]).float().mean().item()
        print(f"epoch {epoch + 1} loss {loss.item():.4f} val_acc: {acc:.4f}")
    torch.save(model.state_dict(), "last.pt")

if __name__ == "__main__":
    main()
"""
MODEL = """
from torch import nn

class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.a = nn.Linear(6, 12)
        self.b = nn.Linear(12, 2)

    def forward(self, x):
        return self.b(self.a(x).relu())
"""
MODEL_INIT = MODEL.replace(
    "        self.b = nn.Linear(12, 2)\n",
    "        self.b = nn.Linear(12, 2)\n"
    "        nn.init.xavier_uniform_(self.a.weight)\n"
    "        nn.init.zeros_(self.a.bias)\n",
)


def session_for(
    root: Path,
    engine: Any,
    variants: Sequence[Variant] = (),
    command: str = "train.py",
    seeds: int = 1,
    steps: int | None = None,
    scales: tuple[float, ...] = (1.0,),
    metric: str | None = None,
    timeout_s: float | None = 60,
    **work: Any,
) -> Session:
    """A session over the project at `root`, its folder inside .tricklint."""
    import shlex

    plan = Plan("test", "", (Variant(BASELINE, "Baseline", "baseline"), *variants), (), seeds, steps, scales)
    project = Project.scan(root)
    folder = root / ".tricklint" / "verify" / "now"
    folder.mkdir(parents=True, exist_ok=True)
    return Session(
        folder,
        plan,
        ReplayWork(project, Command.parse(shlex.split(command), root), folder, metric, **work),
        engine,
        timeout_s,
    )


def copy_of(session: Session, name: str = "baseline-0-1") -> Path:
    """Where a run's copy of the project stays with keep=True."""
    root = session.work.project.root  # type: ignore[attr-defined]
    return Path(session.folder, "work", name, *root.parts[-2:])


def edited(name: str, **files: str) -> Variant:
    """A variant that replaces whole files: edited("init", model=…)."""
    return Variant(name, name, "alone", (name,), {f"{stem}.py": text for stem, text in files.items()})


def run_script(root: Path, engine: Any, text: str, seed: int = 0, **options: Any) -> Run:
    """One run of a script that is written to train.py."""
    (root / "train.py").write_text(textwrap.dedent(text))
    session = session_for(root, engine, seeds=seed + 1, **options)
    task = Task(BASELINE, seed, options.get("scales", (1.0,))[-1])
    session.run([task])
    return session.ledger.runs[task.key]
