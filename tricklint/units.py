"""A big project in parts that know nothing of each other: followed one by one or side by side, remembered one by one.

Parts are the connected components of who imports whom. How many processes there are changes nothing but the time: a
part is followed from the same files, and answers come in the order of the parts.
"""

from __future__ import annotations

import gc
import hashlib
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from tricklint.finding import Finding
from tricklint.rule import Rule
from tricklint.source.imports import Imports, components
from tricklint.source.text import Problem, Source
from tricklint.universe import Universe

if TYPE_CHECKING:
    from tricklint.fix.facts import Facts

FEW = 50  # roots: a project of so few is one part
ROW_WORD = "iterrows"  # what a class that defines this method means in one file counts wherever it is called
ROW_METHOD = f"def {ROW_WORD}"
COLLECTED = 300_000  # characters of followed text after which what is no longer needed is freed


@dataclass(frozen=True)
class Unit:
    """`roots`: the files an inquiry starts from; `followed`: those that are followed for their own sake, in order;
    `files`: all that a run of them may come to."""

    roots: tuple[Path, ...]
    followed: tuple[Path, ...]
    files: frozenset[Path]

    def key(self, sources: Mapping[Path, Source], asked: frozenset[Path], rules: Sequence[Rule]) -> str:
        """Changes with everything in the project that the answer hangs on."""
        texts = (f"{path}\0{sources[path].digest}\0{path in asked}" for path in sorted(self.files))
        parts = (
            "\n".join(rule.code for rule in rules),
            *map(str, self.roots),
            "",
            *map(str, self.followed),
            "",
            *texts,
        )
        return hashlib.blake2b(os.fsencode("\n".join(parts)), digest_size=16).hexdigest()

    def size(self, sources: Mapping[Path, Source]) -> int:
        return sum(len(sources[path].text) for path in self.files)


@dataclass
class Answer:
    """What a unit showed. `beyond`: the files outside the project that were looked at, with their digests. `facts`: what is
    known of its program, where fixes are to be proven."""

    findings: list[Finding] = field(default_factory=list)
    problems: list[Problem] = field(default_factory=list)
    spent: list[str] = field(default_factory=list)
    beyond: dict[Path, str | None] = field(default_factory=dict)
    facts: Facts | None = None


def units(universe: Universe, sources: Mapping[Path, Source]) -> list[Unit]:
    """The parts of a project that come to a file that was asked for, in the order of their first files; one where the
    project is small."""
    from tricklint.program import followed

    roots = sorted(universe.roots)
    start = followed(sources, roots)
    if universe.entries is not None:
        roots = [path for path in roots if path in universe.entries]
        start = [path for path in start if path in universe.entries]
    few = min(len(roots), len(start)) <= FEW  # of a library of models only what trains is followed
    if few or universe.settings.trace or universe.entries is not None:
        return [Unit(tuple(roots), tuple(start), frozenset(sources))] if roots else []
    return _parts(universe, sources, roots, start)


def _parts(
    universe: Universe, sources: Mapping[Path, Source], roots: Sequence[Path], start: Sequence[Path]
) -> list[Unit]:
    imports = Imports({path: source.text for path, source in sources.items()}, universe.import_roots())
    with_rows = {path for path, source in sources.items() if ROW_METHOD in source.text}
    wanted, turn = set(roots), {path: at for at, path in enumerate(start)}
    found = []
    for group in components(sorted({*roots, *start}), imports):
        files = imports.reached(group)
        if universe.asked.isdisjoint(files):
            continue
        if any(ROW_WORD in sources[path].text for path in group):
            files |= with_rows
        begun = sorted((path for path in group if path in turn), key=turn.__getitem__)
        found.append(Unit(tuple(path for path in group if path in wanted), tuple(begun), frozenset(files)))
    return found


class Tidy:
    """Frees what followed units leave behind, which are circles of objects, while the collector is off."""

    def __init__(self) -> None:
        self._size = 0
        self._froze = not gc.get_freeze_count()  # what the caller froze is left alone
        if self._froze:
            gc.freeze()

    def end(self) -> None:
        if self._froze:
            gc.unfreeze()

    def after(self, unit: Unit, sources: Mapping[Path, Source]) -> None:
        for path in unit.files:
            sources[path].let_tree_go()
        self._size += unit.size(sources)
        if self._size > COLLECTED:
            gc.collect()  # what is left is little, and frozen it could not be freed once it is no longer needed
            self._size = 0
