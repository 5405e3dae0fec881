"""Arguments of calls, and the names that they become in a function."""

from __future__ import annotations

import libcst as cst

from tricklint.interpreter import behaviour
from tricklint.interpreter.callargs import CallArgs
from tricklint.interpreter.machine import Frame, Machine
from tricklint.interpreter.picks import pick_of_call
from tricklint.interpreter.values import (
    UNKNOWN,
    Class,
    Const,
    Dict,
    Func,
    Instance,
    Namespace,
    Ref,
    Sequence,
    Value,
    first,
    given,
)


def arguments(m: Machine, node: cst.Call) -> CallArgs:
    args = CallArgs()
    computed = 0
    for arg in node.args:
        value = m.eval(arg.value)
        computed += type(arg.value) is cst.BinaryOperation
        if arg.star == "*":
            inner = behaviour.held_by(m, first(value))
            if isinstance(inner, Sequence):
                args.positional.extend(inner.items)
                args.open = args.open or inner.open
            elif inner is not None and (element := behaviour.of(inner).starred(m, inner)) is not None:
                args.positional.append(element)
                args.open = True
            else:
                args.open = True
        elif arg.star == "**":
            inner = first(value)
            if isinstance(inner, (Dict, Namespace)):
                for key, item in inner.fields.items():
                    if isinstance(key, str):
                        args.kwargs[key] = item
                args.open_kwargs = args.open_kwargs or (isinstance(inner, Dict) and inner.open)
            else:
                args.open_kwargs = True
        elif arg.keyword is not None:
            args.kwargs[arg.keyword.value] = value
            if is_literal(arg.value):
                args.literals.add(arg.keyword.value)
        else:
            if is_literal(arg.value):
                args.literals.add(len(args.positional))
            args.positional.append(value)
    if computed > 1:
        pick_of_call(m, node)
    return args


_NUMBERS_AND_TEXT = frozenset((cst.SimpleString, cst.Integer, cst.Float))
_WORDS = frozenset(("True", "False", "None"))


def is_literal(node: cst.BaseExpression) -> bool:
    """`True`, `None`, `"val"`, `3`."""
    if type(node) is cst.Name:
        return node.value in _WORDS
    return type(node) in _NUMBERS_AND_TEXT


def bind_arguments(m: Machine, func: Func, self_value: Value | None, args: CallArgs) -> dict[str, Value]:
    params = func.node.params
    names: dict[str, Value] = {}
    literals = args.literals
    positional = [given(value) if at in literals else value for at, value in enumerate(args.positional)]
    decorators = {d.name for d in func.decorators if isinstance(d, Ref)}
    if self_value is not None and "builtins.staticmethod" not in decorators:
        if "builtins.classmethod" in decorators and isinstance(self_value, Instance):
            positional.insert(0, self_value.cls)
        else:
            positional.insert(0, self_value)
    kwargs = {name: given(value) if name in literals else value for name, value in args.kwargs.items()}
    options = behaviour.defaults_of(m, func)
    at = 0
    for group in (params.posonly_params, params.params):
        for param in group:
            name = param.name.value
            if at < len(positional):
                names[name] = positional[at]
            elif name in kwargs:
                names[name] = kwargs.pop(name)
            elif args.open or args.open_kwargs:
                names[name] = UNKNOWN
            else:
                names[name] = options[name] if name in options else default_of(m, param, func)
            kwargs.pop(name, None)
            at += 1
    rest = positional[at:]
    if type(params.star_arg) is cst.Param:
        names[params.star_arg.name.value] = Sequence("tuple", tuple(rest), args.open)
    for param in params.kwonly_params:
        name = param.name.value
        if name in kwargs:
            names[name] = kwargs.pop(name)
        elif args.open_kwargs:
            names[name] = UNKNOWN
        else:
            names[name] = options[name] if name in options else default_of(m, param, func)
    if params.star_kwarg is not None:
        made = Dict(open=args.open_kwargs)
        made.fields.update(kwargs)
        names[params.star_kwarg.name.value] = made
    return names


def takes(callee: Value, args: CallArgs) -> bool:
    """Whether a function or class of the program can be called with these arguments at all, by its signature."""
    func, own = callee, 0
    if isinstance(callee, Class):
        func, own = callee.lookup("__init__") or UNKNOWN, 1
    if not isinstance(func, Func) or func.decorators or args.open or args.open_kwargs:
        return True
    params = func.node.params
    by_position = [*params.posonly_params, *params.params][own:]
    passed = by_position[: len(args.positional)]
    if len(args.positional) > len(by_position) and type(params.star_arg) is not cst.Param:
        return False
    named = {param.name.value for param in (*params.params[max(0, own - len(params.posonly_params)) :], *params.kwonly_params)}
    if params.star_kwarg is None and not named.issuperset(args.kwargs):
        return False
    needed = [param for param in (*by_position[len(passed) :], *params.kwonly_params) if param.default is None]
    return all(param.name.value in args.kwargs for param in needed)


def default_of(m: Machine, param: cst.Param, func: Func) -> Value:
    if param.default is None:
        return UNKNOWN

    m.frames.append(Frame(None, func.file, {}, func.closure, len(m.path)))
    try:
        value = m.eval(param.default)
    finally:
        m.frames.pop()
    if isinstance(value, Const):
        return Const(value.value, True, value.place)
    declared = behaviour.declared_default(value)
    if declared is not None:
        return declared
    return value
