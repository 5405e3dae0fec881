"""Calls: the program's functions are followed, a library's are asked of its file."""

from __future__ import annotations

from functools import partial

import libcst as cst

from tricklint.interpreter import behaviour
from tricklint.interpreter.arguments import arguments, bind_arguments, takes
from tricklint.interpreter.attributes import super_value
from tricklint.interpreter.callargs import CallArgs
from tricklint.interpreter.classes import instantiate
from tricklint.interpreter.contexts import enter
from tricklint.interpreter.events import Escaped, Step
from tricklint.interpreter.machine import FALL, Frame, Machine, evaluates, performs
from tricklint.interpreter.objects import plain
from tricklint.interpreter.values import (
    NONE,
    UNKNOWN,
    Bound,
    CallFacts,
    Choice,
    Class,
    Const,
    Func,
    Instance,
    Partial,
    Ref,
    Union,
    Unknown,
    Value,
    join,
    members,
)
from tricklint.interpreter.yields import Haste, Yield
from tricklint.knowledge.names import canonical

_KNOWN = frozenset((Func, Class, Ref))  # callees of which nothing need be guessed
MAX_CALLS = 80  # of one function in one entry: enough for every layer of a deep net


@evaluates(cst.Call)
def eval_call(m: Machine, node: cst.Call) -> Value:
    m.tick()
    if type(node.func) is cst.Name and node.func.value == "super":
        return super_value(m, node)
    callee = m.eval(node.func)
    if type(callee) not in _KNOWN:
        for guess in behaviour.GUESSES:
            callee = guess(m, node, callee) or callee
    return m.call(callee, arguments(m, node), node)


@performs
def perform(m: Machine, callee: Value, args: CallArgs, node: cst.CSTNode) -> Value:
    if type(callee) is Ref:
        return library_call(m, canonical(callee.name), args, node)
    if isinstance(callee, Union):
        # a model on one branch and something else on the other: who calls it cannot be told what is called
        mixed = (
            not callee.sure
            and len({isinstance(each, Instance) and each.kind == "module" for each in callee.values}) > 1
        )
        m.mixed += mixed
        able = [member for member in callee.values if takes(member, args)]
        results = [m.call(member, args, node) for member in able or callee.values]
        m.mixed -= mixed
        return join(*results, sure=callee.sure)
    if m.patience is not None and isinstance(callee, (Func, Bound, Class)) and passes_by(m, callee):
        return call_unknown(m, args, node, callee.name)
    if isinstance(callee, Func):
        return invoke(m, callee, None, args, node)
    if isinstance(callee, Bound):
        if callee.func is None:
            return method(m, callee.self, callee.name, args, node)
        if isinstance(callee.self, Instance) and callee.self.kind:
            acts = behaviour.of(callee.self)
            acts.own_method(m, callee.self, callee.func.name, node)
            known = acts.own_call(m, callee.self, callee.func, args, node)
            if known is not None:
                return known
        result = invoke(m, callee.func, callee.self, args, node)
        after = behaviour.AFTER.get(callee.func.name)
        return after(m, result, node) if after is not None else result
    if isinstance(callee, Class):
        return instantiate(m, callee, args, node)
    if isinstance(callee, Partial):
        merged = CallArgs([*callee.args, *args.positional], {**callee.kwargs, **args.kwargs})
        merged.open, merged.open_kwargs = args.open, args.open_kwargs
        return m.call(callee.func, merged, node)
    if isinstance(callee, Instance):
        return call_instance(m, callee, args, node)
    return behaviour.of(callee).call(m, callee, args, node) or call_unknown(m, args, node, "")


def passes_by(m: Machine, callee: Func | Bound | Class) -> bool:
    """Whether there is no time left for what a function or class of the program does."""
    at = callee.func if isinstance(callee, Bound) else callee
    return m.patience is not None and at is not None and m.patience.passes_by(at.file.path)


def library_call(m: Machine, name: str, args: CallArgs, node: cst.CSTNode) -> Value:
    """A call of something of a library, by its dotted name."""
    handler = behaviour.library_function(name)
    if handler is not None:
        return handler(m, name, args, node)
    return call_unknown(m, args, node, name)


def method(m: Machine, value: Value, name: str, args: CallArgs, node: cst.CSTNode) -> Value:
    """A method that no function of the program is."""
    if isinstance(value, Union):
        return join(*(method(m, member, name, args, node) for member in value.values), sure=value.sure)
    acts = behaviour.of(value)
    if name == "super.__new__" and isinstance(value, Class):
        return Instance(value, node, m.file)  # `__init__` is called once `__new__` has returned
    if isinstance(value, Instance):
        if name.startswith("super."):
            return acts.super_method(m, value, name[6:], args, node) or UNKNOWN
        handler = behaviour.METHODS.get((value.kind, name))
        if handler is not None:
            return handler(m, value, args, node)
    known = acts.method(m, value, name, args, node)
    if known is not None:
        return known
    given = call_unknown(m, args, node, f"{getattr(value, 'library', '')}.{name}", value)
    if not isinstance(given, Unknown):
        return given
    if isinstance(value, Instance) and not isinstance(value.cls, Class) and not value.kind:
        value.fact(CallFacts).methods.append(name)
        made = plain(m, f"{value.library}().{name}", args, node)
        made.fact(CallFacts).of = value
        return made
    return UNKNOWN


