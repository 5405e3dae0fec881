"""Every rewrite of a fixture is run against the original on generated frames: equal results, of equal types.

A *safe* rewrite must agree on every frame that the original can work on: mixed dtypes, NaN, None, no rows, odd and
repeated column names, any index. A *recipe* must give equal values, of whatever type, on frames of numbers, text or both.
An *unsafe* one must agree wherever its reason does not apply.
"""

from __future__ import annotations

import io
import itertools
import math
import types
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import hypothesis.strategies as st
import libcst as cst
import numpy as np
import pandas as pd
import pytest
from hypothesis import HealthCheck, Phase, given, settings
from tricklint.rules.dataframes.iterrows_loop import IterrowsLoop, judge

from tricklint.dataframes.loops import RowLoop, frame_loops
from tricklint.dataframes.values import has_condition, splits_keys
from tricklint.finding import FixLevel
from tricklint.source.tree import Tree, walk

FIXTURES = Path(__file__).parents[2] / "fixtures" / "iterrows-loop"


# Explaining a failure traces every line of pandas, which makes each example ten times dearer.
PHASES = (Phase.explicit, Phase.generate, Phase.shrink)


# -- the rewritten functions -----------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Case:
    fixture: str
    function: str
    level: FixLevel
    vectorised: bool
    keys: bool
    positions: bool
    conditions: bool
    columns: tuple[str, ...]
    parameter: str

    @property
    def id(self) -> str:
        return f"{self.fixture}:{self.function}"


def _outermost_function(tree: Tree, node: cst.CSTNode) -> str:
    names = [up.name.value for up in tree.ancestors(node) if isinstance(up, (cst.FunctionDef, cst.ClassDef))]
    return names[-1] if names else ""


def _labels(node: cst.CSTNode) -> set[str]:
    """Column names written anywhere between brackets."""
    found = set()
    for each in walk(node):
        if isinstance(each, cst.Subscript):
            for inner in walk(each):
                if isinstance(inner, cst.SimpleString):
                    found.add(str(inner.evaluated_value))
    return found


def _cases() -> list[Case]:
    found = []
    for path in sorted(FIXTURES.glob("bad_*.fixed.py")):
        original = path.with_name(path.name.replace(".fixed.py", ".py"))
        tree = Tree(original, original.read_text())
        loops = frame_loops(tree)
        holders: dict[str, list[RowLoop]] = {}
        for loop in loops:
            holders.setdefault(_outermost_function(tree, loop.loop), []).append(loop)
        blocks = {
            node.name.value: node for node in tree.module.body if isinstance(node, (cst.FunctionDef, cst.ClassDef))
        }
        for name, node in blocks.items():
            if not isinstance(node, cst.FunctionDef) or name.startswith("_"):
                continue
            reached = {name} | ({each.value for each in walk(node) if isinstance(each, cst.Name)} & set(blocks))
            mine = [loop for other in reached for loop in holders.get(other, [])]
            fixes = [IterrowsLoop().report(loop).fix for loop in mine]
            if not fixes or None in fixes:
                continue
            columns = {str(column) for loop in mine for column in loop.columns if isinstance(column, str)}
            columns = columns.union(*(_labels(blocks[other]) for other in reached))
            found.append(
                Case(
                    original.stem,
                    name,
                    max((fix.level for fix in fixes if fix is not None), key=lambda level: level.rank),
                    any(judge(loop).fix_class == "vectorise" for loop in mine),
                    any(splits_keys(loop) for loop in mine),
                    any(isinstance(read.column, int) for loop in mine for read in loop.reads),
                    any(has_condition(loop) for loop in mine),
                    tuple(sorted(columns)),
                    node.params.params[0].name.value if node.params.params else "",
                )
            )
    return found


CASES = _cases()


def _load(path: Path, name: str) -> Callable[..., Any]:
    module = types.ModuleType(path.stem.replace(".", "_"))
    exec(compile(path.read_text(), str(path), "exec"), module.__dict__)
    return getattr(module, name)


# -- frames ----------------------------------------------------------------------------------------------------------

_TEXT = st.sampled_from(["train", "a b", "Normal", "x/y.png", "", "ümlaut", "1", "new", "dev", "q.JPG"])
_INT = st.one_of(st.integers(-3, 30), st.sampled_from([2**53 + 1, -(2**62) - 1]))
_FLOAT = st.one_of(st.sampled_from([0.0, 0.1, 1.0, 20.0, 1e300, -2.5]), st.just(math.nan), st.just(math.inf))
_STAMP = st.sampled_from([pd.Timestamp("2020-01-01"), pd.Timestamp("2021-05-06 07:08"), pd.NaT])

