"""Rewrites of loops over `iterrows()`: columns, `itertuples`, and counts over a whole column.

Each function returns the edits of one rewrite, or None where the code cannot be rewritten whole. They know nothing of
whether the rewrite gives the same values: that is `dataframes.values`' business.
"""

from __future__ import annotations

import builtins
import keyword
import re
from collections.abc import Mapping

import libcst as cst

from tricklint.dataframes.loops import Read, RowLoop
from tricklint.dataframes.scope import names_of, scope_of, uses, variables
from tricklint.dataframes.values import elements
from tricklint.finding import Edit, FixLevel
from tricklint.fix import build
from tricklint.fix.build import Edits

# Names that a named tuple has already: a column called so cannot be read as its attribute.
_TUPLE_NAMES = frozenset(("count", "index", "Index"))
_WIDTH = 120
_TAKEN = frozenset(dir(builtins)) | frozenset(keyword.kwlist) | frozenset(keyword.softkwlist)


def fits_itertuples(labels: list[str]) -> bool:
    """Whether all columns can be read as attributes of a named tuple."""
    return all(
        label.isidentifier()
        and not keyword.iskeyword(label)
        and not label.startswith("_")
        and label not in _TUPLE_NAMES
        for label in labels
    )


def column_names(loop: RowLoop) -> list[str] | None:
    """The labels of the columns read; None when a position has no label that the code shows."""
    shown = loop.origin.columns
    found: list[str] = []
    for column in loop.columns:
        if isinstance(column, int):
            if shown is None or not -len(shown) <= column < len(shown):
                return None
            column = shown[column]
        if column not in found:
            found.append(column)
    return found


def label_of(loop: RowLoop, read: Read) -> str:
    """The label of the column that a read takes. Only for loops whose `column_names` are known."""
    if isinstance(read.column, int):
        assert loop.origin.columns is not None
        return loop.origin.columns[read.column]
    return read.column


# -- the parts of a loop ---------------------------------------------------------------------------------------------


def is_simple(node: cst.BaseExpression) -> bool:
    """Whether an expression may be written twice: a name, an attribute chain, an item by a literal or a name."""
    if isinstance(node, cst.Name):
        return True
    if isinstance(node, cst.Attribute):
        return is_simple(node.value)
    if isinstance(node, cst.Subscript) and len(node.slice) == 1 and isinstance(node.slice[0].slice, cst.Index):
        piece = node.slice[0].slice.value
        return isinstance(piece, (cst.SimpleString, cst.Integer, cst.Name)) and is_simple(node.value)
    return False


def _frame_code(loop: RowLoop) -> str:
    return loop.tree.text[slice(*build.whole_offsets(loop.tree, loop.frame))]


def _base(loop: RowLoop) -> cst.BaseExpression | None:
    """The simple frame whose columns the loop takes: the iterated one, or that of which `df[["a", "b"]]` is a part."""
    frame = loop.frame
    if is_simple(frame):
        return frame
    if isinstance(frame, cst.Subscript) and loop.origin.columns is not None and is_simple(frame.value):
        piece = frame.slice[0].slice
        if isinstance(piece, cst.Index) and isinstance(piece.value, cst.List):
            return frame.value
    return None


def _quoted(loop: RowLoop, label: str) -> str:
    """The label as the author quotes it."""
    tree = loop.tree
    for read in loop.reads:
        if read.column == label and isinstance(read.node, cst.Subscript):
            piece = read.node.slice[0].slice
            if isinstance(piece, cst.Index) and isinstance(piece.value, cst.SimpleString):
                return tree.code(piece.value)
    quote = '"' if '"' not in label else "'"
    if quote in label or "\\" in label or not label.isprintable():
        return repr(label)
    return f"{quote}{label}{quote}"


def _in_fstring(loop: RowLoop) -> bool:
    return any(isinstance(up, cst.FormattedString) for up in loop.tree.ancestors(loop.call))


