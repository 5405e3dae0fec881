"""`with tricklint.watch(model, optimizer)` in the caller's own process."""

from __future__ import annotations

import pytest
import torch
from torch import nn

import tricklint

HOOKED = (
    (nn.Module, "__call__"), (nn.Module, "train"), (nn.Module, "__init__"), (nn.Module, "__setattr__"),
    (torch.optim.Optimizer, "__init__"), (torch.autograd, "backward"), (nn.functional, "cross_entropy"),
    (nn.Parameter, "requires_grad"), (torch.jit, "script"),
)  # fmt: skip


def train(model: nn.Module, optimizer: torch.optim.Optimizer, clear: bool) -> None:
    for _ in range(3):
        if clear:
            optimizer.zero_grad()
        nn.functional.cross_entropy(model(torch.randn(8, 4)), torch.zeros(8).long()).backward()
        optimizer.step()


def test_a_block_is_judged_when_it_ends() -> None:
    before = [getattr(owner, name) for owner, name in HOOKED]
    model = nn.Sequential(nn.Linear(4, 8), nn.BatchNorm1d(8), nn.Linear(8, 3))
    optimizer = torch.optim.AdamW(model.parameters(), lr=0.1)
    with tricklint.watch(model, optimizer, ignore=["missing-init"]) as seen:
        assert not seen and "nothing" in repr(seen)
        train(model, optimizer, clear=False)
    assert seen.codes() == ["TRK601", "TRK701"]
    assert "2 of 3 steps of AdamW" in repr(seen) and "test_notebook.py" in repr(seen)
    assert seen.run is not None and seen.run.steps == 3 and "<table>" in seen._repr_html_()
    assert [getattr(owner, name) for owner, name in HOOKED] == before


def test_nothing_is_found_in_a_good_block_and_selectors_are_held() -> None:
    model = nn.Linear(4, 3)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    with tricklint.watch(model, optimizer) as seen:
        train(model, optimizer, clear=True)
    assert list(seen) == [] and repr(seen) == "no findings in 3 steps"
    with tricklint.watch(model, optimizer, select="TRK6") as seen:
        train(model, optimizer, clear=False)
    assert not seen
    with pytest.raises(ValueError, match="no rule is called 'TRK999'"):
        tricklint.watch(model, select=["TRK999"])


def test_hooks_go_also_when_the_block_fails() -> None:
    before = nn.Module.__call__
    with pytest.raises(ZeroDivisionError), tricklint.watch() as seen:
        with pytest.raises(RuntimeError, match="another block"), tricklint.watch():
            pass
        raise ZeroDivisionError
    assert nn.Module.__call__ is before and seen.run is not None
