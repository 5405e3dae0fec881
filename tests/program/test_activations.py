"""`following`: the activation after a layer, for the ways in which people write their networks."""

from __future__ import annotations

import textwrap

import pytest

from tricklint.interpreter.events import Built
from tricklint.interpreter.values import (
    Instance,
)
from tricklint.knowledge import layers
from tricklint.program import Program
from tricklint.program.activations import following

HEAD = "import torch\nimport torch.nn as nn\nimport torch.nn.functional as F\n\n"
TAIL = """

model = Net()
optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
for x, y in torch.utils.data.DataLoader(data):
    loss = F.cross_entropy(model(x), y)
    loss.backward()
    optimizer.step()
"""


def answers(program: Program) -> list[str | None]:
    """What follows each weighted layer, in the order in which the layers are built."""
    built = [event.subject for event in program.events(Built)]
    return [following(program, m) for m in built if isinstance(m, Instance) and m.library in layers.WEIGHTED]


def net(init: str, forward: str, before: str = "") -> str:
    body = textwrap.indent(textwrap.dedent(init).strip(), " " * 8)
    run = textwrap.indent(textwrap.dedent(forward).strip(), " " * 8)
    head = HEAD + textwrap.dedent(before)
    start = "class Net(nn.Module):\n    def __init__(self):\n        super().__init__()"
    return f"{head}\n{start}\n{body}\n\n    def forward(self, x):\n{run}\n{TAIL}"


@pytest.mark.parametrize(
    ("activation", "expected"),
    [
        ("nn.ReLU()", "relu"),
        ("nn.ReLU6(inplace=True)", "relu"),
        ("nn.GELU()", "relu"),
        ("nn.SiLU()", "relu"),
        ("nn.LeakyReLU(0.2)", "leaky_relu"),
        ("nn.PReLU()", "leaky_relu"),
        ("nn.SELU()", "selu"),
        ("nn.Tanh()", "tanh"),
        ("nn.Sigmoid()", "sigmoid"),
        ("nn.Identity()", "none"),
        ("nn.Softmax(dim=1)", "none"),
    ],
)
def test_sequential(program, activation, expected):
    found = answers(
        program(net(f"self.net = nn.Sequential(nn.Linear(4, 8), {activation}, nn.Linear(8, 3))", "return self.net(x)"))
    )
    assert found == [expected, "none"]


@pytest.mark.parametrize(
    ("expression", "expected"),
    [
        ("F.relu(self.fc1(x))", "relu"),
        ("F.relu(self.fc1(x), inplace=True)", "relu"),
        ("torch.relu(self.fc1(x))", "relu"),
        ("self.fc1(x).relu()", "relu"),
        ("self.fc1(x).clamp_min(0)", "relu"),
        ("F.leaky_relu(self.fc1(x), 0.2)", "leaky_relu"),
        ("torch.tanh(self.fc1(x))", "tanh"),
        ("F.tanh(self.fc1(x))", "tanh"),
        ("self.fc1(x).sigmoid()", "sigmoid"),
        ("F.selu(self.fc1(x))", "selu"),
        ("F.dropout(F.relu(self.bn(self.fc1(x))), 0.5, self.training)", "relu"),
        ("torch.tanh(self.drop(self.bn(self.fc1(x).view(-1, 8))))", "tanh"),
        ("F.relu(F.max_pool2d(self.fc1(x), 2).flatten(1))", "relu"),
        ("F.relu(self.fc1(x) + x)", "relu"),
        ("F.relu(torch.cat([self.fc1(x), x], dim=1))", "relu"),
        ("F.relu(self.fc1(x) * 0.5)", "relu"),
        ("F.relu(self.fc1(x).mean(dim=1).squeeze())", "relu"),
        ("self.act(self.fc1(x))", "tanh"),
        ("self.fc1(x)", "none"),
        ("torch.sin(self.fc1(x))", None),
        ("mystery(self.fc1(x))", None),
    ],
)
def test_forward_code(program, expression, expected):
    init = """
        self.fc1 = nn.Linear(4, 8)
        self.bn = nn.BatchNorm1d(8)
        self.drop = nn.Dropout(0.5)
        self.act = nn.Tanh()
        self.fc2 = nn.Linear(8, 3)
    """
    before = "from elsewhere import mystery\n"
    assert answers(program(net(init, f"x = {expression}\nreturn self.fc2(x)", before))) == [expected, "none"]


def test_activation_chosen_by_a_default(program):
    text = net(
        "self.fc = nn.Linear(4, 8)\nself.act = nn.ReLU() if act == 'relu' else nn.Tanh()\nself.out = nn.Linear(8, 2)",
        "return self.out(self.act(self.fc(x)))",
    )
    assert answers(program(text.replace("def __init__(self)", "def __init__(self, act='tanh')"))) == ["tanh", "none"]
    assert answers(program(text.replace("def __init__(self)", "def __init__(self, act=choose())"))) == [None, "none"]


