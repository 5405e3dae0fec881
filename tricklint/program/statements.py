"""Statements: assignment, branches, loops, definitions. A mixin of the interpreter."""

from __future__ import annotations

from collections.abc import Callable
from collections.abc import Sequence as Seq
from typing import TYPE_CHECKING, Any

import libcst as cst

from tricklint.knowledge import layers
from tricklint.program.events import Loop, Step
from tricklint.program.modules import FileModule
from tricklint.program.values import (
    UNKNOWN,
    Bound,
    Class,
    Const,
    Dict,
    Func,
    Instance,
    Namespace,
    ParamSet,
    Pred,
    Ref,
    Sequence,
    Tensor,
    Test,
    Union,
    Unknown,
    Value,
    join,
    members,
)

if TYPE_CHECKING:
    from tricklint.program.interpreter import Interpreter

FALL, RETURN, BREAK, CONTINUE, RAISE = range(5)
UNROLL = 24
_EXITS = frozenset(("exit", "quit", "sys.exit", "os._exit", "parser.error"))
# Contexts in which autograd records nothing
NO_GRAD = frozenset(
    ("torch.no_grad", "torch.inference_mode", "torch.autograd.no_grad", "torch.autograd.inference_mode")
)


class Statements:
    """How each kind of statement changes the state. Every `run_*` returns how the statement ends."""

    def run_body(self: Interpreter, body: cst.BaseSuite | Seq[cst.CSTNode]) -> int:
        statements = body.body if isinstance(body, cst.BaseSuite) else body
        for statement in statements:
            status = self.run(statement)
            if status != FALL:
                return status
        return FALL

    def run(self: Interpreter, node: cst.CSTNode) -> int:
        self.tick()
        if isinstance(node, cst.SimpleStatementLine):
            for small in node.body:
                status = _RUN[type(small)](self, small)
                if status != FALL:
                    return status
            return FALL
        handler = _RUN.get(type(node))
        return handler(self, node) if handler is not None else FALL

    # -- small statements ----------------------------------------------------------------------------------------------

    def run_expr(self: Interpreter, node: cst.Expr) -> int:
        if not isinstance(node.value, cst.SimpleString):  # a docstring
            self.eval(node.value)
        if isinstance(node.value, cst.Call) and dotted_name(node.value.func) in _EXITS:
            return RAISE
        return FALL

    def run_assign(self: Interpreter, node: cst.Assign) -> int:
        value = self.eval(node.value)
        if isinstance(node.value, cst.BinaryOperation) and isinstance(node.value.operator, cst.Add):
            self.note_running_total(node, node.value, value)
        for target in node.targets:
            self.assign(target.target, value, node)
        return FALL

    def note_running_total(self: Interpreter, node: cst.Assign, added: cst.BinaryOperation, value: Value) -> None:
        """`total = total + loss` says what `total += loss` says."""
        name = dotted_name(node.targets[0].target)
        if not name or name not in (dotted_name(added.left), dotted_name(added.right)):
            return
        for member in members(value):
            if isinstance(member, Tensor) and member.grad:
                self.emit("accumulate", node, member, target=node.targets[0].target, how="=", old=None, value=value,
                          calls=self.call_sites())  # fmt: skip
                return

    def run_annassign(self: Interpreter, node: cst.AnnAssign) -> int:
        if node.value is not None:
            self.assign(node.target, self.eval(node.value), node)
        elif (
            isinstance(node.target, cst.Name) and self.frame.func is None and node.target.value not in self.frame.locals
        ):
            pass
        return FALL

    def run_augassign(self: Interpreter, node: cst.AugAssign) -> int:
        old = self.eval(node.target)
        value = self.eval(node.value)
        adds = isinstance(node.operator, cst.AddAssign)
        if adds:
            for target in members(old):
                if isinstance(target, Sequence):
                    for item in value.items if isinstance(value, Sequence) else ():
                        if isinstance(item, Tensor) and item.grad:
                            self.emit("accumulate", node, item, target=node.target, how="+= [", old=old, value=item,
                                      calls=self.call_sites())  # fmt: skip
                            break
                    self.extend(target, value)
                    return FALL
            for member in members(value):
                if isinstance(member, Tensor) and member.grad:
                    self.emit(
                        "accumulate",
                        node,
                        member,
                        target=node.target,
                        how="+=",
                        old=old,
                        value=value,
                        calls=self.call_sites(),
                    )
                    break
        counts = isinstance(old, Const) and isinstance(old.value, (int, float)) and isinstance(value, (Const, Unknown))
        if counts and self.counts_rounds(node):
            self.assign(node.target, UNKNOWN, node)
            return FALL
        self.assign(
            node.target, self.binary(node, type(node.operator).__name__.replace("Assign", ""), old, value), node
        )
        return FALL

    def counts_rounds(self: Interpreter, node: cst.AugAssign) -> bool:
        """A number that grows in a loop whose rounds are not known one by one: `step += 1`."""
        if not self.loops or self.loops[-1].file is not self.file:
            return False
        loop = self.loops[-1]
        over = loop.over
        if isinstance(over, (Sequence, Dict)) and (isinstance(over, Dict) or not over.open):
            return False
        return any(up is loop.node for up in self.file.tree.ancestors(node))

    def run_return(self: Interpreter, node: cst.Return) -> int:
        value = self.eval(node.value) if node.value is not None else Const(None)
        frame = self.frame
        steps = self.path[frame.path_length :]
        if any(step.taken is False for step in steps):
            certainty: bool | None = False
        elif any(step.taken is None and step.pred is None for step in steps):
            certainty = None
        else:
            certainty = True
        frame.returns.append((value, certainty))
        return RETURN

    def run_import(self: Interpreter, node: cst.Import) -> int:
        for alias in node.names:
            dotted = dotted_name(alias.name)
            if alias.asname is not None and isinstance(alias.asname.name, cst.Name):
                self.bind(alias.asname.name.value, self.import_module(dotted))
            else:
                top = dotted.partition(".")[0]
                self.bind(top, self.import_module(top))
                if "." in dotted:
                    self.import_module(dotted)
        return FALL

    def run_importfrom(self: Interpreter, node: cst.ImportFrom) -> int:
        level = len(node.relative)
        dotted = dotted_name(node.module) if node.module is not None else ""
        if isinstance(node.names, cst.ImportStar):
            self.import_star(level, dotted)
            return FALL
        for alias in node.names:
            name = alias.name.value if isinstance(alias.name, cst.Name) else dotted_name(alias.name)
            bound = alias.asname.name.value if alias.asname and isinstance(alias.asname.name, cst.Name) else name
            self.bind(bound, self.imported(level, dotted, name))
        return FALL

    def run_delete(self: Interpreter, node: cst.Del) -> int:
        return FALL

    def run_raise(self: Interpreter, node: cst.Raise) -> int:
        if node.exc is not None:
            self.eval(node.exc)
        return RAISE

    def run_assert(self: Interpreter, node: cst.Assert) -> int:
        self.eval(node.test)
        return FALL

    def run_pass(self: Interpreter, node: cst.CSTNode) -> int:
        return FALL

    def run_break(self: Interpreter, node: cst.CSTNode) -> int:
        return BREAK

    def run_continue(self: Interpreter, node: cst.CSTNode) -> int:
        return CONTINUE

    # -- binding -------------------------------------------------------------------------------------------------------

    def bind(self: Interpreter, name: str, value: Value) -> None:
        frame = self.frame
        self.write(frame.file.names if name in frame.globals else frame.locals, name, value)

    def run_global(self: Interpreter, node: cst.Global) -> int:
        self.frame.globals = self.frame.globals | {item.name.value for item in node.names}
        return FALL

    def assign(self: Interpreter, target: cst.CSTNode, value: Value, node: cst.CSTNode) -> None:
        if isinstance(target, cst.Name):
            self.bind(target.value, value)
        elif isinstance(target, cst.Attribute):
            self.set_attribute(self.eval(target.value), target.attr.value, value, node)
        elif isinstance(target, (cst.Tuple, cst.List)):
            self.unpack(target.elements, value, node)
        elif isinstance(target, cst.Subscript):
            self.set_item(self.eval(target.value), target, value, node)
        elif isinstance(target, cst.StarredElement):
            self.assign(target.value, value, node)

    def unpack(self: Interpreter, elements: Seq[cst.BaseElement], value: Value, node: cst.CSTNode) -> None:
        parts = self.spread(value, len(elements), any(isinstance(e, cst.StarredElement) for e in elements))
        for element, part in zip(elements, parts):
            self.assign(element.value, part, node)

    def spread(self: Interpreter, value: Value, count: int, starred: bool = False) -> list[Value]:
        """`count` values out of one that is unpacked."""
        options: list[list[Value]] = []
        for member in members(value):
            if isinstance(member, Sequence) and not starred and len(member.items) == count:
                options.append(list(member.items))
            elif isinstance(member, Tensor):
                if member.op == "loss":
                    continue  # one number: what is unpacked comes from another branch
                item = Tensor("item", (member,), member.module, member.node, member.file, member.grad)
                parts: list[Value] = [item] * count
                if member.op in layers.VALUES_AND_INDICES and count == 2:
                    parts[1] = Tensor("indices", (member,), None, member.node, member.file, False)
                options.append(parts)
            elif isinstance(member, ParamSet) and member.named and member.elem and count == 2:
                options.append([member.but(names=True, named=False), member.but(named=False)])
            elif isinstance(member, Instance) and member.kind == "loader_item":
                loader = member.notes.get("loader")
                options.append(
                    [Tensor("data", (), None, member.node, member.file, loader=loader, key=i) for i in range(count)]
                )
        if not options:
            return [UNKNOWN] * count
        if len(options) == 1:
            return options[0]
        return [join(*(option[i] for option in options)) for i in range(count)]

    # -- branches ------------------------------------------------------------------------------------------------------

    def run_if(self: Interpreter, node: cst.If) -> int:
        if self.is_main_guard(node.test):
            if all(old is not node for old in self.frame.file.main_blocks):
                self.frame.file.main_blocks.append(node)
            return FALL
        value = self.eval(node.test)
        verdict, pred = self.truth(value)
        literal = isinstance(node.test, (cst.Name, cst.Integer)) and node.test.value in ("False", "0", "TYPE_CHECKING")
        if literal:
            verdict = False

        def then() -> int:
            return self.run_body(node.body)

        def otherwise() -> int:
            return self.run_orelse(node)

        if verdict is None and pred is None and isinstance(node.orelse, cst.If):
            return self.run_chain(node)
        if verdict is None:
            return self.fork(
                (
                    (then, Step(node, None, pred)),
                    (otherwise, Step(node.orelse or node.test, None, ~pred if pred else None)),
                ),
                False,
            )
        if literal:
            return otherwise()
        if verdict:
            if node.orelse is None and not leaves(node.body):
                length = len(self.path)
                self.path.append(Step(node, True))
                status = then()
                del self.path[length : length + 1]
                return status
            return self.fork(((then, Step(node, True)), (otherwise, Step(node.orelse or node.test, False))), True)
        return self.fork(((otherwise, Step(node.orelse or node.test, True)), (then, Step(node, False))), True)

    def run_chain(self: Interpreter, node: cst.If) -> int:
        """`if … elif … elif …` of which nothing is known: one fork, not one within the other, so that what the last of
        forty models writes is joined once."""
        alternatives: list[tuple[Callable[[], int], tuple[Step, ...]]] = []
        passed: tuple[Step, ...] = ()
        at = node
        while True:
            alternatives.append((lambda body=at.body: self.run_body(body), (*passed, Step(at, None))))
            passed = (*passed, Step(at.orelse or at.test, None))
            rest = at.orelse
            if isinstance(rest, cst.If) and not isinstance(rest.test, (cst.Name, cst.Integer)):
                if not self.is_main_guard(rest.test) and self.truth(self.eval(rest.test)) == (None, None):
                    at = rest
                    continue
            break
        alternatives.append((lambda: self.run_orelse(at), passed))
        return self.fork(alternatives, False)

    def run_orelse(self: Interpreter, node: cst.If) -> int:
        """What runs when the test does not hold: `elif`, `else` or nothing."""
        if node.orelse is None:
            return FALL
        if isinstance(node.orelse, cst.If):
            return self.run(node.orelse)
        return self.run_body(node.orelse.body)

    def is_main_guard(self: Interpreter, test: cst.CSTNode) -> bool:
        return (
            isinstance(test, cst.Comparison)
            and isinstance(test.left, cst.Name)
            and test.left.value == "__name__"
            and self.frame.func is None
        )

    def run_try(self: Interpreter, node: cst.Try) -> int:
        names = [self.handler_name(handler) for handler in node.handlers]
        if names:
            self.emit("handler", node, UNKNOWN, names=names)
        status = self.run_body(node.body)
        for handler in node.handlers:

            def run(handler: Any = handler) -> int:
                if handler.name is not None and isinstance(handler.name.name, cst.Name):
                    self.bind(handler.name.name.value, UNKNOWN)
                return self.run_body(handler.body)

            if status == FALL:
                self.fork(((lambda: FALL, Step(node, True)), (run, Step(handler, False))), True)
            elif status == RAISE:
                status = run()
            else:
                self.fork(((lambda: FALL, Step(node, True)), (run, Step(handler, False))), True)
        if node.orelse is not None and status == FALL:
            status = self.run_body(node.orelse.body)
        if node.finalbody is not None:
            ended = self.run_body(node.finalbody.body)
            status = status if status != FALL else ended
        return status

    def handler_name(self: Interpreter, handler: cst.ExceptHandler) -> str:
        if handler.type is None:
            return "BaseException"
        types = handler.type.elements if isinstance(handler.type, cst.Tuple) else [handler.type]
        found = []
        for kind in types:
            node = kind.value if isinstance(kind, cst.Element) else kind
            found.append(dotted_name(node))
        return ",".join(found)

    def run_with(self: Interpreter, node: cst.With) -> int:
        grad = self.grad
        for item in node.items:
            value = self.eval(item.item)
            self.enter(value)
            if item.asname is not None:
                entered = value
                self.assign(item.asname.name, entered, node)
        status = self.run_body(node.body)
        self.grad = grad
        return status

    def enter(self: Interpreter, value: Value) -> None:
        """What a context manager changes while it is open."""
        for member in members(value):
            if isinstance(member, Instance):
                if member.library in NO_GRAD:
                    self.grad = False if self._on(member, True) else self.grad
                elif member.library in ("torch.set_grad_enabled", "torch.autograd.set_grad_enabled"):
                    verdict, _ = self.truth(member.args[0]) if member.args else (None, None)
                    self.grad = verdict if verdict is not None else None
                elif member.library == "torch.enable_grad":
                    self.grad = True

    def _on(self: Interpreter, member: Instance, default: bool) -> bool:
        if not member.args:
            return default
        verdict, _ = self.truth(member.args[0])
        return verdict is not False

    # -- loops ---------------------------------------------------------------------------------------------------------

    def run_for(self: Interpreter, node: cst.For) -> int:
        over = self.eval(node.iter)
        rounds = self.rounds(self.unrolled(over), node)
        outer = self.loops
        self.emit("iterated", node, over)
        status = FALL
        for element in rounds:
            self.seq += 1
            self.loops = [*outer, Loop(node, over, self.file, self.seq)]
            length = len(self.path)
            self.assign(node.target, element, node)
            status = self.run_body(node.body)
            del self.path[length:]
            if status in (RETURN, RAISE):
                break
            if status == BREAK:
                break
        self.loops = outer
        if status in (BREAK, CONTINUE, RAISE):
            status = FALL
        if status == RETURN:
            status = FALL if self.may_be_empty(over) else RETURN
        if node.orelse is not None and status == FALL:
            self.run_body(node.orelse.body)
        return status

    def may_be_empty(self: Interpreter, over: Value) -> bool:
        return not (isinstance(over, Sequence) and over.items and not over.open)

    def run_while(self: Interpreter, node: cst.While) -> int:
        outer = self.loops
        self.eval(node.test)
        self.seq += 1
        self.loops = [*outer, Loop(node, None, self.file, self.seq)]
        length = len(self.path)
        status = self.run_body(node.body)
        del self.path[length:]
        self.loops = outer
        return FALL if status in (BREAK, CONTINUE, RAISE) or status == RETURN else status

    def rounds(self: Interpreter, over: Value, node: cst.CSTNode) -> list[Value]:
        """The elements a loop goes over: all of a short known sequence, one symbolic element of anything else."""
        options: list[Value] = []
        for member in members(over):
            if isinstance(member, Sequence):
                items = member.items
                if len(members(over)) == 1 and 0 < len(items) <= UNROLL:
                    return list(items)
                options.extend(items[:UNROLL])
                if not items and not member.open:
                    continue
                if not items:
                    options.append(UNKNOWN)
            elif isinstance(member, Dict):
                keys = [Const(key) for key in member.fields]
                if len(members(over)) == 1 and 0 < len(keys) <= UNROLL and not member.open:
                    return list(keys)
                options.append(UNKNOWN)
            else:
                options.append(self.element_of(member, node))
        if not options:
            return []
        return [join(*options)] if len(options) <= 8 else [join(*options[:8])]

    def element_of(self: Interpreter, member: Value, node: cst.CSTNode) -> Value:
        if isinstance(member, ParamSet):
            return member.but(elem=True, node=node)
        if isinstance(member, Tensor):
            return Tensor("item", (member,), None, node, self.file, member.grad)
        if isinstance(member, Instance):
            if member.kind == "loader":
                item = Instance(Ref("torch.utils.data.Batch"), node, self.file)
                item.kind = "loader_item"
                item.notes["loader"] = member
                return item
            if member.kind == "range":
                return UNKNOWN
            if member.kind == "param_groups":
                return self.instance_item(member, UNKNOWN, node)
            inner = member.notes.get("iterates")
            if inner is not None:
                return self.rounds(inner, node)[0] if self.rounds(inner, node) else UNKNOWN
            if "enumerates" in member.notes:
                inner_rounds = self.rounds(member.notes["enumerates"], node)
                pair = (UNKNOWN, inner_rounds[0] if inner_rounds else UNKNOWN)
                return Sequence("tuple", pair, node=node, file=self.file)
            if "zips" in member.notes:
                parts = []
                for inner in member.notes["zips"]:
                    got = self.rounds(inner, node)
                    parts.append(join(*got[:8]) if got else UNKNOWN)
                return Sequence("tuple", tuple(parts), node=node, file=self.file)
            if member.kind == "module":
                return self.container_element(member, node)
        return UNKNOWN

    # -- definitions ---------------------------------------------------------------------------------------------------

    def run_functiondef(self: Interpreter, node: cst.FunctionDef) -> int:
        decorators = tuple(self.decorator(d.decorator) for d in node.decorators)
        func = Func(node, self.file, self.closure(), None, decorators)
        self.bind(node.name.value, self.decorated(func, decorators, node))
        return FALL

    def closure(self: Interpreter) -> tuple[dict[str, Value], ...]:
        frame = self.frame
        if frame.func is None and frame.locals is frame.file.names:
            return ()
        return (frame.locals, *frame.closure)

    def decorator(self: Interpreter, node: cst.CSTNode) -> Value:
        """A decorator's value; the program's own decorator factories are only run when they register."""
        if not isinstance(node, cst.Call):
            return self.eval(node)
        callee = self.eval(node.func)
        func = callee.func if isinstance(callee, Bound) else callee
        if isinstance(func, Func) and not self.keeps_what_it_gets(func):
            return UNKNOWN
        return self.call(callee, self.arguments(node), node)

    def run_classdef(self: Interpreter, node: cst.ClassDef) -> int:
        decorators = tuple(self.decorator(d.decorator) for d in node.decorators)
        bases = tuple(self.eval(base.value) for base in node.bases)
        kept = []
        for base in bases:
            for member in members(base):
                kept.append(member if isinstance(member, (Class, Ref)) else self.base_of(member))
                break
        made = Class(node, self.file, tuple(kept), decorators=decorators)
        self.classes.append(made)
        self.run_class_body(made, node)
        self.bind(node.name.value, self.decorated(made, decorators, node))
        return FALL

    def base_of(self: Interpreter, member: Value) -> Value:
        return member if isinstance(member, Unknown_types) else UNKNOWN

    def run_class_body(self: Interpreter, made: Class, node: cst.ClassDef) -> None:
        from tricklint.program.interpreter import Frame

        frame = Frame(None, self.file, made.fields, self.closure(), len(self.path))
        with self.inside(frame):
            for statement in node.body.body:
                if isinstance(statement, cst.FunctionDef):
                    decorators = tuple(self.decorator(d.decorator) for d in statement.decorators)
                    closure = frame.closure
                    func = Func(statement, self.file, closure, made, decorators)
                    self.bind(statement.name.value, func)
                else:
                    self.run(statement)

    def run_match(self: Interpreter, node: cst.Match) -> int:
        self.eval(node.subject)
        alternatives = []
        for case in node.cases:
            alternatives.append((lambda case=case: self.run_body(case.body), Step(case, None)))
        return self.fork(alternatives, False) if alternatives else FALL


