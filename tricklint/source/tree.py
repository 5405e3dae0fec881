"""A parsed file: the libcst tree, where each node stands, and who its parent is; each worked out only when asked for."""

from __future__ import annotations

import gc
import re
from bisect import bisect_right
from collections.abc import Callable, Iterator
from dataclasses import fields
from functools import cached_property
from operator import attrgetter
from pathlib import Path
from typing import Any

import libcst as cst
from libcst._nodes.internal import CodegenState

from tricklint.finding import Location
from tricklint.source.alignment import Alignment

# Fields that hold only white space, punctuation or operators: no rule looks there, and skipping them makes a walk
# over a tree many times cheaper than a CSTVisitor.
_SKIPPED = frozenset(
    "leading_lines lines_after_decorators whitespace_after whitespace_before whitespace_before_args whitespace_after_func "
    "whitespace_after_arg whitespace_before_colon whitespace_after_colon whitespace_after_star whitespace_after_def "
    "whitespace_after_name whitespace_before_params whitespace_after_class whitespace_after_for whitespace_before_in "
    "whitespace_after_in whitespace_after_if whitespace_before_test whitespace_after_while whitespace_after_with "
    "whitespace_after_return whitespace_after_import whitespace_after_from whitespace_before_import whitespace_after_as "
    "whitespace_before_as whitespace_after_raise whitespace_after_assert whitespace_after_del whitespace_after_lambda "
    "whitespace_after_await whitespace_after_except whitespace_after_global whitespace_after_nonlocal "
    "whitespace_before_from whitespace_after_yield whitespace_before_else whitespace_after_else whitespace_before_if "
    "whitespace_before whitespace_after_operator whitespace_before_value whitespace_after_value whitespace_before_equal "
    "whitespace_after_equal whitespace_before_param whitespace_after_param whitespace_after_indicator "
    "whitespace_after_at trailing_whitespace header footer lpar rpar lbracket rbracket lbrace rbrace comma semicolon "
    "equal dot colon indent newline whitespace comment".split()
)
# What libcst is known not to give back.
_MAY_DIFFER = re.compile(r"[\f\ufeff]|^[ \t]*\\\r?$|\r(?!\n)", re.MULTILINE)
_FORM_FEED = re.compile(r"(?:^|(?<=\r))[ \t\f]*\f([ \t]*)", re.MULTILINE)
_LONE_BACKSLASH = re.compile(r"(?:^|(?<=\r))([ \t]*)(?:\\(?:\r\n|\n|\r)([ \t]*))+", re.MULTILINE)
_Getter = Callable[[cst.CSTNode], tuple[Any, ...]]


class _Getters(dict[type, "_Getter | None"]):
    """What gives the fields of a node's type that may hold nodes; None where it has no such fields."""

    def __missing__(self, kind: type) -> _Getter | None:
        names = [field.name for field in fields(kind) if field.name not in _SKIPPED and field.type is not str]
        getter: _Getter | None = attrgetter(*names) if names else None
        if len(names) == 1:
            (name,) = names
            getter = lambda node: (getattr(node, name),)  # noqa: E731
        self[kind] = getter
        return getter


class _Kinds(dict[type, bool]):
    """Whether a type is a node's; isinstance asks an abstract class, which costs ten times as much."""

    def __missing__(self, kind: type) -> bool:
        self[kind] = answer = issubclass(kind, cst.CSTNode)
        return answer


_GETTERS = _Getters()
_IS_NODE = _Kinds()


def children(node: cst.CSTNode) -> list[cst.CSTNode]:
    """The nodes directly below `node` in source order, without white space and punctuation."""
    found: list[cst.CSTNode] = []
    getter = _GETTERS[type(node)]
    if getter is None:
        return found
    for value in getter(node):
        kind = type(value)
        if kind is tuple or kind is list:
            if value and _IS_NODE[type(value[0])]:  # then all are
                found += value
        elif _IS_NODE[kind]:
            found.append(value)
    return found


def dotted(node: cst.CSTNode | None) -> str:
    """`a.b.c` of a name or an attribute chain; empty for anything else."""
    parts: list[str] = []
    while isinstance(node, cst.Attribute):
        parts.append(node.attr.value)
        node = node.value
    if not isinstance(node, cst.Name):
        return ""
    parts.append(node.value)
    return ".".join(reversed(parts))


