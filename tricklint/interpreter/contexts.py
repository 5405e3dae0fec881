"""`with` statements: what a context manager changes while it is open.

A library's is asked of its file; one of the program is run, up to its `yield` or its `__enter__`, then the body, then the rest.
"""

from __future__ import annotations

import libcst as cst

from tricklint.interpreter.behaviour import ENTERED
from tricklint.interpreter.binding import assign
from tricklint.interpreter.callargs import CallArgs
from tricklint.interpreter.machine import FALL, Machine, executes
from tricklint.interpreter.values import (
    UNKNOWN,
    Bound,
    Class,
    Func,
    Instance,
    Ref,
    Union,
    Unknown,
    Value,
    first,
)

_GENERATORS = ("contextlib.contextmanager", "contextlib.asynccontextmanager")


@executes(cst.With)
def run_with(m: Machine, node: cst.With) -> int:
    grad = m.grad
    status = enter_from(m, node, 0)
    m.grad = grad
    return status


def enter_from(m: Machine, node: cst.With, at: int) -> int:
    """Enter the items of a `with` statement from one on, and run its body."""
    if at == len(node.items):
        return m.run_body(node.body)
    item = node.items[at]
    func = generator_of(m, item.item)
    if func is not None:
        return run_around(m, node, at, func)
    value = m.eval(item.item)
    if isinstance(value, Unknown) and m.grad is True and not _of_another_library(m, item.item):
        m.grad = None  # it may switch autograd off
    enter(m, value)
    given = enter_own(m, value, node)
    if item.asname is not None:
        assign(m, item.asname.name, given or value, node)
    status = enter_from(m, node, at + 1)
    if given is not None:
        leave_own(m, value, node)
    return status


def _of_another_library(m: Machine, node: cst.BaseExpression) -> bool:
    """What a library that is not torch's gives, and nothing is known of: `with tqdm(loader) as bar`."""
    if not isinstance(node, cst.Call) or not isinstance(node.func, (cst.Name, cst.Attribute)):
        return False
    func = m.eval(node.func)
    return isinstance(func, Ref) and not func.name.startswith(("torch.", "contextlib."))


def run_around(m: Machine, node: cst.With, at: int, func: Func) -> int:
    """Run a generator of the program, and the body of the `with` statement where it yields."""
    item = node.items[at]
    ended: list[int] = []
    frames, loops = list(m.frames), m.loops

    def body(value: Value) -> None:
        if ended:  # it yields on another branch as well
            return
        inner = m.frames, m.loops
        m.frames, m.loops = list(frames), loops
        try:
            if item.asname is not None:
                assign(m, item.asname.name, value, node)
            ended.append(FALL)
            ended[0] = enter_from(m, node, at + 1)
        finally:
            m.frames, m.loops = inner

    outer, m.at_yield = m.at_yield, (func.node, body)
    m.eval(item.item)
    m.at_yield = outer
    return ended[0] if ended else enter_from(m, node, at + 1)


def generator_of(m: Machine, node: cst.CSTNode) -> Func | None:
    """The generator of the program that an item of a `with` statement calls."""
    if not isinstance(node, cst.Call) or not isinstance(node.func, (cst.Name, cst.Attribute)):
        return None
    called = first(m.eval(node.func))
    func = called.func if isinstance(called, Bound) else called
    if isinstance(func, Func) and any(isinstance(each, Ref) and each.name in _GENERATORS for each in func.decorators):
        return func
    return None


def enter_own(m: Machine, value: Value, node: cst.CSTNode) -> Value | None:
    """What `__enter__` of an object of the program gives; None where it has none."""
    at = first(value)
    method = at.cls.lookup("__enter__") if isinstance(at, Instance) and isinstance(at.cls, Class) else None
    if at is None or not isinstance(method, Func):
        return None
    return m.call(Bound(at, method, "__enter__"), CallArgs(), node)


def leave_own(m: Machine, value: Value, node: cst.CSTNode) -> None:
    at = first(value)
    method = at.cls.lookup("__exit__") if isinstance(at, Instance) and isinstance(at.cls, Class) else None
    if at is not None and isinstance(method, Func):
        m.call(Bound(at, method, "__exit__"), CallArgs([UNKNOWN, UNKNOWN, UNKNOWN]), node)


def enter(m: Machine, value: Value, decorates: bool = False) -> None:
    """Enter a context manager; `decorates`: it stands above a function, where its bare name serves too. Of one that is one or
    the other, it is the one that the defaults choose; where they choose none, nobody knows whether autograd records."""
    if isinstance(value, Union) and not value.sure:
        before, after = m.grad, set()
        for member in value.values:
            m.grad = before
            enter(m, member, decorates)
            after.add(m.grad)
        m.grad = after.pop() if len(after) == 1 else None
        return
    at = first(value)
    if at is None:
        return
    name = at.library if isinstance(at, Instance) else at.name if decorates and isinstance(at, Ref) else ""
    handler = ENTERED.get(name)
    if handler is not None:
        handler(m, at)
