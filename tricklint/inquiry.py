"""Build the Program, ask every rule, and take out what was not asked for or is suppressed."""

from __future__ import annotations

import os
import traceback
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING

from tricklint.crew import side_by_side
from tricklint.finding import Finding, Location, Severity
from tricklint.memory import Memory
from tricklint.rule import Rule
from tricklint.selection import matches
from tricklint.source.files import Globs
from tricklint.source.ignores import may_ignore
from tricklint.source.text import Problem, Source
from tricklint.units import Answer, Tidy, Unit, units
from tricklint.universe import Universe
from tricklint.unused_ignore import Suppressions, UnusedIgnore

if TYPE_CHECKING:
    from tricklint.fix.facts import Facts
    from tricklint.program import Program


@dataclass
class Found:
    findings: list[Finding] = field(default_factory=list)
    problems: list[Problem] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    silenced: Counter[str] = field(default_factory=Counter)  # findings that a comment suppressed, by code
    facts: Facts | None = None  # of the program that was followed, where fixes are to be proven
    elsewhere: list[Finding] = field(default_factory=list)  # in files that nobody asked for, which fixes may not add to
    spent: list[str] = field(default_factory=list)

    def only(self, codes: frozenset[str]) -> Found:
        """What some of the rules found."""
        mine = [finding for finding in self.findings if finding.code in codes]
        silenced = Counter({code: number for code, number in self.silenced.items() if code in codes})
        return replace(self, findings=mine, silenced=silenced)


def ask(
    universe: Universe,
    known: Sequence[Rule],
    rules: Sequence[Rule],
    sources: Mapping[Path, Source] | None = None,
    prove: bool = False,
    memory: Memory | None = None,
) -> Found:
    """All findings for the files asked for. `sources`: other texts than the universe's own, while files are mended.
    `prove`: what is known of the program is kept too, so that fixes can be held against it. `memory` knows what parts of
    a big project showed before, in inquiries of the same kind."""
    sources = universe.sources if sources is None else sources
    found = Found()
    _run_rules(universe, rules, sources, found, prove, memory or Memory())
    settings = universe.settings
    shown = [finding for finding in dict.fromkeys(found.findings) if settings.pedantic or not finding.pedantic]
    found.findings = [finding for finding in shown if finding.path in universe.asked]
    found.elsewhere = [finding for finding in shown if finding.path not in universe.asked]
    _suppress(universe, known, rules, sources, found)
    found.findings.sort(key=lambda finding: finding.sort_key)
    return found


def _run_rules(
    universe: Universe,
    rules: Sequence[Rule],
    sources: Mapping[Path, Source],
    found: Found,
    prove: bool,
    memory: Memory,
) -> None:
    parts = units(universe, sources)
    if len(parts) == 1 and len(parts[0].files) == len(sources):  # it is remembered with the whole run
        answers = [answer(universe, parts[0], rules, sources, found, prove=prove)]
    else:
        answers = _answers(universe, parts, rules, sources, memory, prove)
    if prove:
        found.facts = _joined(answers)
        if found.facts is not None:
            for entry, haste in found.facts.haste.items():
                universe.haste.setdefault(entry, haste)
    for one in answers:
        found.findings += one.findings
        found.problems += one.problems
        found.spent += one.spent
    if universe.traced:
        wanted = {rule.code for rule in rules}
        judged = universe.traced.judge(found.findings, sources, universe.settings)
        found.findings = [finding for finding in judged if finding.code in wanted]
    if universe.watched:
        found.findings = universe.watched.judge(found.findings, rules, sources)


def _joined(answers: Sequence[Answer]) -> Facts | None:
    """What is known of all parts together; None where that of one is missing, as after a crash."""
    from tricklint.fix.facts import Facts

    joined = Facts()
    for one in answers:
        if one.facts is None:
            return None
        joined.add(one.facts)
    return joined


def _answers(
    universe: Universe,
    parts: Sequence[Unit],
    rules: Sequence[Rule],
    sources: Mapping[Path, Source],
    memory: Memory,
    prove: bool,
) -> list[Answer]:
    """The answer of each part, remembered or new."""
    keys = [part.key(sources, universe.asked, rules) for part in parts]

    def known(key: str) -> bool:
        one = memory.recall(key)
        return one is not None and (one.facts is None or one.facts.fit(universe.haste))

    new = {key: part for key, part in zip(keys, parts, strict=True) if not known(key)}
    if new:
        tidy = Tidy()
        for key, one in side_by_side(universe, new, rules, sources, prove):
            memory.keep(key, one)
        for key, part in new.items():
            if not known(key):
                memory.keep(key, answer(universe, part, rules, sources, prove=prove))
                tidy.after(part, sources)
        tidy.end()
    memory.only(keys, every=universe.asked.issuperset(sources))
    return [memory.recall(key) or Answer() for key in keys]


