"""The machine with all its parts: importing this file registers how statements run, expressions evaluate and calls go."""

from __future__ import annotations

from tricklint.interpreter import (
    attributes,
    branches,
    calls,
    comprehensions,
    contexts,
    definitions,
    items,
    literals,
    loops,
    operators,
    statements,
)
from tricklint.interpreter.machine import BudgetSpent, Frame, Machine

PARTS = (
    attributes,
    branches,
    calls,
    comprehensions,
    contexts,
    definitions,
    items,
    literals,
    loops,
    operators,
    statements,
)

__all__ = ["PARTS", "BudgetSpent", "Frame", "Machine"]
