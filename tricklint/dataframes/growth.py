"""Frames that grow inside a loop: `df = pd.concat([df, …])`, `df = df.append(…)`, `df.loc[len(df)] = …`.

Each step copies all rows so far (`concat`, `append`) or rebuilds the index (`loc`), so the time grows with the
square of the number of rows. A list's own `append`, and a concat of a list after the loop, are no growth.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass

import libcst as cst

from tricklint.dataframes.scope import binds, imports_of, qualified, scope_of, uses
from tricklint.dataframes.words import FRAME_MAKERS, FRAME_METHODS
from tricklint.source.tree import Tree, dotted, walk

Loop = cst.For | cst.While
# An assignment of what `concat` or `append` gives, or to a row
_GROWS = re.compile(
    r"(?:=|\belse\b)[\s(\\]*[\w.]*\bconcat\s*\(|=[\s(\\]*[\w.]+\s*\.\s*_?append\s*\(|\.\s*(?:loc|at)\s*\[(?:.*\]\s*=(?!=)|\s*$)",
    re.MULTILINE,
)
_PANDAS = re.compile(r"^[ \t]*(?:import|from)[ \t]+(?:pandas|modin|geopandas|cudf)\b|,[ \t]*pandas\b", re.MULTILINE)
_FRAMES = ("pandas", "modin", "cudf")  # looked for first: a search for a word costs a small part of one for a pattern


@dataclass(frozen=True)
class FrameGrowth:
    """`target`: the expression that grows (`df`, `self.log`). `kind`: "concat", "append" or "loc". `node`: where it
    grows, `statement`: the assignment. `pieces`: what is added, where it is written in the call. `start`: the statement
    before the loop that makes the frame, when there is one."""

    tree: Tree
    target: str
    kind: str
    node: cst.BaseExpression
    statement: cst.Assign
    loop: Loop
    pieces: tuple[cst.BaseExpression, ...] = ()
    options: tuple[cst.Arg, ...] = ()
    start: cst.Assign | None = None


def may_grow(text: str) -> bool:
    """Whether a file is worth a look: it imports pandas, and holds something that adds rows."""
    lines = text.replace("\r", "\n") if "\r" in text else text  # `^` stands behind a line feed alone
    return any(word in text for word in _FRAMES) and bool(_PANDAS.search(lines) and _GROWS.search(lines))


def frame_growths(tree: Tree) -> list[FrameGrowth]:
    """Every place where a frame grows in a loop, in source order."""
    if not may_grow(tree.text):
        return []
    imports = imports_of(tree)
    if not any(name.split(".")[0] in ("pandas", "modin", "geopandas", "cudf") for name in imports.values()):
        return []
    found = []
    for node in walk(tree.module):
        if isinstance(node, cst.Assign) and len(node.targets) == 1:
            growth = _growth(tree, node, imports)
            if growth is not None:
                found.append(growth)
    return found


def _growth(tree: Tree, node: cst.Assign, imports: dict[str, str]) -> FrameGrowth | None:
    target, value = node.targets[0].target, node.value
    path = dotted(target) or _item_of(tree, target)
    if path and isinstance(value, cst.IfExp):  # `df = new if df is None else pd.concat([df, new])`
        value = next((part for part in (value.body, value.orelse) if isinstance(part, cst.Call)), value)
    if path and isinstance(value, cst.Call):
        call = _inner_call(value)
        if qualified(call.func, imports).endswith("pandas.concat") or qualified(call.func, imports) == "cudf.concat":
            return _concat(tree, node, path, call, imports)
        if isinstance(call.func, cst.Attribute) and call.func.attr.value in ("append", "_append"):
            if dotted(call.func.value) == path and call.args and _adds_a_row(tree, node, call, path, imports):
                return _in_loop(tree, node, path, "append", call, imports)
    if isinstance(target, cst.Subscript) and isinstance(target.value, cst.Attribute):
        frame = dotted(target.value.value)
        if frame and target.value.attr.value in ("loc", "at") and _is_new_row(tree, node, frame, target, imports):
            return _in_loop(tree, node, frame, "loc", target, imports)
    return None


def _item_of(tree: Tree, target: cst.BaseExpression) -> str:
    """`tables[split]` and `self.tables["train"]` as they are written; "" for anything else."""
    if not isinstance(target, cst.Subscript) or not dotted(target.value) or len(target.slice) != 1:
        return ""
    index = target.slice[0].slice
    plain = isinstance(index, cst.Index) and isinstance(index.value, (cst.Name, cst.SimpleString, cst.Integer))
    return tree.code(target) if plain else ""


def _is(tree: Tree, node: cst.BaseExpression, path: str) -> bool:
    """Whether an expression is the frame `path`."""
    return dotted(node) == path or (isinstance(node, cst.Subscript) and _item_of(tree, node) == path)


def _inner_call(call: cst.Call) -> cst.Call:
    """The call below `.reset_index(drop=True)` and the like."""
    while isinstance(call.func, cst.Attribute) and isinstance(call.func.value, cst.Call):
        if call.func.attr.value not in FRAME_METHODS:
            break
        call = call.func.value
    return call


# -- the three ways to grow ------------------------------------------------------------------------------------------


def _concat(tree: Tree, node: cst.Assign, path: str, call: cst.Call, imports: dict[str, str]) -> FrameGrowth | None:
    """`df = pd.concat([df, more])`; with `axis=1` columns are added, which is another matter."""
    pieces: cst.BaseExpression | None = None
    options = []
    for arg in call.args:
        if arg.star:
            return None
        name = arg.keyword.value if arg.keyword is not None else ""
        if name == "axis" and tree.code(arg.value) not in ("0", '"index"', "'index'", '"rows"', "'rows'"):
            return None
        if name in ("objs", "") and pieces is None:
            pieces = arg.value
        elif not name:
            return None
        else:
            options.append(arg)
    if not isinstance(pieces, (cst.List, cst.Tuple)):
        return None
    own = [element for element in pieces.elements if _is(tree, element.value, path)]
    added = tuple(element.value for element in pieces.elements if not _is(tree, element.value, path))
    if len(own) != 1 or not added:
        return None
    if all(_takes_its_time(tree, node, piece) for piece in added):
        return None
    plain = call is node.value and pieces.elements[0] is own[0]
    plain = plain and not any(isinstance(element, cst.StarredElement) for element in pieces.elements)
    growth = _in_loop(tree, node, path, "concat", call, imports)
    if growth is None or not plain:
        return growth
    return FrameGrowth(
        tree, path, "concat", call, node, growth.loop, pieces=added, options=tuple(options), start=growth.start
    )


def _takes_its_time(tree: Tree, node: cst.Assign, piece: cst.BaseExpression) -> bool:
    """Whether a piece is the whole result of a function of the file that goes through loops of its own, a fold's predictions
    say: few turns, and the copy is nothing beside what makes the piece."""
    made = piece
    if isinstance(piece, cst.Name):
        before = [each for each in _assignments(tree, node, piece.value) if tree.offsets(each)[0] < tree.offsets(node)[0]]
        made = before[-1].value if before else piece
    if not isinstance(made, cst.Call) or not isinstance(made.func, cst.Name):
        return False
    functions = [
        each for each in walk(tree.module) if isinstance(each, cst.FunctionDef) and each.name.value == made.func.value
    ]
    return bool(functions) and any(isinstance(each, (cst.For, cst.While)) for each in walk(functions[-1].body))


def _adds_a_row(tree: Tree, node: cst.Assign, call: cst.Call, path: str, imports: dict[str, str]) -> bool:
    """Whether `x = x.append(y)` is pandas': a list's own gives None, and other types' is not known."""
    keywords = {arg.keyword.value for arg in call.args if arg.keyword is not None}
    if keywords & {"ignore_index", "verify_integrity"}:
        return True
    first = call.args[0].value
    if isinstance(first, cst.Call) and qualified(first.func, imports) in FRAME_MAKERS:
        return True
    return any(_makes_frame(assign.value, imports) for assign in _assignments(tree, node, path))


