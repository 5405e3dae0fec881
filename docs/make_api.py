"""The page for authors of rules, made from the annotations and docstrings of what a rule may ask."""

from __future__ import annotations

import ast
import inspect
import textwrap
from collections.abc import Iterator
from types import ModuleType

import tricklint.finding
import tricklint.fix.build
import tricklint.interpreter.events
import tricklint.interpreter.values
import tricklint.libraries.events
import tricklint.libraries.facts
import tricklint.program.program
import tricklint.rule

# A part of the page: its heading, what stands below it, the module, and the names (None: its public classes).
PARTS: list[tuple[str, str, ModuleType, list[str] | None]] = [
    ("The rule", "Subclass it; the class attributes say what the rule is.", tricklint.rule, ["Rule"]),
    (
        "The program",
        "What `check` is given. Questions that have an answer here need no walk over the tree.",
        tricklint.program.program,
        ["Program"],
    ),
    (
        "Events of training code",
        "`program.events(OptimizerBuilt)` is a typed list of them, in the order in which they happen.",
        tricklint.libraries.events,
        None,
    ),
    ("Events of any Python", "Each event has what `Event` has.", tricklint.interpreter.events, None),
    (
        "What is known of an object",
        "Records: `optimizer.fact(OptimizerFacts).groups`. A record that nobody wrote is empty.",
        tricklint.libraries.facts,
        None,
    ),
    (
        "Values",
        "What the fields of events and records hold. `UNKNOWN` is a value too: be silent about it.",
        tricklint.interpreter.values,
        ["Value", "Unknown", "Const", "Place", "Ref", "Func", "Class", "Bound", "Instance", "Sequence", "Dict", "Union",
         "Pred", "Test", "members", "first", "instances", "number", "same"],
    ),
    ("Findings", "", tricklint.finding, None),
    (
        "Building a fix",
        "Each gives the edits of one change, or None where the place does not allow it; `joined` puts several together.",
        tricklint.fix.build,
        ["replace", "insert_before", "insert_after", "remove_statement", "wrap_block", "set_argument", "remove_argument",
         "add_import", "name_for", "joined", "edit_at"],
    ),
]  # fmt: skip
WIDTH = 78
_HEAD = """
Typed: a rule outside this repository passes `mypy --strict`. How to write one: [a rule of your own](write-a-rule.md). Positions
are libcst nodes; `event.file.tree` gives their text and place. What stands here may be relied on within a minor version.
"""


def page(made: str) -> str:
    parts = [f"# What a rule may ask\n\n{made}{_HEAD}"]
    for heading, text, module, names in PARTS:
        parts.append(f"\n## {heading}\n\n" + (f"{text}\n\n" if text else "") + f"`{module.__name__}`\n")
        parts += _entries(module, names)
    return "\n".join(parts)


def _entries(module: ModuleType, names: list[str] | None) -> Iterator[str]:
    body = ast.parse(inspect.getsource(module)).body
    lines = inspect.getsource(module).splitlines()
    nodes = {node.name: node for node in body if isinstance(node, (ast.ClassDef, ast.FunctionDef))}
    public = [name for name, node in nodes.items() if isinstance(node, ast.ClassDef) and not name.startswith("_")]
    for name in names if names is not None else public:
        node = nodes[name]
        if isinstance(node, ast.ClassDef):
            yield _class(node, lines)
        else:
            yield f"### `{name}`\n\n{_signature(node)}\n{_doc(node)}"


def _class(node: ast.ClassDef, lines: list[str]) -> str:
    rows = []
    for item in node.body:
        if isinstance(item, ast.AnnAssign) and isinstance(item.target, ast.Name) and not item.target.id.startswith("_"):
            default = f" = {ast.unparse(item.value)}" if isinstance(item.value, ast.Constant) else ""
            comment = lines[item.lineno - 1].partition("  # ")[2]
            rows.append(_row(f"{item.target.id}: {ast.unparse(item.annotation)}{default}", comment))
    methods = [item for item in node.body if isinstance(item, ast.FunctionDef) and not item.name.startswith("_")]
    decorated = [(method, {ast.unparse(by) for by in method.decorator_list}) for method in methods]
    for method, by in decorated:
        said_by_its_base = method.name in ("makes", "trains") and node.name != "Event"
        if by & {"property", "cached_property"} and method.returns is not None and not said_by_its_base:
            rows.append(_row(f"{method.name}: {ast.unparse(method.returns)}", _said(method)))
    for method, by in decorated:
        if not by & {"property", "cached_property", "overload"}:
            rows.append(_row(_line(method), _said(method)))
    base = f" ({ast.unparse(node.bases[0])})" if node.bases and ast.unparse(node.bases[0]) != "Generic" else ""
    code = "```python\n" + "\n".join(rows) + "\n```\n" if rows else ""
    return f"### `{node.name}`{base}\n\n{_doc(node)}{code}"


def _said(node: ast.FunctionDef) -> str:
    return " ".join((ast.get_docstring(node) or "").split("\n\n")[0].split())


def _row(code: str, comment: str) -> str:
    """Code with what is said of it: behind it, or above it where the two are too long for a page."""
    if len(code) + len(comment) <= WIDTH - 4 or not comment:
        return f"{code}  # {comment}" if comment else code
    return "\n".join([*textwrap.wrap(comment, WIDTH, initial_indent="# ", subsequent_indent="# "), code])


def _doc(node: ast.ClassDef | ast.FunctionDef) -> str:
    text = ast.get_docstring(node)
    return f"{text}\n\n" if text else ""


def _line(node: ast.FunctionDef) -> str:
    arguments = ast.unparse(node.args).removeprefix("self, ").removeprefix("self")
    returns = f" -> {ast.unparse(node.returns)}" if node.returns is not None else ""
    if len(arguments) + len(returns) + len(node.name) > WIDTH:
        arguments = "\n    " + "\n    ".join(_each(node.args)) + "\n"
    return f"def {node.name}({arguments}){returns}: ..."


def _each(arguments: ast.arguments) -> list[str]:
    """Each argument with its comma, one a line."""
    defaults = [None] * (len(arguments.args) - len(arguments.defaults)) + list(arguments.defaults)
    found = [
        ast.unparse(arg) + (f" = {ast.unparse(default)}" if default is not None else "")
        for arg, default in zip(arguments.args, defaults, strict=True)
        if arg.arg != "self"
    ]
    if arguments.vararg is not None:
        found.append(f"*{ast.unparse(arguments.vararg)}")
    elif arguments.kwonlyargs:
        found.append("*")
    for arg, default in zip(arguments.kwonlyargs, arguments.kw_defaults, strict=True):
        found.append(ast.unparse(arg) + (f" = {ast.unparse(default)}" if default is not None else ""))
    if arguments.kwarg is not None:
        found.append(f"**{ast.unparse(arguments.kwarg)}")
    return [f"{each}," for each in found]


def _signature(node: ast.FunctionDef) -> str:
    return f"```python\n{_line(node)}\n```\n"
