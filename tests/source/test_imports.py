"""Who imports whom, by the text alone."""

from __future__ import annotations

from pathlib import Path

import pytest

from tricklint.interpreter.modules import Project
from tricklint.source import Source
from tricklint.source.imports import Imports, components, statements

ROOT = Path("/project")


def graph(files: dict[str, str]) -> Imports:
    texts = {ROOT / f"{name}.py": text for name, text in files.items()}
    return Imports(texts, [ROOT, ROOT / "src"])


def names(paths: object) -> set[str]:
    return {path.relative_to(ROOT).as_posix() for path in paths}  # type: ignore[attr-defined]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("import a.b as c, d\n", {(0, "a.b", ()), (0, "d", ())}),
        ("from a import (  # why\n    b,\n    c as e,\n)\n", {(0, "a", ("b", "c"))}),
        ("from ..a import b; import d\n", {(2, "a", ("b",)), (0, "d", ())}),
        ("from . import b\n", {(1, "", ("b",))}),
        ("try: import a\nexcept ImportError: import b\n", {(0, "a", ()), (0, "b", ())}),
        ("from a \\\n    import b, \\\n    c\n", {(0, "a", ("b", "c"))}),
        ("def f():\n    from a import *\n", {(0, "a", ("*",))}),
        ("# to import a\nimportant = 1\n", set()),
    ],
)
def test_statements(text: str, expected: set[tuple[int, str, tuple[str, ...]]]) -> None:
    assert {(one.level, one.dotted, one.names) for one in statements(text)} == expected


def test_a_module_named_in_a_string_may_be_any_below() -> None:
    imports = graph(
        {"main": 'import importlib\nimportlib.import_module(f"models.{name}")\n', "models/a": "", "other/b": ""}
    )
    assert names(imports.imported(ROOT / "main.py")) == {"models/a.py"}


def test_who_reaches_a_file() -> None:
    imports = graph(
        {
            "train": "from pkg.net import Net\n",
            "pkg/__init__": "",
            "pkg/net": "from . import layers\n",
            "pkg/layers": "",
            "other": "",
        }
    )
    assert names(imports.reaching([ROOT / "pkg/layers.py"])) == {"pkg/layers.py", "pkg/net.py", "train.py"}
    assert names(imports.reached([ROOT / "train.py"])) == {
        "train.py",
        "pkg/__init__.py",
        "pkg/net.py",
        "pkg/layers.py",
    }


def test_imports_start_at_the_folders_that_the_interpreter_searches() -> None:
    imports = graph(
        {"a/deep/run": "import near, top, far\n", "a/deep/near": "", "a/top": "", "b/far": "", "src/far": ""}
    )
    assert names(imports.imported(ROOT / "a/deep/run.py")) == {"a/deep/near.py", "a/top.py", "src/far.py"}


def test_only_what_changed_is_looked_at_again() -> None:
    texts = {ROOT / "a.py": "import b\n", ROOT / "b.py": "", ROOT / "c.py": ""}
    imports = Imports(texts, [ROOT])
    assert names(imports.reaching([ROOT / "b.py"])) == {"a.py", "b.py"}
    imports.update({**texts, ROOT / "a.py": "import c\n"})
    assert names(imports.reaching([ROOT / "b.py"])) == {"b.py"}
    assert names(imports.reaching([ROOT / "c.py"])) == {"a.py", "c.py"}
    imports.update({ROOT / "a.py": "import c\n", ROOT / "b.py": ""})
    assert names(imports.imported(ROOT / "a.py")) == set()


def test_components_share_no_file() -> None:
    imports = graph(
        {
            "one": "import common\n",
            "two": "import common\n",
            "three": "import alone\n",
            "common": "",
            "alone": "",
            "four": "",
        }
    )
    paths = [ROOT / f"{name}.py" for name in ("one", "three", "two", "four")]
    assert [[path.stem for path in group] for group in components(paths, imports)] == [
        ["one", "two"],
        ["three"],
        ["four"],
    ]


