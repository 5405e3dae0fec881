"""Comprehensions, and what their conditions say of the elements that pass."""

from __future__ import annotations

from typing import Any

import libcst as cst

from tricklint.interpreter.binding import assign
from tricklint.interpreter.events import Loop, Step
from tricklint.interpreter.iteration import rounds, unrolled
from tricklint.interpreter.literals import hashable
from tricklint.interpreter.machine import Frame, Machine, evaluates
from tricklint.interpreter.narrowing import narrow
from tricklint.interpreter.truth import truth
from tricklint.interpreter.values import (
    Const,
    Dict,
    Pred,
    Sequence,
    Value,
    first,
)


@evaluates(cst.ListComp, cst.SetComp, cst.GeneratorExp, cst.DictComp)
def eval_comprehension(m: Machine, node: Any) -> Value:
    frame = m.frame
    inner = Frame(frame.func, frame.file, {}, (frame.locals, *frame.closure), len(m.path))
    if frame.func is None and frame.locals is frame.file.names:
        inner.closure = ()
    inner.returns = frame.returns
    items: list[Value] = []
    pairs: list[tuple[Value, Value]] = []
    opened = [False]
    m.frames.append(inner)
    length = len(m.path)
    try:
        _comprehend(m, node, node.for_in, items, pairs, opened)
    finally:
        m.frames.pop()
        del m.path[length:]
    if isinstance(node, cst.DictComp):
        made = Dict(node, m.file, open=opened[0])
        for key, value in pairs:
            at = first(key)
            if isinstance(at, Const) and hashable(at.value):
                made.fields[at.value] = value
            else:
                made.open = True
                made.fields[f"<dynamic {len(made.fields)}>"] = value
        return made
    kind = "set" if isinstance(node, cst.SetComp) else "list"
    return Sequence(kind, tuple(items), opened[0], node, m.file)


def _comprehend(
    m: Machine,
    node: Any,
    clause: cst.CompFor,
    items: list[Value],
    pairs: list[tuple[Value, Value]],
    opened: list[bool],
) -> None:
    over = unrolled(m, m.eval(clause.iter))
    elements = rounds(m, over, clause)
    known = isinstance(over, Sequence) and not over.open and len(over.items) <= 24
    if not known:
        opened[0] = True

    outer = m.loops
    for element in elements:
        m.tick()
        m.seq += 1
        m.loops = [*outer, Loop(clause, over, m.file, m.seq, len(m.frames))]
        length = len(m.path)
        assign(m, clause.target, element, clause)
        preds: list[Pred] = []
        skip = False
        for condition in clause.ifs:
            verdict, pred = truth(m, m.eval(condition.test))
            if verdict is False:
                skip = True
                break
            if verdict is None:
                opened[0] = True
                preds.append(pred if pred is not None else Pred("unknown"))
        if not skip:
            for pred in preds:
                m.path.append(Step(clause, None, pred))
            if clause.inner_for_in is not None:
                _comprehend(m, node, clause.inner_for_in, items, pairs, opened)
            elif isinstance(node, cst.DictComp):
                pairs.append((m.eval(node.key), narrow(m.eval(node.value), preds)))
            else:
                items.append(narrow(m.eval(node.elt), preds))
        del m.path[length:]
    m.loops = outer
