"""Where runs go, on a layer of pretended cards: no accelerator is needed, and nothing here says how one behaves."""

from __future__ import annotations

import sys
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from tricklint.verify.conduct import Pace, _name_card
from tricklint.verify.devices import Card, Placement, Seat, cards_here, place
from tricklint.verify.engines.local import LocalEngine
from tricklint.verify.plan import BASELINE
from tricklint.verify.records import Run
from tricklint.verify.runner import record

from .helpers import run_script, session_for

GB = 1 << 30


def cards(count: int, free: int = 80 * GB, total: int = 80 * GB) -> list[Card]:
    return [Card(str(i), "Pretended 80GB", total, free) for i in range(count)]


def pilot(**memory: Any) -> Run:
    return Run(BASELINE, 0, wall_s=10.0, memory={"rss": 2.0 * GB, **memory})


def seats(run: Run, count: int, cores: int = 16, asked: int | None = None, **card: int) -> Placement:
    return place(run, cores, asked, lambda: cards(count, **card), lambda: 1000 * GB)


def on_card(**more: Any) -> Run:
    return pilot(cuda=5.0 * GB, reserved=7.0 * GB, cards=1.0, card_total=80.0 * GB, device="Pretended 80GB", **more)


def test_all_cards_are_used_and_each_run_sees_one() -> None:
    found = seats(on_card(), 4)
    assert len(found.seats) == 16
    assert Counter(seat.cards for seat in found.seats) == {(str(i),): 4 for i in range(4)}
    assert [seat.cards for seat in found.seats[:4]] == [("0",), ("1",), ("2",), ("3",)]
    assert found.seats[2].environment["CUDA_VISIBLE_DEVICES"] == "2"
    assert found.sharing == 4


def test_what_the_pilot_reserved_counts_not_what_its_tensors_took() -> None:
    """5 GB of tensors, 30 GB reserved: two runs fit 80 GB."""
    run = pilot(cuda=5.0 * GB, reserved=30.0 * GB, cards=1.0)
    assert len(seats(run, 1).seats) == 2
    assert len(seats(run, 1, free=40 * GB).seats) == 1
    assert len(seats(run, 3, free=40 * GB).seats) == 3


def test_a_card_that_others_use_gets_fewer_runs() -> None:
    found = place(
        on_card(), 16, None, lambda: [*cards(1), Card("1", "Pretended 80GB", 80 * GB, 10 * GB)], lambda: 999 * GB
    )
    assert Counter(seat.cards for seat in found.seats) == {("0",): 9, ("1",): 1}


def test_loaders_workers_take_cores_and_memory() -> None:
    assert len(seats(on_card(loaders=3.0), 4).seats) == 4
    assert len(seats(pilot(loaders=7.0), 0).seats) == 2
    small = place(pilot(loaders=1.0, loaders_rss=6.0 * GB), 16, None, list, lambda: 20 * GB)
    assert len(small.seats) == 2  # 18 of 20 GB may be used, each takes 8


def test_a_script_of_several_processes_gets_the_cards_it_asked_for() -> None:
    found = seats(on_card(processes=2.0), 5)
    assert [seat.cards for seat in found.seats] == [("0", "1"), ("2", "3")]
    assert (found.sharing, found.share, found.cores) == (1, 2.0, 2)
    assert found.seats[0].environment["CUDA_VISIBLE_DEVICES"] == "0,1"
    whole = pilot(cuda=5.0 * GB, reserved=7.0 * GB, cards=4.0)  # one process on all of them
    assert [seat.cards for seat in seats(whole, 4).seats] == [("0", "1", "2", "3")]
    cpu = seats(pilot(processes=2.0), 0, cores=2)
    assert cpu.seats == (Seat(),)


def test_the_user_may_ask_for_a_number_of_runs() -> None:
    assert [seat.cards for seat in seats(on_card(), 2, asked=3).seats] == [("0",), ("1",), ("0",)]
    assert len(seats(pilot(), 0, cores=2, asked=5).seats) == 5


def test_a_run_on_the_cpu_asks_for_no_card() -> None:
    def never() -> list[Card]:
        raise AssertionError("the pilot used no card")

    found = place(pilot(), 4, None, never, lambda: 1000 * GB)
    assert found.seats == (Seat(),) * 4
    assert found.seats[0].environment == {}
    assert str(found) == ""


def test_the_estimate_counts_that_runs_share_a_card() -> None:
    run = on_card()
    alone, shared = seats(run, 4, cores=4), seats(run, 1, cores=4)
    assert (alone.sharing, shared.sharing) == (1, 4)
    run.steps = 100
    assert Pace.of(run, shared).run_s(100) == pytest.approx(4 * run.wall_s, rel=0.01)
    assert Pace.of(run, alone).run_s(100) == pytest.approx(run.wall_s, rel=0.02)


