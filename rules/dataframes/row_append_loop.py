"""Data frames that grow row by row inside a loop.

## What it does
Finds `df = pd.concat([df, …])`, `df = df.append(…)` and `df.loc[len(df)] = …` inside a loop, where the frame lives
from one turn to the next. A list's own `append`, and one concat of a list after the loop, are what it asks for and
not found.

## Why it costs
`concat` and `append` copy all rows so far, in every turn: n rows cost n²/2 row copies. `df.loc[len(df)] = …`
enlarges the index and every column each time. A list grows in place; built once at the end, 10⁴ rows take
milliseconds instead of seconds. A growing frame also changes dtypes on its way: one that starts empty has only
object columns, and ints become floats when a column is missing once. `DataFrame.append` is gone since pandas 2.0.

## When not to follow it
For a handful of turns, such as one line of a log per epoch, nothing is gained. Where the frame itself is wanted in
each turn (to save it, to look up earlier rows) keep a list of rows and build the frame when it is wanted.

## Example
```python
import pandas as pd


def read_folds(paths: list[str]) -> pd.DataFrame:
    folds = pd.DataFrame()
    for path in paths:
        fold = pd.read_csv(path)
        folds = pd.concat([folds, fold[fold["score"] > 0]], ignore_index=True)
    return folds
```

## After the fix
```python
import pandas as pd


def read_folds(paths: list[str]) -> pd.DataFrame:
    folds = pd.DataFrame()
    pieces = [folds]
    for path in paths:
        fold = pd.read_csv(path)
        pieces.append(fold[fold["score"] > 0])
    folds = pd.concat(pieces, ignore_index=True)
    return folds
```

## Fix level
unsafe, and only where the frame is not used otherwise inside the loop and `concat` takes it first: the rows are the
same in the same order, but where the pieces' dtypes differ they are brought together once instead of step by step,
and a loop that has no turns leaves a copy. `append` and `loc` get no fix: what dtypes the rows had on their way
cannot be told.

## Evidence
`python bench/iterrows.py --append` prints the times of the growing frame, a list of frames and a list of dicts for
10² to 3·10³ rows, one row at a time (measured: 0.88 s, 0.25 s and 0.8 ms for 10³ rows).

## References
- https://pandas.pydata.org/docs/user_guide/merging.html (Note on concat in a loop)
- https://pandas.pydata.org/docs/whatsnew/v2.0.0.html (removal of DataFrame.append)
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

import libcst as cst

from tricklint.dataframes.growth import FrameGrowth, frame_growths, may_grow, reads_between
from tricklint.dataframes.scope import is_stored, names_of, scope_of, uses
from tricklint.finding import Evidence, Finding, Fix, FixLevel, Severity
from tricklint.fix import build
from tricklint.program import Program
from tricklint.rule import Rule
from tricklint.source.tree import Tree, dotted, walk
from tricklint.watching.record import Run

_HOW = {
    "concat": "concat copies all of its rows in every turn; collect the pieces in a list and concat once",
    "append": "append copies all of its rows in every turn (and is gone since pandas 2.0); collect dicts in a list "
    "and build the frame once",
    "loc": "each new row enlarges the index and every column; collect dicts in a list and build the frame once",
}


class RowAppendLoop(Rule):
    code = "TRK402"
    name = "row-append-loop"
    summary = "a data frame grows inside a loop, which copies it in every turn; grow a list and build it once"
    severity = Severity.WARNING
    fix_level = FixLevel.UNSAFE
    trick = "4 - Dataframe loops"
    triggers = ("pandas", "cudf")
    file_alone = True

    def watched(self, run: Run) -> Iterator[Finding]:
        for fact in run.facts("grown"):
            count, seconds = fact.data["count"], fact.data["seconds"]
            if count > 1:
                message = "each round copies the whole frame to add to it: collect the rows in a list, and make the frame once"
                seen = f"the frame grew {count} times, to {fact.data['rows']} rows, in {seconds:.2g} s"
                yield from run.finding(self, fact.place, message, seen)

    def check(self, program: Program) -> Iterator[Finding]:
        for path in program.roots:
            module = program.project.module(path) if program.sources[path].ask(may_grow) else None
            if module is not None:
                for growth in frame_growths(module.tree):
                    yield self.report(growth)

    def report(self, growth: FrameGrowth) -> Finding:
        tree = growth.tree
        evidence = []
        if growth.start is not None:
            evidence.append(Evidence(tree.path, *tree.span(growth.start), f"{growth.target} is made here"))
        loop = growth.loop
        head = loop.iter if isinstance(loop, cst.For) else loop.test
        evidence.append(Evidence(tree.path, *tree.span(head), "in every turn of this loop"))
        start, end = tree.span(growth.node)
        message = f"{growth.target} grows inside a loop: {_HOW[growth.kind]}"
        fix = mend(growth)
        return Finding(self.code, self.name, self.severity, message, tree.path, start, end, tuple(evidence), fix)


def mend(growth: FrameGrowth) -> Fix | None:
    """Collect the pieces in a list, and concat them behind the outermost loop that the frame only grows in."""
    tree = growth.tree
    if not growth.pieces or "." in growth.target or growth.start is None or not isinstance(growth.node, cst.Call):
        return None
    if isinstance(scope_of(tree, growth.statement), cst.ClassDef) or _seen_elsewhere(growth):
        return None
    if isinstance(growth.start.value, cst.Name) or _may_fail_softly(growth):
        return None  # it starts as None, or as somebody else's frame
    loop = _outermost(growth)
    if loop is None or not all(_is_fresh(growth, piece, loop) for piece in growth.pieces):
        return None
    pieces = build.name_for(tree, scope_of(tree, loop), "pieces")
    added = [tree.text[slice(*build.whole_offsets(tree, piece))] for piece in growth.pieces]
    adding = f"{pieces}.append({added[0]})" if len(added) == 1 else f"{pieces}.extend([{', '.join(added)}])"
    options = "".join(f", {tree.code(option)}" for option in growth.options)
    concat = f"{growth.target} = {tree.code(growth.node.func)}({pieces}{options})"
    if "#" in tree.code(growth.statement):
        return None  # a comment inside the call would be lost
    edits = build.joined(
        [
            build.insert_before(tree, loop, [f"{pieces} = [{growth.target}]"]),
            build.replace(tree, growth.statement, adding),
            build.insert_after(tree, loop, [concat]),
        ]
    )
    if edits is None:
        return None
    reason = (
        "where the pieces' dtypes differ they are brought together once instead of step by step, "
        "and a loop without turns leaves a copy"
    )
    return Fix(FixLevel.UNSAFE, "collect the pieces in a list and concat them once, behind the loop", edits, reason)


def _outermost(growth: FrameGrowth) -> cst.For | cst.While | None:
    tree = growth.tree
    found: cst.For | cst.While | None = None
    for up in tree.ancestors(growth.statement):
        if isinstance(up, (cst.FunctionDef, cst.Lambda)):
            break
        if isinstance(up, (cst.For, cst.While)):
            if up.orelse is not None or _leaves(up) or any(True for _ in reads_between(replace(growth, loop=up))):
                break
            found = up
    return found


def _may_fail_softly(growth: FrameGrowth) -> bool:
    """Whether a `try` inside the loop catches what `concat` raises: behind the loop nothing would."""
    tree = growth.tree
    for up in tree.ancestors(growth.statement):
        if isinstance(up, (cst.For, cst.While, cst.FunctionDef)):
            return False
        if isinstance(up, cst.Try):
            caught = [name for handler in up.handlers for name in names_caught(handler)]
            if any(name in ("", "Exception", "BaseException", "TypeError", "ValueError") for name in caught):
                return True
    return False


def names_caught(handler: cst.ExceptHandler) -> list[str]:
    """Names of the exceptions that a handler takes; an empty one for a bare `except:`."""
    if isinstance(handler.type, cst.Tuple):
        return [dotted(element.value) for element in handler.type.elements]
    return [dotted(handler.type)]


def _is_fresh(growth: FrameGrowth, piece: cst.BaseExpression, outermost: cst.For | cst.While) -> bool:
    """Whether each turn adds a frame of its own, or one that nothing changes: a list would keep the very object."""
    if isinstance(piece, (cst.Call, cst.Subscript)):
        return True
    if not isinstance(piece, cst.Name):
        return False
    tree, name = growth.tree, piece.value
    for up in tree.ancestors(growth.statement):
        if not isinstance(up, (cst.For, cst.While)):
            continue
        inside = list(uses(tree, up.body, name))
        is_target = isinstance(up, cst.For) and name in names_of(up.target)
        if is_target or any(is_stored(tree, use) for use in inside):
            if up is not growth.loop:  # the same object is added several times: nothing may touch it
                return not any(_changes(tree, use) for use in inside)
            after = tree.offsets(growth.statement)[1]
            return all(tree.offsets(use)[0] < after for use in inside)
        if up is outermost:
            break
    return False


def _changes(tree: Tree, use: cst.Name) -> bool:
    up = tree.parent(use)
    return isinstance(up, (cst.Subscript, cst.Attribute)) and is_stored(tree, up)


def _leaves(loop: cst.For | cst.While) -> bool:
    """Whether a `return` or `yield` inside the loop could let the half-grown frame be seen."""
    return any(isinstance(node, (cst.Return, cst.Yield, cst.Await)) for node in walk(loop.body))


def _seen_elsewhere(growth: FrameGrowth) -> bool:
    """Whether an inner function or class uses the frame, which it might do while the loop runs."""
    tree, scope = growth.tree, scope_of(growth.tree, growth.statement)
    region = scope.body if isinstance(scope, (cst.FunctionDef, cst.Lambda)) else scope
    return any(scope_of(tree, use) is not scope for use in uses(tree, region, growth.target))