@pytest.mark.parametrize(
    ("files", "expected"),
    [
        ({"src/faces/data/sets": "", "src/faces/nets": ""}, {"src/faces/data/sets.py", "src/faces/nets.py"}),
        ({"src/faces/data/sets": "", "old/faces/data/sets": "", "src/faces/nets": ""}, set()),  # one of two
        ({"src/faces/nets": "", "lib/faces/nets": ""}, set()),  # a name alone may be a library's
        ({"data/sets": "", "src/faces/data/sets": "", "src/faces/nets": ""}, {"data/sets.py"}),
        ({"third/faces/setup": "", "third/faces/data/sets": ""}, set()),  # another project
    ],
)
def test_a_folder_that_is_on_the_path_of_who_runs_it(files: dict[str, str], expected: set[str], tmp_path: Path) -> None:
    files = {"scripts/train": "import nets\nfrom data.sets import Faces\n", **files}
    texts = {tmp_path / f"{name}.py": text for name, text in files.items()}
    for path, text in texts.items():
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    found = Imports(texts, [tmp_path]).imported(tmp_path / "scripts/train.py")
    assert {path.relative_to(tmp_path).as_posix() for path in found} == expected
    project = Project({path: Source.read(path) for path in texts}, [tmp_path], lambda path: None)
    run = (project.find(name, tmp_path / "scripts/train.py") for name in ("nets", "data.sets"))
    assert {path.relative_to(tmp_path).as_posix() for path in run if path is not None} == expected


@pytest.mark.parametrize(
    ("files", "expected"),
    [
        ({"data": "def loader(): ...\n", "nets/small": "class Net: ...\n"}, {"data.py", "nets/small.py"}),
        ({"data": "loader = 1\n", "nets/small": "", "nets/__init__": "from .small import Net\n"}, {"data.py"}),
        ({"data": "", "nets/small": "class Net: ...\n"}, set()),  # nothing there is called `loader`: another's package
        ({"data": "def loader(): ...\n"}, set()),  # a part of it stands nowhere
        ({"data": "", "train": "from pets import data\nfrom pets.nets import small\n", "nets/small": ""}, set()),  # names alone
        ({"data": "def loader(): ...\n", "nets/small": "class Net: ...\n", "more": "import pets\n"}, set()),  # of a library
    ],
)
def test_a_package_that_is_the_folder_itself(files: dict[str, str], expected: set[str], tmp_path: Path) -> None:
    start = "from pets.data import loader\nfrom pets.nets{} import Net\n".format("" if "nets/__init__" in files else ".small")
    texts = {tmp_path / f"{name}.py": text for name, text in {"train": start, **files}.items()}
    for path, text in texts.items():
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    found = Imports(texts, [tmp_path]).imported(tmp_path / "train.py") - {tmp_path / "nets/__init__.py"}
    assert {path.relative_to(tmp_path).as_posix() for path in found} == expected
    project = Project({path: Source.read(path) for path in texts}, [tmp_path], lambda path: None)
    run = (project.find(name, tmp_path / "train.py") for name in ("pets.data", "pets.nets.small"))
    assert {path.relative_to(tmp_path).as_posix() for path in run if path is not None} - {"nets/small.py"} == expected - {
        "nets/small.py"
    }


def test_a_package_is_the_folder_itself_as_long_as_all_of_it_stands_there() -> None:
    start = "from pets.data import loader\nfrom pets.nets.small import Net\n"
    texts = {ROOT / "train.py": start, ROOT / "data.py": "def loader(): ...\n", ROOT / "nets/small.py": "class Net: ...\n"}
    imports = Imports(texts, [ROOT])
    assert names(imports.imported(ROOT / "train.py")) == {"data.py", "nets/small.py"}
    imports.update({**texts, ROOT / "data.py": "def other(): ...\n"})
    assert names(imports.imported(ROOT / "train.py")) == set()
    imports.update(texts)
    assert names(imports.imported(ROOT / "train.py")) == {"data.py", "nets/small.py"}
