"""The split fixtures, run: what the bad ones lose is really lost, and the mended ones hold every parameter once."""

from __future__ import annotations

import runpy
import sys
from pathlib import Path
from typing import Any

import pytest

torch = pytest.importorskip("torch")

FIXTURES = Path(__file__).parents[2] / "fixtures" / "lossy-parameter-split"
RUNNABLE = ["bad_bare_parameter", "bad_lstm", "bad_multihead_attention", "bad_names_in_full_loop"]
REFUSED = ["bad_affine_free_norm", "bad_instance_norm", "bad_nested_modules"]


def run(path: Path) -> dict[str, Any]:
    """The names of a script after it ran; a folder runs its train.py as `__main__`'s main()."""
    torch.manual_seed(0)
    if path.is_dir():
        sys.path.insert(0, str(path))
        try:
            names = runpy.run_path(str(path / "train.py"))
            sys.argv, argv = ["train.py"], sys.argv
            try:
                return {**names, "optimizer": names["main"](), "net": None}
            finally:
                sys.argv = argv
        finally:
            sys.path.remove(str(path))
            for name in ("utils", "models"):
                sys.modules.pop(name, None)
    return runpy.run_path(str(path))


def model_of(names: dict[str, Any]) -> Any:
    found = [value for value in names.values() if isinstance(value, torch.nn.Module)]
    return next(model for model in found if sum(1 for _ in model.parameters()))


def held(optimizer: Any) -> list[int]:
    return [id(param) for group in optimizer.param_groups for param in group["params"]]


@pytest.mark.parametrize("case", RUNNABLE)
def test_mended_split_holds_every_parameter_once(case: str) -> None:
    bad, good = run(FIXTURES / f"{case}.py"), run(FIXTURES / f"{case}.fixed.py")
    model = model_of(good)
    assert model.state_dict().keys() == model_of(bad).state_dict().keys()
    assert sorted(held(good["optimizer"])) == sorted(id(param) for param in model.parameters())
    decays = {id(p): group["weight_decay"] for group in good["optimizer"].param_groups for p in group["params"]}
    for name, param in model.named_parameters():
        if param.ndim < 2:
            assert decays[id(param)] == 0, name
        elif not name.endswith("bias"):
            assert decays[id(param)] > 0, name


@pytest.mark.parametrize("case", ["bad_bare_parameter", "bad_lstm", "bad_multihead_attention"])
def test_bad_split_loses_what_the_finding_says(case: str) -> None:
    names = run(FIXTURES / f"{case}.py")
    lost = {id(param) for param in model_of(names).parameters()} - set(held(names["optimizer"]))
    assert lost


@pytest.mark.parametrize("case", REFUSED)
def test_split_that_the_optimizer_refuses(case: str) -> None:
    with pytest.raises((TypeError, ValueError), match=r"NoneType|more than one parameter group"):
        run(FIXTURES / f"{case}.py")
    run(FIXTURES / f"{case}.fixed.py")


def test_twice_is_refused_by_torch() -> None:
    with pytest.raises(ValueError, match="more than one parameter group"):
        run(FIXTURES / "bad_twice.py")


def test_names_in_full_split_nothing() -> None:
    groups = run(FIXTURES / "bad_names_in_full_loop.py")["optimizer"].param_groups
    assert [len(group["params"]) for group in groups] == [6, 0]
    mended = run(FIXTURES / "bad_names_in_full_loop.fixed.py")["optimizer"].param_groups
    assert [len(group["params"]) for group in mended] == [2, 4]


def test_split_in_another_file() -> None:
    """The copied helper's own assert stops it on a model with a bare parameter; mended it holds."""
    with pytest.raises(AssertionError):
        run(FIXTURES / "bad_other_file")
    optimizer = run(FIXTURES / "bad_other_file.fixed")["optimizer"]
    assert sum(len(group["params"]) for group in optimizer.param_groups) == 5


@pytest.mark.parametrize("path", sorted(FIXTURES.glob("good_*.py")), ids=lambda path: path.stem)
def test_good_splits_run(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    if "transformers" in path.read_text():
        _made_without_weights(monkeypatch)
    run(path)


def _made_without_weights(monkeypatch: pytest.MonkeyPatch) -> None:
    """Pretrained models are built small, from a configuration: nothing is fetched."""
    from transformers import AutoModelForSequenceClassification, BertConfig

    def small(name: str, **kwargs: object) -> object:
        sizes = {"hidden_size": 16, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 32}
        return AutoModelForSequenceClassification.from_config(BertConfig(vocab_size=50, **sizes, **kwargs))

    monkeypatch.setattr(AutoModelForSequenceClassification, "from_pretrained", small)
    monkeypatch.setattr("sys.argv", ["train.py", "--model_name_or_path", "bert-base-uncased"])