def walk(node: cst.CSTNode) -> Iterator[cst.CSTNode]:
    """`node` and all nodes below it, in source order."""
    stack = [node]
    while stack:
        node = stack.pop()
        yield node
        if _GETTERS[type(node)] is not None:
            below = children(node)
            below.reverse()
            stack += below


class _Positions(CodegenState):
    """Writes the code once and keeps the offsets of every node, by its id (which costs no call, as its hash does): one
    pass, six times cheaper than PositionProvider."""

    def __init__(self, module: cst.Module) -> None:
        super().__init__(default_indent=module.default_indent, default_newline=module.default_newline)
        self.offset = 0
        self.spans: dict[int, tuple[int, int]] = {}
        self._starts: list[int] = []

    def add_indent_tokens(self) -> None:
        for token in self.indent_tokens:
            self.offset += len(token)
        self.tokens += self.indent_tokens

    def add_token(self, value: str) -> None:
        self.offset += len(value)
        self.tokens.append(value)

    def before_codegen(self, node: cst.CSTNode) -> None:
        self._starts.append(self.offset)

    def after_codegen(self, node: cst.CSTNode) -> None:
        start = self._starts.pop()
        self.spans.setdefault(id(node), (start, self.offset))

    def record_syntactic_position(self, node: cst.CSTNode, *, start_node: Any = None, end_node: Any = None) -> Any:
        return _Syntactic(self, node, start_node, end_node)


class _Syntactic:
    __slots__ = ("end_node", "node", "start", "start_node", "state")

    def __init__(self, state: _Positions, node: cst.CSTNode, start_node: Any, end_node: Any) -> None:
        self.state, self.node, self.start_node, self.end_node = state, node, start_node, end_node

    def __enter__(self) -> None:
        self.start = self.state.offset

    def __exit__(self, *_: object) -> None:
        spans = self.state.spans
        start = spans[id(self.start_node)][0] if self.start_node is not None else self.start
        end = spans[id(self.end_node)][1] if self.end_node is not None else self.state.offset
        spans[id(self.node)] = (start, end)


def parse(text: str) -> cst.Module:
    """The module of a text. Raises `libcst.ParserSyntaxError`, and RecursionError for nesting beyond its depth.

    libcst takes a form feed before a row's code for a part of its indentation, and stumbles over a row that is a lone
    backslash. Python minds neither, so the text without them is read in its place. An argument that is called `async`
    is read under another name of the same length.
    """
    try:
        return _parse(text)
    except cst.ParserSyntaxError:
        from tricklint.source.grammar import without_old_names

        renamed = without_old_names(text)
        if renamed is None:
            raise
        return _parse(renamed)


_built_by_parser = False


def _check_node(node: cst.CSTNode) -> None:
    if not _built_by_parser:
        node._validate()


# Whoever builds a node is told when it is a wrong one. What the parser builds is right, and asking costs a sixth of it.
cst.CSTNode.__post_init__ = _check_node  # type: ignore[method-assign, assignment]


class _Plain(type(cst.CSTNode)):  # type: ignore[misc]
    """What a node's class is an instance of. Nobody registers foreign classes as nodes, so that the question of abstract
    classes, which takes ten times as long as the one of plain classes, needs not be asked."""

    __instancecheck__ = type.__instancecheck__
    __subclasscheck__ = type.__subclasscheck__


def _ask_plainly(kind: type) -> None:
    """From now on `isinstance(node, kind)` is answered as for any class, and for what is derived from it."""
    kind.__class__ = _Plain
    derived: type
    for derived in kind.__subclasses__():
        _ask_plainly(derived)


_ask_plainly(cst.CSTNode)


def _parse(text: str) -> cst.Module:
    global _built_by_parser
    _built_by_parser = True
    try:
        return _read(text)
    finally:
        _built_by_parser = False


def _read(text: str) -> cst.Module:
    if "\f" in text or "\\" in text:
        plain = _LONE_BACKSLASH.sub(lambda match: match[1] or match[2], _FORM_FEED.sub(r"\1", text))
        try:
            return cst.parse_module(plain)
        except cst.ParserSyntaxError:
            if plain == text:
                raise
    return cst.parse_module(text)


