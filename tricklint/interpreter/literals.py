"""Names, literals, displays, conditional expressions and the like."""

from __future__ import annotations

from typing import Any

import libcst as cst

from tricklint.interpreter import behaviour
from tricklint.interpreter.binding import assign
from tricklint.interpreter.definitions import closure
from tricklint.interpreter.events import Step
from tricklint.interpreter.folding import MAX_TEXT, folded
from tricklint.interpreter.imports import lookup
from tricklint.interpreter.iteration import rounds
from tricklint.interpreter.machine import Frame, Machine, evaluates
from tricklint.interpreter.truth import settled, truth
from tricklint.interpreter.values import (
    FALSE,
    NONE,
    TRUE,
    UNKNOWN,
    Const,
    Dict,
    Func,
    Generated,
    Instance,
    Namespace,
    Prefixed,
    Sequence,
    Unknown,
    Value,
    first,
    fit_for,
    join,
)

_LITERALS = {"None": NONE, "True": TRUE, "False": FALSE}
_NUMBERS: dict[str, Const] = {}  # those that were met, by how they are written
_MAX_NUMBERS = 2_000


@evaluates(cst.Name)
def eval_name(m: Machine, node: cst.Name) -> Value:
    literal = _LITERALS.get(node.value)
    if literal is not None:
        return literal
    found = lookup(m, node.value)
    if found is None:
        m.unbound[id(node)] = (m.file.path, node.value)
        return UNKNOWN
    return found


@evaluates(cst.Integer, cst.Float)
def eval_number(m: Machine, node: cst.Integer | cst.Float) -> Value:
    known = _NUMBERS.get(node.value)
    if known is None:
        if len(_NUMBERS) > _MAX_NUMBERS:
            _NUMBERS.clear()
        value = int(node.value) if node.value.isdecimal() else node.evaluated_value
        known = _NUMBERS[node.value] = Const(value)
    return known


@evaluates(cst.SimpleString)
def eval_string(m: Machine, node: cst.SimpleString) -> Value:
    text = node.value
    if text[0] in "'\"" and text[1:2] != text[0] and "\\" not in text:  # most strings: no prefix, no escapes
        return Const(text[1:-1])
    try:
        return Const(node.evaluated_value)
    except Exception:  # an odd escape: the text is of no interest
        return UNKNOWN


@evaluates(cst.ConcatenatedString)
def eval_concatenated(m: Machine, node: cst.ConcatenatedString) -> Value:
    left, right = m.eval(node.left), m.eval(node.right)
    if isinstance(left, Const) and isinstance(right, Const):
        return folded(lambda: left.value + right.value)
    return UNKNOWN


@evaluates(cst.FormattedString)
def eval_formatted(m: Machine, node: cst.FormattedString) -> Value:
    text = pattern = ""
    default = False
    whole = True
    stem = 0
    for part in node.parts:
        if isinstance(part, cst.FormattedStringText):
            pattern += part.value
            text += part.value if whole else ""
        elif isinstance(part, cst.FormattedStringExpression):
            several = m.eval(part.expression)
            value = first(several)
            if not whole:
                pattern += str(value.value) if isinstance(value, Const) else "*"
            elif isinstance(value, Const) and part.format_spec is None:
                if (value.default or value is not several) and not default:
                    default, stem = True, len(text) + value.stem
                text += str(value.value)
                pattern += str(value.value)
            else:
                whole = False
                pattern += "*"
        if len(pattern) > MAX_TEXT:
            return UNKNOWN
    return Const(text, default, stem=stem) if whole else Prefixed(text, pattern) if pattern.strip("*") else UNKNOWN


