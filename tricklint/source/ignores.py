"""`# tricklint: ignore[TRK601]` on a line or its statement, and `# tricklint: ignore-file`."""

from __future__ import annotations

import re
import tokenize
from bisect import bisect_left
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from io import StringIO

from tricklint.finding import Finding
from tricklint.source.text import Source

_DIRECTIVE = re.compile(r"#\s*tricklint:\s*([\w-]+)[ \t]*(\[[^\]]*\]?)?")
WORDS = ("ignore", "ignore-file")


@dataclass(frozen=True)
class Directive:
    """One comment. `selectors` is None for all rules; `start` and `end` are its columns (1-based, end exclusive)."""

    word: str
    selectors: tuple[str, ...] | None
    row: int
    start: int
    end: int
    text: str


@dataclass
class Ignores:
    """The directives of one file, and the rows of each statement."""

    directives: list[Directive] = field(default_factory=list)
    _ends: list[int] = field(default_factory=list)  # last rows of the logical lines, ascending
    _starts: list[int] = field(default_factory=list)

    def statement(self, row: int) -> tuple[int, int]:
        """First and last row of the logical line that `row` belongs to (of a class or def: of its header)."""
        at = bisect_left(self._ends, row)
        if at < len(self._ends) and self._starts[at] <= row:
            return self._starts[at], self._ends[at]
        return row, row

    def at(self, row: int) -> Iterator[Directive]:
        """The directives that speak for a finding on `row`."""
        first, last = self.statement(row)
        for directive in self.directives:
            if directive.word == "ignore-file" or (directive.word == "ignore" and first <= directive.row <= last):
                yield directive


def may_ignore(source: Source) -> bool:
    return b"tricklint:" in source.data


def read(source: Source) -> Ignores:
    """The ignore comments of a file; cheap when it has none."""
    return scan(source.text) if may_ignore(source) else Ignores()


def scan(text: str) -> Ignores:
    """Tokenize: only real comments count, and statements over several lines are known."""
    ignores = Ignores()
    start = None
    # Python's tokenizer ends rows at "\n" only when they are read that way; a lone "\r" is a row's end in Python.
    rows = StringIO(text, newline=None)
    try:
        for token in tokenize.generate_tokens(rows.readline):
            if token.type == tokenize.COMMENT:
                ignores.directives += _directives(token.string, token.start[0], token.start[1] + 1)
            elif token.type == tokenize.NEWLINE and start is not None:
                ignores._starts.append(start)
                ignores._ends.append(token.start[0])
                start = None
            elif start is None and token.type not in (tokenize.NL, tokenize.INDENT, tokenize.DEDENT, tokenize.NEWLINE):
                start = token.start[0]
    except (tokenize.TokenError, SyntaxError):
        pass  # grammar newer than the running Python: what was read so far holds
    return ignores


def _directives(comment: str, row: int, column: int) -> Iterator[Directive]:
    for match in _DIRECTIVE.finditer(comment):
        listed = match[2]
        selectors = None
        if listed is not None:
            selectors = tuple(word.strip() for word in listed.strip("[]").split(",") if word.strip())
        yield Directive(match[1], selectors, row, column + match.start(), column + match.end(), match[0].rstrip())


def joined(selectors: Sequence[str], word: str = "ignore") -> str:
    return f"# tricklint: {word}[{', '.join(selectors)}]"


def with_comments(source: Source, findings: Iterable[Finding]) -> str:
    """The text with an ignore comment for each finding: on its own row, or at the end of its statement where that row
    ends inside a string or with a backslash. Codes join a comment that is there already."""
    ignores = scan(source.text)
    inside = _rows_that_end_inside(source.text)
    codes: dict[int, list[str]] = {}
    for finding in findings:
        row = finding.location.row
        codes.setdefault(ignores.statement(row)[1] if row in inside else row, []).append(finding.code)
    rows = re.split(r"(\r\n|\r|\n)", source.text)
    for row, wanted in codes.items():
        line = rows[2 * (row - 1)]
        old = next(
            (d for d in ignores.directives if d.row == row and d.word == "ignore" and d.selectors is not None), None
        )
        known = old.selectors or () if old else ()
        comment = joined(list(dict.fromkeys((*known, *sorted(wanted)))))
        if old:
            line = line[: old.start - 1] + comment + line[old.end - 1 :]
        else:
            line = f"{line.rstrip()}  {comment}"
        rows[2 * (row - 1)] = line
    return "".join(rows)


def _rows_that_end_inside(text: str) -> set[int]:
    """Rows after whose last character no comment can stand: inside a string, or before a continued line."""
    inside: set[int] = set()
    opened: list[int] = []  # rows where f-strings start, which are several tokens since Python 3.12
    try:
        for token in tokenize.generate_tokens(StringIO(text, newline=None).readline):
            if token.start[0] != token.end[0] and token.type not in (tokenize.NEWLINE, tokenize.NL):
                inside.update(range(token.start[0], token.end[0]))
            kind = tokenize.tok_name[token.type]
            if kind in ("FSTRING_START", "TSTRING_START"):
                opened.append(token.start[0])
            elif kind in ("FSTRING_END", "TSTRING_END"):
                inside.update(range(opened.pop(), token.end[0]))
    except (tokenize.TokenError, SyntaxError):
        pass
    for row, line in enumerate(re.split(r"\r\n|\r|\n", text), 1):
        if line.endswith("\\"):
            inside.add(row)
    return inside
