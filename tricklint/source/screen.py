"""The screen: which files can start an inquiry, and which cannot be parsed, for about the price of one `ast.parse`."""

from __future__ import annotations

import ast
import gc
import re
import warnings
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from tricklint.source.text import Problem, Source

# Syntax that newer Pythons read and older ones do not is given to libcst, which knows both. These messages are never
# about new grammar; the last one is Python 2's `except A, b:`, which libcst reads as Python 3.14's tuple.
_SURELY_WRONG = re.compile(r"Missing parentheses in call|multiple exception types must be parenthesized|null byte")
_PYTHON_2 = re.compile(
    r"Missing parentheses in call to '(print|exec)'|multiple exception types|leading zeros in decimal"
)


@dataclass(frozen=True)
class Screened:
    """`hit`: the file holds a word that some rule waits for. `problem`: why it cannot be parsed."""

    hit: bool
    problem: Problem | None = None


@contextmanager
def quiet_parsing() -> Iterator[None]:
    """No garbage collection (parsing makes no garbage, and the collector costs half as much again) and no
    SyntaxWarning about users' strings."""
    enabled = gc.isenabled()
    gc.disable()
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        if enabled:
            gc.enable()


def trigger_words(triggers: Iterable[str]) -> tuple[bytes, ...]:
    return tuple(dict.fromkeys(word.encode() for word in triggers))


def screen(source: Source, triggers: tuple[bytes, ...]) -> Screened:
    """Screen one file; call it inside `quiet_parsing()`. An empty word is found everywhere."""
    problem = None if source.is_notebook else _syntax_problem(source)  # a notebook's cells were parsed when it was read
    if problem:
        return Screened(False, problem)
    data = source.text.encode("utf-8", "surrogatepass") if source.is_notebook else source.data
    return Screened(any(word in data for word in triggers))


def _syntax_problem(source: Source) -> Problem | None:
    try:
        ast.parse(source.text)
    except SyntaxError as error:
        if isinstance(error, IndentationError) or _SURELY_WRONG.search(error.msg) or not _libcst_reads(source.text):
            return Problem(source.path, error.lineno, f"cannot be parsed: {_reason(error)}")
    except (RecursionError, MemoryError):
        return Problem(source.path, None, "cannot be parsed: nested too deeply")
    except ValueError as error:
        return Problem(source.path, None, f"cannot be parsed: {error}")
    return None


def _reason(error: SyntaxError) -> str:
    message = error.msg
    line = (error.text or "").strip()
    if _PYTHON_2.search(message):
        return f"{message} (Python 2?)"
    if re.search(r"\basync\s*=", line):
        return f"{message} ('async' is a keyword since Python 3.7)"
    return message


def _libcst_reads(text: str) -> bool:
    import libcst

    try:
        libcst.parse_module(text.lstrip("\f"))
    except Exception:  # libcst raises more than ParserSyntaxError, and any of them means no
        return False
    return True