def _target_edit(loop: RowLoop, names: list[str]) -> Edit:
    """The loop's target with `names` in the place of (index, row)."""
    tree = loop.tree
    assert loop.target is not None
    start, end = build.whole_offsets(tree, loop.target)
    code = ", ".join(names)
    if len(names) > 1 and loop.target is not loop.loop.target:
        code = f"({code})"
    # `for(i, row)in df.iterrows()` has no blanks to lose
    code = (" " if tree.text[start - 1].isalnum() else "") + code + (" " if tree.text[end].isalnum() else "")
    return build.edit_at(tree, start, end, code)


def _index_code(loop: RowLoop) -> str | None:
    """The target of the index label as it stands; for a pair (`pair[0]`) a new name."""
    if loop.index is not None:
        return loop.tree.text[slice(*build.whole_offsets(loop.tree, loop.index))]
    return None


class _Names:
    """New loop variables that collide with nothing their scope knows."""

    def __init__(self, loop: RowLoop) -> None:
        self.nested = loop.nested
        self.prefix = loop.row or loop.pair or "row"
        if not self.prefix.isidentifier() or self.prefix == "_":
            self.prefix = "row"
        region = loop.owner if loop.is_comprehension else scope_of(loop.tree, loop.owner)
        taken = variables(region)
        if not loop.is_comprehension:
            taken |= variables(loop.tree.module)
        # The row's own name goes, unless something beside the loop uses it.
        gone = names_of(loop.target) if loop.target is not None else set()
        if loop.is_comprehension:
            taken -= {name for name in gone if not any(True for _ in self._left(loop, name))}
        self.taken = taken | _TAKEN

    @staticmethod
    def _left(loop: RowLoop, name: str) -> list[cst.Name]:
        used = {id(use) for region in loop.regions for use in uses(loop.tree, region, name)}
        index = {id(each) for each in loop.index_uses}
        reads = {id(inner) for read in loop.reads for inner in uses(loop.tree, read.node, name)}
        return [use for region in loop.regions for use in uses(loop.tree, region, name) if id(use) in used - reads - index]

    def make(self, label: str) -> str:
        plain = re.sub(r"\W+", "_", re.sub(r"(?<=[a-z])(?=[A-Z])", "_", label)).strip("_").lower()
        if not plain.isidentifier():
            plain = f"{self.prefix}_{plain}" if plain else self.prefix
        candidates = [plain, f"{self.prefix}_{plain}"]
        if self.nested:  # the other loop is rewritten at the same time, and may read a column of that name too
            candidates.pop(0)
        number = 2
        while candidates[0] in self.taken or not candidates[0].isascii():
            candidates.pop(0)
            if not candidates:
                candidates.append(f"{self.prefix}_{plain if plain.isascii() else 'value'}_{number}")
                number += 1
        self.taken = self.taken | {candidates[0]}
        return candidates[0]


# -- columns ---------------------------------------------------------------------------------------------------------


def to_columns(loop: RowLoop) -> Edits | None:
    """Iterate the columns that are read, or take the list of one of them."""
    labels = column_names(loop)
    if labels is None or _in_fstring(loop) or loop.target is None:
        return None
    if not labels:
        return _to_index(loop)
    whole = _whole_comprehension(loop, labels) or _whole_statement(loop, labels)
    if whole is not None:
        return whole
    new = _Names(loop)
    names, removed = _named_by_author(loop, labels)
    variables_of = {label: names.get(label) or new.make(label) for label in labels}
    targets = [variables_of[label] for label in labels]
    index = _index_of(loop, new)
    if loop.index_used and index is None:
        return None
    source = _columns_code(loop, labels)
    if source is None:
        return None
    if loop.index_used and index is not None:
        targets = [index, *targets]
    edits = [_target_edit(loop, targets), build.edit_at(loop.tree, *loop.tree.offsets(loop.call), source), *removed]
    dropped = [(edit.location, edit.end_location) for edit in removed]
    for read in loop.reads:
        at, end = loop.tree.span(read.node)
        if not any(low <= at and end <= high for low, high in dropped):
            edits.append(_read_edit(loop, read, variables_of[label_of(loop, read)]))
    edits += _index_edits(loop, index)
    return tuple(edits)


