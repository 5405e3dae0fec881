"""`for` and `while`."""

from __future__ import annotations

import libcst as cst

from tricklint.interpreter.binding import assign
from tricklint.interpreter.events import Iterated, Loop
from tricklint.interpreter.iteration import rounds, unrolled
from tricklint.interpreter.machine import BREAK, CONTINUE, FALL, RAISE, RETURN, Machine, executes
from tricklint.interpreter.values import (
    Dict,
    Sequence,
    Value,
)


def counts_rounds(m: Machine, node: cst.AugAssign) -> bool:
    """A number that grows in a loop whose rounds are not known one by one: `step += 1`."""
    if not m.loops or m.loops[-1].file is not m.file:
        return False
    loop = m.loops[-1]
    over = loop.over
    if isinstance(over, (Sequence, Dict)) and (isinstance(over, Dict) or not over.open):
        return False
    return any(up is loop.node for up in m.file.tree.ancestors(node))


@executes(cst.For)
def run_for(m: Machine, node: cst.For) -> int:
    over = m.eval(node.iter)
    elements = rounds(m, unrolled(m, over), node)
    outer = m.loops
    m.emit(Iterated(m.now(node), over))
    status = FALL
    for element in elements:
        m.seq += 1
        m.loops = [*outer, Loop(node, over, m.file, m.seq)]
        length = len(m.path)
        assign(m, node.target, element, node)
        status = m.run_body(node.body)
        del m.path[length:]
        if status in (RETURN, RAISE):
            break
        if status == BREAK:
            break
    m.loops = outer
    if status in (BREAK, CONTINUE, RAISE):
        status = FALL
    if status == RETURN:
        status = FALL if may_be_empty(m, over) else RETURN
    if node.orelse is not None and status == FALL:
        m.run_body(node.orelse.body)
    return status


def may_be_empty(m: Machine, over: Value) -> bool:
    return not (isinstance(over, Sequence) and over.items and not over.open)


@executes(cst.While)
def run_while(m: Machine, node: cst.While) -> int:
    outer = m.loops
    m.eval(node.test)
    m.seq += 1
    m.loops = [*outer, Loop(node, None, m.file, m.seq)]
    length = len(m.path)
    status = m.run_body(node.body)
    del m.path[length:]
    m.loops = outer
    return FALL if status in (BREAK, CONTINUE, RAISE) or status == RETURN else status
