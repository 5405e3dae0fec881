"""Metrics as scripts print them."""

from __future__ import annotations

import time

import pytest

from tricklint.verify.metrics import by_pattern, default_margin, direction, judged, name_of_pattern, role
from tricklint.verify.printed import found_in


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
        (
            "Test set: Average loss: 0.0312, Accuracy: 9895/10000 (99%)",
            {"test Average loss": [0.0312], "test Accuracy": [0.9895]},
        ),
        ("Accuracy on the 10000 test images: 54 %", {"Accuracy on the 10000 test images": [0.54]}),
        (
            "Train Loss: 0.5 | Acc: 0.9 || Val Loss: 0.6 | Acc: 0.8",
            {"Train Loss": [0.5], "Acc": [0.9], "Val Loss": [0.6], "val Acc": [0.8]},
        ),
        ("Test: [ 0/50]\tTime 0.1 (0.1)\tAcc@1  71.20 ( 70.11)", {"test Acc@1": [70.11]}),
        ("{'val_acc': np.float64(0.91), 'x': tensor(0.3)}", {"val_acc": [0.91], "x": [0.3]}),
        ('{"step": 50, "val": {"acc": 0.93}}', {"val acc": [0.93]}),
        ("{'loss': 0.5, 'val_loss': 0.6, 'acc': 0.2}", {"loss": [0.5], "val_loss": [0.6], "acc": [0.2]}),
        ("history val_acc: [0.1, 0.2, 0.3]", {"history val_acc": [0.1, 0.2, 0.3]}),
        ("2026-11-29 06:10:40,123 INFO epoch 3 done, validation accuracy 0.97", {"validation accuracy": [0.97]}),
        ("\x1b[32mval mIoU\x1b[0m: 0.53", {"val mIoU": [0.53]}),
        ("Epoch 5: val/mAP50-95=0.3, BLEU-4 12.5", {"val/mAP50-95": [0.3], "BLEU-4": [12.5]}),
        ("val_dice (mean): 0.7", {"val_dice": [0.7]}),
        ("100%|####| 10/10 [00:01<00:00, 9.8it/s, loss=0.3, acc=0.9]", {"loss": [0.3], "acc": [0.9]}),
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


def test_rows_under_a_heading_count_by_its_columns() -> None:
    table = "epoch  train_loss  valid_loss  accuracy  time\n0  0.9  0.8  0.5  00:03\n1  0.7  0.6  0.75  00:03\n"
    assert found_in(table) == {"train_loss": [0.9, 0.7], "valid_loss": [0.8, 0.6], "accuracy": [0.5, 0.75]}


@pytest.mark.parametrize("piece", ["a ", "1", "x: 1 ", "a: ", "abc_", "val acc ", "0.1, ", "a.b-c ", "[", "- ", "█"])
def test_a_long_line_costs_nothing(piece: str) -> None:
    line = piece * (32_000 // len(piece)) + "val_acc: 0.5"
    began = time.process_time()
    found_in(line)
    assert time.process_time() - began < 1.0


def test_values_are_kept_in_order_also_across_carriage_returns() -> None:
    assert found_in("acc: 0.1\racc: 0.2\nacc: 0.3\n") == {"acc": [0.1, 0.2, 0.3]}


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        *(("val_acc", True), ("valAcc", True), ("test/f1", True), ("mAP", True), ("Acc@1", True), ("top1", True)),
        *(("eval_loss", False), ("rmse", False), ("val_error", False), ("perplexity", False), ("accuracy_loss", False)),
        *(("mIoU", True), ("valMIoU", True), ("F1Score", True), ("val_f1_macro", True), ("roc_auc", True)),
        *(("test_error_rate", False), ("brier_score", False), ("valloss", False), ("train_loss_epoch", False)),
        # The last word says what it is: these are no metrics.
        *(("iou_threshold", None), ("loss_weight", None), ("score_thr", None), ("learning_rate", None)),
        *(("acc_steps", None), ("acc_std", None), ("frobnication", None), ("images", None)),
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
    assert by_pattern("val_acc: 0.5\nval_acc: 0.6\n", r"val_acc: ([\d.]+)") == [(12, 0.5), (25, 0.6)]
    assert name_of_pattern(r"val_acc: ([\d.]+)") == "val_acc"


@pytest.mark.parametrize(
    ("pattern", "message"), [("(", "no regular expression"), ("acc", "needs a group"), (r"(acc)", "no number")]
)
def test_wrong_patterns_are_named(pattern: str, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        by_pattern("acc: 1", pattern)


@pytest.mark.parametrize(
    ("name", "expected"), [("val_acc", 0), ("testAcc", 0), ("latest_acc", 1), ("acc", 1), ("Training accuracy", 2)]
)
def test_role(name: str, expected: int) -> None:
    assert role(name) == expected


def test_margins() -> None:
    assert default_margin("val_acc", 0.8) == 0.005
    assert default_margin("val_acc", 80.0) == 0.5
    assert default_margin("val_loss", 2.0) == pytest.approx(0.04)
