"""Loops over the rows of data frames: where `iterrows()` is iterated, and all that is done with its rows.

`frame_loops(tree)` yields one RowLoop for each loop or comprehension. What the rows are used for is told apart in
`reads` (one column by its literal name or position) and reasons why nothing may be said about columns: `escapes`,
`dynamic`, `stores`, `leaks`. A receiver that is known to be no data frame yields nothing.
"""

from __future__ import annotations

import ast
from collections.abc import Collection, Iterable, Iterator
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

import libcst as cst

from tricklint.dataframes.frame_uses import frame_uses
from tricklint.dataframes.leaks import leaks
from tricklint.dataframes.origin import Origin, origin_of
from tricklint.dataframes.scope import body_of, imports_of, is_stored, names_of, scope_of, uses
from tricklint.dataframes.words import FRAME_LIBRARIES, PASSING_CALLS, SERIES_NAMES
from tricklint.source.alignment import Misread
from tricklint.source.once import once_a_tree
from tricklint.source.tree import Tree, dotted, walk

if TYPE_CHECKING:
    from tricklint.source.text import Source

METHOD = "iterrows"


@dataclass(frozen=True)
class Read:
    """One column's value taken from a row: `node` is the whole expression (`row["id"]`, `pair[1].id`), `column` the
    label, or the position when it is an int."""

    node: cst.BaseExpression
    column: str | int


@dataclass(frozen=True)
class Use:
    """A place that says more than a read of one column, and in words what it does."""

    node: cst.CSTNode
    what: str


@dataclass
class RowLoop:
    """One loop over `frame.iterrows()`.

    `target` is the part of the loop's target that takes (index, row); it is None when the pairs go through a call
    whose effect on them is not known. `passed` are the calls between `iterrows()` and the loop, outermost first.
    """

    tree: Tree
    call: cst.Call
    frame: cst.BaseExpression
    loop: cst.For | cst.CompFor
    target: cst.BaseExpression | None
    passed: tuple[str, ...] = ()
    pair: str | None = None
    row: str | None = None
    reads: list[Read] = field(default_factory=list)
    index_uses: list[cst.BaseExpression] = field(default_factory=list)
    escapes: list[Use] = field(default_factory=list)
    dynamic: list[Use] = field(default_factory=list)
    stores: list[Use] = field(default_factory=list)
    frame_stores: list[Use] = field(default_factory=list)
    frame_lent: list[Use] = field(default_factory=list)  # calls inside the loop that are given the frame
    nested: bool = False  # stands inside another loop over rows, or holds one
    leaks: list[Use] = field(default_factory=list)

    @property
    def owner(self) -> cst.CSTNode:
        """The `for` statement, or the whole comprehension."""
        if isinstance(self.loop, cst.For):
            return self.loop
        up: cst.CSTNode = self.loop
        while isinstance(up, cst.CompFor):
            up = self.tree.parent(up) or self.tree.module
        return up

    @property
    def is_comprehension(self) -> bool:
        return isinstance(self.loop, cst.CompFor)

    @cached_property
    def regions(self) -> tuple[cst.CSTNode, ...]:
        """What runs once a row: the body, or a comprehension's element, conditions and inner loops."""
        loop = self.loop
        if isinstance(loop, cst.For):
            return (loop.body,)
        owner = self.owner
        parts: list[cst.CSTNode] = list(loop.ifs)
        if loop.inner_for_in is not None:
            parts.append(loop.inner_for_in)
        if isinstance(owner, cst.DictComp):
            parts += [owner.key, owner.value]
        elif isinstance(owner, (cst.ListComp, cst.SetComp, cst.GeneratorExp)):
            parts.append(owner.elt)
        return tuple(parts)

    @cached_property
    def index(self) -> cst.BaseExpression | None:
        """The target of the index label (`i` of `i, row`); None when the pair has one name."""
        if isinstance(self.target, (cst.Tuple, cst.List)) and len(self.target.elements) == 2:
            return self.target.elements[0].value
        return None

    @property
    def index_used(self) -> bool:
        """Whether the index label is read (an inner loop may only bind the name again)."""
        return any(not is_stored(self.tree, use) for use in self.index_uses)

    @property
    def columns(self) -> list[str | int]:
        """The columns read, in the order of their first read."""
        return list(dict.fromkeys(read.column for read in self.reads))

    @cached_property
    def imports(self) -> dict[str, str]:
        return imports_of(self.tree)

    @cached_property
    def origin(self) -> Origin:
        """What the code shows of the frame."""
        return origin_of(self.tree, self.frame, self.imports)


