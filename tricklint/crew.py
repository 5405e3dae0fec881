"""Parts of a big project, followed by several processes at once.

Each is given its parts one after the other, reads their files itself, and sends back what they showed. What no process
answers for, because it ended or there is but one processor, is left to whoever asked. A process takes as long to start as
hundreds of files to be read: where many are sure to be followed, it is started before they are.
"""

from __future__ import annotations

import os
import subprocess
import sys
import threading
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from queue import Empty, SimpleQueue
from typing import IO

from tricklint import wire
from tricklint.rule import Rule
from tricklint.settings import Settings
from tricklint.source.shelf import Raw
from tricklint.source.text import Source
from tricklint.units import Answer, Unit
from tricklint.universe import Universe

PROCESSES = "TRICKLINT_PROCESSES"
WORTH = 600_000  # characters to follow, below which a process more costs longer than it helps
MANY = 300  # files that may be followed, from which on processes are started before it is known what for
# The path is given, never found: the folder that is checked may hold modules of any name.
_START = "import sys; sys.path[:] = sys.argv[1:]; from tricklint.follower import main; main()"


@dataclass(frozen=True)
class Task:
    """What all parts have in common. `codes`: the rules that run; `broken`: files of the project with no source; `prove`: what
    is known of the programs is asked for as well."""

    settings: Settings
    codes: tuple[str, ...]
    asked: frozenset[Path]
    broken: frozenset[Path]
    prove: bool = False


def processes() -> int:
    given = os.environ.get(PROCESSES, "")
    if given.isdigit() and int(given):
        return int(given)
    try:
        return len(os.sched_getaffinity(0))
    except AttributeError:  # not on every system
        return os.cpu_count() or 1


class Crew:
    """The processes that stand ready."""

    def __init__(self) -> None:
        self._ready: list[subprocess.Popen[bytes]] = []

    def expect(self, universe: Universe, raws: Mapping[Path, Raw]) -> None:
        """Start processes where a run that knows nothing yet will follow many files."""
        speak = [len(raw.data) for raw in raws.values() if b"torch" in raw.data]
        count = min(processes(), sum(speak) // WORTH)
        if len(speak) > MANY and count > 1 and not universe.settings.trace and not universe.shelf.open:
            self._ready += [_started() for _ in range(count)]

    def take(self) -> subprocess.Popen[bytes]:
        return self._ready.pop() if self._ready else _started()

    def dismiss(self) -> None:
        """Those that nothing was given to end."""
        while self._ready:
            with self._ready.pop() as process:
                assert process.stdin is not None
                process.stdin.close()


def side_by_side(
    universe: Universe,
    parts: Mapping[str, Unit],
    rules: Sequence[Rule],
    sources: Mapping[Path, Source],
    prove: bool = False,
) -> list[tuple[str, Answer]]:
    """(key, answer) of parts, in no order. Texts that the disk does not hold cannot be followed elsewhere."""
    size = {key: part.size(sources) for key, part in parts.items()}
    count = min(processes(), len(parts), sum(size.values()) // WORTH)
    elsewhere = universe.settings.trace or universe.shelf.open or sources is not universe.sources
    if count < 2 or elsewhere or any(_is_local(rule) for rule in rules):
        return []
    codes = tuple(rule.code for rule in rules)
    task = Task(replace(universe.settings), codes, universe.asked, frozenset(universe.digests.keys() - sources.keys()), prove)
    waiting: SimpleQueue[tuple[str, Unit]] = SimpleQueue()
    for key in sorted(parts, key=lambda key: -size[key]):  # the longest first: they must not come last
        waiting.put((key, parts[key]))
    done: list[tuple[str, Answer]] = []
    crew = universe.crew or Crew()
    threads = [threading.Thread(target=_serve, args=(crew.take(), task, waiting, done)) for _ in range(count)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return done


def _is_local(rule: Rule) -> bool:
    """A rule that only this process knows."""
    return type(rule).__module__.partition(".")[0] in ("__main__", "tricklint_local_rules")


def _started() -> subprocess.Popen[bytes]:
    command = [sys.executable, "-c", _START, *[path for path in sys.path if path]]
    return subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE)


def _serve(
    process: subprocess.Popen[bytes],
    task: Task,
    waiting: SimpleQueue[tuple[str, Unit]],
    done: list[tuple[str, Answer]],
) -> None:
    """One process: hand it parts until there are none left."""
    with process:
        assert process.stdin is not None and process.stdout is not None
        try:
            _send(process.stdin, task)
            while True:
                try:
                    key, part = waiting.get_nowait()
                except Empty:
                    return
                _send(process.stdin, part)
                answer = wire.read(process.stdout)
                if not isinstance(answer, Answer):
                    return
                done.append((key, answer))
        except (BrokenPipeError, OSError):
            return
        finally:
            process.stdin.close()


def _send(stream: IO[bytes], message: object) -> None:
    stream.write(wire.pack(message))
    stream.flush()
