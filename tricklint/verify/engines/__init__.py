"""Where runs happen: processes of this machine (`local`), or tasks of a Ray cluster (`ray`)."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol

if TYPE_CHECKING:
    from tricklint.verify.devices import Card, Placement
    from tricklint.verify.records import Run

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

    def run(self, jobs: Sequence[Job], alone: bool = False, may_start: Callable[[], bool] | None = None) -> None:
        """`alone`: one after the other. Before each start `may_start` is asked; jobs after a no are left out."""
        ...

    def cards(self, pilot: Run) -> list[Card]:
        """The cards that runs like the pilot may go to."""
        ...

    def place(self, placement: Placement) -> None:
        """From now on runs go where the placement says."""
        ...

    def preload(self, names: Sequence[str]) -> None: ...

    def close(self) -> None: ...
