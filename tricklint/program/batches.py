"""Training loops on CUDA whose batch size is fixed."""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import libcst as cst

from tricklint.interpreter.events import Built, Event, Handled, Made, Picked, Step
from tricklint.interpreter.statements import raises
from tricklint.interpreter.values import (
    Class,
    Const,
    Generated,
    Instance,
    first,
)
from tricklint.libraries.events import Backward, LoaderBuilt, Stepped, TrainsOver
from tricklint.libraries.facts import LoaderFacts
from tricklint.program.devices import on_cuda, runs_on_cuda
from tricklint.program.loaders import Source, feeding, fixed_size, size_given, sources_of
from tricklint.program.loops import TRAINING, contains, flow, speaks_of
from tricklint.program.words import speaks
from tricklint.source.once import once_a_tree
from tricklint.source.tree import Tree, dotted, walk

if TYPE_CHECKING:
    from tricklint.interpreter.modules import FileModule
    from tricklint.program.program import Program

# What copes with a full device, or makes the batch size a matter of choice: no advice is needed
_COPES = re.compile(
    r"OutOfMemoryError|out of memory|find_executable_batch_size|auto_find_batch_size|scale_batch_size|"
    r"\bkoila\b|[Aa]ccumulat\w*[_ ](?:step|grad|iter|batch|freq)|grad\w*_accum|"
    r"accum_(?:iter|step|grad|freq)|accum\w*_steps|"
    r"iter_size|itersize|update_freq|virtual_batch|subdivision|chunk_size"
)
_OUT_OF_MEMORY = frozenset(("RuntimeError", "torch.cuda.OutOfMemoryError", "OutOfMemoryError"))
_ANY = frozenset(("Exception", "BaseException"))


@dataclass(frozen=True)
class FixedBatch:
    """`node` (in `file`) is the training loader's construction, or the script's call of what builds it. `script`: the
    outermost call that leads to it, where there is one."""

    file: FileModule
    node: cst.CSTNode
    size: int
    source: Source
    made_in: FileModule
    made: cst.CSTNode
    backward: Event
    script: tuple[FileModule, cst.CSTNode] | None = None


def fixed_batches(program: Program) -> list[FixedBatch]:
    """One for each script that trains on CUDA with a batch size that the code fixes: its first training loader. In the order of
    their paths, which no change of another file alters."""
    found: dict[FileModule, FixedBatch] = {}
    for one in (*_in_loops(program), *_in_frameworks(program)):
        found.setdefault(one.file, one)
    return sorted(found.values(), key=lambda one: one.file.path)


def _in_loops(program: Program) -> Iterator[FixedBatch]:
    """Loops that the program runs itself."""
    made_at = {id(event.subject): event for event in program.events(LoaderBuilt, Made, Built, Picked)}
    guarded = [event for event in program.events(Handled) if _broad(event)]
    coping: dict[FileModule, bool] = {}
    for back in program.events(Backward):
        if not back.loops or back.partial or _guarded(back, guarded) or not _steps(program, back):
            continue
        for source in _sources_behind(program, back):
            made = made_at.get(id(source))
            calls: tuple[tuple[FileModule, cst.CSTNode], ...] = ()
            if isinstance(source, Generated):
                if source.call is None:
                    continue
                made_in, node = source.call
            elif made is None or (made.entry != back.entry and made.stack and not _handed_over(source)):
                continue  # a module's own serves all that import it
            else:
                made_in, node, calls = made.file, made.node, made.calls
            size = fixed_size(size_given(source))
            if size is None:
                continue
            file, at = _in_script(made_in, node, calls, back)
            involved = {
                file,
                made_in,
                back.file,
                *(func.file for func in back.stack),
                *(func.file for func in (made.stack if made is not None else ())),
                *_optimizers_made(program, back),
            }
            for each in involved:
                if each not in coping:
                    coping[each] = _copes(each)
            if any(coping[each] for each in involved) or not on_cuda(program, back, involved):
                continue
            if _accumulates(program, back):
                continue
            yield FixedBatch(file, at, size, source, made_in, node, back, calls[0] if calls else None)
            break


def _in_frameworks(program: Program) -> Iterator[FixedBatch]:
    """Loops that a framework runs, over a loader or batches of a size that it is given."""
    made_at = {id(event.subject): event for event in program.events(LoaderBuilt, Made, Built)}
    for event in program.events(TrainsOver):
        source = event.subject
        made = made_at.get(id(source))
        size = fixed_size(size_given(source))
        node, file = (made.node, made.file) if made is not None else (source.node, source.file)
        if size is None or node is None or file is None or not runs_on_cuda(program, event):
            continue
        calls = made.calls if made is not None else ()
        script, at = _in_script(file, node, calls, event)
        files = {script, file, event.file, *(func.file for func in event.stack)}
        off = {part for told in (event.trainer, source) if told is not None for part in _told_off(told)}
        if not any(_copes(each, off) for each in files):
            yield FixedBatch(script, at, size, source, file, node, event, calls[0] if calls else None)


