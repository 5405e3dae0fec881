"""Wrong verdicts that must not be given, from the command's plan to the verdict."""

from __future__ import annotations

import io
import textwrap
import time
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console

from tricklint.verify.conduct import Wishes, conduct
from tricklint.verify.judging import choose
from tricklint.verify.plan import AGAIN, BASELINE, Plan, Variant, fit
from tricklint.verify.records import VerifyError
from tricklint.verify.stats import Verdict

from .helpers import MODEL, MODEL_INIT, TRAIN, edited, session_for


def proven(root: Path, engine: Any, *variants: Variant, seeds: int = 6, **wishes: Any) -> tuple[Any, str]:
    """The analysis and what was printed."""
    session = session_for(root, engine, variants, seeds=seeds)
    out = io.StringIO()
    asked = Wishes(yes=True, **wishes)
    console = Console(file=out, width=200)
    analysis, _ = conduct(session.folder, session.plan, session.work, engine, 2, asked, console, None)
    return analysis, out.getvalue()


def test_the_plan_names_metric_source_and_direction(project: Path, engine: Any) -> None:
    analysis, text = proven(project, engine, edited("same", model=MODEL + "\n# a comment\n"), seeds=1)
    plan = text[text.index("plan:") :]
    assert "judged: val_acc (printed), higher is better" in plan
    assert plan.index("judged:") < plan.index("runs, took")
    assert analysis.metrics == ("val_acc",)


def test_runs_that_no_seed_reaches_get_no_verdict(project: Path, engine: Any) -> None:
    """Everything is drawn by a generator of the script's own: eight runs are one run."""
    text = """
        import torch
        from torch import nn
        from model import Net

        state = 1
        def draw():
            global state
            state = (1103515245 * state + 12345) % 2**31
            return state / 2**31 - 0.5

        x = torch.tensor([[draw() for _ in range(6)] for _ in range(60)])
        y = (x.sum(1) > 0).long()
        model = Net()
        for p in model.parameters():
            p.data = torch.tensor([draw() for _ in range(p.numel())]).view_as(p)
        optimizer = torch.optim.SGD(model.parameters(), lr=0.5)
        for epoch in range(10):
            optimizer.zero_grad()
            nn.functional.cross_entropy(model(x[:40]), y[:40]).backward()
            optimizer.step()
            print("val_acc:", (model(x[40:]).argmax(1) == y[40:]).float().mean().item() + epoch / 1000)
    """
    (project / "train.py").write_text(textwrap.dedent(text))
    better = edited("better", model=MODEL.replace(".relu()", ".tanh() * 2"))
    analysis, out = proven(project, engine, better)
    (outcome,) = analysis.outcomes
    assert outcome.verdict is Verdict.NONE
    assert "all 6 runs of the baseline are equal to the last bit" in out
    assert "1 change measured: 1 no verdict" in out


def test_a_file_that_is_not_run_is_not_reached_although_runs_differ_by_noise(project: Path, engine: Any) -> None:
    noise = TRAIN.replace("torch.manual_seed(0)", "import os; torch.manual_seed(int.from_bytes(os.urandom(4), 'big'))")
    (project / "train.py").write_text(noise)
    (project / "other.py").write_text("x = 1\n")
    analysis, out = proven(project, engine, edited("other", other="x = 2\n"))
    (outcome,) = analysis.outcomes
    assert any(a.losses != b.losses for a, b in zip(analysis.runs_of(BASELINE), analysis.runs_of("other")))
    assert outcome.verdict is Verdict.NOT_REACHED
    assert "the command runs none of the changed files (other.py)" in out


@pytest.mark.parametrize("how", ["import other", "import runpy; runpy.run_path('other.py')"])
def test_files_that_are_run_in_any_way_are_reached(project: Path, engine: Any, how: str) -> None:
    (project / "other.py").write_text("x = 1\n")
    (project / "train.py").write_text(how + "\n" + TRAIN)
    session = session_for(project, engine)
    session.run(session.missing())
    assert session.ledger.runs[(BASELINE, 0, 1.0)].files == ["model.py", "other.py", "train.py"]


PLAN = Plan("t", "c", (Variant(BASELINE, BASELINE, "baseline"), Variant("a", "a")), (BASELINE,), 6)


def test_a_budget_cuts_to_a_step_after_which_the_metric_is_given() -> None:
    cut = fit(PLAN, 10.0, 100, 2, 45.0, {"val_acc": [30, 60, 90]})
    assert cut.steps == 60
    assert fit(PLAN, 10.0, 100, 2, 45.0).steps == 71  # the training loss is there after every step
    with pytest.raises(VerifyError, match=r"val_acc is first given after step 100 of 100.*takes 1 min 3 s"):
        fit(PLAN, 10.0, 100, 2, 45.0, {"val_acc": [100]})


