"""Checking a repository never runs what is in it: not its configuration's rules, its interpreter, its packages."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from tests.hostile.conftest import Clone

RULES = """\
open("RAN", "w")
from tricklint.rule import Rule
from tricklint.finding import Severity
class Mine(Rule):
    code, name, summary, severity = "XYZ101", "mine", "Mine.", Severity.ERROR
    def check(self, program):
        return []
"""
EVIL = "open('RAN', 'w')\n"


@pytest.fixture
def evil(clone: Clone) -> Clone:
    script = f'#!/bin/sh\ntouch {clone.root}/RAN\nexec {sys.executable} "$@"\n'
    clone.write({"rules.py": RULES, "any.sh": script, "model.py": EVIL + "import torch\nNet = torch.nn.Linear\n"})
    (clone.root / "any.sh").chmod(0o755)
    return clone


def ran(clone: Clone) -> bool:
    return (clone.root / "RAN").exists()


KEYS = {
    "rule-paths": ('rule-paths = ["rules.py"]', "--rule-path"),
    "trace": ("trace = true", "--trace"),
    "python": (
        'trace = true\npython = "./any.sh"\nmodels = { net = { factory = "model:Net", args = [2, 2] } }',
        "--python",
    ),
}


@pytest.mark.parametrize("key", KEYS)
@pytest.mark.parametrize("file", ["pyproject.toml", "tricklint.toml", "extended"])
def test_a_projects_configuration_names_no_code(evil: Clone, key: str, file: str) -> None:
    text, option = KEYS[key]
    if file == "extended":
        evil.write({"pyproject.toml": '[tool.tricklint]\nextend = "sub/tricklint.toml"\n'})
        evil.write({"sub/tricklint.toml": text.replace('"rules.py', '"../rules.py').replace("./any", "../any")})
    else:
        evil.write({file: ("[tool.tricklint]\n" if file == "pyproject.toml" else "") + text + "\n"})
    code, out, err = evil.check(".")
    assert not ran(evil)
    assert code == 2 and "TRK601" in out  # what can be done is done
    (line,) = [line for line in err.splitlines() if f"{key} is refused" in line]
    assert option in line and "trusted-projects" in line and ".toml:" in line
    for command in ("rules", "rule"):
        done = evil.run(command, *(["TRK601"] if command == "rule" else []))
        assert done.returncode == 0 and not ran(evil)


def test_what_is_false_or_said_on_the_command_line_is_not_refused(evil: Clone) -> None:
    evil.write({"tricklint.toml": "trace = false\n"})
    assert evil.check(".")[0] == 1
    evil.write({"tricklint.toml": 'rule-paths = ["rules.py"]\n'})
    code, _, err = evil.check(".", "--rule-path", "rules.py")
    assert (code, err) == (1, "") and ran(evil)


def test_a_folder_below_extends_no_trust(evil: Clone) -> None:
    """What a project's file extends is not the user's, although it lies above the folder that is checked."""
    evil.write(
        {"tricklint.toml": 'rule-paths = ["rules.py"]\n', "sub/tricklint.toml": 'extend = "../tricklint.toml"\n'}
    )
    evil.write({"sub/train.py": (evil.root / "train.py").read_text()})
    code, _, err = evil.check("sub")
    assert code == 2 and "rule-paths is refused" in err and not ran(evil)


def test_the_users_own_configuration_may(evil: Clone) -> None:
    home = evil.root.parent / "config/tricklint/tricklint.toml"
    home.parent.mkdir(parents=True)
    evil.write({"tricklint.toml": 'rule-paths = ["rules.py"]\n'})
    home.write_text('trusted-projects = ["/elsewhere"]\n')
    assert evil.check(".")[0] == 2 and not ran(evil)
    home.write_text(f'trusted-projects = ["{evil.root.parent}"]\n')
    assert evil.check(".")[0] == 1 and ran(evil)
    (evil.root / "RAN").unlink()
    evil.write({"tricklint.toml": ""})
    home.write_text(f'rule-paths = ["{evil.root}/rules.py"]\n')
    assert evil.check("--isolated", ".")[0] == 1 and not ran(evil)
    assert evil.check(".")[0] == 1 and ran(evil)


def test_a_file_that_the_user_names_counts_outside_the_project_only(evil: Clone) -> None:
    outside = evil.root.parent / "mine.toml"
    for place in (outside, evil.root / "theirs.toml"):
        place.write_text(f'rule-paths = ["{evil.root}/rules.py"]\n')
    assert evil.check(".", "--config", "theirs.toml")[0] == 2 and not ran(evil)
    assert evil.check(".", "--config", str(outside))[0] == 1 and ran(evil)


def test_a_project_cannot_trust_itself(evil: Clone) -> None:
    evil.write({"tricklint.toml": 'rule-paths = ["rules.py"]\ntrusted-projects = ["."]\n'})
    code, _, err = evil.check(".")
    assert code == 2 and "trusted-projects is refused: counts only in" in err and not ran(evil)


def test_what_is_written_stays_in_the_project(evil: Clone) -> None:
    evil.write({"tricklint.toml": 'baseline = "../mine"\n'})
    code, _, err = evil.check(".")
    assert code == 2 and "baseline: ../mine lies outside the project" in err


PLUGIN = {
    "evil_plugin.py": EVIL + RULES,
    "evil-1.0.dist-info/METADATA": "Metadata-Version: 2.1\nName: evil\nVersion: 1.0\n",
    "evil-1.0.dist-info/entry_points.txt": "[tricklint.rules]\nevil = evil_plugin\n",
}
SHADOWS = {f"{name}.py": EVIL for name in ("click", "libcst", "pathspec", "yaml", "tomllib", "rich", "numpy")}


@pytest.mark.parametrize("python_path", ["", ":", "."])
@pytest.mark.parametrize("folder", [".", "sub"])
def test_packages_of_the_working_folder_are_not_loaded(clone: Clone, python_path: str, folder: str) -> None:
    clone.write({f"{folder}/{name}": text for name, text in PLUGIN.items()})
    clone.write({f"{folder}/evil.egg-info/{name.split('/')[1]}": text for name, text in PLUGIN.items() if "/" in name})
    # As `python -m` does it, with the folder first on the path.
    start = "import sys; sys.path.insert(0, ''); from tricklint.cli import main; main(prog_name='tricklint')"
    environment = {"PYTHONPATH": python_path} if python_path else {}
    done = clone.run("check", "--no-cache", ".", start=start, cwd=clone.root / folder, **environment)
    assert not ran(clone) and done.returncode == (1 if folder == "." else 0)


def test_modules_of_the_working_folder_do_not_shadow(clone: Clone) -> None:
    """`python -m tricklint`: the folder it is started in stands first on the search path."""
    clone.write(SHADOWS)
    start = "import sys, runpy; sys.path.insert(0, ''); runpy.run_module('tricklint', run_name='__main__')"
    done = clone.run("check", "--no-cache", ".", start=start)
    assert done.returncode == 1 and not ran(clone), done.stderr


def test_the_project_on_the_python_path_brings_no_plugins(clone: Clone, tmp_path: Path) -> None:
    clone.write({f"lib/{name}": text for name, text in PLUGIN.items()})
    done = clone.run("check", "--no-cache", str(clone.root), cwd=tmp_path, PYTHONPATH=str(clone.root / "lib"))
    assert done.returncode == 1 and not ran(clone)


def test_plugins_of_the_environment_are_loaded(clone: Clone, tmp_path: Path) -> None:
    site = tmp_path / "site-packages"
    for name, text in PLUGIN.items():
        (site / name).parent.mkdir(parents=True, exist_ok=True)
        (site / name).write_text(text)
    done = clone.run("rules", PYTHONPATH=str(site))
    assert b"XYZ101" in done.stdout


def test_opening_a_file_in_an_editor_runs_nothing(evil: Clone) -> None:
    from tricklint import settings
    from tricklint.server.desk import Desk
    from tricklint.source.text import Source

    evil.write({"tricklint.toml": "\n".join(text for text, _ in KEYS.values()).replace("trace = true\n", "", 1)})
    said: list[str] = []
    desk = Desk(said.append)
    source = Source.read(evil.root / "train.py")
    desk.shelf.lay({source.path: source})
    report = desk.alone(source.path)
    assert any(finding.code == "TRK601" for finding in report.findings) and not ran(evil)
    assert any("rule-paths is refused" in line for line in said)
    assert settings.load([evil.root], trusted=True).trace
