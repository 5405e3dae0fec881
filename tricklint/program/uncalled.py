"""Methods that a program has and never asks for: what they would do does not happen."""

from __future__ import annotations

import libcst as cst

from tricklint.interpreter.events import Event
from tricklint.program.program import Program
from tricklint.source.once import once_a_tree
from tricklint.source.tree import Tree, walk

# Bases that call no method which a class of the program defines under a name of its own
_CALL_NOTHING = frozenset(("torch.nn.Module", "torch.nn.Sequential", "builtins.object"))


def never_called(program: Program, event: Event) -> bool:
    """The event happens in a method, or a function, that was only followed since nothing calls it: its name stands nowhere but
    where it is defined, and no library calls it by that name."""
    stack = event.activation.stack
    if event.entry.startswith("run ") or not stack or not isinstance(stack[0].node, cst.FunctionDef):
        return False
    func = stack[0]
    if func.decorators or (func.owner is not None and not _CALL_NOTHING.issuperset(func.owner.libraries())):
        return False
    if func.owner is not None and not func.owner.knows_bases:
        return False
    for path, source in program.sources.items():
        if func.name in source.text:
            module = program.project.module(path)
            if module is None or func.name in _asked_for(module.tree):
                return False
    return True


@once_a_tree
def _asked_for(tree: Tree) -> frozenset[str]:
    """What a file reads by name, as an attribute, or writes as a text: where the names of definitions stand does not count."""
    found: set[str] = set()
    defined = {id(node.name) for node in walk(tree.module) if isinstance(node, (cst.FunctionDef, cst.ClassDef))}
    for node in walk(tree.module):
        if isinstance(node, cst.Name) and id(node) not in defined:
            found.add(node.value)
        elif isinstance(node, cst.SimpleString):
            found.update(part for part in node.raw_value.split(".") if part.isidentifier())
    return frozenset(found)
