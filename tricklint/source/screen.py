"""The screen: which files can start an inquiry, and which cannot be parsed, for about the price of one `ast.parse`."""

from __future__ import annotations

import ast
import gc
import re
import sys
import threading
import warnings
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, TypeVar

from tricklint.source.text import Problem, Source

# Syntax that newer Pythons read and older ones do not is given to libcst, which knows both. These messages are never
# about new grammar.
_SURELY_WRONG = re.compile(r"Missing parentheses in call|too many nested")
# Python 2's `except A, b:` or Python 3.14's tuple of types; libcst reads both as the latter.
_TWO_PYTHONS = re.compile(r"multiple exception types must be parenthesized")
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


# A feature that does not exist stops the compiler behind the parser: the text is parsed whole, and none of the tree
# becomes Python objects, which would cost more than the parsing.
_STOP = "from __future__ import _\n"
_STOPPED = "future feature _ is not defined"
_LONG_LINE = 2_000  # characters
_MANY_LINES = 500
_GOES_ON = b"+-*/|&%^.([{"
# What an expression that goes on is told by: operators are made one, and all but them and the ends of rows another
_MARKS = bytes(0x2B if code in _GOES_ON else code if code == 0x0A else 0x78 for code in range(256))
_SPACE = b" \t"


def _may_be_deep(text: str) -> bool:
    """Whether an expression may be nested so deeply that no tree can be made of it: only `ast.parse` says so."""
    at, end = 0, len(text)
    while end - at > _LONG_LINE:
        row_end = text.rfind("\n", at, at + _LONG_LINE + 1)
        if row_end < 0:
            return True
        at = row_end + 1
    if text.count("\n") + 1 < _MANY_LINES:
        return False
    marks = text.encode("utf-8", "surrogatepass").translate(_MARKS, _SPACE)
    return max(marks.count(b"+\n"), marks.count(b"\n+"), text.count("elif ")) > _MANY_LINES


_DEEPEST = 3_000  # levels, as newer Pythons allow


def _is_deep(tree: ast.AST) -> bool:
    """Whether a tree is deeper than newer Pythons make one: what walks it would end in the stack's end, or never."""
    level: list[ast.AST] = [tree]
    for _ in range(_DEEPEST):
        level = [child for node in level for child in ast.iter_child_nodes(node)]
        if not level:
            return False
    return True


def _parse(text: str) -> None:
    """Raises what `ast.parse` does for text that Python cannot parse."""
    if len(text) > _LONG_LINE and _may_be_deep(text):
        tree = ast.parse(text)
        if sys.version_info < (3, 11) and _is_deep(tree):
            raise RecursionError
        return
    try:
        compile(_STOP + text, "<unknown>", "exec", dont_inherit=True)
    except SyntaxError as error:
        if error.msg != _STOPPED:
            ast.parse(text)  # for the right row; what only the compiler minds is not our business


def _syntax_problem(source: Source) -> Problem | None:
    error = syntax_error(source.text)
    return Problem(source.path, error[0], f"cannot be parsed: {error[1]}") if error else None


def syntax_error(text: str) -> tuple[int | None, str] | None:
    """The row (where one is to blame) and the reason why a text cannot be parsed; None when it can, by this Python or
    by libcst."""
    try:
        _parse(text)
    except SyntaxError as error:
        renamed = _renamed(text)
        if renamed is not None:
            return syntax_error(renamed)
        if isinstance(error, IndentationError) or _SURELY_WRONG.search(error.msg) or not _libcst_reads(text, error.msg):
            return error.lineno, _reason(error)
    except (RecursionError, MemoryError):
        return None, "nested too deeply"
    except ValueError as error:
        return None, str(error)
    return None


def _renamed(text: str) -> str | None:
    """The text as it would be today, if it has names that were no keywords once."""
    if "async" not in text:
        return None
    from tricklint.source.grammar import without_old_names

    return without_old_names(text)


def _reason(error: SyntaxError) -> str:
    message = error.msg
    if _PYTHON_2.search(message):
        return f"{message} (Python 2?)"
    return message


def _libcst_reads(text: str, complaint: str) -> bool:
    from tricklint.source.grammar import catches_a_tuple
    from tricklint.source.tree import parse

    try:
        module = parse(text)
    except Exception:  # libcst raises more than ParserSyntaxError, and any of them means no
        return False
    return not _TWO_PYTHONS.search(complaint) or catches_a_tuple(module)


_DEEP = 512 * 1024 * 1024  # bytes of address space, not of memory
_DEEP_CALLS = 20_000
_T = TypeVar("_T")


def with_deep_stack(function: Callable[[], _T]) -> _T:
    """Call `function` where deeply nested code cannot overflow the stack: libcst's parser recurses in native code, and
    ends the process at some 2,000 levels on a usual stack."""
    outcome: list[tuple[bool, Any]] = []

    def call() -> None:
        sys.setrecursionlimit(max(limit, _DEEP_CALLS))  # which this stack has room for
        try:
            outcome.append((True, function()))
        except BaseException as error:
            outcome.append((False, error))

    before, limit = threading.stack_size(), sys.getrecursionlimit()
    try:
        threading.stack_size(_DEEP)
        thread = threading.Thread(target=call, name="tricklint", daemon=True)
        thread.start()
    except (RuntimeError, ValueError):  # a limit on address space: then on the stack there is
        return function()
    finally:
        threading.stack_size(before)
    try:
        thread.join()
    finally:
        sys.setrecursionlimit(limit)
    good, result = outcome[0]
    if not good:
        raise result
    returned: _T = result
    return returned
