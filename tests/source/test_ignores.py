"""Ignore comments, and the statements they speak for."""

from __future__ import annotations

from pathlib import Path

from tricklint.finding import Finding, Location, Severity
from tricklint.source import Source
from tricklint.source.ignores import read, scan, with_comments


def finding(row: int, code: str = "TRK601") -> Finding:
    return Finding(code, "x", Severity.WARNING, "m", Path("/a.py"), Location(row, 1), Location(row, 2))


def speaking(text: str, row: int) -> list[tuple[str, ...] | None]:
    return [directive.selectors for directive in scan(text).at(row)]


def test_on_the_line_with_codes_and_names() -> None:
    text = "a = 1  # tricklint: ignore[TRK601, iterrows-loop] because of X\nb = 2\n"
    assert speaking(text, 1) == [("TRK601", "iterrows-loop")]
    assert speaking(text, 2) == []


def test_on_any_row_of_the_statement() -> None:
    text = "a = f(\n    1,  # tricklint: ignore[TRK601]\n    2,\n)\nb = 2\n"
    assert all(speaking(text, row) for row in (1, 2, 3, 4))
    assert not speaking(text, 5)


def test_of_a_class_or_def_only_the_header_counts() -> None:
    text = "class Net(\n    Base,\n):  # tricklint: ignore[TRK501]\n    def f(self):\n        pass\n"
    assert speaking(text, 1) == [("TRK501",)]
    assert speaking(text, 4) == []


def test_a_file_and_a_bare_ignore() -> None:
    assert speaking("# tricklint: ignore-file[TRK601]\nx = 1\n", 2) == [("TRK601",)]
    assert speaking("x = 1  # tricklint: ignore\n", 1) == [None]


def test_strings_are_no_comments_and_comments_may_share() -> None:
    assert not scan("x = '# tricklint: ignore[TRK601]'\n").directives
    (directive,) = scan("x = 1  # noqa  # tricklint: ignore[TRK601]\n").directives
    assert (directive.row, directive.start, directive.end) == (1, 16, 43)


def test_files_without_the_word_are_not_tokenized(monkeypatch) -> None:  # type: ignore[no-untyped-def]
    monkeypatch.setattr("tricklint.source.ignores.scan", lambda text: 1 / 0)
    assert read(Source.from_text(Path("/a.py"), "x = 1\n")).directives == []


def added(text: str, *findings: Finding) -> str:
    return with_comments(Source.from_text(Path("/a.py"), text), findings)


def test_add_ignore_appends_and_joins() -> None:
    assert added("a = 1\nb = 2\n", finding(2), finding(2, "TRK101")) == (
        "a = 1\nb = 2  # tricklint: ignore[TRK101, TRK601]\n"
    )
    assert added("a = 1  # tricklint: ignore[TRK101] why\n", finding(1)) == (
        "a = 1  # tricklint: ignore[TRK101, TRK601] why\n"
    )


def test_add_ignore_never_writes_into_a_string_or_behind_a_backslash() -> None:
    text = "a = f('''\nx\n''', 1)\nb = 1 + \\\n    2\r\nc = 3"
    result = added(text, finding(1), finding(4), finding(6))
    assert result == (
        "a = f('''\nx\n''', 1)  # tricklint: ignore[TRK601]\n"
        "b = 1 + \\\n    2  # tricklint: ignore[TRK601]\r\n"
        "c = 3  # tricklint: ignore[TRK601]"
    )
    for row in (1, 4, 6):
        assert speaking(result, row) == [("TRK601",)]
