"""`tricklint verify` and `check --verify` from the command line to the report."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from tricklint.verify.replay import Command

from .test_outside import snapshot

CONFIG = """
[tool.tricklint.verify]
command = "python train.py --epochs 1"
seeds = 1
"""


def tricklint(folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "tricklint", *arguments]
    return subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=300)


@pytest.fixture
def decaying(project: Path) -> Path:
    """The tiny project with a finding of TRK601: weight decay on biases."""
    train = project / "train.py"
    train.write_text(train.read_text().replace("lr=args.lr)", "lr=args.lr, weight_decay=0.01)"))
    (project / "pyproject.toml").write_text(CONFIG)
    return project


def test_a_script_with_arguments(decaying: Path) -> None:
    before = snapshot(decaying)
    done = tricklint(
        decaying, *("verify", "train.py", "--seeds", "2", "--select", "TRK601", "--yes", "--", "--epochs", "1")
    )
    assert done.returncode == 0, done.stderr
    assert "2 variants x 2 seeds = 4 runs" in done.stdout
    assert "TRK601 decay-on-bias-norm" in done.stdout
    assert "inconclusive" in done.stdout and "effects are shown only" in done.stdout
    assert {k: v for k, v in snapshot(decaying).items() if ".tricklint_cache" not in k} == before
    (folder,) = (decaying / ".tricklint" / "verify").iterdir()
    value = json.loads((folder / "results.json").read_text())
    assert [r["steps"] for r in value["runs"]] == [5] * 4
    assert value["training"] == "python train.py --epochs 1"
    assert list((folder / "work").iterdir()) == []
    page = (folder / "report.html").read_text()
    assert "decay-on-bias-norm" in page and "+++ b/train.py" in page
    assert (decaying / ".tricklint" / ".gitignore").read_text() == "*\n"


def test_check_verify_takes_the_projects_command(decaying: Path) -> None:
    done = tricklint(decaying, "check", ".", "--verify", "--yes", "--select", "TRK601", "--exit-zero")
    assert done.returncode == 0, done.stderr
    assert "1 findings" not in done.stdout
    assert "TRK601" in done.stdout and "report: " in done.stdout


@pytest.mark.long
def test_a_script_below_the_folder_in_which_the_command_is_typed(decaying: Path) -> None:
    """Nothing marks the project: the script runs where `python src/train.py` would run."""
    (decaying / "pyproject.toml").unlink()
    (decaying / "src").mkdir()
    for name in ("train.py", "model.py"):
        (decaying / name).rename(decaying / "src" / name)
    text = (decaying / "src" / "train.py").read_text()
    (decaying / "src" / "train.py").write_text(
        text.replace("def main():", "open('configs/base.yaml').read()\ndef main():")
    )
    (decaying / "configs").mkdir()
    (decaying / "configs" / "base.yaml").write_text("x: 1")
    done = tricklint(decaying, "verify", "src/train.py", "--seeds", "1", "--select", "TRK601", "--yes")
    assert done.returncode == 0, done.stderr + done.stdout
    assert (decaying / ".tricklint" / "verify").is_dir()


def test_nothing_to_verify(project: Path) -> None:
    done = tricklint(project, "verify", "train.py", "--select", "TRK401", "--yes")
    assert done.returncode == 0
    assert "nothing to verify" in done.stdout


def test_check_verify_without_a_command_says_what_is_missing(decaying: Path) -> None:
    (decaying / "pyproject.toml").write_text("[tool.tricklint]\n")
    done = tricklint(decaying, "check", ".", "--verify")
    assert done.returncode == 2
    assert "--verify needs a training command" in done.stderr
    assert "Traceback" not in done.stderr


def test_a_metric_that_is_never_printed(decaying: Path) -> None:
    done = tricklint(decaying, "verify", "--select", "TRK601", "--metric", r"wobble: (\d+)", "--yes")
    assert done.returncode == 2
    assert "matches nothing that the baseline printed" in done.stderr


def test_recipes_are_listed_without_torch(project: Path) -> None:
    code = "import sys; sys.argv = ['tricklint', 'verify', '--list']\nfrom tricklint.cli import main\n"
    code += "try: main()\nexcept SystemExit: pass\nassert 'torch' not in sys.modules and 'rich' not in sys.modules"
    done = subprocess.run([sys.executable, "-c", code], cwd=project, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert "vgg-digits" in done.stdout and "rare-positives" in done.stdout


def test_a_fault_of_our_own_says_where() -> None:
    from click import ClickException

    from tricklint.verify import cli
    from tricklint.verify.plan import duration
    from tricklint.verify.stats import t_interval

    with pytest.raises(ClickException) as wrong_use:
        cli._guarded(lambda: duration("soon"))
    assert wrong_use.value.message == "'soon' is no duration like \"10m\""
    with pytest.raises(ClickException, match=r"\(ValueError in stats.py:\d+, a fault of tricklint\)"):
        cli._guarded(lambda: t_interval(["x", "y"]))  # type: ignore[list-item]


def test_epochs_of_the_configuration(project: Path) -> None:
    command = Command("train.py", None, ("--epochs", "3", "--lr", "1"))
    assert command.with_epochs(1).arguments == ("--epochs", "1", "--lr", "1")
    assert command.with_epochs(None) is command
    assert Command("train.py", None, ()).with_epochs(2).arguments == ("--epochs", "2")
    assert Command("train.py", None, ("--epochs=9",)).with_epochs(2).arguments == ("--epochs", "2")
