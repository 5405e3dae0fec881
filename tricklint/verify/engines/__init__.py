"""Where runs happen: processes of this machine (`local`), or tasks of a Ray cluster (`ray`)."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

Payload = dict[str, Any]
TIMED_OUT = -1000  # the exit status that is reported of a run that was ended for taking too long


@dataclass
class Job:
    """One run to be made. `prepare` is called just before it starts and returns the runner's payload; `finish` gets
    the record (None when the process died without one) and the exit status."""

    id: str
    prepare: Callable[[], Payload]
    finish: Callable[[Payload | None, int], None]
    timeout_s: float | None = None


class Engine(Protocol):
    """Runs jobs; returns when all are finished. KeyboardInterrupt ends what runs and is raised again."""

    workers: int

    def run(self, jobs: Sequence[Job], alone: bool = False) -> None:
        """`alone`: one after the other."""
        ...

    def preload(self, names: Sequence[str]) -> None: ...

    def close(self) -> None: ...
