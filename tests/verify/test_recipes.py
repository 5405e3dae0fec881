"""Recipes: they run, stacked steps equal the plain loop, and the plan around them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch

from tricklint.verify.plan import Plan, Variant, duration, fit, seconds, shown
from tricklint.verify.recipe_work import RecipeWork, plan_of
from tricklint.verify.recipes import CATALOGUE, load
from tricklint.verify.recipes.base import batches, train
from tricklint.verify.recipes.stacked import CannotStack, time_engines, train_stack
from tricklint.verify.records import VerifyError

pytest.importorskip("sklearn")


@pytest.mark.parametrize("name", list(CATALOGUE))
def test_every_recipe_trains_every_variant(name: str, tmp_path: Path) -> None:
    recipe = load(name)
    if name == "transfer-pills":
        recipe.prepare = lambda folder: torch.save(_untrained(), folder / "transfer-pills.pt")  # type: ignore[method-assign]
    recipe.prepare(tmp_path)
    for variant in recipe.variants:
        record = train(recipe, variant, 0, steps=4, folder=str(tmp_path))
        assert record["status"] == "ok", record["message"]
        assert record["steps"] == 4
        assert all(metric in record["series"] for metric in recipe.metrics)
    assert set(recipe.ladder) <= set(recipe.variants)


def _untrained() -> dict[str, torch.Tensor]:
    from tricklint.verify.recipes.resnet import CLASSES, SmallResNet

    return SmallResNet(len(CLASSES)).state_dict()


def test_variants_of_a_seed_start_alike_and_see_the_same_batches() -> None:
    recipe = load("mlp-deep")
    a, b = recipe.model("baseline", 3), recipe.model("baseline", 3)
    for x, y in zip(a.parameters(), b.parameters()):
        assert torch.equal(x, y)
    assert all(torch.equal(x, y) for x, y in zip(batches(100, 8, 20, 3), batches(100, 8, 20, 3)))
    assert any(not torch.equal(x, y) for x, y in zip(batches(100, 8, 20, 3), batches(100, 8, 20, 4)))


def test_an_epoch_sees_every_sample_once() -> None:
    seen = torch.cat(list(batches(64, 16, 4, 0)))
    assert sorted(seen.tolist()) == list(range(64))


@pytest.mark.parametrize(
    "name", ["mlp-deep", "vgg-digits", "vgg-digits-sgd", "resnet-pills", "rare-positives", "cosine-1000"]
)
def test_stacked_steps_equal_the_plain_loop(name: str) -> None:
    """Losses of three seeds over eight steps: equal within rounding, batch norm's statistics too (through the test
    scores)."""
    recipe = load(name)
    variant = list(recipe.variants)[-1]
    together = train_stack(recipe, variant, [0, 1, 2], steps=8)
    for seed, record in enumerate(together):
        alone = train(recipe, variant, seed, steps=8)
        assert record["phases"][0]["losses"] == pytest.approx(alone["phases"][0]["losses"], rel=2e-3, abs=2e-4)
        lead = recipe.metrics[0]
        assert record["series"][lead][-1] == pytest.approx(alone["series"][lead][-1], abs=0.02)


def test_a_recipe_that_changes_in_mid_training_is_not_stacked(tmp_path: Path) -> None:
    with pytest.raises(CannotStack, match="mid-training"):
        train_stack(load("transfer-pills"), "full", [0, 1], steps=2, folder=str(tmp_path))


def test_five_timed_steps_choose_the_engine(tmp_path: Path) -> None:
    found = time_engines("mlp-deep", "baseline", [0, 1])
    assert found["plain"] > 0 and found["stacked"] > 0 and found["refused"] == {}
    work = RecipeWork(load("mlp-deep"), tmp_path)
    times = work.choose_engines(["baseline"], 2)
    wins = times["baseline"]["stacked"] < 0.9 * times["baseline"]["plain"]
    assert work.stack == ({"baseline": 2} if wins else {})


def test_a_stack_must_beat_the_plain_runs_that_go_side_by_side(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A stack is one job: where sixteen plain runs go at a time it has to be many times faster. And a step is compiled
    only for runs that take longer than compiling does."""
    from tricklint.verify.recipes import stacked

    asked: list[tuple[str, ...]] = []

    def pretended(recipe: str, variant: str, seeds: list[int], device: str, folder: str, kinds: Any) -> Any:
        asked.append(kinds)
        return {kind: {"plain": 0.008, "stacked": 0.004, "compiled": 0.001}[kind] for kind in kinds}

    monkeypatch.setattr(stacked, "time_engines", pretended)

    def chosen(steps: int, workers: int, compiled: bool = False) -> RecipeWork:
        work = RecipeWork(load("mlp-deep"), tmp_path)
        work.choose_engines(["baseline", "init"], 8, steps, workers, compiled)
        return work

    assert chosen(400, 2).stack == {"baseline": 8, "init": 8}
    assert chosen(400, 16).stack == {}
    assert not any("compiled" in kinds for kinds in asked)
    assert chosen(400, 2, compiled=True).compiled == {"baseline": False, "init": False}
    assert not any("compiled" in kinds for kinds in asked)
    assert chosen(10_000, 2, compiled=True).compiled == {"baseline": True, "init": True}


