"""Which branch is the default path: what the defaults decide, what they leave open, what stays unknown."""

from __future__ import annotations

import pytest

from tricklint.interpreter.events import Built
from tricklint.interpreter.values import (
    Const,
    Instance,
    Union,
    Unknown,
    first,
    number,
)
from tricklint.libraries.events import Froze, OptimizerBuilt
from tricklint.libraries.facts import OptimizerFacts
from tricklint.program.decay import effective_decay

HEAD = "import torch\nimport torch.nn as nn\n"
OPTIMIZER = "optimizer = torch.optim.SGD(nn.Linear(2, 2).parameters(), lr=0.1, weight_decay={decay})\n"


def decay_of(program) -> float | None:
    event = program.events(OptimizerBuilt)[0]
    optimizer = event.subject
    assert isinstance(optimizer, Instance)
    return effective_decay(optimizer, optimizer.fact(OptimizerFacts).groups[0])[0]


def named(program, name: str):
    path = next(iter(program.sources))
    return program.project.module(path).names[name]


@pytest.mark.parametrize(
    ("config", "use"),
    [
        ("DECAY = 1e-4", "DECAY"),
        ("config = {'decay': 1e-4}", "config['decay']"),
        ("config = dict(optim=dict(decay=1e-4))", "config['optim']['decay']"),
        ("config = {'decay': 1e-4}", "config.get('decay', 0.0)"),
        ("config = {}", "config.get('decay', 1e-4)"),
        (
            "import argparse\nparser = argparse.ArgumentParser()\n"
            "parser.add_argument('--weight-decay', '--wd', default=1e-4, type=float)\nargs = parser.parse_args()",
            "args.weight_decay",
        ),
        (
            "import argparse\nparser = argparse.ArgumentParser()\n"
            "parser.add_argument('--wd', dest='decay', default='1e-4', type=float)\nargs, _ = parser.parse_known_args()",
            "args.decay",
        ),
        (
            "import argparse\nparser = argparse.ArgumentParser()\ngroup = parser.add_argument_group('optimizer')\n"
            "group.add_argument('--wd', type=float)\nparser.set_defaults(wd=1e-4)\nargs = vars(parser.parse_args())",
            "args['wd']",
        ),
        ("from dataclasses import dataclass\n@dataclass\nclass Config:\n    lr: float = 0.1\n    decay: float = 1e-4\n"
         "config = Config()", "config.decay"),
        ("from dataclasses import dataclass, field\n@dataclass\nclass Config:\n    decay: float = field(default=1e-4)\n"
         "config = Config()", "config.decay"),
        ("class Config:\n    decay = 1e-4", "Config.decay"),
        ("class Config:\n    def __init__(self):\n        self.decay = 1e-4\nconfig = Config()", "config.decay"),
        ("from types import SimpleNamespace\nconfig = SimpleNamespace(decay=1e-4)", "config.decay"),
        ("fast = False\ndecay = 0.0 if fast else 1e-4", "decay"),
        ("scale = 10\ndecay = scale * 1e-5", "decay"),
        ("def setting(decay=1e-4):\n    return decay\ndecay = setting()", "decay"),
    ],
)  # fmt: skip
def test_defaults_are_the_values(program, config, use):
    assert decay_of(program(f"{HEAD}{config}\n{OPTIMIZER.format(decay=use)}")) == pytest.approx(1e-4)


@pytest.mark.parametrize(
    ("config", "use"),
    [
        ("import argparse\nparser = argparse.ArgumentParser()\nparser.add_argument('--wd', type=float, required=True)\n"
         "args = parser.parse_args()", "args.wd"),
        ("import sys", "float(sys.argv[1])"),
        ("import json\nconfig = json.load(open('config.json'))", "config['decay']"),
        ("import os", "float(os.environ['DECAY'])"),
        ("from elsewhere import settings", "settings.decay"),
        ("import random\ndecay = 0.0 if random.random() < 0.5 else 1e-4", "decay"),
    ],
)  # fmt: skip
def test_values_from_outside_stay_unknown(program, config, use):
    assert decay_of(program(f"{HEAD}{config}\n{OPTIMIZER.format(decay=use)}")) is None


def test_click_option(program):
    text = (
        HEAD
        + """
import click

@click.command()
@click.option("--weight-decay", default=1e-4)
@click.option("--nesterov/--plain", default=False)
def main(weight_decay, nesterov):
    torch.optim.SGD(nn.Linear(2, 2).parameters(), lr=0.1, weight_decay=weight_decay)

if __name__ == "__main__":
    main()
"""
    )
    assert decay_of(program(text)) == pytest.approx(1e-4)


def test_events_of_a_branch_that_the_defaults_do_not_take(program):
    text = (
        HEAD
        + """
import argparse

parser = argparse.ArgumentParser()
parser.add_argument("--freeze", action="store_true")
args = parser.parse_args()
model = nn.Linear(2, 2)
if args.freeze:
    for p in model.parameters():
        p.requires_grad = False
torch.optim.SGD(model.parameters(), lr=0.1)
"""
    )
    found = program(text)
    freeze, optimizer = found.events(Froze)[0], found.events(OptimizerBuilt)[0]
    assert not freeze.sure and not freeze.possible
    assert optimizer.sure and optimizer.possible


def test_undecided_branches_are_possible_but_not_sure(program):
    text = "def build(flag):\n    model = nn.Linear(2, 2)\n    if flag:\n        model.requires_grad_(False)\n    return model\n"
    freeze = program(HEAD + text).events(Froze)[0]
    assert freeze.possible and not freeze.sure


def test_both_branches_are_joined(program):
    text = "def build(flag):\n    if flag:\n        size = 1\n    else:\n        size = 2\n    return nn.Linear(size, size)\n"
    size = program(HEAD + text).events(Built)[0].subject.args[0]
    assert isinstance(size, Union) and not size.sure
    assert {member.value for member in size.values} == {1, 2}
    assert isinstance(first(size), Unknown) and number(size) is None


def test_a_decided_branch_keeps_its_value_first(program):
    found = program(HEAD + "debug = False\nif debug:\n    net = nn.Linear(1, 1)\nelse:\n    net = nn.Conv2d(1, 1, 1)\n")
    net = named(found, "net")
    assert first(net).library == "torch.nn.Conv2d"


def test_what_follows_an_early_return(program):
    text = (
        HEAD
        + """
def build(pretrained=False):
    model = nn.Linear(2, 2)
    if not pretrained:
        return model
    model.requires_grad_(False)
    return model

model = build()
"""
    )
    found = program(text)
    assert not found.events(Froze)[0].possible
    assert first(named(found, "model")).library == "torch.nn.Linear"


def test_try_and_import_fallback(program):
    text = HEAD + "try:\n    from fast import Net\nexcept ImportError:\n    Net = nn.Linear\nnet = nn.Linear(1, 1)\n"
    assert named(program(text), "net").library == "torch.nn.Linear"


def test_constants_are_folded(program):
    found = program("name = 'resnet' + str(18)\nflag = name.startswith('res') and not False\nn = len([1, 2, 3]) // 2\n")
    assert named(found, "name") == Const("resnet18")
    assert named(found, "n") == Const(1)
    assert named(found, "flag").value is True
