"""The base class of rules, and how rules are found: built in, by entry point, or in local `rule-paths`."""

from __future__ import annotations

import importlib
import importlib.util
import inspect
import os
import pkgutil
import re
import sys
from collections.abc import Iterable, Iterator
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING, Any

from tricklint.finding import Finding, FixLevel, Severity

if TYPE_CHECKING:
    from importlib.metadata import EntryPoint

    from tricklint.program import Program
    from tricklint.watching.record import Clean, Run

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

    def watched(self, run: Run) -> Iterable[Finding | Clean]:
        """What a watched run shows: findings, and places at which it shows that there is none. Nothing for a rule that a
        run tells nothing about."""
        return ()

    @property
    def page(self) -> str:
        return inspect.cleandoc(sys.modules[type(self).__module__].__doc__ or "")


class RuleError(Exception):
    """A rule could not be loaded, lacks something, or two rules claim one code."""


_CODE = re.compile(r"[A-Z]{2,}[0-9]+")
_NAME = re.compile(r"[a-z0-9]+(-[a-z0-9]+)*")


def _rules_in(module: ModuleType, where: str) -> Iterator[Rule]:
    for value in list(vars(module).values()):
        if not (inspect.isclass(value) and issubclass(value, Rule) and value.__module__ == module.__name__):
            continue
        # A class without a code is a base of others; one that nothing is derived from was meant to be a rule.
        if getattr(value, "code", None) or not value.__subclasses__():
            yield _made(value, where)


def _made(kind: type[Rule], where: str) -> Rule:
    """An instance that has all a rule needs. Raises RuleError."""
    wrong = _what_is_wrong(kind)
    if wrong:
        raise RuleError(f"{where}: class {kind.__name__}: {wrong}")
    try:
        return kind()
    except (Exception, SystemExit) as error:
        raise RuleError(f"{where}: class {kind.__name__}: {type(error).__name__}: {error}") from error


def _what_is_wrong(kind: Any) -> str:
    """What a rule's class lacks, in words. Nothing that its annotations promise is taken as kept."""
    code, name, summary = (getattr(kind, key, None) for key in ("code", "name", "summary"))
    if not isinstance(code, str) or not _CODE.fullmatch(code):
        return f'needs a code like "XYZ101", has {code!r}'
    if not isinstance(name, str) or not _NAME.fullmatch(name):
        return f'needs a name like "my-rule", has {name!r}'
    if not isinstance(summary, str) or not summary or "\n" in summary:
        return f"needs a summary of one line, has {summary!r}"
    if not isinstance(getattr(kind, "severity", None), Severity):
        return f"needs a severity like Severity.WARNING, has {getattr(kind, 'severity', None)!r}"
    if not isinstance(kind.fix_level, (FixLevel, type(None))):
        return f"fix_level is a FixLevel or None, not {kind.fix_level!r}"
    if not isinstance(kind.triggers, tuple) or not all(isinstance(word, str) and word for word in kind.triggers):
        return f'triggers is a tuple of words like ("optim",), not {kind.triggers!r}'
    if kind.check is Rule.check:
        return "needs a method check(self, program)"
    return ""


def _built_in() -> Iterator[Rule]:
    import tricklint.rules as package

    for info in pkgutil.walk_packages(package.__path__, prefix=package.__name__ + "."):
        if not info.ispkg:
            yield from _rules_in(importlib.import_module(info.name), info.name)


def load_built_in() -> None:
    """Import the rules that come with the tool, ahead of when they are asked for."""
    for _ in _built_in():
        pass


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
    from tricklint.source.announced import announced

    installed = _installed(project)
    if not announced(ENTRY_POINTS, installed):
        return
    from importlib.metadata import distributions

    points: dict[tuple[str, str], EntryPoint] = {}
    for distribution in distributions(path=installed):
        if ENTRY_POINTS in (distribution.read_text("entry_points.txt") or ""):
            for point in distribution.entry_points.select(group=ENTRY_POINTS):
                points.setdefault((point.name, point.value), point)
    for point in points.values():
        where = f"entry point {point.name} = {point.value}"
        try:
            loaded = point.load()
        except (Exception, SystemExit) as error:
            raise RuleError(f"{where}: {type(error).__name__}: {error}") from error
        if inspect.ismodule(loaded):
            yield from _rules_in(loaded, where)
        elif inspect.isclass(loaded) and issubclass(loaded, Rule):
            yield _made(loaded, where)
        else:
            raise RuleError(f"{where} is neither a Rule nor a module of rules")


def _local(paths: Iterable[Path]) -> Iterator[Rule]:
    for path in paths:
        held = False
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
            except (Exception, SystemExit) as error:
                raise RuleError(f"rule-paths: {file}: {type(error).__name__}: {error}") from error
            for rule in _rules_in(module, f"rule-paths: {file}"):
                held = True
                yield rule
        if not held:
            raise RuleError(f"rule-paths: {path} holds no rule")


def discover(rule_paths: Iterable[Path] = (), project: Path | None = None, more: Iterable[Rule] = ()) -> list[Rule]:
    """All rules, those in `more` among them, sorted by code; none that only `project`, the folder to check, brings
    along. Raises RuleError when one cannot be loaded, lacks something, or a code or name is claimed twice."""
    found: dict[str, Rule] = {}
    names: dict[str, str] = {}
    for rule in (*_built_in(), *_entry_points(project), *_local(rule_paths), *more):
        if rule.code in found and type(found[rule.code]) is not type(rule):
            raise RuleError(f"two rules claim the code {rule.code}: {_home(found[rule.code])} and {_home(rule)}")
        if names.get(rule.name, rule.code) != rule.code:
            raise RuleError(f"two rules claim the name {rule.name}: {names[rule.name]} and {rule.code}")
        found[rule.code] = rule
        names[rule.name] = rule.code
    return [found[code] for code in sorted(found)]


def _home(rule: Rule) -> str:
    return getattr(sys.modules.get(type(rule).__module__), "__file__", None) or type(rule).__module__
