"""What a run leaves behind in files: the project's code that it executed, and tables of numbers that it wrote."""

from __future__ import annotations

import csv
import gc
import io
import json
import os
import sys
from collections.abc import Callable, Iterator
from typing import Any

TABLES = (".json", ".jsonl", ".ndjson", ".csv", ".tsv")
TEXTS = (".log", ".txt")
STEPS = ("step", "global_step", "steps", "iteration", "iter")  # columns that count optimizer steps, or may
COUNTS = (*STEPS, "epoch", "epochs", "round")
LARGEST = 8 << 20  # bytes of one file that is read
_WRITING = os.O_WRONLY | os.O_RDWR | os.O_APPEND | os.O_CREAT | os.O_TRUNC
Add = Callable[[str, str, Any, int], None]


class Outputs:
    """Watches by Python's audit hook: which files are executed (imported, run, exec'd), which are opened for writing,
    and how many optimizer steps had been made each time."""

    def __init__(self, root: str, steps: Callable[[], int]) -> None:
        self.root = os.path.realpath(root) + os.sep
        self.steps = steps
        self.executed: set[str] = set()
        self.opened: dict[str, list[tuple[int, int]]] = {}  # (steps made, bytes in the file) at each opening
        self.before: dict[str, int] = {}  # bytes that were in them before the first step

    def install(self) -> None:
        sys.addaudithook(self._event)

    def begin(self) -> None:
        """The training begins: what has been written by now is no result of it."""
        self.before = {path: _size(path) for path in self.opened}

    def _event(self, event: str, args: tuple[Any, ...]) -> None:
        if event == "exec":
            name = getattr(args[0], "co_filename", "")
            if name and not name.startswith("<"):
                self.executed.add(name)
        elif event == "open" and isinstance(args[0], (str, os.PathLike)):
            name = os.fspath(args[0])
            writes = args[2] & _WRITING if isinstance(args[2], int) else 0
            if writes and isinstance(name, str) and name.endswith((*TABLES, *TEXTS)):
                path = os.path.abspath(name)
                self.opened.setdefault(path, []).append((self.steps(), _size(path)))

    def code(self) -> list[str]:
        """The project's files that were executed, relative to the copy."""
        real = {os.path.realpath(name) for name in self.executed}
        return sorted(name[len(self.root) :] for name in real if name.startswith(self.root))

    def tables(self, add: Add) -> dict[str, Any]:
        """Give `add` every number of the tables that were written, as (source, name, value, steps made by then), and
        return the texts: source → text, and (steps made, bytes by then) as far as its openings tell."""
        if not self.opened:
            return {}
        gc.collect()  # a file that the script never closed is closed, and so written, with its last reference
        _flush()
        texts: dict[str, Any] = {}
        for path, opened in sorted(self.opened.items()):
            real = os.path.realpath(path)
            source = real[len(self.root) :] if real.startswith(self.root) else os.path.basename(path)
            try:
                if os.path.getsize(path) > LARGEST:
                    continue
                with open(path, encoding="utf-8", errors="replace", newline="") as file:
                    text = file.read()
            except OSError:
                continue
            if path.endswith(TEXTS):
                sizes = [size for _, size in opened[1:]]
                marks = [(0, self.before.get(path, 0)), *((steps, size) for (steps, _), size in zip(opened, sizes))]
                texts[source] = {"text": text[: 1 << 20], "marks": marks, "last": opened[-1][0]}
                continue
            unchanged = bool(text) and self.before.get(path) == _size(path)
            steps = [made for made, _ in opened]
            rows = list(_rows(path, text))
            if not _is_log(rows, steps, self.steps()):
                continue
            for number, row in enumerate(rows):
                at = 0 if unchanged else _when(row, number, len(rows), steps, self.steps())
                for name, value in flat(row):
                    add(source, name, value, at)
        return texts


def _size(path: str) -> int:
    try:
        return os.path.getsize(path)
    except OSError:
        return 0


def _flush() -> None:
    for thing in gc.get_objects():
        if isinstance(thing, (io.TextIOWrapper, io.BufferedWriter)):
            try:
                if not thing.closed and thing.writable():
                    thing.flush()
            except (OSError, ValueError):
                continue


def _rows(path: str, text: str) -> Iterator[Any]:
    """The rows of a table: JSON values one a line, one JSON document (its lists are columns or rows), or CSV."""
    if path.endswith((".csv", ".tsv")):
        for row in csv.DictReader(io.StringIO(text), delimiter="\t" if path.endswith(".tsv") else ","):
            yield {name: _number(cell) for name, cell in row.items() if name and isinstance(cell, str)}
        return
    try:
        document = json.loads(text)
    except ValueError:
        for line in text.splitlines():
            try:
                yield json.loads(line)
            except ValueError:
                continue
        return
    if isinstance(document, list):
        yield from document
        return
    yield document
    # {"log_history": [{…}, …]}: what the rows under a key say counts row by row.
    for value in document.values() if isinstance(document, dict) else ():
        if isinstance(value, list) and value and all(isinstance(row, dict) for row in value):
            yield from value


def _number(cell: str) -> float | None:
    try:
        return float(cell)
    except ValueError:
        return None


def flat(value: Any, name: str = "") -> Iterator[tuple[str, float]]:
    """Every number in nested mappings, named by its path; a list of numbers is a series."""
    if isinstance(value, dict):
        for key, inner in value.items():
            yield from flat(inner, f"{name}/{key}" if name else str(key))
        return
    if isinstance(value, (list, tuple)):
        if value and all(isinstance(item, (int, float)) and not isinstance(item, bool) for item in value):
            for item in value:
                yield name, float(item)
        return
    number = scalar(value)
    if name and number is not None:
        yield name, number


def scalar(value: Any) -> float | None:
    """A number, or a tensor or array that holds one; None for anything else."""
    if isinstance(value, (bool, str, bytes)) or value is None:
        return None
    if isinstance(value, (int, float)):
        return float(value)
    try:
        count = getattr(value, "numel", None)
        if (count() if callable(count) else getattr(value, "size", 0)) != 1:
            return None
        return float(value.item())
    except Exception:
        return None


def _is_log(rows: list[Any], opened: list[int], total: int) -> bool:
    """Whether the rows of a table tell of the training, one after the other, and are no data (predictions, say): they
    count something, or they were written as the training went on."""
    if len(rows) <= max(1, len(opened)):
        return True
    if any(isinstance(row, dict) and any(str(name).lower() in COUNTS for name in row) for row in rows[:2]):
        return True
    return len(opened) == 1 and opened[0] < total and len(rows) <= total


def _when(row: Any, number: int, rows: int, opened: list[int], total: int) -> int:
    """How many steps had been made when a row was written: by its opening, by its own count of steps, else by its
    place among the rows."""
    if len(opened) >= rows and opened[len(opened) - rows + number]:
        return opened[len(opened) - rows + number]
    if isinstance(row, dict):
        for name, value in row.items():
            if str(name).lower() in STEPS:
                count = scalar(value)
                if count is not None and 0 <= count <= total:
                    return int(count)
    first = opened[0]
    return first + (total - first) * (number + 1) // rows
