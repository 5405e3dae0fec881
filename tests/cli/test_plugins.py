"""Rules of others: what is wrong with one is said in a line, and the fixture test is theirs too."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.cli.conftest import LOCAL_RULE, Project
from tricklint.testing import check_fixtures

HEAD = "from tricklint.finding import Finding, FixLevel, Location, Severity\nfrom tricklint.rule import Rule\n"
RULE = """
class Mine(Rule):
    code = "ABC1"
    name = "my-rule"
    summary = "Mine."
    severity = Severity.WARNING
    triggers = ("torch",)

    def check(self, program):
        return ()
"""


@pytest.mark.parametrize(
    ("old", "new", "says"),
    [
        ('    name = "my-rule"\n', "", 'class Mine: needs a name like "my-rule", has None'),
        ('"my-rule"', '"My rule"', "needs a name like \"my-rule\", has 'My rule'"),
        ('    code = "ABC1"\n', "", 'class Mine: needs a code like "XYZ101", has None'),
        ('    summary = "Mine."\n', "", "needs a summary of one line"),
        ("Severity.WARNING", '"warning"', "needs a severity like Severity.WARNING, has 'warning'"),
        ('("torch",)', '("torch")', "triggers is a tuple of words like (\"optim\",), not 'torch'"),
        ("def check", "def chekc", "needs a method check(self, program)"),
        (
            "return ()",
            "return ()\n\n    def __init__(self):\n        raise ValueError('no')",
            "class Mine: ValueError: no",
        ),
        ("class Mine", "import sys\nsys.exit(3)\nclass Mine", "mine.py: SystemExit: 3"),
        ("ABC1", "TRK601", "two rules claim the code TRK601: "),
        ("my-rule", "decay-on-bias-norm", "two rules claim the name decay-on-bias-norm: TRK601 and ABC1"),
        ("return ()", 'yield "wrong"', "rule ABC1 (my-rule) yielded str 'wrong', not a Finding"),
        ("return ()", "return None", "rule ABC1 (my-rule) returned NoneType, not findings"),
        ("return ()", "return 1 / 0", "ZeroDivisionError: division by zero; TRICKLINT_TRACEBACK=1 shows more"),
        (
            "return ()",
            'yield Finding("ABC1", "my-rule", Severity.WARNING, "x", "a.py", Location(1, 1), Location(1, 2))',
            "yielded a Finding whose path is 'a.py', not a Path",
        ),
    ],
)
def test_what_is_wrong_with_a_rule_is_one_line(project: Project, old: str, new: str, says: str) -> None:
    assert old in RULE
    project.write({"local_rules/mine.py": HEAD + RULE.replace(old, new), "a.py": "import torch\n"})
    run = project.check()
    assert run.code == 2
    assert len(run.err.splitlines()) == 1
    assert says in run.err


def test_a_rule_path_without_a_rule_is_a_mistake(project: Project) -> None:
    project.write({"helpers/words.py": "WORDS = ()\n", "a.py": "import torch\n"})
    run = project.check("--rule-path", "helpers", "a.py")
    assert run.code == 2
    assert run.err.startswith("Error: rule-paths: ") and run.err.endswith("helpers holds no rule\n")


def test_a_base_class_needs_no_code(project: Project) -> None:
    base = HEAD + "class Base(Rule):\n    severity = Severity.WARNING\n    triggers = ('torch',)\n"
    rule = RULE.replace("(Rule)", "(Base)").replace("    severity = Severity.WARNING\n", "")
    project.write({"local_rules/mine.py": base + rule, "a.py": "import torch\n"})
    assert project.check().code == 0


# -- the fixture test -------------------------------------------------------------------------------------------------


@pytest.fixture
def mistake(project: Project) -> type:
    """The local rule of these tests, as its author's test imports it."""
    names: dict[str, type] = {"__name__": "mistakes"}  # type: ignore[dict-item]
    exec(compile(LOCAL_RULE, "mistakes.py", "exec"), names)
    return names["Mistake"]


GOOD = {
    "bad_one.py": "mistake = 1  # expect: XYZ101\n",
    "bad_one.fixed.py": "mended = 1  # expect: XYZ101\n",
    "good_one.py": "fine = 1\n",
}


def fixtures(project: Project, **changes: str | None) -> Path:
    files = {**GOOD, **{f"{name}.py".replace("_fixed", ".fixed"): text for name, text in changes.items()}}
    project.write({f"fixtures/mistake/{name}": text for name, text in files.items() if text is not None})
    return project.root / "fixtures/mistake"


def test_fixtures_that_hold(project: Project, mistake: type) -> None:
    check_fixtures(mistake, fixtures(project))


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"good_one": "mistake = 1\n"}, r"good_one.py: expected \[\], found \['good_one.py:1: XYZ101 mistake here'\]"),
        ({"good_one": None}, "holds no good_<case>"),
        ({"bad_one": "mistake = 1\n"}, "no case expects XYZ101"),
        ({"bad_one": "x = mistake  # expect: XYZ101\n"}, "bad_one.fixed.py: the fix makes something else"),
        ({"bad_one_fixed": None}, "a finding has a fix, but there is no fixed twin bad_one.fixed.py"),
        ({"bad_two": "mistake_stubborn = 1  # expect: XYZ101\n", "bad_two_fixed": "x = 1\n"}, "no finding has a fix"),
        ({"bad_two": "mistake_unsafe = 1  # expect: XYZ101\n"}, "a fix that is not safe gives no reason"),
    ],
)
def test_fixtures_that_do_not_hold(project: Project, mistake: type, changes: dict[str, str | None], says: str) -> None:
    with pytest.raises(AssertionError, match=says):
        check_fixtures(mistake, fixtures(project, **changes))
