"""functools, itertools, importlib, copy, and progress bars round what a loop goes over."""

from __future__ import annotations

import libcst as cst

from tricklint.interpreter.behaviour import function
from tricklint.interpreter.callargs import CallArgs
from tricklint.interpreter.imports import import_module, modules_below_package
from tricklint.interpreter.machine import Machine
from tricklint.interpreter.values import (
    UNKNOWN,
    Const,
    Instance,
    Partial,
    Prefixed,
    Sequence,
    Value,
    first,
    join,
    members,
)
from tricklint.libraries.facts import ModuleFacts
from tricklint.libraries.paramsets import ParamSet


@function("functools.partial")
def partial(m: Machine, name: str, args: CallArgs, node: cst.CSTNode) -> Value:
    if not args.positional:
        return UNKNOWN
    return Partial(args.positional[0], tuple(args.positional[1:]), dict(args.kwargs))


@function("itertools.chain")
def chain(m: Machine, name: str, args: CallArgs, node: cst.CSTNode) -> Value:
    items: list[Value] = []
    for value in args.positional:
        inner = first(value)
        if isinstance(inner, ParamSet):
            items.append(inner.but(elem=True))
        elif isinstance(inner, Sequence):
            items.extend(inner.items)
        else:
            items.append(UNKNOWN)
    return Sequence("list", tuple(items), True, node, m.file)


@function("importlib.import_module")
def dynamic_import(m: Machine, name: str, args: CallArgs, node: cst.CSTNode) -> Value:
    """`import_module("models." + name)`: the module of that name; any of the package's when the name may be another."""
    found: list[Value] = []
    sure = False
    for at in members(args.get(0, "name")):
        if isinstance(at, Const) and isinstance(at.value, str) and not at.value.startswith("."):
            found.append(import_module(m, at.value))
            sure = sure or (len(found) == 1 and at.default)
            if at.default:
                found += modules_below_package(m, at.value.rpartition(".")[0], "")
        elif isinstance(at, Prefixed) and not at.prefix.startswith("."):
            package, _, start = at.prefix.rpartition(".")
            found += modules_below_package(m, package, start)
    return join(*found, sure=sure) if found else UNKNOWN


@function("copy.deepcopy", "copy.copy")
def copied(m: Machine, name: str, args: CallArgs, node: cst.CSTNode) -> Value:
    for member in members(args.positional[0]) if args.positional else ():
        if isinstance(member, Instance):
            member.fact(ModuleFacts).copied = True
    return args.positional[0] if args.positional else UNKNOWN


@function(
    "tqdm.tqdm",
    "tqdm.auto.tqdm",
    "tqdm.notebook.tqdm",
    "tqdm.tqdm_notebook",
    "tqdm",
    "rich.progress.track",
    "fastprogress.progress_bar",
    "fastprogress.fastprogress.progress_bar",
    "progressbar.progressbar",
)
def iterates(m: Machine, name: str, args: CallArgs, node: cst.CSTNode) -> Value:
    return args.positional[0] if args.positional else args.kwargs.get("iterable", UNKNOWN)
