"""Which explicit initialisation the weights of a layer end up with."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from tricklint.interpreter.values import (
    Instance,
    Pred,
    Value,
    first,
    members,
    number,
)
from tricklint.knowledge import layers
from tricklint.libraries.events import Initialised
from tricklint.libraries.paramsets import ParamSet
from tricklint.libraries.tensors import Tensor
from tricklint.program.slots import Slot, picks, slots

if TYPE_CHECKING:
    from tricklint.program.program import Program


@dataclass
class WeightInit:
    """One place that initialises weights: its events (one for each time it ran) and the layers whose weights keep what
    it gave them."""

    events: list[Initialised]
    layers: list[tuple[Initialised, Instance]] = field(default_factory=list)


def weight_inits(program: Program) -> list[WeightInit]:
    """Places that surely initialise the weights of Linear and conv layers, by the layers for which they have the last
    word; a later initialisation that only may happen, or may reach the layer, takes the word from an earlier one."""
    last: dict[int, tuple[Instance, Initialised | None]] = {}
    known: dict[int, list[Slot]] = {}
    for event in program.events(Initialised):
        if not event.possible:
            continue
        subject = event.subject
        if isinstance(subject, Instance):  # layer.weight = …
            if event.which == "weight" and subject.library in layers.WEIGHTED:
                last[id(subject)] = (subject, event if event.sure else None)
            continue
        if not isinstance(subject, ParamSet):
            continue
        whole = subject.kind == "module"
        if whole and event.which == "weight":
            subject, whole = subject.but(kind="param", preds=(*subject.preds, Pred("attr", ("weight",)))), False
        for root in members(subject.root):
            if not isinstance(root, Instance):
                continue
            if id(root) not in known:
                known[id(root)] = [s for s in slots(root) if s.name == "weight" and s.owner.library in layers.WEIGHTED]
            pset = subject.but(root=root)
            for slot in known[id(root)]:
                count = None if whole else picks(pset, slot)
                if count != 0:
                    sure = count is not None and event.sure and slot.sure
                    last[id(slot.owner)] = (slot.owner, event if sure else None)
    places: dict[int, WeightInit] = {}
    for layer, final in last.values():
        if final is not None:
            place = places.setdefault(id(final.node), WeightInit([]))
            if final not in place.events:
                place.events.append(final)
            place.layers.append((final, layer))
    return list(places.values())


def constant(event: Initialised) -> float | None:
    """The one number that an initialisation sets all weights to, or None."""
    scheme = event.scheme.rstrip("_")
    given: list[Value] = list(event.args or ())
    passed = event.kwargs or {}
    if scheme in ("zeros", "zero", "ones"):
        return 1.0 if scheme == "ones" else 0.0
    if scheme in ("constant", "fill"):
        value = number(given[0] if given else passed.get("val") or passed.get("value"))
        return None if value is None else float(value)
    if scheme == "assign" and given:
        return _filled(first(given[0]))
    return None


def _filled(value: Value | None) -> float | None:
    """The number in `torch.zeros(…)`, `torch.full_like(w, 0.1)`, `nn.Parameter(torch.ones(…))`."""

    if not isinstance(value, Tensor):
        return None
    if value.op in ("zeros", "zeros_like", "new_zeros"):
        return 0.0
    if value.op in ("ones", "ones_like", "new_ones"):
        return 1.0
    if value.op in ("full", "full_like") and len(value.inputs) > 1:
        filled = number(value.inputs[1])
        return None if filled is None else float(filled)
    if value.op in ("parameter", "to", "float", "cuda", "clone", "detach") and value.inputs:
        return _filled(first(value.inputs[0]))
    if value.op == "multiply":
        parts = [first(side) for side in value.inputs]
        numbers = [number(side) for side in parts]
        bases = [_filled(side) for side in parts]
        for scale, base in ((numbers[0], bases[1]), (numbers[1], bases[0])):
            if scale is not None and base is not None:
                return scale * base
    return None
