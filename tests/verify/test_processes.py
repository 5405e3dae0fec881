"""Scripts that train in processes of their own: one run, with the record of rank 0 and the memory of all."""

from __future__ import annotations

import subprocess
import sys
import textwrap
from pathlib import Path
from typing import Any

import pytest

from tricklint.verify.plan import BASELINE
from tricklint.verify.replay import Command
from tricklint.verify.runner.children import own_port

from .helpers import run_script, session_for

TRAINING = """
import os, sys, time, torch
import torch.distributed as dist

def work(rank, world, backend):
    if backend:
        os.environ.update(MASTER_ADDR="127.0.0.1", MASTER_PORT="29517")
        dist.init_process_group(backend, rank=rank, world_size=world)
    torch.manual_seed(rank)
    model = torch.nn.Linear(3, 1)
    if backend:
        model = torch.nn.parallel.DistributedDataParallel(model)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    for step in range(6):
        optimizer.zero_grad()
        model(torch.randn(8, 3)).pow(2).mean().backward()
        optimizer.step()
    if rank == 0:
        print("final loss:", sum(p.sum().item() for p in model.parameters()), flush=True)
    if backend:
        dist.destroy_process_group()
"""


def test_mp_spawn_with_ddp_is_one_run(project: Path, engine: Any) -> None:
    """Two ranks that meet on a port; other seeds give other runs, the same seed the same; --steps ends all ranks."""
    text = TRAINING + "if __name__ == '__main__':\n    torch.multiprocessing.spawn(work, args=(2, 'gloo'), nprocs=2)\n"
    run = run_script(project, engine, text, steps=4, timeout_s=240)
    assert run.status == "ok", run.message
    assert (run.steps, run.phases, len(run.losses[0])) == (4, ["SGD"], 4)
    assert run.memory["processes"] == 2
    assert run.memory["rss"] > 2e8


FORKED = """
if __name__ == "__main__":
    import multiprocessing
    context = multiprocessing.get_context("fork")
    processes = [context.Process(target=work, args=(rank, 2, None)) for rank in range(2)]
    for process in processes: process.start()
    for process in processes: process.join()
    assert not any(process.exitcode for process in processes)
"""


def test_forked_processes_are_one_run_and_seeds_reach_them(project: Path, engine: Any) -> None:
    (project / "train.py").write_text(TRAINING + FORKED)
    session = session_for(project, engine, seeds=2)
    session.run(session.missing())
    first, second = (session.ledger.runs[(BASELINE, seed, 1.0)] for seed in range(2))
    assert (first.status, first.steps, first.memory["processes"]) == ("ok", 6, 2)
    assert first.losses != second.losses
    assert first.series["final loss"] != second.series["final loss"]
    assert not list((session.folder / "work").glob("*.child.*"))


def test_what_a_process_raises_is_the_runs_message(project: Path, engine: Any) -> None:
    text = """
        import torch
        def work(rank):
            raise ValueError(f"wrong shape in {rank}")
        if __name__ == "__main__":
            torch.multiprocessing.start_processes(work, nprocs=1, start_method="fork")
    """
    run = run_script(project, engine, text)
    assert run.status == "crashed"
    assert "wrong shape in 0" in run.message


def test_out_of_memory_in_a_process_is_the_runs(project: Path, engine: Any) -> None:
    text = """
        import torch
        def work(rank):
            raise torch.OutOfMemoryError("CUDA out of memory")
        if __name__ == "__main__":
            torch.multiprocessing.start_processes(work, nprocs=1, start_method="fork")
    """
    run = run_script(project, engine, text, oom_guard="none")
    assert run.status == "oom"


@pytest.mark.parametrize(
    ("words", "module"),
    [
        ("torchrun --nproc_per_node=2 train.py --lr 1", "torch.distributed.run"),
        ("python -m torch.distributed.run --nproc_per_node=2 train.py --lr 1", "torch.distributed.run"),
        ("accelerate launch --nproc_per_node=2 train.py --lr 1", "accelerate.commands.launch"),
    ],
)
def test_launchers(project: Path, words: str, module: str) -> None:
    command = Command.parse(words.split(), project)
    assert (command.module, command.arguments) == (module, ("--nproc_per_node=2", "train.py", "--lr", "1"))


def test_torchrun_starts_processes_of_the_run(project: Path, engine: Any) -> None:
    text = TRAINING + 'if __name__ == "__main__":\n    work(int(os.environ["RANK"]), 1, None)\n'
    (project / "train.py").write_text(textwrap.dedent(text))
    session = session_for(project, engine, command="torchrun --standalone --nproc_per_node=1 train.py", timeout_s=240)
    session.run(session.missing())
    run = session.ledger.runs[(BASELINE, 0, 1.0)]
    assert run.status == "ok", run.message
    assert (run.steps, run.memory["processes"]) == (6, 1)
    assert len(run.series["final loss"]) == 1


def test_runs_side_by_side_have_ports_of_their_own() -> None:
    """The same for all processes of a run, another for each run, and in the range that needs no rights."""
    ports = {own_port(29500, number) for number in range(1, 60)}
    assert len(ports) == 59
    assert all(10_000 <= port < 60_000 for port in ports)
    assert own_port(0, 3) == 0


MEETING = """
import os, socket, torch.distributed as dist
from tricklint.verify.runner.children import _own_ports, own_port
_own_ports(4)
os.environ.update(MASTER_ADDR="127.0.0.1", MASTER_PORT="29519")
dist.init_process_group("gloo", rank=0, world_size=1)

def open_(port):
    with socket.socket() as one:
        return one.connect_ex(("127.0.0.1", port)) == 0

print(open_(29519), open_(own_port(29519, 4)))
"""


def test_processes_meet_on_the_runs_own_port_and_not_on_the_scripts() -> None:
    done = subprocess.run([sys.executable, "-c", MEETING], capture_output=True, text=True, timeout=120)
    assert done.stdout.split() == ["False", "True"], done.stderr