def _sources_behind(program: Program, back: Event) -> list[Source]:
    """What a backward pass is fed by: its loops, its data, else the script's training loader or source of its own."""
    found: list[Source] = [source for loop in back.loops for source in sources_of(loop.over)]
    found += [loader for loader in feeding(back.subject) if loader not in found]
    found = [source for source in found if size_given(source) is not None or _is_loader(source)]
    if any(_is_loader(source) for source in found):  # what wraps a loader was given no size of its own
        found = [source for source in found if _is_loader(source)]
    if found:
        return found
    loaders = [event for event in program.events(LoaderBuilt) if event.entry == back.entry and event.seq < back.seq]
    found += [event.subject for event in loaders if _for_training(event)] or _own_sources(program, back)
    return found if found or loaders else [*_picks(program, back)]


def _is_loader(source: Source) -> bool:
    return isinstance(source, Instance) and source.kind in ("loader", "batches")


def _own_sources(program: Program, back: Event) -> Iterator[Instance]:
    """Objects of the program that were given a size, and in whose methods the data of a backward pass is made."""
    origins = [tensor for tensor in flow(back.subject) if tensor.node is not None and tensor.module is None]
    owners = {id(func.owner) for func in back.stack}
    for event in program.events(Built):
        cls = event.subject.cls
        if not isinstance(cls, Class) or event.subject.kind or event.entry != back.entry or event.seq > back.seq:
            continue
        if id(cls) in owners or size_given(event.subject) is None:
            continue
        if any(tensor.file is cls.file and contains(cls.node, tensor.node, cls.file) for tensor in origins if tensor.node):
            yield event.subject


def _picks(program: Program, back: Event) -> Iterator[Instance]:
    """What the program itself takes out of its data in the round of a loop that a backward pass ends: first what is taken
    in no loop of its own."""
    rounds = {loop.serial for loop in back.loops}
    found = []
    for event in program.events(Picked):
        own = [loop for loop in event.loops if loop.serial not in rounds]
        if event.entry == back.entry and len(own) < len(event.loops):
            found.append((len(own), event.seq, event.subject))
    yield from (subject for _, _, subject in sorted(found, key=lambda each: each[:2]))


def _told_off(made: Instance) -> Iterator[int]:
    """The ids of what stands in keyword arguments by which the object was told to do without: `accumulate_grad_batches=cfg.steps`,
    where a default or a configuration file says 1."""
    for arg in made.node.args if isinstance(made.node, cst.Call) else ():
        value = first(made.kwargs.get(arg.keyword.value)) if arg.keyword is not None else None
        if isinstance(value, Const) and (value.value in (None, False) or (value.value == 1 and value.value is not True)):
            yield from (id(part) for part in walk(arg))


def _copes(file: FileModule, told_off: Iterable[int] = ()) -> bool:
    """Whether the code of a file speaks of what copes with a full device, and does not say in the same breath that it is
    off: `accumulate_grad_batches=1`; `told_off`: the ids of nodes that say so by their values."""
    if not _COPES.search(file.tree.text):
        return False
    names, off = _switched_off(file.tree)
    if told := frozenset(told_off):
        off |= told | _options_off(file.tree)
    if names:
        off |= {id(node) for node in walk(file.tree.module) if _said(node) in names}
    return speaks(file, _COPES, off)


@once_a_tree
def _switched_off(tree: Tree) -> tuple[frozenset[str], frozenset[int]]:
    """Names and keys that the code gives a 1, a False or None, and the ids of the keywords of calls that it does."""
    names: set[str] = set()
    keywords: set[int] = set()
    for node in walk(tree.module):
        if isinstance(node, cst.Arg) and node.keyword is not None and _is_off(node.value):
            keywords.add(id(node.keyword))
        elif isinstance(node, cst.Assign) and len(node.targets) == 1 and _is_off(node.value):
            names.add(_said(node.targets[0].target))
        elif isinstance(node, cst.DictElement) and _is_off(node.value):
            names.add(_said(node.key))
    return frozenset(names) - {""}, frozenset(keywords)


@once_a_tree
def _options_off(tree: Tree) -> frozenset[int]:
    """The ids of the names of a command line's options whose default is a 1, a False or None."""
    calls = [each for each in walk(tree.module) if isinstance(each, cst.Call) and dotted(each.func).endswith("add_argument")]
    off = [call for call in calls if any(arg.keyword is not None and arg.keyword.value == "default" and _is_off(arg.value) for arg in call.args)]
    return frozenset(id(arg.value) for call in off for arg in call.args if arg.keyword is None)


def _said(node: cst.CSTNode) -> str:
    """The name, or the text of a string."""
    if isinstance(node, cst.SimpleString):
        return str(node.evaluated_value)
    return node.value if isinstance(node, cst.Name) else ""


