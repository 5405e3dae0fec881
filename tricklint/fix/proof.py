"""The proof that a fix kept its word: what the program knows before and after the edits, held against each other.

The mended texts are followed by our own interpreter before anything is written. A fix whose post-condition (`Keeps`)
fails is not made.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import chain
from pathlib import Path
from typing import Any

from tricklint.finding import Finding, Fix, Keeps
from tricklint.fix.facts import Facts, Given

Made = Sequence[tuple[Finding, Fix]]


@dataclass(frozen=True)
class Breach:
    """What some fixes do not keep, in words. `entry`: where; "" when it is not of one entry. `paths`: the files it is in, where
    that is known."""

    why: str
    entry: str = ""
    paths: frozenset[Path] = frozenset()


def touched(fix: Fix) -> set[Path]:
    return {edit.path for edit in fix.edits}


def widest(all_keeps: Iterable[Keeps]) -> Keeps:
    """What several fixes, made together, may change between them."""
    order = {"same": 0, "fewer": 1, "more": 1, "any": 2}

    def loosest(values: set[str]) -> str:
        return "any" if {"fewer", "more"} <= values else max(values, key=lambda value: order[value])

    each = list(all_keeps) or [Keeps()]
    chosen: dict[str, Any] = {
        name: loosest({getattr(keeps, name) for keeps in each})
        for name in ("optimised", "frozen", "modes", "cleared", "keys")
    }
    return Keeps(**chosen)


def breaches(before: Facts, after: Facts, made: Made) -> Iterator[Breach]:
    """What the mended program does not keep of what the fixes promise: for each entry, those in files that it runs. What runs
    no mended file does what it did; a function that only one of the programs had to enter by itself is part of other
    entries in the other."""
    new = after.unbound - before.unbound
    if new and after.unbound.total() > before.unbound.total():
        for path, name in sorted(new):
            yield Breach(f"it would read {name!r} where nothing has bound it", paths=frozenset([Path(path)]))
    edited = [(fix.keeps, touched(fix)) for _, fix in made]
    promised: dict[tuple[Path, Path], list[Keeps]] = {}  # by where an entry begins: many begin in one file
    was, now = before.by_entry(), after.by_entry()
    for entry in sorted(before.starts.keys() & after.starts.keys()):
        begins = before.starts[entry], after.starts[entry]
        if begins not in promised:
            files = before.run_by(begins[:1]) | after.run_by(begins[1:])
            promised[begins] = [keeps for keeps, paths in edited if not files.isdisjoint(paths)]
        if not promised[begins] or entry in before.incomplete:  # where it was left says nothing
            continue
        if entry in after.incomplete:
            yield Breach("the mended program could not be followed to its end", entry)
        elif why := _broken(was[entry], now[entry], widest(promised[begins])):
            yield Breach(why, entry)


def _broken(before: Facts, after: Facts, keeps: Keeps) -> str:
    """What an entry of the mended program does not keep; "" when it keeps all."""
    if keeps.keys != "any":
        for owner, keys in before.keys.items():
            now = after.keys.get(owner)
            if now is None or keys == now or (keeps.keys == "more" and keys <= now):
                continue
            return f"{owner[0]}'s state_dict would have other keys: {', '.join(sorted(keys ^ now)[:3])}"
    if keeps.optimised != "any":
        was_built, now_built = (list(chain(*facts.optimised.values())) for facts in (before, after))
        if why := _optimised(was_built, now_built, keeps.optimised):
            return why
    if keeps.frozen == "same":
        for event, count in before.gradients.items():
            if count and not after.gradients[event]:
                return f"no gradient would come to {event[1][0]} any more"  # type: ignore[index]
    for kept, was, now_is, why in (
        (keeps.frozen, before.frozen, after.frozen, "other parameters would be frozen than before"),
        (keeps.modes, before.modes, after.modes, "train() and eval() would be called otherwise than before"),
        (keeps.cleared, before.cleared, after.cleared, "gradients would be cleared otherwise than before"),
    ):
        if kept == "same" and any(was[event] != now_is[event] for event in was | now_is):
            return why
    return ""


def _optimised(was_built: Sequence[tuple[str, Given]], now_built: Sequence[tuple[str, Given]], allowed: str) -> str:
    if len(was_built) != len(now_built):
        return f"{len(now_built)} optimizers would be built, not {len(was_built)}"
    for (label, old), (_, new) in zip(was_built, now_built, strict=True):
        for key in old.keys() & new.keys():
            was, now = old[key], new[key]
            if was is None or now is None or was == now:
                continue
            if (allowed == "fewer" and now < was) or (allowed == "more" and now > was) or (was > 1 and now == 1):
                continue
            return f"{label} would be given {key[1]} {now} times, not {was}"
        known = [count for count in new.values() if count is not None]
        if old and new and len(known) == len(new) and not any(known):
            return f"{label} would be given nothing to train"
    return ""


def blamed(before: Facts, after: Facts, made: Made, found: Sequence[Breach]) -> list[Finding]:
    """The findings whose fixes are likely the cause: in files that hold more or fewer events than before, where an entry that
    is broken runs such a file, else in any file that it runs."""
    changed = {place[1] for place in before.places | after.places if before.places[place] != after.places[place]}
    causes: set[int] = set()
    for breach in found:
        files = set(breach.paths)
        if breach.entry:
            files |= before.reached([breach.entry]) | after.reached([breach.entry])
        near = [finding for finding, fix in made if not files.isdisjoint(touched(fix))]
        likely = [finding for finding, fix in made if not (files & changed).isdisjoint(touched(fix))]
        causes |= {id(finding) for finding in likely or near}
    return [finding for finding, _ in made if id(finding) in causes]


def arisen(
    before: Iterable[Finding], after: Iterable[Finding], mended: Iterable[Finding] = ()
) -> list[tuple[str, Path]]:
    """Rules and files in which the mended program has more findings than before, those in `mended` taken away."""
    was = Counter((finding.code, finding.path) for finding in before)
    was.subtract(Counter((finding.code, finding.path) for finding in mended))
    now = Counter((finding.code, finding.path) for finding in after)
    return sorted((place for place in now if now[place] > max(was[place], 0)), key=str)


__all__ = ["Breach", "Made", "arisen", "blamed", "breaches", "touched", "widest"]
