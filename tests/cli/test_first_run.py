"""A first run that starts green: baselines, changed rows only, the nearest configuration, and what a run would look at."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path

import pytest

from tests.cli.conftest import Project
from tricklint.since import changed_rows

LINE = "import torch\nmistake = 1\n"


def git(project: Project, *args: str) -> None:
    identity = ("-c", "user.name=a", "-c", "user.email=a@example.org", "-c", "commit.gpgsign=false")
    subprocess.run(["git", *identity, *args], cwd=project.root, check=True, capture_output=True)


# -- baseline ---------------------------------------------------------------------------------------------------------


def test_a_baseline_makes_the_first_run_green_and_new_findings_red(project: Project) -> None:
    project.write({"a.py": LINE, "pkg/b.py": "import torch\nmistake = call(\n    1,\n)\nmistake = call(\n    1,\n)\n"})
    wrote = project.check("--write-baseline")
    assert (wrote.code, wrote.out) == (0, "")
    assert "Wrote 3 known findings to .tricklint-baseline.json; --baseline .tricklint-baseline.json" in wrote.err
    entries = json.loads(project.read(".tricklint-baseline.json"))["findings"]
    assert entries == [
        {"path": "a.py", "code": "XYZ101", "text": "mistake = 1"},
        {"path": "pkg/b.py", "code": "XYZ101", "text": "mistake = call( 1, )", "count": 2},
    ]
    assert project.check("--baseline", ".tricklint-baseline.json").code == 0
    project.configure('baseline = ".tricklint-baseline.json"')
    # Code above moves, and the statement is laid out anew: it is still the same one.
    project.write({"a.py": "import torch\n\n\nmistake =  1\n"})
    clean = project.check()
    assert (clean.code, clean.out, clean.err) == (0, "All clean in 2 files\n", "")
    project.write({"a.py": LINE + "mistake = 1\n"})
    new = project.check("--output-format", "json")
    assert [finding["location"]["row"] for finding in new.json] == [3]


def test_what_matches_nothing_any_more_is_said_and_taken_out(project: Project) -> None:
    project.configure('baseline = "known.json"')
    project.write({"a.py": LINE, "b.py": LINE, "c.py": LINE})
    project.check("--write-baseline")
    project.write({"a.py": "import torch\n"})
    (project.root / "c.py").unlink()
    run = project.check()
    assert run.code == 0
    assert (
        "note: known.json: matches nothing any more: a.py: XYZ101 mistake = 1 and 1 more; --write-baseline" in run.err
    )
    assert project.check("b.py").err.count("a.py") == 0  # nobody asked for that file
    assert "matches nothing" not in project.check("--select", "TRK").err  # that rule did not run
    project.check("a.py", "--write-baseline")
    entries = json.loads(project.read("known.json"))["findings"]
    assert [entry["path"] for entry in entries] == ["b.py"]
    assert project.check().err == ""


def test_a_baseline_is_not_mended(project: Project) -> None:
    project.configure('baseline = "known.json"')
    project.write({"a.py": LINE})
    project.check("--write-baseline")
    project.write({"a.py": LINE + "mistake = 2\n"})
    assert project.check("--fix").code == 0
    assert project.read("a.py") == LINE + "mended = 2\n"


@pytest.mark.parametrize("text", ["{", "[]", '{"version": 2}', '{"version": 1, "findings": [{"path": 1}]}', "{}"])
def test_a_baseline_that_is_none(project: Project, text: str) -> None:
    project.write({"a.py": LINE, "known.json": text})
    run = project.check("--baseline", "known.json")
    assert run.code == 2
    assert run.err.startswith("Error: known.json: ")
    assert len(run.err.splitlines()) == 1
    missing = project.check("--baseline", "nowhere.json")
    assert (missing.code, len(missing.err.splitlines())) == (2, 1)


# -- since ------------------------------------------------------------------------------------------------------------


def test_since_reports_changed_rows_only(project: Project) -> None:
    git(project, "init", "-q")
    project.write({"a.py": LINE, "b.py": LINE})
    git(project, "add", ".")
    git(project, "commit", "-qm", "one")
    assert project.check("--since", "HEAD").code == 0
    project.write({"a.py": "import torch\nx = mistake\nmistake = 1\n", "new.py": LINE})
    run = project.check("--since", "HEAD", "--output-format", "json")
    assert [(f["filename"], f["location"]["row"]) for f in run.json] == [("a.py", 2), ("new.py", 2)]
    assert project.check("--since", "HEAD", "--fix").code == 0
    assert project.read("a.py") == "import torch\nx = mended\nmistake = 1\n"
    assert project.read("b.py") == LINE


@pytest.mark.parametrize("revision", ["nothing", "--output=x", ""])
def test_since_names_what_is_no_revision(project: Project, revision: str) -> None:
    git(project, "init", "-q")
    run = project.check(f"--since={revision}")
    assert (run.code, run.err) == (2, f"Error: --since: no revision is called '{revision}'\n")


def test_since_needs_a_repository(project: Project) -> None:
    run = project.check("--since", "HEAD")
    assert run.code == 2
    assert "lies in no git repository" in run.err


@pytest.mark.parametrize(
    ("before", "after", "rows"),
    [
        ("abc", "abc", []),
        ("abc", "axbc", [2]),
        ("abc", "ac", []),
        ("", "ab", [1, 2]),
        ("aab", "aaab", [3]),
        ("abc", "xbz", [1, 3]),
    ],
)
def test_changed_rows(before: str, after: str, rows: list[int]) -> None:
    assert sorted(changed_rows(list(before), list(after))) == rows


# -- the nearest configuration ----------------------------------------------------------------------------------------


def monorepo(project: Project) -> None:
    rules = 'rule-paths = ["{}local_rules"]\n'
    project.write(
        {
            "a.py": LINE,
            "pkg_a/train.py": LINE,
            "pkg_a/old/x.py": LINE,
            "pkg_a/tricklint.toml": rules.format("../") + 'fail-on = "error"\nextend-exclude = ["old"]\n',
            "pkg_a/inner/pyproject.toml": f"[tool.tricklint]\n{rules.format('../../')}ignore = ['XYZ101']\n",
            "pkg_a/inner/y.py": LINE,
            "pkg b/pyproject.toml": "[project]\nname = 'b'\n",
            "pkg b/z.py": LINE,
        }
    )


def test_each_file_has_its_nearest_configuration(project: Project) -> None:
    monorepo(project)
    found = [finding["filename"] for finding in project.json()]
    assert found == ["a.py", "pkg b/z.py", "pkg_a/train.py"]
    assert [finding["filename"] for finding in project.json("pkg_a")] == ["pkg_a/train.py"]
    assert [f["filename"] for f in project.json("pkg_a/train.py", "pkg_a/inner/y.py", "a.py")] == [
        "a.py",
        "pkg_a/train.py",
    ]
    assert project.check("pkg_a").code == 0  # that folder fails on errors only
    assert project.check("pkg_a", "a.py").code == 1
    assert project.check("--isolated", "--show-files").out.split("\n")[:-1] == [
        "a.py",
        "local_rules/mistake.py",
        "pkg b/z.py",
        "pkg_a/inner/y.py",
        "pkg_a/old/x.py",
        "pkg_a/train.py",
    ]
    assert project.check("--show-files").out == "a.py\npkg b/z.py\npkg_a/inner/y.py\npkg_a/train.py\n"
    shown = project.check("--show-settings").out
    assert shown.count("# rules that run:") == 3
    assert "# pkg_a/tricklint.toml; project " in shown
    assert 'fail-on = "error"' in shown
    assert "TRK705" in shown
    assert "TRK706" not in shown  # it needs --trace


def test_a_wrong_configuration_below_is_named(project: Project) -> None:
    monorepo(project)
    project.write({"pkg_a/tricklint.toml": "selct = []\n"})
    run = project.check()
    assert (run.code, len(run.err.splitlines())) == (2, 1)
    assert "pkg_a/tricklint.toml:1: selct: unknown key" in run.err


def test_tricklint_toml_stands_before_pyproject(project: Project) -> None:
    project.write(
        {
            "a.py": LINE,
            "tricklint.toml": 'extend-exclude = ["local_rules"]\nrule-paths = ["local_rules"]\nignore = ["mistake"]\n',
        }
    )
    run = project.check("a.py")
    assert (run.code, run.err) == (0, "")


def test_extend(project: Project) -> None:
    project.write(
        {
            "base/shared.toml": 'rule-paths = ["../local_rules"]\nfail-on = "error"\nextend-exclude = ["old"]\n',
            "pyproject.toml": '[tool.tricklint]\nextend = "base/shared.toml"\nextend-exclude = ["local_rules"]\n',
            "a.py": LINE,
            "old/b.py": LINE,
        }
    )
    run = project.check("--output-format", "json")
    assert (run.code, [finding["filename"] for finding in run.json]) == (0, ["a.py"])
    project.write({"base/shared.toml": 'extend = "../pyproject.toml"\n'})
    assert "extends itself" in project.check().err
    project.write({"pyproject.toml": '[tool.tricklint]\nextend = "nowhere.toml"\n'})
    run = project.check()
    assert (run.code, len(run.err.splitlines())) == (2, 1)
    assert "extend: nowhere.toml is no file" in run.err


def test_a_configuration_file_that_is_named(project: Project) -> None:
    project.write(
        {
            "a.py": LINE,
            "ci/strict.toml": 'extend-exclude = ["local_rules"]\nrule-paths = ["../local_rules"]\nselect = ["XYZ1"]\nfail-on = "error"\n',
        }
    )
    run = project.check("a.py", "--config", "ci/strict.toml")
    assert (run.code, run.err) == (0, "")
    assert project.check("a.py", "--config", "ci/strict.toml", "--config", "fail-on=warning").code == 1
    missing = project.check("--config", "ci/nowhere.toml")
    assert (missing.code, missing.err) == (2, "Error: --config: ci/nowhere.toml does not exist\n")


# -- selectors --------------------------------------------------------------------------------------------------------


def test_a_pattern_that_is_turned_round(project: Project) -> None:
    project.write({"train/a.py": LINE, "tests/b.py": LINE, "c.py": LINE})
    project.configure('per-file-ignores = { "!train/**" = ["XYZ101"] }')
    assert [finding["filename"] for finding in project.json()] == ["train/a.py"]


@pytest.mark.parametrize("words", [("--select", ""), ("--ignore", " , "), ("--extend-select", ",")])
def test_a_selector_that_names_nothing(project: Project, words: tuple[str, str]) -> None:
    run = project.check(*words)
    assert (run.code, run.err) == (2, f"Error: command line: {words[0][2:]}: names no rule\n")


def test_what_is_configured_in_vain_is_said(project: Project) -> None:
    project.write({"a.py": "import torch\n", "tests/b.py": "import torch\n"})
    project.configure('per-file-ignores = { "tests/*" = ["TRK5"], "test/*" = ["TRK5"], "!tests/*" = ["TRK6"] }')
    assert project.check().err == "note: per-file-ignores 'test/*': no file matches\n"
    assert project.check("a.py").err == ""  # what other files there are was not asked
    run = project.check("a.py", "--select", "unused-parameter")
    assert run.err == "note: TRK706 (unused-parameter) was selected and did not run: it needs --trace\n"
    assert project.check("a.py", "--select", "TRK").err == ""


def test_a_table_for_pyproject_in_a_tricklint_toml(project: Project) -> None:
    project.write({"a.py": LINE, "tricklint.toml": "[tool.tricklint]\nselect = []\n"})
    run = project.check("a.py")
    assert (run.code, len(run.err.splitlines())) == (2, 1)
    assert "[tool.tricklint] is for a pyproject.toml; here its keys stand without it" in run.err


def test_what_only_shows_findings_asks_no_rule_again(project: Project, monkeypatch: pytest.MonkeyPatch) -> None:
    from tricklint import check

    project.write({"a.py": LINE})
    project.check("--write-baseline", cache=True)
    monkeypatch.setattr(check, "ask", None)
    options = ("--baseline", ".tricklint-baseline.json", "--fail-on", "error", "--output-format", "json")
    assert project.check(*options, cache=True).json == []


# -- what is shown ----------------------------------------------------------------------------------------------------


def test_quiet_shows_findings_only(project: Project) -> None:
    project.write({"a.py": LINE})
    run = project.check("-q", "--output-format", "concise")
    assert run.out == "a.py:2:1: XYZ101 mistake [*]: mistake here\n"
    project.write({"a.py": "import torch\n"})
    assert project.check("-q").out == ""


def test_fix_only(project: Project) -> None:
    project.write({"a.py": LINE + "mistake_stubborn = 1\n"})
    run = project.check("--fix-only")
    assert (run.code, run.out, run.err) == (0, "", "Mended 1 finding\n")
    assert project.read("a.py") == "import torch\nmended = 1\nmistake_stubborn = 1\n"


def test_exclude_on_the_command_line(project: Project) -> None:
    project.write({"a.py": LINE, "old/b.py": LINE, "build/c.py": LINE})
    assert [finding["filename"] for finding in project.json("--exclude", "old")] == ["a.py"]


def test_force_exclude_looks_below_the_project_only(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    inside = tmp_path / "build" / "project"
    inside.mkdir(parents=True)
    monkeypatch.chdir(inside)
    project = Project(inside)
    project.write({"a.py": LINE, "dist/b.py": LINE})
    run = project.check("--force-exclude", "a.py", "dist/b.py", "--output-format", "json")
    assert [finding["filename"] for finding in run.json] == ["a.py"]


def test_a_file_never_holds_escapes(project: Project, monkeypatch: pytest.MonkeyPatch) -> None:
    project.write({"a.py": LINE + "mistake_advice = 1\n"})
    monkeypatch.setenv("FORCE_COLOR", "1")
    assert "\x1b[" in project.check().out
    for form in ("text", "concise"):
        project.check("--output-format", form, "-o", "out.txt")
        assert "\x1b" not in project.read("out.txt")


def test_statistics_obey_the_format(project: Project) -> None:
    project.write({"a.py": LINE})
    (row,) = project.check("--statistics", "--output-format", "json").json
    assert row == {"code": "XYZ101", "name": "mistake", "severity": "warning", "count": 1, "fixable": 1, "refused": 0}
    assert project.check("--statistics", "--output-format", "sarif").code == 2


def test_show_files_names_what_is_not_there(project: Project) -> None:
    run = project.check("--show-files", "nowhere.py")
    assert (run.code, run.err) == (2, "error: nowhere.py: does not exist\n")


@pytest.mark.parametrize("words", [("--write-baseline", "--fix"), ("--watch", "-"), ("--watch", "--fix")])
def test_what_does_not_go_together(project: Project, words: tuple[str, ...]) -> None:
    assert project.check(*words).code == 2


def test_watch_checks_again(project: Project, monkeypatch: pytest.MonkeyPatch) -> None:
    import watchfiles

    project.write({"a.py": LINE})

    def one_change(*args: object, watch_filter: object, **kwargs: object) -> object:
        assert watch_filter(1, str(project.root / "a.py"))  # type: ignore[operator]
        assert watch_filter(1, str(project.root / "pyproject.toml"))  # type: ignore[operator]
        assert not watch_filter(1, str(project.root / "notes.txt"))  # type: ignore[operator]
        yield set()  # nothing yet, but from now on changes are seen
        project.write({"a.py": "import torch\n"})
        yield {(1, "a.py")}
        yield set()
        project.write({"pyproject.toml": "[tool.tricklint]\nselct = 1\n"})
        yield {(1, "pyproject.toml")}

    monkeypatch.setattr(watchfiles, "watch", one_change)
    run = project.check("--watch")
    assert run.code == 0
    assert run.out.index("Found 1 finding") < run.out.index("All clean")
    assert "selct: unknown key" in run.err
    assert run.err.count("Watching for changes") == 3


def test_rules_complete_in_the_shell(project: Project, monkeypatch: pytest.MonkeyPatch) -> None:
    from click.testing import CliRunner

    from tricklint.cli import main

    def offers(words: str, index: int) -> str:
        env = {"_TRICKLINT_COMPLETE": "bash_complete", "COMP_WORDS": words, "COMP_CWORD": str(index)}
        return CliRunner().invoke(main, prog_name="tricklint", env=env).stdout

    assert "XYZ101" not in offers("tricklint check --select XYZ1", 3)  # a key pressed runs no code of the project
    project.write({"home/tricklint/tricklint.toml": f"trusted-projects = ['{project.root}']"})
    monkeypatch.setenv("XDG_CONFIG_HOME", str(project.root.parent / "own"))
    (project.root / "home").rename(project.root.parent / "own")
    assert "plain,XYZ101" in offers("tricklint check --select XYZ1", 3)
    assert "plain,TRK601,XYZ101" in offers("tricklint check --ignore TRK601,xyz1", 3)
    assert "plain,decay-on-bias-norm" in offers("tricklint rule decay", 2)


def test_a_baseline_is_written_whole_or_not_at_all(project: Project) -> None:
    project.write({"a.py": LINE, "taken/x": ""})
    run = project.check("--write-baseline", "--baseline", "taken/nowhere/known.json")
    assert (run.code, len(run.err.splitlines())) == (2, 1)
    project.write({"known.json": "something of mine"})
    assert project.check("--write-baseline", "--baseline", "known.json").code == 2
    assert project.read("known.json") == "something of mine"  # no baseline: never written over
    project.check("--write-baseline")
    assert [path.name for path in project.root.iterdir() if path.name.endswith(".tmp")] == []


def test_the_format_is_that_of_what_the_paths_have_in_common(project: Project) -> None:
    monorepo(project)
    project.configure('output-format = "json"')
    found = project.check("pkg_a", "a.py").json
    assert [finding["filename"] for finding in found] == ["a.py", "pkg_a/train.py"]
