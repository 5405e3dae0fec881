"""Layers that are unfrozen, or put in, while training is under way: does an optimizer hold them, and at which rate."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import libcst as cst

from tricklint.program.events import Event
from tricklint.program.library import Group
from tricklint.program.objects import owner_model, submodules
from tricklint.program.params import roots_of
from tricklint.program.program import Program
from tricklint.program.transfer import Freeze, freezes, holds, whole
from tricklint.program.values import Instance, ParamSet, Sequence, Value, first, members, number


@dataclass(frozen=True)
class Thaw:
    """`event` unfreezes `model` (or a part), which `frozen` froze before."""

    event: Event
    model: Instance
    frozen: Freeze


def thaws(program: Program) -> Iterator[Thaw]:
    """Every unfreezing of a whole module that was frozen before (one place may run for several models)."""
    every = list(freezes(program))
    for at in every:
        if at.on is not True or not at.event.possible or not whole(at.event.subject):
            continue
        for root in at.roots:
            before = next(
                (
                    other
                    for other in every
                    if other.on is False
                    and other.event.sure
                    and other.event.seq < at.event.seq
                    and other.event.entry == at.event.entry
                    and other.event.node is not at.event.node
                    and any(holds(outer, root) or holds(root, outer) for outer in other.roots)
                ),
                None,
            )
            if before is not None:
                yield Thaw(at.event, root, before)
                break


def related(program: Program, event: Event, model: Instance) -> bool:
    """The optimizer of `event` holds something of the network that `model` belongs to."""
    sets = sets_of(event.subject)  # type: ignore[arg-type]
    if sets is None:
        return False
    owner = owner_model(model)
    roots = [root for subset, _ in sets for root in roots_of(subset)]
    if any(holds(root, model) or holds(owner, root) or holds(root, owner) for root in roots):
        return True
    networks = {id(run.subject): run.subject for run in program.events("forward") if run.entry == event.entry}
    return any(
        isinstance(network, Instance) and holds(network, model) and any(holds(network, root) for root in roots)
        for network in networks.values()
    )


def sets_of(optimizer: Instance) -> list[tuple[ParamSet, Group]] | None:
    """The parameter sets of every group; None when one is not known."""
    found: list[tuple[ParamSet, Group]] = []
    for group in optimizer.notes["groups"]:
        sets = list(_sets(group.params))
        if not sets or any(one is None for one in sets):
            return None
        found.extend((one, group) for one in sets if one is not None)
    return found or None


def _sets(value: Value | None) -> Iterator[ParamSet | None]:
    for member in members(value):
        if isinstance(member, ParamSet):
            yield member
        elif isinstance(member, Sequence) and member.items:
            for item in member.items:
                yield from _sets(item)
        else:
            yield None


def covers(optimizer: Instance, model: Instance, at: Event) -> bool | None:
    """Whether the optimizer holds the parameters of `model` that were frozen when it was built; None: not known.

    at: the event before which they were frozen, so that a filter on `requires_grad` left them out.
    """
    sets = sets_of(optimizer)
    if sets is None:
        return None
    verdict: bool | None = False
    for subset, _ in sets:
        roots = roots_of(subset)
        picks = [pred for pred in subset.preds if pred.op not in ("within", "not_none")]
        if not any(holds(root, model) for root in roots):
            continue  # another model, or only a part of this one
        if not picks:
            return True
        if not all(pred.op == "requires_grad" and not pred.negated for pred in picks):
            verdict = None
    return verdict


def trains_on(program: Program, optimizer: Instance, at: Event) -> bool:
    """The optimizer steps after `at` (or around it, in the same loop)."""
    for step in program.events("step"):
        if not any(member is optimizer for member in members(step.subject)) or step.entry != at.entry:
            continue
        if step.seq > at.seq or shares_loop(step, at):
            return True
    return False


def shares_loop(one: Event, other: Event) -> bool:
    mine = {id(loop.node) for loop in one.loops if isinstance(loop.node, (cst.For, cst.While))}
    return any(id(loop.node) in mine for loop in other.loops)


def rebuilt(program: Program, model: Instance, at: Event, optimizer: Instance) -> bool:
    """After `at` an optimizer is built, or given a group, that may hold `model`; a loop around both counts."""
    for event in program.events("optimizer", "group_added"):
        if event.entry != at.entry or not event.possible:
            continue
        if event.kind == "group_added":
            if event.seq > at.seq or shares_loop(event, at):
                return True
            continue
        if event.subject is not optimizer and (event.seq > at.seq or shares_loop(event, at)):
            sets = sets_of(event.subject)  # type: ignore[arg-type]
            if sets is None or any(
                holds(root, model) or holds(model, root) for subset, _ in sets for root in roots_of(subset)
            ):
                return True
    return False


def optimizers_before(program: Program, at: Event) -> Iterator[Event]:
    """Optimizers of the same entry that exist when `at` happens; the latest of each place."""
    for event in program.events("optimizer"):
        if event.entry == at.entry and event.seq < at.seq and event.possible and isinstance(event.subject, Instance):
            yield event


def rate_of(optimizer: Instance, model: Instance) -> float | None:
    """The lowest learning rate among the groups that hold `model`; None when one is not known."""
    sets = sets_of(optimizer)
    if sets is None:
        return None
    row = optimizer.notes.get("row")
    base = (
        number(optimizer.notes["options"].get("lr"))
        if "lr" in optimizer.notes["options"]
        else getattr(row, "default_lr", None)
    )
    rates = []
    for subset, group in sets:
        if any(holds(root, model) or holds(model, root) for root in roots_of(subset)):
            rate = number(group.options["lr"]) if "lr" in group.options else base
            if rate is None or group.open or optimizer.notes.get("open"):
                return None
            rates.append(float(rate))
    return min(rates, default=None)


def has_layers(value: Value | None) -> bool:
    """A module with parameters of its own (not Identity, dropout, pooling)."""
    from tricklint.knowledge import layers

    weighted = layers.WEIGHTED | layers.AFFINE_NORM | layers.EMBEDDING
    at = first(value)
    return isinstance(at, Instance) and any(module.library in weighted for _, module in submodules(at))
