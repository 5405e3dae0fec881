"""The proof that a fix kept its word: what the program knows before and after the edits, held against each other.

The mended texts are followed by our own interpreter before anything is written. A fix whose post-condition (`Keeps`)
fails is not made.
"""

from __future__ import annotations

import ast
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tricklint.finding import Finding, Fix, Keeps

if TYPE_CHECKING:
    from tricklint.interpreter.values import Instance, Value
    from tricklint.program import Program

Owner = tuple[str, int, str]  # a model: its label, and the how-manieth of that label it is in an entry


@dataclass
class Facts:
    """What is known of a program, in a form that does not depend on where its lines stand.

    optimised: of each optimizer in order, how often it is given each parameter it may be given. frozen, modes, cleared:
    events counted, by the entry in which they happen. keys: parameters of each trained model by their path. unbound: names
    that are read where nothing has bound them, by file. places: how many events of each kind stand in a file. incomplete:
    entries that were too long to be followed to their end: where they were left says nothing.
    """

    optimised: list[tuple[str, str, dict[tuple[Owner, str], int | None]]] = field(default_factory=list)
    frozen: Counter[tuple[str, object, object]] = field(default_factory=Counter)
    modes: Counter[tuple[str, object, object]] = field(default_factory=Counter)
    cleared: Counter[tuple[str, object, object]] = field(default_factory=Counter)
    keys: dict[Owner, frozenset[str]] = field(default_factory=dict)
    unbound: Counter[tuple[str, str]] = field(default_factory=Counter)
    places: Counter[tuple[str, Path]] = field(default_factory=Counter)
    incomplete: frozenset[str] = frozenset()


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
    from tricklint.libraries.events import Froze, GradsCleared, ModeSet, OptimizerBuilt
    from tricklint.libraries.facts import OptimizerFacts

    found, owners = Facts(), _Owners()
    for at in program.events(OptimizerBuilt, Froze, ModeSet, GradsCleared):
        found.places[type(at).__name__, at.where] += 1
    for event in program.events(OptimizerBuilt):
        groups = [group.params for group in event.subject.fact(OptimizerFacts).groups if group.default]
        found.optimised.append((event.entry, event.subject.label, _given(groups, owners, found, event.entry)))
    owners = _Owners()
    for frozen in program.events(Froze):
        found.frozen[frozen.entry, owners.named(frozen.subject, frozen.entry), frozen.value] += 1
    owners = _Owners()
    for mode in program.events(ModeSet):
        found.modes[mode.entry, owners.named(mode.subject, mode.entry), mode.train] += 1
    owners = _Owners()
    for cleared in program.events(GradsCleared):
        found.cleared[cleared.entry, owners.named(cleared.subject, cleared.entry), None] += 1
    found.unbound.update((str(path), name) for path, name in program.unbound)
    found.incomplete = frozenset(program.interpreter.incomplete)
    return found


def _given(groups: Iterable[Value], owners: _Owners, found: Facts, entry: str) -> dict[tuple[Owner, str], int | None]:
    """How often the groups together give each parameter of the models they are of; None where that is not known."""
    from tricklint.libraries.paramsets import roots_of
    from tricklint.program.decay import param_sets
    from tricklint.program.slots import picks, slots

    counts: dict[tuple[Owner, str], int | None] = {}
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


def widest(all_keeps: Iterable[Keeps]) -> Keeps:
    """What several fixes, made together, may change between them."""
    order = {"same": 0, "fewer": 1, "more": 1, "any": 2}

    def loosest(values: set[str]) -> str:
        return "any" if {"fewer", "more"} <= values else max(values, key=lambda value: order[value])

    each = list(all_keeps) or [Keeps()]
    chosen: dict[str, Any] = {
        name: loosest({getattr(keeps, name) for keeps in each})
        for name in ("optimised", "frozen", "modes", "cleared", "keys")
    }
    return Keeps(**chosen)


def broken(before: Facts, after: Facts, keeps: Keeps) -> str:
    """What of `keeps` the mended program does not keep, in words; "" when it keeps all."""
    new = after.unbound - before.unbound
    if new and after.unbound.total() > before.unbound.total():
        return f"it would read {min(name for _, name in new)!r} where nothing has bound it"
    if not after.incomplete <= before.incomplete:
        return "the mended program could not be followed to its end"
    left = before.incomplete
    if keeps.keys != "any":
        for owner, keys in before.keys.items():
            now = after.keys.get(owner)
            if now is None or owner[2] in left or keys == now or (keeps.keys == "more" and keys <= now):
                continue
            return f"{owner[0]}'s state_dict would have other keys: {', '.join(sorted(keys ^ now)[:3])}"
    if keeps.optimised != "any" and (why := _optimised(before, after, keeps.optimised)):
        return why
    if keeps.frozen == "same" and _differ(before.frozen, after.frozen, left):
        return "other parameters would be frozen than before"
    if keeps.modes == "same" and _differ(before.modes, after.modes, left):
        return "train() and eval() would be called otherwise than before"
    if keeps.cleared == "same" and _differ(before.cleared, after.cleared, left):
        return "gradients would be cleared otherwise than before"
    return ""


