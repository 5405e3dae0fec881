"""Running totals and lists that grow in a loop, and whether what they gather still carries its autograd graph."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING

import libcst as cst

from tricklint.interpreter.events import Accumulated, Event, Loop
from tricklint.interpreter.values import (
    Sequence,
    members,
)
from tricklint.libraries.events import Backward, Forward
from tricklint.libraries.tensors import Tensor
from tricklint.program.evaluation import evaluations
from tricklint.program.loaders import loaders_of
from tricklint.program.loops import contains, flow, happens_with, tensors_in
from tricklint.source.tree import Tree, walk

if TYPE_CHECKING:
    from tricklint.interpreter.modules import FileModule
    from tricklint.program.program import Program


@dataclass(frozen=True)
class GraphTotal:
    """`node` (in `file`) adds a tensor with its graph to `target` once a round of `loop`. `value` is the added
    expression (None when a helper does the adding), `backward` the backward pass of each round, if there is one."""

    event: Accumulated
    file: FileModule
    node: cst.CSTNode
    target: str
    value: cst.BaseExpression | None
    loop: Loop
    backward: Event | None


def graph_totals(program: Program) -> Iterator[GraphTotal]:
    """Totals over a training or evaluation loop that keep the graph of every round alive and are never
    backpropagated as one."""
    backwards = program.events(Backward)
    flows = {id(event): {id(t): t for t in flow(event.subject)} for event in backwards}
    everything = {each for made in flows.values() for each in made}
    taken = {id(m) for event in program.events(Forward) for v in event.inputs or () for m in members(v)}
    evaluated = {id(t) for found in evaluations(program, grad=True) for t in tensors_in(found.event.output)}
    found: dict[int, GraphTotal] = {}
    as_one: set[int] = set()  # what adds to a total that is backpropagated as one in some call of the function, say a net's outputs
    for event in program.events(Accumulated):
        tensor = event.subject
        if (
            not isinstance(tensor, Tensor)
            or not event.loops
            or not program.complete(event)
            or (isinstance(event.old, Sequence) and id(event.old) in taken)  # a module takes the list: inputs of one pass
        ):
            continue
        where = _place(event)
        if where is None:
            continue
        file, node, target, value = where
        site_file, site = _own_helper(event) or (file, node)
        mine = {id(t) for t in flow(tensor) if t.grad and t.op not in ("parameter", "data", "input")}
        sharing = [back for back in backwards if not mine.isdisjoint(flows[id(back)])]
        loop, direct = _loop_around(event, site_file, site, sharing)
        if loop is None or not target or assigned_in(site_file.tree, loop.node, target, node):
            continue
        if site is not node and _reset_by_a_method(site_file.tree, loop.node, target, node):
            continue
        if _short_lived(event, site_file, loop, target, node):
            continue
        if any(_holds(made, node, event.node) for made in flows.values()):
            continue
        if direct is None and any(id(tensor) in flows[id(back)] for back in sharing):
            as_one.add(id(node))
            continue
        if not carries_graph(tensor, everything):
            continue
        if direct is None and not run_by_framework(loop):
            if in_model(event) or not event.possible or mine.isdisjoint(evaluated):
                continue
        found.setdefault(id(node), GraphTotal(event, file, node, target, value, loop, direct))
    yield from (total for at, total in found.items() if at not in as_one)


def carries_graph(tensor: Tensor, backpropagated: set[int], depth: int = 0) -> bool:
    """Whether the tensor surely hangs on a graph: what an unknown function returns (a metric, say) may not."""
    if id(tensor) in backpropagated or depth > 20:
        return True
    if tensor.op == "unknown":
        return False
    if tensor.op in ("call", "loss", "forward", "parameter"):
        return True
    inputs = [member for value in tensor.inputs for member in members(value) if isinstance(member, Tensor)]
    return any(each.grad and carries_graph(each, backpropagated, depth + 1) for each in inputs)


def _holds(made: dict[int, Tensor], *nodes: cst.CSTNode) -> bool:
    """The backpropagated value was computed from the total itself."""
    nodes += tuple(node.value for node in nodes if isinstance(node, cst.Assign))  # `total = total + loss`
    return any(t.node is node for t in made.values() for node in nodes if not isinstance(node, cst.Call))


def _short_lived(event: Event, file: FileModule, loop: Loop, target: str, node: cst.CSTNode) -> bool:
    """The total starts anew for each batch: the loop goes over the pieces of one, within a loop over a data loader."""
    if any(loaders_of(loop.over)):
        return False
    outer = [each for each in event.loops if each.node is not loop.node and contains(each.node, loop.node, file)]
    return any(any(loaders_of(each.over)) and assigned_in(file.tree, each.node, target, node) for each in outer)


def run_by_framework(loop: Loop) -> bool:
    """A trainer calls the function once a batch, and backpropagates what it returns."""
    return isinstance(loop.node, cst.FunctionDef)


def in_model(event: Event) -> bool:
    """Inside a model's or a loss's own code, where sums over layers or terms belong to one pass."""
    for func in event.stack:
        if func.name in ("forward", "loss", "__call__"):
            return True
        owner = func.owner
        if owner is not None and any(name.startswith("torch.nn.") for name in owner.libraries()):
            return True
    return False


def _place(event: Accumulated) -> tuple[FileModule, cst.CSTNode, str, cst.BaseExpression | None] | None:
    """Where the loop's own code adds: the statement, or the call of a helper (a meter's `update`) that does it."""
    node, file = event.node, event.file
    inner = event.loops[-1]
    if inner.file is file and contains(inner.node, node, file):
        return (file, node, *_parts(file.tree, node))
    if _own_helper(event):  # a step of its own: what grows is the caller's own as well
        return (file, node, *_parts(file.tree, node))
    target = event.target
    if not isinstance(target, cst.Attribute):
        return None
    for site_file, site in reversed(event.calls):
        if isinstance(site, cst.Call) and isinstance(site.func, cst.Attribute) and site_file is inner.file:
            if not contains(inner.node, site, site_file):
                continue
            receiver = site_file.tree.code(site.func.value)
            if not isinstance(site_file.tree.parent(site), cst.Expr) or receiver == "self":
                return None
            names = [arg.value for arg in site.args if isinstance(arg.value, cst.Name) and not arg.star]
            return site_file, site, receiver, names[0] if len(names) == 1 else None
    return None


def _own_helper(event: Accumulated) -> tuple[FileModule, cst.CSTNode] | None:
    """Where the loop's own code calls a method of `self` that adds to an attribute of `self`, in the same file."""
    target, inner = _grown(event.node), event.loops[-1]
    while isinstance(target, cst.Subscript):  # one of several lists: `self.outputs[split].append(…)`
        target = target.value
    own = isinstance(target, cst.Attribute) and isinstance(target.value, cst.Name) and target.value.value == "self"
    if not own or inner.file is not event.file or contains(inner.node, event.node, event.file):
        return None
    site: tuple[FileModule, cst.CSTNode] | None = None
    for file, call in reversed(event.calls):  # each call on the way is one of `self`
        mine = isinstance(call, cst.Call) and isinstance(call.func, cst.Attribute) and file is event.file
        if not mine or event.file.tree.code(call.func.value) != "self":  # type: ignore[attr-defined]
            return None
        site = file, call
        if contains(inner.node, call, file):
            return site
    return None


