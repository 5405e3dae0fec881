"""Training loops on CUDA whose batch size is fixed, and the plain training step in them that can be rewritten."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING

import libcst as cst

from tricklint.interpreter.events import Event, Handled
from tricklint.interpreter.values import (
    Const,
    Instance,
    first,
    members,
)
from tricklint.libraries.events import Backward, LoaderBuilt, Stepped
from tricklint.libraries.facts import LoaderFacts
from tricklint.program.loaders import feeding, loaders_of
from tricklint.program.loops import TRAINING, contains, speaks_of
from tricklint.source.tree import Tree, walk

if TYPE_CHECKING:
    from tricklint.interpreter.modules import FileModule
    from tricklint.program.program import Program

_CUDA = re.compile(r"\bcuda\b|\.cuda\(|is_cuda|use_cuda")
# What copes with a full device, or makes the batch size a matter of choice: no advice is needed
_COPES = re.compile(
    r"OutOfMemoryError|out of memory|find_executable_batch_size|auto_find_batch_size|scale_batch_size|"
    r"import koila|from koila|[Aa]ccumulat\w*[_ ](?:step|grad|iter|batch|freq)|grad\w*_accum|"
    r"accum_(?:iter|step|grad|freq)|accum\w*_steps|"
    r"iter_size|itersize|update_freq|virtual_batch|subdivision|chunk_size"
)
_BROAD = frozenset(("Exception", "BaseException", "RuntimeError", "torch.cuda.OutOfMemoryError", "OutOfMemoryError"))


@dataclass(frozen=True)
class FixedBatch:
    """`node` (in `file`) is the training loader's construction, or the script's call of what builds it."""

    file: FileModule
    node: cst.CSTNode
    size: int
    loader: Instance
    made: Event
    backward: Event


def fixed_batches(program: Program) -> Iterator[FixedBatch]:
    """One for each script: its first training loader on CUDA with a batch size that the code fixes."""
    by_loader = {id(event.subject): event for event in program.events(LoaderBuilt)}
    guarded = [event for event in program.events(Handled) if _broad(event)]
    seen: set[FileModule] = set()
    for back in program.events(Backward):
        if not back.loops or back.partial or _guarded(back, guarded) or not _steps(program, back):
            continue
        for loader in _loaders_behind(program, back):
            made = by_loader.get(id(loader))
            if made is None or (made.entry != back.entry and made.stack):  # a module's own serves all that import it
                continue
            size = first(loader.fact(LoaderFacts).batch_size)
            if (
                not isinstance(size, Const)
                or not isinstance(size.value, int)
                or isinstance(size.value, bool)
                or size.value < 2
            ):
                continue
            file, node = _in_script(made, back)
            involved = {
                file,
                made.file,
                back.file,
                *(func.file for func in back.stack),
                *(func.file for func in made.stack),
                *_optimizers_made(program, back),
            }
            texts = [each.tree.text for each in involved]
            if file in seen or any(_COPES.search(text) for text in texts) or not _on_cuda(program, involved):
                continue
            if _accumulates(program, back):
                continue
            seen.add(file)
            yield FixedBatch(file, node, size.value, loader, made, back)
            break


def _loaders_behind(program: Program, back: Event) -> list[Instance]:
    """The loaders that a backward pass is fed by: of its loops, of its data, else the script's training loader."""
    found = [loader for loop in back.loops for loader in loaders_of(loop.over)]
    found += [loader for loader in feeding(back.subject) if loader not in found]
    if found:
        return found
    loaders = [event for event in program.events(LoaderBuilt) if event.entry == back.entry and event.seq < back.seq]
    return [event.subject for event in loaders if _for_training(event)]


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


def _in_script(made: Event, back: Event) -> tuple[FileModule, cst.CSTNode]:
    """The loader's construction, or the call that leads to it from the script which also trains."""
    calls = made.calls
    if not calls or made.file is back.file:
        return made.file, made.node
    script = calls[0][0]
    within = [node for file, node in calls if file is script]
    return (script, within[-1]) if made.file is not script else (made.file, made.node)


def _on_cuda(program: Program, involved: set[FileModule]) -> bool:
    if any(_CUDA.search(file.tree.text) for file in involved):
        return True
    # a device that a settings module of the project names
    near = {path for file in involved for path in file.imports}
    for path in near:
        module = program.project.module(path)
        if module is not None and len(module.tree.text) < 20_000 and re.search(r"[\"']cuda", module.tree.text):
            return True
    return False


def _broad(event: Handled) -> bool:
    return any(name in _BROAD for names in event.names for name in names.split(","))


def _steps(program: Program, back: Event) -> bool:
    """The loop makes optimizer steps: one that only looks at gradients trains nothing."""
    nodes = {id(loop.node) for loop in back.loops}
    if any(id(loop.node) in nodes for step in program.events(Stepped) for loop in step.loops):
        return True
    return any(".step(" in loop.file.tree.code(loop.node) for loop in back.loops)


