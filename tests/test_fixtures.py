"""Every fixture of every rule: what is found where, what the fixes make of it, and that they leave nothing to do.

`tricklint.testing` says how fixtures are written. All default rules run, unless a file says otherwise. Only rules that
need `--trace` have their tests elsewhere.
"""

from __future__ import annotations

import ast
import re
from functools import cache
from pathlib import Path

import pytest

from tricklint.check import Options, run
from tricklint.report import Report
from tricklint.rule import PAGE_HEADINGS, Rule, discover
from tricklint.settings import load
from tricklint.testing import Case, cases, check_case

ROOT = Path(__file__).parents[1] / "fixtures"
NO_RULES = {"pills"}

RULES = {rule.name: rule for rule in discover()}


def _cases() -> list[Case]:
    folders = [folder for folder in sorted(ROOT.iterdir()) if folder.is_dir() and folder.name not in NO_RULES]
    return [case for folder in folders for case in cases(folder)]


@pytest.mark.parametrize("case", _cases(), ids=lambda case: f"{case.path.parent.name}/{case.path.name}")
def test_fixture(case: Case, tmp_path: Path) -> None:
    check_case(case, tmp_path / "case", RULES)


# -- rules and their pages -------------------------------------------------------------------------------------------

STATIC = [rule for rule in RULES.values() if not rule.needs_trace]


@pytest.mark.parametrize("rule", RULES.values(), ids=lambda rule: rule.code)
def test_a_rule_says_what_it_is(rule: Rule) -> None:
    assert re.fullmatch(r"TRK[1-7]0\d", rule.code) and re.fullmatch(r"[a-z0-9]+(-[a-z0-9]+)+", rule.name)
    assert rule.summary and "\n" not in rule.summary and rule.trick and rule.triggers
    headings = re.findall(r"^## (.+)$", rule.page, re.MULTILINE)
    assert tuple(headings) == PAGE_HEADINGS
    for heading in PAGE_HEADINGS:
        assert _section(rule, heading), f"nothing stands below {heading!r}"
    assert Path(type(rule).__module__.replace(".", "/")).name == rule.name.replace("-", "_")


def test_codes_and_names_are_used_once() -> None:
    rules = discover()
    assert len({rule.code for rule in rules}) == len(rules) == len({rule.name for rule in rules})


@pytest.mark.parametrize("rule", STATIC, ids=lambda rule: rule.code)
def test_a_rule_has_fixtures(rule: Rule) -> None:
    mine = _by_rule().get(rule.name, [])
    assert any(case.is_bad for case in mine), f"fixtures/{rule.name} holds no bad case"
    assert any(not case.is_bad for case in mine), f"fixtures/{rule.name} holds no good case"
    codes = {code for case in mine for _, _, code in case.expected()}
    assert rule.code in codes, f"no fixture expects {rule.code}"
    twins = [case for case in mine if case.twin.exists()]
    assert bool(twins) is (rule.fix_level is not None), "twins and the declared fix level disagree"


@cache
def _by_rule() -> dict[str, list[Case]]:
    found: dict[str, list[Case]] = {}
    for case in _cases():
        found.setdefault(case.path.parent.name, []).append(case)
    return found


def test_every_folder_belongs_to_a_rule() -> None:
    assert set(_by_rule()) <= set(RULES) | {"unused-ignore"}


def test_every_twin_has_its_bad_case() -> None:
    for folder in {case.path.parent for case in _cases()}:
        for twin in folder.glob("*.fixed*"):
            original = twin.with_name(twin.name.replace(".fixed", ""))
            assert original.exists(), f"{twin} mends nothing"


def _section(rule: Rule, heading: str) -> str:
    _, _, rest = rule.page.partition(f"## {heading}\n")
    return rest.split("\n## ")[0].strip()


def _blocks(text: str, language: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```", text, re.MULTILINE | re.DOTALL)


@pytest.mark.parametrize("rule", STATIC, ids=lambda rule: rule.code)
def test_the_examples_of_a_page_are_true(rule: Rule, tmp_path: Path) -> None:
    """The example has the finding, what stands after the fix has not, and is what the fix makes if there is one."""
    before = _blocks(_section(rule, "Example"), "python")
    after = _blocks(_section(rule, "After the fix"), "python")
    assert before and after, "a page shows code before and after"
    for block in (*before, *after):
        ast.parse(block)
    toml = "\n".join(_blocks(_section(rule, "Example"), "toml"))
    found = _example(rule, before, tmp_path / "before", toml)
    assert found.findings, f"the example has no {rule.code}"
    assert not _example(rule, after, tmp_path / "after", toml).findings, f"the mended example still has {rule.code}"
    if all(finding.fix for finding in found.findings):
        _example(rule, before, tmp_path / "mended", toml, fix=True)
        mended = [path.read_text() for path in sorted((tmp_path / "mended").glob("*.py"))]
        assert mended == after


def _example(rule: Rule, blocks: list[str], folder: Path, toml: str, fix: bool = False) -> Report:
    folder.mkdir()
    if toml:
        (folder / "pyproject.toml").write_text(toml)
    for number, block in enumerate(blocks):
        (folder / f"example_{number}.py").write_text(block)
    options = {"select": [rule.code], "fix-level": "unsafe"}
    settings = load([folder], isolated=not toml, options=options)
    report = run([folder], settings, Options(fix=fix, cache=False))
    assert not report.problems, [problem.message for problem in report.problems]
    return report