def _grown(node: cst.CSTNode) -> cst.CSTNode | None:
    """What a statement or a call of `append` adds to."""
    if isinstance(node, cst.Call):
        return node.func.value if isinstance(node.func, cst.Attribute) else None
    if isinstance(node, cst.Assign):
        return node.targets[0].target
    return node.target if isinstance(node, cst.AugAssign) else None


def _reset_by_a_method(tree: Tree, loop: cst.CSTNode, target: str, added: cst.CSTNode) -> bool:
    """Whether a method of `self` that each round calls gives the target a new value, the one that adds to it included."""
    called = {
        each.func.attr.value
        for each in walk(loop)
        if isinstance(each, cst.Call) and isinstance(each.func, cst.Attribute) and tree.code(each.func.value) == "self"
    }
    methods = (each for each in walk(tree.module) if isinstance(each, cst.FunctionDef) and each.name.value in called)
    return any(assigned_in(tree, method, target, added) for method in methods)


def _parts(tree: Tree, node: cst.CSTNode) -> tuple[str, cst.BaseExpression | None]:
    """The code of what is added to, and the expression that is added."""
    if isinstance(node, cst.AugAssign):
        value = node.value
        if isinstance(value, (cst.List, cst.Tuple)):
            return tree.code(node.target), value.elements[0].value if len(value.elements) == 1 else None
        return tree.code(node.target), value
    if isinstance(node, cst.Assign) and isinstance(node.value, cst.BinaryOperation):
        target = tree.code(node.targets[0].target)
        sides = [side for side in (node.value.left, node.value.right) if tree.code(side) != target]
        return target, sides[0] if len(sides) == 1 else None
    if isinstance(node, cst.Assign) and isinstance(node.value, cst.Call):  # `seen = torch.cat((seen, logits))`
        target = tree.code(node.targets[0].target)
        given = node.value.args[0].value
        parts = given.elements if isinstance(given, (cst.Tuple, cst.List)) else ()
        return target, next((part.value for part in parts if tree.code(part.value) != target), None)
    if isinstance(node, cst.Call) and isinstance(node.func, cst.Attribute):
        return tree.code(node.func.value), node.args[-1].value if node.args else None
    return "", None