def _is_new_row(tree: Tree, node: cst.Assign, path: str, target: cst.Subscript, imports: dict[str, str]) -> bool:
    """Whether `df.loc[…] = …` names a row behind the last (`len(df)`, `df.shape[0]`, `df.index.max() + 1`), or any row
    of a frame that is seen to begin with none."""
    slices = [each.slice for each in target.slice]
    first = slices[0]
    if not isinstance(first, cst.Index) or isinstance(first.value, (cst.Comparison, cst.List, cst.BooleanOperation)):
        return False
    row = first.value.elements[0].value if isinstance(first.value, cst.Tuple) else first.value
    code = "".join(tree.code(row).split())
    sizes = (f"len({path})", f"len({path}.index)", f"{path}.shape[0]", f"{path}.index.max()", f"{path}.index[-1]")
    if any(code.startswith(size) for size in sizes):
        return True
    assigned = _assignments(tree, node, path)
    return (
        isinstance(row, (cst.Name, cst.BinaryOperation))
        and bool(assigned)
        and all(_makes_empty(assign.value, imports) for assign in assigned)
    )


def _makes_frame(value: cst.BaseExpression, imports: dict[str, str]) -> bool:
    return isinstance(value, cst.Call) and qualified(_inner_call(value).func, imports) in FRAME_MAKERS


