"""Edits that rules are made of, built from the nodes of a `Tree`; the code around them keeps its form.

Every helper returns a tuple of edits, `()` when nothing has to be done, and None where it refuses because the place
cannot be rewritten whole (a one-line suite `if x: stop()`, a comment that would be lost, `**kwargs` that may hold the
argument already). A rule whose helper refuses offers no fix.
"""

from __future__ import annotations

import builtins
import keyword
import sys
from collections.abc import Iterable, Sequence

import libcst as cst

from tricklint.finding import Edit
from tricklint.fix.edits import lines_of
from tricklint.source.once import once_a_tree
from tricklint.source.text import CELL_MARK
from tricklint.source.tree import Tree, children, dotted, walk

Edits = tuple[Edit, ...]
Statement = cst.SimpleStatementLine | cst.BaseCompoundStatement


def edit_at(tree: Tree, start: int, end: int, content: str) -> Edit:
    """Replace the characters from offset `start` up to `end` of `tree.text`."""
    return Edit(tree.path, tree.location(start), tree.location(end), content)


def newline_of(tree: Tree) -> str:
    """The file's own line end (that of its first line; `\\n` in a file without one)."""
    first = next(lines_of(tree.text), "")
    ending = first[len(first.rstrip("\r\n")) :]
    return ending or "\n"


def replace(tree: Tree, node: cst.CSTNode, code: str) -> Edits:
    """Put `code` in the place of `node` (inside its own parentheses, if it has any)."""
    return (edit_at(tree, *tree.offsets(node), code),)


def whole_offsets(tree: Tree, node: cst.CSTNode) -> tuple[int, int]:
    """Where a node stands together with the parentheses around it."""
    start, end = tree.offsets(node)
    for paren in getattr(node, "lpar", ()):
        start = min(start, tree.offsets(paren)[0])
    for paren in getattr(node, "rpar", ()):
        end = max(end, tree.offsets(paren)[1])
    return start, end


# -- statements ------------------------------------------------------------------------------------------------------


def _line(tree: Tree, node: cst.CSTNode) -> Statement | None:
    """The statement line that holds `node`, or None inside a one-line suite and for an `elif`."""
    at: cst.CSTNode | None = node
    while at is not None and not isinstance(at, (cst.SimpleStatementLine, cst.BaseCompoundStatement)):
        if isinstance(at, cst.SimpleStatementSuite):
            return None
        at = tree.parent(at)
    if at is None or not isinstance(tree.parent(at), (cst.Module, cst.IndentedBlock)):
        return None
    return at


def _start(tree: Tree, statement: Statement) -> int:
    if isinstance(statement, (cst.FunctionDef, cst.ClassDef)) and statement.decorators:
        return tree.offsets(statement.decorators[0])[0]
    start = tree.offsets(statement)[0]
    if isinstance(statement, (cst.FunctionDef, cst.For, cst.With)) and statement.asynchronous is not None:
        start = min(start, tree.offsets(statement.asynchronous)[0])
    return start


def _line_start(text: str, offset: int) -> int:
    return max(text.rfind("\n", 0, offset), text.rfind("\r", 0, offset)) + 1


def line_end(text: str, offset: int) -> int:
    """The offset at which the line of `offset` ends, before its line end."""
    ends = [at for at in (text.find("\n", offset), text.find("\r", offset)) if at >= 0]
    return min(ends, default=len(text))


def _indent(tree: Tree, statement: Statement) -> tuple[int, str] | None:
    """The statement's offset and the white space before it; None when other code stands before it on its line."""
    start = _start(tree, statement)
    before = tree.text[_line_start(tree.text, start) : start]
    return (start, before.lstrip("\f")) if not before.strip() else None


def insert_before(
    tree: Tree, node: cst.CSTNode, lines: Sequence[str], *, above_comments: bool = False
) -> Edits | None:
    """Put `lines` (without indentation of their own, but relative) above the statement that holds `node`.

    Comments above the statement stay above the new lines, which do what they announce; or, with `above_comments`, with the
    statement that they speak of.
    """
    statement = _line(tree, node)
    placed = _indent(tree, statement) if statement is not None else None
    if placed is None or statement is None:
        return None
    start, indent = placed
    if above_comments:
        start = _above_comments(tree, start, indent)
    newline = newline_of(tree)
    content = "".join(line + newline + indent if line else newline for line in _stepped(tree, statement, indent, lines))
    return (edit_at(tree, start, start, content),)


