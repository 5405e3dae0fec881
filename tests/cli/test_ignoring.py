"""Suppression comments from end to end."""

from __future__ import annotations

from tests.cli.conftest import Project


def test_suppressed_findings_are_neither_shown_nor_rewritten(project: Project) -> None:
    text = "mistake = 1  # tricklint: ignore[XYZ101]\nx = f(\n    mistake,\n)  # tricklint: ignore[mistake]\n"
    project.write({"a.py": text})
    run = project.check("--fix")
    assert (run.code, project.read("a.py")) == (0, text)


def test_ignore_file(project: Project) -> None:
    project.write({"a.py": "# tricklint: ignore-file\nmistake = 1\n", "b.py": "mistake = 1\n"})
    assert [finding["filename"] for finding in project.json()] == ["b.py"]
    project.write({"a.py": "# tricklint: ignore-file[TRK601]\nmistake = 1\n"})
    assert [finding["code"] for finding in project.json("a.py")] == ["TRK001", "XYZ101"]


def test_unused_and_unknown_comments_are_reported_and_removed(project: Project) -> None:
    project.write(
        {
            "a.py": """\
            import torch  # tricklint: ignore[XYZ101]
            mistake = 1  # tricklint: ignore[XYZ101, TRK601, mistke] on purpose
            x = 1  # noqa  # tricklint: ignore[XYZ101]
            # tricklint: ignore[TRK601]
            y = 1  # tricklint: ignroe[XYZ101]
            z = 1  # tricklint is a linter
            """
        }
    )
    found = project.json()
    assert [(f["code"], f["location"]["row"]) for f in found] == [("TRK001", row) for row in (1, 2, 3, 4, 5)]
    assert "no rule is called 'mistke' (did you mean 'mistake'?)" in found[1]["message"]
    assert "did you mean 'ignore'?" in found[4]["message"]
    assert project.check("--fix").code == 1  # the misspelt one wants a person
    assert project.read("a.py") == (
        "import torch\n"
        "mistake = 1  # tricklint: ignore[XYZ101] on purpose\n"
        "x = 1  # noqa\n"
        "y = 1  # tricklint: ignroe[XYZ101]\n"
        "z = 1  # tricklint is a linter\n"
    )


def test_comments_without_a_rule_and_with_unknown_words(project: Project) -> None:
    project.write(
        {
            "a.py": """\
            import torch  # tricklint: ignore
            mistake = 1  # tricklint: ignore
            x = 1  # tricklint: disable=XYZ101
            mistake = 1  # tricklint: ignore XYZ101
            # tricklint: ignore-file
            """
        }
    )
    project.write({"b.py": "x = 1  # tricklint: ignore-file\n"})
    found = {(f["filename"], f["location"]["row"]): f["message"] for f in project.json() if f["code"] == "TRK001"}
    assert found == {
        ("a.py", 1): "'# tricklint: ignore' silences nothing",
        ("a.py", 3): "'tricklint: disable' is no comment that is known (known: ignore[RULE], ignore-file)",
        ("a.py", 4): "'# tricklint: ignore' silences every rule; for one write ignore[XYZ101]",
        ("b.py", 1): "'# tricklint: ignore-file' silences nothing",
    }
    # Other rules might have spoken there: nothing is known about a comment for all of them.
    assert project.json("b.py", "--select", "TRK001") == []


def test_comments_about_rules_that_did_not_run_are_left_alone(project: Project) -> None:
    project.write({"a.py": "import torch  # tricklint: ignore[XYZ201, TRK601]\n"})
    assert project.json("--select", "XYZ101,TRK001") == []
    assert [f["message"] for f in project.json("--select", "TRK001,TRK601")] == ["'TRK601' is reported nowhere here"]
    assert project.json("--select", "XYZ101") == []
    project.configure("per-file-ignores = { 'a.py' = ['TRK601'] }")
    assert project.json() == []


def test_the_report_itself_can_be_silenced(project: Project) -> None:
    project.write({"a.py": "# tricklint: ignore-file[TRK001]\nimport torch  # tricklint: ignore[XYZ101]\n"})
    assert project.json() == []


def test_add_ignore(project: Project) -> None:
    project.write({"a.py": "import torch\nmistake = f('''\n''')\n", "b.py": "mistake_advice = 1\n"})
    run = project.check("--add-ignore")
    assert run.code == 0
    assert "Added ignore comments for 2 findings in 2 files" in run.err
    assert project.read("a.py") == "import torch\nmistake = f('''\n''')  # tricklint: ignore[XYZ101]\n"
    assert project.check().code == 0


def test_per_file_ignores(project: Project) -> None:
    project.write({"tests/a.py": "mistake = 1\n", "b.py": "mistake = 1\n"})
    project.configure("per-file-ignores = { 'tests/*' = ['mistake'] }")
    assert [finding["filename"] for finding in project.json()] == ["b.py"]
