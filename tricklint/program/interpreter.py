"""The abstract interpreter: it runs the program on values that are known as far as the source tells.

A branch whose condition follows from defaults is run first, the others after it on a copy of the state; what they write
is taken back and joined. Every event remembers the branches and loops it stands in.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from collections.abc import Sequence as Seq
from typing import Any

import libcst as cst

from tricklint.program.calls import Calls
from tricklint.program.events import Event, Loop, Step
from tricklint.program.expressions import Expressions
from tricklint.program.imports import Deferred
from tricklint.program.modules import FileModule, Project
from tricklint.program.statements import Statements
from tricklint.program.values import (
    UNKNOWN,
    Const,
    Func,
    Instance,
    Value,
    join,
)
from tricklint.program.yields import NOISE, Yield

FALL, RETURN, BREAK, CONTINUE, RAISE = range(5)
_MISSING = object()


class BudgetSpent(Exception):
    """An entry took more steps than it may: what it would still have shown stays unknown."""


class Frame:
    """One call: local names, what it returned so far, where its path began."""

    __slots__ = (
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
        self.exits: list[
            tuple[list[tuple[dict[Any, Any], Any, Any]], bool]
        ] = []  # what branches that returned left behind
        self.self: Value | None = None
        self.call: tuple[FileModule, cst.CSTNode] | None = None  # the file and node it was called from
        self.grad: bool | None = True
        self.globals: frozenset[str] | set[str] = frozenset()


class Interpreter(Statements, Expressions, Calls):
    """State of one run over a project; the mixins hold statements, expressions and calls."""

    max_depth = 14
    depth_when_endless = 5

    def __init__(self, project: Project, budget: int = 30_000) -> None:
        self.project = project
        self.budget = budget
        self.steps = 0
        self.spent = 0  # steps of the entries before
        self.fruits = 0  # events, and changes to what is neither a local name nor a plain list or dict
        self.yields: dict[int, Yield] = {}  # what running a function has shown so far, by the id of its node
        self.frames: list[Frame] = []
        self.path: list[Step] = []
        self.loops: list[Loop] = []
        self.journal: list[tuple[dict[Any, Any], Any, Any]] | None = None
        self.events: list[Event] = []
        self.grad: bool | None = True
        self.entry = ""
        self.covered: set[int] = set()  # ids of function nodes that ran
        self.incomplete: set[str] = set()  # entries whose budget was spent
        self.training: set[str] = set()  # entries that have begun to train
        self.last_built: dict[int, Any] = {}  # the last instance of each class, by the class's id
        self.classes: list[Any] = []
        self.seq = 0
        self.forward_depth = 0
        self.root_grad: bool | None = True  # whether autograd was on when the outermost forward began
        self.keepers: dict[int, bool] = {}
        self.calls_of: dict[int, int] = {}  # how often each function ran in this entry
        self.mixed = 0  # >0: a callee that may be a model or something else is being called
        self.silent = 0  # >0: events are not recorded (a replay for a value only)

    # -- state ---------------------------------------------------------------------------------------------------------

    @property
    def frame(self) -> Frame:
        return self.frames[-1]

    @property
    def file(self) -> FileModule:
        return self.frames[-1].file

    def write(self, fields: dict[Any, Any], key: Any, value: Any) -> None:
        """The only way that names, attributes and items change."""
        if self.journal is not None:
            self.journal.append((fields, key, fields.get(key, _MISSING)))
        if key != "items" and key != "open" and self.frames and fields is not self.frames[-1].locals:
            self.fruits += 1
        fields[key] = value

    def tick(self) -> None:
        self.steps += 1
        if self.steps > self.budget:
            raise BudgetSpent

    def call_sites(self) -> tuple[tuple[FileModule, cst.CSTNode], ...]:
        """Where the functions that are running were called from, the outermost first."""
        return tuple(frame.call for frame in self.frames if frame.call is not None)

    def emit(self, kind: str, node: cst.CSTNode, subject: Value, **data: Any) -> Event | None:
        if self.silent:
            return None
        if kind in ("backward", "trainer"):
            self.training.add(self.entry)
        elif kind == "built":
            self.last_built[id(subject.cls)] = subject  # type: ignore[attr-defined]
        if kind in ("built", "loaded"):
            data["calls"] = self.call_sites()
        if kind not in NOISE and not (kind in ("built", "building") and not subject.kind):  # type: ignore[attr-defined]
            self.fruits += 1
        self.seq += 1
        event = Event(
            kind,
            node,
            self.file,
            subject,
            self.seq,
            tuple(self.path),
            tuple(self.loops),
            tuple(frame.func for frame in self.frames if frame.func is not None),
            self.grad,
            self.entry,
            data,
        )
        self.events.append(event)
        return event

    # -- branches ------------------------------------------------------------------------------------------------------

    def fork(self, alternatives: Seq[tuple[Callable[[], int], Step | tuple[Step, ...]]], decided: bool) -> int:
        """Run every alternative from the same state and join what they leave behind.

        An alternative is what to run, and the step (or steps, the last its own) that leads there. The first one is the
        default path's when `decided`. Returns how the whole ends.
        """
        outer = self.journal
        results: list[tuple[int, dict[tuple[int, Any], tuple[dict[Any, Any], Any, Any]], Step]] = []
        try:
            for run, steps in alternatives:
                steps = steps if isinstance(steps, tuple) else (steps,)
                log: list[tuple[dict[Any, Any], Any, Any]] = []
                self.journal = log
                length = len(self.path)
                self.path.extend(steps)
                try:
                    status = run()
                finally:
                    del self.path[length:]
                    finals: dict[tuple[int, Any], tuple[dict[Any, Any], Any, Any]] = {}
                    for fields, key, _ in log:
                        finals[id(fields), key] = (fields, key, fields.get(key, _MISSING))
                    for fields, key, old in reversed(log):
                        if old is _MISSING:
                            fields.pop(key, None)
                        else:
                            fields[key] = old
                results.append((status, finals, steps[-1]))
        finally:
            self.journal = outer
        live = [result for result in results if result[0] == FALL]
        for status, finals, step in results:
            if status == RETURN and finals and self.frames:
                frame = self.frames[-1]
                steps = (*self.path[frame.path_length :], step)
                frame.exits.append((list(finals.values()), all(at.taken is True for at in steps)))
        if not live:
            return results[0][0] if results[0][0] != RAISE else results[-1][0]
        written: dict[tuple[int, Any], tuple[dict[Any, Any], Any, list[Any]]] = {}
        for _, finals, _ in live:
            for ident, (fields, key, value) in finals.items():
                if ident in written:
                    written[ident][2].append(value)
                else:
                    written[ident] = (fields, key, [value])
        sure = decided and live[0] is results[0]
        default = live[0][1]
        for ident, (fields, key, values) in written.items():
            if len(values) < len(live):  # the others leave what was there before
                base = fields.get(key, _MISSING)
                values.insert(len(values) if ident in default else 0, base)
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
        if not present:
            return _MISSING
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

    def lookup(self, name: str) -> Value | None:
        frame = self.frames[-1]
        for scope in (frame.locals, *frame.closure):
            found = scope.get(name)
            if found is not None:
                return self.settled(scope, name, found) if type(found) is Deferred else found
        return self.global_name(frame.file, name)

    @contextlib.contextmanager
    def inside(self, frame: Frame) -> Iterator[Frame]:
        loops, path = self.loops, len(self.path)
        self.frames.append(frame)
        grad = self.grad
        try:
            yield frame
        finally:
            self.frames.pop()
            self.loops = loops
            del self.path[path:]
            self.grad = grad

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


__all__ = ["BREAK", "CONTINUE", "FALL", "RAISE", "RETURN", "UNKNOWN", "BudgetSpent", "Frame", "Interpreter"]
