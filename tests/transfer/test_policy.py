"""The slides' table of transfer-learning recipes."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.program.conftest import MakeProgram
from tricklint.program.policy import SMALL_BELOW, advice
from tricklint.settings import Settings, TransferSettings


@pytest.mark.parametrize(
    ("size", "similarity", "recipe"),
    [
        ("large", "different", "train_all"),
        ("large", "similar", "fine_tune"),
        ("small", "different", "earlier_layers"),
        ("small", "similar", "linear"),
        (SMALL_BELOW - 1, "similar", "linear"),
        (SMALL_BELOW, "similar", "fine_tune"),
    ],
)
def test_rows(program: MakeProgram, size: str | int, similarity: str, recipe: str) -> None:
    made = program("import torch\n")
    made.settings = Settings(Path(), transfer=TransferSettings(size, similarity))
    policy = advice(made)
    assert policy is not None and policy.recipe == recipe and policy.free is (recipe == "train_all")


@pytest.mark.parametrize(("size", "similarity"), [(None, "similar"), ("small", None), (None, None)])
def test_half_a_row_says_nothing(program: MakeProgram, size: str | None, similarity: str | None) -> None:
    made = program("import torch\n")
    made.settings = Settings(Path(), transfer=TransferSettings(size, similarity))
    assert advice(made) is None