def _is_off(value: cst.BaseExpression) -> bool:
    return (isinstance(value, cst.Integer) and value.value == "1") or (
        isinstance(value, cst.Name) and value.value in ("None", "False")
    )


def _handed_over(source: Source) -> bool:
    """Another script made the loader, and left it in a file."""
    return isinstance(source, Instance) and source.has(LoaderFacts) and source.fact(LoaderFacts).pickled


def _for_training(event: Event) -> bool:
    loader = event.subject
    assert isinstance(loader, Instance)
    shuffle = first(loader.fact(LoaderFacts).shuffle)
    if isinstance(shuffle, Const) and shuffle.value is True:
        return True
    statement = event.file.tree.statement_of(event.node)
    if isinstance(statement, cst.SimpleStatementLine) and isinstance(statement.body[0], cst.Assign):
        names = [each.value for each in walk(statement.body[0].targets[0]) if isinstance(each, cst.Name)]
        return any(speaks_of(TRAINING, name) for name in names)
    return False


def _in_script(
    made_in: FileModule, node: cst.CSTNode, calls: tuple[tuple[FileModule, cst.CSTNode], ...], back: Event
) -> tuple[FileModule, cst.CSTNode]:
    """The loader's construction, or the call that leads to it from the script which also trains."""
    if not calls or made_in is back.file:
        return made_in, node
    script = calls[0][0]
    within = [at for file, at in calls if file is script]
    return (script, within[-1]) if made_in is not script else (made_in, node)


def _broad(event: Handled) -> bool:
    """Whether one of the handlers sees the error and may go on with a smaller batch: one for all exceptions that raises what
    it caught again ends the run as no handler does."""
    if not isinstance(event.node, (cst.Try, cst.TryStar)):
        return False
    handlers: Sequence[cst.ExceptHandler | cst.ExceptStarHandler] = event.node.handlers
    return any(
        name in _OUT_OF_MEMORY or (name in _ANY and not raises(handler.body))
        for names, handler in zip(event.names, handlers, strict=True)
        for name in names.split(",")
    )


def _steps(program: Program, back: Event) -> bool:
    """The loop makes optimizer steps: one that only looks at gradients trains nothing."""
    stepped = program.remember("loops that step", lambda: {node for node, _ in _steps_in(program)})
    if any(id(loop.node) in stepped for loop in back.loops):
        return True
    return any(".step(" in loop.file.tree.code(loop.node) for loop in back.loops)


def _optimizers_made(program: Program, back: Event) -> Iterator[FileModule]:
    """The files of the optimizers that are stepped in the loop: the scripts that put the model on its device."""
    for loop in back.loops:
        known = _steps_in(program).get((id(loop.node), back.entry))
        yield from known.made if known is not None else ()


def _guarded(back: Event, handlers: list[Handled]) -> bool:
    """A handler that would see the error: around the backward pass, or around a loop or call that leads to it."""
    for handler in handlers:
        if handler.file is back.file and contains(handler.node, back.node, back.file):
            return True
        for loop in back.loops:
            if (
                loop.file is handler.file
                and contains(handler.node, loop.node, loop.file)
                and handler.entry == back.entry
            ):
                return True
    return False


def _accumulates(program: Program, back: Event) -> bool:
    """Every optimizer step of the loop waits for a number of batches, which the backward pass does not."""
    known = _steps_in(program).get((id(back.loops[-1].node), back.entry))
    return known is not None and all(conditions - set(back.path) for conditions in known.waits)


@dataclass
class _Steps:
    """The optimizer steps of one loop in one entry: the files of their optimizers, and for each step the conditions above
    it that count."""

    made: set[FileModule] = field(default_factory=set)
    waits: list[set[Step]] = field(default_factory=list)


def _steps_in(program: Program) -> dict[tuple[int, str], _Steps]:
    """By the id of the loop's node, and the entry."""

    def work_out() -> dict[tuple[int, str], _Steps]:
        found: dict[tuple[int, str], _Steps] = defaultdict(_Steps)
        for step in program.events(Stepped):
            waits = {each for each in step.path if _counts(each.node, step.file)}
            for loop in step.loops:
                known = found[id(loop.node), step.entry]
                known.waits.append(waits)
                if isinstance(step.subject, Instance) and step.subject.file is not None:
                    known.made.add(step.subject.file)
        return dict(found)

    steps: dict[tuple[int, str], _Steps] = program.remember("steps by loop", work_out)
    return steps


def _counts(condition: cst.CSTNode, file: FileModule) -> bool:
    """`if (i + 1) % 4 == 0:`, but not every single one."""
    if not isinstance(condition, cst.If):
        return False
    for each in walk(condition.test):
        if isinstance(each, cst.BinaryOperation) and isinstance(each.operator, cst.Modulo):
            names = {_said(part) for part in walk(each.right)}
            return names.isdisjoint(_switched_off(file.tree)[0])
    return False


__all__ = ["FixedBatch", "fixed_batches"]
