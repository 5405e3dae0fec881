"""Notebooks: code cells in order as one text, and changed cells written back into the very bytes that were read.

Cells are set apart in the text by a comment line, `# %% [cell 3]`, so that an edit always belongs to one cell. Markdown
and raw cells, cells of another language (%%bash, %%html …) and statements that Python cannot parse are left out of the
text; the last are named as problems.
"""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from pathlib import Path

from tricklint.source import magics
from tricklint.source.salvage import salvaged
from tricklint.source.screen import syntax_error
from tricklint.source.text import CELL_MARK, Cell, Problem, Source, SourceError, dominant_newline

_SPACE = re.compile(r"[ \t\r\n]*")
_MARKER = re.compile(r"\[cell [0-9]+\](\.*)")
_DECODER = json.JSONDecoder()


@dataclass(frozen=True)
class _RawCell:
    """A cell as it stands in the JSON: where the value of "source" starts and ends in it, and what it says."""

    kind: str
    value: str | list[str]
    start: int
    end: int

    @property
    def text(self) -> str:
        return self.value if isinstance(self.value, str) else "".join(self.value)


class _Broken(Exception):
    pass


def _skip(raw: str, position: int) -> int:
    match = _SPACE.match(raw, position)
    assert match  # the pattern matches the empty string
    return match.end()


def _members(raw: str, position: int) -> list[tuple[str, int, int]]:
    """(key, start of value, end of value) for each member of the object at `position`."""
    found = []
    position = _skip(raw, position + 1)
    while raw[position] != "}":
        key, position = _DECODER.raw_decode(raw, position)
        start = _skip(raw, _skip(raw, position) + 1)
        _, end = _DECODER.raw_decode(raw, start)
        found.append((key, start, end))
        position = _skip(raw, end)
        if raw[position] == ",":
            position = _skip(raw, position + 1)
    return found


def _items(raw: str, position: int) -> list[tuple[int, int]]:
    """(start, end) of each item of the array at `position`."""
    found = []
    position = _skip(raw, position + 1)
    while raw[position] != "]":
        _, end = _DECODER.raw_decode(raw, position)
        found.append((position, end))
        position = _skip(raw, end)
        if raw[position] == ",":
            position = _skip(raw, position + 1)
    return found


def _value(raw: str, members: list[tuple[str, int, int]], key: str) -> tuple[object, int, int]:
    for name, start, end in members:
        if name == key:
            return _DECODER.raw_decode(raw, start)[0], start, end
    return None, 0, 0


def _language(metadata: object) -> str:
    if isinstance(metadata, dict):
        for table, key in (("language_info", "name"), ("kernelspec", "language")):
            value = metadata.get(table)
            if isinstance(value, dict) and isinstance(value.get(key), str):
                return str(value[key]).lower()
    return "python"


def _raw_cells(raw: str) -> list[_RawCell]:
    """All cells of a notebook in Python; none for another language. Raises _Broken."""
    try:
        json.loads(raw)  # the whole is checked first, so that the walk below may trust it
    except json.JSONDecodeError as error:
        raise _Broken(f"is no valid JSON: {error.msg} (line {error.lineno})") from None
    except RecursionError:
        raise _Broken("is nested too deeply") from None
    position = _skip(raw, 0)
    if raw[position] != "{":
        raise _Broken("is no notebook: expected an object")
    top = _members(raw, position)
    version = _value(raw, top, "nbformat")[0]
    if isinstance(version, int) and version < 4:
        raise _Broken(f"is a notebook of format {version}; `jupyter nbconvert --to notebook` makes it format 4")
    cells, start, _ = _value(raw, top, "cells")
    if not isinstance(cells, list):
        raise _Broken("is no notebook: has no list of cells")
    if not _language(_value(raw, top, "metadata")[0]).startswith(("python", "ipython")):
        return []
    found = []
    for index, (item, _end) in enumerate(_items(raw, start)):
        if raw[item] != "{":
            raise _Broken(f"cell {index} is no object")
        members = _members(raw, item)
        kind = _value(raw, members, "cell_type")[0]
        value, value_start, value_end = _value(raw, members, "source")
        if value is None or not isinstance(kind, str):
            raise _Broken(f"cell {index} has no source or no type")
        if not (isinstance(value, str) or (isinstance(value, list) and all(isinstance(v, str) for v in value))):
            raise _Broken(f"cell {index}: source is neither text nor a list of lines")
        found.append(_RawCell(kind, value, value_start, value_end))
    return found


def _decode(path: Path, data: bytes) -> str:
    try:
        return data.decode("utf-8")
    except UnicodeDecodeError as error:
        row = data.count(b"\n", 0, error.start) + 1
        raise SourceError(path, row, f"is no valid notebook: byte 0x{data[error.start]:02x} is not UTF-8") from None


@dataclass(frozen=True)
class _Reading:
    text: str
    cells: tuple[Cell, ...]
    magics: list[str]
    markers: list[str]
    problems: tuple[Problem, ...]


