"""Metrics as scripts print them."""

from __future__ import annotations

import pytest

from tricklint.verify.metrics import by_pattern, default_margin, direction, found_in, judged, name_of_pattern


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        ("val_acc: 0.91", {"val_acc": [0.91]}),
        ("Epoch 3/10 - loss: 0.5123 - val_loss: 0.61", {"loss": [0.5123], "val_loss": [0.61]}),
        ("Epoch: 3, Train Loss: 0.52, Val Acc: 91.5%", {"Train Loss": [0.52], "Val Acc": [0.915]}),
        ("epoch 2 loss 0.5123 acc 0.93", {"loss": [0.5123], "acc": [0.93]}),
        ("classifier epoch 2 val_acc: 0.4417", {"val_acc": [0.4417]}),
        ("{'eval_loss': 0.3, 'eval_accuracy': 0.88, 'epoch': 1.0}", {"eval_loss": [0.3], "eval_accuracy": [0.88]}),
        ("│         test_acc          │    0.8701    │", {"test_acc": [0.8701]}),
        ("Test set: Average loss: 0.0312, Accuracy: 9895/10000", {"Average loss": [0.0312], "Accuracy": [0.9895]}),
        (" * Acc@1 71.2 Acc@5 90.1", {"Acc@1": [71.2], "Acc@5": [90.1]}),
        ("f1=0.5 mAP=0.61 lr=1e-3 time: 3.2", {"f1": [0.5], "mAP": [0.61]}),
        ("val_loss: 1e-3", {"val_loss": [0.001]}),
        ("val_loss: nan", {"val_loss": [pytest.approx(float("nan"), nan_ok=True)]}),
        ("epoch: 3 step: 100 lr: 0.1", {}),
        ("saved to out-0.3.pt", {}),
    ],
)
def test_common_forms(line: str, expected: dict[str, list[float]]) -> None:
    assert found_in(line) == expected


def test_values_are_kept_in_order_also_across_carriage_returns() -> None:
    assert found_in("acc: 0.1\racc: 0.2\nacc: 0.3\n") == {"acc": [0.1, 0.2, 0.3]}


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        *(("val_acc", True), ("valAcc", True), ("test/f1", True), ("mAP", True), ("Acc@1", True), ("top1", True)),
        *(("eval_loss", False), ("rmse", False), ("val_error", False), ("perplexity", False), ("accuracy_loss", False)),
        ("frobnication", None),
    ],
)
def test_direction(name: str, expected: bool | None) -> None:
    assert direction(name) is expected


def test_validation_scores_are_judged_first() -> None:
    assert judged({"loss": [1], "acc": [1], "val_loss": [1], "val_acc": [1]}) == ["val_acc"]
    assert judged({"loss": [1], "val_loss": [1]}) == ["val_loss"]
    assert judged({"train acc": [1]}) == ["train acc"]
    assert judged({"val_acc": [1], "val_ap": [1]}) == ["val_acc", "val_ap"]
    assert judged({"wobble": [1]}) == []


def test_pattern() -> None:
    assert by_pattern("val_acc: 0.5\nval_acc: 0.6\n", r"val_acc: ([\d.]+)") == [0.5, 0.6]
    assert name_of_pattern(r"val_acc: ([\d.]+)") == "val_acc"


@pytest.mark.parametrize(
    ("pattern", "message"), [("(", "no regular expression"), ("acc", "needs a group"), (r"(acc)", "no number")]
)
def test_wrong_patterns_are_named(pattern: str, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        by_pattern("acc: 1", pattern)


def test_margins() -> None:
    assert default_margin("val_acc", 0.8) == 0.005
    assert default_margin("val_acc", 80.0) == 0.5
    assert default_margin("val_loss", 2.0) == pytest.approx(0.04)
