"""What a loop over rows does with each of them: it only collects, it counts or sums, or it does other things."""

from __future__ import annotations

import enum

import libcst as cst

from tricklint.dataframes.loops import RowLoop
from tricklint.dataframes.scope import names_of, variables
from tricklint.source.tree import dotted

_COLLECTING = frozenset("append add extend appendleft update setdefault insert put".split())
# In a longer body a row with named fields reads better than a loop variable for each column.
_LONG = 8


class Body(enum.Enum):
    """`COLLECT`: values go to containers that are the same for each row; `GATHER`: the container itself depends on
    the row (`groups[row["id"]].append(…)`), or much is computed before; `COUNT`, `SUM`, `ASSIGN`: what whole columns
    can do; `OTHER`: the rest."""

    COLLECT = "collect"
    GATHER = "gather"
    COUNT = "count"
    SUM = "sum"
    ASSIGN = "assign"
    OTHER = "other"


def body_of(loop: RowLoop) -> Body:
    """The kind of the loop's body. A comprehension collects by itself."""
    if not isinstance(loop.loop, cst.For):
        return Body.COLLECT
    if loop.loop.orelse is not None or loop.loop.asynchronous is not None:
        return Body.OTHER
    whole = _whole_column(loop)
    if whole is not None:
        return whole
    state = _State(loop)
    if not state.block(loop.loop.body) or not state.collected:
        return Body.OTHER
    return Body.GATHER if state.gathers or state.count > _LONG else Body.COLLECT


class _State:
    """A walk over the statements of one body."""

    def __init__(self, loop: RowLoop) -> None:
        self.loop = loop
        self.row_names = names_of(loop.target) if loop.target is not None else set()
        self.collected = False
        self.gathers = False
        self.count = 0

    def block(self, suite: cst.BaseSuite) -> bool:
        for statement in suite.body:
            if isinstance(statement, cst.If):
                if not self._branches(statement):
                    return False
            elif isinstance(statement, cst.SimpleStatementLine):
                if not all(self._small(small) for small in statement.body):
                    return False
            elif isinstance(statement, cst.BaseSmallStatement):
                if not self._small(statement):
                    return False
            else:
                return False
        return True

    def _branches(self, statement: cst.If) -> bool:
        at: cst.If | cst.Else | None = statement
        while at is not None:
            if not self.block(at.body):
                return False
            at = at.orelse if isinstance(at, cst.If) else None
        return True

    def _small(self, small: cst.BaseSmallStatement) -> bool:
        self.count += 1
        if isinstance(small, (cst.Pass, cst.Continue)):
            return True
        if isinstance(small, cst.Assign):
            return all(self._target(target.target) for target in small.targets)
        if isinstance(small, cst.AnnAssign):
            return small.value is None or self._target(small.target)
        if isinstance(small, cst.AugAssign):
            collects = isinstance(small.operator, cst.AddAssign) and isinstance(
                small.value, (cst.List, cst.Tuple, cst.ListComp)
            )
            return collects and self._into(small.target)
        if isinstance(small, cst.Expr):
            value = small.value
            if isinstance(value, cst.BaseString):
                return True
            if isinstance(value, cst.Yield):
                self.collected = True
                return not isinstance(value.value, cst.From)
            if isinstance(value, cst.Call) and isinstance(value.func, cst.Attribute):
                return value.func.attr.value in _COLLECTING and self._into(value.func.value)
        return False

    def _target(self, target: cst.BaseExpression) -> bool:
        if isinstance(target, cst.Name):
            self.row_names.add(target.value)
            return True
        if isinstance(target, (cst.Tuple, cst.List)):
            self.row_names |= names_of(target)
            return all(isinstance(element.value, cst.Name) for element in target.elements)
        one = (
            isinstance(target, cst.Subscript)
            and len(target.slice) == 1
            and isinstance(target.slice[0].slice, cst.Index)
        )
        return one and isinstance(target, cst.Subscript) and self._into(target.value)

    def _into(self, container: cst.BaseExpression) -> bool:
        self.collected = True
        if variables(container) & self.row_names:
            self.gathers = True
        return True


def _whole_column(loop: RowLoop) -> Body | None:
    """A body of one statement that counts, sums or sets a cell of the frame, perhaps below one `if`."""
    assert isinstance(loop.loop, cst.For)
    statement = _only(loop.loop.body)
    below_if = isinstance(statement, cst.If)
    if isinstance(statement, cst.If):
        if statement.orelse is not None:
            return None
        statement = _only(statement.body)
    if not isinstance(statement, cst.SimpleStatementLine) or len(statement.body) != 1:
        return None
    small = statement.body[0]
    if isinstance(small, cst.AugAssign) and isinstance(small.target, cst.Name):
        if not isinstance(small.operator, (cst.AddAssign, cst.SubtractAssign)):
            return None
        if below_if and isinstance(small.value, cst.Integer):
            return Body.COUNT
        return Body.SUM if _is_arithmetic(loop, small.value) else None
    if isinstance(small, cst.Assign) and len(small.targets) == 1 and loop.frame_stores:
        target = small.targets[0].target
        if isinstance(target, cst.Subscript) and _is_arithmetic(loop, small.value):
            return Body.ASSIGN
    return None


def _only(suite: cst.BaseSuite) -> cst.CSTNode | None:
    if isinstance(suite, cst.IndentedBlock) and len(suite.body) == 1:
        return suite.body[0]
    return None


def _is_arithmetic(loop: RowLoop, node: cst.BaseExpression) -> bool:
    """Whether an expression is arithmetic on columns and numbers, so that whole columns can compute it."""
    reads = {id(read.node) for read in loop.reads}
    found = False
    stack: list[cst.BaseExpression] = [node]
    while stack:
        at = stack.pop()
        if id(at) in reads:
            found = True
        elif isinstance(at, cst.BinaryOperation):
            stack += [at.left, at.right]
        elif isinstance(at, cst.UnaryOperation):
            stack.append(at.expression)
        elif isinstance(at, cst.Comparison):
            stack += [at.left, *(each.comparator for each in at.comparisons)]
        elif isinstance(at, cst.Call) and dotted(at.func) in ("abs", "float", "int", "round"):
            stack += [arg.value for arg in at.args]
        elif not isinstance(at, (cst.Integer, cst.Float, cst.Name)):
            return False
    return found
