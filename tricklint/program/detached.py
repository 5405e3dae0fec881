"""What becomes of a value in the code that computes it: whether all that is taken from it leaves its graph behind."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, field

import libcst as cst

from tricklint.program.loops import EVALUATION, speaks_of
from tricklint.source.once import below
from tricklint.source.tree import Tree, walk

# Names of numbers that say how good an output is
_MEASURES = re.compile(
    r"(?:^|_)(?:acc|accuracy|correct|corrects|precision|recall|f1|iou|miou|dice|auc|metric|metrics)(?:$|_|\d)"
)
# What a call may be named that learns from a value
_LEARNS = re.compile(r"backward|step|train|optimi[sz]e|learn|minimi[sz]e")

# Functions of tensors that autograd does not differentiate: what they give holds no graph
_CHOICES = frozenset(("argmax", "argmin", "argsort", "multinomial", "bernoulli", "eq", "ne", "gt", "ge", "lt", "le"))
_NUMBERS = _CHOICES | {"data", "detach", "detach_", "item", "tolist", "numpy", "topk"}
_FORM = frozenset(("size", "shape", "dim", "device", "dtype", "ndim"))  # what it looks like, whatever its values are
_PASSES_ON = (cst.Call, cst.Subscript, cst.BinaryOperation, cst.UnaryOperation, cst.Element, cst.Tuple, cst.List,
              cst.Index, cst.SubscriptElement)  # fmt: skip
_NUMBER_CALLS = frozenset(("print", "float", "int", "len", "str"))


@dataclass
class Fate:
    """What became of a value. numbers: how often something was taken that holds no graph. lost: how often it was handed to
    a call whose result nobody takes, or not used. measures: names of measures that were computed from it."""

    numbers: int = 0
    lost: int = 0
    measures: list[str] = field(default_factory=list)

    @property
    def measured(self) -> bool:
        """Numbers are all that was wanted."""
        return bool(self.measures) or (self.numbers > 0 and not self.lost)


def only_detached(tree: Tree, node: cst.CSTNode, fate: Fate | None = None, depth: int = 0) -> bool:
    """Whether everything that is taken from an expression leaves its graph behind (`.data`, `.detach()`, `.item()`,
    `argmax`, comparisons …); `fate` learns what was."""
    fate = Fate() if fate is None else fate
    if depth > 6:
        return False
    at = node
    while True:
        parent = tree.parent(at)
        if isinstance(parent, cst.Attribute) and parent.value is at:
            if parent.attr.value in _NUMBERS:
                _note(tree, parent, fate)
                return True
            if parent.attr.value in _FORM:
                return True
            if _LEARNS.search(parent.attr.value):
                return False
        elif isinstance(parent, cst.Comparison):
            _note(tree, parent, fate)
            return True
        elif isinstance(parent, cst.Arg):
            call = tree.parent(parent)
            if not isinstance(call, cst.Call):
                return False
            called = tree.code(call.func)
            numbers = called in _NUMBER_CALLS or called.startswith(("np.", "numpy."))
            if numbers or called.rpartition(".")[2] in _CHOICES:
                _note(tree, call, fate)
                return True
            if _LEARNS.search(called.rpartition(".")[2]):
                return False
            parent = call
        elif isinstance(parent, (cst.AssignTarget, cst.Return, cst.AugAssign, cst.Yield, cst.Lambda)):
            return False
        elif isinstance(parent, cst.Expr):
            fate.lost += 1
            return True
        elif isinstance(parent, cst.Assign):
            return all(_target_detached(tree, parent, target.target, fate, depth) for target in parent.targets)
        elif not isinstance(parent, _PASSES_ON):
            return False
        assert parent is not None
        at = parent


def _note(tree: Tree, node: cst.CSTNode, fate: Fate) -> None:
    fate.numbers += 1
    for up in tree.ancestors(node):
        if isinstance(up, cst.Assign):
            names = [each.value for target in up.targets for each in walk(target) if isinstance(each, cst.Name)]
        elif isinstance(up, cst.AugAssign):
            names = [each.value for each in walk(up.target) if isinstance(each, cst.Name)]
        elif isinstance(up, (cst.SimpleStatementLine, cst.BaseCompoundStatement)):
            return
        else:
            continue
        fate.measures.extend(name for name in names if _MEASURES.search(name.lower()) or speaks_of(EVALUATION, name))
        return


def _target_detached(
    tree: Tree, statement: cst.Assign, target: cst.CSTNode, fate: Fate, depth: int
) -> bool:
    if isinstance(target, (cst.Tuple, cst.List)):
        return all(_target_detached(tree, statement, each.value, fate, depth) for each in target.elements)
    if isinstance(target, cst.Subscript):
        target = target.value
    if not isinstance(target, cst.Name):
        return False
    return all(only_detached(tree, each, fate, depth + 1) for each in _uses(tree, statement, target.value))


def _uses(tree: Tree, statement: cst.Assign, name: str) -> Iterator[cst.Name]:
    """Where a name is read after it was assigned, until it is assigned anew."""
    scope = next((up for up in tree.ancestors(statement) if isinstance(up, (cst.FunctionDef, cst.Module))), tree.module)
    begin = tree.offsets(statement)[1]
    for each in below(tree, scope, cst.Name):
        if each.value != name or tree.offsets(each)[0] < begin:
            continue
        anew = _assigned_by(tree, each)
        if anew is not None:
            yield from (use for use in below(tree, anew.value, cst.Name) if use.value == name and _is_read(tree, use))
            return
        if _is_read(tree, each):
            yield each


def _assigned_by(tree: Tree, name: cst.Name) -> cst.Assign | None:
    """The assignment that binds it, alone or in a tuple."""
    at = tree.parent(name)
    while isinstance(at, (cst.Element, cst.StarredElement, cst.Tuple, cst.List)):
        at = tree.parent(at)
    statement = tree.parent(at) if isinstance(at, cst.AssignTarget) else None
    return statement if isinstance(statement, cst.Assign) else None


def _is_read(tree: Tree, name: cst.Name) -> bool:
    parent = tree.parent(name)
    if isinstance(parent, cst.Attribute):
        return parent.value is name
    return not (isinstance(parent, cst.Arg) and parent.keyword is name)


def only_looked_at(tree: Tree, node: cst.CSTNode, depth: int = 0) -> bool:
    """Whether nothing is taken from an expression but what it looks like: it is dropped, printed, asked for its shape."""
    parent = tree.parent(node)
    if isinstance(parent, cst.Expr):
        return True
    if isinstance(parent, cst.Attribute) and parent.value is node:
        return parent.attr.value in _FORM
    if isinstance(parent, cst.Subscript) and parent.value is node:
        return only_looked_at(tree, parent, depth)
    if isinstance(parent, (cst.Arg, cst.FormattedStringExpression)):
        call = tree.parent(parent)
        return not isinstance(call, cst.Call) or tree.code(call.func) in ("print", "len", "type")
    if not isinstance(parent, cst.Assign) or depth > 6:
        return False
    names = [each.value for target in parent.targets for each in walk(target.target) if isinstance(each, cst.Name)]
    return all(only_looked_at(tree, each, depth + 1) for name in names for each in _uses(tree, parent, name))


__all__ = ["Fate", "only_detached", "only_looked_at"]
