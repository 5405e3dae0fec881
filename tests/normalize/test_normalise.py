"""`cosine_behind`: which scale stands between a cosine and the loss, for the ways in which people write it."""

from __future__ import annotations

import pytest

from tests.program.conftest import MakeProgram
from tricklint.libraries.events import LossComputed
from tricklint.program.normalise import Cosine, cosine_behind

HEAD = """
import torch
import torch.nn as nn
import torch.nn.functional as F

class Head(nn.Module):
    def __init__(self, features=16, classes=7, s=30.0):
        super().__init__()
        self.s = s
        self.weight = nn.Parameter(torch.randn(classes, features))
        self.learned = nn.Parameter(torch.ones(1))
        self.fc = nn.Linear(features, classes)

    def forward(self, x):
        {body}

head = Head()
loss = F.cross_entropy(head(torch.randn(2, 16)), torch.tensor([0, 1]))
"""


def behind(program: MakeProgram, body: str) -> Cosine | None:
    made = program(HEAD.format(body=body))
    (loss,) = made.events(LossComputed)
    return cosine_behind(loss.inputs[0])


@pytest.mark.parametrize(
    ("body", "scale"),
    [
        ("return F.linear(F.normalize(x), F.normalize(self.weight))", 1.0),
        ("return self.s * F.linear(F.normalize(x, dim=1), F.normalize(self.weight, dim=1))", 30.0),
        ("return F.linear(F.normalize(x, p=2, dim=-1), F.normalize(self.weight)) * self.s", 30.0),
        ("return F.normalize(x) @ F.normalize(self.weight).t() / 0.5", 2.0),
        ("return F.normalize(x).mm(F.normalize(self.weight).T)", 1.0),
        ("return (x / x.norm(dim=1, keepdim=True)) @ F.normalize(self.weight).t()", 1.0),
        ("return 2 * (3 * F.linear(F.normalize(x), F.normalize(self.weight)))", 6.0),
    ],
)
def test_constant_scales(program: MakeProgram, body: str, scale: float) -> None:
    found = behind(program, body)
    assert found is not None and found.weights == "unit" and found.classes == 7
    assert found.scale == pytest.approx(scale)


@pytest.mark.parametrize(
    "body",
    [
        "return self.learned * F.linear(F.normalize(x), F.normalize(self.weight))",
        "return self.learned.exp() * F.linear(F.normalize(x), F.normalize(self.weight))",
        "return F.linear(F.normalize(x), F.normalize(self.weight)) / self.learned",
        "return F.linear(x, F.normalize(self.weight))",
        "return F.linear(F.normalize(x) * 10, self.weight)",
        "return F.linear(F.normalize(x, p=1), self.weight)",
        "return F.linear(F.normalize(x), F.normalize(self.weight)) + self.fc(x)",
        "return self.fc(F.relu(F.normalize(x)))",
    ],
)
def test_anything_else_is_not_known_to_be_a_bare_cosine(program: MakeProgram, body: str) -> None:
    assert behind(program, body) is None


def test_free_weights(program: MakeProgram) -> None:
    found = behind(program, "return self.fc(F.normalize(x))")
    assert found is not None and found.weights == "free" and found.classes == 7
