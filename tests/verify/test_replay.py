"""Scripts run unchanged in copies: pairing, recording, metrics, and what must never reach the user's files."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest

from tricklint.verify.plan import BASELINE, Task
from tricklint.verify.records import VerifyError
from tricklint.verify.replay import Command
from tricklint.verify.workspace import Project

from .helpers import MODEL, MODEL_INIT, edited, run_script, session_for


def test_records_every_step_and_the_metric(project: Path, engine: Any) -> None:
    session = session_for(project, engine)
    session.run([Task(BASELINE, 0)])
    run = session.ledger.runs[(BASELINE, 0, 1.0)]
    assert run.status == "ok"
    assert run.steps == 10 == len(run.losses[0])
    assert len(run.series["val_acc"]) == 2
    assert run.phases == ["SGD"]
    assert run.step_s[0] is not None and run.step_s[0] > 0
    assert run.memory["rss"] > 1e7
    assert "model.py" in run.files


def test_the_losses_are_those_of_the_plain_script(project: Path, engine: Any, tmp_path: Path) -> None:
    """Run 0 is the script as it is: default streams apart, its printed loss is the recorded one."""
    session = session_for(project, engine)
    session.run([Task(BASELINE, 0)])
    run = session.ledger.runs[(BASELINE, 0, 1.0)]
    printed = run.series["loss"][-1]
    assert printed == pytest.approx(run.losses[0][-1], abs=1e-4)


def test_the_same_seed_gives_the_same_run_and_another_another(project: Path, engine: Any) -> None:
    session = session_for(project, engine, [edited("same", model=MODEL + "\n# a comment\n")], seeds=2)
    session.run(session.missing())
    runs = session.ledger.runs
    assert runs[(BASELINE, 0, 1.0)].losses == runs[("same", 0, 1.0)].losses
    assert runs[(BASELINE, 1, 1.0)].losses == runs[("same", 1, 1.0)].losses
    assert runs[(BASELINE, 0, 1.0)].losses != runs[(BASELINE, 1, 1.0)].losses


def test_a_fix_that_draws_numbers_does_not_shift_data_order_or_augmentation(project: Path, engine: Any) -> None:
    """The batches and the noise drawn in training stay those of the baseline when the model draws more at its start."""
    text = """
        import torch
        from torch.utils.data import DataLoader, TensorDataset
        from model import Net
        torch.manual_seed(3)
        model = Net()
        optimizer = torch.optim.SGD(model.parameters(), lr=0.0)
        loader = DataLoader(TensorDataset(torch.arange(20.0)), batch_size=5, shuffle=True)
        for (batch,) in loader:
            noise = torch.rand(1).item()
            print(f"order: {batch[0].item():.1f}")
            print(f"noise: {noise:.6f}")
            model(torch.zeros(1, 6)).sum().backward()
            optimizer.step()
    """
    import textwrap

    (project / "train.py").write_text(textwrap.dedent(text))
    session = session_for(project, engine, [edited("init", model=MODEL_INIT)])
    session.run(session.missing())
    before, after = (session.ledger.runs[(name, 0, 1.0)] for name in (BASELINE, "init"))
    assert before.series["order"] == after.series["order"]
    assert before.series["noise"] == after.series["noise"]
    assert before.losses != after.losses  # the fix did something


def test_steps_end_a_run(project: Path, engine: Any) -> None:
    session = session_for(project, engine, steps=7)
    session.run([Task(BASELINE, 0)])
    run = session.ledger.runs[(BASELINE, 0, 1.0)]
    assert (run.steps, run.status) == (7, "ok")
    assert len(run.series["val_acc"]) == 1


def test_learning_rates_are_scaled(project: Path, engine: Any) -> None:
    text = """
        import torch
        w = torch.nn.Parameter(torch.zeros(1))
        optimizer = torch.optim.SGD([{"params": [w], "lr": 0.2}], lr=0.1)
        w.sum().backward()
        optimizer.step()
        print("lr score:", optimizer.param_groups[0]["lr"], "default score:", optimizer.defaults["lr"])
    """
    run = run_script(project, engine, text, scales=(1.0, 0.5))
    assert run.series["lr score"] == [pytest.approx(0.1)]
    assert run.series["default score"] == [pytest.approx(0.05)]


def test_two_optimizers_are_two_phases_and_accumulated_losses_add_up(project: Path, engine: Any) -> None:
    text = """
        import torch
        w = torch.nn.Parameter(torch.ones(1))
        v = torch.nn.Parameter(torch.ones(1))
        a, b = torch.optim.SGD([w], lr=0.0), torch.optim.Adam([v], lr=0.0)
        for _ in range(3):
            (w * 1.0).sum().backward()
            (w * 2.0).sum().backward()
            a.step()
            (v * 5.0).sum().backward()
            b.step()
    """
    run = run_script(project, engine, text)
    assert run.phases == ["SGD", "Adam"]
    assert run.losses == [[3.0] * 3, [5.0] * 3]


def test_the_loss_under_a_grad_scaler_is_unscaled(project: Path, engine: Any) -> None:
    text = """
        import torch
        w = torch.nn.Parameter(torch.ones(1))
        optimizer = torch.optim.SGD([w], lr=0.0)
        scaler = torch.amp.GradScaler("cpu", init_scale=1024.0)
        for _ in range(2):
            scaler.scale((w * 3.0).sum()).backward()
            scaler.step(optimizer)
            scaler.update()
    """
    assert run_script(project, engine, text).losses == [[3.0, 3.0]]


def test_a_gigabyte_is_linked_not_copied(project: Path, tmp_path: Path) -> None:
    with open(project / "data.bin", "wb") as file:
        file.truncate(1 << 30)
    many = project / "pictures"
    many.mkdir()
    for i in range(2500):
        (many / f"{i}.png").touch()
    found = Project.scan(project)
    copy = found.copy(tmp_path / "copy")
    assert os.stat(copy / "data.bin").st_ino == os.stat(project / "data.bin").st_ino
    assert (copy / "pictures").is_symlink()
    assert found.total_bytes < 2 << 30
    assert not (copy / "train.py").is_symlink()
    assert os.stat(copy / "train.py").st_ino != os.stat(project / "train.py").st_ino


def test_virtual_environments_and_git_stay_out(project: Path, tmp_path: Path) -> None:
    for name in (".git", "env", ".tricklint"):
        (project / name).mkdir()
        (project / name / "file.py").write_text("x = 1")
    (project / "env" / "pyvenv.cfg").write_text("")
    copy = Project.scan(project).copy(tmp_path / "copy")
    assert sorted(p.name for p in copy.iterdir()) == ["model.py", "train.py"]


def test_an_editable_install_is_imported_from_the_copy(project: Path, engine: Any) -> None:
    text = f"""
        import sys
        sys.path.append({str(project)!r})   # what an editable install puts there
        import model, torch
        print("score:", int(".tricklint" in model.__file__))
        o = torch.optim.SGD(model.Net().parameters(), lr=0.1); o.step()
    """
    assert run_script(project, engine, text).series["score"] == [1.0]


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        ("python train.py --epochs 3", ("train.py", None, ("--epochs", "3"))),
        ("train.py", ("train.py", None, ())),
        ("python3 -u train.py", ("train.py", None, ())),
        ("python -m model --x", (None, "model", ("--x",))),
    ],
)
def test_commands(project: Path, words: str, expected: tuple[Any, ...]) -> None:
    command = Command.parse(words.split(), project)
    assert (command.script, command.module, command.arguments) == expected


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ("", "empty"),
        ("nothere.py", "there is no"),
        ("a.ipynb", "notebook"),
        ("bash run.sh", "no Python script"),
        ("python -m", "needs a module"),
    ],
)
def test_wrong_commands(project: Path, words: str, message: str) -> None:
    with pytest.raises(VerifyError, match=message):
        Command.parse(words.split(), project)


def test_the_seed_can_be_an_argument(project: Path, engine: Any) -> None:
    text = """
        import sys, torch
        print("score:", sys.argv[-1])
        torch.optim.SGD([torch.nn.Parameter(torch.ones(1))], lr=0.1).step()
    """
    assert run_script(project, engine, text, seed=3, command="train.py --seed {seed}").series["score"] == [3.0]


def test_a_module_runs(project: Path, engine: Any) -> None:
    session = session_for(project, engine, command="python -m train --epochs 1")
    session.run([Task(BASELINE, 0)])
    assert session.ledger.runs[(BASELINE, 0, 1.0)].steps == 5


def test_a_run_starts_anew_where_an_import_has_opened_the_card(
    project: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """CUDA that is open before a fork cannot be used after it: such a run gets a process of its own."""
    from tricklint.verify.engines.local import LocalEngine

    monkeypatch.delenv("PYTORCH_NVML_BASED_CUDA_CHECK", raising=False)  # Lightning leaves it in a process that asks it

    opens = "import os, torch\ntorch._C._cuda_isInBadFork = lambda: True\nos.environ['OPENED_IN'] = str(os.getpid())\n"
    (tmp_path / "opens_the_card.py").write_text(opens)
    script = """
        import os, sys, torch
        lightly = os.environ.get("PYTORCH_NVML_BASED_CUDA_CHECK")
        print("score:", sum([not torch.cuda._is_in_bad_fork(), "opens_the_card" not in sys.modules, lightly is None]))
        weight = torch.nn.Parameter(torch.ones(2))
        optimizer = torch.optim.SGD([weight], lr=0.1)
        for _ in range(3):
            weight.sum().backward()
            optimizer.step()
    """
    engine = LocalEngine(workers=1, preload=["torch", "opens_the_card"], path=[str(tmp_path)])
    try:
        run = run_script(project, engine, script)
    finally:
        engine.close()
    assert (run.status, run.steps) == ("ok", 3), run.message
    assert run.series["score"] == [3.0]
