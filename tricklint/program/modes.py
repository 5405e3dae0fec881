"""Layers that act differently in training and evaluation, and mode switches that could not be followed."""

from __future__ import annotations

from typing import TYPE_CHECKING

import libcst as cst

from tricklint.interpreter.events import Event
from tricklint.interpreter.values import (
    Instance,
)
from tricklint.knowledge import layers
from tricklint.libraries.events import ModeSet
from tricklint.libraries.facts import ModuleFacts
from tricklint.libraries.modules import submodules
from tricklint.program.transfer import holds_norms
from tricklint.source.tree import walk

if TYPE_CHECKING:
    from tricklint.program.program import Program


def behaves_differently(module: Instance) -> Instance | None:
    """A dropout or batch norm layer below `module`, a library's model that has some, or None."""
    whole = None
    for _, at in submodules(module):
        if at.library in layers.DROPOUT or at.library in layers.BATCH_NORM:
            return at
        if whole is None and at.part_of is None and holds_norms(at):
            whole = at
    return whole


def layer_name(layer: Instance) -> str:
    """What to call what `behaves_differently` found."""
    return "batch norm" if layer.fact(ModuleFacts).family else layer.label


def unfollowed_mode_call(program: Program, event: Event, name: str) -> bool:
    """Whether some `x.eval()` / `x.train()` in the code around an event was not followed to a model, so that it may be the
    one looked for: in the files of the functions that are running, or in one that the same entry has run."""
    known = _mode_calls(program)
    files = {event.file, *(func.file for func in event.stack)}
    words = {name, "train"}  # train(False) is eval()
    for file in files:
        if f".{name}(" not in file.tree.text and ".train(" not in file.tree.text:
            continue
        for node in walk(file.tree.module):
            if isinstance(node, cst.Call) and isinstance(node.func, cst.Attribute) and node.func.attr.value in words:
                if node.func.attr.value != name and name == "eval" and not node.args:
                    continue
                if node not in known and node not in program.called:
                    return True
    return False


def _mode_calls(program: Program) -> set[cst.CSTNode]:
    """The calls that were followed to models."""
    found = program.remember("mode calls", lambda: {event.node for event in program.events(ModeSet)})
    assert isinstance(found, set)
    return found


__all__ = ["behaves_differently", "layer_name", "unfollowed_mode_call"]
