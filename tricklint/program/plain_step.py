"""The plain training step, which can be rewritten: forward, loss, backward, one after the other."""

from __future__ import annotations

from dataclasses import dataclass

import libcst as cst

from tricklint.source.tree import Tree


@dataclass(frozen=True)
class PlainStep:
    """`output = model(inputs)`, `loss = criterion(output, targets)`, `loss.backward()`: statements of one block that
    follow each other (with `zero_grad` among them or before), then the optimizer's step. Parts are given as code."""

    statements: tuple[cst.CSTNode, ...]
    optimizer: str
    model: str
    criterion: str
    inputs: str
    targets: str
    output: str
    loss: str
    plain_names: bool  # inputs and targets are names


def plain_step(tree: Tree, backward: cst.CSTNode) -> PlainStep | None:
    """The training step that ends in `backward`, when it has the plain form; else None."""
    last = tree.statement_of(backward)
    block = tree.parent(last) if last is not None else None
    if not isinstance(block, cst.IndentedBlock) or last is None:
        return None
    body = list(block.body)
    at = next(i for i, each in enumerate(body) if each is last)
    call = _expression(last)
    if (
        not isinstance(call, cst.Call)
        or not isinstance(call.func, cst.Attribute)
        or call.func.attr.value != "backward"
        or call.args
    ):
        return None
    if not isinstance(call.func.value, cst.Name):
        return None
    loss = call.func.value.value
    optimizer = _stepped_after(tree, body[at + 1 :])
    cleared: list[cst.CSTNode] = []
    middle: list[cst.CSTNode] = []
    index = at - 1
    while index >= 0 and len(middle) < 2:
        statement = body[index]
        made = _expression(statement)
        if isinstance(made, cst.Call) and tree.code(made).endswith(".zero_grad()"):
            cleared.append(statement)
            if optimizer and tree.code(made) != f"{optimizer}.zero_grad()":
                return None
        else:
            middle.insert(0, statement)
        index -= 1
    if index >= 0:
        made = _expression(body[index])
        if isinstance(made, cst.Call) and tree.code(made) == f"{optimizer}.zero_grad()":
            cleared.append(body[index])
    if not optimizer or len(middle) != 2:
        return None
    forward, criterion = _assignment(middle[0]), _assignment(middle[1])
    if forward is None or criterion is None or criterion[0] != loss:
        return None
    output, run = forward
    _, measure = criterion
    if len(run.args) != 1 or run.args[0].keyword is not None or run.args[0].star:
        return None
    if len(measure.args) != 2 or any(arg.keyword is not None or arg.star for arg in measure.args):
        return None
    if tree.code(measure.args[0].value) != output:
        return None
    if not cleared and not _cleared_before(tree, body[: max(index + 1, 0)], optimizer):
        return None
    statements = tuple(each for each in body if each in middle or each in cleared or each is last)
    first_at = next(i for i, each in enumerate(body) if each is statements[0])
    if body[first_at : at + 1] != list(statements):
        return None
    inputs, targets = run.args[0].value, measure.args[1].value
    return PlainStep(
        statements,
        optimizer,
        tree.code(run.func),
        tree.code(measure.func),
        tree.code(inputs),
        tree.code(targets),
        output,
        loss,
        isinstance(inputs, cst.Name) and isinstance(targets, cst.Name),
    )


def _expression(statement: cst.CSTNode) -> cst.CSTNode | None:
    if (
        isinstance(statement, cst.SimpleStatementLine)
        and len(statement.body) == 1
        and isinstance(statement.body[0], cst.Expr)
    ):
        return statement.body[0].value
    return None


def _assignment(statement: cst.CSTNode) -> tuple[str, cst.Call] | None:
    if not isinstance(statement, cst.SimpleStatementLine) or len(statement.body) != 1:
        return None
    made = statement.body[0]
    if not isinstance(made, cst.Assign) or len(made.targets) != 1 or not isinstance(made.targets[0].target, cst.Name):
        return None
    return (made.targets[0].target.value, made.value) if isinstance(made.value, cst.Call) else None


def _stepped_after(tree: Tree, rest: list[cst.BaseStatement]) -> str:
    for statement in rest:
        made = _expression(statement)
        if (
            isinstance(made, cst.Call)
            and isinstance(made.func, cst.Attribute)
            and made.func.attr.value == "step"
            and not made.args
        ):
            return tree.code(made.func.value)
    return ""


def _cleared_before(tree: Tree, body: list[cst.BaseStatement], optimizer: str) -> bool:
    return any(
        isinstance(made := _expression(each), cst.Call) and tree.code(made) == f"{optimizer}.zero_grad()"
        for each in body
    )


__all__ = ["PlainStep", "plain_step"]
