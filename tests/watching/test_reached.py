"""Mistakes that happen away from the first loop over batches: once an epoch, in the second model, where nothing trains."""

from __future__ import annotations

from pathlib import Path

import pytest

from .helpers import watched
from .test_rules import HEAD

EPOCHS = """
net = build(6, 8, 8, 3)
optimizer = SGD(net.parameters(), lr=0.01)
x, y = torch.randn(32, 6), torch.randint(0, 3, (32,))
for epoch in range(EPOCHS):
    net.train()
    fit(net, optimizer, ROUNDS)
    MODE
    with torch.set_grad_enabled(GRAD):
        out = net(x)  # HERE
        USE
"""


@pytest.mark.parametrize(
    ("mode", "grad", "use", "epochs", "rounds", "codes"),
    [
        ("pass", True, "print(F.cross_entropy(out, y).item())", 4, 5, ["TRK303", "TRK703"]),
        ("net.eval()", True, "print(F.cross_entropy(out, y).item())", 4, 5, ["TRK303"]),
        ("net.eval()", False, "print(F.cross_entropy(out, y).item())", 4, 5, []),
        ("pass", True, "print(out.argmax(1))", 4, 5, ["TRK303"]),  # a look at what it makes: samples, say
        ("pass", True, "F.cross_entropy(out, y).backward()", 4, 5, []),
        ("pass", True, "print(F.cross_entropy(out, y).item())", 1, 9, []),  # once
        ("pass", True, "fake = out.detach()", 8, 1, []),  # as often as it trains: what it makes is used there
    ],
)
def test_the_whole_set_once_an_epoch(
    mode: str, grad: bool, use: str, epochs: int, rounds: int, codes: list[str], tmp_path: Path
) -> None:
    words = {"MODE": mode, "GRAD": str(grad), "USE": use, "EPOCHS": str(epochs), "ROUNDS": str(rounds)}
    text = HEAD + EPOCHS
    for word, value in words.items():
        text = text.replace(word, value)
    seen = watched(tmp_path, text)
    assert not seen.why, seen.output
    row = next(row for row, line in enumerate(text.splitlines(), 1) if "# HERE" in line)
    assert sorted(seen.places("TRK303", "TRK703")) == [(code, "train.py", row) for code in codes]


@pytest.mark.parametrize(
    ("load", "grad", "rounds", "bad"),
    [(True, True, 4, True), (True, False, 4, False), (False, True, 4, False), (True, True, 1, False)],
)
def test_loaded_weights_that_only_predict(load: bool, grad: bool, rounds: int, bad: bool, tmp_path: Path) -> None:
    text = f"""{HEAD}
net = nn.Sequential(nn.Linear(6, 8), nn.ReLU(), nn.Linear(8, 3))
if {load}:
    net.load_state_dict({{name: value.clone() for name, value in net.state_dict().items()}})
with torch.set_grad_enabled({grad}):
    for x in [torch.randn(4, 6) for _ in range({rounds})]:
        print(net(x).argmax(1))  # HERE
"""
    seen = watched(tmp_path, text)
    assert not seen.why, seen.output
    row = next(row for row, line in enumerate(text.splitlines(), 1) if "# HERE" in line)
    assert seen.places("TRK303") == [("TRK303", "train.py", row)] * bad


MODELS = """
class First(nn.Module):
    def __init__(self):
        super().__init__()
        self.layers = nn.Sequential(nn.Conv1d(6, 8, 1), nn.ReLU(), nn.Flatten(), nn.Linear(8, 8), nn.ReLU(), nn.Linear(8, 3))

    def forward(self, x):
        return self.layers(x.unsqueeze(2))


class Second(First):
    pass


def drawn(module):
    if isinstance(module, nn.Linear):
        nn.init.kaiming_uniform_(module.weight, nonlinearity="relu")


def head(module):
    for layer in (module.layers[0], module.layers[3]):
        nn.init.kaiming_uniform_(layer.weight, nonlinearity="relu")


def everything(module):
    head(module)
    nn.init.xavier_uniform_(module.layers[5].weight)


def trained(net):
    fit(net, SGD(net.parameters(), lr=0.01))
    return net
"""


@pytest.mark.parametrize(
    ("code", "found"),
    [
        ("trained(First()); trained(Second())", ["First", "Second"]),
        ("trained(First()); trained(First())", ["First"]),
        ("trained(First()); trained(Second().apply(drawn))", ["First", "Second"]),  # it misses the Conv1d
        ("net = Second(); head(net); trained(net)", []),  # its last layer alone
        ("trained(First()); net = Second(); everything(net); trained(net)", ["First"]),
        ("import copy; net = First(); everything(net); trained(copy.deepcopy(trained(net)))", []),
    ],
)
def test_the_models_that_come_later_are_measured_too(code: str, found: list[str], tmp_path: Path) -> None:
    text = HEAD + MODELS + code.replace("; ", "\n") + "\n"
    seen = watched(tmp_path, text)
    assert not seen.why, seen.output
    rows = [
        row
        for row, line in enumerate(text.splitlines(), 1)
        if line.startswith(tuple(f"class {name}(" for name in found))
    ]
    assert seen.places("TRK501") == [("TRK501", "train.py", row) for row in rows if found]
    messages = [one.message for one in seen.findings("TRK501")]
    assert any("misses its Conv1d" in message for message in messages) is ("drawn" in code)


def test_a_softmax_that_losses_of_several_files_are_given_is_one_finding(tmp_path: Path) -> None:
    """The first of them, which reading names first, is not what ran."""
    net = """
import torch
from torch import nn

class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.last = nn.Linear(6, 3)

    def forward(self, x):
        return self.last(x).softmax(1)
"""
    train = """
import torch
from torch import nn
from net import Net

net = Net()
optimizer = torch.optim.SGD(net.parameters(), lr=0.1)
for _ in range(3):
    optimizer.zero_grad()
    nn.functional.cross_entropy(net(torch.randn(8, 6)), torch.zeros(8).long()).backward()
    optimizer.step()
"""
    seen = watched(tmp_path, train, net=net, earlier=train)
    assert not seen.why, seen.output
    (found,) = seen.findings("TRK702", only=False)
    assert found.path.name == "net.py" and "added up to 1" in found.confirmed
    assert {one.path.name for one in found.evidence} == {"earlier.py", "train.py"}
