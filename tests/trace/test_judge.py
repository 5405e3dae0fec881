"""Facts against rules: what is confirmed, refuted and told; and static findings held against them."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from tricklint.finding import Evidence, Finding, Location, Severity
from tricklint.trace import judge, merge
from tricklint.trace.facts import (
    FactsReport,
    GroupFact,
    HeadFact,
    LayerFact,
    MemoryFact,
    ModelFacts,
    ModuleFact,
    NormFact,
    OptimizerFact,
    ParameterFact,
    ProductFact,
    Site,
)


def layer(path: str, activation: str = "relu", init: str = "default", std: float = 0.05, **more: object) -> LayerFact:
    values = {"path": path, "type": "Linear", "kind": "linear", "weight": f"{path}.weight", "bias": f"{path}.bias",
              "fan_in": 128,
              "fan_out": 128, "activation": activation, "norm_after": False, "skip_after": False, "std": std,
              "default_std": 0.051, "xavier_std": 0.088, "kaiming_std": 0.125, "init": init,
              "own_init": init not in ("default", "unknown")}  # fmt: skip
    return LayerFact(**{**values, **more})  # type: ignore[arg-type]


def facts(**more: object) -> ModelFacts:
    made = ModelFacts("net", "Net", "fx", site=Site("models.py", 3, 9, "Net"))
    made.sites = {"Net": Site("models.py", 3, 9, "Net")}
    made.modules = [ModuleFact("", "Net", 0, "Net"), ModuleFact("a", "Linear", 20), ModuleFact("b", "Linear", 20)]
    made.parameters = [
        ParameterFact("a.weight", (4, 4), "float32", "matrix", used=True, groups=(0,)),
        ParameterFact("a.bias", (4,), "float32", "bias", used=True, groups=(0,)),
        ParameterFact("b.weight", (2, 4), "float32", "matrix", used=True, groups=(0,)),
    ]
    made.layers = [layer("a"), layer("b", "none")]
    made.heads = [HeadFact("b", "Linear", 2, "b.bias", True)]
    return replace(made, **more)  # type: ignore[arg-type]


def optimizer(*decays: float, **more: object) -> OptimizerFact:
    groups = [GroupFact(1e-3, d, 3) for d in decays]
    return OptimizerFact("AdamW", groups, Site("train.py", 5), **more)  # type: ignore[arg-type]


def test_missing_init() -> None:
    (found,) = judge.missing_init(facts())
    assert found.tells and not found.refutes and "2 of 2 layers keep PyTorch's default" in found.message
    (found,) = judge.missing_init(facts(layers=[layer("a", init="kaiming"), layer("b", "none", init="xavier")]))
    assert found.refutes
    (found,) = judge.missing_init(facts(layers=[layer("a", init="kaiming"), layer("b", "none")]))
    assert not found.refutes and not found.tells  # one new head
    stack = [layer(str(i), output_std=0.6 * 0.41**i) for i in range(8)]
    (found,) = judge.missing_init(facts(layers=stack))
    assert found.level == "warning" and "multiplied by 0.41 a layer" in found.message
    with_norm = [layer(str(i), norm_after=True) for i in range(8)]
    (found,) = judge.missing_init(facts(layers=with_norm))
    assert found.level == "advice"


def test_init_gain() -> None:
    (found,) = judge.init_gain(facts(layers=[layer("a", init="xavier", std=0.088), layer("b", "none", init="xavier")]))
    assert found.tells and "wants 0.125" in found.message
    (found,) = judge.init_gain(facts(layers=[layer("a", "tanh", init="kaiming", std=0.125)]))
    assert found.tells
    (found,) = judge.init_gain(facts(layers=[layer("a", init="kaiming", std=0.125), layer("b", "none", init="xavier")]))
    assert found.refutes
    assert judge.init_gain(facts()) == []


def test_head_bias() -> None:
    assert not judge.head_bias(facts())[0].refutes
    assert judge.head_bias(facts(heads=[HeadFact("b", "Linear", 2, "", None)]))[0].refutes
    assert judge.head_bias(facts(heads=[HeadFact("b", "Linear", 2, "b.bias", False, -4.6)]))[0].refutes


def test_decay() -> None:
    (found,) = judge.decay(facts(optimizer=optimizer(0.01)))
    assert found.tells and "1 bias by 0.01" in found.message and found.site == Site("train.py", 5)
    assert judge.decay(facts(optimizer=optimizer(0.0)))[0].refutes
    assert judge.decay(facts(parameters=[ParameterFact("a.weight", (4, 4), "float32", "matrix")]))[0].refutes
    (found,) = judge.decay(facts())
    assert not found.tells and not found.refutes


def test_lossy_split() -> None:
    split = facts(optimizer=optimizer(0.1, 0.0, missing=["b.weight"]))
    (found,) = judge.lossy_split(split)
    assert found.tells and "8 numbers that never train" in found.message
    assert judge.lossy_split(facts(optimizer=optimizer(0.1, missing=["b.weight"]))) == []  # a head only, say
    (found,) = judge.lossy_split(facts(optimizer=optimizer(0.1, 0.0, twice=["a.bias"])))
    assert "in two groups" in found.message
    assert judge.lossy_split(facts(optimizer=optimizer(0.1)))[0].refutes
    assert judge.lossy_split(facts()) == []


def test_products() -> None:
    low = facts(products=[ProductFact("", 100, True, 4.0, False)])
    (found,) = judge.products(low)
    assert found.tells and found.level == "error" and "α_low is 6.78" in found.message
    assert judge.products(facts(products=[ProductFact("", 100, False, 4.0, False)]))[0].level == "warning"
    assert not judge.products(facts(products=[ProductFact("", 100, True, None, False)]))[0].tells  # the loss may scale
    assert judge.products(facts(products=[ProductFact("", 100, True, None, True)]))[0].refutes
    assert judge.products(facts(products=[ProductFact("", 100, True, 30.0, False)]))[0].refutes


def test_norms() -> None:
    assert judge.norm_drift(facts())[0].refutes
    assert judge.norm_drift(facts(norms=[NormFact("n", "BatchNorm2d", True, False)]))[0].tells
    assert judge.norm_drift(facts(norms=[NormFact("n", "BatchNorm2d", True, True)]))[0].refutes
    (plain,) = judge.norm_drift(facts(norms=[NormFact("n", "BatchNorm2d", False, False)]))
    assert not plain.tells and not plain.refutes


def test_memory() -> None:
    one = facts(memory=MemoryFact(100 * 2**20, 2**30))
    assert judge.memory(one, 16, "24GB")[0].refutes
    (found,) = judge.memory(one, 512, "24GB")
    assert found.tells and found.level == "warning" and "does not fit 24 GB" in found.message
    (found,) = judge.memory(one, 16, None)
    assert not found.refutes and "100 MB a sample" in found.message
    assert judge.memory(facts(), 16, "24GB") == []
    assert judge.card_bytes("24GB") == judge.card_bytes("24 GiB") == 24 * 2**30
    with pytest.raises(ValueError, match="no size of memory"):
        judge.card_bytes("big")


def test_output() -> None:
    soft = facts(output_activation="softmax")
    assert not judge.output(soft, "softmax")[0].refutes
    assert judge.output(soft, "logits")[0].refutes
    assert judge.output(facts(), "softmax")[0].refutes
    assert judge.output(facts(rung="tree"), "softmax") == []


def test_unused() -> None:
    lost = facts(parameters=[ParameterFact("a.weight", (4, 4), "float32", "matrix", used=False)])
    (found,) = judge.unused(lost)
    assert found.tells and found.site == Site("models.py", 3, 9, "Net") and "a.weight" in found.message
    frozen = facts(parameters=[ParameterFact("a.weight", (4, 4), "float32", "matrix", used=False, frozen=True)])
    assert judge.unused(frozen) == []


# -- merging


def finding(code: str, path: Path, row: int, message: str = "", evidence: tuple[Evidence, ...] = ()) -> Finding:
    name, severity = judge.NAMES[code]
    return Finding(code, name, Severity(severity), message, path, Location(row, 1), Location(row, 9), evidence)


@pytest.fixture
def root(tmp_path: Path) -> Path:
    (tmp_path / "models.py").write_text("class Net(nn.Module):\n" * 12)
    (tmp_path / "train.py").write_text("optimizer = AdamW(model.parameters())\n" * 12)
    return tmp_path


def test_refuted_goes_and_confirmed_says_so(root: Path) -> None:
    good = facts(layers=[layer("a", init="kaiming"), layer("b", "none", init="xavier")], optimizer=optimizer(0.01))
    report = FactsReport([good], [], str(root))
    given = [finding("TRK501", root / "models.py", 3), finding("TRK601", root / "train.py", 5)]
    (left,) = merge(given, report)
    assert left.code == "TRK601" and left.confirmed.startswith("traced: AdamW decays")


def test_a_finding_about_another_class_is_left_alone(root: Path) -> None:
    report = FactsReport([facts(layers=[layer("a", init="kaiming")])], [], str(root))
    other = finding("TRK501", root / "models.py", 11)
    (left,) = [f for f in merge([other], report) if f.code == "TRK501"]
    assert left == other and not left.confirmed


def test_two_models_must_agree_to_refute(root: Path) -> None:
    good = facts(layers=[layer("a", init="kaiming"), layer("b", "none", init="xavier")])
    report = FactsReport([good, facts()], [], str(root))
    (left,) = [f for f in merge([finding("TRK501", root / "models.py", 3)], report) if f.code == "TRK501"]
    assert left.confirmed


def test_another_optimizer_is_not_refuted(root: Path) -> None:
    report = FactsReport([facts(optimizer=optimizer(0.0))], [], str(root))
    left = merge([finding("TRK601", root / "train.py", 5), finding("TRK601", root / "train.py", 9)], report)
    assert [(f.code, f.location.row) for f in left] == [("TRK601", 9)]


def test_new_findings_come_once(root: Path) -> None:
    lost = facts(parameters=[ParameterFact("a.weight", (4, 4), "float32", "matrix", used=False)], layers=[])
    report = FactsReport([lost, replace(lost, target="again")], [], str(root))
    merged = merge([], report)
    assert [(f.code, f.path.name, f.location.row) for f in merged] == [("TRK706", "models.py", 3)]
    assert merge(merged, report) and len(merge(merged, report)) == 1


def test_memory_takes_the_batch_from_the_finding(root: Path) -> None:
    from tricklint.settings import MemorySettings, Settings

    report = FactsReport([facts(memory=MemoryFact(100 * 2**20, 2**30))], [], str(root))
    settings = Settings(root=root, memory=MemorySettings(gpu=24 * 2**30))
    small = finding("TRK301", root / "train.py", 5, "batch_size=16 is fixed, and nothing catches out-of-memory")
    large = finding("TRK301", root / "train.py", 6, "batch_size=512 is fixed, and nothing catches out-of-memory")
    (left,) = [f for f in merge([small, large], report, settings) if f.code == "TRK301"]
    assert left.location.row == 6 and left.severity is Severity.WARNING and "does not fit" in left.confirmed


def test_without_facts_nothing_changes(root: Path) -> None:
    given = [finding("TRK501", root / "models.py", 3), finding("TRK601", root / "train.py", 5)]
    assert merge(given, FactsReport(root=str(root))) == sorted(given, key=lambda f: f.sort_key)
