"""Read the metrics that a training script prints, line by line, in time that grows with the text."""

from __future__ import annotations

import re
from collections.abc import Iterator

from tricklint.verify.metrics import HELD_OUT, NOT_METRICS, OF, direction, role, words_of

Value = tuple[str, float, int]  # name, number, where its line ends in the text
_NUMBER = re.compile(
    r"(?<![\w.@%])(?<!\w-)[-+]?(?:(?:\d+\.\d*|\.\d+|\d+)(?:[eE][-+]?\d+)?|nan|inf)(?![\w])(?!\.\d)(?:/(\d+)(?![\w./]))?\s*(%?)",
    re.IGNORECASE,
)
_REACH = 120  # characters before a number in which its name is looked for
_WORD = r"[A-Za-z][A-Za-z0-9_@./]*(?:-[A-Za-z0-9]+)*"
_NAME = rf"{_WORD}(?: {_WORD}){{0,7}}"
_WRAPPER = r"(?:[A-Za-z_][\w.]{0,20}\(|\[|\()?\[?"  # tensor(0.5), np.float64(0.5), [0.5
_SIGNED = re.compile(
    rf"""({_NAME})["']?(?:\s*\([^()]{{0,20}}\))?\s*(?:::?|==?|\||│|┃|→|->|\bis\b|\bwas\b|\bof\b)\s*["']?{_WRAPPER}$"""
)
_BARE = re.compile(rf"({_WORD}(?: {_WORD}){{0,2}})\s+$")
_CLAUSE = re.compile(r"[,;|:=(){}\[\]│┃\t]")
_AVERAGE = re.compile(r"\s*\(\s*([-+]?\d+\.\d+)\s*\)")  # "Acc@1 71.2 (70.1)": the running average
_LEVEL = re.compile(r"^(?:INFO|DEBUG|WARNING|WARN|CRITICAL|ERROR)\s+")
_DATA = re.compile(rf"(?<![\w./@-])(?:{'|'.join(sorted(HELD_OUT | {'train', 'training'}))})(?![\w/@-])", re.IGNORECASE)
_COLOUR = re.compile(r"\x1b\[[0-9;]*[A-Za-z]")
_LINE = re.compile(r"[^\r\n]+")


def read(text: str) -> Iterator[Value]:
    """Every `name: number` that a text holds, in the order printed. A per cent sign divides by 100, 9895/10000 is
    0.9895, and of "0.52 (0.49)" the average in brackets counts. Rows under a heading count by its columns. A name that
    does not tell its data, after "Test:" or `val_loss=…` in its line, is told by that."""
    heading: list[str] = []
    for match in _LINE.finditer(text):
        line = _COLOUR.sub("", match.group())
        row = line.split()
        if heading and len(row) == len(heading) and all(_plain(cell) is not None or ":" in cell for cell in row):
            for name, cell in zip(heading, row):
                value = _plain(cell)
                if value is not None and not _counts(name):
                    yield name, value, match.end()
            continue
        heading = row if _is_heading(row) else []
        for name, value in _pairs(line):
            yield name, value, match.end()


def found_in(text: str) -> dict[str, list[float]]:
    """The same as one series a name."""
    found: dict[str, list[float]] = {}
    for name, value, _ in read(text):
        found.setdefault(name, []).append(value)
    return found


def _plain(cell: str) -> float | None:
    try:
        return float(cell)
    except ValueError:
        return None


def _is_heading(row: list[str]) -> bool:
    return (
        len(row) > 1
        and all(re.fullmatch(_WORD, cell) for cell in row)
        and any(direction(cell) is not None for cell in row)
        and sum(_counts(cell) for cell in row) > 0
    )


def _counts(name: str) -> bool:
    """Whether a name only counts or times: epoch, lr, seconds."""
    words = words_of(name)
    return not words or words[-1] in NOT_METRICS or name.lower() in NOT_METRICS


def _pairs(line: str) -> Iterator[tuple[str, float]]:
    end, held, listed = 0, "", ""  # where the last number ended; the last word for held-out data; the open list's name
    seen = 0
    for match in _NUMBER.finditer(line):
        start = match.start()
        if start < end:
            continue
        for word in _DATA.findall(line, max(seen, start - _REACH), start):
            held = word.lower() if word.lower() in HELD_OUT else ""
        seen = start
        gap = line[max(end, start - _REACH) : start]
        value = float(match.group().split("/")[0].rstrip(" %\t"))
        of, percent = match.group(1), match.group(2)
        end = match.end()
        if listed and gap.strip() == ",":
            yield listed, value
            continue
        listed = ""
        signed = _SIGNED.search(gap)
        bare = None if signed else _BARE.search(gap)
        name = signed.group(1) if signed else bare.group(1) if bare else ""
        if not name:
            continue
        name = _LEVEL.sub("", name)
        if signed and direction(name) is None:
            name = _clause(line, start - len(gap) + signed.end(1)) or name
        # "loss 0.52 acc 0.93": without a sign only known metrics count ("accuracy on the 10000 images" is a phrase).
        if bare and (direction(name) is None or OF & set(words_of(name))):
            continue
        if _counts(name):
            continue
        average = _AVERAGE.match(line, end)
        if average and not of:
            value, end = float(average.group(1)), average.end()
        if of and value > float(of):
            of = ""
        value /= float(of or 0) or (100 if percent else 1)
        if held and role(name) == 1:
            name = f"{held} {name}"
        if gap.rstrip().endswith("[") and not percent and not of:
            listed = name
        yield name, value


def _clause(line: str, end: int) -> str:
    """ "Accuracy of the network on the 10000 test images": all that stands before the sign, where it names a metric."""
    start = max(0, end - _REACH)
    text = _CLAUSE.split(line[start:end])[-1].strip(" '\"*-")
    return text if text and direction(text) is not None else ""