# What a column may be: how one value is drawn, and the dtype.
PLAIN: dict[str, tuple[st.SearchStrategy[Any], Any]] = {
    "int64": (_INT, "int64"),
    "int16": (st.integers(-3, 30), "int16"),
    "float64": (_FLOAT, "float64"),
    "float32": (_FLOAT.filter(lambda x: abs(x) < 1e30 or x != x), "float32"),
    "bool": (st.booleans(), "bool"),
    "text": (_TEXT, None),
    "text or nan": (st.one_of(_TEXT, st.just(math.nan)), None),
    "category": (_TEXT, "category"),
    "datetime": (_STAMP, "datetime64[ns]"),
    "timedelta": (st.sampled_from([pd.Timedelta(1), pd.Timedelta("3 days")]), "timedelta64[ns]"),
    "zoned": (_STAMP, "datetime64[ns, UTC]"),
    "mixed": (st.one_of(_TEXT, _INT, _FLOAT, st.booleans()), object),
}
ODD: dict[str, tuple[st.SearchStrategy[Any], Any]] = {
    "with None": (st.one_of(_TEXT, _INT, st.none()), object),
    "complex": (st.sampled_from([1j, 2 + 0j]), "complex128"),
    "nullable": (st.one_of(_INT, st.just(pd.NA)), "Int64"),
    "nullable bool": (st.one_of(st.booleans(), st.just(pd.NA)), "boolean"),
    "nullable text": (st.one_of(_TEXT, st.just(pd.NA)), "string"),
    "numpy scalars": (st.sampled_from([np.int64(3), np.float32(0.5)]), object),
    "lists": (st.lists(st.integers(0, 3), max_size=2), object),
}
NUMBERS_AND_TEXT = ("int64", "int16", "float64", "float32", "bool", "text", "text or nan")


@st.composite
def frames(draw: st.DrawFn, case: Case) -> pd.DataFrame:
    """A frame with the case's columns, and others. For an unsafe rewrite: unique names, a text column, plain dtypes,
    and no NaN where values become keys."""
    safe = case.level is FixLevel.SAFE
    kinds = dict(PLAIN)
    if safe:
        kinds.update(ODD)
    elif case.keys:
        kinds = {name: kind for name, kind in kinds.items() if name in ("int64", "int16", "bool", "text", "timedelta")}
    if case.vectorised:
        kinds = {name: kinds[name] for name in NUMBERS_AND_TEXT}
    rows = draw(st.integers(0, 4))
    names = draw(st.permutations(case.columns))
    others = draw(
        st.lists(st.sampled_from(["other", "class", "_x", "two words", "0", 7, "größe"]), max_size=2, unique=True)
    )
    names = [*names, *(name for name in others if name not in names)]
    if case.level is FixLevel.UNSAFE:
        names.append("some text")
    elif safe and names and draw(st.booleans()) and draw(st.booleans()):
        names.insert(draw(st.integers(0, len(names))), draw(st.sampled_from(names)))  # a name that stands twice
    made = []
    for name in names:
        if name == "some text":
            kind = "text"
        else:
            kind = draw(st.one_of(st.just("text"), st.just("int64"), st.sampled_from(sorted(kinds))))
        values, dtype = kinds[kind]
        made.append(pd.Series(draw(st.lists(values, min_size=rows, max_size=rows)), dtype=dtype))
        if rows == 0 and dtype is None:
            made[-1] = made[-1].astype(object)
    frame = pd.concat(made, axis=1) if made else pd.DataFrame()
    frame.columns = pd.Index(names)
    frame.index = _index(draw, rows)
    return frame


def _index(draw: st.DrawFn, rows: int) -> pd.Index:
    kind = draw(st.sampled_from(["range", "ints", "text", "pairs", "dates", "floats"]))
    if kind == "ints":
        return pd.Index(draw(st.lists(st.integers(-2, 5), min_size=rows, max_size=rows)), dtype="int64")
    if kind == "text":
        return pd.Index(draw(st.lists(_TEXT, min_size=rows, max_size=rows)), dtype=object)
    if kind == "pairs":
        return pd.MultiIndex.from_tuples([(at, str(at % 2)) for at in range(rows)], names=["a", "b"])
    if kind == "dates":
        return pd.date_range("2020-01-01", periods=rows)
    if kind == "floats":
        return pd.Index([at / 2 for at in range(rows)], dtype="float64")
    return pd.RangeIndex(rows)


# -- equality, types included ----------------------------------------------------------------------------------------


def _missing(value: object) -> bool:
    return value is pd.NaT or value is None or (isinstance(value, float) and math.isnan(value))


