"""The series of numbers that one run gave: from loggers, from files that it wrote, from what it printed.

A name that several sources have is one series a source: the first keeps the plain name, the others are told apart by
their source. `at` says how many optimizer steps had been made when each number came; 0 is before the training.
"""

from __future__ import annotations

import bisect
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from tricklint.verify.metrics import HELD_OUT, TRAINING, by_pattern, is_pattern, name_of_pattern, words_of
from tricklint.verify.printed import read

PRINTED, ERRORS, MESSAGES = "printed", "stderr", "logging"
Text = tuple[str, int]
LATE = ("torchmetrics",)  # sources that count only where no other has the number


@dataclass
class Series:
    """One metric's numbers, in order."""

    name: str
    source: str
    values: list[float] = field(default_factory=list)
    at: list[int] = field(default_factory=list)


def of_run(record: Mapping[str, Any], out: Text, err: Text, pattern: str | None = None) -> dict[str, Series]:
    """All series of a run out of its record and what it wrote to stdout and stderr (the end of it, and how many bytes
    came before). With a `pattern` that is a regular
    expression, the one that it catches, in the first text where it catches any."""
    texts = list(_texts(record, out, err))
    if pattern and is_pattern(pattern):
        for source, text, steps in texts:
            caught = by_pattern(text, pattern)
            if caught:
                name = name_of_pattern(pattern)
                return {name: Series(name, source, [v for _, v in caught], [steps.at(end) for end, _ in caught])}
        return {}
    found: list[Series] = []
    late: list[Series] = []
    for entry in record.get("logged", ()):
        name = _told(entry["name"], entry["source"])
        series = Series(name, entry["source"], list(entry["values"]), list(entry["at"]))
        (late if series.source in LATE else found).append(series)
    for source, text, steps in texts:
        mine: dict[str, Series] = {}
        for name, value, end in read(text):
            name = _told(name, source)
            series = mine.setdefault(name, Series(name, source))
            series.values.append(value)
            series.at.append(steps.at(end))
        found += [s for s in mine.values() if source in (PRINTED, ERRORS) or not _is_in(s, found)]
    return _keyed([*found, *late])


def _keyed(found: Iterable[Series]) -> dict[str, Series]:
    keyed: dict[str, Series] = {}
    for series in found:
        key = series.name
        if key in keyed:
            key = f"{series.name} ({re.sub('[0-9]+', '#', series.source)})"  # a file's name may hold the time of day
        if key not in keyed:
            keyed[key] = series
    return keyed


def _is_in(series: Series, others: Iterable[Series]) -> bool:
    """Whether another source holds the same numbers under the same name: a handler printed the message."""
    return any(o.name == series.name and o.values == series.values for o in others)


_COUNTED = re.compile(r"(epoch|step|iter|iteration|round)s?[ _/:-]*\d+", re.IGNORECASE)


def _told(name: str, source: str) -> str:
    """A name that does not tell its data, where its file's does: acc of val.csv → val acc. Names that count
    (val_acc_epoch_3, epoch_3/val_acc) are one."""
    name = _COUNTED.sub(r"\1", name)
    if "." not in source or any(word in HELD_OUT | TRAINING for word in words_of(name)):
        return name
    for part in reversed(source.replace("\\", "/").split("/")[-2:]):
        told = [word for word in words_of(part) if word in HELD_OUT | TRAINING]
        if told:
            return f"{told[-1]} {name}"
    return name


class _Steps:
    """From a place in a text to the steps made when it was written. `marks`: (steps made, bytes by the next step);
    `skipped`: bytes that stood before the text. Places must be asked in their order."""

    def __init__(self, text: str, marks: Sequence[Sequence[int]], total: int, skipped: int = 0) -> None:
        self.text, self.total = text, total
        self.steps, self.ends = [steps for steps, _ in marks], [size for _, size in marks]
        self.place, self.bytes = 0, skipped

    def at(self, place: int) -> int:
        self.bytes += len(self.text[self.place : place].encode("utf-8", errors="replace"))
        self.place = max(self.place, place)
        found = bisect.bisect_left(self.ends, self.bytes)
        return self.steps[found] if found < len(self.ends) else self.total


def _texts(record: Mapping[str, Any], out: Text, err: Text) -> Iterator[tuple[str, str, _Steps]]:
    """(source, text, its steps): stdout, stderr, messages of `logging`, text files that the run wrote."""
    total = record.get("steps", 0)
    output = record.get("output") or {}
    for source, name, (text, skipped) in ((PRINTED, "stdout", out), (ERRORS, "stderr", err)):
        yield source, text, _Steps(text, output.get(name, []), total, skipped)
    lines, ends, size = [], [], 0
    for steps, message in record.get("messages") or ():
        lines.append(message + "\n")
        size += len(lines[-1].encode("utf-8", errors="replace"))
        ends.append((steps, size))
    text = "".join(lines)
    yield MESSAGES, text, _Steps(text, ends, total)
    for source, entry in (record.get("texts") or {}).items():
        # What was written after its last opening may have been written any time after: with one opening, by the end.
        last = entry["last"] if len(entry["marks"]) > 1 else total
        yield source, entry["text"], _Steps(entry["text"], entry["marks"], last)
