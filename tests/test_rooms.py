"""Who may know whom: the rooms of the house, read off the imports. No circle, and no room that reaches where it may not."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
# A room knows those named here beside the words that all speak (`finding`, `rule`, `settings`, `about`); a room that is not
# named may know any.
MAY_KNOW = {
    "knowledge": set(),
    "source": set(),
    "interpreter": {"source", "knowledge"},
    "libraries": {"interpreter", "knowledge", "source"},
    "program": {"interpreter", "libraries", "knowledge", "source", "dataframes"},
    "dataframes": {"interpreter", "source", "fix.build"},
    "rules": {
        "program", "dataframes", "knowledge", "fix.build", "source.tree", "source.ignores", "trace",
        # the vocabulary of a program: what happens in it, and what it happens to
        "interpreter.events", "interpreter.values", "interpreter.modules", "interpreter.imports", "interpreter.callargs",
        "interpreter.statements", "interpreter.truth", "interpreter.attributes", "interpreter.narrowing",
        "libraries", "watching.record", "watching.losses", "watching.odds", "watching.sources",
    },
    "fix": {"source", "program", "libraries", "interpreter", "output"},
    "output": {"source", "report"},
    "surgery": {"trace"},
    # What runs in the user's process knows what runs there beside it, and nothing that needs to be installed.
    "watching.recorder": {"watching.recorder", "verify.runner", "trace.kinds"},
}  # fmt: skip
WORDS = {"", "about", "finding", "rule", "settings"}


def _modules() -> dict[str, Path]:
    found = {}
    for top in ("tricklint", "rules"):
        for path in (ROOT / top).rglob("*.py"):
            name = ".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__")
            found[name if top == "tricklint" else f"tricklint.{name}"] = path
    return found


MODULES = _modules()


def _imported(body: list[ast.stmt], later: bool) -> Iterator[str]:
    """Modules of tricklint that statements import; `later`: within functions too. Imports for types alone do not count."""
    for node in body:
        if isinstance(node, ast.If) and "TYPE_CHECKING" in ast.unparse(node.test):
            continue
        if isinstance(node, ast.ImportFrom) and node.module and node.module.partition(".")[0] == "tricklint":
            for alias in node.names:
                inner = f"{node.module}.{alias.name}"
                yield inner if inner in MODULES else node.module
        elif isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names if alias.name.partition(".")[0] == "tricklint")
        if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef)) and not later:
            continue
        for part in ("body", "orelse", "finalbody", "handlers"):
            yield from _imported(getattr(node, part, []), later)


@cache
def _graph(later: bool) -> dict[str, set[str]]:
    return {
        name: {other for other in _imported(ast.parse(path.read_text()).body, later) if other in MODULES} - {name}
        for name, path in MODULES.items()
    }


def _room(module: str) -> str:
    return module.partition(".")[2].partition(".")[0]


def test_no_file_imports_itself_by_way_of_others() -> None:
    graph = _graph(later=False)
    done: set[str] = set()

    def walk(module: str, way: tuple[str, ...]) -> None:
        assert module not in way, " -> ".join((*way[way.index(module) :], module))
        if module not in done:
            for other in sorted(graph[module]):
                walk(other, (*way, module))
            done.add(module)

    for module in sorted(graph):
        walk(module, ())


@pytest.mark.parametrize("room", sorted(MAY_KNOW))
def test_a_room_knows_what_it_may(room: str) -> None:
    for module, others in _graph(later=True).items():
        if not module.startswith(f"tricklint.{room}.") and module != f"tricklint.{room}":
            continue
        for other in sorted(others):
            below = other.partition(".")[2]
            allowed = any(below == name or below.startswith(name + ".") for name in MAY_KNOW[room])
            assert _room(other) in {room, *WORDS} or allowed, f"{module} imports {other}"
