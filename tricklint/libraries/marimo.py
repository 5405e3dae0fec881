"""marimo notebooks: a cell is a function whose parameters are names that other cells return."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import libcst as cst

from tricklint.interpreter.behaviour import Behaviour, behaves, function
from tricklint.interpreter.callargs import CallArgs
from tricklint.interpreter.calls import invoke
from tricklint.interpreter.machine import Machine
from tricklint.interpreter.objects import plain
from tricklint.interpreter.values import (
    UNKNOWN,
    Func,
    Instance,
    Sequence,
    Value,
    first,
)
from tricklint.source.tree import walk


@dataclass(slots=True, eq=False)
class AppFacts:
    """The cells of a notebook, as they stand in the file."""

    cells: list[Func] = field(default_factory=list)


@dataclass(slots=True, eq=False)
class CellFacts:
    """Of `@app.cell`: the notebook that the decorated function is a cell of."""

    app: Instance | None = None


@function("marimo.App")
def app(m: Machine, name: str, args: CallArgs, node: cst.CSTNode) -> Value:
    made = plain(m, name, args, node)
    made.kind = "marimo_app"
    return made


@behaves("marimo_app")
class AppBehaviour(Behaviour):
    def attribute(self, m: Machine, value: Any, name: str, node: cst.CSTNode) -> Value | None:
        return _cell(m, value, node) if name == "cell" else None

    def method(self, m: Machine, value: Any, name: str, args: CallArgs, node: cst.CSTNode) -> Value | None:
        if name == "cell":  # with options: @app.cell(hide_code=True)
            return _cell(m, value, node)
        if name == "run":
            run(m, value, node)
            return UNKNOWN
        return None


def _cell(m: Machine, value: Instance, node: cst.CSTNode) -> Instance:
    made = plain(m, "marimo.App.cell", CallArgs(), node)
    made.kind = "marimo_cell"
    made.fact(CellFacts).app = value
    return made


@behaves("marimo_cell")
class CellBehaviour(Behaviour):
    def call(self, m: Machine, value: Any, args: CallArgs, node: cst.CSTNode) -> Value | None:
        return value  # type: ignore[no-any-return]

    def decorates(self, m: Machine, value: Any, made: Value) -> None:
        app = value.fact(CellFacts).app
        if app is not None and isinstance(made, Func):
            app.fact(AppFacts).cells.append(made)


def run(m: Machine, app: Instance, node: cst.CSTNode) -> None:
    """Run the cells as marimo does: each once what it takes is there, otherwise as they stand in the file."""
    names: dict[str, Value] = {}
    waiting = list(app.fact(AppFacts).cells)
    while waiting:
        cell = next((cell for cell in waiting if all(name in names for name in _takes(cell))), waiting[0])
        waiting.remove(cell)
        args = CallArgs(kwargs={name: names.get(name, UNKNOWN) for name in _takes(cell)})
        result = first(invoke(m, cell, None, args, node))
        gives = _gives(cell)
        if isinstance(result, Sequence) and len(result.items) == len(gives):
            names.update(zip(gives, result.items, strict=True))
        else:
            names.update(dict.fromkeys(gives, UNKNOWN))


def _takes(cell: Func) -> list[str]:
    return [param.name.value for param in cell.node.params.params]


def _gives(cell: Func) -> list[str]:
    """The names in `return a, b`, which marimo writes at the end of a cell."""
    returned = [node.value for node in walk(cell.node) if isinstance(node, cst.Return)]
    if not returned or not isinstance(returned[-1], cst.Tuple):
        return []
    return [element.value.value for element in returned[-1].elements if isinstance(element.value, cst.Name)]
