"""Statements that are neither branches, loops nor definitions."""

from __future__ import annotations

from typing import Any

import libcst as cst

from tricklint.interpreter import behaviour
from tricklint.interpreter.binding import assign, extend
from tricklint.interpreter.events import Handled, Step
from tricklint.interpreter.imports import import_module, import_star, imported
from tricklint.interpreter.loops import counts_rounds
from tricklint.interpreter.machine import BREAK, CONTINUE, FALL, RAISE, RETURN, Machine, executes
from tricklint.interpreter.operators import binary
from tricklint.interpreter.values import (
    UNKNOWN,
    Const,
    Sequence,
    Unknown,
    Value,
    members,
)
from tricklint.source.tree import dotted

_EXITS = frozenset(("exit", "quit", "sys.exit", "os._exit", "parser.error"))


@executes(cst.Expr)
def run_expr(m: Machine, node: cst.Expr) -> int:
    if type(node.value) is not cst.SimpleString:  # a docstring
        changed(m, node.value, m.eval(node.value))
    if type(node.value) is cst.Call and dotted(node.value.func) in _EXITS:
        return RAISE
    return FALL


def changed(m: Machine, node: cst.BaseExpression, made: Value) -> None:
    """`x.cos_().mul_(s)` as a statement: methods that work in place leave their outcome in the name they began at."""
    at = node
    while type(at) is cst.Call and type(at.func) is cst.Attribute and at.func.attr.value.endswith("_"):
        at = at.func.value
    if at is node or type(at) is not cst.Name:
        return
    old = members(m.eval(at))
    if old and all(behaviour.of(member).in_place(m, member, made) for member in old):
        m.bind(at.value, made)


# Calls that give all that they are given, one behind the other
JOINS = (".cat", ".concat", ".concatenate", ".hstack", ".vstack")


@executes(cst.Assign)
def run_assign(m: Machine, node: cst.Assign) -> int:
    value = m.eval(node.value)
    if type(node.value) is cst.BinaryOperation and type(node.value.operator) is cst.Add:
        note_running_total(m, node, node.value, value)
    elif type(node.value) is cst.Call:
        note_joined(m, node, node.value)
    for target in node.targets:
        assign(m, target.target, value, node)
    return FALL


def note_running_total(m: Machine, node: cst.Assign, added: cst.BinaryOperation, value: Value) -> None:
    """`total = total + loss` says what `total += loss` says."""
    name = dotted(node.targets[0].target)
    if not name or name not in (dotted(added.left), dotted(added.right)):
        return
    note_added(m, value, node.targets[0].target, "=", None, value, node)


def note_joined(m: Machine, node: cst.Assign, call: cst.Call) -> None:
    """`seen = torch.cat((seen, logits))` says what `seen.append(logits)` says."""
    parts = call.args[0].value if call.args else None
    if not isinstance(parts, (cst.Tuple, cst.List)) or not (dotted(call.func) or "").endswith(JOINS):
        return
    name = dotted(node.targets[0].target)
    if not name:
        return
    others = [each.value for each in parts.elements if dotted(each.value) != name]
    if len(others) == 1 < len(parts.elements) and dotted(others[0]):
        added = m.eval(others[0])
        note_added(m, added, node.targets[0].target, "=", None, added, node)


def note_added(
    m: Machine, values: Value, target: cst.CSTNode, how: str, old: Value | None, new: Value, node: cst.CSTNode
) -> None:
    """Something goes into a total or a list: the first of `values` that this matters for says so."""
    for member in members(values):
        if behaviour.of(member).added(m, member, target, how, old, new, node):
            return


@executes(cst.AnnAssign)
def run_annassign(m: Machine, node: cst.AnnAssign) -> int:
    if node.value is not None:
        assign(m, node.target, m.eval(node.value), node)
    elif isinstance(node.target, cst.Name) and m.frame.func is None and node.target.value not in m.frame.locals:
        pass
    return FALL


@executes(cst.AugAssign)
def run_augassign(m: Machine, node: cst.AugAssign) -> int:
    old = m.eval(node.target)
    value = m.eval(node.value)
    adds = isinstance(node.operator, cst.AddAssign)
    if adds:
        for target in members(old):
            if isinstance(target, Sequence):
                for item in value.items if isinstance(value, Sequence) else ():
                    if behaviour.of(item).added(m, item, node.target, "+= [", old, item, node):
                        break
                extend(m, target, value)
                return FALL
        note_added(m, value, node.target, "+=", old, value, node)
    counts = isinstance(old, Const) and isinstance(old.value, (int, float)) and isinstance(value, (Const, Unknown))
    if counts and isinstance(node.target, cst.Attribute):
        if any(counts_rounds(m, holder) for holder in members(m.eval(node.target.value))):
            assign(m, node.target, UNKNOWN, node)
            return FALL
    assign(m, node.target, binary(m, node, type(node.operator).__name__.replace("Assign", ""), old, value), node)
    return FALL


