"""`for` and `while`."""

from __future__ import annotations

import libcst as cst

from tricklint.interpreter.binding import assign
from tricklint.interpreter.events import Iterated, Loop
from tricklint.interpreter.iteration import rounds, unrolled
from tricklint.interpreter.machine import BREAK, CONTINUE, FALL, RAISE, RETURN, Machine, executes
from tricklint.interpreter.values import (
    Dict,
    Instance,
    Sequence,
    Value,
    join,
)
from tricklint.interpreter.widening import widen

MAX_SHARE = 0.25  # of the steps that an entry has left, which a loop may take before its other rounds are run as one


def counts_rounds(m: Machine, holder: Value) -> bool:
    """An object's number grows (`self.step += 1`) in a loop around it whose rounds are not followed one by one."""
    made = holder.seq if isinstance(holder, Instance) else 0
    return made > 0 and any(not loop.one_by_one and loop.serial > made for loop in m.loops)


def followed_one_by_one(over: Value, elements: list[Value]) -> bool:
    """Every round of the loop is known, and run by itself."""
    if isinstance(over, Sequence):
        return not over.open and len(elements) == len(over.items)
    return isinstance(over, Dict) and not over.open and len(elements) == len(over.fields)


@executes(cst.For)
def run_for(m: Machine, node: cst.For) -> int:
    over = m.eval(node.iter)
    over_all = unrolled(m, over)
    elements = rounds(m, over_all, node)
    one_by_one = followed_one_by_one(over_all, elements)
    if not one_by_one:
        widen(m, node)
    outer = m.loops
    begun = m.steps
    m.emit(Iterated(m.now(node), over))
    status = FALL
    for at, element in enumerate(elements):
        m.seq += 1
        m.loops = [*outer, Loop(node, over, m.file, m.seq, len(m.frames), one_by_one)]
        length = len(m.path)
        assign(m, node.target, element, node)
        status = m.run_body(node.body)
        del m.path[length:]
        if status in (RETURN, RAISE):
            break
        if status == BREAK:
            break
        if at + 2 < len(elements) and m.steps - begun > (m.budget - begun) * MAX_SHARE:
            return finish(m, node, over, elements[at + 1 :], outer)
    m.loops = outer
    return ended(m, node, over, status)


def finish(m: Machine, node: cst.For, over: Value, left: list[Value], outer: list[Loop]) -> int:
    """One round for all that are left, where each takes so many steps that nothing behind the loop would be reached."""
    widen(m, node)
    m.seq += 1
    m.loops = [*outer, Loop(node, over, m.file, m.seq, len(m.frames))]
    length = len(m.path)
    assign(m, node.target, join(*left), node)
    status = m.run_body(node.body)
    del m.path[length:]
    m.loops = outer
    return ended(m, node, over, status)


def ended(m: Machine, node: cst.For, over: Value, status: int) -> int:
    """How a loop ends whose last round ended in this way."""
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
    widen(m, node)
    m.eval(node.test)
    m.seq += 1
    m.loops = [*outer, Loop(node, None, m.file, m.seq, len(m.frames))]
    length = len(m.path)
    status = m.run_body(node.body)
    del m.path[length:]
    m.loops = outer
    return FALL if status in (BREAK, CONTINUE, RAISE) or status == RETURN else status
