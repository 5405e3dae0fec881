"""What the code shows of a frame before its rows are iterated: unique column names, plain dtypes, text columns.

Nothing is guessed: a frame that some other function may have touched is unknown. *Plain* columns are those whose
values come out of a row of objects exactly as out of the column: NumPy dtypes, dates and text, but neither pandas'
nullable dtypes nor objects that may hold None.
"""

from __future__ import annotations

import ast
from dataclasses import dataclass, replace

import libcst as cst

from tricklint.dataframes.scope import binds, is_stored, qualified, scope_of, uses
from tricklint.dataframes.words import PLAIN_READER_ARGUMENTS, READERS, READING_METHODS, SAME_COLUMNS
from tricklint.source.tree import Tree, dotted

_TEXT_DTYPES = ("str", "object", "'str'", '"str"', "'object'", '"object"')


@dataclass(frozen=True)
class Origin:
    """`columns`: all column names, in order, when they are shown; `text`: some column holds text, so that a row is one
    of objects and no number in it is upcast; `all_text`: each column is of object or text dtype."""

    columns: tuple[str, ...] | None = None
    unique: bool = False
    plain: bool = False
    text: bool = False
    all_text: bool = False

    def meet(self, other: Origin) -> Origin:
        """What holds for either of two frames."""
        return Origin(
            self.columns if self.columns == other.columns else None,
            self.unique and other.unique,
            self.plain and other.plain,
            self.text and other.text,
            self.all_text and other.all_text,
        )


UNKNOWN = Origin()


def origin_of(
    tree: Tree, node: cst.BaseExpression, imports: dict[str, str], seen: frozenset[str] = frozenset()
) -> Origin:
    """What the expression `node` shows of its frame."""
    if isinstance(node, cst.Name):
        return _name(tree, node, imports, seen)
    if isinstance(node, cst.Subscript) and len(node.slice) == 1:
        return _subscript(tree, node, imports, seen)
    if isinstance(node, cst.Call):
        return _call(tree, node, imports, seen)
    return UNKNOWN


def _subscript(tree: Tree, node: cst.Subscript, imports: dict[str, str], seen: frozenset[str]) -> Origin:
    piece = node.slice[0].slice
    holder = node.value
    if isinstance(holder, cst.Attribute) and holder.attr.value in ("loc", "iloc"):
        holder = holder.value
        if isinstance(piece, cst.Index) and not isinstance(piece.value, (cst.Comparison, cst.BinaryOperation)):
            return UNKNOWN  # one row: a Series
    base = origin_of(tree, holder, imports, seen)
    if isinstance(piece, cst.Slice):
        return base
    if not isinstance(piece, cst.Index):
        return UNKNOWN
    labels = _strings(piece.value)
    if labels is not None:
        columns = tuple(labels)
        return Origin(
            columns, base.unique and len(set(columns)) == len(columns), base.plain, base.all_text, base.all_text
        )
    if isinstance(piece.value, (cst.Comparison, cst.UnaryOperation, cst.BinaryOperation)) or _is_mask(piece.value):
        return base
    return UNKNOWN


def _is_mask(node: cst.BaseExpression) -> bool:
    return (
        isinstance(node, cst.Call)
        and isinstance(node.func, cst.Attribute)
        and node.func.attr.value in ("isin", "isna", "notna", "isnull", "notnull", "duplicated", "between")
    )


def _strings(node: cst.BaseExpression) -> list[str] | None:
    if not isinstance(node, cst.List) or not node.elements:
        return None
    found = []
    for element in node.elements:
        if not isinstance(element.value, cst.SimpleString):
            return None
        value = ast.literal_eval(element.value.value)
        if not isinstance(value, str):
            return None
        found.append(value)
    return found


def _keywords(call: cst.Call) -> dict[str, cst.BaseExpression] | None:
    """Keyword arguments by name; None when `**kwargs` may hold others."""
    if any(arg.star for arg in call.args):
        return None
    return {arg.keyword.value: arg.value for arg in call.args if arg.keyword is not None}


def _code(node: cst.CSTNode) -> str:
    return cst.Module(body=()).code_for_node(node).strip()


