"""Functions that show nothing are taken as known once a program is long."""

from __future__ import annotations

import pytest

from tricklint.interpreter import calls, yields
from tricklint.interpreter.values import (
    Const,
)
from tricklint.libraries.tensors import Tensor

SCRIPT = """
    import torch
    from torch import nn

    def helper(x, size=None):
        if size is None:
            size = x.size(0)
        return x * size

    def flag():
        return False

    def build(width):
        return nn.Linear(width, width)

    def choose(net):
        return [{"params": net.parameters()}]

    def double(n):
        return n * 2

    model = nn.Linear(4, 4)
    x = torch.randn(2, 4)
    for _ in [1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14]:
        y = helper(model(x))
        asked = flag()
        built = build(8)
        chosen = choose(model)
    small, large = double(2), double(4)
"""


@pytest.mark.parametrize("long", [-1, 10**9])
def test_only_functions_without_effect_are_skipped(program, monkeypatch, long):
    monkeypatch.setattr(yields, "ENOUGH", 3)
    monkeypatch.setattr(yields, "LONG", long)
    ran: list[str] = []
    follow = calls.follow
    monkeypatch.setattr(
        calls, "follow", lambda machine, func, *rest: ran.append(func.name) or follow(machine, func, *rest)
    )
    found = program({"train.py": SCRIPT})
    names = next(iter(found.project.loaded())).names
    often = len([name for name in ran if name == "helper"])
    assert often == 3 if long < 0 else often > 3
    assert ran.count("flag") == often
    assert ran.count("build") > 3  # it makes layers
    assert ran.count("choose") > 3  # it picks parameters
    assert isinstance(names["y"], Tensor)
    assert names["y"].grad
    assert names["asked"] == Const(False)
    assert (names["small"].value, names["large"].value) == (4, 8)