def answer(
    universe: Universe,
    unit: Unit,
    rules: Sequence[Rule],
    sources: Mapping[Path, Source],
    found: Found | None = None,
    *,
    prove: bool = False,
) -> Answer:
    """Follow one part and ask every rule. `found` takes the notes of a trace, for which the whole is one part. `prove`: what is
    known of the program is kept too."""
    from tricklint.program import Program

    settings = universe.settings
    one = Answer()
    universe.touched.clear()
    try:
        program = Program(
            {path: sources[path] for path in sorted(unit.files)},
            unit.roots,
            universe.import_roots(),
            universe.load,
            settings=settings,
            read=universe.read,
            followed=unit.followed,
            watch=universe.watch,
            asked=universe.asked,
            patience=universe.patience,
            haste=universe.haste,
        )
        if settings.trace and found is not None:
            _trace(program, universe, found)
    except (Exception, SystemExit) as error:
        one.problems.append(_crash("the interpreter", error))
        return one
    universe.ran = program.ran
    one.problems += program.problems
    one.spent = program.spent
    for rule in rules:
        universe.watch()
        try:
            found_by: object = rule.check(program)
            if not isinstance(found_by, Iterable):
                said = f"returned {type(found_by).__name__}, not findings: `check` yields them"
                one.problems.append(Problem(None, None, f"rule {rule.code} ({rule.name}) {said}"))
                continue
            for finding in found_by:
                wrong = _what_is_wrong(finding)
                if wrong:
                    one.problems.append(Problem(None, None, f"rule {rule.code} ({rule.name}) {wrong}"))
                    break
                one.findings.append(finding)
        except (Exception, SystemExit) as error:
            ours = type(rule).__module__.startswith("tricklint.rules.")
            one.problems.append(_crash(f"rule {rule.code} ({rule.name})", error, ours=ours))
    if prove:
        from tricklint.fix.facts import facts_of

        one.facts = facts_of(program)
    one.beyond = universe.digests_of(universe.touched)
    return one


def _trace(program: Program, universe: Universe, found: Found) -> None:
    """`--trace`, once a run: while files are mended the facts of the files on disk serve."""
    if universe.traced is None:
        from tricklint.traced import trace

        universe.traced = trace(program, universe.settings)
        found.problems += universe.traced.problems
        found.notes += universe.traced.notes
    program.facts = universe.traced.facts


def _what_is_wrong(finding: object) -> str:
    """What a rule yielded that is no finding, in words."""
    if not isinstance(finding, Finding):
        return f"yielded {type(finding).__name__} {str(finding)[:40]!r}, not a Finding"
    fields = {"path": Path, "location": Location, "end_location": Location, "severity": Severity, "message": str}
    for name, kind in fields.items():
        if not isinstance(getattr(finding, name), kind):
            return f"yielded a Finding whose {name} is {getattr(finding, name)!r}, not a {kind.__name__}"
    return ""


def _crash(what: str, error: Exception | SystemExit, *, ours: bool = True) -> Problem:
    """One line for a bug of ours, or of whoever wrote the rule; TRICKLINT_TRACEBACK=1 shows the rest."""
    if os.environ.get("TRICKLINT_TRACEBACK"):
        traceback.print_exception(error)
    last = traceback.extract_tb(error.__traceback__)[-1]
    message = str(error).splitlines()[0] if str(error) else ""
    where = f"{Path(last.filename).name}:{last.lineno}"
    rest = "please report" if ours else "TRICKLINT_TRACEBACK=1 shows more"
    return Problem(None, None, f"{what} crashed ({where}): {type(error).__name__}: {message}; {rest}")


def _suppress(
    universe: Universe, known: Sequence[Rule], rules: Sequence[Rule], sources: Mapping[Path, Source], found: Found
) -> None:
    settings = universe.settings
    # "!pattern" is about all files that the pattern does not match.
    per_file = [
        (Globs(settings.root, [pattern.removeprefix("!")]), pattern.startswith("!"), selectors)
        for pattern, selectors in settings.per_file_ignores
    ]

    def switched_off(path: Path) -> list[str]:
        hits = (selectors for globs, turned, selectors in per_file if bool(globs.verdict(str(path))) is not turned)
        return [selector for selectors in hits for selector in selectors]

    by_code = {rule.code: rule for rule in known}
    suppressions = Suppressions(known, rules)
    kept = []
    for finding in found.findings:
        rule = by_code.get(finding.code)
        if rule and matches(switched_off(finding.path), rule):
            continue
        if finding.path in sources and suppressions.suppressed(finding, sources[finding.path]):
            found.silenced[finding.code] += 1
        else:
            kept.append(finding)
    found.findings = kept
    if not any(isinstance(rule, UnusedIgnore) for rule in rules):
        return
    for path in universe.asked:
        source = sources.get(path)
        if source is None or not may_ignore(source):
            continue
        off = switched_off(path)
        for finding in suppressions.unused(source, [rule for rule in known if matches(off, rule)]):
            if not matches(off, by_code[finding.code]) and not suppressions.suppressed(finding, source):
                found.findings.append(finding)
