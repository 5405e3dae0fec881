"""Looks at texts while they are mended: what was found before is not asked again, and proofs rest on it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

from tricklint.finding import Finding, Fix
from tricklint.fix.engine import Broken, words
from tricklint.source.text import Source

if TYPE_CHECKING:
    from tricklint.inquiry import Found
    from tricklint.interpreter.yields import Haste

KEPT = 24  # the texts before, and those of a search by halves: findings and facts, no program
MOST = 0.6  # of what is followed: before and after, so much costs more than the whole once more
Texts = Mapping[Path, Source]


class Ask(Protocol):
    """What every rule finds in some texts, with what is known of the program. `within`: follow these files alone."""

    def __call__(self, now: Texts, within: frozenset[Path] | None = None, /) -> Found: ...


class Looks:
    """`ask`: each entry is followed as it was in the first look, which `haste` knows; `alone`: as if nothing had been asked
    before."""

    def __init__(
        self, ask: Ask, alone: Callable[[Texts], Found] | None = None, haste: Mapping[str, Haste] | None = None
    ) -> None:
        self._ask = ask
        self._alone = alone or ask
        self._haste = {} if haste is None else haste
        self._seen: dict[tuple[bool, frozenset[Path] | None, tuple[str, ...]], Found] = {}

    def at(self, sources: Texts, within: frozenset[Path] | None = None) -> Found:
        texts = _texts(sources)
        alone = self._seen.get((True, within, texts))
        if alone is not None and not self._otherwise(alone):
            return alone
        return self._kept(
            (False, within, texts), lambda: self._ask(sources) if within is None else self._ask(sources, within)
        )

    def settled(self, sources: Texts) -> Found:
        """As a run of its own finds it."""
        texts = _texts(sources)
        known = self._seen.get((False, None, texts))
        if known is not None and not (known.facts and known.facts.led):
            return known
        return self._kept((True, None, texts), lambda: self._alone(sources))

    def prove(
        self, old: Texts, new: Texts, made: Sequence[tuple[Finding, Fix]], within: frozenset[Path] | None = None
    ) -> Broken | None:
        """What the fixes made between two texts break; None when they keep their word. `within`: as far as these files go."""
        from tricklint.fix.lost_names import lost_name
        from tricklint.fix.proof import touched

        for path, source in new.items():
            if source is not old[path] and (name := lost_name(old[path].text, source.text)):
                there = [finding for finding, fix in made if path in touched(fix)]
                return Broken(f"it would read {name!r} where nothing has bound it", there)
        before = self.at(old, within)
        if within is not None:
            return _broken(before, self.at(new, within), made)
        broken = _broken(before, self.settled(new), made)
        return broken and self._as_before(old, new, made, broken)

    def _as_before(
        self, old: Texts, new: Texts, made: Sequence[tuple[Finding, Fix]], broken: Broken
    ) -> Broken | None:
        """What breaks in the whole program, with all of its entries followed as they were; most often few files tell that
        nothing does."""
        before, after = self.at(old), self.settled(new)
        if not self._otherwise(after):
            return broken
        more = _arisen(before, after, made)
        shows = broken.within if more is None or more.within else None
        if shows and after.facts and len(shows) < MOST * len({*after.facts.starts.values()}):
            if _broken(self.at(old, shows), self.at(new, shows), made) is None:
                return None
        return _broken(before, self.at(new), made)

    def _otherwise(self, found: Found) -> bool:
        return found.facts is not None and any(self._haste.get(entry, how) != how for entry, how in found.facts.haste.items())

    def _kept(self, key: tuple[bool, frozenset[Path] | None, tuple[str, ...]], ask: Callable[[], Found]) -> Found:
        found = self._seen.pop(key, None) or ask()
        if len(self._seen) >= KEPT:
            del self._seen[next(iter(self._seen))]  # the one that was not asked for the longest
        self._seen[key] = found
        return found


def _texts(sources: Texts) -> tuple[str, ...]:
    return tuple(source.text for source in sources.values())


def _broken(before: Found, after: Found, made: Sequence[tuple[Finding, Fix]]) -> Broken | None:
    from tricklint.fix.proof import blamed, breaches

    if after.problems and not before.problems:
        return Broken(f"the mended program could not be followed: {after.problems[0].message}")
    if before.facts is not None and after.facts is not None:
        found = list(breaches(before.facts, after.facts, made))
        if found:
            starts = {**after.facts.starts, **before.facts.starts}
            begun = frozenset(starts[breach.entry] for breach in found if breach.entry)
            if more := _arisen(before, after, made):
                begun |= more.within or frozenset()
            causes = {*map(id, blamed(before.facts, after.facts, made, found)), *map(id, more.by if more else ())}
            by = [finding for finding, _ in made if id(finding) in causes]
            return Broken(found[0].why, by, begun or None, vain=more.vain if more else {})
    return _arisen(before, after, made)


def _arisen(before: Found, after: Found, made: Sequence[tuple[Finding, Fix]]) -> Broken | None:
    """Findings that the program had not before, and fixes that leave their own."""
    from tricklint.fix.proof import arisen, touched

    was, now = (*before.findings, *before.elsewhere), (*after.findings, *after.elsewhere)
    more = arisen(was, now, [finding for finding, _ in made])
    if not more:
        return None
    had, still = _counted(before.findings), _counted(after.findings)
    left = [finding for finding, _ in made if (finding.code, finding.path) in more]
    same = [finding for finding in left if words(finding) in still]
    vain = {
        id(finding): f"{finding.code} would still be found"
        for finding in same
        if still[words(finding)] >= had[words(finding)]  # of fewer than there were it may be one that is gone
    }
    left = same or left
    places = {place for _, place in more if not any(finding.path == place for finding in left)}
    # what arises in a file that was mended most likely does so by that
    there = [finding for finding, fix in made if not places.isdisjoint(touched(fix))]
    within = _leading(before, after, {place for _, place in more})
    if within and not left and not there:
        files = _run_by(before, within) | _run_by(after, within)
        there = [finding for finding, fix in made if not files.isdisjoint(touched(fix))]
    code, path = more[0]
    if any(finding.code == code and finding.path == path for finding in left):
        return Broken(f"{code} would still be found", [*left, *there], within, arisen=not same, vain=vain)
    return Broken(f"{code} would be found in {path.name}", [*left, *there], within, arisen=True, vain=vain)


def _counted(findings: Sequence[Finding]) -> Counter[tuple[str, Path, str]]:
    return Counter(map(words, findings))


def _leading(before: Found, after: Found, paths: set[Path]) -> frozenset[Path] | None:
    """The files to follow so that nothing is missed that `paths` show; None when they are most of all."""
    if before.facts is None or after.facts is None:
        return None
    starts = {*before.facts.starts.values(), *after.facts.starts.values()}
    found = starts & (before.facts.leading_to(paths) | after.facts.leading_to(paths))
    return frozenset(found) if found and len(found) < MOST * len(starts) else None


def _run_by(found: Found, starts: frozenset[Path]) -> set[Path]:
    return found.facts.run_by(starts) if found.facts is not None else set()
