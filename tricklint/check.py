"""The pipeline: files become a program, rules ask it questions, findings are mended and shown."""

from __future__ import annotations

import gc
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from tricklint import mend
from tricklint.baseline import Baseline
from tricklint.crew import Crew
from tricklint.finding import Finding
from tricklint.inquiry import ask
from tricklint.memory import Memory
from tricklint.report import Report
from tricklint.rule import Rule, RuleError, discover
from tricklint.selection import idle, select
from tricklint.settings import Settings, SettingsError
from tricklint.source.cache import Cache
from tricklint.source.screen import with_deep_stack
from tricklint.source.shelf import Shelf
from tricklint.source.text import Problem, Source
from tricklint.universe import read_universe, screen_universe, texts_of
from tricklint.unused_ignore import UnusedIgnore

Keep = Callable[[list[Finding], Mapping[Path, Source]], list[Finding]]


def _all(findings: list[Finding], sources: Mapping[Path, Source]) -> list[Finding]:
    return findings


@dataclass(frozen=True)
class Options:
    """What a run does beside checking: `fix` mends files, `diff` shows how, `add_ignore` silences every finding.
    `stdin` is the text of one file that is not read from disk, nor written to it. `rules` are known beside those that
    are found. `keep` leaves out what is not to be reported, nor mended. `watched` is the folder of a recorded run that is
    judged too; `only_watched` leaves out what it does not show."""

    fix: bool = False
    diff: bool = False
    add_ignore: bool = False
    cache: bool = True
    stdin: Source | None = None
    rules: tuple[Rule, ...] = ()
    keep: Keep = _all
    watched: Path | None = None
    only_watched: bool = False

    @property
    def mends(self) -> bool:
        return (self.fix or self.diff) and not self.add_ignore

    @property
    def only_look(self) -> bool:
        return not (self.fix or self.diff or self.add_ignore)


def run(paths: Sequence[Path], settings: Settings, options: Options = Options()) -> Report:
    """Check `paths`. Raises SettingsError when the configuration is wrong; anything else that goes wrong is a problem
    in the report, and the rest is still checked."""
    # Trees and values live until the end of the run: a collector that looks at them again and again frees nothing.
    collecting = gc.isenabled()
    gc.disable()
    try:
        return with_deep_stack(lambda: _run(paths, settings, options))
    finally:
        if collecting:
            gc.enable()


def _run(paths: Sequence[Path], settings: Settings, options: Options) -> Report:
    known = known_rules(settings, options.rules)
    real = settings.trace or options.watched is not None
    rules = [rule for rule in select(known, settings) if real or not rule.needs_trace]
    baseline = Baseline.read(settings.baseline) if settings.baseline else None
    shelf = Shelf({options.stdin.path: options.stdin} if options.stdin else {})
    universe, raws = read_universe(paths, settings, shelf)
    mistaken = bool(universe.problems)  # a path that is not there, say: no later run is told of it
    refused = [Problem(one.path, one.row, one.message) for one in settings.refused]
    report = Report(problems=refused, asked=universe.asked, rules=known, ran=frozenset(rule.code for rule in rules))

    if options.watched is not None:
        from tricklint.watching.judged import watched

        universe.watched = watched(options.watched, settings, options.only_watched, report)

    # Facts about real models depend on more than files: such a run is not remembered.
    cache = Cache.of(settings, known, enabled=options.cache and not real and not options.stdin)
    report.notes += [cache.refusal] if cache.refusal else []
    report.notes += idle(known, settings, paths, universe.asked)
    key = cache.result_key(universe.digests, universe.asked, _without_showing(settings))
    remembered = cache.result(key) if options.only_look else None
    if remembered:
        report.findings, problems, report.suppressed = remembered
        report.problems += problems
        report.sources = texts_of(raws, mend.paths_of(report.findings))
        return _narrow(report, baseline, options)

    memory = Memory(cache, repr(_without_showing(settings)))
    # A fix is proven by what every rule says of the mended program, whichever were selected.
    every = [rule for rule in known if not rule.needs_trace or real]
    looks = mend.looks_at(universe, known, every)
    universe.crew = crew = Crew()
    try:
        if memory.empty:
            crew.expect(universe, raws)
        screen_universe(universe, raws, rules, known, cache)
        if options.mends:
            found = looks.at(universe.sources).only(report.ran)
        else:
            found = ask(universe, known, rules, memory=memory)
    finally:
        crew.dismiss()
    memory.store()
    report.findings, report.suppressed = found.findings, found.silenced.total()
    report.notes += found.notes
    if universe.watched is not None:
        report.notes += universe.watched.notes
        report.problems += [Problem(None, None, crash) for crash in universe.watched.crashes]
    report.spent = found.spent
    problems = [*universe.problems, *found.problems]
    report.problems += problems
    report.sources = universe.sources
    if not found.problems and not mistaken and not options.mends:
        cache.keep_result(key, report.findings, problems, report.suppressed, universe.looked_beyond)

    _narrow(report, baseline, options)
    if options.add_ignore:
        mend.add_ignores(report)
    elif options.mends:

        def keep(findings: list[Finding], now: Mapping[Path, Source]) -> list[Finding]:
            return _kept([finding for finding in findings if finding.code in report.ran], now, baseline, options)

        mend.fix(report, universe, looks, keep, options)
    return report


def _without_showing(settings: Settings) -> Settings:
    """The settings without those that say what becomes of findings: what is found does not depend on them."""
    usual = Settings(settings.root)
    return replace(
        settings, baseline=None, fail_on=usual.fail_on, fix_level=usual.fix_level, output_format=usual.output_format
    )


def _kept(
    findings: list[Finding], sources: Mapping[Path, Source], baseline: Baseline | None, options: Options
) -> list[Finding]:
    return options.keep(baseline.new(findings, sources) if baseline else findings, sources)


def _narrow(report: Report, baseline: Baseline | None, options: Options) -> Report:
    """Leave out what is known, or not to be reported for another reason."""
    if baseline:
        report.notes += baseline.complaints(report.findings, report.sources, report.asked, report.ran)
    report.findings = _kept(report.findings, report.sources, baseline, options)
    return report


def known_rules(settings: Settings, more: Sequence[Rule] = ()) -> list[Rule]:
    """Every rule there is, sorted by code. Raises SettingsError when one cannot be loaded."""
    try:
        return [UnusedIgnore(), *discover(settings.rule_paths, settings.root, more)]
    except RuleError as error:
        raise SettingsError(str(error)) from None
