"""The other commands, and that nothing slow is imported at the start."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from tests.cli.conftest import Project

SLOW = ("libcst", "rich", "torch", "pandas", "numpy", "pathspec", "difflib", "json", "tomllib", "asyncio")


def imported(*args: str, cwd: Path | None = None) -> set[str]:
    run = subprocess.run(
        [sys.executable, "-X", "importtime", "-m", "tricklint", *args],
        capture_output=True,
        text=True,
        check=False,
        cwd=cwd,
    )
    return {line.rpartition("|")[2].strip() for line in run.stderr.splitlines() if line.startswith("import time:")}


def test_version_imports_little() -> None:
    modules = imported("--version")
    assert "click.core" in modules
    assert not modules.intersection(SLOW)
    bare = subprocess.run(
        [sys.executable, "-X", "importtime", "-c", "import click"], capture_output=True, text=True, check=True
    )
    with_click = sum(line.startswith("import time:") for line in bare.stderr.splitlines())
    assert len(modules) <= with_click + 12  # ours, runpy's, and click's own lazy ones


def test_check_imports_neither_torch_nor_pandas(tmp_path: Path) -> None:
    (tmp_path / "a.py").write_text(
        "import torch\nmodel = torch.nn.Linear(1, 2)\noptimizer = torch.optim.SGD(model.parameters(), 0.1)\n"
    )
    modules = imported("check", ".", "--no-cache", cwd=tmp_path)
    assert "tricklint.check" in modules
    assert not {name.partition(".")[0] for name in modules}.intersection({"torch", "pandas", "numpy", "rich"})


def test_libcst_only_when_a_file_needs_it(tmp_path: Path) -> None:
    """Rules import libcst themselves, so this looks at parsing: no trigger, no tree."""
    (tmp_path / "a.py").write_text("x = 1\n")
    probe = (
        "import libcst, sys\n"
        "libcst.parse_module = lambda *args: sys.exit('parsed')\n"
        "from tricklint.cli import main\n"
        f"main(['check', {str(tmp_path)!r}, '--no-cache'])\n"
    )
    assert subprocess.run([sys.executable, "-c", probe], capture_output=True, check=False).returncode == 0


def test_version_and_help(project: Project) -> None:
    assert project.run("--version").out.startswith("tricklint ")
    text = project.run("--help").out
    for name in ("check", "rule", "rules", "trace", "verify", "server", "completion"):
        assert f"  {name} " in text
    assert "RUNS THE PROJECT'S CODE" in project.run("check", "--help").out


def test_a_misspelt_command(project: Project) -> None:
    run = project.run("chekc")
    assert (run.code, "did you mean 'check'?" in run.err) == (2, True)


@pytest.mark.parametrize("word", ["TRK001", "trk001", "unused-ignore"])
def test_rule_prints_its_page(project: Project, word: str) -> None:
    page = project.run("rule", word).out
    assert page.startswith("# unused-ignore (TRK001)\n\nSeverity: warning · Fix: safe\n")
    for heading in ("What it does", "Why it costs", "When not to follow it", "Fix level", "References"):
        assert f"## {heading}\n" in page


def test_rule_on_a_terminal_is_coloured(project: Project, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FORCE_COLOR", "1")
    assert "\x1b[" in project.run("rule", "TRK001").out


def test_an_unknown_rule(project: Project) -> None:
    run = project.run("rule", "unused-ignor")
    assert (run.code, "did you mean 'unused-ignore'?" in run.err) == (2, True)


def test_rules_lists_all_with_the_local_ones(project: Project) -> None:
    out = project.run("rules", "--rule-path", "local_rules").out
    assert "TRK001  unused-ignore" in out
    assert "Reports every file. (off by default)" in out
    listed = json.loads(project.run("rules", "--rule-path", "local_rules", "--output-format", "json").out)
    assert {"code": "XYZ101", "name": "mistake", "fix": "safe"}.items() <= listed[-3].items()


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_completion(project: Project, shell: str) -> None:
    script = project.run("completion", shell).out
    assert "_TRICKLINT_COMPLETE" in script
    assert "_TRICKLINT_COMPLETE" in project.run("completion", shell, "--how").out


def test_completion_completes(tmp_path: Path) -> None:
    environment = {"_TRICKLINT_COMPLETE": "bash_complete", "COMP_WORDS": "tricklint check --out", "COMP_CWORD": "2"}
    script = "from tricklint.cli import main; main(prog_name='tricklint')"
    run = subprocess.run([sys.executable, "-c", script], env=environment, capture_output=True, text=True, check=False)
    assert "plain,--output-format" in run.stdout
