"""Looks at texts while they are mended: what was found before is not asked again, and proofs rest on it."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from tricklint.finding import Finding, Fix
from tricklint.fix.engine import Broken
from tricklint.source.text import Source

if TYPE_CHECKING:
    from tricklint.inquiry import Found

Ask = Callable[[Mapping[Path, Source]], "Found"]
KEPT = 16  # the texts before, and those of a search by halves: findings and facts, no program


class Looks:
    """`ask`: what every rule finds in some texts, with what is known of the program."""

    def __init__(self, ask: Ask) -> None:
        self._ask = ask
        self._seen: dict[tuple[str, ...], Found] = {}

    def at(self, sources: Mapping[Path, Source]) -> Found:
        texts = tuple(source.text for source in sources.values())
        found = self._seen.pop(texts, None) or self._ask(sources)
        if len(self._seen) >= KEPT:
            del self._seen[next(iter(self._seen))]  # the one that was not asked for the longest
        self._seen[texts] = found
        return found

    def prove(
        self, old: Mapping[Path, Source], new: Mapping[Path, Source], made: Sequence[tuple[Finding, Fix]]
    ) -> Broken | None:
        """What the fixes made between two texts break; None when they keep their word."""
        from tricklint.fix.proof import arisen, blamed, broken, lost_name, widest

        for path, source in new.items():
            if source is not old[path] and (name := lost_name(old[path].text, source.text)):
                there = [finding for finding, fix in made if any(edit.path == path for edit in fix.edits)]
                return Broken(f"it would read {name!r} where nothing has bound it", there)
        before, after = self.at(old), self.at(new)
        if after.problems and not before.problems:
            return Broken(f"the mended program could not be followed: {after.problems[0].message}")
        if before.facts is not None and after.facts is not None:
            why = broken(before.facts, after.facts, widest(fix.keeps for _, fix in made))
            if why:
                return Broken(why, blamed(before.facts, after.facts, made))
        was, now = (*before.findings, *before.elsewhere), (*after.findings, *after.elsewhere)
        more = arisen(was, now, [finding for finding, _ in made])
        if not more:
            return None
        still = {(finding.code, finding.path, finding.message) for finding in after.findings}
        left = [finding for finding, _ in made if (finding.code, finding.path) in more]
        left = [finding for finding in left if (finding.code, finding.path, finding.message) in still] or left
        code, path = more[0]
        if any(finding.code == code and finding.path == path for finding in left):
            return Broken(f"{code} would still be found", left)
        places = {place for _, place in more}  # what arises in a file that was mended most likely does so by that
        there = [finding for finding, fix in made if any(edit.path in places for edit in fix.edits)]
        return Broken(f"{code} would be found in {path.name}", left or there)
