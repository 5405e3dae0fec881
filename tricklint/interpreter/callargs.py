"""The arguments of one call."""

from __future__ import annotations

from tricklint.interpreter.values import (
    UNKNOWN,
    Value,
)


class CallArgs:
    """Evaluated arguments of one call. `open` when a star argument hides some, `open_kwargs` when ** does. `literals`: the
    positions and names of those that are written as literals."""

    __slots__ = ("kwargs", "literals", "open", "open_kwargs", "positional")

    def __init__(self, positional: list[Value] | None = None, kwargs: dict[str, Value] | None = None) -> None:
        self.positional: list[Value] = positional or []
        self.kwargs: dict[str, Value] = kwargs or {}
        self.open = False
        self.open_kwargs = False
        self.literals: set[int | str] = set()

    def get(self, position: int | None, name: str) -> Value | None:
        """The argument, None when it was not passed, UNKNOWN when a star may hold it."""
        if name in self.kwargs:
            return self.kwargs[name]
        if position is not None and position < len(self.positional):
            return self.positional[position]
        if self.open_kwargs or (self.open and position is not None):
            return UNKNOWN
        return None

    def all(self) -> list[Value]:
        return [*self.positional, *self.kwargs.values()]
