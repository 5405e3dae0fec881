"""Things that a program looks up by name: `eval`, `sys.modules`, and what it adds to the folders of imports."""

from __future__ import annotations

from pathlib import Path, PurePath

import libcst as cst

from tricklint.interpreter.arguments import arguments
from tricklint.interpreter.attributes import get_attribute
from tricklint.interpreter.behaviour import Behaviour, behaves, function
from tricklint.interpreter.callargs import CallArgs
from tricklint.interpreter.imports import ModuleValue, import_module
from tricklint.interpreter.machine import Machine
from tricklint.interpreter.values import NONE, UNKNOWN, Const, Ref, Sequence, Unknown, Value, first
from tricklint.libraries.paths import path_pattern, path_text, places
from tricklint.source.tree import walk

LONGEST = 300  # characters of an expression in a string


@function("builtins.eval", "ast.literal_eval")
def evaluated(m: Machine, name: str, args: CallArgs, node: cst.CSTNode) -> Value:
    """`eval(args.arch + "()")`: a name, calls with plain arguments one behind the other (`Models(args).resnet()`), or a
    literal. It is read, never run."""
    text = first(args.positional[0]) if args.positional else None
    if not isinstance(text, Const) or not isinstance(text.value, str) or len(text.value) > LONGEST:
        return UNKNOWN
    try:
        expression = cst.parse_expression(text.value.strip())
    except Exception:  # libcst raises more than ParserSyntaxError
        return UNKNOWN
    # what happens within has no place in the file: only the outermost calls may do more than name something
    if any(_happens(each) for part in _parts(expression) for each in walk(part)):
        return UNKNOWN
    found = _read(m, expression, node)
    inner = first(found)
    if isinstance(expression, cst.Call) or not isinstance(inner, Const):
        return found
    return Const(inner.value, inner.default or text.default, inner.place)


def _parts(expression: cst.BaseExpression) -> list[cst.CSTNode]:
    """What calls that stand one behind the other are made on and with; another expression itself."""
    if not isinstance(expression, cst.Call):
        return [expression]
    callee = expression.func
    behind = isinstance(callee, cst.Attribute) and isinstance(callee.value, cst.Call)
    rest = _parts(callee.value) if behind and isinstance(callee, cst.Attribute) else [callee]
    return [*rest, *(arg.value for arg in expression.args)]


def _read(m: Machine, expression: cst.BaseExpression, node: cst.CSTNode) -> Value:
    """The expression's value; each of the calls happens at `node`."""
    if not isinstance(expression, cst.Call):
        return m.eval(expression)
    callee = expression.func
    if isinstance(callee, cst.Attribute) and isinstance(callee.value, cst.Call):
        given = get_attribute(m, _read(m, callee.value, node), callee.attr.value, node)
    else:
        given = m.eval(callee)
    return m.call(given, arguments(m, expression), node)


def _happens(node: cst.CSTNode) -> bool:
    """Whether evaluating a node does more than name something: `model.parameters()` names them."""
    if isinstance(node, cst.Call):
        names = isinstance(node.func, cst.Attribute) and node.func.attr.value in ("parameters", "named_parameters")
        return not names or bool(node.args)
    return isinstance(node, (cst.Lambda, cst.NamedExpr, cst.CompFor))


@behaves(Ref)
class OfLibraries(Behaviour):
    def item(self, m: Machine, value: Ref, index: Value, node: cst.CSTNode) -> Value | None:
        """`sys.modules[__name__]`"""
        if value.name != "sys.modules":
            return None
        at = first(index)
        if isinstance(at, Const) and isinstance(at.value, str) and at.value != "__main__":
            return import_module(m, at.value)
        return ModuleValue(m.file) if isinstance(at, (Const, Unknown)) and not m.file.is_package else UNKNOWN


@function("sys.path.append", "sys.path.insert", "sys.path.extend", "site.addsitedir")
def more_folders(m: Machine, name: str, args: CallArgs, node: cst.CSTNode) -> Value:
    """The program imports from these folders too."""
    given = first(args.positional[-1]) if args.positional else None
    for value in given.items if isinstance(given, Sequence) else args.positional[-1:]:
        text = path_text(value)
        known = places(m, text) if text is not None else []
        for folder in known if any(m.project.holds(each) for each in known) else _as_checked_out(m, path_pattern(value) or ""):
            m.project.add_root(folder)
    return NONE


def _as_checked_out(m: Machine, text: str) -> list[Path]:
    """Where a folder outside the project lies in this checkout of it: `/home/me/detector/src` is its `src`, and so is the
    end of a path whose beginning is not known."""
    known = PurePath(text.rpartition("*")[2].strip("/")).parts
    parts = known if "*" in text else known[1:]  # somewhere in front of it stands where the checkout lies
    for start in range(len(parts)):
        found = [each for each in places(m, str(PurePath(*parts[start:]))) if m.project.holds(each)]
        if found:
            return found[:1]
    return []
