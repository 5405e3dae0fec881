"""Which rewrite a loop wants, and how far it may be trusted: one line of code a case."""

from __future__ import annotations

from pathlib import Path

import libcst as cst
import pytest
from tricklint.rules.dataframes.iterrows_loop import judge

from tricklint.dataframes import leaks, loops, scope
from tricklint.dataframes.loops import RowLoop, foreign_in, frame_loops
from tricklint.dataframes.origin import Origin
from tricklint.fix.edits import apply_edits
from tricklint.source.text import Source
from tricklint.source.tree import Tree

HEAD = "import os\nimport pandas as pd\n"


def loops_of(code: str) -> list[RowLoop]:
    return frame_loops(Tree(Path("case.py"), HEAD + code))


def verdict(code: str) -> str:
    """`class level` of the only loop; `class -` when there is no fix."""
    (loop,) = loops_of(code)
    found = judge(loop)
    return f"{found.fix_class} {'-' if found.edits is None else found.level.value}"


def rewritten(code: str) -> str:
    (loop,) = loops_of(code)
    edits = judge(loop).edits
    assert edits is not None
    return apply_edits(HEAD + code, edits).removeprefix(HEAD)


def loop(body: str, head: str = "for i, row in df.iterrows():") -> str:
    return f"{head}\n    {body}\n"


READ = "df = pd.read_csv('x.csv')\n"