def frame_loops(tree: Tree, foreign: Collection[str] = ()) -> list[RowLoop]:
    """Every loop over data frame rows, in source order. `foreign` names classes, of whatever file, that define an
    `iterrows` of their own; those of this file are found here. Without a library of frames in the file, only a loop that
    takes a pair apart is one over a frame's rows: other libraries' `iterrows` give single records."""
    if METHOD not in tree.text:
        return []
    own = set(foreign) | foreign_classes(tree)
    frames_here = any(name.split(".")[0] in FRAME_LIBRARIES for name in imports_of(tree).values())
    found = []
    for node in walk(tree.module):
        if isinstance(node, (cst.For, cst.CompFor)):
            for call, target, passed in _row_sources(tree, node.iter, node.target):
                assert isinstance(call.func, cst.Attribute)
                frame = call.func.value
                if _is_foreign(tree, frame, own):
                    continue
                loop = RowLoop(tree, call, frame, node, target, passed)
                _learn(loop)
                if frames_here or _is_pair(target) or (loop.pair and (loop.reads or loop.index_uses)):
                    found.append(loop)
    for loop in found:
        inside = {id(node) for node in walk(loop.owner)}
        for other in found:
            if other is not loop and id(other.call) in inside:
                loop.nested = other.nested = True
    return found


def _is_pair(target: cst.BaseExpression | None) -> bool:
    """Whether a loop takes each row apart as pandas gives it: a label and a row."""
    return isinstance(target, (cst.Tuple, cst.List)) and len(target.elements) == 2


# -- where rows are iterated -----------------------------------------------------------------------------------------

_Found = tuple[cst.Call, "cst.BaseExpression | None", tuple[str, ...]]


def _row_sources(tree: Tree, expression: cst.BaseExpression, target: cst.BaseExpression | None) -> Iterator[_Found]:
    """The `iterrows()` calls that feed a loop, each with the part of the target that takes its pairs."""
    if isinstance(expression, cst.Name):
        kept = next((call for value in _values_of(tree, expression) if (call := _wrapped_rows(value)) is not None), None)
        if kept is not None:
            yield kept, None, (expression.value,)
        return
    if not isinstance(expression, cst.Call):
        return
    if _is_rows(expression):
        yield expression, target, ()
        return
    name = dotted(expression.func).rpartition(".")[2]
    for position, arg in enumerate(expression.args):
        inner: cst.BaseExpression | None = None
        if name == "enumerate":
            inner = _element(target, 1) if position == 0 else None
        elif name in ("zip", "zip_longest"):
            inner = _element(target, position) if name == "zip" else None
        elif position == 0 and (name in PASSING_CALLS or "tqdm" in name.lower()):
            inner = target
        for call, part, passed in _row_sources_in(tree, arg.value, inner):
            yield call, part, (name or "a call", *passed)


def _row_sources_in(tree: Tree, value: cst.BaseExpression, inner: cst.BaseExpression | None) -> Iterator[_Found]:
    if isinstance(value, cst.Call):
        yield from _row_sources(tree, value, inner)


def _is_rows(node: cst.CSTNode | None) -> bool:
    return (
        isinstance(node, cst.Call)
        and isinstance(node.func, cst.Attribute)
        and node.func.attr.value == METHOD
        and not node.args
    )


def _element(target: cst.BaseExpression | None, at: int) -> cst.BaseExpression | None:
    if isinstance(target, (cst.Tuple, cst.List)) and at < len(target.elements):
        if not any(isinstance(element, cst.StarredElement) for element in target.elements):
            return target.elements[at].value
    return None


def _wrapped_rows(value: cst.BaseExpression) -> cst.Call | None:
    """The `iterrows()` call that a value is, or wraps first: `tqdm(df.iterrows())`."""
    if not isinstance(value, cst.Call):
        return None
    if _is_rows(value):
        return value
    return _wrapped_rows(value.args[0].value) if value.args and not value.args[0].star else None


