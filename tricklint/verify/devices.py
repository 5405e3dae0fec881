"""Where the runs of a session go: which cards there are, how many runs fit on one, and what each run may see.

The pilot run is the measure: what it reserved on its card, on how many cards and in how many processes it trained, and
which loaders' workers it kept beside it.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

from tricklint.verify.records import Run

CONTEXT = 600 << 20  # bytes that a process takes on a card before its first tensor
USABLE = 0.9  # of what is free: the allocator leaves holes
VISIBLE = ("CUDA_VISIBLE_DEVICES", "HIP_VISIBLE_DEVICES")
_ASK = """
import json, torch
found = []
for i in range(torch.cuda.device_count()):
    free, total = torch.cuda.mem_get_info(i)
    found.append({"name": torch.cuda.get_device_name(i), "free": free, "total": total})
print("cards " + json.dumps(found))
"""


@dataclass(frozen=True)
class Card:
    """One accelerator. `id`: what CUDA_VISIBLE_DEVICES calls it."""

    id: str
    name: str
    total: int
    free: int


@dataclass(frozen=True)
class Seat:
    """Where one run goes: the cards that it sees (none: as the user's environment says)."""

    cards: tuple[str, ...] = ()

    @property
    def environment(self) -> dict[str, str]:
        return dict.fromkeys(VISIBLE, ",".join(self.cards)) if self.cards else {}


@dataclass(frozen=True)
class Placement:
    """All seats of a machine. `sharing`: how many runs at most are on one card; `share`: of a card (or how many cards)
    that a run takes, `cores`: that a run keeps busy."""

    seats: tuple[Seat, ...]
    sharing: int = 1
    share: float = 0.0
    cores: int = 1
    cards: tuple[str, ...] = field(default=())  # their names

    def __str__(self) -> str:
        if not self.cards:
            return ""
        kinds = ", ".join(f"{self.cards.count(name)} x {name}" for name in dict.fromkeys(self.cards))
        return f"cards: {kinds}; {len(self.seats)} runs at a time, at most {self.sharing} on a card"


def cards_here(python: str | None = None) -> list[Card]:
    """The cards that this user may use now, asked of a process of its own: a context in ours would take memory."""
    try:
        done = subprocess.run(
            [python or sys.executable, "-c", _ASK], capture_output=True, text=True, timeout=120, check=True
        )
        line = next(line for line in done.stdout.splitlines() if line.startswith("cards "))
        found: list[dict[str, Any]] = json.loads(line[6:])
    except (OSError, subprocess.SubprocessError, StopIteration, ValueError):
        return []
    named = next((os.environ[name].split(",") for name in VISIBLE if os.environ.get(name)), [])
    ids = [word.strip() for word in named] if len(named) >= len(found) else [str(i) for i in range(len(found))]
    return [Card(id_, card["name"], card["total"], card["free"]) for id_, card in zip(ids, found)]


def memory_here() -> int:
    """Bytes of the machine's memory that may be used now."""
    import torch

    from tricklint.verify.memory import free_bytes

    return free_bytes(torch.device("cpu"))


def place(
    pilot: Run,
    cores: int,
    asked: int | None = None,
    cards: Callable[[], Sequence[Card]] = cards_here,
    memory: Callable[[], int] = memory_here,
) -> Placement:
    """The seats for runs like the pilot: what its card, its loaders' workers and the machine's memory allow, or as many
    as the user `asked` for."""
    measured = pilot.memory
    processes = int(measured.get("processes", 1))
    workers = int(measured.get("loaders", 0))
    busy = processes * (1 + workers)
    most = max(1, cores // busy)
    need = float(measured.get("rss", 0)) + float(measured.get("loaders_rss", 0)) * processes
    if need:
        most = min(most, max(1, int(memory() * USABLE / need)))
    most = asked or most
    found = list(cards()) if "cuda" in measured else []
    if not found:
        return Placement((Seat(),) * most, cores=busy)
    each = max(1, int(measured.get("cards", 1)), processes)
    names = tuple(card.name for card in found)
    if each > 1:
        groups = [found[i : i + each] for i in range(0, len(found) - each + 1, each)] or [found]
        seats = [Seat(tuple(card.id for card in group)) for group in groups][:most]
        return Placement(tuple(seats), 1, float(each), busy, names)
    taken = float(measured.get("reserved", measured["cuda"])) + CONTEXT
    fits = {card.id: max(0, int(card.free * USABLE / taken)) for card in found}
    if not any(fits.values()):  # it ran a moment ago: the fullest view of the emptiest card
        fits[max(found, key=lambda card: card.free).id] = 1
    rounds = range(most if asked else max(fits.values()))
    turns = [card.id for turn in rounds for card in found if asked or fits[card.id] > turn][:most]
    sharing = max(turns.count(id_) for id_ in turns)
    share = taken / (min(float(card.total) for card in found) * USABLE)
    return Placement(tuple(Seat((id_,)) for id_ in turns), sharing, min(1.0, _share(share)), busy, names)


def _share(part: float) -> float:
    """The smallest 1/n of a card that holds `part` of it, which a scheduler can hand out without a rest."""
    count = max(1, int(1 / part)) if part > 0 else 1
    return 1.0 / count
