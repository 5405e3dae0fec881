"""Functions replaced by watched ones, and put back."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

MISSING = object()


class Patches:
    """What was replaced; `undo` puts it back, the last first."""

    def __init__(self) -> None:
        self._undo: list[Callable[[], None]] = []

    def set(self, owner: Any, name: str, make: Callable[[Any], Any]) -> None:
        """Replace `owner.name` by `make(what it was)`; nothing where there is none."""
        plain = getattr(owner, name, None)
        if plain is None:
            return
        own = vars(owner).get(name, MISSING) if hasattr(owner, "__dict__") else MISSING
        new = make(plain)
        functools.update_wrapper(new, plain)
        setattr(owner, name, new)

        def back() -> None:
            if own is MISSING:
                delattr(owner, name)
            else:
                setattr(owner, name, own)

        self._undo.append(back)

    def add(self, owner: Any, name: str, value: Any) -> None:
        """Give `owner` an attribute that it does not have itself (it may inherit one)."""
        if name in vars(owner):
            return
        setattr(owner, name, value)
        self._undo.append(lambda: delattr(owner, name))

    def later(self, undo: Callable[[], None]) -> None:
        """Something else to be undone."""
        self._undo.append(undo)

    def undo(self) -> None:
        while self._undo:
            self._undo.pop()()