@pytest.mark.parametrize(
    ("code", "expected"),
    [
        # what the row is used for
        (loop("out.append(row['a'])"), "column recipe"),
        (loop("out.append(row['a b'])"), "column recipe"),
        (loop("print(row['a'])"), "itertuples recipe"),
        (loop("print(row['a b'])"), "column recipe"),
        (loop("print(row['class'])"), "column recipe"),
        (loop("print(row['_x'])"), "column recipe"),
        (loop("print(row['count'])"), "column recipe"),
        (loop("print(row[name])"), "human -"),
        (loop("print(row)"), "human -"),
        (loop("print(row.size)"), "human -"),
        (loop("print(row.get('a'))"), "human -"),
        (loop("print(row.loc['a'], row.at['b'])"), "itertuples recipe"),
        (loop("print(row.iloc[0])"), "human -"),
        (loop("print(row[['a', 'b']])"), "human -"),
        (loop("print('a' in row)"), "human -"),
        (loop("print(f'{row}')"), "human -"),
        (loop("print(f\"{row['a']=}\")"), "human -"),
        (loop("print(other.query('id == @row.id'))"), "human -"),
        (loop("print('{row}'.format(**locals()))"), "human -"),
        (loop("row['a'] = 1"), "human -"),
        (loop("row['a'] += 1"), "human -"),
        (loop("del row['a']"), "human -"),
        (loop("row = row['a']"), "human -"),
        (loop("print(row['a'])", "for i, *row in df.iterrows():"), "human -"),
        (loop("print(row['a'])", "for self.i, row in df.iterrows():"), "human -"),
        (loop("print(a)", "for i, (a, b) in df.iterrows():"), "human -"),
        (loop("print(pair[1]['a'], pair[0])", "for pair in df.iterrows():"), "itertuples recipe"),
        (loop("print(pair)", "for pair in df.iterrows():"), "human -"),
        (loop("print(row['a'])") + "print(row)\n", "human -"),
        (loop("print(row['a'])") + "for row in x:\n    print(row)\n", "itertuples recipe"),
        ("rows = df.iterrows()\n" + loop("print(row['a'])", "for i, row in rows:"), "human -"),
        (loop("print(row['a'])", "for i, row in shuffled(df.iterrows()):"), "human -"),
        # what is done with the frame
        (loop("df.loc[i, 'b'] = f(row['a'])"), "human -"),
        (loop("df.at[i, 'b'] = row['a'] * 2"), "vectorise -"),
        (loop("df.drop(i, inplace=True)"), "column safe"),
        (loop("df.drop(row['a'], inplace=True)"), "human -"),
        (loop("df = df.drop(i)"), "column safe"),
        (loop("total += row['a']"), "vectorise -"),
        (loop("if row['a'] == 1:\n        n += 1"), "vectorise recipe"),
        (loop("if f(row['a']):\n        n += 1"), "itertuples recipe"),
        # where the values go
        (loop("groups[row['k']].append(row['v'])"), "itertuples recipe"),
        (loop("groups[row['k k']].append(row['v'])"), "column recipe"),
        (loop("label[row['k']] = row['v']"), "column recipe"),
        (loop("label[row['k']] = row['k']"), "column recipe"),
        (loop("label[row['k']] = len(label[row['k']])"), "column unsafe"),
        (loop("label[str(row['k'])] = row['k'] in known"), "column recipe"),
        (loop("if row['k'] in known:\n        known.discard(row['k'])"), "itertuples unsafe"),
        (loop("for x in row['v']:\n        seen.add(row['k'])"), "itertuples unsafe"),
        (loop("mask[row.a:row.b] = 1"), "itertuples recipe"),
        (loop("yield row['a']"), "column recipe"),
        # what is proven
        ("[os.path.join(d, row['a']) for i, row in df.iterrows()]\n", "itertuples safe"),
        ("[os.path.join(d, row['a b']) for i, row in df.iterrows()]\n", "column recipe"),
        ("[d + row['a'] for i, row in df.iterrows()]\n", "column recipe"),
        ("[row['a'].lower() for i, row in df.iterrows()]\n", "itertuples safe"),
        ("[row['a'].count('x') for i, row in df.iterrows()]\n", "column recipe"),
        ("[x for i, row in df.iterrows() for x in row['a'].split() if row['b'] == 'y']\n", "itertuples safe"),
        ("df = df.convert_dtypes()\n[1 for i, row in df.iterrows() if row['b'] == 'x']\n", "column unsafe"),
        ("df = pd.read_parquet('x')\n[1 for i, row in df.iterrows() if row['b'] == 'x']\n", "column unsafe"),
        (READ + "[x for i, row in df.iterrows() for x in row['a'].split() if row['b'] == 'y']\n", "column safe"),
        ("[1 for i, row in df.iterrows() if row['b'] == 5000]\n", "column recipe"),
        ("[1 for i, row in df.iterrows() if row['b'] in ('x', 'y')]\n", "itertuples safe"),
        (READ + "[1 for i, row in df.iterrows() if row['b'] in ('x', 'y')]\n", "column safe"),
        ("[row['b'] == 'x' for i, row in df.iterrows()]\n", "column recipe"),
        ("x = (row['a'].lower() for i, row in df.iterrows())\n", "column unsafe"),
        ("x = max(row['a'].lower() for i, row in df.iterrows())\n", "itertuples safe"),
        (READ + "[row['a'] for i, row in df.iterrows()]\n", "column recipe"),
        (READ + "[(os.path.join(d, row['f']), row['a']) for i, row in df.iterrows()]\n", "column safe"),
        (READ + "[row['a'] for i, row in df.iterrows() if row['split'] == 'train']\n", "column safe"),
        (READ + "[row['a'] if row['split'] == 'x' else 0 for i, row in df.iterrows()]\n", "column safe"),
        (READ + "[0 if row['s'] == 'x' else row['a'] for i, row in df.iterrows()]\n", "column recipe"),
        (READ + "touch(df)\n[row['a'] for i, row in df.iterrows() if row['s'] == 'x']\n", "column recipe"),
        (READ + "df['b'] = f(df)\n[row['a'] for i, row in df.iterrows() if row['s'] == 'x']\n", "column recipe"),
        (READ + "df = df[df['b'] > 1]\n[row['a'] for i, row in df.iterrows() if row['s'] == 'x']\n", "column safe"),
        (READ + "{row['a'] for i, row in df.iterrows() if row['s'] == 'x'}\n", "column recipe"),
        (
            READ + "try:\n    [(row['f'].lower(), row['a']) for i, row in df.iterrows()]\nexcept E:\n    pass\n",
            "column recipe",
        ),
        ("[row['a'] for i, row in pd.read_csv('x', dtype=str).iterrows()]\n", "column safe"),
        ("[row['a'] for i, row in pd.read_csv('x', dtype={'a': str}).iterrows()]\n", "column recipe"),
        ("[row['a'] for i, row in pd.read_csv('x', converters=c).iterrows()]\n", "column recipe"),
        ("[row['a'] for i, row in pd.DataFrame({'a': [1], 'b': ['x']}).iterrows()]\n", "column safe"),
        ("[row['a'] for i, row in pd.DataFrame({'a': [1], 'b': [2.5]}).iterrows()]\n", "column recipe"),
        ("[row['a'] for i, row in pd.DataFrame({'a': [None], 'b': ['x']}).iterrows()]\n", "column recipe"),
        ("[i for i, row in df.iterrows()]\n", "column safe"),
    ],
)
def test_verdict(code: str, expected: str) -> None:
    compile(HEAD + f"def case(self):\n{''.join(f'    {line}' + chr(10) for line in code.splitlines())}", "case", "exec")
    assert verdict(code) == expected


def test_a_function_that_is_given_the_frame_inside_the_loop_may_change_it() -> None:
    body = "out.append(row['a'].lower())"
    assert verdict(loop(body)) == "itertuples safe"
    assert verdict(loop(f"{body}; touch(df)")).endswith("unsafe")


@pytest.mark.parametrize(
    ("code", "expected"),
    [
        (
            "ids = []\nfor i, row in df.iterrows():\n    ids.append(row['a'])\n",
            "ids = []\nids.extend(df['a'].tolist())\n",
        ),
        (
            "for(i,row)in df.iterrows():\n    out.append((i, row['class']))\n",
            "for i, row_class in zip(df.index, df['class'].tolist()):\n    out.append((i, row_class))\n",
        ),
        (
            "for i, row in load().iterrows():\n    print(i, row.a)\n",
            "for row in load().itertuples():\n    print(row.Index, row.a)\n",
        ),
        (
            "for i, row in df.iterrows():\n\tname = row['Name']\n\t# why\n\tout.append(name)\n",
            "for name in df['Name'].tolist():\n\t# why\n\tout.append(name)\n",
        ),
        (
            "for i, row in df.iterrows(): out.append(row['a'] + row['b'])\n",
            "for row_a, row_b in zip(df['a'].tolist(), df['b'].tolist()): out.append(row_a + row_b)\n".replace(
                "row_a", "a"
            ).replace("row_b", "b"),
        ),
    ],
)
def test_rewrite(code: str, expected: str) -> None:
    assert rewritten(code) == expected


