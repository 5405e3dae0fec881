"""What an operation did, line by line, and the one error surgery raises."""

from __future__ import annotations

import html
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import overload


class SurgeryError(ValueError):
    """The model is not one this operation understands; it was left as it was. The message says why and where."""


@dataclass(frozen=True)
class Change:
    """`target` is the full name of a parameter or module, `did` what happened to it; `left` when nothing did."""

    target: str
    did: str
    left: bool = False

    def __str__(self) -> str:
        return f"{self.target}: {'left as it is, ' if self.left else ''}{self.did}"


class Changes(Sequence[Change]):
    """The changes one operation made, in the model's order; falsy when it changed nothing.

    Iterating gives the changes made; `left` holds what was met and deliberately not touched, each with its reason.
    """

    def __init__(self, operation: str, entries: Sequence[Change] = ()) -> None:
        self.operation = operation
        self.made = tuple(entry for entry in entries if not entry.left)
        self.left = tuple(entry for entry in entries if entry.left)

    @overload
    def __getitem__(self, index: int) -> Change: ...
    @overload
    def __getitem__(self, index: slice) -> Sequence[Change]: ...
    def __getitem__(self, index: int | slice) -> Change | Sequence[Change]:
        return self.made[index]

    def __len__(self) -> int:
        return len(self.made)

    def __iter__(self) -> Iterator[Change]:
        return iter(self.made)

    def __str__(self) -> str:
        head = f"{self.operation}: {len(self.made)} changed, {len(self.left)} left as they were"
        return "\n".join([head, *(f"  {entry}" for entry in (*self.made, *self.left))])

    __repr__ = __str__

    def _repr_html_(self) -> str:
        rows = "".join(
            f"<tr><td><code>{html.escape(entry.target)}</code></td><td>{html.escape(entry.did)}</td>"
            f"<td>{'left' if entry.left else 'changed'}</td></tr>"
            for entry in (*self.made, *self.left)
        )
        return f"<b>{html.escape(self.operation)}</b><table><tr><th>what</th><th>how</th><th></th></tr>{rows}</table>"
