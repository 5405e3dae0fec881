"""Attributes that were meant as `requires_grad` and are none: neither tensors nor modules have them."""

from __future__ import annotations

from difflib import SequenceMatcher
from functools import lru_cache

RATIO = 0.85  # of SequenceMatcher: `requires_gard` has 0.92, `require_grads` 0.92, `retain_grad` 0.67


@lru_cache(maxsize=10_000)  # of every attribute that is set on a module it is asked
def meant_as_requires_grad(name: str) -> bool:
    """`require_grad`, `requires_grads`, `requires_gard`; `requires_grad_` too, which is a method that a value hides."""
    if name == "requires_grad":
        return False
    return SequenceMatcher(None, name.lower(), "requires_grad").ratio() > RATIO
