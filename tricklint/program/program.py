"""A project, run: the values it makes and the events on them, ready for rules to ask."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Container, Iterable, Iterator, Mapping
from collections.abc import Sequence as Seq
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar, overload

import libcst as cst

from tricklint.finding import Evidence, Finding, Fix, Location
from tricklint.interpreter.callargs import CallArgs
from tricklint.interpreter.calls import invoke
from tricklint.interpreter.classes import instantiate, kind_of_class
from tricklint.interpreter.events import Activation, Built, Event
from tricklint.interpreter.imports import run_file, settled
from tricklint.interpreter.interpreter import BudgetSpent, Frame, Machine
from tricklint.interpreter.modules import FileModule, Project
from tricklint.interpreter.values import (
    UNKNOWN,
    Class,
    Const,
    Func,
    Instance,
    Value,
    first,
    instances,
    members,
)
from tricklint.interpreter.yields import Haste
from tricklint.libraries import load as load_libraries
from tricklint.libraries.events import GroupAdded, HeadReplaced, LossBuilt, OptimizerBuilt, TrainerGiven
from tricklint.libraries.facts import ModuleFacts, OptimizerFacts
from tricklint.libraries.lightning import run_lightning
from tricklint.libraries.modules import submodules
from tricklint.libraries.paramsets import roots_of
from tricklint.libraries.torch_forward import forward
from tricklint.program import starts
from tricklint.program.age import early_code, needs_later
from tricklint.program.idle import idle
from tricklint.source.data import from_disk
from tricklint.source.tree import Tree

if TYPE_CHECKING:
    from tricklint.rule import Rule
    from tricklint.source.data import Reader
    from tricklint.source.patience import Patience
    from tricklint.source.text import Source

A = TypeVar("A", bound=Event)
B = TypeVar("B", bound=Event)
C = TypeVar("C", bound=Event)
D = TypeVar("D", bound=Event)

# Steps (statements and calls) that an entry may take: a script whole, an uncalled function, all of a file's together.
SCRIPT_BUDGET = 30_000
ENTRY_BUDGET = 4_000
# Files whose entries of one kind are followed in the same haste: what a few lines more cost is not to change which entry is
# the first that is followed less deep.
TOGETHER = 16
LAST = 9  # the stage of entries that come after all others
REST_BUDGET = 8_000
TEST_BUDGET = 2_000  # a file of unit tests whole: what it trains is no recipe


class Program:
    """The files of a project, followed from `roots`.

    sources: every file in reach, by absolute path. roots: files to start from. import_roots: folders that absolute
    imports are searched in. load: reads a file that is not in `sources` (None when it cannot). followed: the
    files to follow, where that is known of a larger project. watch: called now and then; it may raise to end the run
    (no Exception, which would be taken for a mistake of the entry). read: the bytes of a configuration file (None when
    it cannot). asked: the files that
    findings are reported for, all when it is None. patience: how soon an answer is wanted; what is not reached until
    then is left as where the budget is spent. haste: how entries are followed, where that is
    not to hang on how much was followed before them.
    """

    def __init__(
        self,
        sources: Mapping[Path, Source],
        roots: Iterable[Path],
        import_roots: Seq[Path],
        load: Callable[[Path], Source | None],
        settings: Any = None,
        followed: Iterable[Path] | None = None,
        watch: Callable[[], None] = lambda: None,
        read: Reader = from_disk,
        asked: Container[Path] | None = None,
        patience: Patience | None = None,
        haste: Mapping[str, Haste] | None = None,
    ) -> None:
        self.sources = sources
        self.asked = asked
        self.settings = settings
        self.facts: Any = None
        self.problems: list[Any] = []
        self.project = Project(sources, import_roots, load, watch, read)
        load_libraries()
        self.interpreter = Machine(self.project)
        self.interpreter.watch = watch
        self.interpreter.patience = patience
        self.starts: dict[str, Path] = {}  # the file that each entry begins in
        self.haste: dict[str, Haste] = {}
        self._haste = haste or {}
        self._numbers = {path: at for at, path in enumerate(sorted(sources))}
        self._turn, self._by_itself = (-1, 0), Haste.NONE
        self.led = False  # whether an entry was followed otherwise than it would have been by itself
        self.roots = [path for path in roots if path in sources]
        self.crashes: list[tuple[Path, str]] = []
        followed = starts.followed(sources, self.roots) if followed is None else list(followed)
        for path in followed:
            self._enter(path, f"run {path}", lambda path=path: self._run_script(path), stage=0)
        self._run_rest(followed)
        self.alternatives: list[tuple[Instance, Event]] = []
        for path in followed:
            self._run_alternatives(path)

    # -- running -------------------------------------------------------------------------------------------------------

    def _enter(
        self, path: Path, name: str, run: Callable[[], object], budget: int = SCRIPT_BUDGET, stage: int = LAST
    ) -> int:
        """Run one entry from a clean state; returns the steps it took. stage: which kind of entries it is of, all of which are
        run before those of the next."""
        at = self.interpreter
        self.starts[name] = path
        if at.patience is not None and at.patience.over:
            at.incomplete.add(name)
            return 0
        at.spent += at.steps
        turn = (stage, self._numbers.get(path, 0) // TOGETHER)
        if turn != self._turn or Haste.after(at.spent // 2) > self._by_itself:
            self._turn, self._by_itself = turn, Haste.after(at.spent)
        by_itself = self._by_itself
        at.haste = self.haste[name] = self._haste.get(name, by_itself)
        self.led |= at.haste is not by_itself
        at.steps, at.entry, at.budget, at.calls_of, at.fresh, at.built_before = 0, name, budget, {}, set(), {}
        at.began = at.seq
        at.frames, at.path, at.loops, at.journal, at.grad, at.forward_depth = [], [], [], None, True, 0
        at.mixed = at.ruled_out = 0
        try:
            run()
        except (BudgetSpent, RecursionError):
            at.incomplete.add(name)
            at.give_back()
        except Exception as error:
            if DEBUG:
                raise
            self.crashes.append((path, f"{type(error).__name__}: {error}"))
            at.incomplete.add(name)
        finally:
            at.frames, at.path, at.loops, at.journal = [], [], [], None
        return at.steps

    def _run_script(self, path: Path) -> None:
        at = self.interpreter
        at.script = path
        try:
            module = run_file(at, path)
        finally:
            at.script = None
        if module is None:
            return
        for block in module.main_blocks:
            frame = Frame(None, module, module.names, (), 0)
            with at.inside(frame):
                at.run_body(block.body)

    def _run_rest(self, paths: Iterable[Path]) -> None:
        """Functions and classes that nothing has called: each is an entry of its own. What builds models comes before
        the models, which then run as they are built: functions, plain classes, Lightning modules, modules."""
        at = self.interpreter
        whole: dict[Path, int] = {}
        left: dict[Path, int] = {}
        entries: list[tuple[int, Path, FileModule, Func | Class]] = []
        for path in paths:
            module = self.project.module(path)
            if module is None:
                continue
            whole[path] = left[path] = TEST_BUDGET if module.holds_unit_tests else REST_BUDGET
            for value in list(module.names.values()):
                if isinstance(value, Func) and value.file is module and isinstance(value.node, cst.FunctionDef):
                    entries.append((0, path, module, value))
                elif isinstance(value, Class) and value.file is module:
                    inner = [each for each in value.fields.values() if isinstance(each, Class) and each.file is module]
                    for cls in (value, *inner):
                        is_module = kind_of_class(cls) == "module"
                        lightning = "lightning.LightningModule" in cls.libraries()
                        entries.append((1 + is_module + (is_module and not lightning), path, module, cls))
        for order, path, module, value in sorted(entries, key=lambda entry: entry[0]):
            if left[path] <= 0 or (isinstance(value, Func) and id(value.node) in at.covered):
                continue

            def run(module: FileModule = module, value: Func | Class = value) -> None:
                if isinstance(value, Func):
                    self._run_function(module, value)
                else:
                    self._run_class(module, value)

            left[path] -= self._enter(path, f"{path}: {value.name}", run, min(ENTRY_BUDGET, whole[path]), 1 + order)

    def _run_function(self, module: FileModule, func: Func) -> None:
        at = self.interpreter
        with at.inside(Frame(None, module, module.names, (), 0)):
            invoke(at, func, None, CallArgs(), func.node)

    def _run_class(self, module: FileModule, cls: Class) -> None:
        at = self.interpreter
        methods = [f for f in cls.fields.values() if isinstance(f, Func) and id(f.node) not in at.covered]
        kind = kind_of_class(cls)
        if not methods or kind == "optimizer":
            return
        lightning = "lightning.LightningModule" in cls.libraries()
        with at.inside(Frame(None, module, module.names, (), 0)):
            made = at.last_built.get(id(cls))
            if made is None:
                made_value = instantiate(at, cls, CallArgs(), cls.node)
                if not isinstance(made_value, Instance):
                    return
                made = made_value
                made.fact(ModuleFacts).imagined = True
            if lightning:
                run_lightning(at, made, CallArgs(), cls.node)
            for func in methods:
                if id(func.node) in at.covered or func.name.startswith("__"):
                    continue
                if kind == "module" and func.name == "forward":
                    forward(at, made, CallArgs(), cls.node)
                else:
                    invoke(at, func, made, CallArgs(), func.node)

    def _run_alternatives(self, path: Path) -> None:
        """A script that stars a package of models in and trains one of them trains any of them: its siblings count, but for
        those that it builds itself and does not train."""
        module = self.project.module(path)
        if module is None or not module.star_exports:
            return
        files: list[FileModule] = []
        stack = list(module.star_exports)
        while stack:
            at = stack.pop()
            if at not in files:
                files.append(at)
                stack.extend(at.star_exports)
        trains: list[OptimizerBuilt] = []
        given: list[Value] = []
        for event in self.interpreter.events:
            if isinstance(event, OptimizerBuilt) and event.file is module:
                roots = [root for group in event.subject.fact(OptimizerFacts).groups for root in roots_of(group.params)]
                roots = [root for root in roots if isinstance(root.cls, Class) and root.cls.file in files]
                given += [member for root in roots for value in (*root.args, *root.kwargs.values()) for member in members(value)]
                trains += [event] if roots else []
        if not trains:
            return
        of_parts = any(isinstance(value, Func) and value.file in files for value in given)  # the model is told who builds them
        surely = [
            event
            for event in self.interpreter.events
            if isinstance(event, Built)
            and event.entry == trains[0].entry
            and all(step.taken is True for step in event.path)
        ]
        own = {id(event.subject.cls) for event in surely if isinstance(event.subject, Instance)}
        own |= {id(func.node) for event in surely for func in event.stack}
        self._run_rest([file.path for file in files])
        built = self._instances
        for name, value in list(module.names.items()):
            value = settled(self.interpreter, module.names, name, value)
            if id(value.node if isinstance(value, Func) else value) in own:
                continue
            if isinstance(value, Class) and value.file in files and kind_of_class(value) == "module":
                made = [i for i in built if i.cls is value and i.made_in is None and not i.fact(ModuleFacts).imagined]
                if not made and takes_nothing(value):
                    results_of_class: list[Value] = []

                    def construct(value: Class = value, results: list[Value] = results_of_class) -> None:
                        with self.interpreter.inside(Frame(None, module, module.names, (), 0)):
                            made = instantiate(self.interpreter, value, CallArgs(), value.node)
                            results.append(made)
                            if isinstance(made, Instance):
                                forward(self.interpreter, made, CallArgs(), value.node)

                    self._enter(path, f"alternative {name}", construct)
                    made = [result for result in results_of_class if isinstance(result, Instance)]
                self.alternatives.extend((instance, trains[0]) for instance in made[:1])
            elif isinstance(value, Func) and value.file in files and not of_parts and not name.startswith("test"):
                results: list[Value] = []

                def build(value: Func = value, results: list[Value] = results) -> None:
                    with self.interpreter.inside(Frame(None, module, module.names, (), 0)):
                        results.append(invoke(self.interpreter, value, None, CallArgs(), value.node))

                self._enter(path, f"alternative {name}", build)
                for result in results:
                    for member in members(result):
                        if isinstance(member, Instance) and member.kind == "module":
                            self.alternatives.append((member, trains[0]))

    @property
    def _instances(self) -> list[Instance]:
        return [event.subject for event in self.interpreter.events if isinstance(event, Built)]

    @property
    def ran(self) -> dict[Path, frozenset[Path]]:
        """The files that were run, with those that each of them ran by importing them."""
        return {module.path: frozenset(module.imports) for module in self.project.loaded()}

    # -- questions -----------------------------------------------------------------------------------------------------

    @cached_property
    def _by_kind(self) -> dict[type[Event], list[Event]]:
        found: dict[type[Event], list[Event]] = defaultdict(list)
        for event in self.interpreter.events:
            found[type(event)].append(event)
        for events in found.values():
            events.sort(key=lambda event: event.seq)
        return found

    @cached_property
    def _by_kinds(self) -> dict[tuple[type[Event], ...], list[Event]]:
        return {}

    def remember(self, what: str, work_out: Callable[[], Any]) -> Any:
        """An answer that several rules need, worked out once a program."""
        if what not in self._answers:
            self._answers[what] = work_out()
        return self._answers[what]

    @cached_property
    def _answers(self) -> dict[str, Any]:
        return {}

    @cached_property
    def made(self) -> dict[int, list[Event]]:
        """The events that made an object, by its id."""
        found: dict[int, list[Event]] = defaultdict(list)
        for event in self.events(LossBuilt, Built):
            found[id(event.subject)].append(event)
        return found

    @overload
    def events(self, one: type[A], /) -> list[A]: ...
    @overload
    def events(self, one: type[A], two: type[B], /) -> list[A | B]: ...
    @overload
    def events(self, one: type[A], two: type[B], three: type[C], /) -> list[A | B | C]: ...
    @overload
    def events(self, one: type[A], two: type[B], three: type[C], four: type[D], /) -> list[A | B | C | D]: ...
    def events(self, *kinds: type[Event]) -> Seq[Event]:
        """Events of the given classes, in the order in which they happen."""
        if len(kinds) == 1:
            return self._by_kind.get(kinds[0], [])
        if kinds not in self._by_kinds:
            found = [event for kind in kinds for event in self._by_kind.get(kind, [])]
            self._by_kinds[kinds] = sorted(found, key=lambda event: event.seq)
        return self._by_kinds[kinds]

    @property
    def unbound(self) -> list[tuple[Path, str]]:
        """Names that were read where nothing had bound them, with their files, once a place."""
        return list(self.interpreter.unbound.values())

    @cached_property
    def called(self) -> set[cst.CSTNode]:
        """The calls that were followed to functions of the program in which something happens."""
        found: set[cst.CSTNode] = set()
        seen: set[int] = set()
        for event in self.interpreter.events:
            at: Activation | None = event.activation
            while at is not None and id(at) not in seen:
                seen.add(id(at))
                if at.call is not None:
                    found.add(at.call[1])
                at = at.parent
        return found

    def is_asked(self, file: FileModule) -> bool:
        """Whether findings in a file are reported."""
        return self.asked is None or file.path in self.asked

    @property
    def spent(self) -> list[str]:
        """The scripts, functions and classes that were followed only in part, since they take too many steps."""
        return sorted(self.interpreter.incomplete)

    def complete(self, event: Event) -> bool:
        """The entry that an event belongs to was followed to its end."""
        return event.entry not in self.interpreter.incomplete

    def tree(self, where: FileModule | Path) -> Tree:
        """The libcst tree of a file of the program, with positions."""
        module = where if isinstance(where, FileModule) else self.project.module(where)
        assert module is not None
        return module.tree

    @property
    def trees(self) -> Iterator[Tree]:
        """Trees of the files that the inquiry starts from."""
        for path in self.roots:
            module = self.project.module(path)
            if module is not None:
                yield module.tree

    @cached_property
    def trained(self) -> dict[int, tuple[Instance, list[Event]]]:
        """Every module that an optimizer or a trainer is given, by id, with the events that say so. What is replaced after
        it was trained was given too."""
        found: dict[int, tuple[Instance, list[Event]]] = {}
        replaced: dict[int, list[HeadReplaced]] = defaultdict(list)
        for at in self.events(HeadReplaced):
            replaced[id(at.subject)].append(at)

        def parts(root: Instance, event: Event) -> Iterator[Instance]:
            for _, module in submodules(root):
                yield module
                for at in replaced.get(id(module), ()):
                    if at.seq > event.seq and at.entry == event.entry:
                        for old in instances(at.old, "module"):
                            yield from (part for _, part in submodules(old))

        for event in self.events(OptimizerBuilt, TrainerGiven, GroupAdded):
            values: list[Value] = []
            if isinstance(event, OptimizerBuilt):
                if idle(self, event):
                    continue
                values = [group.params for group in event.subject.fact(OptimizerFacts).groups]
            elif isinstance(event, TrainerGiven):
                values = [event.subject]
            for value in values:
                for root in roots_of(value):
                    for module in parts(root, event):
                        found.setdefault(id(module), (module, []))[1].append(event)
        for instance, trained_at in self.alternatives:
            for _, module in submodules(instance):
                if id(module) not in found:
                    found[id(module)] = (module, [trained_at])
        return found

    def trained_by(self, module: Instance) -> list[Event]:
        """The events by which an optimizer or a trainer was given this module."""
        entry = self.trained.get(id(module))
        return entry[1] if entry is not None else []

    def trained_models(self) -> list[TrainedModel]:
        """Classes and factories whose instances are trained, with the constructor arguments that are known."""
        found: dict[tuple[str, str], TrainedModel] = {}
        for event in self.events(OptimizerBuilt, TrainerGiven):
            values = (
                [group.params for group in event.subject.fact(OptimizerFacts).groups]
                if isinstance(event, OptimizerBuilt)
                else [event.subject]
            )
            for value in values:
                for root in roots_of(value):
                    if isinstance(root.cls, Class):
                        model = TrainedModel.of(root)
                        found.setdefault((str(model.path), model.qualname), model)
        return list(found.values())

    # -- findings ------------------------------------------------------------------------------------------------------

    def finding(
        self,
        rule: Rule,
        file: FileModule,
        node: cst.CSTNode,
        message: str,
        evidence: Iterable[Evidence | None] = (),
        fix: Fix | None = None,
        **changes: Any,
    ) -> Finding:
        """A finding of `rule` at `node`."""
        if isinstance(node, (cst.ClassDef, cst.FunctionDef)):
            start, end = file.tree.header_span(node)
        else:
            start, end = file.tree.span(node)
        seen = [item for item in evidence if item is not None]
        if fix is not None and needs_later(fix):
            paths = dict.fromkeys((file.path, *(item.path for item in seen), *(edit.path for edit in fix.edits)))
            early = next((found for path in paths if (found := self._early(path)) is not None), None)
            if early is not None:
                seen.append(early)
                fix = None
        return Finding(
            code=rule.code,
            name=rule.name,
            severity=changes.pop("severity", rule.severity),
            message=message,
            path=file.path,
            location=start,
            end_location=end,
            evidence=tuple(seen),
            fix=fix,
            **changes,
        )

    def _early(self, path: Path) -> Evidence | None:
        """Where a file shows that it is written for a PyTorch that lacks what fixes use."""

        def look() -> Evidence | None:
            module = self.project.module(path) if path in self.project.sources else None
            if module is None:
                return None  # a configuration file
            tree = module.tree
            node = early_code(tree)
            if node is None:
                return None
            return Evidence(path, *tree.span(node), "this is written for PyTorch before 0.4, which lacks what a fix would use")

        found: Evidence | None = self.remember(f"early {path}", look)
        return found

    def evidence(self, file: FileModule | None, node: cst.CSTNode | None, message: str) -> Evidence | None:
        """A line that supports a finding; None where its place is not known."""
        if file is None or node is None:
            return None
        if isinstance(node, (cst.ClassDef, cst.FunctionDef)):
            start, end = file.tree.header_span(node)
        else:
            start, end = file.tree.span(node)
        return Evidence(file.path, start, end, message)

    def read_from(self, value: Value | None, message: str) -> Evidence | None:
        """The place in a configuration file that a constant was read from, where that is so."""
        at = first(value)
        if not isinstance(at, Const) or at.place is None:
            return None
        place = at.place
        width = len(str(at.value))
        start, end = Location(place.row, place.column), Location(place.row, place.column + width)
        return Evidence(place.path, start, end, message)

    def row_loops(self) -> list[Any]:
        """Loops over `DataFrame.iterrows()` in the files the inquiry starts from."""
        from tricklint.dataframes.loops import METHOD, foreign_in, frame_loops

        speak = {path: source for path, source in self.sources.items() if METHOD in source.text}
        modules = [self.project.module(path) for path in self.roots if path in speak]
        if not modules:
            return []
        foreign = foreign_in(speak.values())
        return [loop for module in modules if module is not None for loop in frame_loops(module.tree, foreign)]


def takes_nothing(cls: Class) -> bool:
    """A class of the program whose constructor can be called without arguments."""
    init = cls.fields.get("__init__")
    if not isinstance(init, Func):
        return False
    params = init.node.params
    return all(param.default is not None for param in [*params.params[1:], *params.kwonly_params])


class TrainedModel:
    """A class of the program that is trained, and how its constructor is called."""

    def __init__(
        self, path: Path, qualname: str, args: list[Any], kwargs: dict[str, Any], known: bool, line: int
    ) -> None:
        self.path, self.qualname, self.args, self.kwargs, self.known, self.line = (
            path,
            qualname,
            args,
            kwargs,
            known,
            line,
        )

    @classmethod
    def of(cls, instance: Instance) -> TrainedModel:
        made = instance.cls
        assert isinstance(made, Class)
        args = [plain(value) for value in instance.args]
        kwargs = {name: plain(value) for name, value in instance.kwargs.items()}
        known = not instance.open_kwargs and not any(v is _NO for v in (*args, *kwargs.values()))
        start, _ = made.file.tree.header_span(made.node)
        return cls(
            made.file.path,
            made.name,
            [v for v in args if v is not _NO],
            {k: v for k, v in kwargs.items() if v is not _NO},
            known,
            start.row,
        )


_NO = object()
DEBUG = False


def plain(value: Value) -> Any:
    """The Python value of constants and containers of them; `_NO` for anything else."""
    from tricklint.interpreter.values import (
        Dict,
        Sequence,
    )

    at = first(value)
    if isinstance(at, Const):
        return at.value
    if isinstance(at, Sequence) and not at.open:
        items = [plain(item) for item in at.items]
        if any(item is _NO for item in items):
            return _NO
        return {"list": list, "tuple": tuple, "set": set}[at.kind](items)
    if isinstance(at, Dict) and not at.open:
        fields = {key: plain(item) for key, item in at.fields.items()}
        return _NO if any(item is _NO for item in fields.values()) else fields
    return _NO


__all__ = ["UNKNOWN", "Program", "TrainedModel", "members"]