@pytest.fixture
def half(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever the machine's load, the budget lets runs make a bit more than half of their steps."""
    monkeypatch.setattr(
        "tricklint.verify.conduct.fit", lambda p, run_s, n, workers, b, at, start_s: fit(p, 10.0, n, 2, 40.0, at)
    )


@pytest.mark.usefixtures("half")
def test_a_budget_that_would_lose_the_metric_is_refused(project: Path, engine: Any) -> None:
    """Printed once, at the end: no shorter run has it."""
    late = TRAIN.replace('        print(f"epoch', '        if epoch == args.epochs - 1: print(f"epoch')
    (project / "train.py").write_text(late)
    with pytest.raises(VerifyError, match="the budget is too short: val_acc is first given after step 10 of 10"):
        proven(project, engine, edited("same", model=MODEL + "\n# a comment\n"), budget_s=900.0)


@pytest.mark.usefixtures("half")
def test_a_cut_run_without_the_metric_is_refused_too(project: Path, engine: Any) -> None:
    """A file that is written at the end only, from numbers of every epoch."""
    text = TRAIN.replace("    for epoch", "    import json\n    rows = []\n    for epoch").replace(
        '        print(f"epoch', '        rows.append({"step": 5 * epoch + 5, "val_acc": acc}); (f"epoch'
    )
    late = text.replace("    torch.save(", "    json.dump(rows, open('log.json', 'w'))\n    torch.save(")
    (project / "train.py").write_text(late)
    with pytest.raises(
        VerifyError, match=r"the budget is too short: val_acc is first given after step 10 of 10|gives no"
    ):
        proven(project, engine, edited("same", model=MODEL + "\n# a comment\n"), budget_s=900.0)


@pytest.mark.usefixtures("half")
def test_a_budget_keeps_to_epochs_and_makes_the_first_run_anew(project: Path, engine: Any) -> None:
    (project / "train.py").write_text(TRAIN.replace("default=2", "default=4"))
    analysis, out = proven(project, engine, edited("same", model=MODEL + "\n# a comment\n"), budget_s=900.0)
    assert {run.steps for run in analysis.runs.values()} == {10}
    assert "trying the baseline once more, to step 10" in out
    assert all(run.score("val_acc") is not None for run in analysis.runs.values())


def test_printed_or_logged_the_metric_and_so_the_verdict_is_the_same(project: Path, engine: Any) -> None:
    logged = TRAIN.replace('print(f"epoch', "open('log.jsonl', 'a').write('{\"val_acc\": %r}\\n' % acc); (f\"epoch")
    found = []
    for text in (TRAIN.replace("acc:.4f", "acc!r"), logged):
        (project / "train.py").write_text(text)
        session = session_for(project, engine)
        session.ledger.runs.clear()
        session.run(session.missing())
        run = session.ledger.runs[(BASELINE, 0, 1.0)]
        (metric,) = choose(run)
        found.append((metric.name, metric.higher, run.series[metric.name], metric.at))
    assert found[0] == found[1]


def test_watching_a_step_costs_little() -> None:
    """Many steps a second: what the hooks do for each of them is a few microseconds."""
    import torch

    from tricklint.verify.runner.record import Recorder

    recorder = Recorder()
    w = torch.nn.Parameter(torch.ones(1))
    optimizer = torch.optim.SGD([w], lr=0.0)
    loss = (w * 2).sum()
    best = 1.0
    for _ in range(5):
        began = time.process_time()
        for _ in range(1000):
            recorder._backward(loss)
            recorder._steps(optimizer, (), {})
            recorder._stepped(optimizer, (), {})
        best = min(best, (time.process_time() - began) / 1000)
    assert recorder.steps == 5000 and recorder.phases[0].losses == [2.0] * 5000
    assert best < 100e-6, f"{best * 1e6:.0f} µs a step"


def test_on_a_card_some_runs_of_the_baseline_are_made_again(
    project: Path, engine: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A pretended card: where a script gives several metrics, what the device itself changes is measured."""
    from tricklint.verify import conduct as conducting

    plain = conducting._pilot

    def on_a_card(*given: Any, **more: Any) -> Any:
        run = plain(*given, **more)
        run.memory["cuda"] = 1.0
        return run

    monkeypatch.setattr(conducting, "_pilot", on_a_card)
    text = (project / "train.py").read_text()
    (project / "train.py").write_text(text.replace('print(f"epoch', 'print(f"val_f1: {acc:.4f}")\n        print(f"epoch'))
    analysis, shown = proven(project, engine, edited("init", model=MODEL_INIT), seeds=6)
    assert "2 variants x 6 seeds, and 3 of the baseline once more = 15 runs" in shown
    assert analysis.complete
    again = [(seed, run) for (name, seed, _), run in analysis.runs.items() if name == AGAIN]
    assert sorted(seed for seed, _ in again) == [0, 1, 2]
    for seed, run in again:
        assert run.losses == analysis.runs[(BASELINE, seed, 1.0)].losses
    assert not any(c.within_noise for outcome in analysis.outcomes for c in outcome.comparisons)
