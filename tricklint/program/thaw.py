"""Layers that are unfrozen, or put in, while training is under way: does an optimizer hold them, and at which rate."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import libcst as cst

from tricklint.interpreter.events import Event, Loop
from tricklint.interpreter.values import (
    Dict,
    Instance,
    Pred,
    Sequence,
    Value,
    first,
    members,
    number,
)
from tricklint.knowledge.pretrained import HEAD_NAMES
from tricklint.libraries.events import Forward, GroupAdded, OptimizerBuilt, Stepped, TrainerGiven
from tricklint.libraries.facts import Group, ModuleFacts, OptimizerFacts
from tricklint.libraries.modules import submodules
from tricklint.libraries.paramsets import ParamSet, roots_of
from tricklint.program.callbacks import hook_of, may_change_optimizer
from tricklint.program.program import Program
from tricklint.program.transfer import Freeze, freezes, holds, whole
from tricklint.source.tree import walk


@dataclass(frozen=True)
class Thaw:
    """`event` unfreezes `model` (or a part), which `frozen` froze before. `words`: the names it picks layers by."""

    event: Event
    model: Instance
    frozen: Freeze
    words: tuple[str, ...] = ()

    def label(self, otherwise: str) -> str:
        """What is unfrozen, for a message."""
        label = self.model.owner.label or otherwise
        return f"{label} ({', '.join(self.words[:3])})" if self.words else label


def thaws(program: Program) -> Iterator[Thaw]:
    """Every unfreezing of a module that was frozen before (one place may run for several models): of all of it, or of
    layers that go by name, once training has begun."""
    every = list(freezes(program))
    for at in every:
        if at.on is not True or not at.event.possible:
            continue
        words = () if whole(at.event.subject) else _names(at.preds)
        if words is None:
            continue
        for root in at.roots:
            before = next((other for other in every if _froze(other, at, root)), None)
            if before is None:
                continue
            if not words or (_new(words, before, at, every) and _under_way(program, before.event, at.event)):
                yield Thaw(at.event, root, before, words)
                break


def _froze(one: Freeze, at: Freeze, root: Instance) -> bool:
    """`one` froze parameters of `root` before `at` unfreezes some."""
    if one.on is not False or one.event.seq >= at.event.seq or one.event.entry != at.event.entry:
        return False
    before = hook_of(at.event) is not None and hook_of(one.event) is None  # one helper, run before the training and in it
    if (one.event.node is at.event.node and not before) or not (one.event.sure or in_turns(one.event, at.event)):
        return False
    return any(holds(outer, root) or holds(root, outer) for outer in one.roots)


def _names(preds: tuple[Pred, ...]) -> tuple[str, ...] | None:
    """The words that pick parameters by name; None when something else picks them too."""
    words: list[str] = []
    for pred in preds:
        if pred.op in ("within", "requires_grad", "not_none"):
            continue
        if pred.negated or pred.op not in ("name_contains", "name_startswith"):
            return None
        words += [str(word) for word in pred.args]
    return tuple(words)


def _new(words: tuple[str, ...], before: Freeze, at: Freeze, every: list[Freeze]) -> bool:
    """Layers of these names were frozen up to now, as far as names tell: no head, nothing spared or unfrozen before."""
    spared = {str(word) for pred in before.preds if pred.negated for word in pred.args}
    for other in every:
        if other.on is True and other.event.seq < at.event.seq and any(root in other.roots for root in at.roots):
            spared.update(_names(other.preds) or ())
    names = {step for word in words for step in word.split(".")}
    if names & HEAD_NAMES or any(word in one or one in word for word in words for one in spared if one):
        return False
    return all(pred.op in ("within", "requires_grad", "not_none") or pred.negated for pred in before.preds)


def _under_way(program: Program, frozen: Event, at: Event) -> bool:
    """An optimizer makes steps between the two events."""
    if by_counter(at) and not shares_loop(frozen, at):
        return any(step.entry == at.entry and shares_loop(step, at) for step in program.events(Stepped))
    return any(step.entry == at.entry and frozen.seq < step.seq < at.seq for step in program.events(Stepped))


def in_turns(one: Event, other: Event) -> bool:
    """Both happen in rounds of one loop, and its counter says in which: `if epoch < 5: freeze() elif epoch == 5: …`."""
    return one.possible and shares_loop(one, other) and by_counter(one) and by_counter(other)


def by_counter(event: Event) -> bool:
    """Whatever else decides whether the event happens, it looks at the counter of a loop around it."""
    tests = [step for step in event.path if step.taken is None and step.pred is None]
    return bool(tests) and all(any(_looks_at(step.node, loop) for loop in event.loops) for step in tests)


def _looks_at(branch: cst.CSTNode, loop: Loop) -> bool:
    if not isinstance(loop.node, cst.For):
        return False
    tree = loop.file.tree
    above = branch if isinstance(branch, cst.If) else tree.parent(branch)
    if isinstance(branch, cst.If) and isinstance(tree.parent(branch), cst.If):
        above = tree.parent(branch)  # `elif`: that it is reached says what came before did not hold
    counters = {each.value for each in walk(loop.node.target) if isinstance(each, cst.Name)}
    tests = [each.test for each in (above, branch) if isinstance(each, cst.If)]
    return any(isinstance(each, cst.Name) and each.value in counters for test in tests for each in walk(test))


def related(program: Program, event: OptimizerBuilt | GroupAdded, model: Instance) -> bool:
    """The optimizer of `event` holds something of the network that `model` belongs to."""
    sets = sets_of(event.subject)
    if sets is None:
        return False
    owner = model.owner
    roots = [root for subset, _ in sets for root in roots_of(subset)]
    if any(holds(root, model) or holds(owner, root) or holds(root, owner) for root in roots):
        return True
    runs_of = program.events(Forward, TrainerGiven)
    networks = {id(run.subject): run.subject for run in runs_of if run.entry == event.entry}
    return any(
        isinstance(network, Instance) and holds(network, model) and any(holds(network, root) for root in roots)
        for network in networks.values()
    )


def sets_of(optimizer: Instance) -> list[tuple[ParamSet, Group]] | None:
    """The parameter sets of every group; None when one is not known."""
    found: list[tuple[ParamSet, Group]] = []
    for group in optimizer.fact(OptimizerFacts).groups:
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
    """The optimizer steps after `at` (or around it, in the same loop), or a trainer makes its steps."""
    if any(event.entry == at.entry and runs(event, optimizer) for event in program.events(TrainerGiven)):
        return True
    for step in program.events(Stepped):
        if not any(member is optimizer for member in members(step.subject)) or step.entry != at.entry:
            continue
        if step.seq > at.seq or shares_loop(step, at):
            return True
    return False


def runs(event: TrainerGiven, optimizer: Instance) -> bool:
    """Whether a trainer is given a model that configures this optimizer."""
    stack = [event.subject.fact(ModuleFacts).optimizers] if event.subject.has(ModuleFacts) else []
    seen: set[int] = set()
    while stack:
        for member in members(stack.pop()):
            if member is optimizer:
                return True
            if isinstance(member, (Sequence, Dict)) and id(member) not in seen:
                seen.add(id(member))
                stack.extend(member.items if isinstance(member, Sequence) else member.fields.values())
    return False


def in_a_later_round(at: Event) -> bool:
    """In a method that a trainer calls again and again while it trains, and a test there says in which round."""
    hooks = [loop for loop in at.loops if isinstance(loop.node, cst.FunctionDef)]
    again = [loop for loop in hooks if loop.node.name.value in ("on_train_epoch_start", "training_step")]  # type: ignore[attr-defined]
    if (callback := hook_of(at)) is not None and may_change_optimizer(callback):
        return False
    return bool(again) and not at.sure and not any(_asks_trainer(loop) for loop in again)


def _asks_trainer(hook: Loop) -> bool:
    """The trainer is asked for more than the round it is in: it can set rates, or optimizers, anew."""
    for node in walk(hook.node):
        if isinstance(node, cst.Attribute) and node.attr.value == "trainer":
            above = hook.file.tree.parent(node)
            if not isinstance(above, cst.Attribute) or above.attr.value not in ("current_epoch", "global_step"):
                return True
    return False


def shares_loop(one: Event, other: Event) -> bool:
    mine = {id(loop.node) for loop in one.loops if isinstance(loop.node, (cst.For, cst.While))}
    return any(id(loop.node) in mine for loop in other.loops)


def rebuilt(program: Program, model: Instance, at: Event, optimizer: Instance) -> bool:
    """After `at` an optimizer is built, or given a group, that may hold `model`; a loop around both counts."""
    for event in program.events(OptimizerBuilt, GroupAdded):
        if event.entry != at.entry or not event.possible:
            continue
        if isinstance(event, GroupAdded):
            if event.seq > at.seq or shares_loop(event, at):
                return True
            continue
        if event.subject is not optimizer and (event.seq > at.seq or shares_loop(event, at)):
            sets = sets_of(event.subject)
            if sets is None or any(
                holds(root, model) or holds(model, root) for subset, _ in sets for root in roots_of(subset)
            ):
                return True
    return False


def optimizers_before(program: Program, at: Event) -> Iterator[OptimizerBuilt]:
    """Optimizers of the same entry that exist when `at` happens; the latest of each place."""
    for event in program.events(OptimizerBuilt):
        if event.entry == at.entry and event.seq < at.seq and event.possible and isinstance(event.subject, Instance):
            yield event


def rate_of(optimizer: Instance, model: Instance) -> float | None:
    """The lowest learning rate among the groups that hold `model`; None when one is not known."""
    sets = sets_of(optimizer)
    if sets is None:
        return None
    row = optimizer.fact(OptimizerFacts).row
    base = (
        number(optimizer.fact(OptimizerFacts).options.get("lr"))
        if "lr" in optimizer.fact(OptimizerFacts).options
        else getattr(row, "default_lr", None)
    )
    rates = []
    for subset, group in sets:
        if any(holds(root, model) or holds(model, root) for root in roots_of(subset)):
            rate = number(group.options["lr"]) if "lr" in group.options else base
            if rate is None or group.open or optimizer.fact(OptimizerFacts).open:
                return None
            rates.append(float(rate))
    return min(rates, default=None)


def has_layers(value: Value | None) -> bool:
    """A module with parameters of its own (not Identity, dropout, pooling)."""
    from tricklint.knowledge import layers

    weighted = layers.WEIGHTED | layers.AFFINE_NORM | layers.EMBEDDING
    at = first(value)
    return isinstance(at, Instance) and any(module.library in weighted for _, module in submodules(at))