def _loop_around(
    event: Event, file: FileModule, node: cst.CSTNode, sharing: list[Backward]
) -> tuple[Loop | None, Backward | None]:
    """The loop of batches around what is added: the innermost in a round of which what is added is backpropagated, with
    that backward pass; else the innermost."""
    found = list(_loops_around(event, file, node))
    for loop in found:
        for back in reversed(sharing):
            if any(each.serial == loop.serial for each in back.loops) and happens_with(event, back):
                return loop, back
    return (found[0] if found else None), None


def _loops_around(event: Event, file: FileModule, node: cst.CSTNode) -> Iterator[Loop]:
    function = next((up for up in file.tree.ancestors(node) if isinstance(up, (cst.FunctionDef, cst.Lambda))), None)
    for loop in reversed(event.loops):
        if not isinstance(loop.node, (cst.For, cst.While, cst.FunctionDef)):
            continue
        if loop.file is file and contains(loop.node, node, file):
            if function is not None and not contains(function, loop.node, file):
                return
            yield loop


def assigned_in(tree: Tree, loop: cst.CSTNode, target: str, but: cst.CSTNode) -> bool:
    """Whether the loop's body gives the target (or the name it hangs on) a new value in each round: not only now and then,
    on a branch that what is added does not stand on."""
    names = {target}
    for mark in (".", "["):
        names |= {target[:at] for at in range(len(target)) if target[at] == mark}
    names.discard("self")
    for each in walk(loop):
        targets: list[cst.CSTNode] = []
        if isinstance(each, cst.Assign) and each is not but:
            targets = [t.target for t in each.targets]
        elif isinstance(each, (cst.AnnAssign, cst.NamedExpr, cst.For)):
            targets = [each.target]
        elif isinstance(each, cst.AsName):
            targets = [each.name]
        elif (
            isinstance(each, cst.Call)
            and isinstance(each.func, cst.Attribute)
            and each.func.attr.value in ("clear", "reset")
        ):
            targets = [each.func.value]
        elif isinstance(each, cst.Del):
            targets = [each.target]
        for one in targets:
            parts = [e.value for e in one.elements] if isinstance(one, (cst.Tuple, cst.List)) else [one]
            for part in parts:
                code = tree.code(part)
                if (code in names or code.startswith(target + "[")) and _each_round(tree, loop, each, but):
                    return True
    return False


def _each_round(tree: Tree, loop: cst.CSTNode, reset: cst.CSTNode, added: cst.CSTNode) -> bool:
    """The statement runs whenever the other does: no branch stands round it alone."""
    around = {id(up) for up in tree.ancestors(added)}
    below: cst.CSTNode = reset
    for up in tree.ancestors(reset):
        if up is loop:
            break
        branches = isinstance(up, (cst.If, cst.ExceptHandler, cst.MatchCase))
        if branches and id(below) not in around:
            return False
        below = up
    return True


def all_tensors(event: Accumulated) -> bool:
    """What is added is a tensor in every case, so that `.detach()` may be written behind it."""
    value = event.value
    found = members(value)
    return bool(found) and all(isinstance(member, Tensor) for member in found)


__all__ = ["GraphTotal", "all_tensors", "assigned_in", "graph_totals", "in_model"]
