"""`tricklint check`: exit codes, what is checked, what is mended, and what must not stop a run."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest

from tests.cli.conftest import Project

LINE = "import torch\nmistake = 1\n"


def test_clean_is_0_findings_1_and_both_are_said(project: Project) -> None:
    project.write({"a.py": "import torch\n"})
    clean = project.check()
    assert (clean.code, clean.out) == (0, "All clean in 1 file\n")
    project.write({"b.py": LINE})
    found = project.check()
    assert found.code == 1
    assert "b.py:2:1" in found.out
    assert "Found 1 finding (1 fixable with --fix) in 1 file" in found.out


def test_exit_zero_and_fail_on(project: Project) -> None:
    project.write({"a.py": LINE})
    assert project.check("--exit-zero").code == 0
    assert project.check("--fail-on", "error").code == 0
    assert project.check("--fail-on", "warning").code == 1
    project.write({"a.py": "import torch\nmistake_advice = 1\n"})
    assert project.check("--fail-on", "warning").code == 0
    assert project.check("--fail-on", "advice").code == 1


def test_what_could_not_be_done_is_2_and_named_and_the_rest_goes_on(project: Project) -> None:
    project.write({"a.py": LINE, "old.py": "print 'mistake'\n", "bytes.py": b"x = '\xe9'\n", "bad.ipynb": "{"})
    run = project.check("--output-format", "json", ".", "nowhere.py")
    assert run.code == 2
    assert [finding["filename"] for finding in run.json] == ["a.py"]
    lines = run.err.splitlines()
    assert len(lines) == 4
    assert any(line.startswith("error: old.py:1: cannot be parsed: Missing parentheses") for line in lines)
    assert any(line.startswith("error: bytes.py:1: byte 0xe9") for line in lines)
    assert any(line.startswith("error: bad.ipynb: is no valid JSON") for line in lines)
    assert "error: nowhere.py: does not exist" in lines
    assert project.check(".", "nowhere.py", "--exit-zero").code == 2


def test_a_rule_that_crashes_is_named_and_the_others_run(project: Project) -> None:
    project.write({"a.py": LINE + "crash = 1\n"})
    run = project.check("--output-format", "json")
    assert run.code == 2
    assert len(run.json) == 1
    assert run.err.startswith("error: rule XYZ102 (broken-rule) crashed (mistake.py:")
    assert "TypeError: three is no crowd; TRICKLINT_TRACEBACK=1 shows more" in run.err


def test_json_is_exactly_what_the_documentation_says(project: Project) -> None:
    project.write({"a.py": LINE})
    (finding,) = project.json()
    assert finding == {
        "code": "XYZ101",
        "name": "mistake",
        "severity": "warning",
        "message": "mistake here",
        "filename": "a.py",
        "location": {"row": 2, "column": 1},
        "end_location": {"row": 2, "column": 8},
        "cell": None,
        "evidence": [
            {
                "filename": "a.py",
                "location": {"row": 1, "column": 1},
                "end_location": {"row": 1, "column": 2},
                "cell": None,
                "message": "the file starts here",
            }
        ],
        "fix": {
            "level": "safe",
            "message": "say mended",
            "reason": "",
            "edits": [
                {
                    "content": "mended",
                    "location": {"row": 2, "column": 1},
                    "end_location": {"row": 2, "column": 8},
                    "cell": None,
                    "filename": "a.py",
                }
            ],
        },
        "url": "",
    }


def test_fix_mends_and_exits_0(project: Project) -> None:
    project.write({"a.py": LINE, "b.py": "import torch\nmistake_stubborn = 1\n"})
    run = project.check("--fix")
    assert run.code == 1  # one is left
    assert project.read("a.py") == "import torch\nmended = 1\n"
    assert "Mended 1 finding; 1 finding left in 1 file" in run.out
    again = project.check("a.py", "--fix")
    assert (again.code, again.out) == (0, "All clean in 1 file\n")


def test_unsafe_fixes_only_when_asked_for(project: Project) -> None:
    project.write({"a.py": "import torch\nmistake_unsafe = 1\n"})
    assert project.check("--fix").code == 1
    assert "mistake_unsafe" in project.read("a.py")
    assert "(1 fixable with --unsafe-fixes)" in project.check().out
    assert project.check("--fix", "--unsafe-fixes").code == 0
    assert "mended" in project.read("a.py")


def test_diff_shows_and_writes_nothing(project: Project) -> None:
    project.write({"a.py": LINE})
    run = project.check("--diff")
    assert run.code == 1
    assert run.out == "--- a/a.py\n+++ b/a.py\n@@ -1,2 +1,2 @@\n import torch\n-mistake = 1\n+mended = 1\n"
    assert run.err == "Would mend 1 finding; 0 findings would be left\n"
    assert project.read("a.py") == LINE
    assert project.check("--diff", "--exit-zero").code == 0
    assert project.check("--diff", "--fix").code == 2


def test_fix_never_writes_over_a_change(project: Project, monkeypatch: pytest.MonkeyPatch) -> None:
    from tricklint import mend

    project.write({"a.py": LINE, "b.py": LINE})
    original = mend._changed_on_disk

    def meanwhile(*args: object) -> object:
        project.write({"a.py": "somebody = 'else'\n"})
        return original(*args)  # type: ignore[arg-type]

    monkeypatch.setattr(mend, "_changed_on_disk", meanwhile)
    run = project.check("--fix")
    assert run.code == 2
    assert "error: a.py: changed on disk since it was read; not rewritten" in run.err
    assert project.read("a.py") == "somebody = 'else'\n"
    assert "mended" in project.read("b.py")


def test_only_named_files_are_reported_and_rewritten(project: Project) -> None:
    project.write({"a.py": LINE, "b.py": LINE, "broken.py": "def ("})
    run = project.check("a.py", "--fix", "--output-format", "json")
    assert (run.code, run.json, run.err) == (0, [], "")
    assert project.read("b.py") == LINE


def test_stdin(project: Project) -> None:
    project.write({"a.py": "import torch\n"})
    run = project.check("-", "--stdin-filename", "a.py", "--output-format", "json", stdin=LINE)
    assert [finding["filename"] for finding in run.json] == ["a.py"]
    fixed = project.check("-", "--stdin-filename", "a.py", "--fix", stdin=LINE)
    assert (fixed.code, fixed.out) == (0, "import torch\nmended = 1\n")
    assert project.read("a.py") == "import torch\n"
    nameless = project.check("-", stdin=LINE)
    assert (nameless.code, nameless.err) == (1, "")
    assert "stdin.py:2:1" in nameless.out
    assert project.check("-", stdin="def (").code == 2


def test_pedantic(project: Project) -> None:
    project.write({"a.py": "import torch\nmistake_pedantic = 1\n"})
    assert project.check().code == 0
    assert project.check("--pedantic").code == 1


def test_statistics_and_output_file(project: Project) -> None:
    project.write({"a.py": LINE + "mistake = mistake_stubborn\n"})
    assert project.check("--statistics").out == "3  XYZ101  mistake (warning), 2 fixable\n"
    project.check("--output-format", "json", "-o", "report.json")
    assert len(json.loads(project.read("report.json"))) == 3


def test_notebooks_are_mended_in_their_cell(project: Project) -> None:
    cells = [
        {"cell_type": "markdown", "metadata": {}, "source": ["# hi"]},
        {"cell_type": "code", "metadata": {}, "outputs": [], "execution_count": 1, "source": ["!ls\n", "mistake = 1"]},
    ]
    raw = json.dumps({"cells": cells, "metadata": {}, "nbformat": 4, "nbformat_minor": 5}, indent=2)
    project.write({"a.ipynb": raw})
    (finding,) = project.json()
    assert (finding["cell"], finding["location"]) == (1, {"row": 2, "column": 1})
    assert "a.ipynb:cell 1:2:1" in project.check().out
    assert project.check("--fix").code == 0
    assert project.read("a.ipynb") == raw.replace("mistake = 1", "mended = 1")


def test_a_bad_cell_is_named(project: Project) -> None:
    cell = {"cell_type": "code", "metadata": {}, "outputs": [], "execution_count": 1, "source": "x = 1\nprint 'x'"}
    project.write({"a.ipynb": json.dumps({"cells": [cell], "metadata": {}, "nbformat": 4, "nbformat_minor": 5})})
    run = project.check()
    assert run.code == 2
    assert run.err.startswith("error: a.ipynb:cell 0:2: cannot be parsed")


@pytest.mark.parametrize("kind", ["bom", "crlf", "latin-1", "form feed", "empty", "two megabytes", "tabs", "deep"])
def test_real_files_do_not_stop_a_run(project: Project, kind: str) -> None:
    files: dict[str, bytes] = {
        "bom": b"\xef\xbb\xbfimport torch\nmistake = 1\n",
        "crlf": b"import torch\r\nmistake = 1\r\n",
        "latin-1": b"# coding: latin-1\nmistake = '\xe9'\n",
        "form feed": b"\fimport torch\n\fmistake = 1\n",
        "empty": b"",
        "two megabytes": b"mistake = 1\nx = [\n" + b"    1234567890,\n" * 130_000 + b"]\n",
        "tabs": b"if 1:\n\tx = 1\n        mistake = 2\n",
        "deep": b"mistake = " + b"-" * 100_000 + b"1\n",
    }
    before = files[kind]
    project.write({"odd.py": before, "fine.py": LINE})
    run = project.check("--fix")
    assert project.read("fine.py") == "import torch\nmended = 1\n"
    if kind in ("tabs", "deep"):
        assert run.code == 2
        assert len(run.err.splitlines()) == 1
    else:
        assert (run.code, run.err) == (0, "")
    after = before if kind in ("tabs", "deep") else before.replace(b"mistake", b"mended")
    assert (project.root / "odd.py").read_bytes() == after


def test_links_that_lead_nowhere_or_round_and_round(project: Project) -> None:
    project.write({"a.py": LINE})
    (project.root / "loop.py").symlink_to("loop.py")
    (project.root / "gone.py").symlink_to("nowhere.py")
    (project.root / "again").symlink_to(".")
    os.mkfifo(project.root / "pipe.py")
    run = project.check("--output-format", "json")
    assert run.code == 2
    assert len(run.json) == 1
    assert len(run.err.splitlines()) == 3  # loop.py, gone.py, pipe.py


@pytest.mark.skipif(os.geteuid() == 0, reason="root may read anything")
def test_unreadable_files(project: Project) -> None:
    project.write({"a.py": LINE, "secret.py": LINE})
    (project.root / "secret.py").chmod(0)
    run = project.check("--output-format", "json")
    assert (run.code, len(run.json)) == (2, 1)
    assert "secret.py: cannot be read: Permission denied" in run.err


def test_no_files_at_all(project: Project) -> None:
    (project.root / "empty").mkdir()
    assert project.check("empty").out == "No Python files or notebooks to check\n"


def test_verify_and_trace_without_their_extras_say_what_is_missing(
    project: Project, monkeypatch: pytest.MonkeyPatch
) -> None:
    import sys

    project.write({"a.py": LINE})
    monkeypatch.setitem(sys.modules, "tricklint.verify", None)
    run = project.check("--verify")
    assert run.code == 2
    assert "pip install 'tricklint[verify]'" in run.err
    assert len(run.err.strip().splitlines()) == 1


def test_paths_may_be_absolute(project: Project, tmp_path_factory: pytest.TempPathFactory) -> None:
    other = tmp_path_factory.mktemp("other") / "a.py"
    other.write_text(LINE)
    rules = f"rule-paths=['{project.root / 'local_rules'}']"
    (finding,) = project.json(str(other), "--config", rules)
    assert Path(finding["filename"]) == other


def test_a_rule_selected_alone_finds_what_it_finds_among_all(project: Project) -> None:
    """The sampler is made in one file, and another, which never names it, trains on its loader."""
    project.write(
        {
            "data.py": """
                from torch.utils.data import DataLoader, DistributedSampler

                def get_loader(dataset):
                    return DataLoader(dataset, batch_size=8, sampler=DistributedSampler(dataset))
                """,
            "train.py": """
                import torch
                from torch import nn
                from torchvision.datasets import FakeData
                from data import get_loader

                model = nn.Linear(8, 2)
                optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
                loader = get_loader(FakeData())
                for epoch in range(3):
                    for images, labels in loader:
                        optimizer.zero_grad()
                        nn.functional.cross_entropy(model(images), labels).backward()
                        optimizer.step()
                """,
        }
    )
    found = [finding for finding in project.json() if finding["code"] == "TRK707"]
    assert len(found) == 1
    assert project.json("--select", "TRK707") == found