@executes(cst.Return)
def run_return(m: Machine, node: cst.Return) -> int:
    value = m.eval(node.value) if node.value is not None else Const(None)
    frame = m.frame
    steps = m.path[frame.path_length :]
    if any(step.taken is False for step in steps):
        certainty: bool | None = False
    elif any(step.taken is None and step.pred is None for step in steps):
        certainty = None
    else:
        certainty = True
    frame.returns.append((value, certainty))
    return RETURN


@executes(cst.Import)
def run_import(m: Machine, node: cst.Import) -> int:
    for alias in node.names:
        module = dotted(alias.name)
        if alias.asname is not None and isinstance(alias.asname.name, cst.Name):
            m.bind(alias.asname.name.value, import_module(m, module))
        else:
            top = module.partition(".")[0]
            m.bind(top, import_module(m, top))
            if "." in module:
                import_module(m, module)
    return FALL


@executes(cst.ImportFrom)
def run_importfrom(m: Machine, node: cst.ImportFrom) -> int:
    level = len(node.relative)
    module = dotted(node.module) if node.module is not None else ""
    if isinstance(node.names, cst.ImportStar):
        import_star(m, level, module)
        return FALL
    for alias in node.names:
        name = alias.name.value if isinstance(alias.name, cst.Name) else dotted(alias.name)
        bound = alias.asname.name.value if alias.asname and isinstance(alias.asname.name, cst.Name) else name
        m.bind(bound, imported(m, level, module, name))
    return FALL


@executes(cst.Del)
def run_delete(m: Machine, node: cst.Del) -> int:
    return FALL


@executes(cst.Raise)
def run_raise(m: Machine, node: cst.Raise) -> int:
    if node.exc is not None:
        m.eval(node.exc)
    return RAISE


@executes(cst.Assert)
def run_assert(m: Machine, node: cst.Assert) -> int:
    m.eval(node.test)
    # `assert False`, `assert 0, "not ready"` are written to end the path, whatever the arguments are
    literal = isinstance(node.test, (cst.Name, cst.Integer)) and node.test.value in ("False", "0")
    return RAISE if literal else FALL


@executes(cst.Pass, cst.Nonlocal)
def run_pass(m: Machine, node: cst.CSTNode) -> int:
    return FALL


@executes(cst.Break)
def run_break(m: Machine, node: cst.CSTNode) -> int:
    return BREAK


@executes(cst.Continue)
def run_continue(m: Machine, node: cst.CSTNode) -> int:
    return CONTINUE


@executes(cst.Global)
def run_global(m: Machine, node: cst.Global) -> int:
    m.frame.globals = m.frame.globals | {item.name.value for item in node.names}
    return FALL


@executes(cst.Try, cst.TryStar)
def run_try(m: Machine, node: cst.Try) -> int:
    names = [handler_name(m, handler) for handler in node.handlers]
    if names:
        m.emit(Handled(m.now(node), UNKNOWN, tuple(names)))
    status = m.run_body(node.body)
    for handler in node.handlers:

        def run(handler: Any = handler) -> int:
            if handler.name is not None and isinstance(handler.name.name, cst.Name):
                m.bind(handler.name.name.value, UNKNOWN)
            return m.run_body(handler.body)

        if status == FALL:
            m.fork(((lambda: FALL, Step(node, True)), (run, Step(handler, False))), True)
        elif status == RAISE:
            status = run()
        else:
            m.fork(((lambda: FALL, Step(node, True)), (run, Step(handler, False))), True)
    if node.orelse is not None and status == FALL:
        status = m.run_body(node.orelse.body)
    if node.finalbody is not None:
        ended = m.run_body(node.finalbody.body)
        status = status if status != FALL else ended
    return status


def handler_name(m: Machine, handler: cst.ExceptHandler) -> str:
    if handler.type is None:
        return "BaseException"
    types = handler.type.elements if isinstance(handler.type, cst.Tuple) else [handler.type]
    found = []
    for kind in types:
        node = kind.value if isinstance(kind, cst.Element) else kind
        found.append(dotted(node))
    return ",".join(found)


@executes(cst.Match)
def run_match(m: Machine, node: cst.Match) -> int:
    m.eval(node.subject)
    m.seq += 1
    turn = m.seq
    alternatives = []
    for case in node.cases:
        alternatives.append((lambda case=case: m.run_body(case.body), Step(case, None, None, turn)))
    return m.fork(alternatives, False) if alternatives else FALL


def leaves(body: cst.BaseSuite) -> bool:
    """The suite ends by leaving the function, the loop or the program."""
    return raises(body) or isinstance(_last(body), (cst.Return, cst.Continue, cst.Break))


def raises(body: cst.BaseSuite) -> bool:
    """The suite ends by raising an error or leaving the program."""
    last = _last(body)
    if isinstance(last, cst.Expr):
        return isinstance(last.value, cst.Call) and dotted(last.value.func) in _EXITS
    return isinstance(last, cst.Raise)


def _last(body: cst.BaseSuite) -> cst.CSTNode | None:
    last = body.body[-1] if body.body else None
    return last.body[-1] if isinstance(last, cst.SimpleStatementLine) else last