def _read(path: Path, raw_cells: list[_RawCell]) -> _Reading:
    # A marker that no cell holds: dots are added until it is unlike every line of the notebook.
    runs = [len(match[1]) for cell in raw_cells for match in _MARKER.finditer(cell.text)]
    dots = "." * (max(runs) + 1) if runs else ""
    parts: list[str] = []
    cells: list[Cell] = []
    replaced: list[str] = []
    markers: list[str] = []
    problems: list[Problem] = []
    row = 1
    for index, raw in enumerate(raw_cells):
        magic = magics.cell_magic(raw.text)
        if raw.kind != "code" or not raw.text.strip() or not (magic is None or magic in magics.PYTHON_CELL_MAGICS):
            continue
        mine: list[str] = list(replaced)
        text = magics.replace(raw.text, mine)
        error = syntax_error(text)
        if error:
            problems.append(Problem(path, error[0], f"cannot be parsed: {error[1]}", index))
            rest = salvaged(text, error[0], mine)
            if rest is None:
                continue
            text = rest
        replaced = mine
        if cells:
            markers.append(f"{CELL_MARK}{index}]{dots}")
            parts.append(markers[-1] + "\n")
            row += 1
        parts.append(text if text.endswith("\n") else text + "\n")
        rows = parts[-1].count("\n")
        cells.append(Cell(index, row, rows))
        row += rows
    return _Reading("".join(parts), tuple(cells), replaced, markers, tuple(problems))


def parse(path: Path, data: bytes, mtime_ns: int, size: int) -> Source:
    """Raises SourceError with one line when the file is no notebook that can be read."""
    raw = _decode(path, data)
    try:
        reading = _read(path, _raw_cells(raw.removeprefix("\ufeff")))
    except _Broken as broken:
        raise SourceError(path, None, str(broken)) from None
    return Source(
        path,
        data,
        reading.text,
        newline=dominant_newline(reading.text),
        is_notebook=True,
        cells=reading.cells,
        mtime_ns=mtime_ns,
        size=size,
        problems=reading.problems,
    )


def _split(source: Source, reading: _Reading, text: str) -> list[str]:
    """The text of each cell after an edit. Raises SourceError when a boundary was lost or doubled."""
    texts, rest = [], text
    for marker in reading.markers:
        pattern = re.compile(rf"^{re.escape(marker)}(?:\r\n|\r|\n)", re.MULTILINE)
        match = pattern.search(rest)
        if not match:
            raise SourceError(source.path, None, "an edit would move code across a cell boundary")
        texts.append(rest[: match.start()])
        rest = rest[match.end() :]
    texts.append(rest)
    return texts


def _hoist_cell_magic(text: str) -> str:
    """A cell magic must stay the first line: an edit may have put an import above it."""
    lines = text.split("\n")
    at = next((i for i, line in enumerate(lines) if line.lstrip().startswith("%%")), 0)
    return "\n".join([lines[at], *lines[:at], *lines[at + 1 :]])


def _restore(source: Source, reading: _Reading, old: str, new: str, raw_text: str) -> str:
    """The cell's text as a notebook holds it: magics back in place, no newline at the end where there was none."""
    if "# [magic " in raw_text or sorted(magics.numbers(old)) != sorted(magics.numbers(new)):
        raise SourceError(source.path, None, "an edit would lose a magic or shell line")
    text = magics.restore(new, reading.magics)
    if magics.cell_magic(raw_text) is not None:
        text = _hoist_cell_magic(text)
    return text if raw_text.endswith("\n") else text.removesuffix("\n").removesuffix("\r")


def write_back(source: Source, text: str) -> bytes:
    """The notebook's bytes with the changed cells' sources replaced: everything else stays byte for byte. Raises
    SourceError when `text` cannot be taken apart into the notebook's cells."""
    raw = _decode(source.path, source.data)
    bom = "\ufeff" if raw.startswith("\ufeff") else ""
    raw = raw.removeprefix("\ufeff")
    raw_cells = _raw_cells(raw)
    reading = _read(source.path, raw_cells)
    if not reading.cells:
        if text.strip():
            raise SourceError(source.path, None, "the notebook has no code cell to write to")
        return source.data
    pieces, position = [], 0
    olds, news = (_split(source, reading, whole) for whole in (reading.text, text))
    for cell, old, new in zip(reading.cells, olds, news, strict=True):
        if old == new:
            continue
        raw_cell = raw_cells[cell.index]
        cell_text = _restore(source, reading, old, new, raw_cell.text)
        pieces += [raw[position : raw_cell.start], _render(raw, raw_cell, cell_text)]
        position = raw_cell.end
    return (bom + "".join(pieces) + raw[position:]).encode("utf-8")


def _render(raw: str, cell: _RawCell, text: str) -> str:
    """The JSON of a cell's source in the style it had: string or list, white space, escapes of unchanged lines."""
    old = raw[cell.start : cell.end]
    ascii_only = raw.isascii()
    if isinstance(cell.value, str):
        return json.dumps(text, ensure_ascii=ascii_only)
    spans = _items(old, 0)
    known = {line: old[start:end] for line, (start, end) in zip(cell.value, spans, strict=True)}
    lines = [known.get(line) or json.dumps(line, ensure_ascii=ascii_only) for line in _keep_ends(text)]
    if not spans:
        return f"[{', '.join(lines)}]"
    between = old[spans[0][1] : spans[1][0]] if len(spans) > 1 else "," + (old[1 : spans[0][0]] or " ")
    return old[: spans[0][0]] + between.join(lines) + old[spans[-1][1] :]


def _keep_ends(text: str) -> list[str]:
    """Lines with their ends, split at "\\n" only, as notebooks do."""
    return re.findall(r"[^\n]*\n|[^\n]+", text)
