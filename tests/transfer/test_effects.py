"""The examples on the pages run, and do what their pages say: before the fix and after it.

torchvision is stood in for by a small network with the same attribute names.
"""

from __future__ import annotations

import re
import sys
import types
from collections.abc import Iterator
from typing import Any

import pytest

from tricklint.rule import Rule, discover

torch = pytest.importorskip("torch")
RULES = {rule.code: rule for rule in discover()}


class TinyResNet(torch.nn.Module):  # type: ignore[misc,name-defined]
    """conv1, bn1 and fc under their names in torchvision; `weights` set every conv weight to 0.25."""

    def __init__(self, weights: str | None = None, num_classes: int = 1000) -> None:
        super().__init__()
        self.conv1 = torch.nn.Conv2d(3, 512, 3, bias=False)
        self.bn1 = torch.nn.BatchNorm2d(512)
        self.fc = torch.nn.Linear(512, num_classes)
        if weights is not None:
            torch.nn.init.constant_(self.conv1.weight, 0.25)

    def forward(self, x: Any) -> Any:
        return self.fc(torch.relu(self.bn1(self.conv1(x))).mean((2, 3)))


@pytest.fixture(autouse=True)
def torchvision(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    package, models = types.ModuleType("torchvision"), types.ModuleType("torchvision.models")
    models.resnet18 = TinyResNet  # type: ignore[attr-defined]
    package.models = models  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "torchvision", package)
    monkeypatch.setitem(sys.modules, "torchvision.models", models)
    torch.manual_seed(0)
    yield


def example(code: str, heading: str) -> dict[str, Any]:
    """The names that a page's example leaves behind when it runs."""
    rule: Rule = RULES[code]
    section = rule.page.partition(f"## {heading}\n")[2].partition("\n## ")[0]
    (block,) = re.findall(r"```python\n(.*?)```", section, re.DOTALL)
    names: dict[str, Any] = {"__name__": "example"}
    exec(compile(block, f"{code} {heading}", "exec"), names)
    return names


def batches(count: int = 3) -> list[tuple[Any, Any]]:
    return [(torch.randn(4, 3, 8, 8) + 5, torch.tensor([0, 1, 2, 3])) for _ in range(count)]


@pytest.mark.parametrize(("heading", "drifts"), [("Example", True), ("After the fix", False)])
def test_frozen_norms_drift(heading: str, drifts: bool) -> None:
    names = example("TRK104", heading)
    before = names["model"].bn1.running_mean.clone()
    head = names["model"].fc.weight.clone()
    names["train_one_epoch"](batches(), torch.nn.CrossEntropyLoss())
    assert torch.equal(before, names["model"].bn1.running_mean) is not drifts
    assert not torch.equal(head, names["model"].fc.weight)


@pytest.mark.parametrize(("heading", "frozen"), [("Example", False), ("After the fix", True)])
def test_an_attribute_freezes_nothing(heading: str, frozen: bool) -> None:
    model = example("TRK107", heading)["model"]
    assert all(param.requires_grad is not frozen for param in model[0].parameters())
    assert all(param.requires_grad for param in model[2].parameters())


@pytest.mark.parametrize(("heading", "kept"), [("Example", False), ("After the fix", True)])
def test_an_init_loop_overwrites_pretrained_weights(heading: str, kept: bool) -> None:
    net = example("TRK105", heading)["Net"]()
    weight = net.backbone.conv1.weight
    assert torch.equal(weight, torch.full_like(weight, 0.25)) is kept


@pytest.mark.parametrize(("heading", "trains"), [("Example", False), ("After the fix", True)])
def test_layers_outside_the_optimizer_never_move(heading: str, trains: bool) -> None:
    names = example("TRK103", heading)
    weight = names["model"][0].weight
    assert weight.requires_grad
    before = weight.detach().clone()
    names["train"](names["batches"], epochs=2)
    assert torch.equal(before, weight) is not trains


@pytest.mark.parametrize("heading", ["Example", "After the fix"])
@pytest.mark.parametrize("code", ["TRK102", "TRK106", "TRK202"])
def test_the_other_examples_run(code: str, heading: str) -> None:
    example(code, heading)


def test_a_scale_lets_softmax_become_sure() -> None:
    sure = {}
    for heading in ("Example", "After the fix"):
        head = example("TRK201", heading)["head"]
        logits = head(head.weight.detach()[:1] * 3)  # a feature that points just where class 0 does
        sure[heading] = logits.softmax(1)[0, 0].item()
    assert sure["Example"] < 0.07 and sure["After the fix"] > 0.9
