"""The abstract interpreter: it runs the program on values that are known as far as the source tells.

A branch whose condition follows from defaults is run first, the others after it on a copy of the state; what they write
is taken back and joined. Every event remembers the branches and loops it stands in.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from collections.abc import Sequence as Seq
from pathlib import Path
from typing import Any, TypeVar, cast

import libcst as cst

from tricklint.interpreter.callargs import CallArgs
from tricklint.interpreter.events import Activation, Building, Built, Event, Loop, Moment, Step
from tricklint.interpreter.modules import FileModule, Project
from tricklint.interpreter.values import (
    UNKNOWN,
    Const,
    Func,
    Instance,
    Record,
    Value,
    join,
)
from tricklint.interpreter.yields import NOISE, Haste, Yield
from tricklint.source.patience import Patience

FALL, RETURN, BREAK, CONTINUE, RAISE = range(5)
_MISSING = object()
Written = tuple[dict[Any, Any], Any, Any]  # fields, the key in them, and a value
# What stood where a branch has written, before it did so first, in the order of the first writes: by the fields' id and
# the key
Journal = dict[tuple[int, Any], Written]
# A node's type is compared, where it can be no other's: libcst's classes are abstract, and isinstance asks a method of
# theirs whenever the answer is no.
_SUITES = (cst.IndentedBlock, cst.SimpleStatementSuite)

EVALUATORS: dict[type, Callable[[Machine, Any], Value]] = {}
STATEMENTS: dict[type, Callable[[Machine, Any], int]] = {}
_PERFORMERS: list[Callable[[Machine, Value, CallArgs, cst.CSTNode], Value]] = []
Registered = TypeVar("Registered", bound=Callable[..., Any])


def evaluates(*kinds: type) -> Callable[[Registered], Registered]:
    """The decorated function says what expressions of these kinds evaluate to."""

    def register(handler: Registered) -> Registered:
        EVALUATORS.update(dict.fromkeys(kinds, handler))
        return handler

    return register


def executes(*kinds: type) -> Callable[[Registered], Registered]:
    """The decorated function runs statements of these kinds and returns how they end."""

    def register(handler: Registered) -> Registered:
        STATEMENTS.update(dict.fromkeys(kinds, handler))
        return handler

    return register


def performs(handler: Registered) -> Registered:
    """The decorated function carries out calls."""
    _PERFORMERS.append(handler)
    return handler


class BudgetSpent(Exception):
    """An entry took more steps, or time, than it may: what it would still have shown stays unknown."""


class Frame:
    """One call: local names, what it returned so far, where its path began."""

    __slots__ = (
        "activation",
        "call",
        "closure",
        "exits",
        "file",
        "func",
        "globals",
        "grad",
        "locals",
        "path_length",
        "returns",
        "self",
    )

    def __init__(
        self,
        func: Func | None,
        file: FileModule,
        names: dict[str, Value],
        closure: tuple[dict[str, Value], ...],
        path_length: int,
    ) -> None:
        self.func = func
        self.file = file
        self.locals = names
        self.closure = closure
        self.path_length = path_length
        self.returns: list[tuple[Value, bool | None]] = []
        self.exits: list[tuple[list[Written], bool]] = []  # what branches that returned left behind
        self.self: Value | None = None
        self.activation: Activation | None = None  # made when the first event asks for it
        self.call: tuple[FileModule, cst.CSTNode] | None = None  # the file and node it was called from
        self.grad: bool | None = True
        self.globals: frozenset[str] | set[str] = frozenset()


class _Inside:
    __slots__ = ("frame", "length", "loops", "machine")

    def __init__(self, machine: Machine, frame: Frame) -> None:
        self.machine, self.frame = machine, frame

    def __enter__(self) -> Frame:
        self.loops, self.length = self.machine.loops, len(self.machine.path)
        self.machine.frames.append(self.frame)
        return self.frame

    def __exit__(self, *_: object) -> None:
        self.machine.frames.pop()
        self.machine.loops = self.loops
        del self.machine.path[self.length :]


class Machine:
    """State of one run over a project, and the three things that everything else is made of: a statement is run, an
    expression is evaluated, a value is called. How, stands in the files beside this one, registered by node and value."""

    max_depth = 40
    depth_when_endless = 5

    def __init__(self, project: Project, budget: int = 30_000) -> None:
        self.project = project
        self.budget = budget
        self.steps = 0
        self.spent = 0  # steps of the entries before
        self.haste = Haste.NONE
        self.fruits = 0  # events, and changes to what is neither a local name nor a plain list or dict
        self.yields: dict[int, Yield] = {}  # what running a function has shown so far, by the id of its node
        self.frames: list[Frame] = []
        self.path: list[Step] = []
        self.loops: list[Loop] = []
        self.journal: Journal | None = None
        self.events: list[Event] = []
        self.grad: bool | None = True
        # the function of a generator that a `with` statement opened, and the statement's body, to be run where it yields
        self.at_yield: tuple[cst.CSTNode, Callable[[Value], None]] | None = None
        self.entry = ""
        self.script: Path | None = None  # the file that is run as a script, while it is
        self.began = 0  # the place in time of the entry's beginning
        self.covered: set[int] = set()  # ids of function nodes that ran
        self.unbound: dict[int, tuple[Path, str]] = {}  # names that were read where nothing has bound them, by node
        self.fresh: set[int] = set()  # those of them that this entry was the first to run
        self.incomplete: set[str] = set()  # entries whose budget was spent
        self.training: set[str] = set()  # entries that have begun to train
        self.last_built: dict[int, Any] = {}  # the last instance of each class, by the class's id
        self.classes: list[Any] = []
        self.built_before: dict[int, Any] = {}  # … as it was before this entry built one
        self.seq = 0
        self.forward_depth = 0
        self.root_grad: bool | None = True  # whether autograd was on when the outermost forward began
        self.keepers: dict[int, bool] = {}
        self.calls_of: dict[int, int] = {}  # how often each function ran in this entry
        self.mixed = 0  # >0: a callee that may be a model or something else is being called
        self.watch: Callable[[], None] = lambda: None  # called now and then; may raise to end the run
        self.patience: Patience | None = None  # how soon an answer is wanted
        self.records: dict[type, Any] = {}  # what libraries know of the whole run: a typed record a kind
        self.silent = 0  # >0: events are not recorded (a replay for a value only)
        self.ruled_out = 0  # >0: in a branch that a literal argument rules out, run for what else could be made there
        self.alternatives_seen: set[int] = set()  # ids of branches that have run, or were looked at in this way

    def fact(self, kind: type[Record]) -> Record:
        """What a library knows of the whole run, as a record of that kind; made when it is first asked for."""
        found = self.records.get(kind)
        if found is None:
            found = self.records[kind] = kind()
        return cast(Record, found)

    # -- what everything is made of ------------------------------------------------------------------------------------

    def eval(self, node: cst.CSTNode) -> Value:
        """What an expression evaluates to."""
        handler = EVALUATORS.get(type(node))
        return handler(self, node) if handler is not None else UNKNOWN

    def run(self, node: cst.CSTNode) -> int:
        """Run one statement (or a line of small ones); returns how it ends."""
        self.tick()
        if type(node) is cst.SimpleStatementLine:
            for small in node.body:
                handler = STATEMENTS.get(type(small))
                status = handler(self, small) if handler is not None else FALL
                if status != FALL:
                    return status
            return FALL
        handler = STATEMENTS.get(type(node))
        return handler(self, node) if handler is not None else FALL

    def run_body(self, body: cst.BaseSuite | Seq[cst.CSTNode]) -> int:
        for statement in body.body if type(body) in _SUITES else body:  # type: ignore[union-attr]
            status = self.run(statement)
            if status != FALL:
                return status
        return FALL

    def call(self, callee: Value, args: CallArgs, node: cst.CSTNode) -> Value:
        """What calling `callee` gives."""
        return _PERFORMERS[-1](self, callee, args, node)

    # -- state ---------------------------------------------------------------------------------------------------------

    @property
    def frame(self) -> Frame:
        return self.frames[-1]

    @property
    def file(self) -> FileModule:
        return self.frames[-1].file

    def write(self, fields: dict[Any, Any], key: Any, value: Any) -> None:
        """The only way that names, attributes and items change."""
        journal = self.journal
        if journal is not None:
            place = id(fields), key
            if place not in journal:
                journal[place] = (fields, key, fields.get(key, _MISSING))
        if key != "items" and key != "open" and self.frames and fields is not self.frames[-1].locals:
            self.fruits += 1
        fields[key] = value

    def tick(self) -> None:
        self.steps += 1
        if self.steps > self.budget:
            raise BudgetSpent
        if not self.steps % 256:
            self.watch()
            if self.patience is not None and self.patience.over:
                raise BudgetSpent

    def activation(self) -> Activation:
        """The call that is running, with those it was called from."""
        parent: Activation | None = None
        for frame in self.frames:
            if frame.activation is None:
                self.seq += 1
                above = parent.stack if parent is not None else ()
                stack = above if frame.func is None else (*above, frame.func)
                frame.activation = Activation(frame.func, frame.file, frame.call, parent, self.seq, stack)
            parent = frame.activation
        assert parent is not None
        return parent

    def now(self, node: cst.CSTNode) -> Moment:
        """The moment at which something happens at `node`."""
        self.seq += 1
        return Moment(
            node, self.file, self.seq, tuple(self.path), tuple(self.loops), self.activation(), self.grad, self.entry
        )

    def emit(self, event: Event) -> None:
        """Keep an event, unless this is a replay for a value only."""
        if self.silent or (self.ruled_out and not event.makes):
            return
        subject = event.subject
        if event.trains:
            self.training.add(self.entry)
        elif isinstance(event, Built):
            made_of = id(event.subject.cls)
            self.built_before.setdefault(made_of, self.last_built.get(made_of))
            self.last_built[made_of] = subject
        plain = isinstance(event, (Built, Building)) and not event.subject.kind
        if not isinstance(event, NOISE) and not plain:
            self.fruits += 1
        self.events.append(event)

    def before_training(self, made: Instance) -> bool:
        """Whether what happens now to an object is there when it is trained: this entry has not begun to, and is not one that
        follows what no script calls, on an object that a script has made."""
        return self.entry not in self.training and (self.entry.startswith("run ") or made.seq >= self.began)

    def cover(self, func: Func) -> None:
        """A function of the program runs: it need not be followed again for its own sake."""
        if id(func.node) not in self.covered and not self.ruled_out:
            self.covered.add(id(func.node))
            self.fresh.add(id(func.node))

    def give_back(self) -> None:
        """The entry ended before its time: what it covered, and built, is open to others."""
        self.covered -= self.fresh
        for made_of, before in self.built_before.items():
            if before is None:
                self.last_built.pop(made_of, None)
            else:
                self.last_built[made_of] = before

    # -- branches ------------------------------------------------------------------------------------------------------

    def fork(self, alternatives: Seq[tuple[Callable[[], int], Step | tuple[Step, ...]]], decided: bool) -> int:
        """Run every alternative from the same state and join what they leave behind.

        An alternative is what to run, and the step (or steps, the last its own) that leads there. The first one is the
        default path's when `decided`. Returns how the whole ends.
        """
        outer, grad = self.journal, self.grad
        grads: list[bool | None] = []
        results: list[tuple[int, Journal, Step]] = []
        try:
            for run, steps in alternatives:
                steps = steps if isinstance(steps, tuple) else (steps,)
                journal: Journal = {}
                self.journal, self.grad = journal, grad
                length = len(self.path)
                self.path.extend(steps)
                try:
                    status = run()
                finally:
                    del self.path[length:]
                    finals: Journal = {}
                    for place, (fields, key, old) in journal.items():
                        finals[place] = (fields, key, fields.get(key, _MISSING))
                        if old is _MISSING:
                            fields.pop(key, None)
                        else:
                            fields[key] = old
                results.append((status, finals, steps[-1]))
                if status == FALL:
                    grads.append(self.grad)
        finally:
            self.journal = outer
        live = [result for result in results if result[0] == FALL]
        self.grad = grad if not grads else grads[0] if decided or len(set(grads)) == 1 else None
        for status, finals, step in results:
            if status == RETURN and finals and self.frames:
                frame = self.frames[-1]
                steps = (*self.path[frame.path_length :], step)
                frame.exits.append((list(finals.values()), all(at.taken is True for at in steps)))
        if not live:
            return results[0][0] if results[0][0] != RAISE else results[-1][0]
        written: dict[tuple[int, Any], tuple[dict[Any, Any], Any, list[Any]]] = {}
        for _, finals, _ in live:
            for place, (fields, key, value) in finals.items():
                if place in written:
                    written[place][2].append(value)
                else:
                    written[place] = (fields, key, [value])
        sure = decided and live[0] is results[0]
        default = live[0][1]
        for place, (fields, key, values) in written.items():
            if len(values) < len(live):  # the others leave what was there before
                base = fields.get(key, _MISSING)
                values.insert(len(values) if place in default else 0, base)
            merged = self._merge(values, sure)
            if merged is not _MISSING:
                self.write(fields, key, merged)
        if results[0][0] == RAISE and decided:
            pass  # "--data is required": whoever runs this has given what the defaults lack
        elif results[0][0] != FALL and decided:
            # the default path ended here: what follows is judged on the branch in which it exists
            self.path.append(live[0][2])
        elif len(live) < len(results):
            # the rest runs only for the elements (or cases) that did not leave
            for _, _, step in live:
                if step.pred is not None:
                    self.path.append(step)
        return FALL

    def alternative(self, branch: cst.CSTNode, node: cst.CSTNode, run: Callable[[], object]) -> None:
        """A branch that a literal argument rules out never runs in this call, and nothing that it does happens. What it
        would make is looked at once: the other optimizer of `get_optimizer("sgd")` is one of the program all the same."""
        if id(branch) in self.alternatives_seen:
            return
        self.alternatives_seen.add(id(branch))
        outer, self.journal = self.journal, {}
        length = len(self.path)
        self.path.append(Step(node, False))
        self.ruled_out += 1
        try:
            run()
        finally:
            self.ruled_out -= 1
            del self.path[length:]
            for fields, key, old in self.journal.values():
                if old is _MISSING:
                    fields.pop(key, None)
                else:
                    fields[key] = old
            self.journal = outer

    def leave(self, frame: Frame) -> None:
        """Join what the branches that returned early left behind: models that they built, attributes that they set."""
        for finals, sure in frame.exits:
            for fields, key, value in finals:
                if value is _MISSING or fields is frame.locals:
                    continue
                now = fields.get(key, _MISSING)
                if now is not value:
                    self.write(fields, key, self._merge([value, now] if sure else [now, value], sure))

    @staticmethod
    def _merge(values: list[Any], sure: bool) -> Any:
        present = [value for value in values if value is not _MISSING]
        if len(present) < 2:
            return present[0] if present else _MISSING
        if not isinstance(present[0], Value):
            if isinstance(present[0], tuple):  # items of a sequence
                kept = list(present[0])
                for other in present[1:]:
                    kept.extend(item for item in other if not any(item is old for old in kept))
                return tuple(kept)
            if isinstance(present[0], bool):
                return any(present)
            return present[0]
        if sure and isinstance(present[0], Const) and all(isinstance(value, Const) for value in present):
            return present[0]
        return join(*present, sure=sure)

    # -- scopes --------------------------------------------------------------------------------------------------------

    def bind(self, name: str, value: Value) -> None:
        frame = self.frame
        self.write(frame.file.names if name in frame.globals else frame.locals, name, value)

    def inside(self, frame: Frame) -> _Inside:
        """A context in which a call's frame is the innermost."""
        return _Inside(self, frame)

    @contextlib.contextmanager
    def afresh(self) -> Iterator[None]:
        """No branch, no loop, no journal: for code that runs as if nothing were around it."""
        kept = self.path, self.loops, self.journal, self.grad, self.forward_depth
        self.path, self.loops, self.journal, self.grad, self.forward_depth = [], [], None, True, 0
        try:
            yield
        finally:
            self.path, self.loops, self.journal, self.grad, self.forward_depth = kept

    def class_of(self, value: Value) -> str:
        """Dotted name of the library class a heap object is, or ""."""
        return value.library if isinstance(value, Instance) else ""


__all__ = [
    "BREAK",
    "CONTINUE",
    "FALL",
    "RAISE",
    "RETURN",
    "BudgetSpent",
    "Frame",
    "Machine",
    "evaluates",
    "executes",
    "performs",
]
