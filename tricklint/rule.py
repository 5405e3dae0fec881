"""The base class of rules, and how rules are found: built in, by entry point, or in local `rule-paths`."""

from __future__ import annotations

import importlib
import importlib.util
import inspect
import os
import pkgutil
import sys
from collections.abc import Iterable, Iterator
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING

from tricklint.finding import Finding, FixLevel, Severity

if TYPE_CHECKING:
    from importlib.metadata import EntryPoint

    from tricklint.program import Program

ENTRY_POINTS = "tricklint.rules"
PAGE_HEADINGS = (
    "What it does",
    "Why it costs",
    "When not to follow it",
    "Example",
    "After the fix",
    "Fix level",
    "Evidence",
    "References",
)


class Rule:
    """One rule. A subclass sets the attributes below and yields findings from what the Program knows.

    The page of a rule is the docstring of its module, with the headings of `PAGE_HEADINGS` in that order.
    """

    code: str
    name: str
    summary: str  # one line, for tables and the text output
    severity: Severity
    fix_level: FixLevel | None = None
    trick: str = ""  # the slide's trick this rule belongs to
    on_by_default: bool = True
    needs_trace: bool = False
    # A file can only *start* an inquiry of this rule when its text holds one of these words (the screen reads bytes).
    triggers: tuple[str, ...] = ()
    # What it finds in a file follows from that file alone: no other file has to be followed for it.
    file_alone: bool = False

    def check(self, program: Program) -> Iterable[Finding]:
        raise NotImplementedError

    @property
    def page(self) -> str:
        return inspect.cleandoc(sys.modules[type(self).__module__].__doc__ or "")


class RuleError(Exception):
    """A rule could not be loaded, or two rules claim one code."""


def _rules_in(module: ModuleType) -> Iterator[Rule]:
    for value in vars(module).values():
        if (
            inspect.isclass(value)
            and issubclass(value, Rule)
            and value.__module__ == module.__name__
            and getattr(value, "code", None)
        ):
            yield value()


def _built_in() -> Iterator[Rule]:
    import tricklint.rules as package

    for info in pkgutil.walk_packages(package.__path__, prefix=package.__name__ + "."):
        if not info.ispkg:
            yield from _rules_in(importlib.import_module(info.name))


def _installed(project: Path | None) -> list[str]:
    """Where installed packages are looked for: not in the folder the tool was started in, nor in the project that is
    checked, unless the running environment itself lies there."""
    real = [os.path.realpath("."), *([os.path.realpath(project)] if project else [])]
    environments = tuple(os.path.realpath(prefix) + os.sep for prefix in {sys.prefix, sys.base_prefix})

    def foreign(entry: str) -> bool:
        path = os.path.realpath(entry)
        return any((path + os.sep).startswith(folder + os.sep) for folder in real) and not path.startswith(environments)

    return [entry for entry in sys.path if entry and not foreign(entry)]


def _entry_points(project: Path | None) -> Iterator[Rule]:
    from importlib.metadata import distributions

    points: dict[tuple[str, str], EntryPoint] = {}
    for distribution in distributions(path=_installed(project)):
        if ENTRY_POINTS in (distribution.read_text("entry_points.txt") or ""):
            for point in distribution.entry_points.select(group=ENTRY_POINTS):
                points.setdefault((point.name, point.value), point)
    for point in points.values():
        try:
            loaded = point.load()
        except Exception as error:
            raise RuleError(f"entry point {point.name} = {point.value}: {type(error).__name__}: {error}") from error
        if inspect.ismodule(loaded):
            yield from _rules_in(loaded)
        elif inspect.isclass(loaded) and issubclass(loaded, Rule):
            yield loaded()
        else:
            raise RuleError(f"entry point {point.name} = {point.value} is neither a Rule nor a module of rules")


def _local(paths: Iterable[Path]) -> Iterator[Rule]:
    for path in paths:
        files = sorted(path.rglob("*.py")) if path.is_dir() else [path]
        if not path.exists():
            raise RuleError(f"rule-paths: {path} does not exist")
        for file in files:
            name = f"tricklint_local_rules.{file.stem}_{abs(hash(str(file.resolve())))}"
            spec = importlib.util.spec_from_file_location(name, file)
            if spec is None or spec.loader is None:
                raise RuleError(f"rule-paths: {file} is no Python file")
            module = importlib.util.module_from_spec(spec)
            sys.modules[name] = module
            try:
                spec.loader.exec_module(module)
            except Exception as error:
                raise RuleError(f"rule-paths: {file}: {type(error).__name__}: {error}") from error
            yield from _rules_in(module)


def discover(rule_paths: Iterable[Path] = (), project: Path | None = None) -> list[Rule]:
    """All rules, sorted by code; none that only `project`, the folder to check, brings along. Raises RuleError when one cannot be loaded or a code or name is claimed twice."""
    found: dict[str, Rule] = {}
    names: dict[str, str] = {}
    for rule in (*_built_in(), *_entry_points(project), *_local(rule_paths)):
        if rule.code in found and type(found[rule.code]) is not type(rule):
            raise RuleError(f"two rules claim the code {rule.code}")
        if names.get(rule.name, rule.code) != rule.code:
            raise RuleError(f"two rules claim the name {rule.name}")
        found[rule.code] = rule
        names[rule.name] = rule.code
    return [found[code] for code in sorted(found)]
