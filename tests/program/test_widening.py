"""What a loop writes is not constant in it; what a literal argument rules out does not happen."""

from __future__ import annotations

from tests.program.conftest import MakeProgram
from tricklint.interpreter.events import Event
from tricklint.libraries.events import ModeSet, OptimizerBuilt

HEAD = "import torch\nfrom torch import nn\nnet = nn.Linear(2, 2)\n"


def taken(event: Event) -> list[bool | None]:
    return [step.taken for step in event.path]


def modes(program: MakeProgram, code: str) -> list[tuple[bool | None, list[bool | None]]]:
    return [(event.train, taken(event)) for event in program(HEAD + code).events(ModeSet)]


def test_a_counter_decides_nothing_in_its_loop(program: MakeProgram) -> None:
    code = "step = 0\nfor x in data:\n    if step == 100:\n        net.eval()\n    step += 1\n"
    assert modes(program, code) == [(False, [None])]


def test_a_counter_that_a_method_advances_neither(program: MakeProgram) -> None:
    code = (
        "class Run:\n    def __init__(self):\n        self.step = 0\n    def count(self):\n        self.step += 1\n"
        "run = Run()\nfor x in data:\n    if run.step > 3:\n        net.eval()\n    run.count()\n"
    )
    assert modes(program, code) == [(False, [None])]


def test_the_first_value_is_one_of_many(program: MakeProgram) -> None:
    code = "best = None\nwhile True:\n    if best is None:\n        net.eval()\n    best = measure()\n"
    assert modes(program, code) == [(False, [None])]


def test_rounds_that_are_known_are_followed_one_by_one(program: MakeProgram) -> None:
    code = "for part in ('fit', 'look'):\n    if part == 'fit':\n        net.train()\n    else:\n        net.eval()\n"
    assert modes(program, code) == [(True, []), (False, [])]


def test_a_literal_argument_rules_the_other_branch_out(program: MakeProgram) -> None:
    code = "def turn(on):\n    if on:\n        net.train()\n    else:\n        net.eval()\nturn(on=False)\n"
    assert modes(program, code) == [(False, [])]


def test_a_setting_of_the_script_does_not(program: MakeProgram) -> None:
    code = "LOOK = False\nif LOOK:\n    net.eval()\n"
    assert modes(program, code) == [(False, [False])]


def test_what_a_ruled_out_branch_would_make_is_known(program: MakeProgram) -> None:
    code = (
        "def make(name):\n    if name == 'sgd':\n        return torch.optim.SGD(net.parameters(), 0.1)\n"
        "    net.eval()\n    return torch.optim.Adam(net.parameters())\nmake('sgd')\n"
    )
    found = program(HEAD + code)
    assert "SGD" in {event.subject.label for event in found.events(OptimizerBuilt)}


def test_a_round_for_all_that_are_left(program: MakeProgram) -> None:
    many = "[1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16, 17, 18, 19, 20]"
    code = (
        f"def late():\n    for a in {many}:\n        for b in {many}:\n            for c in {many}:\n"
        "                d = a * b * c\n    net.eval()\n"
    )
    found = program(HEAD + code)
    assert [event.train for event in found.events(ModeSet)] == [False]
    assert found.spent == []