def _values_of(tree: Tree, name: cst.Name) -> list[cst.BaseExpression]:
    """All that a name is assigned in its scope; none where it is bound in another way too."""
    values = []
    for use in uses(tree, body_of(scope_of(tree, name)), name.value):
        if is_stored(tree, use):
            up = tree.parent(use)
            assign = tree.parent(up) if up is not None else None
            if not isinstance(up, cst.AssignTarget) or not isinstance(assign, cst.Assign):
                return []
            values.append(assign.value)
    return values


def _only_value(tree: Tree, name: cst.Name) -> cst.Call | None:
    """What a name is assigned, when there is just one assignment to it in its scope."""
    return _assigned_once(tree, body_of(scope_of(tree, name)), name.value)


@once_a_tree  # asked for each loop over one frame
def _assigned_once(tree: Tree, body: cst.CSTNode, name: str) -> cst.Call | None:
    values = []
    for use in uses(tree, body, name):
        if is_stored(tree, use):
            up = tree.parent(use)
            assign = tree.parent(up) if up is not None else None
            if not isinstance(up, cst.AssignTarget) or not isinstance(assign, cst.Assign):
                return None
            values.append(assign.value)
    return values[0] if len(values) == 1 and isinstance(values[0], cst.Call) else None


# -- receivers that are no data frames -------------------------------------------------------------------------------


def foreign_in(sources: Iterable[Source]) -> set[str]:
    """Classes that define an `iterrows` of their own, over all files of a project."""
    return {name for source in sources if f"def {METHOD}" in source.text for name in source.ask(_foreign_names)}


def _foreign_names(text: str) -> frozenset[str]:
    try:
        return frozenset(foreign_classes(Tree(Path(), text)))
    except (cst.ParserSyntaxError, Misread):
        return frozenset()


def foreign_classes(tree: Tree) -> set[str]:
    """Classes of this file that define `iterrows` and are no data frames themselves."""
    if f"def {METHOD}" not in tree.text:
        return set()
    return {
        node.name.value
        for node in walk(tree.module)
        if isinstance(node, cst.ClassDef) and _defines_rows(node) and not _is_frame_class(node)
    }


def _defines_rows(node: cst.ClassDef) -> bool:
    return any(isinstance(each, cst.FunctionDef) and each.name.value == METHOD for each in node.body.body)


def _is_frame_class(node: cst.ClassDef) -> bool:
    return any(dotted(base.value).endswith("DataFrame") for base in node.bases)


def _is_foreign(tree: Tree, frame: cst.BaseExpression, foreign: set[str]) -> bool:
    """Whether a receiver is known to be something else than a data frame."""
    if isinstance(frame, (cst.List, cst.Dict, cst.Set, cst.Tuple, cst.BaseString, cst.ListComp, cst.DictComp)):
        return True
    if isinstance(frame, cst.Call):
        return dotted(frame.func).rpartition(".")[2] in foreign
    if isinstance(frame, cst.Attribute) and isinstance(frame.value, cst.Name) and frame.value.value == "self":
        return _attribute_is_foreign(tree, frame, foreign)
    if not isinstance(frame, cst.Name):
        return False
    scope = scope_of(tree, frame)
    if isinstance(scope, cst.FunctionDef):
        outer = scope_of(tree, scope)
        params = scope.params.params
        if isinstance(outer, cst.ClassDef) and params and params[0].name.value == frame.value:
            return outer.name.value in foreign
        for param in (*params, *scope.params.kwonly_params):
            if param.name.value == frame.value and param.annotation is not None:
                return _annotation(param.annotation) in foreign
    call = _only_value(tree, frame)
    if call is None and scope is not tree.module:
        stored = [use for use in uses(tree, body_of(scope), frame.value) if is_stored(tree, use)]
        if not stored:
            call = _module_value(tree, frame.value)
    return call is not None and dotted(call.func).rpartition(".")[2] in foreign


def _module_value(tree: Tree, name: str) -> cst.Call | None:
    for statement in tree.module.body:
        for small in statement.body if isinstance(statement, cst.SimpleStatementLine) else ():
            if isinstance(small, cst.Assign) and isinstance(small.value, cst.Call):
                if any(name in names_of(target.target) for target in small.targets):
                    return small.value
    return None


