"""The record of one process, as JSON lines: facts that happen once, and rows that count what happens again and again.

A row is known by its key; it is written anew when it has changed, and whoever reads takes the last. So the record of a
process that dies at any point is whole up to there.
"""

from __future__ import annotations

import dis
import itertools
import json
import os
import sys
import sysconfig
import time
from typing import Any, TextIO

FLUSH_S = 0.5  # seconds between two writings of changed rows
FIRST = 3  # steps that are written at once
Row = dict[str, Any]

_HERE = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))  # tricklint
_OWN = tuple(os.path.join(_HERE, *parts) + os.sep for parts in (("watching",), ("verify", "runner"), ("trace",)))
_LIBRARIES = tuple(
    os.path.realpath(path) + os.sep for name, path in sysconfig.get_paths().items() if name in ("stdlib", "platstdlib")
)
_INSTALLED = (f"{os.sep}site-packages{os.sep}", f"{os.sep}dist-packages{os.sep}")


class Log:
    """`root`: the project, whose lines are named; without one, all code that is not installed is the user's."""

    def __init__(self, path: str | None, root: str | None) -> None:
        self.path = path
        self.root = os.path.realpath(root) + os.sep if root else None
        self.pid = os.getpid()
        self.step = 0  # optimizer steps made
        self.lines: list[str] = []  # where there is no file: the record itself
        self._file: TextIO | None = None
        self._rows: dict[tuple[str, tuple[Any, ...]], Row] = {}
        self._dirty: dict[int, Row] = {}
        self._places: dict[tuple[int, ...], int] = {}
        self._codes: dict[int, tuple[Any, bool]] = {}
        self._flushed = 0.0

    # -- facts and rows

    def write(self, fact: str, **data: Any) -> None:
        """One fact, at once."""
        if os.getpid() != self.pid:
            return  # a forked worker: what it does is not the training
        line = json.dumps({"fact": fact, **data}, default=str)
        if self.path is None:
            self.lines.append(line)
            return
        if self._file is None:
            # It stays open as long as the process lives.
            self._file = open(self.path, "a", encoding="utf-8")  # noqa: SIM115
        self._file.write(line + "\n")
        self._file.flush()

    def row(self, fact: str, *key: Any, **first: Any) -> Row:
        """The row of that key; it begins with `first`. Whoever changes it calls `touch`."""
        found = self._rows.get((fact, key))
        if found is None:
            found = {"fact": fact, "row": len(self._rows), "step": self.step, **first}
            self._rows[(fact, key)] = found
        self._dirty[found["row"]] = found
        return found

    def known(self, fact: str, key: tuple[Any, ...]) -> Row | None:
        """The row of that key, about to be changed; None where there is none yet."""
        found = self._rows.get((fact, key))
        if found is not None:
            self._dirty[found["row"]] = found
        return found

    def touch(self, row: Row) -> None:
        self._dirty[row["row"]] = row

    def flush(self, now: bool = False) -> None:
        """Write the rows that changed, if it is time."""
        if not self._dirty:
            return
        at = time.monotonic()
        if not now and self.step > FIRST and at - self._flushed < FLUSH_S:
            return
        self._flushed = at
        dirty, self._dirty = self._dirty, {}
        for row in dirty.values():
            self.write(**row)

    def rows(self, fact: str) -> list[Row]:
        return [row for row in self._rows.values() if row["fact"] == fact]

    # -- places

    def place(self, frame: Any = None) -> int:
        """The number of a place: the user's lines that led here, the innermost first."""
        frame = frame or sys._getframe(1)
        key: list[int] = []
        codes = self._codes
        while frame is not None:
            code = frame.f_code
            known = codes.get(id(code))
            if known is None or known[0] is not code:
                known = codes[id(code)] = (code, self.mine(code.co_filename))
            if known[1]:
                key += (id(code), frame.f_lasti)
            frame = frame.f_back
        number = self._places.get(tuple(key))
        if number is None:
            number = self._places[tuple(key)] = len(self._places)
            pairs = zip(key[::2], key[1::2], strict=True)
            self.write("place", place=number, frames=[self._frame(codes[one][0], at) for one, at in pairs])
        return number

    def discarded(self, frame: Any) -> bool:
        """Whether the user's own statement throws away what the call under way in this frame gives."""
        code = frame.f_code
        if not self.mine(code.co_filename):
            return False
        after = (one.opname for one in dis.get_instructions(code) if one.offset > frame.f_lasti)
        return next((name for name in after if name != "CACHE"), "") == "POP_TOP"

    def mine(self, name: str) -> bool:
        """Whether a file is the user's own code."""
        if name.startswith("<") and not name.startswith("<ipython-input"):
            return False
        path = os.path.realpath(name)
        if path.startswith(_OWN) or any(part in path for part in _INSTALLED):
            return False
        return path.startswith(self.root) if self.root else not path.startswith(_LIBRARIES)

    def is_own(self, kind: type) -> bool:
        """Whether a class stands in the user's code."""
        file = getattr(sys.modules.get(kind.__module__), "__file__", None)
        return file is None or self.mine(file)

    def shown(self, name: str) -> str:
        """A file as the record names it: relative to the root where it lies below it."""
        path = os.path.realpath(name) if not name.startswith("<") else name
        return path[len(self.root) :] if self.root and path.startswith(self.root) else path

    def files(self) -> list[str]:
        """The project's files that were imported or run."""
        found = {getattr(module, "__file__", None) for module in list(sys.modules.values())}
        return sorted({self.shown(file) for file in found if isinstance(file, str) and os.path.isabs(file) and self.mine(file)})

    def _frame(self, code: Any, at: int) -> list[Any]:
        """[file, row, last row, column, last column, function]; columns count from 0, in bytes of UTF-8."""
        row = end = column = last = None
        if hasattr(code, "co_positions"):
            found = next(itertools.islice(code.co_positions(), at // 2, None), None)
            if found is not None:
                row, end, column, last = found
        if row is None:
            row = next((line for start, stop, line in code.co_lines() if start <= at < stop and line), code.co_firstlineno)
            end = row
        return [self.shown(code.co_filename), row, end, column, last, getattr(code, "co_qualname", code.co_name)]
