"""What is taken from an output: only numbers, or something that learns."""

from __future__ import annotations

from pathlib import Path

import libcst as cst
import pytest

from tricklint.program.detached import only_detached
from tricklint.source.tree import Tree, walk


def taken(body: str) -> bool:
    lines = ["def step(batch, labels, model, loss_fn, optimizer):", "out = model(batch)", *body.splitlines()]
    tree = Tree(Path("step.py"), "\n    ".join(lines) + "\n")
    call = next(
        node
        for node in walk(tree.module)
        if isinstance(node, cst.Call) and isinstance(node.func, cst.Name) and node.func.value == "model"
    )
    return only_detached(tree, call)


@pytest.mark.parametrize(
    "body",
    [
        "print(out.argmax(1) == labels)",
        "correct = (out.argmax(1) == labels).sum().item()",
        "loss = loss_fn(out, labels)\nprint(loss.item())",
    ],
)
def test_numbers_leave_the_graph_behind(body: str) -> None:
    assert taken(body)


@pytest.mark.parametrize(
    "body",
    [
        "loss = loss_fn(out, labels)\nloss.backward()\noptimizer.step()",
        "loss_fn(out, labels).backward()",
        "loss = loss_fn(out['paper'], labels)\nscaler.scale(loss).backward()",
        "loss = loss_fn(out, labels)\naccelerator.backward(loss)",
        "loss = loss_fn(out, labels)\noptimizer.minimize(loss)",
        "return out",
    ],
)
def test_what_learns_needs_the_graph(body: str) -> None:
    assert not taken(body)