def _read_edit(loop: RowLoop, read: Read, code: str) -> Edit:
    return build.edit_at(loop.tree, *loop.tree.offsets(read.node), code)


def _index_of(loop: RowLoop, new: _Names) -> str | None:
    if not loop.index_used:
        return None
    return _index_code(loop) or new.make("index")


def _index_edits(loop: RowLoop, index: str | None) -> list[Edit]:
    """`pair[0]` becomes the index' new name; the uses of a name stay."""
    if index is None or loop.index is not None:
        return []
    return [build.edit_at(loop.tree, *loop.tree.offsets(use), index) for use in loop.index_uses]


def _columns_code(loop: RowLoop, labels: list[str]) -> str | None:
    """What yields the values of `labels` (with the index label first when the loop uses it)."""
    base = _base(loop)
    if base is not None:
        code = loop.tree.text[slice(*build.whole_offsets(loop.tree, base))]
        lists = [f"{code}[{_quoted(loop, label)}].tolist()" for label in labels]
        if loop.index_used:
            lists.insert(0, f"{code}.index")
        return lists[0] if len(lists) == 1 else _zipped(loop, lists)
    code = _frame_code(loop)
    if len(labels) == 1:
        return f"{code}[{_quoted(loop, labels[0])}]" + (".items()" if loop.index_used else ".tolist()")
    some = ", ".join(_quoted(loop, label) for label in labels)
    return f"{code}[[{some}]].itertuples({'' if loop.index_used else 'index=False, '}name=None)"


def _zipped(loop: RowLoop, lists: list[str]) -> str:
    """`zip(…)` of the lists, one a line where one line would be too long."""
    code = f"zip({', '.join(lists)})"
    row = loop.tree.span(loop.call)[0].row
    line = loop.tree.line(row).split("  #")[0].rstrip()
    if len(line) - len(loop.tree.code(loop.call)) + len(code) <= _WIDTH:
        return code
    indent = line[: len(line) - len(line.lstrip())]
    newline, step = build.newline_of(loop.tree), build.step_at(loop.tree, loop.call, indent)
    return f"zip({newline}" + "".join(f"{indent}{step}{each},{newline}" for each in lists) + f"{indent})"


def _to_index(loop: RowLoop) -> Edits | None:
    """The row is not used at all: iterate the index."""
    if loop.target is None:
        return None
    tree = loop.tree
    index = _index_code(loop)
    names = [index] if index is not None else [_Names(loop).make("index")]
    edits = [_target_edit(loop, names), build.edit_at(tree, *tree.offsets(loop.call), f"{_frame_code(loop)}.index")]
    return (*edits, *_index_edits(loop, names[0]))


def _whole_comprehension(loop: RowLoop, labels: list[str]) -> Edits | None:
    """`[row["id"] for _, row in df.iterrows()]` is `df["id"].tolist()`; a dict of two columns is a zip of them."""
    owner = loop.owner
    if loop.passed or loop.index_used or not isinstance(owner, (cst.ListComp, cst.SetComp, cst.DictComp)):
        return None
    parts = elements(owner)
    reads = {id(read.node): label_of(loop, read) for read in loop.reads}
    simple = owner.for_in is loop.loop and not loop.loop.ifs and loop.loop.inner_for_in is None
    if not simple or [id(part) for part in parts] != [id(read.node) for read in loop.reads]:
        return None
    if "#" in loop.tree.code(owner):
        return None  # a comment stands inside
    code = _columns_code(loop, [reads[id(part)] for part in parts])
    if code is None or (isinstance(owner, cst.DictComp) and len(labels) != 2):
        return None
    head = {cst.SetComp: "set(", cst.DictComp: "dict("}.get(type(owner), "")
    return (build.edit_at(loop.tree, *loop.tree.offsets(owner), f"{head}{code}{')' if head else ''}"),)


