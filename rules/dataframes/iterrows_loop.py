"""Python loops over the rows of a data frame.

## What it does
Finds loops and comprehensions over `DataFrame.iterrows()` (also below `enumerate`, `zip` and progress bars) and
says which of four rewrites each one wants: *column* (take the list of a column, or a zip of them), *vectorise* (let
whole columns compute), *itertuples* (named tuples instead of rows), or *human* (the row is used as a whole: rows
that are passed on, printed, changed, or whose columns are not named by literals).

## Why it costs
`iterrows()` builds a new Series for each row: an index, a block, a dtype that fits all columns. That is some 10 µs
a row before the loop does anything, and where one column is text each value becomes a Python object. Collecting one
column of 10⁵ rows takes seconds this way and under a millisecond with `df["id"].tolist()`. The row also lies about
types: beside a float column an int column arrives as floats, and 2⁵³ + 1 is no longer itself.

## When not to follow it
For frames of a few dozen rows nothing is gained. Keep the loop where the row is wanted as a Series, and where the
body costs milliseconds anyway (downloading, decoding images): there the rewrite is only tidier.

## Example
```python
import os

import pandas as pd


def load_samples(csv: str, root: str) -> list[tuple[str, int]]:
    df = pd.read_csv(csv)
    samples = []
    for _, row in df.iterrows():
        if row["split"] == "train":
            samples.append((os.path.join(root, row["file"]), row["label"]))
    return samples


def image_paths(df: pd.DataFrame, root: str) -> list[str]:
    return [os.path.join(root, row["file"]) for _, row in df.iterrows()]
```

## After the fix
```python
import os

import pandas as pd


def load_samples(csv: str, root: str) -> list[tuple[str, int]]:
    df = pd.read_csv(csv)
    samples = []
    for split, file, label in zip(df["split"].tolist(), df["file"].tolist(), df["label"].tolist()):
        if split == "train":
            samples.append((os.path.join(root, file), label))
    return samples


def image_paths(df: pd.DataFrame, root: str) -> list[str]:
    return [os.path.join(root, row.file) for row in df.itertuples(index=False)]
```

## Fix level
safe where the code shows that every value and its type stay the same: the value is used as text in a way that
raises for anything else, it is only compared with a literal in a file that does not speak of nullable columns, or the
row is known to hold text and the frame comes from `read_csv` or is written out (unique names, no nullable dtypes). Columns are taken where their names are
known to be unique, named tuples where they are not: they also agree on a frame without rows or with a name that
stands twice. Only a column that is not there at all, in a frame without rows, is an error now and was none before.

recipe where every value compares equal on every frame, and only its type may differ. `iterrows()` hands out NumPy
scalars, upcast to a common type, when all columns are numbers; columns and named tuples give each column's own Python
values (an integer above 2⁵³ stays what it is). A missing value may be None where pandas 3 has nan in a row of nothing but
text. A column name that stands twice gives a Series in a row, after the fix an error or the first of the two. A position
in a row (`row[0]`, an error since pandas 3) becomes the name that the frame shows for it.

unsafe where a value may differ, and the reason says which. When a row is of nothing but numbers, each read of a NaN makes
another one: a column that is read more than once for a key (`if row["id"] not in seen: seen[row["id"]] = …`) may give
two keys for it. In a file that speaks of nullable columns (`convert_dtypes`, "Int64", `read_parquet` …) a condition may
meet a missing value: nan in pandas 3's rows beside text, `pd.NA` in the column, which raises. A nullable frame that comes
from elsewhere is not seen. The frame may be changed by a function that it is handed to inside the loop.

No fix where the row escapes or is changed, where the frame is written to inside the loop (unless the loop reads nothing
but the index), where loop variables are used after it, where columns are not named by literals, and where a sum would
round in another order.

## Evidence
`python bench/iterrows.py` prints the ratio of the loop and its rewrites for 10³ to 10⁵ rows of eight columns
(measured for 10⁵: 12.9 s for `iterrows`, 1.1 s for `itertuples`, 1.7 ms for the column's list; the slides: 17.1 s :
0.94 ms).

## References
- https://pandas.pydata.org/docs/reference/api/pandas.DataFrame.iterrows.html (Notes: dtypes, copies)
- https://pandas.pydata.org/docs/user_guide/enhancingperf.html
- https://pandas.pydata.org/docs/reference/api/pandas.DataFrame.itertuples.html
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import libcst as cst

from tricklint.dataframes import rewrites
from tricklint.dataframes.body import Body, body_of
from tricklint.dataframes.loops import RowLoop, Use
from tricklint.dataframes.values import inexact_reads, meets_missing, repeatable_columns, splits_keys
from tricklint.finding import Evidence, Finding, Fix, FixLevel, Severity
from tricklint.fix.build import Edits
from tricklint.program import Program
from tricklint.rule import Rule
from tricklint.watching.record import Run

_ADVICE = {
    "column": "collect from columns",
    "vectorise": "compute on whole columns",
    "itertuples": "use itertuples()",
    "human": "needs a human",
}


@dataclass(frozen=True)
class Verdict:
    """`fix_class`: column, vectorise, itertuples or human. `why`: what keeps the loop from a rewrite, or what may
    differ after it. `edits` is None when there is no fix."""

    fix_class: str
    why: str = ""
    place: Use | None = None
    edits: Edits | None = None
    level: FixLevel = FixLevel.UNSAFE


class IterrowsLoop(Rule):
    code = "TRK401"
    name = "iterrows-loop"
    summary = "a Python loop over data frame rows; columns or named tuples do the same hundreds of times faster"
    severity = Severity.WARNING
    fix_level = FixLevel.SAFE
    trick = "4 - Dataframe loops"
    triggers = ("iterrows",)
    file_alone = True

    def watched(self, run: Run) -> Iterator[Finding]:
        for fact in run.facts("iterrows"):
            rows, seconds = fact.data["rows"], fact.data["seconds"]
            message = f"iterrows() builds a Series for each row: {rows} rows took {seconds:.2g} s here"
            seen = f"{rows} rows in {fact.data['loops']} loop{'s' * (fact.data['loops'] > 1)}, {seconds:.2g} s in iterrows"
            if rows:
                yield from run.finding(self, fact.place, message, seen)

    def check(self, program: Program) -> Iterator[Finding]:
        for loop in program.row_loops():
            yield self.report(loop)

    def report(self, loop: RowLoop) -> Finding:
        verdict = judge(loop)
        kind = "comprehension" if loop.is_comprehension else "loop"
        message = f"this {kind} builds a Series for every row of {_shown(loop)}: {_ADVICE[verdict.fix_class]}"
        if verdict.edits is None and verdict.why:
            message += f" ({verdict.why})"
        fix = None
        if verdict.edits is not None:
            fix = Fix(verdict.level, f"{verdict.fix_class}: {_fix_message(verdict, loop)}", verdict.edits, verdict.why)
        evidence: tuple[Evidence, ...] = ()
        if verdict.place is not None:
            evidence = (Evidence(loop.tree.path, *loop.tree.span(verdict.place.node), verdict.place.what),)
        start, end = loop.tree.span(loop.call)
        return Finding(self.code, self.name, self.severity, message, loop.tree.path, start, end, evidence, fix)


def _shown(loop: RowLoop) -> str:
    code = " ".join(loop.tree.code(loop.frame).split())
    return code if len(code) <= 40 else "the frame"


def _fix_message(verdict: Verdict, loop: RowLoop) -> str:
    if verdict.fix_class == "itertuples":
        return "iterate named tuples"
    if verdict.fix_class == "vectorise":
        return "count over the whole column"
    labels = rewrites.column_names(loop) or []
    if not labels:
        return "iterate the index"
    return "take the column's list" if len(labels) == 1 else "iterate the columns side by side"


# -- the ladder ------------------------------------------------------------------------------------------------------


def judge(loop: RowLoop) -> Verdict:
    """The first rung of the ladder that fits, with its edits where they are certain to do the same."""
    whole = body_of(loop)
    if whole in (Body.SUM, Body.ASSIGN) and not (loop.escapes or loop.dynamic or loop.stores or loop.leaks):
        why = (
            "the sum of a column rounds in another order" if whole is Body.SUM else "the frame is written to row by row"
        )
        return Verdict("vectorise", why)
    # Labels do not change while the frame is written to: where the row is not read, the index is all that is iterated.
    writes = loop.frame_stores if loop.reads else []
    blocked = next(iter((*loop.escapes, *loop.stores, *loop.dynamic, *writes, *loop.leaks)), None)
    if blocked is not None:
        return Verdict("human", blocked.what, blocked)
    labels = rewrites.column_names(loop)
    if labels is None:
        return Verdict("human", "columns are read by position, and their names are not shown")
    if whole is Body.COUNT:
        edits = rewrites.to_count(loop)
        if edits is not None:
            return Verdict("vectorise", _COUNT_REASON, edits=edits, level=rewrites.count_level(loop))
    fits = rewrites.fits_itertuples(labels)
    named = fits and not any(isinstance(read.column, int) for read in loop.reads)
    if not labels or whole is Body.COLLECT or (whole is Body.GATHER and not named):
        if labels and named and not loop.origin.unique and not _doubts(loop, "itertuples") and not _other_types(loop, "itertuples"):
            # Named tuples are proven here, columns are not: nothing says that a name stands only once.
            return _with_level(loop, "itertuples", rewrites.to_itertuples(loop), labels)
        return _with_level(loop, "column", rewrites.to_columns(loop), labels)
    if fits:
        return _with_level(loop, "itertuples", rewrites.to_itertuples(loop), labels)
    return _with_level(loop, "column", rewrites.to_columns(loop), labels)  # a name that no named tuple has


_COUNT_REASON = (
    "a comparison with a whole column may treat other types of it (dates, categories, nullable numbers) otherwise"
)


def _with_level(loop: RowLoop, fix_class: str, edits: Edits | None, labels: list[str]) -> Verdict:
    if edits is None:
        return Verdict(fix_class, "the code around it cannot be rewritten whole")
    doubts = _doubts(loop, fix_class) if labels else []
    types = _other_types(loop, fix_class) if labels else []
    level = FixLevel.UNSAFE if doubts else FixLevel.RECIPE if types else FixLevel.SAFE
    return Verdict(fix_class, "; ".join((*doubts, *types)), edits=edits, level=level)


def _other_types(loop: RowLoop, fix_class: str) -> list[str]:
    """What comes out equal, but of another type, or raises where a row would hold no single value."""
    found = []
    if inexact_reads(loop):
        found.append(
            "where all columns are numbers, iterrows() upcasts them to one type and hands out NumPy scalars; "
            "this hands out each column's own Python values, which compare equal (integers above 2**53, rounded there, stay whole)"
        )
    if not loop.origin.unique and (fix_class == "column" or repeatable_columns(loop)):
        found.append("a column name that stands twice, which gives a Series in a row, is no longer one column")
    if any(isinstance(read.column, int) for read in loop.reads):
        found.append("positions in a row, which are labels since pandas 3, become the columns' names")
    return found


def _doubts(loop: RowLoop, fix_class: str) -> list[str]:
    """What might come out with another value; none when the rewrite is proven."""
    doubts = []
    if inexact_reads(loop) and splits_keys(loop):
        doubts.append("a NaN that is read twice for a key may be one key or two")
    if meets_missing(loop):
        doubts.append("a condition on the missing value of a nullable column (pd.NA) raises, where pandas 3 has nan in a row")
    if loop.frame_lent:
        doubts.append("the frame is handed to a function inside the loop, which might change it")
    if isinstance(loop.owner, cst.GeneratorExp) and not isinstance(loop.tree.parent(loop.owner), cst.Arg):
        doubts.append("the columns are read when the generator is made, not when it is consumed")
    return doubts
