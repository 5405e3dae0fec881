"""Tests for rules of your own: the fixture test that tricklint's own rules pass.

A folder of fixtures holds `bad_<case>.py` with `# expect: XYZ101` at the end of each line where a finding starts
(several codes with commas), `good_<case>.py` without any, and `bad_<case>.fixed.py` for what the fixes make of a bad
case. A case of several files is a folder of that name. A file's first lines may say `# rules: TRK202` (which rules run)
and `# config: transfer.similarity = "similar"` (a setting).

```python
from tricklint.testing import check_fixtures

def test_my_rule():
    check_fixtures(MyRule, "fixtures/my-rule")
```
"""

from __future__ import annotations

import difflib
import re
import shutil
import tempfile
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from tricklint.check import Options, run
from tricklint.finding import Finding, FixLevel
from tricklint.report import Report
from tricklint.rule import Rule
from tricklint.settings import load
from tricklint.source.text import Source

EXPECT = re.compile(r"#\s*expect:\s*([A-Z0-9, ]+?)\s*$", re.MULTILINE)
HEADER = re.compile(r"^#\s*(rules|config):\s*(.+?)\s*$", re.MULTILINE)
_SUFFIXES = (".py", ".ipynb")

Placed = tuple[str, int, str]  # file, row, code


@dataclass(frozen=True)
class Case:
    """One fixture: a file or a folder."""

    path: Path

    @property
    def is_bad(self) -> bool:
        return self.path.name.startswith("bad_")

    @property
    def twin(self) -> Path:
        """What the fixes make of it stands there, if they make anything."""
        path = self.path
        if path.is_dir():
            return path.with_name(f"{path.name}.fixed")
        return path.with_name(f"{path.stem}.fixed{path.suffix}")

    def files(self) -> Iterator[Path]:
        return _files(self.path)

    def expected(self) -> list[Placed]:
        """Every expectation; of a notebook, rows count through its code cells as rules see them."""
        found = []
        for path in self.files():
            for row, line in enumerate(Source.read(path).text.split("\n"), 1):
                for codes in EXPECT.findall(line):
                    found += [(path.name, row, code.strip()) for code in codes.split(",")]
        return sorted(found)


def _files(path: Path) -> Iterator[Path]:
    """Files that hold code, in order."""
    if path.is_dir():
        yield from sorted(one for one in path.rglob("*") if one.suffix in _SUFFIXES)
    else:
        yield path


def cases(folder: str | Path) -> list[Case]:
    """The cases in one folder of fixtures, in order."""
    return [Case(path) for path in sorted(Path(folder).iterdir()) if _is_case(path)]


def _is_case(path: Path) -> bool:
    named = path.name.startswith(("bad_", "good_")) and not path.stem.endswith(".fixed")
    return named and not path.name.endswith(".fixed") and (path.is_dir() or path.suffix in _SUFFIXES)


def placed(findings: list[Finding]) -> list[Placed]:
    return sorted((finding.path.name, finding.location.row, finding.code) for finding in findings)


def check_fixtures(rule: type[Rule] | Rule, folder: str | Path) -> None:
    """Hold a rule against its folder of fixtures. Raises AssertionError that names the case and what is wrong with it.

    There must be a bad and a good case. Only this rule runs, unless a case says otherwise. What is found is what is
    expected, the fixes make what the twin shows, mend all that had one, and have nothing to do a second time.
    """
    made = rule() if isinstance(rule, type) else rule
    found = cases(folder)
    for kind in ("bad_", "good_"):
        assert any(case.path.name.startswith(kind) for case in found), f"{folder} holds no {kind}<case>"
    codes = {code for case in found for _, _, code in case.expected()}
    assert made.code in codes, f"{folder}: no case expects {made.code}"
    for case in found:
        with tempfile.TemporaryDirectory() as place:
            check_case(case, Path(place) / "case", {made.name: made}, select=[made.code])


