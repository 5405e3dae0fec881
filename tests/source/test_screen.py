"""Which files may hold a finding, and honest words for those that cannot be parsed."""

from __future__ import annotations

import gc
import sys
from pathlib import Path

import libcst as cst
import pytest

from tricklint.source import Source
from tricklint.source.screen import Screened, quiet_parsing, screen, trigger_words
from tricklint.source.tree import walk

WORDS = trigger_words(["optim", "iterrows"])


def screened(text: str) -> Screened:
    with quiet_parsing():
        return screen(Source.from_text(Path("/a.py"), text), WORDS)


def test_triggers() -> None:
    assert screened("from torch import optim\n").hit
    assert not screened("import torch\n").hit
    with quiet_parsing():
        assert screen(Source.from_text(Path("/a.py"), ""), trigger_words([""])).hit


@pytest.mark.parametrize(
    ("text", "row", "words"),
    [
        ("x = 1\nprint 'optim'\n", 2, "Python 2?"),
        ("try:\n    pass\nexcept A, e:\n    pass\n", 3, "Python 2?"),
        ("f(async=True)\nprint 'optim'\n", 2, "Python 2?"),
        ("f(async=True)\nx = )\n", 2, "cannot be parsed"),
        ("if x:\n\ty = 1\n        z = 2\n", 3, "inconsistent use of tabs"),
        ("def f(:\n    pass\n", 1, "cannot be parsed"),
        ("x = 1 +\n", 1, "cannot be parsed"),
        ("class A:\nx = 1\n", 2, "expected an indented block"),
    ],
)
def test_syntax_errors_are_one_line_with_a_row(text: str, row: int, words: str) -> None:
    problem = screened(text).problem
    assert problem
    assert problem.row == row
    assert words in problem.message
    assert "\n" not in problem.message


@pytest.mark.parametrize("text", ["x = " + "+".join("1" * 50_000), "x = " + "-" * 50_000 + "1", "(" * 50_000])
def test_deep_nesting_is_a_problem_and_no_crash(text: str) -> None:
    problem = screened(text).problem
    assert problem
    assert "\n" not in problem.message


@pytest.mark.parametrize(
    "text", ["", "\f\nx = 1\n", "\fx = 1\n", "x = 1\r\ny = 2\r\n", "# only a comment", "x = '\\d'\n"]
)
def test_odd_files_are_fine(text: str, recwarn: pytest.WarningsRecorder) -> None:
    assert screened(text).problem is None
    assert not recwarn.list  # no SyntaxWarning about users' strings


@pytest.mark.skipif(sys.version_info >= (3, 12), reason="this Python knows the grammar itself")
def test_grammar_newer_than_this_python_is_read_by_libcst() -> None:
    assert screened("type Pair[T] = tuple[T, T]\nx = f'{'optim'}'\n") == Screened(True)


@pytest.mark.parametrize(
    "text",
    [
        "try:\n    pass\nexcept ValueError, TypeError:\n    pass\n",
        "import socket as s\nclass Mine(Exception): ...\ntry:\n    pass\nexcept Mine, s.error, OSError:\n    pass\n",
        "from errors import A, B as C\ntry:\n    pass\nexcept* A, C:\n    pass\n",
        "x = t'{optim}'\n",
    ],
)
def test_what_python_3_14_reads_is_read(text: str) -> None:
    assert screened(text).problem is None


@pytest.mark.skipif(sys.version_info >= (3, 14), reason="this Python reads both as a tuple")
@pytest.mark.parametrize("name", ["e", "error"])
def test_a_name_that_nothing_binds_is_what_python_2_caught(name: str) -> None:
    problem = screened(f"try:\n    pass\nexcept (ValueError, IOError), {name}:\n    print({name})\n").problem
    assert problem is not None
    assert (problem.row, "Python 2?" in problem.message) == (3, True)


def test_two_megabytes_in_one_file() -> None:
    assert screened("x = [\n" + "    1234567890,\n" * 130_000 + "]\n").problem is None


def test_the_collector_is_on_again_afterwards() -> None:
    with quiet_parsing():
        assert not gc.isenabled()
    assert gc.isenabled()


@pytest.mark.parametrize(
    "text",
    [
        "x = x.cuda(async=True)\nasync def f():\n    async with a as b:\n        await b\n",
        "def to(x, async=False):\n    return x.cuda(async=async)  # async=True\n",
        "s = 'async=True'\r\nf(async = s)\r\n",
        "\ff(async=True)\n",
    ],
)
def test_an_argument_called_async_is_read_where_it_stands(text: str) -> None:
    source = Source.from_text(Path("/a.py"), text)
    with quiet_parsing():
        assert screen(source, trigger_words([""])).problem is None
    tree = source.tree
    calls = [node for node in walk(tree.module) if isinstance(node, cst.Call)]
    assert calls and all(text.count(tree.code(call)) for call in calls)
    assert any("async" in tree.code(call) for call in calls)
