"""Grids of hyperparameters: every combination of what stands on a few lists."""

from __future__ import annotations

from collections.abc import Iterable

import libcst as cst

from tricklint.interpreter.behaviour import function
from tricklint.interpreter.callargs import CallArgs
from tricklint.interpreter.iteration import UNROLL
from tricklint.interpreter.machine import Machine
from tricklint.interpreter.values import UNKNOWN, Const, Dict, Namespace, Sequence, Value, first


def combinations(axes: Iterable[Value]) -> list[list[Value]]:
    """A few of the combinations: so many that every value of every axis is in one of them."""
    held: list[tuple[Value, ...]] = []
    for axis in axes:
        at = first(axis)
        if isinstance(at, Const) and isinstance(at.value, (list, tuple)):
            held.append(tuple(Const(item) for item in at.value))
        else:
            held.append(at.items if isinstance(at, Sequence) and at.items else (UNKNOWN,))
    count = min(max(map(len, held), default=0), UNROLL)
    return [[values[min(turn, len(values) - 1)] for values in held] for turn in range(count)]


@function("itertools.product")
def product(m: Machine, name: str, args: CallArgs, node: cst.CSTNode) -> Value:
    times = first(args.kwargs.get("repeat", Const(1)))
    if args.open or not isinstance(times, Const) or not isinstance(times.value, int) or not 0 < times.value <= UNROLL:
        return UNKNOWN
    rows = combinations([*args.positional] * times.value)
    return Sequence(
        "list", tuple(Sequence("tuple", tuple(row), False, node, m.file) for row in rows), True, node, m.file
    )


@function("sklearn.model_selection.ParameterGrid", "sklearn.model_selection.ParameterSampler")
def parameter_grid(m: Machine, name: str, args: CallArgs, node: cst.CSTNode) -> Value:
    given = first(args.get(0, "param_grid") or args.get(0, "param_distributions"))
    grids = given.items if isinstance(given, Sequence) else (given,)
    rows: list[Value] = []
    for grid in map(first, grids):
        if not isinstance(grid, (Dict, Namespace)):
            return UNKNOWN
        for row in combinations(grid.fields.values()):
            made = Dict(node, m.file, isinstance(grid, Dict) and grid.open)
            made.fields.update(zip(grid.fields, row))
            rows.append(made)
    return Sequence("list", tuple(rows), True, node, m.file)
