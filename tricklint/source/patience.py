"""How long an answer may take where one is wanted soon, as an editor's is that has just opened a file."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class Patience:
    """Until `far` on the clock other files are read and followed as well, until `end` only the `own` ones. What lies
    beyond stays unknown, as what cannot be read does."""

    own: frozenset[Path]
    far: float
    end: float
    clock: Callable[[], float] = time.monotonic

    def passes_by(self, path: Path) -> bool:
        """Whether what stands in a file is left unknown from now on."""
        return path not in self.own and self.clock() > self.far

    @property
    def over(self) -> bool:
        return self.clock() > self.end
