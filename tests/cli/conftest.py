"""A project in a temporary folder, and the command run in it."""

from __future__ import annotations

import json
import textwrap
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result

from tricklint.cli import main

# A rule that needs no interpreter: it reports every name in `sources` that starts with "mistake", and mends it. What is
# tested here is the shell around the rules.
LOCAL_RULE = '''
"""Reports names that start with "mistake"."""
import re

from tricklint.finding import Edit, Evidence, Finding, Fix, FixLevel, Location, Severity
from tricklint.rule import Rule


class Mistake(Rule):
    code = "XYZ101"
    name = "mistake"
    summary = "A mistake is a mistake."
    severity = Severity.WARNING
    fix_level = FixLevel.SAFE
    triggers = ("mistake",)

    def check(self, program):
        for path, source in program.sources.items():
            for row, line in enumerate(source.lines, 1):
                for match in re.finditer(r"\\bmistake(_advice|_error|_unsafe|_stubborn|_pedantic)?\\b", line):
                    kind = match[1] or ""
                    start, end = Location(row, match.start() + 1), Location(row, match.end() + 1)
                    level = FixLevel.UNSAFE if kind == "_unsafe" else FixLevel.SAFE
                    fix = Fix(level, "say mended", (Edit(path, start, end, "mended"),))
                    severity = {"_advice": Severity.ADVICE, "_error": Severity.ERROR}.get(kind, Severity.WARNING)
                    yield Finding(
                        self.code, self.name, severity, f"{match[0]} here", path, start, end,
                        evidence=(Evidence(path, Location(1, 1), Location(1, 2), "the file starts here"),),
                        fix=None if kind == "_stubborn" else fix, pedantic=kind == "_pedantic",
                    )


class Broken(Rule):
    code = "XYZ102"
    name = "broken-rule"
    summary = "A rule that crashes."
    severity = Severity.ERROR
    triggers = ("crash",)

    def check(self, program):
        if any("crash" in source.text for source in program.sources.values()):
            raise TypeError("three is no crowd")
        return []


class OffByDefault(Rule):
    code = "XYZ201"
    name = "off-by-default"
    summary = "Reports every file."
    severity = Severity.ADVICE
    on_by_default = False

    def check(self, program):
        for path in program.sources:
            yield Finding(self.code, self.name, self.severity, "a file", path, Location(1, 1), Location(1, 2))
'''


@dataclass
class Run:
    result: Result

    @property
    def code(self) -> int:
        return self.result.exit_code

    @property
    def out(self) -> str:
        return self.result.stdout

    @property
    def err(self) -> str:
        return self.result.stderr

    @property
    def json(self) -> list[dict[str, Any]]:
        found: list[dict[str, Any]] = json.loads(self.result.stdout)
        return found


class Project:
    """`write` files, `check` them; the local rules above are there and nothing is cached unless asked for."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.write({"local_rules/mistake.py": LOCAL_RULE, "pyproject.toml": self.config("")})

    def config(self, text: str) -> str:
        fixed = 'rule-paths = ["local_rules"]\nextend-exclude = ["local_rules"]\n'
        return f"[tool.tricklint]\n{fixed}{textwrap.dedent(text)}"

    def configure(self, text: str) -> None:
        self.write({"pyproject.toml": self.config(text)})

    def write(self, files: Mapping[str, str | bytes]) -> None:
        for name, content in files.items():
            path = self.root / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(content if isinstance(content, bytes) else textwrap.dedent(content).encode())

    def read(self, name: str) -> str:
        return (self.root / name).read_bytes().decode()

    def run(self, *args: str, stdin: str | bytes = "") -> Run:
        result = CliRunner().invoke(main, args, input=stdin, catch_exceptions=False)
        return Run(result)

    def check(self, *args: str, stdin: str | bytes = "", cache: bool = False) -> Run:
        local = self.root / "local_rules"
        rules = ["--rule-path", str(local)] if "--isolated" not in args and any(local.glob("*.py")) else []
        return self.run("check", *args, *rules, *([] if cache else ["--no-cache"]), stdin=stdin)

    def json(self, *args: str) -> list[dict[str, Any]]:
        return self.check(*args, "--output-format", "json").json


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Project:
    monkeypatch.chdir(tmp_path)
    for name in ("NO_COLOR", "FORCE_COLOR", "TRICKLINT_NO_CACHE", "TRICKLINT_OUTPUT_FORMAT", "TRICKLINT_CACHE_DIR"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path.parent / "no-config-of-the-user"))
    return Project(tmp_path)
