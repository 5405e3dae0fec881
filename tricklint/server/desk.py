"""Open files, checked over and over in one process: only what leads to them is followed, and what did not change is
neither read nor parsed again."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path

from tricklint import groups, mend
from tricklint import settings as configuration
from tricklint.baseline import Baseline
from tricklint.check import Options, known_rules
from tricklint.finding import Finding
from tricklint.inquiry import ask
from tricklint.report import Report
from tricklint.rule import Rule
from tricklint.selection import select
from tricklint.server.leads import Leads
from tricklint.settings import Settings, SettingsError
from tricklint.source.cache import Cache
from tricklint.source.imports import Imports
from tricklint.source.patience import Patience
from tricklint.source.shelf import Raw, Shelf
from tricklint.source.text import Source, SourceError
from tricklint.universe import Universe, read_universe, screen_universe

# Seconds after an answer was asked for, until which a file that is looked at alone is followed into others, and at all;
# of these at least so many are left for it, however late it is.
FAR, FAR_LEAST = 0.7, 0.2
END, END_LEAST = 1.1, 0.5
LONG = 300_000  # characters of a file whose tree alone takes a second or more


@dataclass
class Scope:
    """A project: its settings, rules, and who imports whom in it. `seconds`: what its last whole check took."""

    settings: Settings
    known: list[Rule]
    rules: list[Rule]
    imports: Imports
    seconds: float = 0.0

    @cached_property
    def leads(self) -> Leads:
        return Leads(self.imports)

    def kept(self, findings: list[Finding], sources: Mapping[Path, Source]) -> list[Finding]:
        """What no baseline knows."""
        file = self.settings.baseline
        return Baseline.read(file).new(findings, sources) if file else findings


class Desk:
    """`trusted`: code that a project brings (`rule-paths`) may be run; else it is left out, and `say` tells so."""

    def __init__(self, say: Callable[[str], None] = lambda message: None) -> None:
        self.shelf = Shelf()
        self.trusted = False
        self.watch: Callable[[], None] = lambda: None
        self._say = say
        self._scopes: dict[str, Scope] = {}

    # -- projects ------------------------------------------------------------------------------------------------------

    def scope(self, path: Path) -> Scope:
        """The project that a file belongs to. Raises SettingsError."""
        settings = self._settings(path)
        key = repr(settings)
        if key not in self._scopes:
            if len(self._scopes) > 20:  # settings that were changed, and changed again
                self._scopes.clear()
            settings = groups.own(settings) if settings.config_file else settings
            known = known_rules(settings)
            rules = [rule for rule in select(known, settings) if not rule.needs_trace]
            self._scopes[key] = Scope(settings, known, rules, Imports({}, settings.src))
        return self._scopes[key]

    def _settings(self, path: Path) -> Settings:
        settings = configuration.load([path], trusted=self.trusted)
        for refused in settings.refused:
            self._say(f"{refused}; the initialization option 'trusted' stands for a project that you trust")
        return replace(settings, trace=False)  # models are not built at every change

    # -- checks --------------------------------------------------------------------------------------------------------

    def is_long(self, path: Path) -> bool:
        """Whether an answer about a file is long in coming, whatever is followed."""
        try:
            return len(self.shelf.read(path).source.text) > LONG
        except SourceError:
            return False

    def glance(self, path: Path) -> Report:
        """Whether a file can be read at all."""
        scope = self.scope(path)
        universe = Universe(frozenset([path]), scope.settings, self.shelf)
        screen_universe(universe, {path: self.shelf.read(path)}, scope.rules, scope.known, Cache(None))
        return Report(problems=universe.problems, asked=universe.asked, rules=scope.known)

    def alone(self, path: Path, since: float | None = None) -> Report:
        """What a file shows when it is followed for its own sake, and into others for as long as there is time: an answer
        that comes soon, wherever the file stands. `since`: when it was asked for, by `time.monotonic`."""
        scope = self.scope(path)
        universe = Universe(frozenset([path]), scope.settings, self.shelf, watch=self.watch)
        universe.patience = _patience(path, time.monotonic() if since is None else since)
        raws = {path: self.shelf.read(path)}
        universe.digests = {path: raws[path].digest}
        return self._ask(scope, universe, raws)

    def whole(self, paths: Iterable[Path]) -> Report:
        """What `tricklint check .` would show of these files, which belong to one project."""
        asked = sorted(paths)
        scope = self.scope(asked[0])
        begun = time.monotonic()
        universe, raws = read_universe(asked, scope.settings, self.shelf, self.watch)
        report = self._ask(scope, universe, raws, asked)
        scope.seconds = time.monotonic() - begun
        return report

    def _ask(
        self, scope: Scope, universe: Universe, raws: Mapping[Path, Raw], asked: list[Path] | None = None
    ) -> Report:
        screen_universe(universe, raws, scope.rules, scope.known, Cache(None))
        if asked is not None:
            scope.imports.update({path: source.text for path, source in universe.sources.items()}, universe.watch)
            universe.entries = scope.leads.to(asked, universe)
        found = ask(universe, scope.known, scope.rules)
        if asked is not None:
            scope.leads.learn(asked, universe)
        return Report(
            findings=scope.kept(found.findings, universe.sources),
            problems=[*universe.problems, *found.problems],
            suppressed=found.silenced.total(),
            asked=universe.asked,
            sources=universe.sources,
            rules=scope.known,
        )

    def related(self, changed: Iterable[Path], others: Iterable[Path]) -> tuple[list[Path], list[Path]]:
        """Of `others`, those whose findings a change may alter, after a whole check: first the ones that nothing leads
        to but what leads to the changed files as well, then those that more must be followed for."""
        changed = list(changed)
        covered: list[Path] = []
        rest: list[Path] = []
        for path in others:
            try:
                imports = self.scope(path).imports
            except SettingsError:
                rest.append(path)
                continue
            mine, theirs = imports.reaching([path]), imports.reaching(changed)
            if mine <= theirs:
                covered.append(path)
            elif mine & theirs:
                rest.append(path)
        return covered, rest

    def mended(self, path: Path) -> Source:
        """An open file with every fix made that its settings allow. Fixes that would touch other files are left."""
        scope = self.scope(path)
        universe, raws = read_universe([path], scope.settings, self.shelf, self.watch)
        report = self._ask(scope, universe, raws, [path])
        options = Options(diff=True, stdin=universe.sources.get(path))
        if path in universe.sources:
            every = [rule for rule in scope.known if not rule.needs_trace]
            wanted = {rule.code for rule in scope.rules}

            def kept(findings: list[Finding], now: Mapping[Path, Source]) -> list[Finding]:
                return scope.kept([finding for finding in findings if finding.code in wanted], now)

            # a fix is proven by what every rule says of the mended program, whichever were selected
            mend.fix(report, universe, mend.looks_at(universe, scope.known, every), kept, options)
        source: Source | None = report.sources.get(path)
        return source or self.shelf.read(path).source


def _patience(path: Path, since: float) -> Patience:
    now = time.monotonic()
    return Patience(frozenset([path]), max(since + FAR, now + FAR_LEAST), max(since + END, now + END_LEAST))
