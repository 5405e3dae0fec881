"""Every format, read back by somebody else's library where there is one."""

from __future__ import annotations

import json
from pathlib import Path
from xml.etree import ElementTree

import pytest
from sarif import loader
from sarif_pydantic import Sarif

from tests.cli.conftest import LOCAL_RULE, Project
from tricklint.check import known_rules
from tricklint.finding import Edit, Evidence, Finding, Fix, FixLevel, Location, Severity
from tricklint.output import render
from tricklint.output.style import Style, colours_wanted
from tricklint.output.text import _columns
from tricklint.report import Report
from tricklint.settings import OUTPUT_FORMATS, Settings
from tricklint.source import Problem, Source

TRAIN = (
    "import torch\n\n# naïve α\nmodel = build(\n    10,\n)\n\toptimizer = torch.optim.SGD(model.parameters(), lr=0.1)\n"
)


@pytest.fixture
def report(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Report:
    """Findings of every severity and fix level, with evidence in two files, and a notebook."""
    monkeypatch.chdir(tmp_path)
    for name in ("NO_COLOR", "FORCE_COLOR"):
        monkeypatch.delenv(name, raising=False)
    train, models, book = tmp_path / "train.py", tmp_path / "my models.py", tmp_path / "a.ipynb"
    cells = [{"cell_type": "code", "source": "x = 1\nmodel = 2", "metadata": {}, "outputs": []}]
    raw = json.dumps({"cells": [{"cell_type": "markdown", "source": ""}, *cells], "metadata": {}, "nbformat": 4})
    sources = {
        train: Source.from_text(train, TRAIN),
        models: Source.from_text(models, "class Net:\n    bn = 1\n"),
        book: Source.from_text(book, raw),
    }
    here = Location(7, 14), Location(7, 29)
    edit = Edit(train, *here, "torch.optim.AdamW")
    findings = [
        Finding(
            "TRK001",
            "unused-ignore",
            Severity.ERROR,
            "100% wrong: α\nsays so",
            train,
            *here,
            evidence=(
                Evidence(models, Location(2, 5), Location(2, 11), "the norm"),
                Evidence(train, Location(4, 1), Location(6, 2), "built here"),
            ),
            fix=Fix(FixLevel.SAFE, "use AdamW", (edit,)),
        ),
        Finding(
            "TRK001",
            "unused-ignore",
            Severity.ADVICE,
            "in a notebook",
            book,
            Location(2, 1),
            Location(2, 6),
            fix=Fix(FixLevel.UNSAFE, "rewrite it", (Edit(book, Location(2, 1), Location(2, 6), "net"),), "new names"),
        ),
        Finding("XYZ9", "no-such-rule", Severity.WARNING, "of a rule that is gone", train, *here),
    ]
    problems = [Problem(train.with_name("old.py"), 3, "cannot be parsed"), Problem(None, None, "rule crashed")]
    return Report(
        findings,
        problems,
        asked=frozenset({tmp_path / "a.py", tmp_path / "b.py", tmp_path / "c.py"}),
        sources=sources,
        rules=known_rules(Settings(root=tmp_path)),
    )


def shown(report: Report, output_format: str) -> str:
    return render(report, Settings(root=Path.cwd(), output_format=output_format))


def test_sarif_is_read_by_sarif_pydantic(report: Report) -> None:
    log = Sarif.model_validate_json(shown(report, "sarif"))
    (run,) = log.runs
    assert run.results
    error, note, gone = run.results
    assert [result.level.value for result in run.results if result.level] == ["error", "note", "warning"]
    assert error.locations
    physical = error.locations[0].physical_location
    assert physical
    assert physical.artifact_location
    assert physical.artifact_location.uri == "train.py"
    assert physical.region
    assert (physical.region.start_line, physical.region.start_column, physical.region.end_column) == (7, 14, 29)
    assert error.related_locations
    assert len(error.related_locations) == 2
    assert error.fixes  # a safe one
    assert not note.fixes  # an unsafe one
    assert gone.rule_index is None or gone.rule_index < 0


def test_sarif_is_read_by_sarif_tools(report: Report, tmp_path: Path) -> None:
    path = tmp_path / "out.sarif"
    path.write_text(shown(report, "sarif"))
    file = loader.load_sarif_file(str(path))
    assert file.get_distinct_tool_names() == ["tricklint"]
    counts = file.get_report().get_issue_count_for_severity
    assert [counts(severity) for severity in ("error", "warning", "note", "none")] == [1, 1, 1, 0]
    records = file.get_records()
    assert {(record["Location"], record["Line"]) for record in records} == {("train.py", 7), ("a.ipynb", 2)}


def test_sarif_in_detail(report: Report) -> None:
    run = json.loads(shown(report, "sarif"))["runs"][0]
    assert run["columnKind"] == "unicodeCodePoints"
    assert run["invocations"][0]["executionSuccessful"] is False
    assert len(run["invocations"][0]["toolExecutionNotifications"]) == 2
    related = run["results"][0]["relatedLocations"][0]
    assert related["physicalLocation"]["artifactLocation"]["uri"] == "my%20models.py"
    assert run["results"][1]["locations"][0]["logicalLocations"] == [{"name": "cell 1", "kind": "module"}]
    change = run["results"][0]["fixes"][0]["artifactChanges"][0]["replacements"][0]
    assert change["insertedContent"] == {"text": "torch.optim.AdamW"}


def test_text_shows_the_evidence_and_the_fix(report: Report) -> None:
    text = shown(report, "text")
    assert text.splitlines()[:12] == [
        "error[TRK001] unused-ignore: 100% wrong: α says so",
        " --> train.py:7:14",
        "  |",
        "4 | model = build(",
        "  | -------------- built here",
        "...",
        "7 |     optimizer = torch.optim.SGD(model.parameters(), lr=0.1)",
        "  |                 ^^^^^^^^^^^^^^^",
        " ::: my models.py:2:5",
        "2 |     bn = 1",
        "  |     ------ the norm",
        "  = why: This comment silences nothing.",
    ]
    assert "  = fix available (safe): use AdamW (--fix)" in text
    assert "\nadvice (fails no run; `tricklint rule CODE` says why)\na.ipynb:cell 1:2:1: TRK" in text  # one line
    assert text.endswith(
        "Found 3 findings (1 fixable with --fix, 1 more with --unsafe-fixes), 1 of them advice, in 2 files"
    )


def test_advice_is_shown_whole_where_it_makes_the_run_fail(report: Report) -> None:
    text = render(report, Settings(root=Path.cwd(), output_format="text", fail_on=Severity.ADVICE))
    assert " --> a.ipynb:cell 1:2:1" in text
    assert "rewrite it (--unsafe-fixes; new names)" in text
    assert "fails no run" not in text


def test_text_fits_a_hundred_columns(report: Report) -> None:
    path = Path.cwd() / "train.py"
    line = "x = [" + "'été 中文', " * 40 + "torch.optim.SGD(" + "a, " * 100 + ")]"
    start = line.index("torch")
    report.sources = {path: Source.from_text(path, line + "\n")}
    long = Finding("TRK001", "x", Severity.ERROR, "word " * 60, path, Location(1, start + 1), Location(1, start + 16))
    evidence = Evidence(path, Location(1, 6), Location(1, len(line)), "evidence " * 20)
    report.findings = [
        long,
        Finding(*[getattr(long, name) for name in ("code", "name", "severity", "message", "path")], Location(1, 1),
                Location(1, len(line)), evidence=(evidence,)),
    ]  # fmt: skip
    for row in shown(report, "text").splitlines():
        assert _columns(row) <= 100, row
    assert "torch.optim.SGD" in shown(report, "text")


def test_colours_only_where_wanted(report: Report, monkeypatch: pytest.MonkeyPatch) -> None:
    assert not colours_wanted()
    assert "\x1b" not in shown(report, "text")
    monkeypatch.setenv("FORCE_COLOR", "1")
    assert "\x1b[1;31merror[TRK001]\x1b[0m" in shown(report, "text")
    monkeypatch.setenv("NO_COLOR", "1")
    assert not colours_wanted()
    assert Style(True).bold("") == ""


def test_concise(report: Report) -> None:
    assert shown(report, "concise").splitlines()[:3] == [
        "train.py:7:14: TRK001 unused-ignore [*]: 100% wrong: α says so",
        "train.py:7:14: XYZ9 no-such-rule: of a rule that is gone",
        "a.ipynb:cell 1:2:1: TRK001 unused-ignore: in a notebook",  # advice comes last
    ]


def test_github(report: Report) -> None:
    lines = shown(report, "github").splitlines()
    assert lines[0] == (
        "::error title=tricklint TRK001 unused-ignore,file=train.py,line=7,col=14,endLine=7,endColumn=29"
        "::100%25 wrong: α%0Asays so"
    )
    assert lines[1].startswith("::notice ")
    assert "::cell 1: in a notebook" in lines[1]
    assert lines[3] == "::error title=tricklint,file=old.py,line=3::cannot be parsed"


def test_gitlab_paths_start_at_the_repository(report: Report, monkeypatch: pytest.MonkeyPatch) -> None:
    top = Path.cwd()
    (top / ".git").mkdir()
    below = top / "below"
    below.mkdir()
    monkeypatch.chdir(below)
    assert [item["location"]["path"] for item in json.loads(shown(report, "gitlab"))] == [
        "train.py",
        "a.ipynb",
        "train.py",
    ]


def test_gitlab(report: Report) -> None:
    items = json.loads(shown(report, "gitlab"))
    assert [item["severity"] for item in items] == ["critical", "minor", "major"]
    assert items[0]["location"] == {"path": "train.py", "lines": {"begin": 7, "end": 7}}
    report.findings = [report.findings[0]] * 3
    assert len({item["fingerprint"] for item in json.loads(shown(report, "gitlab"))}) == 3


def test_junit(report: Report) -> None:
    suites = ElementTree.fromstring(shown(report, "junit"))
    assert (suites.get("failures"), suites.get("errors")) == ("3", "2")
    assert len(suites.findall(".//failure")) == 3
    assert len(suites.findall(".//error")) == 2


@pytest.mark.parametrize("output_format", OUTPUT_FORMATS)
def test_an_empty_report_is_valid_too(output_format: str, tmp_path: Path) -> None:
    text = render(Report(), Settings(root=tmp_path, output_format=output_format))
    if output_format in ("json", "gitlab"):
        assert json.loads(text) == []
    elif output_format == "sarif":
        assert Sarif.model_validate_json(text).runs[0].results == []
    elif output_format == "junit":
        assert ElementTree.fromstring(text).get("failures") == "0"


@pytest.mark.parametrize("output_format", OUTPUT_FORMATS)
def test_every_format_on_the_command_line(output_format: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    project = Project(tmp_path)
    assert LOCAL_RULE
    project.write({"a.py": "mistake = 1\n"})
    run = project.check("--output-format", output_format)
    assert run.code == 1
    assert "a.py" in run.out