def _attribute_is_foreign(tree: Tree, frame: cst.Attribute, foreign: set[str]) -> bool:
    """`self.x`, where the class sets `self.x` to nothing but values of foreign classes."""
    holder = next((up for up in tree.ancestors(frame) if isinstance(up, cst.ClassDef)), None)
    values = [
        node.value
        for node in walk(holder or tree.module)
        if isinstance(node, cst.Assign) and any(dotted(t.target) == dotted(frame) for t in node.targets)
    ]
    return bool(values) and all(
        isinstance(value, cst.Call) and dotted(value.func).rpartition(".")[2] in foreign for value in values
    )


def _annotation(annotation: cst.Annotation) -> str:
    value = annotation.annotation
    if isinstance(value, cst.SimpleString):
        return str(ast.literal_eval(value.value)).rpartition(".")[2]
    return dotted(value).rpartition(".")[2]


# -- what is done with a row -----------------------------------------------------------------------------------------


def _learn(loop: RowLoop) -> None:
    target = loop.target
    if isinstance(loop.loop, cst.For):
        stores, lent = frame_uses(loop.tree, loop.frame, loop.loop)
        loop.frame_stores = [Use(*place) for place in stores]
        loop.frame_lent = [Use(*place) for place in lent]
    if target is None:
        loop.escapes.append(Use(loop.call, f"the rows go through {' and '.join(loop.passed)}()"))
        return
    if isinstance(target, (cst.Tuple, cst.List)) and (
        any(isinstance(element, cst.StarredElement) for element in target.elements)
        or (loop.index is not None and not _is_plain_target(loop.index))
    ):
        loop.escapes.append(Use(target, "the pair is taken apart"))
    elif isinstance(target, cst.Name):
        loop.pair = target.value
        _each_use(loop, target.value, _pair_use)
    elif loop.index is not None and isinstance(target, (cst.Tuple, cst.List)):
        row = target.elements[1].value
        if isinstance(row, cst.Name):
            loop.row = row.value
            for name in sorted(names_of(loop.index)):
                if name == loop.row:
                    loop.escapes.append(Use(row, "index and row have one name"))
                _each_use(loop, name, _index_use)
            if loop.row not in names_of(loop.index):
                _each_use(loop, row.value, _row_name_use)
        else:
            loop.escapes.append(Use(row, "the row is taken apart"))
    else:
        loop.escapes.append(Use(target, "the pair is taken apart"))
    if _shadowed(loop, target):
        loop.escapes.append(Use(target, "another part of the target or comprehension binds the same name"))


def _is_plain_target(node: cst.BaseExpression) -> bool:
    """A name, or a tuple of names: nothing that assigning has another effect on."""
    if isinstance(node, (cst.Tuple, cst.List)):
        return all(isinstance(e, cst.Element) and _is_plain_target(e.value) for e in node.elements)
    return isinstance(node, cst.Name)


def _shadowed(loop: RowLoop, target: cst.BaseExpression) -> bool:
    """Whether another `for` of the same comprehension, or another part of the target, binds a name that is used."""
    mine = {loop.row, loop.pair} - {None}
    if loop.index_used and loop.index is not None:
        mine |= names_of(loop.index)
    others = names_of_others(loop.loop.target, target)
    if isinstance(loop.loop, cst.CompFor):
        for node in walk(loop.owner):
            if isinstance(node, cst.CompFor) and node is not loop.loop:
                others |= names_of(node.target)
    return bool(mine & others)


def names_of_others(whole: cst.CSTNode, part: cst.CSTNode) -> set[str]:
    """Names that a target binds beside those of one part of it."""
    if whole is part:
        return set()
    if isinstance(whole, (cst.Tuple, cst.List)):
        return set().union(*(names_of_others(element.value, part) for element in whole.elements))
    return names_of(whole)


def _each_use(loop: RowLoop, name: str, handle: object) -> None:
    for region in loop.regions:
        for use in uses(loop.tree, region, name):
            handle(loop, use)  # type: ignore[operator]
        _named_in_text(loop, region, name)
    if isinstance(loop.loop, cst.For):
        loop.leaks += [Use(use, what) for use, what in leaks(loop.tree, loop.loop, loop.target or loop.loop, name)]


