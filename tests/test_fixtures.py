"""Every fixture of every rule: what is found where, what the fixes make of it, and that they leave nothing to do.

`fixtures/<rule-name>/bad_<case>.py` marks each finding with `# expect: TRK601` at the end of its line (several codes
with commas), `good_<case>.py` has none, `bad_<case>.fixed.py` is what `--fix --unsafe-fixes` makes of the bad one. A
case of several files is a folder. All default rules run, unless a file's first lines say `# rules: TRK202`; a line
`# config: transfer.similarity = "similar"` is a setting. Only rules that need `--trace` have their tests elsewhere.
"""

from __future__ import annotations

import ast
import re
import shutil
from collections import Counter
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import pytest

from tricklint.check import Options, run
from tricklint.finding import Finding, FixLevel
from tricklint.report import Report
from tricklint.rule import PAGE_HEADINGS, Rule, discover
from tricklint.settings import load

ROOT = Path(__file__).parents[1] / "fixtures"
NO_RULES = {"pills"}
EXPECT = re.compile(r"#\s*expect:\s*([A-Z0-9, ]+?)\s*$", re.MULTILINE)
HEADER = re.compile(r"^#\s*(rules|config):\s*(.+?)\s*$", re.MULTILINE)

RULES = {rule.name: rule for rule in discover()}


def _is_case(path: Path) -> bool:
    named = path.name.startswith(("bad_", "good_")) and not path.stem.endswith(".fixed")
    return named and not path.name.endswith(".fixed") and (path.is_dir() or path.suffix in (".py", ".ipynb"))


def _cases() -> list[Path]:
    folders = [folder for folder in sorted(ROOT.iterdir()) if folder.is_dir() and folder.name not in NO_RULES]
    return [case for folder in folders for case in sorted(folder.iterdir()) if _is_case(case)]


def _twin(case: Path) -> Path:
    return case.with_name(f"{case.name}.fixed") if case.is_dir() else case.with_name(f"{case.stem}.fixed{case.suffix}")


def _files(case: Path) -> Iterator[Path]:
    """Files of a case that hold code, in order."""
    if case.is_dir():
        yield from sorted(path for path in case.rglob("*") if path.suffix in (".py", ".ipynb"))
    else:
        yield case


def _expected(case: Path) -> list[tuple[str, int, str]]:
    """(file, row, code) of every expectation; of a notebook, rows count through its code cells as rules see them."""
    found = []
    for path in _files(case):
        for row, line in enumerate(_text(path).split("\n"), 1):
            for codes in EXPECT.findall(line):
                found += [(path.name, row, code.strip()) for code in codes.split(",")]
    return sorted(found)


def _text(path: Path) -> str:
    from tricklint.source.text import Source

    return Source.read(path).text


def _placed(findings: list[Finding]) -> list[tuple[str, int, str]]:
    return sorted((finding.path.name, finding.location.row, finding.code) for finding in findings)


def _check(case: Path, folder: Path, *, fix: bool = False) -> Report:
    """Run the checker over a case that was copied to `folder`; `fix` applies every fix to the copy."""
    heads = [HEADER.findall(_text(path)) for path in _files(case)]
    rules = [code for head in heads for key, value in head if key == "rules" for code in re.split(r"[,\s]+", value)]
    config = [value for head in heads for key, value in head if key == "config"]
    options = {"select": rules or None, "fix-level": "unsafe"}
    settings = load([folder], isolated=not (folder / "pyproject.toml").exists(), config=config, options=options)
    report = run([folder], settings, Options(fix=fix, cache=False))
    assert not report.problems, [problem.message for problem in report.problems]
    return report


def _copied(case: Path, folder: Path) -> Path:
    folder.mkdir()
    if case.is_dir():
        shutil.copytree(case, folder, dirs_exist_ok=True)
    else:
        shutil.copy(case, folder)
    return folder


@pytest.mark.parametrize("case", _cases(), ids=lambda case: f"{case.parent.name}/{case.name}")
def test_fixture(case: Path, tmp_path: Path) -> None:
    folder = _copied(case, tmp_path / "case")
    found = _check(case, folder).findings
    assert _placed(found) == _expected(case), [finding.message for finding in found]
    assert bool(found) is case.name.startswith("bad_")
    for finding in found:
        _check_level(finding)

    twin = _twin(case)
    if not any(finding.fix for finding in found):
        assert not twin.exists(), "there is a fixed twin, but no finding has a fix"
        return
    assert twin.exists(), "a finding has a fix, but there is no fixed twin"
    mended = _check(case, folder, fix=True)
    assert not mended.notes, mended.notes
    for path in _files(twin):
        name = path.relative_to(twin) if twin.is_dir() else Path(case.name)
        assert (folder / name).read_text() == path.read_text()
        if path.suffix == ".py":
            compile(path.read_text(), str(path), "exec")
    # Nothing is found but what had no fix (a fix may mend that on its way); mending once more changes nothing.
    left = [finding for finding in found if not finding.fix]
    assert Counter(f.code for f in mended.findings) <= Counter(f.code for f in left)
    again = _check(case, folder, fix=True)
    assert not again.fixed and _placed(again.findings) == _placed(mended.findings)


def _check_level(finding: Finding) -> None:
    if finding.fix is None or finding.name not in RULES:
        return
    declared = RULES[finding.name].fix_level
    assert declared is not None, f"{finding.code} has a fix, but declares no fix level"
    assert finding.fix.level.rank >= declared.rank, f"a fix claims to be {finding.fix.level.value}"
    assert finding.fix.level is FixLevel.SAFE or finding.fix.reason, "a fix that is not safe gives no reason"
    assert not (finding.fix.level is FixLevel.SAFE and finding.fix.reason), "a safe fix gives a reason why it is not"


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
    cases = _by_rule().get(rule.name, [])
    assert any(case.name.startswith("bad_") for case in cases), f"fixtures/{rule.name} holds no bad case"
    assert any(case.name.startswith("good_") for case in cases), f"fixtures/{rule.name} holds no good case"
    codes = {code for case in cases for _, _, code in _expected(case)}
    assert rule.code in codes, f"no fixture expects {rule.code}"
    twins = [case for case in cases if _twin(case).exists()]
    assert bool(twins) is (rule.fix_level is not None), "twins and the declared fix level disagree"


@cache
def _by_rule() -> dict[str, list[Path]]:
    found: dict[str, list[Path]] = {}
    for case in _cases():
        found.setdefault(case.parent.name, []).append(case)
    return found


def test_every_folder_belongs_to_a_rule() -> None:
    assert set(_by_rule()) <= set(RULES) | {"unused-ignore"}


def test_every_twin_has_its_bad_case() -> None:
    for folder in {case.parent for case in _cases()}:
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
