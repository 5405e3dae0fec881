"""Show what a fix would change, as a unified diff."""

from __future__ import annotations

import difflib
from pathlib import Path

from tricklint.fix.edits import lines_of
from tricklint.output.printable import one_line
from tricklint.source.text import Source


def unified(old: Source, new_text: str) -> str:
    """The unified diff from `old.text` to `new_text` (of a notebook: of its code cells); empty when they are equal.

    Line ends other than `\\n` are kept, so the diff can be applied; a missing last newline is marked as git does.
    """
    name = _shown(old.path)
    before, after = list(lines_of(old.text)), list(lines_of(new_text))
    out = []
    for line in difflib.unified_diff(before, after, _quoted(f"a/{name}"), _quoted(f"b/{name}")):
        out.append(line if line.endswith(("\n", "\r")) else line + "\n\\ No newline at end of file\n")
    return "".join(out)


def _quoted(name: str) -> str:
    """In quotes where a name holds what would end the header's row, as git writes it."""
    shown = one_line(name)
    return f'"{shown}"' if shown != name else name


def _shown(path: Path) -> str:
    try:
        return path.resolve().relative_to(Path.cwd()).as_posix()
    except (OSError, ValueError):
        return path.as_posix().lstrip("/")