def call_unknown(m: Machine, args: CallArgs, node: cst.CSTNode, name: str, of: Value | None = None) -> Value:
    """A call that cannot be followed: whatever it is given may be changed by it."""
    escape(m, args, node, name)
    return behaviour.opaque(m, args, node, name, of)


def escape(m: Machine, args: CallArgs, node: cst.CSTNode, name: str) -> None:
    """What is given to code that cannot be followed."""
    for value in args.all():
        if value is UNKNOWN:
            continue
        for member in members(value):
            if behaviour.of(member).escapes(member):
                m.emit(Escaped(m.now(node), member, name))


def invoke(m: Machine, func: Func, self_value: Value | None, args: CallArgs, node: cst.CSTNode) -> Value:
    calls = [frame.func.node for frame in m.frames if frame.func is not None]  # a file that imports another is no call
    running = sum([each is func.node for each in calls])
    times = m.calls_of[id(func.node)] = m.calls_of.get(id(func.node), 0) + 1
    deep = len(calls) + 1 > (m.depth_when_endless if m.haste is Haste.ENDLESS else m.max_depth)
    if deep or running >= 2 or times > MAX_CALLS:
        m.cover(func)
        return call_unknown(m, args, node, func.name)
    known = m.yields.get(id(func.node))
    if known is None:
        known = m.yields[id(func.node)] = Yield(func)
    elif known.barren and m.haste is not Haste.NONE:
        return known.again(m, args, node)
    before = m.fruits
    result = follow(m, func, self_value, args, node)
    known.learn(result, before != m.fruits)
    return result


def follow(m: Machine, func: Func, self_value: Value | None, args: CallArgs, node: cst.CSTNode) -> Value:
    """Run a function's body on these arguments."""
    names = bind_arguments(m, func, self_value, args)
    chosen = next(((name, value) for name, value in names.items() if isinstance(value, Choice)), None)
    if chosen is None:
        return run_function(m, func, self_value, names, node)
    name, choice = chosen
    given: list[Value] = []

    def run(value: Value) -> int:
        given.append(run_function(m, func, self_value, {**names, name: value}, node))
        return FALL

    m.seq += 1
    m.fork([(partial(run, value), Step(func.node, None, None, m.seq)) for value in choice.values], False)
    return join(*given)


def run_function(m: Machine, func: Func, self_value: Value | None, names: dict[str, Value], node: cst.CSTNode) -> Value:
    frame = Frame(func, func.file, names, func.closure, len(m.path))
    frame.self = self_value
    frame.call = (m.file, node)
    m.cover(func)
    grad = m.grad
    with m.inside(frame):
        decorate_frame(m, func)
        if not isinstance(func.node, cst.FunctionDef):
            return m.eval(func.node.body)
        m.run_body(func.node.body)
        if frame.exits:
            m.leave(frame)
        if func.decorators:
            m.grad = grad  # what a decorator switched
        if func.node.asynchronous is not None and not frame.returns:
            return UNKNOWN
    return returned(m, frame)


def decorate_frame(m: Machine, func: Func) -> None:
    for decorator in func.decorators:
        enter(m, decorator, decorates=True)


def returned(m: Machine, frame: Frame) -> Value:
    if not frame.returns:
        return NONE
    ordered: list[Value] = []
    seen_sure = False
    order = {True: 0, None: 1, False: 2}
    for value, _ in sorted(frame.returns, key=lambda pair: order[pair[1]]):
        ordered.append(value)
    seen_sure = any(certain is True for _, certain in frame.returns)
    maybe = any(certain is None for _, certain in frame.returns)
    objects = [value for value in ordered if not (isinstance(value, Const) and value.value is None)]
    if maybe and objects and len(objects) < len(ordered):
        ordered = [*objects, *(value for value in ordered if value not in objects)]
    return join(*ordered, sure=seen_sure and not maybe)


def call_instance(m: Machine, callee: Instance, args: CallArgs, node: cst.CSTNode) -> Value:
    known = behaviour.of(callee).call(m, callee, args, node)
    if known is not None:
        return known
    if isinstance(callee.cls, Class):
        called = callee.cls.lookup("__call__")
        if isinstance(called, Func):
            return invoke(m, called, callee, args, node)
        return call_unknown(m, args, node, callee.label)
    return call_unknown(m, args, node, callee.library)
