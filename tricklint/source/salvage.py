"""What can be read of a notebook's cell that Python cannot parse: its other statements.

A notebook is saved as it was left, often with a line that was pasted a space too far to the right after the cell had run.
"""

from __future__ import annotations

import ast
import re

from tricklint.source import magics
from tricklint.source.screen import syntax_error

_ROUNDS = 3
_GOES_ON = re.compile(r"[\s#)\]}]|(?:else|elif|except|finally)\b|$")  # no start of a statement at the top level


def salvaged(text: str, row: int | None, replaced: list[str]) -> str | None:
    """The cell's text with each statement at its top level that cannot be parsed replaced as magics are; their lines are
    appended to `replaced`. None when too little is left. `row`: where the first error is."""
    lines = text.split("\n")
    dropped: set[int] = set()
    for _ in range(_ROUNDS):
        if row is None or row > len(lines):
            return None
        starts = [at for at in _starts(lines) if at not in dropped]
        first, end = _block(lines, starts, row - 1)
        for at in range(first, end):
            line = lines[at].rstrip("\r")
            if line.strip() and at not in dropped:
                lines[at] = f"pass  # [magic {len(replaced)}]{lines[at][len(line) :]}"
                replaced.append(line)
                dropped.add(at)
        if not any(at not in dropped for at in starts):
            return None
        whole = "\n".join(lines)
        error = syntax_error(whole)
        if error is None:
            return whole
        row = error[0]
    return None


def _starts(lines: list[str]) -> list[int]:
    """The rows on which a statement at the top level starts; a decorated one starts at its first decorator."""
    found: list[int] = []
    decorated = False
    for at in magics.statement_starts(lines):
        if not _GOES_ON.match(lines[at]):
            if not decorated:
                found.append(at)
            decorated = lines[at].startswith("@")
    return found


def _block(lines: list[str], starts: list[int], at: int) -> tuple[int, int]:
    """The rows of the statement that row `at` is in; of a simple statement that can be read, only what is wrongly below it."""
    first = max((start for start in starts if start <= at), default=0)
    end = min((start for start in starts if start > at), default=len(lines))
    if first < at:
        try:
            body = ast.parse("\n".join(lines[first:at])).body
        except (SyntaxError, ValueError):
            return first, end
        if body and not hasattr(body[-1], "body"):
            return at, end
    return first, end


__all__ = ["salvaged"]
