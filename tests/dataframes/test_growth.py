"""Rewrites of growing frames: the same rows in the same order, of equal types where the pieces agree in theirs."""

from __future__ import annotations

import types
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from hypothesis import Phase, given, settings
from hypothesis import strategies as st
from tricklint.rules.dataframes.row_append_loop import mend

from tricklint.dataframes.growth import frame_growths
from tricklint.source.tree import Tree

PHASES = (Phase.explicit, Phase.generate, Phase.shrink)
FIXTURES = Path(__file__).parents[2] / "fixtures" / "row-append-loop"


def _load(name: str) -> types.ModuleType:
    module = types.ModuleType(name)
    exec(compile((FIXTURES / f"{name}.py").read_text(), name, "exec"), module.__dict__)
    return module


@st.composite
def parts(draw: st.DrawFn) -> list[pd.DataFrame]:
    """One to four frames of the same columns and dtypes, some without rows."""
    found = []
    for _ in range(draw(st.integers(1, 4))):
        rows = draw(st.integers(0, 3))
        found.append(
            pd.DataFrame(
                {
                    "lr": pd.Series(draw(st.lists(st.floats(), min_size=rows, max_size=rows)), dtype="float64"),
                    "n": pd.Series(draw(st.lists(st.integers(-9, 9), min_size=rows, max_size=rows)), dtype="int64"),
                    "name": pd.Series(draw(st.lists(st.text(max_size=3), min_size=rows, max_size=rows)), dtype=object),
                }
            )
        )
    return found


def _same(one: pd.DataFrame, other: pd.DataFrame) -> None:
    pd.testing.assert_frame_equal(one, other, check_exact=True)


@settings(max_examples=25, deadline=None, phases=PHASES)
@given(parts())
def test_nested_loops(frames: list[pd.DataFrame]) -> None:
    for times in (1, 2):
        _same(
            _load("bad_concat_nested_loops").grid(list(frames), times),
            _load("bad_concat_nested_loops.fixed").grid(list(frames), times),
        )


@settings(max_examples=25, deadline=None, phases=PHASES)
@given(parts(), st.sets(st.integers(0, 3)))
def test_turns_that_are_skipped(frames: list[pd.DataFrame], keep: set[int]) -> None:
    frames = [frame[["lr", "n"]].rename(columns={"n": "accuracy"}) for frame in frames]
    if set(range(len(frames))) <= keep:
        return  # the loop adds nothing: the reason says so
    _same(
        _load("bad_concat_from_import").sweep(frames, keep), _load("bad_concat_from_import.fixed").sweep(frames, keep)
    )


def test_files(tmp_path: Path) -> None:
    paths = []
    for number in range(3):
        paths.append(tmp_path / f"{number}.csv")
        pd.DataFrame({"id": [number, 7], "name": ["a", None], "x": [0.5, number]}).to_csv(paths[-1], index=False)
    _same(_load("bad_concat_files").read_all(paths), _load("bad_concat_files.fixed").read_all(paths))


def _mended(code: str) -> bool:
    (growth,) = frame_growths(Tree(Path("case.py"), "import pandas as pd\n" + code))
    return mend(growth) is not None


LOOP = "df = pd.DataFrame()\nfor x in xs:\n    {}\n"


@pytest.mark.parametrize(
    "body",
    [
        "df = pd.concat([df, f(x)]); print(len(df))",
        "df = pd.concat([f(x), df])",
        "df = pd.concat([df, *f(x)])",
        "df = pd.concat([df, g])",
        "x = f(x)\n    df = pd.concat([df, x])\n    x['late'] = 1",
        "try:\n        df = pd.concat([df, f(x)])\n    except Exception:\n        pass",
        "df = pd.concat([  # all\n        df, f(x)])",
        "for y in x:\n        x['y'] = y\n        df = pd.concat([df, x])",
    ],
)
def test_no_fix_where_the_list_would_not_do_the_same(body: str) -> None:
    assert not _mended(LOOP.format(body))


def test_no_fix_where_others_may_see_the_frame() -> None:
    assert _mended(LOOP.format("df = pd.concat([df, f(x)])"))
    assert not _mended("def f(x):\n    return df.tail(1)\n" + LOOP.format("df = pd.concat([df, f(x)])"))
    inside = "def g(xs):\n    df = pd.DataFrame()\n    for x in xs:\n        df = pd.concat([df, f(x)])\n        {}\n"
    assert _mended(inside.format("print(x)"))
    assert not _mended(inside.format("yield x"))


def test_a_plain_read_of_a_growth_is_exact() -> None:
    growths: list[Any] = frame_growths(
        Tree(Path("c.py"), "import pandas as pd\n" + LOOP.format("df.loc[len(df)] = [x]"))
    )
    assert [growth.kind for growth in growths] == ["loc"] and growths[0].target == "df"


def test_no_fix_for_a_frame_that_begins_as_none_or_as_a_name() -> None:
    for start in ("None", "other"):
        assert not _mended(f"df = {start}\nfor x in xs:\n    df = pd.concat([df, f(x)])\n")