def _whole_statement(loop: RowLoop, labels: list[str]) -> Edits | None:
    """`for …: ids.append(row["id"])` is `ids.extend(df["id"].tolist())`, where `ids` is seen to be a list."""
    statement = loop.loop
    if not isinstance(statement, cst.For) or loop.passed or loop.index_used or len(labels) != 1:
        return None
    if not isinstance(statement.body, cst.IndentedBlock) or len(statement.body.body) != 1 or statement.orelse:
        return None
    line = statement.body.body[0]
    if not isinstance(line, cst.SimpleStatementLine) or len(line.body) != 1 or not isinstance(line.body[0], cst.Expr):
        return None
    call = line.body[0].value
    if not isinstance(call, cst.Call) or not isinstance(call.func, cst.Attribute) or call.func.attr.value != "append":
        return None
    if len(call.args) != 1 or call.args[0].value is not loop.reads[0].node or len(loop.reads) != 1:
        return None
    holder = call.func.value
    tree = loop.tree
    code = _columns_code(loop, labels)
    if code is None or not isinstance(holder, cst.Name) or not _is_list(loop, holder):
        return None
    return _in_place_of(loop, statement, tree.offsets(call)[1], f"{holder.value}.extend({code})")


def _in_place_of(loop: RowLoop, statement: cst.For, end: int, code: str) -> Edits | None:
    """One line of code for a whole loop, which ends at offset `end`. A comment behind the loop's colon moves along;
    other comments would be lost, so that they forbid it."""
    tree = loop.tree
    start = tree.offsets(statement)[0]
    header = statement.body.header if isinstance(statement.body, cst.IndentedBlock) else None
    comment = header.comment.value if header is not None and header.comment is not None else ""
    if tree.text[start : build.line_end(tree.text, end)].count("#") != comment.count("#"):
        return None
    return (build.edit_at(tree, start, end, code + (f"  {comment}" if comment else "")),)


def _is_list(loop: RowLoop, holder: cst.Name) -> bool:
    """Whether the only values that the scope gives to a name are lists written out."""
    from tricklint.dataframes.scope import is_stored

    scope = scope_of(loop.tree, loop.owner)
    region = scope.body if isinstance(scope, (cst.FunctionDef, cst.Lambda)) else scope
    stores = [use for use in uses(loop.tree, region, holder.value) if is_stored(loop.tree, use)]
    for use in stores:
        target = loop.tree.parent(use)
        assign = loop.tree.parent(target) if target is not None else None
        if not isinstance(assign, cst.Assign):
            return False
        value = assign.value
        empty = isinstance(value, cst.Call) and isinstance(value.func, cst.Name) and value.func.value == "list"
        if not isinstance(value, (cst.List, cst.ListComp)) and not empty:
            return False
    return bool(stores)


def _named_by_author(loop: RowLoop, labels: list[str]) -> tuple[Mapping[str, str], list[Edit]]:
    """Names that the body's first statements give to columns (`label = row["label"]`): they become the loop's own, and
    the statements go. Also returns the edits that remove them."""
    statement = loop.loop
    if not isinstance(statement, cst.For) or not isinstance(statement.body, cst.IndentedBlock):
        return {}, []
    by_node = {id(read.node): label_of(loop, read) for read in loop.reads}
    names: dict[str, str] = {}
    edits: list[Edit] = []
    lines = list(statement.body.body)
    for line in lines[:-1]:
        if not isinstance(line, cst.SimpleStatementLine) or len(line.body) != 1:
            break
        small = line.body[0]
        if not isinstance(small, cst.Assign) or len(small.targets) != 1 or id(small.value) not in by_node:
            break
        target, label = small.targets[0].target, by_node[id(small.value)]
        if not isinstance(target, cst.Name) or label in names or target.value in names.values():
            break
        if not _only_there(loop, target) or target.value in names_of(statement.target):
            break
        removal = build.remove_statement(loop.tree, line) if not line.leading_lines else None
        if removal is None:
            break
        names[label] = target.value
        edits += removal
    return names, edits


