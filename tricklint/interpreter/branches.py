"""`if` and its chains: which branch the defaults take, and what the others leave behind."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

import libcst as cst

from tricklint.interpreter.events import Step
from tricklint.interpreter.machine import FALL, Machine, executes
from tricklint.interpreter.statements import leaves
from tricklint.interpreter.truth import settled, truth


@executes(cst.If)
def run_if(m: Machine, node: cst.If) -> int:
    if is_main_guard(m, node.test):
        if m.frame.file.path == m.script:
            return m.run_body(node.body)  # what stands below it may use what it binds
        if all(old is not node for old in m.frame.file.main_blocks):
            m.frame.file.main_blocks.append(node)
        return FALL
    value = m.eval(node.test)
    verdict, pred = truth(m, value)
    literal = isinstance(node.test, (cst.Name, cst.Integer)) and node.test.value in ("False", "0", "TYPE_CHECKING")
    if literal:
        verdict = False
    elif verdict is not None and settled(value):
        if verdict:
            m.alternative(node.test, node.orelse or node.test, lambda: run_orelse(m, node))
            m.alternatives_seen.add(id(node.body))
            return m.run_body(node.body)
        m.alternative(node.body, node, lambda: m.run_body(node.body))
        m.alternatives_seen.add(id(node.test))
        return run_orelse(m, node)

    def then() -> int:
        return m.run_body(node.body)

    def otherwise() -> int:
        return run_orelse(m, node)

    if verdict is None and pred is None and isinstance(node.orelse, cst.If):
        return run_chain(m, node)
    m.seq += 1
    turn = m.seq
    if verdict is None:
        return m.fork(
            (
                (then, Step(node, None, pred, turn)),
                (otherwise, Step(node.orelse or node.test, None, ~pred if pred else None, turn)),
            ),
            False,
        )
    if literal:
        return otherwise()
    if verdict:
        if node.orelse is None and not leaves(node.body):
            length = len(m.path)
            m.path.append(Step(node, True))
            status = then()
            del m.path[length : length + 1]
            return status
        other = Step(node.orelse or node.test, False, None, turn)
        return m.fork(((then, Step(node, True, None, turn)), (otherwise, other)), True)
    default = Step(node.orelse or node.test, True, None, turn)
    return m.fork(((otherwise, default), (then, Step(node, False, None, turn))), True)


def run_chain(m: Machine, node: cst.If) -> int:
    """`if … elif … elif …` of which nothing is known: one fork, not one within the other, so that what the last of
    forty models writes is joined once."""
    alternatives: list[tuple[Callable[[], int], tuple[Step, ...]]] = []
    passed: tuple[Step, ...] = ()
    at = node
    while True:
        m.seq += 1
        alternatives.append((partial(m.run_body, at.body), (*passed, Step(at, None, None, m.seq))))
        passed = (*passed, Step(at.orelse or at.test, None, None, m.seq))
        rest = at.orelse
        if isinstance(rest, cst.If) and not isinstance(rest.test, (cst.Name, cst.Integer)):
            if not is_main_guard(m, rest.test) and truth(m, m.eval(rest.test)) == (None, None):
                at = rest
                continue
        break
    alternatives.append((lambda: run_orelse(m, at), passed))
    return m.fork(alternatives, False)


def run_orelse(m: Machine, node: cst.If) -> int:
    """What runs when the test does not hold: `elif`, `else` or nothing."""
    if node.orelse is None:
        return FALL
    if isinstance(node.orelse, cst.If):
        return m.run(node.orelse)
    return m.run_body(node.orelse.body)


def is_main_guard(m: Machine, test: cst.CSTNode) -> bool:
    return (
        type(test) is cst.Comparison
        and type(test.left) is cst.Name
        and test.left.value == "__name__"
        and m.frame.func is None
    )