def test_functional_attribute(program):
    assert answers(program(net("self.fc = nn.Linear(4, 3)\nself.act = torch.tanh", "return self.act(self.fc(x))"))) == [
        "tanh"
    ]


def test_residual_block_and_reuse(program):
    before = """
        class Block(nn.Module):
            def __init__(self, planes):
                super().__init__()
                self.conv1 = nn.Conv2d(planes, planes, 3, padding=1)
                self.bn1 = nn.BatchNorm2d(planes)
                self.conv2 = nn.Conv2d(planes, planes, 3, padding=1)
                self.bn2 = nn.BatchNorm2d(planes)

            def forward(self, x):
                out = F.relu(self.bn1(self.conv1(x)))
                out = self.bn2(self.conv2(out))
                out += x
                return F.relu(out)
    """
    init = """
        self.stem = nn.Conv2d(3, 16, 3)
        self.body = nn.Sequential(Block(16), Block(16))
        self.fc = nn.Linear(16, 3)
    """
    found = answers(program(net(init, "x = self.body(self.stem(x))\nreturn self.fc(x.mean([2, 3]))", before)))
    assert found == ["relu", "relu", "relu", "relu", "relu", "none"]


def test_activation_in_the_next_module(program):
    """The layer ends one module, the activation begins the next (pre-activation)."""
    before = """
        class Pre(nn.Module):
            def __init__(self):
                super().__init__()
                self.bn = nn.BatchNorm2d(8)
                self.conv = nn.Conv2d(8, 8, 3, padding=1)

            def forward(self, x):
                return self.conv(torch.tanh(self.bn(x)))
    """
    init = "self.stem = nn.Conv2d(3, 8, 3)\nself.a = Pre()\nself.b = Pre()\nself.fc = nn.Linear(8, 3)"
    forward = "x = self.b(self.a(self.stem(x)))\nreturn self.fc(x.mean([2, 3]))"
    assert answers(program(net(init, forward, before))) == ["tanh", "tanh", "none", "none"]


def test_shared_module_called_twice(program):
    before = """
        class Head(nn.Module):
            def __init__(self):
                super().__init__()
                self.fc = nn.Linear(8, 8)

            def forward(self, x):
                return torch.tanh(x)
    """
    init = "self.a = nn.Linear(8, 8)\nself.b = nn.Linear(8, 8)\nself.head = Head()"
    assert answers(program(net(init, "return self.head(self.a(x)) + self.head(self.b(x))", before))) == [
        "tanh",
        "tanh",
        None,
    ]


def test_loop_over_layers(program):
    init = "self.layers = nn.ModuleList([nn.Linear(8, 8) for _ in range(3)])\nself.out = nn.Linear(8, 3)"
    forward = "for layer in self.layers:\n    x = F.relu(layer(x))\nreturn self.out(x)"
    found = answers(program(net(init, forward)))
    assert set(found[:-1]) == {"relu"}
    assert found[-1] == "none"


def test_swish_by_hand_and_gates(program):
    swish = "h = self.a(x)\nreturn self.b(h * torch.sigmoid(h))"
    assert answers(program(net("self.a = nn.Linear(8, 8)\nself.b = nn.Linear(8, 3)", swish))) == ["relu", "none"]
    gated = "return self.c(torch.tanh(self.a(x)) * torch.sigmoid(self.b(x)))"
    init = "self.a = nn.Linear(8, 8)\nself.b = nn.Linear(8, 8)\nself.c = nn.Linear(8, 3)"
    assert answers(program(net(init, gated))) == ["tanh", "sigmoid", "none"]


def test_squeeze_and_excite(program):
    init = "self.conv = nn.Conv2d(3, 8, 3)\nself.se = nn.Linear(8, 8)\nself.fc = nn.Linear(8, 3)"
    forward = """
        h = self.conv(x)
        gate = torch.sigmoid(self.se(h.mean([2, 3])))
        h = F.relu(h * gate.unsqueeze(-1).unsqueeze(-1))
        return self.fc(h.mean([2, 3]))
    """
    assert answers(program(net(init, forward))) == ["relu", "sigmoid", "none"]


def test_logits_into_the_loss_and_a_sigmoid_beside_it(program):
    text = (
        HEAD
        + """
model = nn.Sequential(nn.Linear(4, 8), nn.ReLU(), nn.Linear(8, 1))
criterion = nn.BCEWithLogitsLoss()
optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
for x, y in torch.utils.data.DataLoader(data):
    logits = model(x)
    loss = criterion(logits, y)
    other = F.mse_loss(torch.sigmoid(logits), y)
    loss.backward()
"""
    )
    assert answers(program(text)) == ["relu", "none"]


def test_class_that_is_never_built(program):
    text = net("self.conv = nn.Conv2d(3, 8, 3)", "return self.conv(x)").replace(TAIL, "")
    assert answers(program(text)) == [None]


def test_layer_that_is_never_called(program):
    assert answers(program(net("self.fc = nn.Linear(4, 3)\nself.unused = nn.Linear(4, 3)", "return self.fc(x)"))) == [
        "none",
        None,
    ]
