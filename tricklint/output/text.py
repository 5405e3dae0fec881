"""For people: the source lines with the evidence marked, one reason, and whether a fix exists; advice comes after the
rest, a line each, unless it makes the run fail.

warning[TRK601] decay-on-bias-norm: SGD also decays biases and norms
  --> train.py:42:13
   |
42 | optimizer = optim.SGD(net.parameters(), lr=0.1, weight_decay=5e-4)
   |             ^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^
  ::: models.py:14:20
14 |     self.bn1 = nn.BatchNorm2d(64)
   |                ------------------ a norm's weight
   = why: …
   = fix available (recipe): …
"""

from __future__ import annotations

import shutil
import textwrap
import unicodedata
from collections.abc import Iterator

from tricklint.finding import Evidence, Finding, Fix, Severity
from tricklint.output import concise
from tricklint.output.places import place
from tricklint.output.printable import sentence
from tricklint.output.style import Style
from tricklint.output.summary import advice_last, summary
from tricklint.report import Report
from tricklint.settings import Settings

_TAB = "    "


def render(report: Report, settings: Settings, style: Style) -> str:
    width = max(60, min(100, shutil.get_terminal_size((100, 24)).columns))
    full = [f for f in advice_last(report.findings) if settings.fail_on is Severity.ADVICE or not _advice(f)]
    blocks = ["\n".join(_block(report, finding, settings, style, width)) for finding in full]
    rest = [finding for finding in report.findings if finding not in full]
    if rest:
        head = style.severity(Severity.ADVICE, "advice") + style.dim(" (fails no run; `tricklint rule CODE` says why)")
        lines = (concise.line(report, finding, settings, style) for finding in rest)
        blocks.append("\n".join([head, *lines]))
    return "\n\n".join([*blocks, *summary(report, settings, style)])


def _advice(finding: Finding) -> bool:
    return finding.severity is Severity.ADVICE


def _block(report: Report, finding: Finding, settings: Settings, style: Style, width: int) -> Iterator[str]:
    spots = _in_reading_order(finding)
    rows = [place(report, spot).start.row for spot in spots]
    margin = max(len(str(row)) for row in rows)
    bar = f"{' ' * margin} {style.dim('|')}"

    head = f"{finding.severity.value}[{finding.code}]"
    first, *rest = textwrap.wrap(
        f"{head} {finding.name}: {sentence(finding.message)}", width, subsequent_indent="  "
    ) or [head]
    yield style.severity(finding.severity, head) + style.bold(first[len(head) :])
    yield from (style.bold(line) for line in rest)

    arrow = "-->"
    shown: tuple[str, int | None] | None = None
    last = 0
    for spot in spots:
        at = place(report, spot)
        main = spot is finding
        if (at.filename, at.cell) != shown:
            label = place(report, finding).label if arrow == "-->" else at.label
            yield f"{' ' * margin}{style.dim(arrow)} {label}"
            if arrow == "-->":
                yield bar
            shown, arrow = (at.filename, at.cell), ":::"
        elif at.start.row > last + 1:
            yield style.dim("...")
        last = at.start.row
        source = report.sources.get(spot.path)
        if source is None or spot.location.row > len(source.lines):
            if not main:
                yield f"{bar} {style.evidence(sentence(spot.message))}"
            continue
        line, before, marked = _cut(source.lines[spot.location.row - 1], spot, width - margin - 3)
        yield f"{style.dim(f'{at.start.row:>{margin}} |')} {line}".rstrip()
        mark = ("^" if main else "-") * marked
        note = "" if main else f" {sentence(spot.message)}"
        if main:
            yield f"{bar} {' ' * before}{style.severity(finding.severity, mark)}"
        elif before + marked + len(note) <= width - margin - 3:
            yield f"{bar} {' ' * before}{style.evidence(mark + note)}"
        else:  # no room behind the mark: the words go below it
            yield f"{bar} {' ' * before}{style.evidence(mark)}"
            room = max(30, width - margin - 3 - before)
            indent = min(before, width - margin - 3 - room)
            yield from (
                f"{bar} {' ' * indent}{style.evidence(text)}" for text in textwrap.wrap(sentence(spot.message), room)
            )
    yield from _notes(report, finding, settings, style, width, margin)


def _in_reading_order(finding: Finding) -> list[Finding | Evidence]:
    """The finding's own file first, its rows from top to bottom; evidence in other files as the rule ordered it."""
    here = [evidence for evidence in finding.evidence if evidence.path == finding.path]
    there = [evidence for evidence in finding.evidence if evidence.path != finding.path]
    first: list[Finding | Evidence] = [finding, *here]
    return [*sorted(first, key=lambda spot: (spot.location, spot is not finding)), *there]


def _notes(
    report: Report, finding: Finding, settings: Settings, style: Style, width: int, margin: int
) -> Iterator[str]:
    rule = report.rule(finding.code)
    notes = []
    if rule:
        notes.append(("why:", rule.summary))
    if finding.confirmed:
        notes.append(("seen:", finding.confirmed))
    if finding.fix:
        notes.append((f"fix available ({finding.fix.level.value}):", _offer(finding.fix, settings)))
    for label, text in notes:
        indent = " " * (margin + 1)
        lines = textwrap.wrap(
            sentence(f"= {label} {text}"), width, initial_indent=indent, subsequent_indent=indent + "  "
        )
        lines[0] = lines[0].replace(f"= {label}", f"{style.dim('=')} {style.bold(label)}", 1)
        yield from lines


def _offer(fix: Fix, settings: Settings) -> str:
    if fix.level.rank <= settings.fix_level.rank:
        return f"{fix.message} (--fix)"
    reason = f"; {fix.reason}" if fix.reason else ""
    return f"{fix.message} (--unsafe-fixes{reason})"


def _columns(text: str) -> int:
    """How wide a text is on a terminal."""
    if text.isascii():
        return len(text)
    wide = sum(unicodedata.east_asian_width(character) in "WF" for character in text)
    return len(text) + wide - sum(unicodedata.combining(character) > 0 for character in text)


def _fit(text: str, room: int) -> str:
    """As much of the start of `text` as fits into `room` columns."""
    text = text[: max(0, room)]
    while _columns(text) > max(0, room):
        text = text[:-1]
    return text


def _cut(line: str, spot: Finding | Evidence, room: int) -> tuple[str, int, int]:
    """A row as it is shown: (text that fits into `room`, columns before the mark, columns that are marked)."""
    start = spot.location.column - 1
    end = spot.end_location.column - 1 if spot.end_location.row == spot.location.row else len(line.rstrip())
    end = max(end, start + 1)
    parts = [_printable(part) for part in (line[:start], line[start:end], line[end:])]
    before, marked, after = parts
    if _columns(before + marked + after) > room:
        # Too long a row: keep what is marked (two thirds of the room at least), then what fits before and after it.
        marked_room = min(_columns(marked), room * 2 // 3)
        if _columns(before) + marked_room > room - 1:
            before = "…" + _fit(before[::-1], room - 2 - marked_room)[::-1]
        if _columns(before + marked) > room - 1:
            marked = _fit(marked, room - 1 - _columns(before))
            after = "…"
        else:
            after = _fit(after, room - 1 - _columns(before + marked)) + "…"
    return before + marked + after, _columns(before), max(1, _columns(marked.rstrip()))


def _printable(text: str) -> str:
    """No tabs (their width is not known) and no control characters (they are not for showing)."""
    return "".join(c if c.isprintable() else " " for c in text.replace("\t", _TAB))