class Tree:
    """The libcst tree of one file. Raises `libcst.ParserSyntaxError` when the text cannot be parsed, and Misread when
    what was parsed is not that text."""

    def __init__(self, path: Path, text: str) -> None:
        self.path = path
        self.text = text
        self.answers: dict[Any, Any] = {}  # what `once_a_tree` keeps
        enabled = gc.isenabled()
        gc.disable()
        try:
            self.module = parse(text)
        finally:
            if enabled:
                gc.enable()
        if _MAY_DIFFER.search(text):
            self._spans  # noqa: B018 (a text that is misread is refused at once; others when a position is asked for)

    @cached_property
    def _spans(self) -> dict[int, tuple[int, int]]:
        """Offsets in `text`, by the id of a node. Raises Misread: no position is told before the code of the tree is known to be `text`."""
        state = _Positions(self.module)
        self.module._codegen(state)
        code = "".join(state.tokens)
        if code == self.text:
            return state.spans
        from tricklint.source.grammar import without_old_names

        text = without_old_names(self.text) or self.text  # as it was read
        if code == text:
            return state.spans
        alignment = Alignment(code, text)
        return {node: alignment.span(*span) for node, span in state.spans.items()}

    @cached_property
    def _line_starts(self) -> list[int]:
        starts, at = [0], 0
        if "\r" not in self.text:  # str.splitlines would also end a line at a form feed or U+2028
            for line in self.text.split("\n")[:-1]:
                at += len(line) + 1
                starts.append(at)
            return starts
        for line in _lines(self.text):
            at += len(line)
            starts.append(at)
        return starts if self.text.endswith(("\n", "\r")) else starts[:-1]

    def location(self, offset: int) -> Location:
        row = bisect_right(self._line_starts, offset)
        return Location(row, offset - self._line_starts[row - 1] + 1)

    def offset(self, location: Location) -> int:
        return self._line_starts[location.row - 1] + location.column - 1

    def offsets(self, node: cst.CSTNode) -> tuple[int, int]:
        """Start and end of a node in `text`, without white space and comments around it."""
        return self._spans[id(node)]

    def span(self, node: cst.CSTNode) -> tuple[Location, Location]:
        start, end = self.offsets(node)
        return self.location(start), self.location(end)

    def code(self, node: cst.CSTNode) -> str:
        """The text of a node, as its author wrote it."""
        start, end = self.offsets(node)
        return self.text[start:end]

    @cached_property
    def _parents(self) -> dict[int, cst.CSTNode]:
        parents: dict[int, cst.CSTNode] = {}
        stack: list[cst.CSTNode] = [self.module]
        while stack:
            node = stack.pop()
            below = children(node)
            for child in below:
                parents[id(child)] = node
            stack += below
        return parents

    def parent(self, node: cst.CSTNode) -> cst.CSTNode | None:
        return self._parents.get(id(node))

    def ancestors(self, node: cst.CSTNode) -> Iterator[cst.CSTNode]:
        up = self.parent(node)
        while up is not None:
            yield up
            up = self.parent(up)

    def statement_of(self, node: cst.CSTNode) -> cst.SimpleStatementLine | cst.BaseCompoundStatement | None:
        """The statement that holds `node` (a whole line of small statements counts as one)."""
        at: cst.CSTNode | None = node
        while at is not None and not isinstance(at, (cst.SimpleStatementLine, cst.BaseCompoundStatement)):
            at = self.parent(at)
        return at

    def line_start(self, offset: int) -> int:
        """Where the row of an offset begins."""
        return self._line_starts[bisect_right(self._line_starts, offset) - 1]

    def line(self, row: int) -> str:
        """The text of a row, without its end."""
        start, *rest = self._line_starts[row - 1 : row + 1]
        return self.text[start : rest[0] if rest else None].rstrip("\r\n")

    def header_span(self, node: cst.ClassDef | cst.FunctionDef) -> tuple[Location, Location]:
        """From `class`/`def` (decorators left out) to the end of the name."""
        name_start, name_end = self.offsets(node.name)
        start = self.line_start(name_start)
        line = self.text[start:name_start]
        return self.location(start + len(line) - len(line.lstrip())), self.location(name_end)


def _lines(text: str) -> Iterator[str]:
    """Lines as Python's tokenizer counts them: `\\r\\n`, `\\n` and a lone `\\r` end a line, nothing else does."""
    at = 0
    while at < len(text):
        end = at
        while end < len(text) and text[end] not in "\r\n":
            end += 1
        if text[end : end + 2] == "\r\n":
            end += 1
        yield text[at : end + 1]
        at = end + 1
