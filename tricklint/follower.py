"""The other end of `crew`: a process that follows the parts it is given, one after the other."""

from __future__ import annotations

import gc
import os
import sys
from typing import IO

from tricklint import wire
from tricklint.check import known_rules
from tricklint.crew import Task
from tricklint.inquiry import answer
from tricklint.rule import load_built_in
from tricklint.source.screen import with_deep_stack
from tricklint.source.text import SourceError
from tricklint.units import Tidy, Unit
from tricklint.universe import Universe


def main() -> None:
    out = os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)  # nothing that a rule prints may come between the answers
    with_deep_stack(lambda: _follow(sys.stdin.buffer, out))


def _get_ready() -> None:
    """What is needed whatever there will be to do: it may be a while until that is known."""
    from tricklint.libraries import load
    from tricklint.program import Program as Program

    load()
    load_built_in()


def _follow(stream: IO[bytes], out: IO[bytes]) -> None:
    gc.disable()
    _get_ready()
    task = wire.read(stream)
    if not isinstance(task, Task):
        return
    rules = [rule for rule in known_rules(task.settings) if rule.code in task.codes]
    universe = Universe(task.asked, task.settings, digests=dict.fromkeys(task.broken))
    tidy = Tidy()
    while isinstance(unit := wire.read(stream), Unit):
        try:
            universe.sources = {path: universe.shelf.read(path).source for path in sorted(unit.files)}
        except SourceError:  # it changed meanwhile: whoever asked has the texts
            return
        out.write(wire.pack(answer(universe, unit, rules, universe.sources, prove=task.prove)))
        out.flush()
        tidy.after(unit, universe.sources)
