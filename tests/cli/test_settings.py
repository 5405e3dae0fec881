"""[tool.tricklint], --config, the command line and the environment; errors that help."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.cli.conftest import Project
from tricklint.finding import FixLevel, Severity
from tricklint.settings import Settings, SettingsError, load


def settings(tmp_path: Path, text: str, *config: str) -> Settings:
    (tmp_path / "pyproject.toml").write_text(f"[tool.tricklint]\n{text}\n")
    return load([tmp_path], config=config, trusted=True)


def test_advice_fails_no_run_unless_asked_for(project: Project) -> None:
    project.write({"a.py": "mistake_advice = 1\n"})
    run = project.check()
    assert run.code == 0
    assert "mistake_advice here" in run.out
    assert project.check("--fail-on", "advice").code == 1


def test_everything_that_can_be_set(tmp_path: Path) -> None:
    text = """
    select = ["TRK1"]
    extend-exclude = ["legacy"]
    fix-level = "safe"
    fail-on = "error"
    output-format = "concise"
    rule-paths = ["rules"]
    src = ["lib"]
    pedantic = true
    trace = true
    python = ".venv/bin/python"
    oom-guard = "koila"
    transfer = { dataset-size = 1200, similarity = "different" }
    normalize = { p = 0.95 }
    memory = { gpu = "24GB" }
    [tool.tricklint.models.net]
    factory = "models:build"
    args = [10]
    kwargs = { depth = 3 }
    input = [[1, 3, 32, 32]]
    [tool.tricklint.verify]
    command = "python train.py --epochs 3"
    budget = "10m"
    seeds = 6
    lr-scale = [0.5, 1, 2]
    """
    got = settings(tmp_path, text)
    assert got.root == tmp_path
    assert (got.fix_level, got.fail_on, got.output_format) == (FixLevel.SAFE, Severity.ERROR, "concise")
    assert got.exclude[-1] == "legacy"
    assert got.rule_paths == (tmp_path / "rules",)
    assert got.src == (tmp_path, tmp_path / "lib")
    assert got.python == tmp_path / ".venv/bin/python"
    assert (got.pedantic, got.trace, got.oom_guard) == (True, True, "koila")
    assert (got.transfer.dataset_size, got.transfer.similarity) == (1200, "different")
    assert (got.normalize.p, got.memory.gpu) == (0.95, 24 * 2**30)
    assert got.models["net"].input == ((1, 3, 32, 32),)
    assert got.models["net"].kwargs == {"depth": 3}
    assert got.verify.command == ("python", "train.py", "--epochs", "3")
    assert (got.verify.budget, got.verify.seeds, got.verify.lr_scale) == (600, 6, (0.5, 1, 2))


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("selct = []", ":2: selct: unknown key 'selct' (did you mean 'select'?)"),
        ("select = 'TRK1'", ":2: select: expected a list of strings, got 'TRK1'"),
        ("fail-on = 'eror'", "expected one of advice, warning, error, got 'eror' (did you mean 'error'?)"),
        ("pedantic = 1", "expected true or false, got 1"),
        ("normalize = { p = 1 }", "normalize.p: expected a probability between 0 and 1"),
        ("normalize = { q = 1 }", "normalize.q: unknown key 'q'"),
        ("memory = { gpu = 'big' }", "memory.gpu: expected a size like \"24GB\", got 'big'"),
        ("transfer = { dataset-size = 'tiny' }", '"small", "large" or the number of samples'),
        ("[tool.tricklint.verify]\nseeds = true", "verify.seeds: expected a whole number ≥ 1, got True"),
        ("[tool.tricklint.verify]\nbudget = 'soon'", 'a duration like "10m"'),
        ("[tool.tricklint.models.net]\ninput = 'x'", "models.net: needs a factory"),
        ("[tool.tricklint.models.net]\nfactory = 'build'", '"package.module:callable"'),
        ("per-file-ignores = ['a']", "expected a table from file pattern"),
        ("select = [", "cannot be read"),
    ],
)
def test_wrong_configuration_says_what_and_where(tmp_path: Path, text: str, words: str) -> None:
    with pytest.raises(SettingsError) as caught:
        settings(tmp_path, text)
    assert words in str(caught.value)
    assert "pyproject.toml" in str(caught.value)
    assert "\n" not in str(caught.value)


def test_config_pairs(tmp_path: Path) -> None:
    got = settings(tmp_path, "", "fix-level=safe", "verify.seeds=4", 'select=["TRK1"]', "fail-on='error'")
    assert (got.fix_level, got.verify.seeds, got.fail_on) == (FixLevel.SAFE, 4, Severity.ERROR)
    with pytest.raises(SettingsError, match=r"--config: fixlevel: unknown key .*'fix-level'"):
        settings(tmp_path, "", "fixlevel=safe")
    with pytest.raises(SettingsError, match="expected KEY=VALUE"):
        settings(tmp_path, "", "nonsense")


def test_wrong_configuration_is_2_on_the_command_line(project: Project) -> None:
    project.configure("selct = []")
    run = project.check()
    assert run.code == 2
    assert "did you mean 'select'?" in run.err
    assert project.check("--isolated").code == 0


def test_nearest_file_wins(project: Project) -> None:
    project.write({"a.py": "mistake = 1\n", "sub/a.py": "mistake = 1\n", "sub/pyproject.toml": "[tool.other]\n"})
    assert project.check("sub").code == 1  # that file has no [tool.tricklint]: the one above it counts
    project.write({"sub/pyproject.toml": "[tool.tricklint]\nfail-on = 'error'\n"})
    assert project.check("sub").code == 0
    assert project.check().code == 1


def test_selection(project: Project) -> None:
    project.write({"a.py": "mistake = 1\n"})

    def codes(*args: str) -> list[str]:
        return [finding["code"] for finding in project.json(*args)]

    assert codes() == ["XYZ101"]
    assert codes("--select", "TRK") == []
    assert codes("--select", "XYZ1") == ["XYZ101"]
    assert codes("--select", "mistake,TRK601") == ["XYZ101"]
    assert codes("--ignore", "XYZ") == []
    assert codes("--ignore", "XYZ", "--select", "XYZ101") == ["XYZ101"]  # the exact one wins
    assert codes("--ignore", "mistake", "--select", "XYZ101") == []
    assert codes("--select", "XYZ2") == []  # off by default, and not called by its name
    assert codes("--extend-select", "XYZ201") == ["XYZ101", "XYZ201"]
    assert codes("--select", "off-by-default") == ["XYZ201"]
    project.configure("ignore = ['XYZ101']")
    assert codes() == []
    assert codes("--select", "XYZ101") == ["XYZ101"]  # the command line's select starts anew
    project.configure("select = ['XYZ201']")
    assert codes("--extend-select", "XYZ1") == ["XYZ101", "XYZ201"]
    assert codes("--ignore", "XYZ201") == []


def test_an_unknown_rule_names_the_nearest(project: Project) -> None:
    run = project.check("--select", "mistak")
    assert run.code == 2
    assert "command line: select: no rule is called 'mistak' (did you mean 'mistake'?)" in run.err


def test_environment(project: Project, monkeypatch: pytest.MonkeyPatch) -> None:
    project.write({"a.py": "mistake = 1\n"})
    monkeypatch.setenv("TRICKLINT_OUTPUT_FORMAT", "json")
    monkeypatch.setenv("TRICKLINT_NO_CACHE", "1")
    assert len(project.check(cache=True).json) == 1
    assert not (project.root / ".tricklint_cache").exists()


def test_a_local_rule_that_cannot_be_loaded(project: Project) -> None:
    project.write({"local_rules/bad.py": "import nothing_like_this\n", "a.py": "x = 1\n"})
    run = project.check()
    assert run.code == 2
    assert "bad.py: ModuleNotFoundError: No module named 'nothing_like_this'" in run.err