def test_the_card_is_in_the_report() -> None:
    machine: dict[str, Any] = {}
    _name_card(machine, on_card(), seats(on_card(), 2))
    assert machine["gpu"] == "2 x Pretended 80GB"
    elsewhere: dict[str, Any] = {}
    _name_card(elsewhere, on_card(), Placement((Seat(),)))  # on a node of a cluster
    assert elsewhere["gpu"] == "Pretended 80GB"
    assert "4 x Pretended 80GB; 16 runs at a time, at most 4 on a card" in str(seats(on_card(), 4))


@pytest.fixture
def pretended_python(tmp_path: Path) -> str:
    """An interpreter whose torch has two cards."""
    path = tmp_path / "python"
    path.write_text(
        "#!/bin/sh\necho noise\n"
        """echo 'cards [{"name": "A", "free": 5, "total": 9}, {"name": "B", "free": 6, "total": 9}]'\n"""
    )
    path.chmod(0o755)
    return str(path)


@pytest.mark.skipif(sys.platform == "win32", reason="no shell")
def test_cards_are_called_what_the_user_calls_them(pretended_python: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    assert [(card.id, card.name, card.free) for card in cards_here(pretended_python)] == [("0", "A", 5), ("1", "B", 6)]
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "3,GPU-7")
    assert [card.id for card in cards_here(pretended_python)] == ["3", "GPU-7"]
    assert cards_here("/nowhere/python") == []


def test_local_runs_see_the_cards_of_their_seats(project: Path) -> None:
    """Four runs on two pretended cards: both are used, each run sees one, from its start."""
    (project / "train.py").write_text(
        "import os, torch\nprint('card score:', os.environ['CUDA_VISIBLE_DEVICES'])\n"
        "torch.optim.SGD([torch.nn.Parameter(torch.ones(1))], lr=0.1).step()\n"
    )
    engine = LocalEngine(1)
    try:
        engine.place(Placement((Seat(("4",)), Seat(("6",))), 1))
        session = session_for(project, engine, seeds=4)
        session.run(session.missing())
    finally:
        engine.close()
    assert {run.series["card score"][0] for run in session.ledger.runs.values()} == {4.0, 6.0}


def test_ray_asks_for_the_share_that_the_pilot_measured(monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("ray", reason="ray is not installed (pip install 'tricklint[cluster]')")
    from tricklint.verify.engines import ray

    asked: list[dict[str, Any]] = []
    monkeypatch.setattr(ray.ray, "remote", lambda **options: lambda function: asked.append(options))
    engine = object.__new__(ray.RayEngine)
    engine.workers, engine.gpu_count = 16, 2
    run = on_card(loaders=1.0)
    found = place(run, engine.workers, None, lambda: engine.cards(run), lambda: 1000 * GB)
    engine.place(found)
    assert asked[-1]["num_gpus"] == pytest.approx(1 / 9)  # 7.6 GB of the 72 that may be used
    assert asked[-1]["num_cpus"] == 2
    engine.place(place(on_card(processes=2.0), 16, None, lambda: engine.cards(run), lambda: 1000 * GB))
    assert asked[-1]["num_gpus"] == 2.0


class Launches:
    """A pretended accelerator: a launch returns after a millisecond, the step takes ten."""

    def __init__(self) -> None:
        self.now = self.busy_until = 0.0

    def perf_counter(self) -> float:
        return self.now

    def launch(self) -> None:
        self.now += 0.001
        self.busy_until = max(self.busy_until, self.now) + 0.010

    def synchronize(self) -> None:
        self.now = max(self.now, self.busy_until)


def test_step_times_are_those_of_the_steps_not_of_their_launches(monkeypatch: pytest.MonkeyPatch) -> None:
    import torch

    device = Launches()
    monkeypatch.setattr(record, "time", device)
    monkeypatch.setattr(record, "asynchronous", lambda optimizer: True)
    monkeypatch.setattr(record, "synchronize", device.synchronize)
    optimizer = torch.optim.SGD([torch.nn.Parameter(torch.ones(1))], lr=0.1)
    recorder = record.Recorder()
    device.now = 5.0  # what came before the first step
    for _ in range(150):
        device.launch()
        recorder._stepped(optimizer, (), {})
    assert recorder.summary()["phases"][0]["step_s"] == pytest.approx(0.010, rel=0.05)
    assert recorder.phases[0].times[0] > 5.0


def test_loaders_workers_are_counted_where_they_run(project: Path, engine: Any) -> None:
    text = """
        import torch
        from torch.utils.data import DataLoader, TensorDataset
        model = torch.nn.Linear(2, 1)
        optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
        for (x,) in DataLoader(TensorDataset(torch.ones(40, 2)), batch_size=4, num_workers=2):
            model(x).sum().backward()
            optimizer.step()
    """
    run = run_script(project, engine, text)
    assert run.memory["loaders"] == 2
    assert run.memory["loaders_rss"] > 0