def check_case(case: Case, folder: Path, rules: dict[str, Rule], select: list[str] | None = None) -> None:
    """Hold the rules against one case, copied to `folder`, which must not exist yet. `rules`, by their names, declare
    the levels of fixes; `select` is what runs, all when it is None. Raises AssertionError."""
    more = tuple(rules.values()) if select else ()
    _copy(case.path, folder)
    found = _check(case, folder, more, select).findings
    shown = [f"{finding.path.name}:{finding.location.row}: {finding.code} {finding.message}" for finding in found]
    assert placed(found) == case.expected(), f"{case.path}: expected {case.expected()}, found {shown or 'nothing'}"
    assert bool(found) is case.is_bad, f"{case.path}: a bad case has findings, a good one has none"
    for finding in found:
        _check_level(case, finding, rules.get(finding.name))

    twin = case.twin
    if not any(finding.fix for finding in found):
        assert not twin.exists(), f"{twin}: there is a fixed twin, but no finding has a fix"
        return
    assert twin.exists(), f"{case.path}: a finding has a fix, but there is no fixed twin {twin.name}"
    mended = _check(case, folder, more, select, fix=True)
    assert not mended.notes, f"{case.path}: {mended.notes}"
    for path in _files(twin):
        name = path.relative_to(twin) if twin.is_dir() else Path(case.path.name)
        made, wanted = (folder / name).read_text(), path.read_text()
        assert made == wanted, f"{path}: the fix makes something else:\n{_between(wanted, made, path.name)}"
        if path.suffix == ".py":
            compile(path.read_text(), str(path), "exec")
    # Nothing is found but what had no fix (a fix may mend that on its way); mending once more changes nothing.
    left = Counter(finding.code for finding in found if not finding.fix)
    assert Counter(f.code for f in mended.findings) <= left, f"{case.path}: {placed(mended.findings)} after the fix"
    again = _check(case, folder, more, select, fix=True)
    unchanged = not again.fixed and placed(again.findings) == placed(mended.findings)
    assert unchanged, f"{case.path}: a second fix changes what the first one made"


def _between(wanted: str, made: str, name: str) -> str:
    rows = difflib.unified_diff(
        wanted.splitlines(), made.splitlines(), f"{name}, as it is", "what the fix makes", lineterm=""
    )
    return "\n".join(rows)


def _copy(path: Path, folder: Path) -> None:
    folder.mkdir()
    if path.is_dir():
        shutil.copytree(path, folder, dirs_exist_ok=True)
    else:
        shutil.copy(path, folder)


def _check(case: Case, folder: Path, more: tuple[Rule, ...], select: list[str] | None, *, fix: bool = False) -> Report:
    """Check the copy; `fix` applies every fix to it."""
    heads = [HEADER.findall(Source.read(path).text) for path in case.files()]
    rules = [code for head in heads for key, value in head if key == "rules" for code in re.split(r"[,\s]+", value)]
    config = [value for head in heads for key, value in head if key == "config"]
    options = {"select": rules or select, "fix-level": "unsafe"}
    settings = load([folder], isolated=not (folder / "pyproject.toml").exists(), config=config, options=options)
    report = run([folder], settings, Options(fix=fix, cache=False, rules=more))
    assert not report.problems, f"{case.path}: {[problem.message for problem in report.problems]}"
    return report


def _check_level(case: Case, finding: Finding, rule: Rule | None) -> None:
    if finding.fix is None or rule is None:
        return
    where, level = f"{case.path}: {finding.code}", finding.fix.level
    assert rule.fix_level is not None, f"{where} has a fix, but declares no fix_level"
    assert level.rank >= rule.fix_level.rank, f"{where}: a fix claims to be {level.value}"
    assert level is FixLevel.SAFE or finding.fix.reason, f"{where}: a fix that is not safe gives no reason"
    assert not (level is FixLevel.SAFE and finding.fix.reason), f"{where}: a safe fix gives a reason why it is not"
