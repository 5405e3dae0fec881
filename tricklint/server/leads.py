"""What has to be followed for a file: what may run it by the text of imports, or fewer, once a run has shown who does.

Imports are run when what they bind is used, so most files that import another by their text never come to it.
"""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from tricklint.source.imports import Imports, closure
from tricklint.universe import Universe


class Leads:
    def __init__(self, imports: Imports) -> None:
        self._imports = imports
        # For a file: the texts of all that may lead to it when that was learned, and what did.
        self._learned: dict[Path, tuple[int, frozenset[Path]]] = {}

    def to(self, paths: Iterable[Path], universe: Universe) -> frozenset[Path]:
        """The files to follow, so that nothing is missed that `paths` show."""
        found: set[Path] = set()
        for path in paths:
            may = self._imports.reaching([path])
            stamp, known = self._learned.get(path, (0, frozenset()))
            found |= known if stamp == _stamp(path, may, universe) else may
        return frozenset(found)

    def learn(self, paths: Iterable[Path], universe: Universe) -> None:
        """After a run of what leads to `paths`. A file's own text may change without changing who comes to it."""
        importers: dict[Path, list[Path]] = {}
        for importer, imported in universe.ran.items():
            for target in imported:
                importers.setdefault(target, []).append(importer)
        for path in paths:
            stamp = _stamp(path, self._imports.reaching([path]), universe)
            self._learned[path] = (stamp, frozenset(closure([path], lambda at: importers.get(at, ()))))


def _stamp(path: Path, may: Iterable[Path], universe: Universe) -> int:
    return hash(frozenset((other, universe.digests.get(other)) for other in may if other != path))
