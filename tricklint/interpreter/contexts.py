"""`with` statements: what a context manager changes while it is open."""

from __future__ import annotations

import libcst as cst

from tricklint.interpreter.behaviour import ENTERED
from tricklint.interpreter.binding import assign
from tricklint.interpreter.machine import Machine, executes
from tricklint.interpreter.values import (
    Instance,
    Ref,
    Value,
    members,
)


@executes(cst.With)
def run_with(m: Machine, node: cst.With) -> int:
    grad = m.grad
    for item in node.items:
        value = m.eval(item.item)
        enter(m, value)
        if item.asname is not None:
            assign(m, item.asname.name, value, node)
    status = m.run_body(node.body)
    m.grad = grad
    return status


def enter(m: Machine, value: Value, decorates: bool = False) -> None:
    """Enter a context manager; `decorates`: it stands above a function, where its bare name serves too."""
    for member in members(value):
        name = (
            member.library
            if isinstance(member, Instance)
            else member.name
            if decorates and isinstance(member, Ref)
            else ""
        )
        handler = ENTERED.get(name)
        if handler is not None:
            handler(m, member)