def _parted(values: set[Any] | frozenset[Any]) -> tuple[set[Any], int]:
    """A set without its missing values, and how many they are: each NaN is an element of its own."""
    known = {value for value in values if not _missing(value)}
    return known, len(values) - len(known)


def difference(one: object, other: object, types: bool = True) -> str:
    """Where two results differ, in value or (with `types`) in type; empty when they do not."""
    if isinstance(one, np.generic) and not types:
        one = one.item()
    if isinstance(other, np.generic) and not types:
        other = other.item()
    if not types and _missing(one) and _missing(other):
        return ""  # beside a column of dates, a row's missing number is NaT
    if types and type(one) is not type(other):
        return f"{one!r} is {type(one).__name__}, {other!r} is {type(other).__name__}"
    if isinstance(one, dict) and isinstance(other, dict):
        return difference(list(one.items()), list(other.items()), types)
    if isinstance(one, (list, tuple)) and isinstance(other, (list, tuple)):
        if len(one) != len(other):
            return f"{len(one)} items and {len(other)}"
        return next((d for a, b in zip(one, other) if (d := difference(a, b, types))), "")
    if isinstance(one, (set, frozenset)) and isinstance(other, (set, frozenset)):
        if types:
            return difference(sorted(map(repr, one)), sorted(map(repr, other)))
        (known, missing), (others, gone) = _parted(one), _parted(other)
        return "" if known == others and missing == gone else f"{one!r} != {other!r}"
    if isinstance(one, (float, np.floating)) and math.isnan(one) and math.isnan(other):  # type: ignore[arg-type]
        return ""
    if one is pd.NaT or one is pd.NA:
        return "" if one is other else f"{one!r} and {other!r}"
    if isinstance(one, (pd.Series, pd.DataFrame)):
        return "" if one.equals(other) else "pandas objects differ"
    return "" if bool(one == other) else f"{one!r} != {other!r}"


def _argument(case: Case, frame: pd.DataFrame) -> object:
    if case.parameter == "csv":
        return io.StringIO(frame.to_csv(index=False))
    return frame.copy(deep=True)


def _run(case: Case, function: Callable[..., Any], frame: pd.DataFrame) -> object:
    return function(_argument(case, frame)) if case.parameter else function()


def _plain_frames(case: Case) -> Iterator[pd.DataFrame]:
    """Each column of text or of ints, in every combination."""
    values: dict[str, list[Any]] = {"text": ["train", "a,b.c", "x"], "int64": [1, 30, 2]}
    for kinds in itertools.product(values, repeat=len(case.columns)):
        if case.positions and "text" not in kinds:
            continue  # the loop takes these columns alone, so its rows would be of numbers only
        columns = {name: values[kind] for name, kind in zip(case.columns, kinds, strict=True)}
        yield pd.DataFrame({**columns, "some text": ["y", "z", ""]}, index=[3, 5, 4])


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.id)
def test_the_rewrite_gives_equal_results_and_types(case: Case) -> None:
    pytest.importorskip("tqdm")
    original = _load(FIXTURES / f"{case.fixture}.py", case.function)
    rewritten = _load(FIXTURES / f"{case.fixture}.fixed.py", case.function)
    strict = case.level is not FixLevel.RECIPE
    worked = 0
    for frame in _plain_frames(case):
        try:
            expected = _run(case, original, frame)
        except Exception:
            continue
        worked += 1
        assert not difference(expected, _run(case, rewritten, frame), strict), frame.dtypes
    assert worked or case.function == "spans", "the original works on no plain frame"  # positions: gone since pandas 3

    @settings(max_examples=60, deadline=None, database=None, suppress_health_check=list(HealthCheck), phases=PHASES)
    @given(frames(case))
    def compare(frame: pd.DataFrame) -> None:
        if case.positions and not any(frame[name].dtype == object for name in case.columns):
            return
        if not strict and any((frame[name].abs() > 2**53).any() for name in frame if frame[name].dtype.kind in "iu"):
            return  # a row of numbers rounds them, as the fix says
        if case.conditions and any(value is pd.NA for name in case.columns for value in frame[name]):
            return  # the rule's page says so
        try:
            expected = _run(case, original, frame)
        except Exception:
            return  # the original has no result either
        assert not difference(expected, _run(case, rewritten, frame), strict), frame.dtypes

    compare()


def test_there_are_enough_cases_of_each_level() -> None:
    levels = [case.level for case in CASES]
    assert levels.count(FixLevel.SAFE) >= 8 and levels.count(FixLevel.RECIPE) >= 8 and levels.count(FixLevel.UNSAFE) >= 4
