"""What learners of frameworks do with a batch: the model's output goes into the loss that they were given."""

from __future__ import annotations

import libcst as cst

from tricklint.interpreter.callargs import CallArgs
from tricklint.interpreter.machine import Machine
from tricklint.interpreter.values import Class, Func, Instance, Ref, Value, first, instances
from tricklint.libraries.facts import BatchFacts
from tricklint.libraries.tensors import Tensor


def measure(m: Machine, model: Value | None, loss: Value | None, batch: Value, node: cst.CSTNode) -> None:
    """`loss(model(inputs), targets)`, as a framework calls it where the program does not."""
    at = first(loss)
    if not isinstance(at, (Instance, Func, Ref, Class)):
        return
    loader = batch if isinstance(batch, Instance) and batch.kind == "loader_item" else None
    inputs = _column(m, loader, 0, node)
    for each in instances(model, "module"):
        output = m.call(each, CallArgs([inputs]), node)
        m.call(at, CallArgs([output, _column(m, loader, 1, node)]), node)


def _column(m: Machine, batch: Instance | None, key: int, node: cst.CSTNode) -> Value:
    loader = batch.fact(BatchFacts).loader if batch is not None else None
    return Tensor("data", (), None, node, m.file, loader=loader, key=key)


__all__ = ["measure"]