def _call(tree: Tree, node: cst.Call, imports: dict[str, str], seen: frozenset[str]) -> Origin:
    keywords = _keywords(node)
    if keywords is None:
        return UNKNOWN
    name = qualified(node.func, imports)
    if name in READERS:
        dtype = keywords.pop("dtype", None)
        if not set(keywords) <= PLAIN_READER_ARGUMENTS or len(node.args) - len(keywords) > 3:
            return UNKNOWN
        if dtype is None:
            return Origin(unique=True, plain=True)
        if _code(dtype) in _TEXT_DTYPES and "parse_dates" not in keywords:
            return Origin(unique=True, plain=True, text=True, all_text=True)
        return Origin(unique=True)
    if name == "pandas.DataFrame" and len(node.args) - len(keywords) <= 1 and set(keywords) <= {"data", "index"}:
        data = keywords.get("data") or next((arg.value for arg in node.args if arg.keyword is None), None)
        return _literal_frame(data) if isinstance(data, cst.Dict) else UNKNOWN
    if not isinstance(node.func, cst.Attribute) or name:
        return UNKNOWN
    method = node.func.attr.value
    if _code(keywords.get("inplace", cst.Name("False"))) != "False":
        return UNKNOWN
    base = origin_of(tree, node.func.value, imports, seen)
    if method in SAME_COLUMNS:
        if method == "dropna" and "axis" in keywords:
            return replace(base, columns=None, text=base.all_text)
        return base
    if method == "reset_index":
        dropped = "drop" in keywords and _code(keywords["drop"]) == "True"
        return base if dropped else replace(base, columns=None, all_text=False)
    if method == "drop" and ("columns" in keywords or "axis" in keywords):
        return replace(base, columns=None, text=base.all_text)
    if method == "astype" and len(node.args) == 1 and _code(node.args[0].value) in _TEXT_DTYPES:
        return Origin(base.columns, base.unique, base.plain or "str" in _code(node.args[0].value), True, True)
    return UNKNOWN


def _literal_frame(data: cst.Dict) -> Origin:
    columns: list[str] = []
    plain, text = True, False
    for element in data.elements:
        if not isinstance(element, cst.DictElement) or not isinstance(element.key, cst.SimpleString):
            return UNKNOWN
        columns.append(str(ast.literal_eval(element.key.value)))
        try:
            values = ast.literal_eval(_code(element.value))
        except (ValueError, SyntaxError):
            plain = False
            continue
        if not isinstance(values, list) or not values or any(value is None for value in values):
            plain = False
        elif all(isinstance(value, str) for value in values):
            text = True
        elif not all(type(value) in (int, float, bool, str) for value in values):
            plain = False
    unique = len(set(columns)) == len(columns)
    return Origin(tuple(columns), unique, plain, text) if columns and unique else UNKNOWN


def _name(tree: Tree, node: cst.Name, imports: dict[str, str], seen: frozenset[str]) -> Origin:
    """What every assignment to the name shows, when nothing else in its scope can change the frame."""
    if node.value in seen:
        return Origin(None, True, True, True, True)  # `df = df[mask]`: as good as what `df` was
    scope = scope_of(tree, node)
    if isinstance(scope, (cst.Lambda, cst.ClassDef)):
        return UNKNOWN
    region: cst.CSTNode = scope.body if isinstance(scope, cst.FunctionDef) else scope
    if region is not tree.module and not binds(scope, node.value):
        region = tree.module  # a global: every use of it in the file counts
    known: Origin | None = None
    written = False
    for use in uses(tree, region, node.value):
        if is_stored(tree, use):
            target = tree.parent(use)
            assign = tree.parent(target) if target is not None else None
            if (
                not isinstance(target, cst.AssignTarget)
                or not isinstance(assign, cst.Assign)
                or len(assign.targets) > 1
            ):
                return UNKNOWN
            mine = origin_of(tree, assign.value, imports, seen | {node.value})
            known = mine if known is None else known.meet(mine)
        else:
            effect = _effect(tree, use)
            if effect == "unknown":
                return UNKNOWN
            written = written or effect == "written"
    if known is None:
        return UNKNOWN
    # A written column may hold anything, and may have been the one of text; its name is still the only one.
    return Origin(unique=known.unique) if written else known


def _effect(tree: Tree, use: cst.Name) -> str:
    """What a use may do to a frame: "read", "written" (columns set by name), "unknown"."""
    at: cst.CSTNode = use
    up = tree.parent(at)
    if isinstance(up, cst.Subscript) and up.value is at:
        return "written" if is_stored(tree, up) else "read"
    if isinstance(up, cst.Attribute) and up.value is at:
        above = tree.parent(up)
        if is_stored(tree, up):
            return "unknown"  # `df.columns = …`
        if isinstance(above, cst.Call) and above.func is up:
            if any(arg.keyword is not None and arg.keyword.value == "inplace" for arg in above.args):
                return "unknown"
            return "read" if up.attr.value in READING_METHODS else "unknown"
        if isinstance(above, cst.Subscript) and is_stored(tree, above):
            return "written"
        return "read"
    if isinstance(up, cst.Arg):
        call = tree.parent(up)
        if isinstance(call, cst.Call) and dotted(call.func) in ("len", "print", "display", "type", "isinstance", "id"):
            return "read"
        return "unknown"
    if isinstance(up, cst.FormattedStringExpression):
        return "read"
    return "unknown"