def insert_after(tree: Tree, node: cst.CSTNode, lines: Sequence[str]) -> Edits | None:
    """Put `lines` below the statement that holds `node`, after a comment at its end and comments that belong to its
    block (they are indented deeper)."""
    statement = _line(tree, node)
    placed = _indent(tree, statement) if statement is not None else None
    if placed is None or statement is None:
        return None
    _, indent = placed
    end = _with_comments(tree, line_end(tree.text, _end(tree, statement)), indent)
    newline = newline_of(tree)
    content = "".join(newline + indent + line if line else newline for line in _stepped(tree, statement, indent, lines))
    return (edit_at(tree, end, end, content),)


def _above_comments(tree: Tree, start: int, indent: str) -> int:
    """Where the comments begin that stand right above a statement, as deep as it."""
    while True:
        here = _line_start(tree.text, start)
        above = tree.text[_line_start(tree.text, here - 1) : here] if here else ""
        if not above.startswith(indent + "#") or above.startswith(CELL_MARK):
            return start
        start = _line_start(tree.text, here - 1) + len(indent)


def _with_comments(tree: Tree, end: int, indent: str) -> int:
    """Where the comments end that follow a statement and belong to its block: they are indented deeper than it."""
    while True:
        following = tree.text[end:]
        skip = len(following) - len(following.lstrip("\r\n \t\f"))
        comment = end + skip
        column = tree.text[_line_start(tree.text, comment) : comment]
        if not (skip and tree.text[comment : comment + 1] == "#" and len(column) > len(indent)):
            return end
        end = line_end(tree.text, comment)


