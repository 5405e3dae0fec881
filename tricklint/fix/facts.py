"""What is known of a program that was followed, so that another state of it can be held against it."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from tricklint.source.imports import closure

if TYPE_CHECKING:
    from tricklint.interpreter.values import Instance, Value
    from tricklint.interpreter.yields import Haste
    from tricklint.program import Program

Owner = tuple[str, int, str]  # a model: its label, and the how-manieth of that label it is in an entry
Given = dict[tuple[Owner, str], "int | None"]  # how often an optimizer is given each parameter; None: that is not known

BY_ENTRY = ("frozen", "gradients", "modes", "cleared")  # what is counted by the entry in which it happens


@dataclass
class Facts:
    """What is known of a program, in a form that does not depend on where its lines stand.

    optimised: of each optimizer in order, how often it is given each parameter it may be given. frozen, modes, cleared:
    events counted, by the entry in which they happen. gradients: models with weights, by how many backward passes come to
    them. keys: parameters of each trained model by their path. unbound: names that are read where nothing has bound them, by
    file. places: how many events of each kind stand in a file. incomplete: entries that were too long to be followed to
    their end: where they were left says nothing. starts: the file that each entry begins in. ran: the files that each file
    ran by importing them. haste: how each entry was followed; led: some otherwise than they would have been by themselves.
    """

    optimised: dict[str, list[tuple[str, Given]]] = field(default_factory=dict)
    frozen: Counter[tuple[str, object, object]] = field(default_factory=Counter)
    gradients: Counter[tuple[str, object, object]] = field(default_factory=Counter)
    modes: Counter[tuple[str, object, object]] = field(default_factory=Counter)
    cleared: Counter[tuple[str, object, object]] = field(default_factory=Counter)
    keys: dict[Owner, frozenset[str]] = field(default_factory=dict)
    unbound: Counter[tuple[str, str]] = field(default_factory=Counter)
    places: Counter[tuple[str, Path]] = field(default_factory=Counter)
    incomplete: frozenset[str] = frozenset()
    starts: dict[str, Path] = field(default_factory=dict)
    ran: dict[Path, frozenset[Path]] = field(default_factory=dict)
    haste: dict[str, Haste] = field(default_factory=dict)
    led: bool = False

    def add(self, other: Facts) -> None:
        """What is known of another part of the project: parts share no entry."""
        self.optimised.update(other.optimised)
        for name in BY_ENTRY:
            getattr(self, name).update(getattr(other, name))
        self.keys.update(other.keys)
        self.unbound |= other.unbound  # a file of two parts reads the name once
        self.places |= other.places
        self.incomplete |= other.incomplete
        self.starts.update(other.starts)
        self.haste.update(other.haste)
        self.led |= other.led
        for path, imported in other.ran.items():
            self.ran[path] = self.ran.get(path, frozenset()) | imported

    def fit(self, haste: Mapping[str, Haste]) -> bool:
        """Whether the entries would be followed as they were, where `haste` says how some are."""
        known = bool(haste) or not self.led
        return known and all(haste.get(entry, how) == how for entry, how in self.haste.items())

    def by_entry(self) -> dict[str, Facts]:
        """What is known of each entry by itself: all that is told by entries."""
        found: dict[str, Facts] = defaultdict(Facts)
        for entry, built in self.optimised.items():
            found[entry].optimised[entry] = built
        for owner, keys in self.keys.items():
            found[owner[2]].keys[owner] = keys
        for name in BY_ENTRY:
            for event, count in getattr(self, name).items():
                getattr(found[event[0]], name)[event] = count
        return found

    def reached(self, entries: Iterable[str]) -> set[Path]:
        """The files that entries ran, those that they begin in among them."""
        return self.run_by(self.starts[entry] for entry in entries if entry in self.starts)

    def run_by(self, paths: Iterable[Path]) -> set[Path]:
        """The files that `paths` ran, themselves among them."""
        return closure(paths, lambda at: self.ran.get(at, ()))

    def leading_to(self, paths: Iterable[Path]) -> set[Path]:
        """The files that ran one of `paths`, themselves among them."""
        importers: dict[Path, list[Path]] = {}
        for importer, imported in self.ran.items():
            for target in imported:
                importers.setdefault(target, []).append(importer)
        return closure(paths, lambda at: importers.get(at, ()))


class _Owners:
    """Names for models that stay when lines move: by the order in which facts of one kind speak of them. Each kind has names
    of its own, since what a fix changes on purpose in one must not rename the models of another."""

    def __init__(self) -> None:
        self._known: dict[tuple[str, int], Owner] = {}
        self._count: Counter[tuple[str, str]] = Counter()
        self._held: list[Instance] = []  # the ids above stay theirs

    def of(self, model: Instance, entry: str) -> Owner:
        at = (entry, id(model))
        if at not in self._known:
            self._known[at] = (model.label, self._count[entry, model.label], entry)
            self._count[entry, model.label] += 1
            self._held.append(model)
        return self._known[at]

    def named(self, value: Value, entry: str) -> tuple[object, ...]:
        from tricklint.libraries.paramsets import ParamSet, roots_of

        roots = tuple(self.of(root, entry) for root in roots_of(value))
        return (*roots, tuple(str(pred) for pred in value.preds)) if isinstance(value, ParamSet) else roots


def facts_of(program: Program) -> Facts:
    """What is known of a program that was followed."""
    from tricklint.interpreter.yields import Haste
    from tricklint.libraries.events import Backward, Froze, GradsCleared, ModeSet, OptimizerBuilt
    from tricklint.libraries.facts import OptimizerFacts

    found, owners = Facts(), _Owners()
    for at in program.events(OptimizerBuilt, Froze, ModeSet, GradsCleared):
        found.places[type(at).__name__, at.where] += 1
    for event in program.events(OptimizerBuilt):
        groups = [group.params for group in event.subject.fact(OptimizerFacts).groups if group.default]
        built = (event.subject.label, _given(groups, owners, found, event.entry))
        found.optimised.setdefault(event.entry, []).append(built)
    owners = _Owners()
    for frozen in program.events(Froze):
        found.frozen[frozen.entry, owners.named(frozen.subject, frozen.entry), frozen.value] += 1
    owners = _Owners()
    for mode in program.events(ModeSet):
        found.modes[mode.entry, owners.named(mode.subject, mode.entry), mode.train] += 1
    owners = _Owners()
    for cleared in program.events(GradsCleared):
        found.cleared[cleared.entry, owners.named(cleared.subject, cleared.entry), None] += 1
    owners = _Owners()
    for back in program.events(Backward):
        if program.haste[back.entry] is not Haste.NONE:
            continue  # what a function gave before may stand for what it gives here, and where that came from is lost
        for model in _reached(back.subject):
            found.gradients[back.entry, owners.of(model, back.entry), None] += 1
    found.unbound.update((str(path), name) for path, name in program.unbound)
    found.incomplete = frozenset(program.interpreter.incomplete)
    found.starts, found.ran = program.starts, program.ran
    found.haste, found.led = program.haste, program.led
    return found


def _reached(loss: Value) -> list[Instance]:
    """The models with weights whose outputs a backward pass from `loss` comes to, in the order in which it meets them."""
    from tricklint.interpreter.values import Instance, members
    from tricklint.libraries.tensors import Tensor
    from tricklint.program.evaluation import holds_weights

    found: dict[int, Instance] = {}
    stack, seen = [loss], set()
    while stack:
        for at in members(stack.pop()):
            if not isinstance(at, Tensor) or not at.grad or id(at) in seen:
                continue
            seen.add(id(at))
            if isinstance(at.module, Instance) and holds_weights(at.module):
                found.setdefault(id(at.module), at.module)
            stack.extend(reversed(at.inputs))
    return list(found.values())


def _given(groups: Iterable[Value], owners: _Owners, found: Facts, entry: str) -> Given:
    """How often the groups together give each parameter of the models they are of; None where that is not known."""
    from tricklint.libraries.paramsets import roots_of
    from tricklint.program.decay import param_sets
    from tricklint.program.slots import picks, slots

    counts: Given = {}
    for params in groups:
        sets = list(param_sets(params))
        for root in roots_of(params):
            owner = owners.of(root, entry)
            held = [slot for slot in slots(root) if not slot.absent]
            found.keys[owner] = frozenset(slot.path for slot in held)
            for slot in held:
                key = (owner, slot.path)
                for pset in sets:
                    if pset is None:
                        counts[key] = None
                    elif pset.root is root and counts.get(key, 0) is not None:
                        times = picks(pset, slot)
                        counts[key] = None if times is None else (counts.get(key) or 0) + times
    return counts


__all__ = ["Facts", "facts_of"]