def _only_there(loop: RowLoop, target: cst.Name) -> bool:
    """Whether the loop binds the name in this place only, and the iterated expression does not use it."""
    from tricklint.dataframes.scope import is_stored

    assert isinstance(loop.loop, cst.For)
    stored = [use for use in uses(loop.tree, loop.loop.body, target.value) if is_stored(loop.tree, use)]
    return len(stored) == 1 and not any(True for _ in uses(loop.tree, loop.loop.iter, target.value))


# -- named tuples ----------------------------------------------------------------------------------------------------


def to_itertuples(loop: RowLoop) -> Edits | None:
    """Iterate named tuples, and read columns as their attributes."""
    labels = column_names(loop)
    if not labels or not fits_itertuples(labels) or _in_fstring(loop) or loop.target is None:
        return None
    tree = loop.tree
    row = loop.row or loop.pair
    assert row is not None
    frame = _frame_code(loop)
    edits: list[Edit] = []
    if not loop.index_used:
        source, names = f"{frame}.itertuples(index=False)", [row]
    elif loop.index is not None and is_simple(loop.frame):
        # zip keeps the author's name for the label, also where the body assigns it
        source, names = f"zip({frame}.index, {frame}.itertuples(index=False))", [_index_code(loop) or "_", row]
    elif loop.index is None or isinstance(loop.index, cst.Name):
        from tricklint.dataframes.scope import is_stored

        if any(is_stored(tree, use) for use in loop.index_uses):
            return None
        source, names = f"{frame}.itertuples()", [row]
        edits += [build.edit_at(tree, *tree.offsets(use), f"{row}.Index") for use in loop.index_uses]
    else:
        return None
    edits += [_target_edit(loop, names), build.edit_at(tree, *tree.offsets(loop.call), source)]
    edits += [_read_edit(loop, read, f"{row}.{label_of(loop, read)}") for read in loop.reads]
    return tuple(edits)


# -- whole columns ---------------------------------------------------------------------------------------------------

_OPERATORS = {cst.Equal: "==", cst.NotEqual: "!=", cst.LessThan: "<", cst.LessThanEqual: "<=", cst.GreaterThan: ">"}
_OPERATORS[cst.GreaterThanEqual] = ">="


def count_level(loop: RowLoop) -> FixLevel:
    """How far a count over the whole column may be trusted: whether values are equal is asked of a column as of each of
    its values, an order is not defined for all of them."""
    comparison = loop.tree.parent(loop.reads[0].node)
    operator = comparison.comparisons[0].operator if isinstance(comparison, cst.Comparison) else None
    return FixLevel.RECIPE if isinstance(operator, (cst.Equal, cst.NotEqual)) else FixLevel.UNSAFE


def to_count(loop: RowLoop) -> Edits | None:
    """`for …: if row["y"] == 1: n += 1` is `n += int((df["y"] == 1).sum())`, for one comparison with a number."""
    statement = loop.loop
    if not isinstance(statement, cst.For) or loop.passed or loop.index_used or not is_simple(loop.frame):
        return None
    branch = statement.body.body[0]
    if not isinstance(branch, cst.If) or len(loop.reads) != 1:
        return None
    line = branch.body.body[0]
    small = line.body[0] if isinstance(line, cst.SimpleStatementLine) else None
    test = branch.test
    if (
        not isinstance(small, cst.AugAssign)
        or not isinstance(test, cst.Comparison)
        or test.left is not loop.reads[0].node
    ):
        return None
    operator, other = test.comparisons[0].operator, test.comparisons[0].comparator
    if (
        len(test.comparisons) != 1
        or type(operator) not in _OPERATORS
        or not isinstance(other, (cst.Integer, cst.Float))
    ):
        return None
    tree = loop.tree
    column = f"{_frame_code(loop)}[{_quoted(loop, label_of(loop, loop.reads[0]))}]"
    count = f"int(({column} {_OPERATORS[type(operator)]} {tree.code(other)}).sum())"
    step = tree.code(small.value)
    sign = "-" if isinstance(small.operator, cst.SubtractAssign) else "+"
    amount = count if step == "1" else f"{step} * {count}"
    return _in_place_of(loop, statement, tree.offsets(small)[1], f"{tree.code(small.target)} {sign}= {amount}")
