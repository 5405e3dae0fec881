"""Sets of parameters and modules: what `model.parameters()` and a loop over them stand for."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import libcst as cst

from tricklint.interpreter.values import Class, Const, Instance, Pred, Ref, Sequence, Value, first, leaves, members


class OfLowered(str):
    """A text in a test that names pass in small letters: `"bias" in name.lower()`."""

    __slots__ = ()


def in_case_of(path: str, text: object) -> str:
    """A name as a test with this text looks at it."""
    return path.lower() if isinstance(text, OfLowered) else path


@dataclass(slots=True, eq=False)
class ParamSet(Value):
    """Parameters (or modules) below `root`, narrowed by `preds`.

    kind: "param" or "module". `elem` is one symbolic element while a loop goes over the set; `named` gives pairs.
    `names` stands for the names alone. `attr` narrows params to that attribute of the modules ("weight", "bias").
    """

    root: Value
    kind: str
    preds: tuple[Pred, ...] = ()
    elem: bool = False
    named: bool = False
    recurse: bool = True
    names: bool = False
    prefix: str = ""  # the path of the submodule the set was taken from, when the root is not it
    node: cst.CSTNode | None = None
    lowered: bool = False  # of names: in small letters

    def preds_of_name(self) -> list[Pred] | None:
        return list(self.preds) if self.names else None

    def narrowed(self, *preds: Pred) -> ParamSet:
        return ParamSet(
            self.root,
            self.kind,
            self.preds + preds,
            self.elem,
            self.named,
            self.recurse,
            self.names,
            self.prefix,
            self.node,
            self.lowered,
        )

    def but(self, **changes: Any) -> ParamSet:
        kept = {name: changes.get(name, getattr(self, name)) for name in ParamSet.__slots__}
        return ParamSet(**kept)


class Attr(Value):
    """An attribute of a loop element that a test may ask for: `p.ndim`, `p.shape`, `type(m)`, `m.__class__.__name__`."""

    __slots__ = ("of", "what")

    def __init__(self, of: ParamSet, what: str) -> None:
        self.of = of
        self.what = what


def strings(value: Value | None) -> tuple[str, ...] | None:
    """The strings of a constant or of a list of constants; None when one is unknown."""
    value = first(value)
    if isinstance(value, Const):
        return (value.value,) if isinstance(value.value, str) else None
    if isinstance(value, Sequence) and not value.open:
        found = []
        for item in value.items:
            at = first(item)
            if not isinstance(at, Const) or not isinstance(at.value, str):
                return None
            found.append(at.value)
        return tuple(found)
    return None


def element_of_any(value: Value | None) -> Value | None:
    """One element that stands for those of several sets, when a loop goes over one set or another."""
    found = members(value)
    if len(found) < 2 or not all(isinstance(m, ParamSet) for m in found):
        return None
    sets = [m for m in found if isinstance(m, ParamSet)]
    return sets[0] if len({(m.kind, m.names, m.elem) for m in sets}) == 1 else None


def type_names(value: Value | None) -> tuple[Any, ...]:
    """Dotted names (and program classes) of the second argument of isinstance."""
    found: list[Any] = []
    for member in leaves(value):
        if isinstance(member, Ref):
            found.append(member.name)
        elif isinstance(member, Class):
            found.append(member)
        else:
            found.append(None)
    return tuple(found)


def roots_of(value: Value | None) -> list[Instance]:
    """Instances that a set of parameters (or a list of them) hangs on."""
    found: list[Instance] = []
    for member in leaves(value):
        if isinstance(member, Instance):
            found.append(member)
        elif isinstance(member, ParamSet):
            found.extend(roots_of(member.root))
    return found
