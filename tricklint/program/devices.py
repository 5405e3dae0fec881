"""Which device a training loop runs on, as far as the code says."""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Container, Iterable, Iterator
from typing import TYPE_CHECKING

import libcst as cst

from tricklint.interpreter.events import Building, Built, Event
from tricklint.interpreter.values import Class, Const, Instance, Ref, Sequence, Value, first, members
from tricklint.libraries.events import Moved, TrainsOver
from tricklint.program.loops import flow
from tricklint.program.requirements import at_least
from tricklint.program.words import speaks
from tricklint.source.tree import dotted, walk

if TYPE_CHECKING:
    from tricklint.interpreter.modules import FileModule
    from tricklint.program.program import Program

_NAMES = re.compile(r"\bcuda\b|is_cuda|use_cuda")
_STRING = re.compile(r"[\"']cuda")


def on_cuda(program: Program, back: Event, involved: Iterable[FileModule]) -> bool:
    """Whether a backward pass may run on CUDA: something in it is moved there, or nothing says where it runs and the code
    speaks of CUDA. Not where all that is moved goes to the CPU."""
    devices = set(_devices(program, back))
    if True in devices:
        return True
    if devices == {False}:
        return False
    files = list(involved)
    made = _made_in(program, back.entry)
    return any(speaks_of_cuda(file, made) for file in files) or _settings_name_cuda(program, files, made)


def _made_in(program: Program, entry: str) -> set[int]:
    """The ids of the nodes of all classes of which an entry makes an object, and of their bases."""

    def work_out() -> dict[str, set[int]]:
        found: dict[str, set[int]] = defaultdict(set)
        for event in program.events(Building, Built):
            if isinstance(event.subject, Instance) and isinstance(event.subject.cls, Class):
                found[event.entry].update(id(each.node) for each in event.subject.cls.mro() if isinstance(each, Class))
        return found

    by_entry: dict[str, set[int]] = program.remember("classes by entry", work_out)
    return by_entry.get(entry, set())


def _devices(program: Program, back: Event) -> Iterator[bool | None]:
    """For each move of the model or the data: to CUDA (True), to the CPU (False), or elsewhere (None)."""
    for event in program.events(Moved):
        if event.entry == back.entry and event.how in ("to", "cuda", "cpu"):
            yield is_cuda(event.args.get(0, "device")) if event.how == "to" else event.how == "cuda"
    for tensor in flow(back.subject):
        if tensor.op == "cuda":
            yield True
        elif tensor.op == "to" and len(tensor.inputs) > 1:
            yield is_cuda(tensor.inputs[1])


def is_cuda(device: Value | None) -> bool | None:
    """Whether a device is, or may be by one of its alternatives, an accelerator; None where it is not known."""
    verdicts = {_is_cuda(member) for member in members(device)}
    return True if True in verdicts else False if verdicts == {False} else None


def _is_cuda(device: Value) -> bool | None:
    if isinstance(device, Const):
        if isinstance(device.value, str):
            return True if device.value.startswith(("cuda", "gpu")) else False if device.value == "cpu" else None
        return True if isinstance(device.value, int) and not isinstance(device.value, bool) else None
    if isinstance(device, Instance):
        if device.library == "torch.device":
            given = device.args[0] if device.args else device.kwargs.get("type")
            return is_cuda(given)
        if device.library.startswith("torch.accelerator."):
            return True
    return True if isinstance(device, Ref) and device.name.startswith("torch.accelerator") else None


def speaks_of_cuda(file: FileModule, made: Container[int]) -> bool:
    """Whether the code of a file says so, but for the methods of classes of which no object is `made` (their nodes' ids)."""
    return _uses_cuda(file, made) or ("torch.accelerator" in file.tree.text and _uses_accelerator(file))


