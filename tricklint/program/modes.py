"""Layers that act differently in training and evaluation, and mode switches that could not be followed."""

from __future__ import annotations

from collections import defaultdict
from typing import TYPE_CHECKING

import libcst as cst

from tricklint.interpreter.events import Event
from tricklint.interpreter.values import (
    Class,
    Instance,
)
from tricklint.knowledge import layers
from tricklint.libraries.events import ModeSet
from tricklint.libraries.facts import ModuleFacts
from tricklint.libraries.modules import submodules
from tricklint.libraries.paramsets import roots_of
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


def unfollowed_mode_call(program: Program, event: Event, name: str, anywhere: bool) -> bool:
    """Whether some `x.eval()` / `x.train()` in the files around an event was not followed to a model, so that it may be
    the one looked for. With `anywhere`, any such call in a file of the program counts that was not followed to models of
    other kinds alone."""
    known: dict[cst.CSTNode, list[Event]] = defaultdict(list)
    for each in program.events(ModeSet):
        known[each.node].append(each)
    kinds = {_kind(module) for module in _modules(event)}
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
                if node not in known:
                    return True
                if anywhere and any(not kinds.isdisjoint(map(_kind, _modules(each))) for each in known[node]):
                    return True
    return False


def _modules(event: Event) -> list[Instance]:
    """The modules that an event is about, with all below them."""
    return [module for root in roots_of(event.subject) for _, module in submodules(root)]


def _kind(module: Instance) -> object:
    """A class of the program, or the place where a library's module is built."""
    return module.cls if isinstance(module.cls, Class) else module.node


__all__ = ["behaves_differently", "layer_name", "unfollowed_mode_call"]