def _makes_empty(value: cst.BaseExpression, imports: dict[str, str]) -> bool:
    """`pd.DataFrame()` and `pd.DataFrame(columns=…)`: no rows, and no index that names them."""
    if not isinstance(value, cst.Call) or qualified(value.func, imports) != "pandas.DataFrame":
        return False
    for arg in value.args:
        name = arg.keyword.value if arg.keyword is not None else ""
        empty = isinstance(arg.value, (cst.List, cst.Dict)) and not arg.value.elements
        if name not in ("columns", "dtype") and not (name in ("", "data") and empty):
            return False
    return True


# -- the loop --------------------------------------------------------------------------------------------------------


def _in_loop(
    tree: Tree, node: cst.Assign, path: str, kind: str, where: cst.BaseExpression, imports: dict[str, str]
) -> FrameGrowth | None:
    """The growth, when the frame really lives through the turns of the innermost loop around it."""
    loop: Loop | None = None
    for up in tree.ancestors(node):
        if isinstance(up, (cst.FunctionDef, cst.Lambda, cst.ClassDef)):
            break
        if isinstance(up, (cst.For, cst.While)):
            loop = up
            break
    if loop is None and path.startswith("self."):
        loop = _loop_that_calls(tree, node)
        if loop is None or any(tree.offsets(a)[0] < tree.offsets(node)[0] for a in _in_same_function(tree, node, path)):
            return None
    elif loop is None or _ends_loop(tree, node) or _made_anew(tree, loop, node, path):
        return None
    before = [a for a in _assignments(tree, node, path) if tree.offsets(a)[0] < tree.offsets(loop)[0]]
    return FrameGrowth(tree, path, kind, where, node, loop, start=before[-1] if before else None)


def _in_same_function(tree: Tree, node: cst.Assign, path: str) -> list[cst.Assign]:
    """Assignments that make the frame anew in the method in which it grows."""
    scope = scope_of(tree, node)
    return [each for each in _assignments(tree, node, path) if scope_of(tree, each) is scope]


def _loop_that_calls(tree: Tree, node: cst.Assign) -> Loop | None:
    """A loop of the file that calls the method in which an attribute grows, on an object that outlives its turns."""
    method = scope_of(tree, node)
    if not isinstance(method, cst.FunctionDef) or not isinstance(scope_of(tree, method), cst.ClassDef):
        return None
    for loop in walk(tree.module):
        if not isinstance(loop, (cst.For, cst.While)):
            continue
        for call in walk(loop.body):
            if not isinstance(call, cst.Call) or not isinstance(call.func, cst.Attribute):
                continue
            owner = call.func.value
            if call.func.attr.value != method.name.value or not dotted(owner):
                continue
            root = dotted(owner).split(".")[0]
            if not any(isinstance(each, cst.Assign) and _sets(each, root) for each in walk(loop.body)):
                return loop
    return None


