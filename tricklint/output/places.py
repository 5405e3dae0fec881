"""Where things stand, in words that every format shares: paths from the working directory, cells of notebooks."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from tricklint.finding import Edit, Evidence, Finding, Location
from tricklint.output.printable import one_line
from tricklint.report import Report, shown_path


@dataclass(frozen=True)
class Place:
    """A span as a reader looks for it: `cell` is None outside notebooks; rows count within the cell."""

    filename: str
    cell: int | None
    start: Location
    end: Location

    @property
    def label(self) -> str:
        """train.py:42:17, or train.ipynb:cell 13:6:5; fit to be shown."""
        cell = "" if self.cell is None else f"cell {self.cell}:"
        return f"{one_line(self.filename)}:{cell}{self.start.row}:{self.start.column}"


def place(report: Report, spot: Finding | Evidence | Edit) -> Place:
    return place_of(report, spot.path, spot.location, spot.end_location)


def place_of(report: Report, path: Path, start: Location, end: Location) -> Place:
    source = report.sources.get(path)
    if source is None:
        return Place(shown_path(path), None, start, end)
    cell, first = source.place(start)
    _, last = source.place(end)
    return Place(shown_path(path), cell, first, last)