def _stepped(tree: Tree, statement: cst.CSTNode, indent: str, lines: Sequence[str]) -> list[str]:
    """`lines`, whose blocks are indented by four spaces, with the step of the place (`indent` is its white space)."""
    step = step_at(tree, statement, indent)
    depths = [(len(line) - len(line.lstrip(" "))) // 4 for line in lines]
    return [step * depth + line[4 * depth :] for depth, line in zip(depths, lines, strict=True)]


def step_at(tree: Tree, statement: cst.CSTNode, indent: str) -> str:
    """By how much the blocks round a statement are indented: the innermost one's step, or that of the blocks in it, or the
    file's own. The cells of a notebook need not agree."""
    block = next((up for up in tree.ancestors(statement) if isinstance(up, cst.IndentedBlock)), None)
    if block is None:
        block = next((each for each in walk(statement) if isinstance(each, cst.IndentedBlock)), None)
    step = (block.indent if block is not None else None) or tree.module.default_indent
    return "\t" if "\t" in indent and "\t" not in step else step


def _end(tree: Tree, statement: cst.CSTNode) -> int:
    """Where the last token of a statement ends (a compound statement's own span may end with its header)."""
    end = tree.offsets(statement)[1]
    block: cst.CSTNode | None = statement
    while block is not None:
        end = max(end, tree.offsets(block)[1])
        following: cst.CSTNode | None = None
        if isinstance(block, cst.Try | cst.TryStar):
            following = block.finalbody or block.orelse or (block.handlers[-1] if block.handlers else block.body)
        elif isinstance(block, cst.If | cst.For | cst.While):
            following = block.orelse or block.body
        elif isinstance(block, cst.Match):
            following = block.cases[-1] if block.cases else None
        elif isinstance(block, cst.IndentedBlock):
            following = block.body[-1] if block.body else None
        elif hasattr(block, "body") and isinstance(block.body, cst.CSTNode):
            following = block.body
        block = following
    return end


def statement_end(tree: Tree, statement: cst.CSTNode) -> int:
    """The offset behind the last token of a statement, its blocks included."""
    return _end(tree, statement)


def remove_statement(tree: Tree, node: cst.CSTNode) -> Edits | None:
    """Take the statement away, with its line; a block that would be empty gets `pass`.

    `node` may be a small statement among others on one line (`a = 1; b = 2`). Comments above it stay. Refuses when a
    comment stands at its end.
    """
    small = node if isinstance(node, cst.BaseSmallStatement) else None
    parent = tree.parent(small) if small is not None else None
    if small is not None and isinstance(parent, (cst.SimpleStatementLine, cst.SimpleStatementSuite)):
        body = list(parent.body)
        if len(body) > 1:
            at = body.index(small)
            if at + 1 < len(body):
                return (edit_at(tree, tree.offsets(small)[0], tree.offsets(body[at + 1])[0], ""),)
            return (edit_at(tree, tree.offsets(body[at - 1])[1], tree.offsets(small)[1], ""),)
        if isinstance(parent, cst.SimpleStatementSuite):
            return replace(tree, small, "pass")
    statement = _line(tree, node)
    placed = _indent(tree, statement) if statement is not None else None
    if placed is None or statement is None:
        return None
    start, indent = placed
    end = _end(tree, statement)
    stop = line_end(tree.text, end)
    rest = tree.text[end:stop]
    if rest.strip(" \t;"):
        return None
    block = tree.parent(statement)
    if isinstance(block, cst.IndentedBlock) and len(block.body) == 1:
        return (edit_at(tree, start, end, "pass"),)
    after = stop + (2 if tree.text[stop : stop + 2] == "\r\n" else 1)
    return (edit_at(tree, start - len(indent), min(after, len(tree.text)), ""),)


def wrap_block(tree: Tree, first: cst.CSTNode, last: cst.CSTNode, header: str) -> Edits | None:
    """Put the statements from `first` to `last` (of one block) below `header`, such as `with torch.no_grad():`.

    Each line moves by one step of the file's own indentation, but for lines that begin inside a string.
    """
    top, bottom = _line(tree, first), _line(tree, last)
    if top is None or bottom is None or tree.parent(top) is not tree.parent(bottom):
        return None
    placed = _indent(tree, top)
    if placed is None:
        return None
    start, indent = placed
    end = _with_comments(tree, line_end(tree.text, _end(tree, bottom)), indent)
    newline, step = newline_of(tree), step_at(tree, top, indent)
    inside = _rows_inside_strings(tree, (top, bottom), start, end)
    row = tree.location(start).row
    out = [header + newline + indent + step]
    for number, line in enumerate(lines_of(tree.text[start:end])):
        if number == 0 or row + number in inside or not line.strip():
            out.append(line)
        elif line.startswith(indent):
            out.append(indent + step + line[len(indent) :])
        elif line.lstrip().startswith("#"):  # code that was commented out at the left edge stays there
            out.append(line)
        else:
            out.append(step + line)
    return (edit_at(tree, start, end, "".join(out)),)


def _rows_inside_strings(tree: Tree, ends: tuple[Statement, Statement], start: int, end: int) -> set[int]:
    block = tree.parent(ends[0])
    rows: set[int] = set()
    for node in walk(block) if block is not None else ():
        if isinstance(node, (cst.SimpleString, cst.FormattedString)):
            low, high = tree.offsets(node)
            if low >= start and high <= end:
                rows.update(range(tree.location(low).row + 1, tree.location(high).row + 1))
    return rows


# -- calls -----------------------------------------------------------------------------------------------------------


def set_argument(tree: Tree, call: cst.Call, name: str, code: str) -> Edits | None:
    """Give `call` the keyword argument `name=code`, in the place of one of that name, else as the last.

    Refuses when `**kwargs` may hold it already, and for a lone generator argument (`f(x for x in y)`).
    """
    for arg in call.args:
        if arg.keyword is not None and arg.keyword.value == name:
            return (edit_at(tree, *whole_offsets(tree, arg.value), code),)
    if any(arg.star == "**" for arg in call.args):
        return None
    if not call.args:
        end = tree.offsets(call)[1] - 1
        while tree.text[end] != ")":  # parentheses round the whole call are no part of its span
            end -= 1
        inside = tree.text[tree.offsets(call.func)[1] : end]
        return None if "#" in inside or "\n" in inside else (edit_at(tree, end, end, f"{name}={code}"),)
    last = call.args[-1]
    if isinstance(last.value, cst.GeneratorExp) and not last.value.lpar and len(call.args) == 1:
        return None
    start, end = tree.offsets(last)
    before = tree.text[_line_start(tree.text, start) : start]
    own_line = not before.strip() and tree.location(start).row > tree.location(tree.offsets(call.func)[1]).row
    glue = f",{newline_of(tree)}{before}" if own_line else ", "
    return (edit_at(tree, end, end, f"{glue}{name}={code}"),)


def remove_argument(tree: Tree, call: cst.Call, argument: str | cst.Arg) -> Edits | None:
    """Take one argument (a node, or a keyword's name) out of `call`. Refuses where a comment would be lost."""
    args = list(call.args)
    wanted = [
        at
        for at, arg in enumerate(args)
        if arg is argument or (isinstance(argument, str) and arg.keyword is not None and arg.keyword.value == argument)
    ]
    if not wanted:
        return ()
    at = wanted[0]
    start, end = tree.offsets(args[at])
    if at + 1 < len(args):
        low, high = start, tree.offsets(args[at + 1])[0]
    elif at:
        low, high = tree.offsets(args[at - 1])[1], end
    else:
        low, high = start, end
        rest = tree.text[end:]
        if rest.lstrip().startswith(","):
            high = end + len(rest) - len(rest.lstrip()) + 1
    if "#" in tree.text[low:start] or "#" in tree.text[end:high]:
        return None
    return (edit_at(tree, low, high, ""),)


# -- names and imports -----------------------------------------------------------------------------------------------


def names_in(node: cst.CSTNode) -> set[str]:
    """Every identifier that stands anywhere below `node`, but for the names of attributes and keywords, which bind nothing."""
    found: set[str] = set()
    stack = [node]
    while stack:
        at = stack.pop()
        if isinstance(at, cst.Name):
            found.add(at.value)
        elif isinstance(at, cst.Attribute):
            stack.append(at.value)
        else:
            keyword_name = at.keyword if isinstance(at, cst.Arg) else None
            stack.extend(each for each in children(at) if each is not keyword_name)
    return found


@once_a_tree
def _taken(tree: Tree, scope: cst.CSTNode) -> frozenset[str]:
    """Names that are of no use for something new; asked by every fix in a file."""
    return frozenset(names_in(scope)) | frozenset(dir(builtins)) | frozenset(keyword.kwlist)


def name_for(tree: Tree, scope: cst.CSTNode, *wanted: str) -> str:
    """The first of `wanted` that `scope` (a function, or the whole module) uses for nothing, or the last with a number
    behind. What other functions call their own is of no matter."""
    taken = _taken(tree, scope)
    for name in wanted:
        if name not in taken:
            return name
    number = 2
    while f"{wanted[-1]}_{number}" in taken:
        number += 1
    return f"{wanted[-1]}_{number}"


def repeated(tree: Tree, node: cst.CSTNode) -> bool:
    """Whether `node` is run apart from the statement it stands in: in a comprehension or a lambda."""
    for up in tree.ancestors(node):
        if isinstance(up, (cst.BaseStatement, cst.BaseSmallStatement)):
            return False
        if isinstance(up, (cst.BaseComp, cst.CompFor, cst.Lambda)):
            return True
    return False


def add_import(tree: Tree, statement: str) -> Edits | None:
    """Add `import torch.nn as nn` or `from x import y` below the file's first imports.

    `()` when that very name is imported at the top already, None when the module binds the name to something else.
    Below the docstring and `__future__` when there are no imports; in a notebook below the first run of imports.
    """
    wanted = cst.parse_statement(statement)
    bound = _bindings(wanted)
    have: dict[str, str] = {}
    for each in tree.module.body:
        have.update(_bindings(each))
    missing = {name: what for name, what in bound.items() if have.get(name) != what}
    if not missing:
        return ()
    if any(name in have or name in _assigned(tree.module) for name in missing):
        return None
    body = list(tree.module.body)
    if isinstance(wanted, cst.SimpleStatementLine) and _is_stdlib(wanted):
        placed = _after_stdlib(tree, body, statement)
        if placed is not None:
            return placed
    last: cst.CSTNode | None = None
    notebook = tree.path.suffix == ".ipynb"
    for each in body:
        if _is_import(each):
            last = each
        elif (notebook and last is not None) or not isinstance(each, (cst.SimpleStatementLine, cst.If, cst.Try)):
            break
    if last is not None:
        return insert_after(tree, last, [statement])
    docstring = bool(body) and isinstance(body[0], cst.SimpleStatementLine) and _is_docstring(body[0])
    if docstring:
        return insert_after(tree, body[0], ["", statement])
    if body:
        return insert_before(tree, body[0], [statement, ""])
    return (edit_at(tree, len(tree.text), len(tree.text), statement + newline_of(tree)),)


def _is_stdlib(node: cst.CSTNode) -> bool:
    """`import math` and the like, alone on its line."""
    if not isinstance(node, cst.SimpleStatementLine) or len(node.body) != 1 or not isinstance(node.body[0], cst.Import):
        return False
    return all(dotted(alias.name).partition(".")[0] in sys.stdlib_module_names for alias in node.body[0].names)


def _after_stdlib(tree: Tree, body: Sequence[cst.CSTNode], statement: str) -> Edits | None:
    """`statement` among the plain standard library imports at the top, or above the other imports in a block of its own."""
    imports = [each for each in body if _is_import(each)]
    first = next((each for each in imports if not _is_future(each)), None)
    if first is None:
        return None
    if not _is_stdlib(first):
        return insert_before(tree, first, [statement, ""])
    at = first
    for each in body[list(body).index(first) + 1 :]:
        if not _is_stdlib(each) or tree.code(each).strip() > statement:
            break
        at = each
    return (
        insert_before(tree, first, [statement])
        if tree.code(first).strip() > statement
        else insert_after(tree, at, [statement])
    )


def _is_future(node: cst.CSTNode) -> bool:
    return isinstance(node, cst.SimpleStatementLine) and any(
        isinstance(small, cst.ImportFrom) and dotted(small.module) == "__future__" for small in node.body
    )


def _is_import(node: cst.CSTNode) -> bool:
    return isinstance(node, cst.SimpleStatementLine) and any(
        isinstance(small, (cst.Import, cst.ImportFrom)) for small in node.body
    )


def _is_docstring(node: cst.SimpleStatementLine) -> bool:
    first = node.body[0]
    return isinstance(first, cst.Expr) and isinstance(first.value, (cst.SimpleString, cst.ConcatenatedString))


def _bindings(statement: cst.CSTNode) -> dict[str, str]:
    """The names that an import statement binds, each with what it stands for."""
    bound: dict[str, str] = {}
    if not isinstance(statement, cst.SimpleStatementLine):
        return bound
    for small in statement.body:
        if isinstance(small, cst.Import):
            for alias in small.names:
                full = dotted(alias.name)
                if alias.asname is not None:
                    bound[dotted(alias.asname.name)] = full
                else:
                    bound[full] = full  # `import a.b` makes `a.b` usable; the name bound is `a`
                    bound.setdefault(full.split(".")[0], full.split(".")[0])
        elif isinstance(small, cst.ImportFrom) and not isinstance(small.names, cst.ImportStar):
            module = "." * len(small.relative) + dotted(small.module)
            for alias in small.names:
                name = dotted(alias.asname.name) if alias.asname is not None else dotted(alias.name)
                bound[name] = f"{module}:{dotted(alias.name)}"
    return bound


def _assigned(module: cst.Module) -> set[str]:
    """Names that the module's own statements bind: defs, classes, targets of assignments and loops."""
    bound: set[str] = set()
    stack: list[cst.CSTNode] = list(module.body)
    while stack:
        node = stack.pop()
        if isinstance(node, (cst.FunctionDef, cst.ClassDef)):
            bound.add(node.name.value)
            continue
        if isinstance(node, (cst.AssignTarget, cst.AnnAssign, cst.AugAssign, cst.For)) and isinstance(
            node.target, (cst.Name, cst.Tuple, cst.List)
        ):
            bound |= names_in(node.target)
        stack.extend(children(node))
    return bound


def joined(parts: Iterable[Edits | None]) -> Edits | None:
    """All edits of several helpers, in one tuple; None when one of them refused."""
    out: list[Edit] = []
    for part in parts:
        if part is None:
            return None
        out += part
    return tuple(out)
