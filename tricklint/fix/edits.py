"""Edits on one text: where they stand, whether two of them meet, and the text they make."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterable, Iterator

from tricklint.finding import Edit, Location


class EditError(ValueError):
    """An edit does not fit the text it is meant for."""


def lines_of(text: str) -> Iterator[str]:
    """Lines with their ends, as Python's tokenizer counts them: `\\r\\n`, `\\n` and a lone `\\r` end a line."""
    at = 0
    while at < len(text):
        end = at
        while end < len(text) and text[end] not in "\r\n":
            end += 1
        end += 2 if text[end : end + 2] == "\r\n" else 1
        yield text[at:end]
        at = end


class Lines:
    """Turns 1-based rows and columns (in characters) into offsets of a text, and back."""

    def __init__(self, text: str) -> None:
        self.text = text
        self.starts = [0]
        # A text without `\r` is split by the fast path; `str.splitlines` would also split at form feeds and U+2028.
        lengths = map(len, lines_of(text)) if "\r" in text else (len(line) + 1 for line in text.split("\n")[:-1])
        for length in lengths:
            self.starts.append(self.starts[-1] + length)
        if "\r" in text and not text.endswith(("\n", "\r")):
            self.starts.pop()  # the last line has no end, so no row begins after it

    def offset(self, location: Location) -> int:
        """Raises EditError when there is no such place."""
        if not 1 <= location.row <= len(self.starts) or location.column < 1:
            raise EditError(f"no row {location.row}, column {location.column} in this text")
        offset = self.starts[location.row - 1] + location.column - 1
        if offset > len(self.text):
            raise EditError(f"no row {location.row}, column {location.column} in this text")
        return offset

    def location(self, offset: int) -> Location:
        row = bisect_right(self.starts, offset)
        return Location(row, offset - self.starts[row - 1] + 1)

    def line(self, row: int) -> str:
        """The text of a row with its end; empty when there is no such row."""
        if not 1 <= row <= len(self.starts):
            return ""
        end = self.starts[row] if row < len(self.starts) else len(self.text)
        return self.text[self.starts[row - 1] : end]

    def span(self, edit: Edit) -> tuple[int, int]:
        start, end = self.offset(edit.location), self.offset(edit.end_location)
        if end < start:
            raise EditError(f"an edit ends before it starts (row {edit.location.row}, column {edit.location.column})")
        return start, end


def meet(one: tuple[int, int], other: tuple[int, int]) -> bool:
    """Whether two spans overlap; spans that only touch count, so two insertions at one place never both happen."""
    return one[0] <= other[1] and other[0] <= one[1]


def apply_edits(text: str, edits: Iterable[Edit]) -> str:
    """The text with all edits made. Raises EditError when two of them overlap or one is out of the text."""
    lines = Lines(text)
    placed = sorted((*lines.span(edit), edit.content) for edit in edits)
    parts, at = [], 0
    for start, end, content in placed:
        if start < at:
            raise EditError(f"two edits overlap at row {lines.location(start).row}")
        parts += [text[at:start], content]
        at = end
    return "".join([*parts, text[at:]])
