"""Bad fixtures and their mended twins run; where the fix is safe, they show and compute the same."""

from __future__ import annotations

import io
import re
import runpy
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any
from unittest import mock

import pytest

torch = pytest.importorskip("torch")

FIXTURES = Path(__file__).parents[2] / "fixtures"
SAFE = ("eval-without-no-grad", "loss-graph-accumulation")
OTHERS = ("missing-zero-grad", "softmax-before-cross-entropy", "scheduler-before-optimizer")


def _twins(*rules: str) -> list[Path]:
    return [twin for rule in rules for twin in sorted((FIXTURES / rule).glob("bad_*.fixed.py"))]


def _typed() -> Callable[..., str]:
    """What somebody types who is asked for a row until they have enough."""
    return mock.Mock(side_effect=["1 2 3 4 5", "quit"])


class _NoWeights(dict[str, Any]):
    """What a file that is not there holds; it fits any model."""


def _load(file: Any, *rest: Any, load: Callable[..., Any] = torch.load, **named: Any) -> Any:
    return _NoWeights() if isinstance(file, str) and not Path(file).exists() else load(file, *rest, **named)


def _load_state_dict(
    model: Any, weights: Any, *rest: Any, load: Callable[..., Any] = torch.nn.Module.load_state_dict, **named: Any
) -> Any:
    return None if isinstance(weights, _NoWeights) else load(model, weights, *rest, **named)


def _run(path: Path) -> dict[str, Any]:
    torch.manual_seed(0)
    rows = io.StringIO("1 2 3 4 5\n")
    with warnings.catch_warnings(), mock.patch("sys.stdin", rows), mock.patch("builtins.input", _typed()):
        warnings.simplefilter("ignore")
        try:
            return runpy.run_path(str(path), run_name="__main__")
        except ModuleNotFoundError as missing:
            pytest.skip(f"needs {missing.name}")


@pytest.fixture(autouse=True)
def _alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("sys.argv", ["script"])
    monkeypatch.setattr(torch, "load", _load)
    monkeypatch.setattr(torch.nn.Module, "load_state_dict", _load_state_dict)


def _weights(names: dict[str, Any]) -> dict[str, Any]:
    """Weights of all models at a script's top level, by variable and state_dict key."""
    return {
        f"{name}.{key}": value
        for name, module in names.items()
        if isinstance(module, torch.nn.Module)
        for key, value in module.state_dict().items()
    }


@pytest.mark.parametrize("twin", _twins(*SAFE), ids=lambda twin: f"{twin.parent.name}/{twin.name}")
def test_a_safe_fix_changes_no_number(twin: Path, capsys: pytest.CaptureFixture[str]) -> None:
    before = _run(twin.with_name(twin.name.replace(".fixed", "")))
    shown = capsys.readouterr().out
    after = _run(twin)
    # a printed tensor names the function that made it as long as it carries its graph
    assert capsys.readouterr().out == re.sub(r", grad_fn=<\w+>", "", shown)
    old, new = _weights(before), _weights(after)
    assert old.keys() == new.keys()
    assert all(torch.equal(old[key], new[key]) for key in old)


@pytest.mark.parametrize("twin", _twins(*OTHERS), ids=lambda twin: f"{twin.parent.name}/{twin.name}")
def test_a_mended_script_runs_and_keeps_its_weights(twin: Path) -> None:
    after = _weights(_run(twin))
    original = twin.with_name(twin.name.replace(".fixed", ""))
    if "raw_logits_into_bce" in original.name:
        with pytest.raises(RuntimeError, match="between 0 and 1"):  # what the rule says: no probabilities
            _run(original)
        return
    before = _weights(_run(original))
    assert {key: value.shape for key, value in before.items()} == {key: value.shape for key, value in after.items()}


def test_the_schedule_starts_at_its_first_value() -> None:
    """What TRK704 says of the order: the first learning rate is skipped when the scheduler is stepped first."""
    folder = FIXTURES / "scheduler-before-optimizer"
    before, after = _run(folder / "bad_start_of_epoch.py"), _run(folder / "bad_start_of_epoch.fixed.py")
    assert before["scheduler"].last_epoch == after["scheduler"].last_epoch == 25


def test_cleared_gradients_do_not_grow() -> None:
    folder = FIXTURES / "missing-zero-grad"
    before, after = _run(folder / "bad_notebook_style.py"), _run(folder / "bad_notebook_style.fixed.py")

    def size(names: dict[str, Any]) -> float:
        return sum(float(p.grad.norm()) for p in names["model"].parameters())

    assert size(before) > 5 * size(after)