def test_stacked_jobs_give_one_run_a_seed(tmp_path: Path, engine: Any) -> None:
    from tricklint.verify.session import Session

    recipe = load("mlp-deep")
    plan = plan_of(recipe, 3, 4, (1.0,), ["init"])
    work = RecipeWork(recipe, tmp_path)
    work.stack = {"init": 3}
    session = Session(tmp_path, plan, work, engine, 120)
    session.run(session.missing())
    assert session.missing() == []
    assert {r.engine for r in session.ledger.runs.values() if r.variant == "init"} == {"stacked"}
    assert {r.engine for r in session.ledger.runs.values() if r.variant == "baseline"} == {"plain"}


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device")
@pytest.mark.parametrize("compiled", [False, True])
def test_stacked_on_a_gpu(compiled: bool) -> None:
    recipe = load("mlp-deep")
    device = torch.device("cuda")
    together = train_stack(recipe, "init", [0, 1], steps=8, device=device, compiled=compiled)
    alone = train(recipe, "init", 0, steps=8, device=device)
    assert together[0]["phases"][0]["losses"] == pytest.approx(alone["phases"][0]["losses"], rel=1e-2)
    assert "cuda" in alone["memory"]


def a_plan(seeds: int = 8, scales: tuple[float, ...] = (1.0,)) -> Plan:
    variants = [Variant("baseline", "Baseline", "baseline"), Variant("A", "A"), Variant("B", "B")]
    variants += [Variant("A+B", "A+B", "stack")]
    return Plan("t", "", tuple(variants), ("baseline", "A", "A+B"), seeds, None, scales)


def test_seeds_come_first_so_that_an_interrupted_run_has_pairs() -> None:
    tasks = a_plan(2, (1.0, 0.5)).tasks()
    assert [t.seed for t in tasks[:8]] == [0] * 4 + [1] * 4
    assert all(t.lr_scale == 1.0 for t in tasks[:8])


def test_a_budget_is_kept_and_says_what_it_left_out() -> None:
    plan = a_plan(12, (1.0, 0.5, 2.0))
    assert seconds(plan, 2.0, 2) == 144
    tight = fit(plan, 2.0, 100, 2, 40.0)
    assert seconds(tight, 2.0, 2) <= 40
    assert tight.lr_scales == (1.0,)
    assert any("seeds" in note for note in tight.notes)
    tiny = fit(plan, 2.0, 100, 2, 10.0)
    assert tiny.steps is not None and tiny.steps < 100
    assert fit(plan, 2.0, 100, 2, 1000.0) == plan
    for budget in (0.5, -3.0):
        with pytest.raises(VerifyError, match="the budget is too short"):
            fit(plan, 2.0, 100, 2, budget)


@pytest.mark.parametrize(("text", "value"), [("90", 90), ("90s", 90), ("10m", 600), ("1h30m", 5400), ("0.5h", 1800)])
def test_durations(text: str, value: float) -> None:
    assert duration(text) == value


def test_wrong_durations() -> None:
    for text in ("", "soon", "10x"):
        with pytest.raises(ValueError, match="no duration"):
            duration(text)


def test_shown_durations() -> None:
    assert [shown(s) for s in (1.5, 59, 95, 3600, 7300)] == ["1.5 s", "59 s", "1 min 35 s", "1 h 0 min", "2 h 1 min"]


def test_plans_survive_json() -> None:
    import json

    plan = a_plan()
    assert Plan.from_json(json.loads(json.dumps(plan.to_json()))) == plan