def _named_in_text(loop: RowLoop, region: cst.CSTNode, name: str) -> None:
    """Places that reach a variable by its name as text: `query("id == @row.id")`, `locals()`, `f"{row.id=}"`."""
    for node in walk(region):
        if isinstance(node, (cst.SimpleString, cst.FormattedStringText)) and f"@{name}" in node.value:
            loop.escapes.append(Use(node, f"`{name}` is named in a string"))
        elif isinstance(node, cst.Call) and not node.args and dotted(node.func) in ("locals", "vars", "globals"):
            loop.escapes.append(Use(node, f"{dotted(node.func)}() shows the loop's variables"))
        elif isinstance(node, cst.FormattedStringExpression) and node.equal is not None:
            if any(True for _ in uses(loop.tree, node.expression, name)):
                loop.escapes.append(Use(node, "an f-string prints the expression itself"))


def _index_use(loop: RowLoop, use: cst.Name) -> None:
    loop.index_uses.append(use)


def _pair_use(loop: RowLoop, use: cst.Name) -> None:
    up = loop.tree.parent(use)
    if is_stored(loop.tree, use):
        loop.stores.append(Use(use, "the pair's name is assigned again"))
    elif isinstance(up, cst.Subscript) and up.value is use and _literal(up) in (0, 1):
        if _literal(up) == 1:
            _row_use(loop, up)
        elif is_stored(loop.tree, up):
            loop.stores.append(Use(up, "the pair is assigned to"))
        else:
            loop.index_uses.append(up)
    else:
        loop.escapes.append(Use(use, "the pair is used whole"))


def _row_name_use(loop: RowLoop, use: cst.Name) -> None:
    if is_stored(loop.tree, use):
        loop.stores.append(Use(use, "the row's name is assigned again"))
    else:
        _row_use(loop, use)


def _row_use(loop: RowLoop, row: cst.BaseExpression) -> None:
    tree, up = loop.tree, loop.tree.parent(row)
    node: cst.BaseExpression
    if isinstance(up, cst.Subscript) and up.value is row:
        node, column = up, _literal(up)
        if column is None:
            loop.dynamic.append(Use(up, "the column is not named by a literal"))
            return
    elif isinstance(up, cst.Attribute) and up.value is row:
        label = up.attr.value
        outer = tree.parent(up)
        if label in ("loc", "at", "iloc", "iat") and isinstance(outer, cst.Subscript) and outer.value is up:
            node, column = outer, _literal(outer)
            if column is None or isinstance(column, int) is (label in ("loc", "at")):
                loop.dynamic.append(Use(outer, "the column is not named by a literal"))
                return
        elif label in SERIES_NAMES:
            loop.escapes.append(Use(up, f"`.{label}` is asked of the whole row"))
            return
        elif isinstance(outer, cst.Call) and outer.func is up:
            loop.escapes.append(Use(outer, f"`.{label}()` is called on the row"))
            return
        else:
            node, column = up, label
    else:
        loop.escapes.append(Use(row, _escape(tree, row)))
        return
    if is_stored(tree, node):
        loop.stores.append(Use(node, "the row is assigned to"))
    else:
        loop.reads.append(Read(node, column))


def _literal(node: cst.Subscript) -> str | int | None:
    """The one literal string or int between the brackets."""
    if len(node.slice) != 1 or not isinstance(node.slice[0].slice, cst.Index) or node.slice[0].slice.star is not None:
        return None
    value = node.slice[0].slice.value
    if not isinstance(value, (cst.SimpleString, cst.ConcatenatedString, cst.Integer, cst.UnaryOperation)):
        return None
    try:
        literal = ast.literal_eval(cst.Module(body=()).code_for_node(value).strip())
    except (ValueError, SyntaxError):
        return None
    return literal if type(literal) in (str, int) else None


def _escape(tree: Tree, row: cst.BaseExpression) -> str:
    up = tree.parent(row)
    if isinstance(up, cst.Arg):
        call = tree.parent(up)
        name = dotted(call.func) if isinstance(call, cst.Call) else ""
        return f"the whole row is passed to {name}()" if name else "the whole row is passed on"
    if isinstance(up, cst.FormattedStringExpression):
        return "the whole row is formatted"
    if isinstance(up, (cst.For, cst.CompFor)):
        return "the row is iterated"
    if isinstance(up, (cst.Return, cst.Yield)):
        return "the whole row is returned"
    return "the whole row is used"
