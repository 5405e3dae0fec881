"""Objects of libraries."""

from __future__ import annotations

from typing import Any

import libcst as cst

from tricklint.interpreter.callargs import CallArgs
from tricklint.interpreter.machine import Machine
from tricklint.interpreter.values import (
    Dict,
    Instance,
    Ref,
)


def plain(m: Machine, name: str, args: CallArgs, node: cst.CSTNode) -> Instance:
    made = Instance(Ref(name), node, m.file)
    made.args, made.kwargs, made.open_kwargs = tuple(args.positional), dict(args.kwargs), args.open_kwargs
    m.seq += 1
    made.seq = m.seq
    func = m.frame.func
    made.made_in = func.owner if func is not None else None
    return made


def attributes_of(m: Machine, fields: dict[Any, Any], node: cst.CSTNode, open_: bool = False) -> Dict:
    """The attributes of an object as a dict: what is written to the one is written to the other."""
    made = Dict(node, m.file, open_)
    made.fields = fields
    return made


def is_statement(m: Machine, node: cst.Call) -> bool:
    return isinstance(m.file.tree.parent(node), cst.Expr)