Unknown_types = (Class, Ref)


def leaves(body: cst.BaseSuite) -> bool:
    """The suite ends by leaving the function, the loop or the program."""
    last = body.body[-1] if body.body else None
    if isinstance(last, cst.SimpleStatementLine):
        last = last.body[-1]
    if isinstance(last, cst.Expr):
        return isinstance(last.value, cst.Call) and dotted_name(last.value.func) in _EXITS
    return isinstance(last, (cst.Return, cst.Raise, cst.Continue, cst.Break))


def dotted_name(node: cst.CSTNode | None) -> str:
    """`a.b.c` of a Name or Attribute; "" for anything else."""
    parts: list[str] = []
    while isinstance(node, cst.Attribute):
        parts.append(node.attr.value)
        node = node.value
    if not isinstance(node, cst.Name):
        return ""
    parts.append(node.value)
    return ".".join(reversed(parts))


_RUN: dict[type, Any] = {
    cst.Expr: Statements.run_expr,
    cst.Assign: Statements.run_assign,
    cst.AnnAssign: Statements.run_annassign,
    cst.AugAssign: Statements.run_augassign,
    cst.Return: Statements.run_return,
    cst.Import: Statements.run_import,
    cst.ImportFrom: Statements.run_importfrom,
    cst.Del: Statements.run_delete,
    cst.Raise: Statements.run_raise,
    cst.Assert: Statements.run_assert,
    cst.Pass: Statements.run_pass,
    cst.Global: Statements.run_global,
    cst.Nonlocal: Statements.run_pass,
    cst.Break: Statements.run_break,
    cst.Continue: Statements.run_continue,
    cst.If: Statements.run_if,
    cst.For: Statements.run_for,
    cst.While: Statements.run_while,
    cst.With: Statements.run_with,
    cst.Try: Statements.run_try,
    cst.TryStar: Statements.run_try,
    cst.FunctionDef: Statements.run_functiondef,
    cst.ClassDef: Statements.run_classdef,
    cst.Match: Statements.run_match,
}
if hasattr(cst, "TypeAlias"):
    _RUN[cst.TypeAlias] = Statements.run_pass

__all__ = ["FALL", "FileModule", "Namespace", "Pred", "Statements", "Test", "Union", "dotted_name"]