def test_nested_loops_get_names_of_their_own() -> None:
    code = HEAD + "x = [(a['n'], b['n']) for _, a in A.iterrows() for _, b in B.iterrows()]\n"
    edits = [edit for each in frame_loops(Tree(Path("case.py"), code)) for edit in judge(each).edits or ()]
    assert apply_edits(code, edits).removeprefix(HEAD) == (
        "x = [(a_n, b_n) for a_n in A['n'].tolist() for b_n in B['n'].tolist()]\n"
    )


@pytest.mark.parametrize(
    "code",
    [
        "class T:\n    def iterrows(self): ...\nfor i, r in T().iterrows():\n    print(r['a'])\n",
        "class T:\n    def iterrows(self): ...\n    def f(self):\n        return [r for i, r in self.iterrows()]\n",
        "class T:\n    def iterrows(self): ...\ndef f(t: 'T'):\n    return [r for i, r in t.iterrows()]\n",
        "class T:\n    def iterrows(self): ...\nt = T()\ndef f():\n    return [r for i, r in t.iterrows()]\n",
        "x = [r for i, r in [].iterrows()]\n",
    ],
)
def test_other_classes_with_the_method_are_no_frames(code: str) -> None:
    assert loops_of(code) == []


def test_a_class_of_another_file_is_no_frame_but_a_frame_with_the_method_is() -> None:
    texts = [
        (Path("a.py"), "class Sheet:\n    def iterrows(self): ...\n"),
        (Path("b.py"), "import pandas as pd\nclass Mine(pd.DataFrame):\n    def iterrows(self): ...\n"),
        (Path("c.py"), "def iterrows(:"),
    ]
    assert foreign_in(Source.from_text(path, text) for path, text in texts) == {"Sheet"}


@pytest.mark.parametrize(
    ("code", "expected"),
    [
        ("df = pd.read_csv('x')\n", Origin(unique=True, plain=True)),
        ("df = pd.read_csv('x')\ndf['a'] = 1\n", Origin(unique=True)),
        ("df = pd.read_csv('x')\ndf.columns = names\n", Origin()),
        ("df = pd.read_csv('x')\nif y:\n    df = f()\n", Origin()),
        ("df = pd.read_csv('x').astype(str)\n", Origin(None, True, True, True, True)),
        ("df = pd.read_csv('x', dtype_backend='pyarrow')\n", Origin()),
        ("df = pd.read_csv('x', **kw)\n", Origin()),
        ("df = pd.DataFrame({'a': [1], 'b': ['x']})\n", Origin(("a", "b"), True, True, True)),
        ("df = pd.DataFrame({'a': [1], 'b': ['x']})[['b', 'a']]\n", Origin(("b", "a"), True, True)),
        ("df = pd.DataFrame({'a': [1], 'b': ['x']}).drop(columns='b')\n", Origin(None, True, True)),
        ("df, other = pd.read_csv('x'), 1\n", Origin()),
        ("for df in frames:\n    pass\n", Origin()),
    ],
)
def test_origin(code: str, expected: Origin) -> None:
    (found,) = loops_of(code + loop("print(row['a'])"))
    assert found.origin == expected


def test_a_thousand_loops_over_one_frame_cost_no_more_each(monkeypatch: pytest.MonkeyPatch) -> None:
    asked = 0
    real = scope.is_stored

    def is_stored(tree: Tree, node: cst.CSTNode) -> bool:
        nonlocal asked
        asked += 1
        return real(tree, node)

    for module in (loops, leaks):
        monkeypatch.setattr(module, "is_stored", is_stored)
    costs = []
    for count in (50, 200):
        asked = 0
        one = "for at, row in df.iterrows():\n    total += row['a']\n"
        assert len(loops_of("df = pd.read_csv('x')\ntotal = 0\n" + one * count)) == count
        costs.append(asked / count)
    assert costs[1] <= 1.5 * costs[0]


def test_a_row_is_read_behind_its_loop_wherever_that_loop_stands() -> None:
    one = "for at, row in df.iterrows():\n    total += row['a']\n"
    found = loops_of("df = pd.read_csv('x')\ntotal = 0\n" + one * 3 + "print(row)\n")
    assert [len(loop.leaks) for loop in found] == [0, 0, 1]
    inside = loops_of("def f(df):\n    def g():\n        return row\n" + "".join(f"    {line}\n" for line in (one * 2).splitlines()))
    assert [len(loop.leaks) for loop in inside] == [1, 1]
