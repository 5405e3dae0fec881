"""Which reads of a row give the same value, of the same type, when they are taken from the column instead.

`iterrows()` makes one Series of each row. When all columns are numbers, ints beside floats come out as np.float64 and
every value is a NumPy scalar; when one column holds text the row is one of objects, and a number comes out as the
Python number that the column gives. pandas 3 also turns None into nan in a row of nothing but text. So a read is
*exact* when one of these is certain:

* its own use raises for anything but text (`os.path.join(root, row["file"])`, `row["name"].split()`);
* only a comparison with a literal is made of it, as a condition (but see `meets_missing`);
* the row is known to hold text where the read happens, the column is plain and the only one of its name, and no value
  becomes a key: whether two NaN are one key depends on which objects they are.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator

import libcst as cst

from tricklint.dataframes.keys import repeated_keys
from tricklint.dataframes.loops import Read, RowLoop
from tricklint.dataframes.scope import Comprehension, qualified
from tricklint.dataframes.words import TEXT_CALLS, TEXT_METHODS
from tricklint.source.tree import Tree, children, walk

_COMPREHENSIONS = (cst.ListComp, cst.SetComp, cst.DictComp, cst.GeneratorExp)
# Ints that every NumPy number type of 16 bits and more holds exactly.
_SMALL = 2048


def inexact_reads(loop: RowLoop) -> list[Read]:
    """The reads whose values might differ, in value or in type, when taken from their columns."""
    plain = loop.origin.plain and loop.origin.unique and not makes_keys(loop)
    whole = plain and (loop.origin.text or _text_before_all(loop))
    found = []
    for read in loop.reads:
        if demands_text(loop, read.node, alone=True) or _is_condition(loop.tree, read.node):
            continue
        if whole or (plain and _guarded(loop, read.node)):
            continue
        found.append(read)
    return found


# Nullable columns have to be asked for, or come with a file that says so
_NULLABLE = re.compile(
    r"convert_dtypes|dtype_backend|\bNA\b|Dtype\(|[\"'](?:U?Int\d+|Float\d+|boolean|string)\b|pyarrow|polars|"
    r"\bread_(?:parquet|feather|orc|gbq|sql)"
)


def has_condition(loop: RowLoop) -> bool:
    """Whether a value of a row is only asked whether it equals a literal, somewhere in the loop."""
    return any(_is_condition(loop.tree, read.node) for read in loop.reads)


def meets_missing(loop: RowLoop) -> bool:
    """Whether a condition may meet the missing value of a nullable column: beside text columns it is nan in pandas 3's
    rows, which equals nothing, and NA in the column, which is an error. Only where the file speaks of such columns."""
    return has_condition(loop) and not loop.origin.plain and _NULLABLE.search(loop.tree.text) is not None


def repeatable_columns(loop: RowLoop) -> list[str | int]:
    """Columns that might stand twice in the frame: nothing shows their names to be unique, and not every read of them
    would raise for the two values it would then get."""
    if loop.origin.unique:
        return []
    return [
        column
        for column in loop.columns
        if not all(
            demands_text(loop, read.node, alone=True) or _is_condition(loop.tree, read.node)
            for read in loop.reads
            if read.column == column
        )
    ]


def makes_keys(loop: RowLoop) -> bool:
    """Whether the loop puts anything but literals into sets or uses it as a key."""
    if isinstance(loop.owner, (cst.SetComp, cst.DictComp)):
        return True
    for node in (each for region in loop.regions for each in walk(region)):
        if isinstance(node, (cst.SetComp, cst.DictComp, cst.Set, cst.Dict)):
            literal = isinstance(node, (cst.Set, cst.Dict)) and all(
                isinstance(getattr(each, "key", each.value), (cst.SimpleString, cst.Integer)) for each in node.elements
            )
            if not literal:
                return True
        elif isinstance(node, cst.Subscript) and not any(read.node is node for read in loop.reads):
            if any(
                isinstance(each.slice, cst.Index) and not isinstance(each.slice.value, (cst.SimpleString, cst.Integer))
                for each in node.slice
            ):
                return True
        elif (
            isinstance(node, cst.Attribute) and node.attr.value in ("add", "setdefault", "update", "get", "pop")
        ) or isinstance(node, (cst.In, cst.NotIn)):
            return True
    return False


def splits_keys(loop: RowLoop) -> bool:
    """Whether one NaN may be several keys of a row's turn, and is one key after the fix. Not in a row of objects, which a
    row with text in it is."""
    return repeated_keys(loop) and not loop.origin.text and not _text_before_all(loop)


def demands_text(loop: RowLoop, node: cst.BaseExpression, alone: bool) -> bool:
    """Whether what is done with a value raises unless it is text. With `alone`, also for a Series, which is what a
    repeated column name would give."""
    tree = loop.tree
    up = tree.parent(node)
    if isinstance(up, cst.Attribute) and up.value is node:
        above = tree.parent(up)
        return up.attr.value in TEXT_METHODS and isinstance(above, cst.Call) and above.func is up
    if isinstance(up, cst.Arg) and up.keyword is None and not up.star:
        call = tree.parent(up)
        return isinstance(call, cst.Call) and qualified(call.func, loop.imports) in TEXT_CALLS
    if isinstance(up, cst.BinaryOperation) and isinstance(up.operator, cst.Add):
        other = up.right if up.left is node else up.left
        if _is_text(other):
            return not alone or demands_text(loop, up, alone)
    return False


def _is_text(node: cst.BaseExpression) -> bool:
    if isinstance(node, cst.FormattedString):
        return True
    return isinstance(node, cst.SimpleString) and isinstance(ast.literal_eval(node.value), str)


def _is_condition(tree: Tree, node: cst.BaseExpression) -> bool:
    """`node` is only compared with a literal that NumPy and Python compare alike, and the result only tested."""
    up = tree.parent(node)
    if isinstance(up, cst.ComparisonTarget):
        up = tree.parent(up)
    if not isinstance(up, cst.Comparison) or len(up.comparisons) != 1:
        return False
    operator, right = up.comparisons[0].operator, up.comparisons[0].comparator
    other = right if up.left is node else up.left
    if isinstance(operator, (cst.Equal, cst.NotEqual)):
        return _is_exact_literal(other) and _is_tested(tree, up)
    if isinstance(operator, (cst.In, cst.NotIn)) and up.left is node:
        return (
            isinstance(other, (cst.Tuple, cst.List))
            and all(_is_exact_literal(element.value) for element in other.elements)
            and _is_tested(tree, up)
        )
    return False


def _is_exact_literal(node: cst.BaseExpression) -> bool:
    if isinstance(node, cst.SimpleString):
        return _is_text(node)
    if isinstance(node, cst.UnaryOperation) and isinstance(node.operator, cst.Minus):
        node = node.expression
    return isinstance(node, cst.Integer) and node.evaluated_value <= _SMALL


def _is_tested(tree: Tree, node: cst.BaseExpression) -> bool:
    """Whether only the truth of an expression matters."""
    at: cst.CSTNode = node
    up = tree.parent(at)
    while isinstance(up, cst.BooleanOperation) or (
        isinstance(up, cst.UnaryOperation) and isinstance(up.operator, cst.Not)
    ):
        at, up = up, tree.parent(up)
    if isinstance(up, (cst.If, cst.IfExp, cst.CompIf, cst.While)):
        return up.test is at
    return False


# -- where a row is known to hold text -------------------------------------------------------------------------------


def _text_before_all(loop: RowLoop) -> bool:
    """Whether each turn of the loop begins with something that raises unless a column of the row is text.

    Inside `try` nothing follows from that: what was done with earlier values would outlive the error.
    """
    if any(isinstance(up, (cst.Try, cst.TryStar, cst.With)) for up in loop.tree.ancestors(loop.owner)):
        return False
    reads = {id(read.node) for read in loop.reads}
    for expression in _always(loop):
        for node in _evaluated(expression):
            if id(node) in reads and isinstance(node, cst.BaseExpression) and demands_text(loop, node, alone=False):
                return True
    return False


def _always(loop: RowLoop) -> Iterator[cst.CSTNode]:
    """Expressions evaluated in every turn of the loop."""
    if isinstance(loop.loop, cst.CompFor):
        owner = loop.owner
        if loop.loop.ifs:
            yield loop.loop.ifs[0].test
        elif loop.loop.inner_for_in is None and isinstance(owner, _COMPREHENSIONS):
            yield from elements(owner)
        return
    for statement in loop.loop.body.body:
        if isinstance(statement, cst.If):
            yield statement.test
            return
        if not isinstance(statement, cst.SimpleStatementLine):
            return
        for small in statement.body:
            if isinstance(small, (cst.Continue, cst.Break, cst.Return)):
                return
            yield small


def elements(owner: cst.CSTNode) -> list[cst.BaseExpression]:
    """What a comprehension yields: its element, or its key and value."""
    if isinstance(owner, cst.DictComp):
        return [owner.key, owner.value]
    return [owner.elt] if isinstance(owner, (cst.ListComp, cst.SetComp, cst.GeneratorExp)) else []


def _evaluated(node: cst.CSTNode) -> Iterator[cst.CSTNode]:
    """`node` and what is below it, but for parts that may not be evaluated."""
    yield node
    if isinstance(node, cst.BooleanOperation):
        yield from _evaluated(node.left)
    elif isinstance(node, cst.IfExp):
        yield from _evaluated(node.test)
    elif isinstance(node, (cst.Lambda, *_COMPREHENSIONS)):
        return
    elif isinstance(node, cst.Comparison):
        yield from _evaluated(node.left)
        if node.comparisons:
            yield from _evaluated(node.comparisons[0].comparator)
    else:
        for child in children(node):
            yield from _evaluated(child)


def _guarded(loop: RowLoop, node: cst.BaseExpression) -> bool:
    """Whether `node` is only reached when a column of the same row equals a text literal."""
    tree = loop.tree
    at: cst.CSTNode = node
    for up in tree.ancestors(node):
        if up is loop.loop:
            break
        if isinstance(up, (cst.If, cst.IfExp)) and up.body is at and _demands_match(loop, up.test):
            return True
        if isinstance(up, _COMPREHENSIONS) and up is loop.owner:
            break
        at = up
    if isinstance(loop.loop, cst.CompFor):
        inside_condition = any(isinstance(up, cst.CompIf) for up in tree.ancestors(node))
        return not inside_condition and any(_demands_match(loop, each.test) for each in loop.loop.ifs)
    return False


def _demands_match(loop: RowLoop, test: cst.BaseExpression) -> bool:
    if isinstance(test, cst.BooleanOperation):
        return isinstance(test.operator, cst.And) and (
            _demands_match(loop, test.left) or _demands_match(loop, test.right)
        )
    if not isinstance(test, cst.Comparison) or len(test.comparisons) != 1:
        return False
    operator, right = test.comparisons[0].operator, test.comparisons[0].comparator
    reads = {id(read.node) for read in loop.reads}
    if id(test.left) not in reads:
        return isinstance(operator, cst.Equal) and id(right) in reads and _is_text(test.left)
    if isinstance(operator, cst.Equal):
        return _is_text(right)
    if isinstance(operator, cst.In) and isinstance(right, (cst.Tuple, cst.List, cst.Set)):
        return bool(right.elements) and all(_is_text(element.value) for element in right.elements)
    return False


__all__ = [
    "Comprehension",
    "demands_text",
    "elements",
    "has_condition",
    "inexact_reads",
    "makes_keys",
    "meets_missing",
    "repeatable_columns",
    "splits_keys",
]