def _ends_loop(tree: Tree, node: cst.Assign) -> bool:
    """Whether the loop ends right after the growth: it then happens once."""
    line = tree.parent(node)
    block = tree.parent(line) if line is not None else None
    if not isinstance(block, cst.IndentedBlock) or not isinstance(line, cst.SimpleStatementLine):
        return False
    rest = block.body[list(block.body).index(line) + 1 :]
    smalls = [small for each in rest if isinstance(each, cst.SimpleStatementLine) for small in each.body]
    return any(isinstance(small, (cst.Break, cst.Return, cst.Raise)) for small in smalls)


def _made_anew(tree: Tree, loop: Loop, node: cst.Assign, path: str) -> bool:
    """Whether each turn of the loop makes the frame from something else first."""
    if isinstance(loop, cst.For) and any(dotted(each) == path for each in walk(loop.target)):
        return True
    return _always_sets(loop.body, node, path)


def _always_sets(body: cst.BaseSuite, node: cst.Assign, path: str) -> bool:
    """Whether a block binds the frame to something else, on every way through it."""
    for statement in body.body if isinstance(body, cst.IndentedBlock) else ():
        for small in statement.body if isinstance(statement, cst.SimpleStatementLine) else ():
            if isinstance(small, cst.Assign) and small is not node and _sets(small, path):
                if not any(dotted(each) == path for each in walk(small.value)):
                    return True
        if isinstance(statement, cst.With) and _always_sets(statement.body, node, path):
            return True
        if isinstance(statement, cst.If) and _both_set(statement, node, path):
            return True
    return False


def _both_set(branch: cst.If, node: cst.Assign, path: str) -> bool:
    if not _always_sets(branch.body, node, path) or branch.orelse is None:
        return False
    if isinstance(branch.orelse, cst.If):
        return _both_set(branch.orelse, node, path)
    return _always_sets(branch.orelse.body, node, path)


def _sets(assign: cst.Assign, path: str) -> bool:
    """Whether an assignment binds `path`, alone or within a tuple."""
    for target in assign.targets:
        parts = target.target.elements if isinstance(target.target, (cst.Tuple, cst.List)) else ()
        if dotted(target.target) == path or any(dotted(part.value) == path for part in parts):
            return True
    return False


def _assignments(tree: Tree, node: cst.Assign, path: str) -> list[cst.Assign]:
    """Other assignments to `path` in its scope (of an attribute: in its class) that do not use its old value."""
    scope: cst.CSTNode = scope_of(tree, node)
    root = path.split(".")[0]
    if "." in path:
        scope = next((up for up in tree.ancestors(node) if isinstance(up, cst.ClassDef)), tree.module)
    elif isinstance(scope, cst.FunctionDef) and not binds(scope, root):
        scope = tree.module
    return [
        each
        for each in walk(scope)
        if isinstance(each, cst.Assign)
        and each is not node
        and _sets(each, path)
        and not any(dotted(part) == path for part in walk(each.value))
    ]


def reads_between(growth: FrameGrowth) -> Iterator[cst.Name]:
    """Uses of the frame inside the loop beside the growth itself (only for a plain name)."""
    own = {id(each) for each in walk(growth.statement)}
    parts: list[cst.CSTNode] = [growth.loop.body]
    parts.append(growth.loop.iter if isinstance(growth.loop, cst.For) else growth.loop.test)
    if growth.loop.orelse is not None:
        parts.append(growth.loop.orelse)
    for part in parts:
        for use in uses(growth.tree, part, growth.target):
            if id(use) not in own:
                yield use
