"""Notebooks: cells as one text, rows that stay, and bytes that are written back."""

from __future__ import annotations

import ast
import json
from pathlib import Path
from typing import Any

import pytest

from tricklint.finding import Location
from tricklint.source import Source, SourceError


def code(text: str, **more: Any) -> dict[str, Any]:
    source = text.splitlines(keepends=True)
    return {"cell_type": "code", "execution_count": 1, "metadata": {}, "outputs": [], "source": source, **more}


def markdown(text: str) -> dict[str, Any]:
    return {"cell_type": "markdown", "metadata": {}, "source": [text]}


def notebook(*cells: dict[str, Any], language: str = "python") -> dict[str, Any]:
    return {"cells": list(cells), "metadata": {"language_info": {"name": language}}, "nbformat": 4, "nbformat_minor": 2}


def source_of(*cells: dict[str, Any], **more: Any) -> Source:
    return Source.from_text(Path("/nb.ipynb"), json.dumps(notebook(*cells, **more), indent=1))


def test_cells_are_one_program_in_order() -> None:
    source = source_of(markdown("# Title"), code("import torch"), code("x = 1\ny = 2\n"), code(""))
    assert [cell.index for cell in source.cells] == [1, 2]
    ast.parse(source.text)
    row = source.lines.index("y = 2") + 1
    assert source.place(Location(row, 1)) == (2, Location(2, 1))
    assert source.place(Location(1, 8)) == (1, Location(1, 8))


@pytest.mark.parametrize(
    ("cell", "kept"),
    [
        ("%matplotlib inline\nx = 1", {2: "x = 1"}),
        ("!pip install timm\nx = 1", {2: "x = 1"}),
        ("!pip install \\\n  timm\nx = 1", {3: "x = 1"}),
        ("pip install timm\nx = 1", {2: "x = 1"}),
        ("torch.nn.Linear?\nx = 1", {2: "x = 1"}),
        ("?print\nx = 1", {2: "x = 1"}),
        ("files = !ls *.py\nx = 1", {1: "files = None", 2: "x = 1"}),
        ("a, b = %time f()\nx = 1", {1: "a, b = None", 2: "x = 1"}),
        ("%%time\nx = 1", {2: "x = 1"}),
        ("if gpu:\n    !nvidia-smi\nx = 1", {2: "    pass", 3: "x = 1"}),
        ("text = '''\n%not a magic\n!nor this\n'''\nx = 1", {2: "%not a magic", 3: "!nor this"}),
        ("y = (a\n  % b)\nx = 1", {2: "  % b)"}),
        ("y = 'a = %d' % b\nx = 1", {1: "y = 'a = %d' % b"}),
        ("y = a != b\nx = 1", {1: "y = a != b"}),
        ("y = a \\\n % b\nx = 1", {2: " % b"}),
        ("# what?\nx = 1", {1: "# what?"}),
        ("!echo 'it(\nx = 1", {2: "x = 1"}),
    ],
)
def test_magics_are_replaced_and_no_row_moves(cell: str, kept: dict[int, str]) -> None:
    source = source_of(code(cell))
    assert source.problems == ()
    ast.parse(source.text)
    assert len(source.lines) == cell.count("\n") + 2  # and the newline that the last row lacks
    for row, line in kept.items():
        assert source.lines[row - 1].startswith(line)
    assert source.with_text(source.text).data == source.data


@pytest.mark.parametrize("magic", ["%%bash", "%%html", "%%writefile train.py", "%%javascript", "%%script foo"])
def test_cells_of_another_language_are_left_out(magic: str) -> None:
    source = source_of(code(f"{magic}\n<b>no python</b>"), code("x = 1"))
    assert source.text == "x = 1\n"
    assert source.problems == ()


def test_a_cell_that_cannot_be_parsed_is_named_and_the_others_are_read() -> None:
    source = source_of(code("import torch"), code("print 'python 2'"), code("x = 1"))
    assert [(p.cell, p.row) for p in source.problems] == [(1, 1)]
    assert "x = 1" in source.text
    assert "python 2" not in source.text


@pytest.mark.parametrize(
    ("cell", "read", "row"),
    [
        ("train(net,\n      epochs=3)\n\n  os.system('cp')", "train(net,\n      epochs=3)\n\npass\n", 4),
        ("x = 1\nnet = Net(x", "x = 1\npass\n", 2),
        ("print 'python 2'\nx = 1", "pass\nx = 1\n", 1),
        ("@once\ndef f(x):\n    x.\nelse:\n    y\nx = 1", "pass\n" * 5 + "x = 1\n", 3),
        ("for x in data:\n    step(x)\n    optimizer.", "", 3),
        ('x = 1\ny = """not\nended', "x = 1\npass\npass\n", 2),
    ],
)
def test_of_a_cell_that_cannot_be_parsed_the_other_statements_are_read(cell: str, read: str, row: int) -> None:
    source = source_of(code("import torch"), code(cell))
    assert [(p.cell, p.row) for p in source.problems] == [(1, row)]
    lines = [line.partition("  # [magic ")[0] for line in source.text.split("\n")]
    assert lines[2:] == (read.split("\n") if read else [])
    assert source.with_text(source.text).data == source.data
    mended = source.with_text(source.text.replace("import torch", "import jax")).data
    assert json.loads(mended)["cells"][1] == json.loads(source.data)["cells"][1]


