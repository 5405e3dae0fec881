"""Where the characters of a tree's own code stand in the text it was parsed from.

libcst does not give every text back: a form feed before the indentation of a row, a row that is nothing but a
backslash, blank space before the end are lost. Positions are worked out on the code that the tree writes, so they
hold in the text only once the two are laid side by side. Only such space may differ: anything else is a Misread.
"""

from __future__ import annotations

from bisect import bisect_right

_SPACE = frozenset(" \t\f\\\r\n")


class Misread(ValueError):
    """The tree of a text is not that text: no position in it can be told."""


class Alignment:
    """Offsets in `code` as offsets in `text`. Raises Misread."""

    def __init__(self, code: str, text: str) -> None:
        # From each of these offsets in `code` on, up to the next, the text stands that much further.
        self._starts: list[int] = [0]
        self._shifts: list[int] = [0]
        at, here = 0, 0
        while True:
            equal = _equal(code, at, text, here)
            at, here = at + equal, here + equal
            if here < len(text) and text[here] in _SPACE:
                here += 1
            elif at < len(code) and code[at] in _SPACE:
                at += 1
            elif at == len(code) and here == len(text):
                return
            else:
                row = text.count("\n", 0, here) + 1
                raise Misread(f"row {row} is not read as it stands")
            if self._starts[-1] == at:
                self._shifts[-1] = here - at
            else:
                self._starts.append(at)
                self._shifts.append(here - at)

    def span(self, start: int, end: int) -> tuple[int, int]:
        """Start and end of something: its first character, and behind its last one."""
        first = self._moved(start)
        return first, max(first, self._moved(end - 1) + 1 if end > start else first)

    def _moved(self, offset: int) -> int:
        return offset + self._shifts[bisect_right(self._starts, offset) - 1]


def _equal(code: str, at: int, text: str, here: int) -> int:
    """How many characters are the same from there on."""
    done, step = 0, 64
    while True:
        one, other = code[at + done : at + done + step], text[here + done : here + done + step]
        if one == other:
            if len(one) < step:
                return done + len(one)
            done, step = done + step, step * 2
        elif step == 1 or not one or not other:
            return done
        else:
            step = max(1, min(step, len(one), len(other)) // 2)
