"""Layers that act differently in training and evaluation, and mode switches that could not be followed."""

from __future__ import annotations

from typing import TYPE_CHECKING

import libcst as cst

from tricklint.knowledge import layers
from tricklint.program.events import Event
from tricklint.program.objects import submodules
from tricklint.program.values import Instance
from tricklint.source.tree import walk

if TYPE_CHECKING:
    from tricklint.program.program import Program


def behaves_differently(module: Instance) -> Instance | None:
    """A dropout or batch norm layer below `module`, or None."""
    for _, at in submodules(module):
        if at.library in layers.DROPOUT or at.library in layers.BATCH_NORM:
            return at
    return None


def unfollowed_mode_call(program: Program, event: Event, name: str, anywhere: bool) -> bool:
    """Whether some `x.eval()` / `x.train()` in the files around an event was not followed to a model, so that it may be
    the one looked for. With `anywhere`, any such call in a file of the program counts."""
    known = {each.node for each in program.events("mode")}
    files = {event.file, *(func.file for func in event.stack)}
    if anywhere:
        files = set(program.project.loaded())
    words = {name, "train"}  # train(False) is eval()
    for file in files:
        if f".{name}(" not in file.tree.text and ".train(" not in file.tree.text:
            continue
        for node in walk(file.tree.module):
            if isinstance(node, cst.Call) and isinstance(node.func, cst.Attribute) and node.func.attr.value in words:
                if node.func.attr.value != name and (name == "eval" and not node.args):
                    continue
                if anywhere or node not in known:
                    return True
    return False


__all__ = ["behaves_differently", "unfollowed_mode_call"]
