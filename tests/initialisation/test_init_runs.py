"""The init fixtures, run: the same keys and shapes before and after, other numbers only in the weights found."""

from __future__ import annotations

import runpy
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

torch = pytest.importorskip("torch")

FIXTURES = Path(__file__).parents[2] / "fixtures"
GAIN, SYMMETRIC = FIXTURES / "init-gain-mismatch", FIXTURES / "symmetric-init"
ARGUMENTS: dict[str, tuple[int, ...]] = {
    "Mlp": (8,), "Encoder": (8, 4), "Attention": (8, 4), "Policy": (6, 2), "MLP": (6, 8, 2), "Actor": (6, 2),
}  # fmt: skip


def build(path: Path) -> Any:
    """The model of a fixture: one it trains, or its last class, built with small sizes."""
    torch.manual_seed(0)
    if path.is_dir():
        sys.path.insert(0, str(path))
    try:
        names = runpy.run_path(str(next((f for f in path.glob("[mt][or]*.py")), path) if path.is_dir() else path))
    finally:
        if path.is_dir():
            sys.path.remove(str(path))
            for name in ("layers", "utils", "weights", "models"):
                sys.modules.pop(name, None)
    made = [
        value for value in names.values() if isinstance(value, torch.nn.Module) and sum(1 for _ in value.parameters())
    ]
    if made:  # a class that initialises itself is built anew: the script has trained its own instance
        cls = type(made[-1])
        inits_itself = cls.__module__ == "<run_path>" and "apply" not in path.name
        return cls() if inits_itself else made[-1]
    classes = [
        value for value in names.values()
        if isinstance(value, type) and issubclass(value, torch.nn.Module) and value.__module__ == "<run_path>"
    ]  # fmt: skip
    model = classes[-1](*ARGUMENTS.get(classes[-1].__name__, ()))
    if "constant_init" in names:
        names["constant_init"](model)
    if "prepare" in names:
        names["prepare"](SimpleNamespace(net=model))
    return model


def twins(folder: Path) -> list[Path]:
    return sorted(p for p in folder.glob("bad_*") if ".fixed" not in p.name and twin(p).exists())


def twin(path: Path) -> Path:
    return path.with_name(f"{path.stem}.fixed.py" if path.suffix else f"{path.name}.fixed")


@pytest.mark.parametrize("path", [*twins(GAIN), *twins(SYMMETRIC)], ids=lambda path: f"{path.parent.name}/{path.stem}")
def test_keys_and_shapes_stay(path: Path) -> None:
    bad, good = build(path).state_dict(), build(twin(path)).state_dict()
    assert {name: value.shape for name, value in bad.items()} == {name: value.shape for name, value in good.items()}
    assert any(name.endswith("weight") and not torch.equal(bad[name], good[name]) for name in bad)


@pytest.mark.parametrize("path", twins(SYMMETRIC), ids=lambda path: path.stem)
def test_hidden_units_differ_after_the_fix(path: Path) -> None:
    def symmetric(model: Any) -> list[str]:
        return [n for n, p in model.named_parameters() if p.ndim > 1 and bool((p == p.flatten()[0]).all())]

    assert symmetric(build(path))
    assert not symmetric(build(twin(path)))


def test_signal_keeps_its_size_with_the_right_gain() -> None:
    """In a deep tanh net the right gain keeps the signal up; PyTorch's `a=√5` loses it in a ReLU net."""
    torch.manual_seed(0)

    def last_std(activation: Any, depth: int, **init: Any) -> float:
        x = torch.randn(256, 128)
        for _ in range(depth):
            weight = torch.nn.init.kaiming_normal_(torch.empty(128, 128), **init)
            x = activation(x @ weight.t())
        return x.std().item()

    assert last_std(torch.relu, 12, a=5**0.5) < 0.01 * last_std(torch.relu, 12, nonlinearity="relu")
    assert last_std(torch.tanh, 30, nonlinearity="sigmoid") < 0.5 * last_std(torch.tanh, 30, nonlinearity="tanh")


def test_a_picture_out_of_tanh_starts_saturated_by_the_book() -> None:
    """Why there is no fix for such a net: a norm before the last layer is what holds its input in size."""

    def beyond_two(path: Path, gain: float) -> float:
        model = build(path)
        last = [layer for layer in model.modules() if isinstance(layer, torch.nn.Conv2d)][-1]
        seen: list[Any] = []
        last.register_forward_hook(lambda layer, inputs, output: seen.append(output))
        for layer in model.modules():
            if isinstance(layer, torch.nn.Conv2d):
                torch.nn.init.kaiming_uniform_(layer.weight, a=0.25, nonlinearity="leaky_relu")
                torch.nn.init.zeros_(layer.bias)
        torch.nn.init.xavier_uniform_(last.weight, gain=gain)
        with torch.no_grad():
            model(torch.rand(4, 3, 16, 16))
        return float((seen[0].abs() > 2).float().mean())

    picture = FIXTURES / "missing-init" / "bad_picture_out_of_tanh.py"
    assert beyond_two(picture, torch.nn.init.calculate_gain("tanh")) > 0.2