def _differ(
    before: Counter[tuple[str, object, object]], after: Counter[tuple[str, object, object]], left: frozenset[str]
) -> bool:
    """Whether other events happen in the entries that were followed to their end."""
    return any(event[0] not in left and before[event] != after[event] for event in before | after)


def blamed(before: Facts, after: Facts, made: Iterable[tuple[Finding, Fix]]) -> list[Finding]:
    """The findings whose fixes are in files that hold more or fewer of such events now: most likely the cause."""
    places = {place[1] for place in before.places | after.places if before.places[place] != after.places[place]}
    return [finding for finding, fix in made if not places.isdisjoint(edit.path for edit in fix.edits)]


def _optimised(before: Facts, after: Facts, allowed: str) -> str:
    left = before.incomplete
    was_built = [(label, given) for entry, label, given in before.optimised if entry not in left]
    now_built = [(label, given) for entry, label, given in after.optimised if entry not in left]
    if len(was_built) != len(now_built):
        return f"{len(now_built)} optimizers would be built, not {len(was_built)}"
    for (label, old), (_, new) in zip(was_built, now_built):
        for key in old.keys() & new.keys():
            was, now = old[key], new[key]
            if was is None or now is None or was == now:
                continue
            if (allowed == "fewer" and now < was) or (allowed == "more" and now > was) or (was > 1 and now == 1):
                continue
            return f"{label} would be given {key[1]} {now} times, not {was}"
        known = [count for count in new.values() if count is not None]
        if old and new and len(known) == len(new) and not any(known):
            return f"{label} would be given nothing to train"
    return ""


# -- findings and names, which every fix keeps --------------------------------------------------------------------------


def arisen(
    before: Iterable[Finding], after: Iterable[Finding], mended: Iterable[Finding] = ()
) -> list[tuple[str, Path]]:
    """Rules and files in which the mended program has more findings than before, those in `mended` taken away."""
    was = Counter((finding.code, finding.path) for finding in before)
    was.subtract(Counter((finding.code, finding.path) for finding in mended))
    now = Counter((finding.code, finding.path) for finding in after)
    return sorted((place for place in now if now[place] > max(was[place], 0)), key=str)


def lost_name(old: str, new: str) -> str:
    """A name that the mended text reads where nothing has bound it, and the old text did not; "" when there is none."""
    before, after = _unbound(old), _unbound(new)
    # a name that was unbound may get another name
    return min(after - before, default="") if after.total() > before.total() else ""


@lru_cache(maxsize=64)  # the text before is asked about with each attempt
def _unbound(text: str) -> Counter[str]:
    """Names that pyflakes calls undefined, and those read above the line of their scope that first binds them; none
    where this Python cannot read the text."""
    from pyflakes import checker, messages

    try:
        tree = ast.parse(text)
        found = checker.Checker(tree).messages
    except (SyntaxError, ValueError, RecursionError):
        return Counter()
    kinds = (messages.UndefinedName, messages.UndefinedLocal)
    names = Counter(str(message.message_args[0]) for message in found if isinstance(message, kinds))
    scopes = [node for node in ast.walk(tree) if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef))]
    for scope in (tree, *scopes):
        names.update(_early(scope))
    return names


def _early(scope: ast.Module | ast.FunctionDef | ast.AsyncFunctionDef) -> set[str]:
    """Names that a scope reads in its own statements before it first binds them."""
    bound: dict[str, tuple[int, int]] = {}
    read: dict[str, tuple[int, int]] = {}
    if not isinstance(scope, ast.Module):
        given = scope.args
        for arg in (*given.posonlyargs, *given.args, *given.kwonlyargs, *filter(None, (given.vararg, given.kwarg))):
            bound[arg.arg] = (0, 0)
    outer: set[str] = set()
    stack: list[ast.AST] = list(scope.body)
    while stack:
        node = stack.pop()
        at = (getattr(node, "end_lineno", 0) or 0, getattr(node, "end_col_offset", 0) or 0)
        if isinstance(node, (ast.Global, ast.Nonlocal)):
            outer.update(node.names)
        elif isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef)):
            bound[node.name] = min(bound.get(node.name, at), (node.lineno, node.col_offset))
            stack.extend(node.decorator_list)
            continue
        elif isinstance(node, (ast.Lambda, ast.ListComp, ast.SetComp, ast.DictComp, ast.GeneratorExp)):
            continue  # scopes of their own, which may run later
        elif isinstance(node, ast.alias):
            name = (node.asname or node.name).partition(".")[0]
            bound[name] = min(bound.get(name, at), at)
        elif isinstance(node, ast.ExceptHandler) and node.name:
            bound[node.name] = min(bound.get(node.name, at), (node.lineno, node.col_offset))
        elif isinstance(node, ast.Name):
            table = read if isinstance(node.ctx, ast.Load) else bound
            table[node.id] = min(table.get(node.id, at), at)
        stack.extend(ast.iter_child_nodes(node))
    return {name for name, at in read.items() if name in bound and name not in outer and at < bound[name]}


__all__ = ["Facts", "arisen", "blamed", "broken", "facts_of", "lost_name", "widest"]
