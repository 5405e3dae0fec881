"""What a module holds: the modules below it, with their attribute paths."""

from __future__ import annotations

from collections.abc import Iterator

from tricklint.interpreter.callargs import CallArgs
from tricklint.interpreter.values import (
    Class,
    Const,
    Instance,
    Ref,
    Sequence,
    Unknown,
    Value,
    first,
    members,
)
from tricklint.knowledge import layers
from tricklint.libraries.facts import ModuleFacts
from tricklint.libraries.paramsets import ParamSet


def layer_class(module: Instance) -> str:
    """The class of torch.nn that a layer is or, as one of a class of the program, descends from; "" for other modules."""
    if not isinstance(module.cls, Class):
        return module.library if layers.is_module_name(module.library) else ""
    bases = [base for base in module.cls.libraries() if layers.is_module_name(base) and base not in layers.CONTAINERS]
    return bases[0] if len(bases) == 1 else ""


def layer_arguments(module: Instance) -> tuple[tuple[Value, ...], dict[str, Value]]:
    """What the constructor of `layer_class` was given: a subclass hands on what it chooses."""
    given = module.fact(ModuleFacts).super_args if isinstance(module.cls, Class) else None
    if given is None:
        return module.args, module.kwargs
    return tuple(given.positional), given.kwargs


_HOLD_NOTHING = frozenset((Const, Unknown, Ref))


def adopt(made: Instance, args: CallArgs) -> None:
    """Modules among the arguments of a library's layer, also in a list of them, are its children."""
    for name, value in (*enumerate(args.positional), *args.kwargs.items()):
        if type(value) in _HOLD_NOTHING:
            continue
        inner = first(value)
        items = inner.items if isinstance(inner, Sequence) else (value,)
        for at, item in enumerate(items):
            if any(isinstance(each, Instance) and each.kind == "module" for each in members(item)):
                key = f"{name}.{at}" if len(items) > 1 else str(name)
                made.fields.setdefault(key, item)
                made.fact(ModuleFacts).adopted.add(key)


def submodules(module: Instance) -> tuple[tuple[str, Instance], ...]:
    """All modules below `module`, itself first, with their attribute path; modules in plain lists are not below it.

    Asked once the program was run: the answer is kept, as rules ask it again and again.
    """
    if module.below is None:
        module.below = tuple(_below(module, set(), ""))
    return module.below


def _below(module: Instance, seen: set[int], path: str, sure: bool = False) -> Iterator[tuple[str, Instance]]:
    if id(module) in seen:
        return
    seen.add(id(module))
    yield path, module
    for name, child in module.fields.items():
        held = members(child) if isinstance(child, Value) else ()
        if sure and len(held) > 1 and str(name).startswith("<dynamic"):
            continue
        for member in held:
            below = f"{path}.{name}" if path else str(name)
            if isinstance(member, Instance) and member.kind in ("module", "loss"):
                yield from _below(member, seen, below, sure)
            elif isinstance(member, ParamSet) and member.kind == "module":
                for root in members(member.root):
                    if isinstance(root, Instance):
                        yield from _below(root, seen, below, sure)


def surely_below(module: Instance) -> set[int]:
    """Ids of `module` and of the modules below it, without what is one of several under a name that is not known: what
    replaces the children of any of some nets puts the children of each of them into all."""
    return {id(below) for _, below in _below(module, set(), "", sure=True)}


def modules_below(module: Instance) -> set[int]:
    """Ids of `module` and of all modules below it."""
    return {id(below) for _, below in submodules(module)}


def held(module: Instance) -> frozenset[int]:
    """Ids of `module`, of all modules below it, and of the library models that those were taken from."""
    if module.held is None:
        owners = {id(below.owner) for _, below in submodules(module)}
        module.held = frozenset(modules_below(module) | owners)
    return module.held