def _optimizers_made(program: Program, back: Event) -> Iterator[FileModule]:
    """The files of the optimizers that are stepped in the loop: the scripts that put the model on its device."""
    nodes = {id(loop.node) for loop in back.loops}
    for step in program.events(Stepped):
        made = step.subject
        if step.entry == back.entry and isinstance(made, Instance) and made.file is not None:
            if any(id(loop.node) in nodes for loop in step.loops):
                yield made.file


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
    """Every optimizer step of the loop waits for a number of batches."""
    loop = back.loops[-1].node
    steps = [
        step
        for step in program.events(Stepped)
        if step.entry == back.entry and any(each.node is loop for each in step.loops)
    ]
    return bool(steps) and all(any(_counts(step, each.node) for each in step.path) for step in steps)


def _counts(step: Event, condition: cst.CSTNode) -> bool:
    """`if (i + 1) % 4 == 0:`"""
    return isinstance(condition, cst.If) and any(isinstance(each, cst.Modulo) for each in walk(condition.test))


# -- the plain step -------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class PlainStep:
    """`output = model(inputs)`, `loss = criterion(output, targets)`, `loss.backward()`: statements of one block that
    follow each other (with `zero_grad` among them or before), then the optimizer's step. Parts are given as code."""

    statements: tuple[cst.CSTNode, ...]
    optimizer: str
    model: str
    criterion: str
    inputs: str
    targets: str
    output: str
    loss: str
    plain_names: bool  # inputs and targets are names


def plain_step(tree: Tree, backward: cst.CSTNode) -> PlainStep | None:
    """The training step that ends in `backward`, when it has the plain form; else None."""
    last = tree.statement_of(backward)
    block = tree.parent(last) if last is not None else None
    if not isinstance(block, cst.IndentedBlock) or last is None:
        return None
    body = list(block.body)
    at = next(i for i, each in enumerate(body) if each is last)
    call = _expression(last)
    if (
        not isinstance(call, cst.Call)
        or not isinstance(call.func, cst.Attribute)
        or call.func.attr.value != "backward"
        or call.args
    ):
        return None
    if not isinstance(call.func.value, cst.Name):
        return None
    loss = call.func.value.value
    optimizer = _stepped_after(tree, body[at + 1 :])
    cleared: list[cst.CSTNode] = []
    middle: list[cst.CSTNode] = []
    index = at - 1
    while index >= 0 and len(middle) < 2:
        statement = body[index]
        made = _expression(statement)
        if isinstance(made, cst.Call) and tree.code(made).endswith(".zero_grad()"):
            cleared.append(statement)
            if optimizer and tree.code(made) != f"{optimizer}.zero_grad()":
                return None
        else:
            middle.insert(0, statement)
        index -= 1
    if index >= 0:
        made = _expression(body[index])
        if isinstance(made, cst.Call) and tree.code(made) == f"{optimizer}.zero_grad()":
            cleared.append(body[index])
    if not optimizer or len(middle) != 2:
        return None
    forward, criterion = _assignment(middle[0]), _assignment(middle[1])
    if forward is None or criterion is None or criterion[0] != loss:
        return None
    output, run = forward
    _, measure = criterion
    if len(run.args) != 1 or run.args[0].keyword is not None or run.args[0].star:
        return None
    if len(measure.args) != 2 or any(arg.keyword is not None or arg.star for arg in measure.args):
        return None
    if tree.code(measure.args[0].value) != output:
        return None
    if not cleared and not _cleared_before(tree, body[: max(index + 1, 0)], optimizer):
        return None
    statements = tuple(each for each in body if each in middle or each in cleared or each is last)
    first_at = next(i for i, each in enumerate(body) if each is statements[0])
    if body[first_at : at + 1] != list(statements):
        return None
    inputs, targets = run.args[0].value, measure.args[1].value
    return PlainStep(
        statements,
        optimizer,
        tree.code(run.func),
        tree.code(measure.func),
        tree.code(inputs),
        tree.code(targets),
        output,
        loss,
        isinstance(inputs, cst.Name) and isinstance(targets, cst.Name),
    )


def _expression(statement: cst.CSTNode) -> cst.CSTNode | None:
    if (
        isinstance(statement, cst.SimpleStatementLine)
        and len(statement.body) == 1
        and isinstance(statement.body[0], cst.Expr)
    ):
        return statement.body[0].value
    return None


def _assignment(statement: cst.CSTNode) -> tuple[str, cst.Call] | None:
    if not isinstance(statement, cst.SimpleStatementLine) or len(statement.body) != 1:
        return None
    made = statement.body[0]
    if not isinstance(made, cst.Assign) or len(made.targets) != 1 or not isinstance(made.targets[0].target, cst.Name):
        return None
    return (made.targets[0].target.value, made.value) if isinstance(made.value, cst.Call) else None


def _stepped_after(tree: Tree, rest: list[cst.BaseStatement]) -> str:
    for statement in rest:
        made = _expression(statement)
        if (
            isinstance(made, cst.Call)
            and isinstance(made.func, cst.Attribute)
            and made.func.attr.value == "step"
            and not made.args
        ):
            return tree.code(made.func.value)
    return ""


def _cleared_before(tree: Tree, body: list[cst.BaseStatement], optimizer: str) -> bool:
    return any(
        isinstance(made := _expression(each), cst.Call) and tree.code(made) == f"{optimizer}.zero_grad()"
        for each in body
    )


__all__ = ["FixedBatch", "PlainStep", "fixed_batches", "members", "plain_step"]
