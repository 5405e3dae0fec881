"""Bad fixtures and what the fixes make of them, run: the same model is built, optimised and trained one step.

A fixture takes part when its file (or its `train.py`) has a function `build()` that returns a model, its optimizer and
one batch. Checkpoints that it loads do not exist: `torch.load` and `load_state_dict` are stood in for.
"""

from __future__ import annotations

import runpy
import sys
from collections import Counter, defaultdict
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn
from torch.nn.utils.parametrize import is_parametrized

ROOT = Path(__file__).parents[2] / "fixtures"
RULES = ("unfrozen-backbone", "missing-init", "classifier-bias", "decay-on-bias-norm")
BLOCKS = (nn.MultiheadAttention, nn.TransformerEncoderLayer)
HANDED_IN = ("body",)  # what the fixtures call a layer that a class is given
WEIGHTED = (nn.Linear, nn.Conv1d, nn.Conv2d, nn.ConvTranspose2d)

Built = tuple[nn.Module, torch.optim.Optimizer, Any]


def _twin(case: Path) -> Path:
    return case.with_name(f"{case.name}.fixed") if case.is_dir() else case.with_name(f"{case.stem}.fixed.py")


def _script(case: Path) -> Path:
    return case / "train.py" if case.is_dir() else case


def _pairs() -> list[tuple[Path, Path]]:
    pairs = []
    for rule in RULES:
        for case in sorted((ROOT / rule).glob("bad_*")):
            twin = _twin(case)
            if ".fixed" not in case.name and twin.exists() and "def build(" in _script(case).read_text():
                pairs.append((case, twin))
    return pairs


PAIRS = _pairs()


@pytest.fixture
def checkpoints(monkeypatch: pytest.MonkeyPatch) -> None:
    """Any file can be loaded, and what it holds fits any model."""
    monkeypatch.setattr(torch, "load", lambda *args, **kwargs: defaultdict(dict))
    monkeypatch.setattr(nn.Module, "load_state_dict", lambda self, *args, **kwargs: None)


def _build(case: Path) -> Built:
    """Run the fixture's file, import neighbours from its folder, and call its `build()`."""
    script = _script(case)
    neighbours = {path.stem for path in script.parent.glob("*.py")} if case.is_dir() else set()
    before = {name: sys.modules.pop(name) for name in neighbours if name in sys.modules}
    sys.path.insert(0, str(script.parent))
    try:
        torch.manual_seed(0)
        return runpy.run_path(str(script))["build"]()
    finally:
        sys.path.remove(str(script.parent))
        for name in neighbours:
            sys.modules.pop(name, None)
        sys.modules.update(before)


def _groups(model: nn.Module, optimizer: torch.optim.Optimizer) -> Iterator[tuple[str, nn.Parameter, dict[str, Any]]]:
    names = {id(param): name for name, param in model.named_parameters()}
    for group in optimizer.param_groups:
        for param in group["params"]:
            yield names[id(param)], param, {key: value for key, value in group.items() if key != "params"}


def _step(built: Built) -> None:
    """One training step; every trainable parameter that the output depends on moves, and stays finite."""
    model, optimizer, batch = built
    before = {name: param.detach().clone() for name, param in model.named_parameters()}
    optimizer.zero_grad()
    output = model(batch)
    (output - 1).pow(2).mean().backward()
    optimizer.step()
    moved = {name for name, param in model.named_parameters() if not torch.equal(param, before[name])}
    assert moved, "a training step changes nothing"
    assert moved <= {name for name, _, _ in _groups(model, optimizer)}
    assert all(torch.isfinite(param).all() for param in model.parameters())


def test_enough_twins_run() -> None:
    ran = Counter(case.parent.name for case, _ in PAIRS)
    assert set(ran) == set(RULES) and len(PAIRS) >= 25


@pytest.mark.usefixtures("checkpoints")
@pytest.mark.parametrize(("case", "twin"), PAIRS, ids=lambda path: f"{path.parent.name}/{path.name}")
def test_twins(case: Path, twin: Path) -> None:
    bad, fixed = _build(case), _build(twin)
    shapes = {name: value.shape for name, value in bad[0].state_dict().items()}
    assert {name: value.shape for name, value in fixed[0].state_dict().items()} == shapes
    assert [name for name, _ in fixed[0].named_parameters()] == [name for name, _ in bad[0].named_parameters()]

    was = {name: options for name, param, options in _groups(*bad[:2]) if param.requires_grad}
    now = [(name, options) for name, param, options in _groups(*fixed[:2]) if param.requires_grad]
    assert max(Counter(name for name, _ in now).values()) == 1, "a parameter is optimised twice"
    for name, options in now:
        same = {key: value for key, value in was[name].items() if key not in ("weight_decay", "initial_lr")}
        assert {key: options[key] for key in same} == same
    _CHECKS[case.parent.name](bad, fixed, was, dict(now))
    _step(bad)
    _step(fixed)


def _check_decay(bad: Built, fixed: Built, was: dict[str, Any], now: dict[str, Any]) -> None:
    assert set(now) == set(was), "not the same parameters are optimised"
    params = dict(fixed[0].named_parameters())
    for name, options in now.items():
        vector = params[name].ndim < 2 or name.endswith("bias")
        assert options["weight_decay"] == (0 if vector else was[name]["weight_decay"])


def _check_init(bad: Built, fixed: Built, was: dict[str, Any], now: dict[str, Any]) -> None:
    assert set(now) == set(was)
    blocks = [module for module in fixed[0].modules() if isinstance(module, BLOCKS)]
    theirs = {part for block in blocks for part in block.modules()}
    for (name, default), (_, layer) in zip(bad[0].named_modules(), fixed[0].named_modules(), strict=True):
        if not isinstance(layer, WEIGHTED):
            continue
        if layer in theirs or hasattr(layer, "weight_g") or is_parametrized(layer) or name in HANDED_IN:
            assert torch.equal(layer.weight, default.weight), f"{name} is not the fix's to initialise"
            continue
        bound = layer.weight[0].numel() ** -0.5  # 1 / sqrt(fan_in), as PyTorch counts it
        assert isinstance(default, WEIGHTED) and default.weight.abs().max() <= bound
        assert not torch.equal(layer.weight, default.weight), f"{name} keeps its default weights"
        kept = layer.bias is None or torch.equal(layer.bias, default.bias)  # a helper of the class may leave it
        assert kept or not layer.bias.any(), f"{name} has a bias that is not zero"


def _check_bias(bad: Built, fixed: Built, was: dict[str, Any], now: dict[str, Any]) -> None:
    assert set(now) == set(was)
    changed = [
        param
        for (_, old), (_, param) in zip(bad[0].named_parameters(), fixed[0].named_parameters(), strict=True)
        if not torch.equal(old, param)
    ]
    assert len(changed) == 1 and changed[0].ndim == 1
    assert (changed[0] < -3).all() and changed[0].unique().numel() == 1


def _check_freeze(bad: Built, fixed: Built, was: dict[str, Any], now: dict[str, Any]) -> None:
    """Only the new head is left, and every part of it."""
    assert all(param.requires_grad for param in bad[0].parameters())
    trainable = {name for name, param in fixed[0].named_parameters() if param.requires_grad}
    assert set(now) == trainable and trainable
    assert {name.split(".")[0] for name in trainable} <= {"fc", "head"}
    assert trainable == {name for name in was if name.split(".")[0] in ("fc", "head")}


_CHECKS = {
    "decay-on-bias-norm": _check_decay,
    "missing-init": _check_init,
    "classifier-bias": _check_bias,
    "unfrozen-backbone": _check_freeze,
}
