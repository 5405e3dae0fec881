"""Which transfer-learning recipe a program uses on its pretrained model."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from tricklint.interpreter.events import Built, Event
from tricklint.interpreter.values import (
    Instance,
    members,
)
from tricklint.knowledge import layers
from tricklint.knowledge.pretrained import HEAD_NAMES
from tricklint.libraries.events import HeadReplaced, TrainerGiven
from tricklint.libraries.facts import ModuleFacts, OptimizerFacts
from tricklint.libraries.modules import submodules
from tricklint.libraries.paramsets import roots_of
from tricklint.program.program import Program
from tricklint.program.transfer import freezes, holds, optimised, whole


@dataclass(frozen=True)
class UsedRecipe:
    """How a pretrained model is trained: `frozen` all of the backbone, `partly`, or not at all; its new head's depth.

    head_layers: weighted layers of the head, None when the head is not seen. `event` is where it is optimised.
    """

    model: Instance
    frozen: str  # "all", "part", "none"
    head_layers: int | None
    event: Event


def recipes(program: Program) -> Iterator[UsedRecipe]:
    """The recipe of every pretrained model that is trained and whose freezing is known."""
    seen: set[int] = set()
    every = list(freezes(program))
    for event in program.events(Built):
        model = event.subject
        if (
            not isinstance(model, Instance)
            or model.fact(ModuleFacts).pretrained is not True
            or id(model) in seen
            or not event.sure
        ):
            continue
        if model.part_of is not None:
            continue
        seen.add(id(model))
        around = [outer for outer, _ in program.trained.values() if holds(outer, model)]
        optimisers = [found for outer in (model, *around) for found in optimised(program, outer)]
        if not optimisers:
            continue
        touching = [f for f in every if any(holds(root, model) or holds(model, root) for root in f.roots)]
        if any(not f.event.sure or f.on is None for f in touching):
            continue
        frozen = "none"
        for freeze in touching:
            all_of_it = whole(freeze.event.subject) and any(holds(root, model) for root in freeze.roots)
            if freeze.on is False:
                # the feature extractor counts as all of it: it holds nearly everything
                stages = {str(root.fact(ModuleFacts).path) for root in freeze.roots if root.owner is model}
                frozen = "all" if all_of_it or stages & {"features", "encoder", "backbone"} else "part"
            elif all_of_it:
                frozen = "none"
            elif not _head_only(freeze.roots, model) and frozen == "all":
                frozen = "part"
        if frozen == "none" and not any(_holds_backbone(found, model) for found in optimisers):
            frozen = "all"  # the optimizer has the head alone
        yield UsedRecipe(model, frozen, _head_layers(program, model, around), optimisers[0])


def _head_only(roots: tuple[Instance, ...], model: Instance) -> bool:
    return all(
        root.owner is not model or str(root.fact(ModuleFacts).path).partition(".")[0] in HEAD_NAMES for root in roots
    )


def _holds_backbone(event: Event, model: Instance) -> bool:
    if isinstance(event, TrainerGiven):
        return True
    groups = event.subject.fact(OptimizerFacts).groups  # type: ignore[attr-defined]
    return any(holds(root, model) for group in groups for root in roots_of(group.params))


def _head_layers(program: Program, model: Instance, around: list[Instance]) -> int | None:
    """Weighted layers in the newest head of the model, or beside it in the class that holds it."""
    heads = [
        value
        for event in program.events(HeadReplaced)
        if any(isinstance(subject, Instance) and subject.owner is model for subject in members(event.subject))
        for value in members(event.value)
        if isinstance(value, Instance)
    ]
    if heads:
        return _weighted(heads[-1])
    outer = next(
        (each for each in around if each is not model and any(child is model for _, child in submodules(each))), None
    )
    if outer is None:
        return 1 if model.fact(ModuleFacts).new_head else None
    return sum(
        _weighted(member)
        for child in outer.fields.values()
        for member in members(child)
        if isinstance(member, Instance) and member.kind == "module" and member is not model
    )


def _weighted(module: Instance) -> int:
    return sum(1 for _, below in submodules(module) if below.library in layers.WEIGHTED)