def _uses_cuda(file: FileModule, made: Container[int]) -> bool:
    """Whether a name or a string of the code says CUDA; an import of it alone is no use of it."""
    if not _NAMES.search(file.tree.text):
        return False
    imports = [node for node in walk(file.tree.module) if isinstance(node, (cst.Import, cst.ImportFrom))]
    imported = {id(part) for node in imports for part in walk(node)}
    bound = {
        alias.asname.name.value if alias.asname and isinstance(alias.asname.name, cst.Name) else dotted(alias.name)
        for node in imports
        if _NAMES.search(file.tree.code(node)) and not isinstance(node.names, cst.ImportStar)
        for alias in node.names
    }
    if speaks(file, _NAMES, imported | _idle(file, made)):
        return True
    return bool(bound) and any(
        isinstance(node, cst.Name) and node.value in bound and id(node) not in imported
        for node in walk(file.tree.module)
    )


def _idle(file: FileModule, made: Container[int]) -> set[int]:
    """The ids of all that stands in methods that nobody can call, as no object has them."""
    return {
        id(part)
        for each in walk(file.tree.module)
        if isinstance(each, cst.ClassDef) and id(each) not in made
        for method in each.body.body
        if isinstance(method, cst.FunctionDef) and not method.decorators
        for part in walk(method)
    }


def _uses_accelerator(file: FileModule) -> bool:
    return any(
        isinstance(node, cst.Attribute) and node.attr.value == "accelerator" and _named(node.value, "torch")
        for node in walk(file.tree.module)
    )


def _named(node: cst.CSTNode, name: str) -> bool:
    return isinstance(node, cst.Name) and node.value == name


def _settings_name_cuda(program: Program, involved: list[FileModule], made: Container[int]) -> bool:
    """A settings module of the project names a CUDA device."""
    for path in {path for file in involved for path in file.imports}:
        module = program.project.module(path)
        small = module is not None and len(module.tree.text) < 20_000 and _STRING.search(module.tree.text)
        if module is not None and small and speaks(module, _STRING, _idle(module, made)):
            return True
    return False


# -- loops that a framework runs -----------------------------------------------------------------------------------------

# Frameworks that take the accelerator they find, unless they are told not to
_BY_THEMSELVES = frozenset(("transformers", "fastai", "composer"))
_OF_THE_CPU = ("use_cpu", "no_cuda", "cpu")


def runs_on_cuda(program: Program, event: TrainsOver) -> bool:
    """Whether a framework's loop runs on an accelerator, by what its trainer (and the arguments of that) were told."""
    given = {**event.options, **(event.trainer.kwargs if event.trainer is not None else {})}
    if any(_true(given.get(name)) for name in _OF_THE_CPU):
        return False
    for name in ("accelerator", "device", "devices", "gpus"):
        if name in given and (verdict := _chosen(name, given[name])) is not None:
            return verdict
    if event.framework != "lightning":
        return event.framework in _BY_THEMSELVES
    return _of_lightning_2(event.trainer) or at_least(program, "pytorch-lightning", 2)


def _of_lightning_2(trainer: Instance | None) -> bool:
    """The trainer comes from the package `lightning`, which exists since version 2: by default it takes what there is. That
    of `pytorch_lightning` may be older, and keep to the CPU, unless the project asks for that version."""
    if trainer is None or trainer.file is None:
        return False
    for node in walk(trainer.file.tree.module):
        if isinstance(node, cst.Import):
            found = any(dotted(alias.name).partition(".")[0] == "lightning" for alias in node.names)
        elif isinstance(node, cst.ImportFrom) and node.module is not None and not node.relative:
            found = dotted(node.module).partition(".")[0] == "lightning"
        else:
            continue
        if found:
            return True
    return False


def _true(value: Value | None) -> bool:
    at = first(value)
    return isinstance(at, Const) and bool(at.value)


def _chosen(name: str, value: Value) -> bool | None:
    at = first(value)
    if isinstance(at, Instance) and at.library == "torch.cuda.device_count":  # all that there are
        return True
    if name in ("accelerator", "device"):
        if isinstance(at, Const) and at.value in ("auto", "gpu", "ddp", "cuda"):
            return True
        return is_cuda(value)
    if name == "devices":  # how many, of what: only a list of numbers names cards
        return True if isinstance(at, Sequence) and at.items else None
    verdicts = {bool(each.value) for each in members(value) if isinstance(each, Const)}
    if verdicts:
        return True in verdicts
    return True if isinstance(at, Sequence) and at.items else None


__all__ = ["is_cuda", "on_cuda", "runs_on_cuda"]