def test_another_kernel_has_no_code_for_us() -> None:
    assert source_of(code("x <- 1"), language="R").text == ""


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (b"{", "no valid JSON"),
        (b"", "no valid JSON"),
        (b"[]", "expected an object"),
        (b"{}", "no list of cells"),
        (b'{"cells": [1]}', "cell 0 is no object"),
        (b'{"cells": [{"cell_type": "code"}]}', "cell 0 has no source"),
        (b'{"cells": [{"cell_type": "code", "source": 3}]}', "neither text nor a list"),
        (b'{"worksheets": [], "nbformat": 3}', "notebook of format 3"),
        (b'{"cells": "\xff"}', "not UTF-8"),
        (b"[" * 100_000, "nested too deeply"),
    ],
)
def test_a_broken_notebook_is_one_clear_line(data: bytes, message: str) -> None:
    with pytest.raises(SourceError, match=message) as caught:
        Source.from_bytes(Path("/nb.ipynb"), data)
    assert "\n" not in str(caught.value)


RAW = """{
 "nbformat_minor": 2, "nbformat": 4,
 "metadata": {"language_info": {"name": "python"}, "odd":   [1,2 ,3], "x": 1e3},
 "cells": [
  {"source": ["# caf\\u00e9 %s\\n"], "cell_type": "markdown", "metadata": {}},
  {
   "cell_type": "code",
   "outputs": [ {"name": "stdout", "text": ["caf\\u00e9 \\u2713"] } ],
   "execution_count": null,
   "source": [
    "!pip install timm\\n",
    "name = 'caf\\u00e9'\\n",
    "lr = 0.1"
   ], "metadata": {"a": 1, "A": 2}
  },
  {"cell_type": "code", "source": "wd = 1\\nx = 2", "metadata": {}, "outputs": [], "execution_count": 2}
 ]
}
"""


def test_only_changed_sources_are_written() -> None:
    source = Source.from_text(Path("/nb.ipynb"), RAW)
    changed = source.with_text(source.text.replace("lr = 0.1", "lr = 0.2\nmomentum = 0.9"))
    expected = RAW.replace('"lr = 0.1"', '"lr = 0.2\\n",\n    "momentum = 0.9"')
    assert changed.data.decode() == expected
    assert changed.text == source.text.replace("lr = 0.1", "lr = 0.2\nmomentum = 0.9")


def test_a_source_that_is_one_string_stays_one() -> None:
    source = Source.from_text(Path("/nb.ipynb"), RAW)
    changed = source.with_text(source.text.replace("wd = 1", "wd = 'é'"))
    assert changed.data.decode() == RAW.replace('"wd = 1\\nx = 2"', "\"wd = '\\u00e9'\\nx = 2\"")


def test_raw_characters_stay_raw() -> None:
    raw = RAW.replace("caf\\u00e9", "café")
    source = Source.from_text(Path("/nb.ipynb"), raw)
    assert source.with_text(source.text.replace("wd = 1", "wd = 'é'")).data.decode() == raw.replace(
        "wd = 1", "wd = 'é'"
    )


def test_an_import_above_a_cell_magic_goes_below_it() -> None:
    source = source_of(code("%%time\nx = 1"))
    changed = source.with_text("import torch\n" + source.text)
    assert json.loads(changed.data)["cells"][0]["source"] == ["%%time\n", "import torch\n", "x = 1"]


def test_edits_that_lose_a_boundary_or_a_magic_are_refused() -> None:
    source = source_of(code("!ls\nx = 1"), code("y = 1"))
    boundary = next(line for line in source.lines if line.startswith("# %%"))
    with pytest.raises(SourceError, match="cell boundary"):
        source.with_text(source.text.replace(boundary + "\n", ""))
    with pytest.raises(SourceError, match="lose a magic"):
        source.with_text("\n".join(line for line in source.lines if "[magic" not in line))


def test_a_marker_in_the_users_own_code_does_no_harm() -> None:
    source = source_of(code("a = 1\n# %% [cell 1]\nb = 2"), code("c = 3"))
    changed = source.with_text(source.text.replace("c = 3", "c = 4"))
    cells = json.loads(changed.data)["cells"]
    assert ["".join(cell["source"]) for cell in cells] == ["a = 1\n# %% [cell 1]\nb = 2", "c = 4"]


def test_a_second_magic_of_the_same_kind_comes_back_to_its_place() -> None:
    cells = [code("!a\n!b\nx = 1"), code("!c\ny = !d\nz = 1")]
    source = source_of(*cells)
    changed = source.with_text(source.text.replace("x = 1", "x = 2").replace("z = 1", "z = 2"))
    texts = ["".join(cell["source"]) for cell in json.loads(changed.data)["cells"]]
    assert texts == ["!a\n!b\nx = 2", "!c\ny = !d\nz = 2"]


def test_a_cell_in_grammar_newer_than_this_python_is_read() -> None:
    cell = {"cell_type": "code", "source": "type Pair[T] = tuple[T, T]", "metadata": {}, "outputs": []}
    raw = json.dumps({"cells": [cell], "metadata": {}, "nbformat": 4, "nbformat_minor": 5})
    source = Source.from_text(Path("a.ipynb"), raw)
    assert source.problems == ()
    assert source.lines[0].startswith("type Pair")