@evaluates(cst.IfExp)
def eval_ifexp(m: Machine, node: cst.IfExp) -> Value:
    tested = m.eval(node.test)
    verdict, pred = truth(m, tested)
    if verdict is not None and settled(tested):
        other = node.orelse if verdict else node.body
        m.alternative(other, other, lambda: m.eval(other))
        return m.eval(node.body if verdict else node.orelse)
    results: list[Value] = []

    def run(branch: cst.CSTNode) -> Any:
        def go() -> int:
            results.append(m.eval(branch))
            return 0

        return go

    if verdict is None:
        m.seq += 1
        m.fork(
            (
                (run(node.body), Step(node.body, None, pred, m.seq)),
                (run(node.orelse), Step(node.orelse, None, ~pred if pred else None, m.seq)),
            ),
            False,
        )
        if pred is not None and any(isinstance(result, (Sequence, Dict)) for result in results):
            return UNKNOWN  # which of them depends on the element: what is put in goes to neither as a whole
        return join(*results)
    taken, other = (node.body, node.orelse) if verdict else (node.orelse, node.body)
    m.fork(((run(taken), Step(taken, True)), (run(other), Step(other, False))), True)
    if isinstance(results[0], Const) and not any(isinstance(r, Instance) for r in results):
        value = results[0]
        return Const(value.value, True, value.place)
    return join(*results, sure=True)


@evaluates(cst.List, cst.Tuple, cst.Set)
def eval_list(m: Machine, node: cst.List | cst.Tuple | cst.Set) -> Value:
    items: list[Value] = []
    opened = False
    for element in node.elements:
        value = m.eval(element.value)
        if isinstance(element, cst.StarredElement):
            inner = behaviour.held_by(m, first(value))
            if isinstance(inner, Sequence):
                items.extend(inner.items)
                opened = opened or inner.open
            elif inner is not None and (parts := behaviour.of(inner).starred(m, inner)) is not None:
                items.append(parts)
                opened = True
            else:
                opened = True
        else:
            items.append(value)
    kind = {cst.List: "list", cst.Tuple: "tuple", cst.Set: "set"}[type(node)]
    return Sequence(kind, tuple(items), opened, node, m.file)


@evaluates(cst.Dict)
def eval_dict(m: Machine, node: cst.Dict) -> Value:
    made = Dict(node, m.file)
    for element in node.elements:
        value = m.eval(element.value)
        if isinstance(element, cst.StarredDictElement):
            inner = first(value)
            if isinstance(inner, (Dict, Namespace)):
                made.fields.update(inner.fields)
                made.open = made.open or (isinstance(inner, Dict) and inner.open)
            else:
                made.open = True
            continue
        key = first(m.eval(element.key)) if isinstance(element, cst.DictElement) else UNKNOWN
        if isinstance(key, Const) and hashable(key.value):
            made.fields[key.value] = fit_for(made, value)
        else:
            made.open = True
            if not isinstance(value, Unknown):
                made.fields[f"<dynamic {len(made.fields)}>"] = fit_for(made, value)
    return made


@evaluates(cst.Lambda)
def eval_lambda(m: Machine, node: cst.Lambda) -> Value:
    return Func(node, m.file, closure(m))


@evaluates(cst.Await)
def eval_await(m: Machine, node: cst.Await) -> Value:
    return m.eval(node.expression)


@evaluates(cst.Yield)
def eval_yield(m: Machine, node: cst.Yield) -> Value:
    frame = m.frame
    given: Value = UNKNOWN
    if node.value is not None:
        given = m.eval(node.value.item if isinstance(node.value, cst.From) else node.value)
        items = tuple(rounds(m, given, node)) if isinstance(node.value, cst.From) else (given,)
        if frame.func is not None:
            frame.returns.append((generated(frame, frame.func, items, node), None))
    if m.at_yield is not None and frame.func is not None and frame.func.node is m.at_yield[0]:
        body, m.at_yield = m.at_yield[1], None
        body(given)
    return UNKNOWN


def generated(frame: Frame, func: Func, items: tuple[Value, ...], node: cst.CSTNode) -> Generated:
    """What a generator hands out, with the arguments that it was called with."""
    params = func.node.params
    names = {param.name.value for param in (*params.posonly_params, *params.params, *params.kwonly_params)}
    given = {name: value for name, value in frame.locals.items() if name in names}
    made = Generated(items, func, given, node, frame.file)
    made.call = frame.call
    return made


@evaluates(cst.NamedExpr)
def eval_named(m: Machine, node: cst.NamedExpr) -> Value:
    value = m.eval(node.value)
    assign(m, node.target, value, node)
    return value


@evaluates(cst.StarredElement, cst.Element)
def eval_starred(m: Machine, node: Any) -> Value:
    return m.eval(node.value)


def hashable(value: Any) -> bool:
    return isinstance(value, (str, int, float, bool, type(None), tuple, bytes))
