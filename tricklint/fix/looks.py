"""Looks at texts while they are mended: what was found before is not asked again, and proofs rest on it."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from tricklint.finding import Finding, Fix
from tricklint.source.text import Source

if TYPE_CHECKING:
    from tricklint.inquiry import Found

Ask = Callable[[Mapping[Path, Source]], "Found"]


class Looks:
    """`ask`: what every rule finds in some texts, with what is known of the program."""

    def __init__(self, ask: Ask) -> None:
        self._ask = ask
        self._seen: dict[int, tuple[tuple[Source, ...], Found]] = {}  # the sources keep their ids as long as they stand here

    def at(self, sources: Mapping[Path, Source]) -> Found:
        texts = tuple(sources.values())
        state = hash(tuple(map(id, texts)))
        if state not in self._seen:
            if len(self._seen) > 3:
                del self._seen[next(iter(self._seen))]
            self._seen[state] = (texts, self._ask(sources))
        return self._seen[state][1]

    def prove(self, old: Mapping[Path, Source], new: Mapping[Path, Source], made: Sequence[tuple[Finding, Fix]]) -> str:
        """What the fixes made between two texts break; "" when they keep their word."""
        from tricklint.fix.proof import arisen, broken, lost_name, widest

        for path, source in new.items():
            if source is not old[path] and (name := lost_name(old[path].text, source.text)):
                return f"it would read {name!r} where nothing has bound it"
        before, after = self.at(old), self.at(new)
        if after.problems and not before.problems:
            return f"the mended program could not be followed: {after.problems[0].message}"
        if before.facts is not None and after.facts is not None:
            why = broken(before.facts, after.facts, widest(fix.keeps for _, fix in made))
            if why:
                return why
        more = arisen(before.findings, after.findings, [finding for finding, _ in made])
        if more is None:
            return ""
        code, path = more
        if any(finding.code == code and finding.path == path for finding, _ in made):
            return f"{code} would still be found"
        return f"{code} would be found in {path.name}"
