"""Which parameters an optimizer decays, group by group."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING

from tricklint.interpreter.values import (
    Class,
    Instance,
    Pred,
    Ref,
    Sequence,
    Union,
    Unknown,
    Value,
    members,
    number,
)
from tricklint.knowledge import layers
from tricklint.libraries.events import LossComputed
from tricklint.libraries.facts import Group, ModuleFacts, OptimizerFacts, from_library
from tricklint.libraries.modules import layer_class, submodules
from tricklint.libraries.paramsets import ParamSet, roots_of
from tricklint.program.loops import flow
from tricklint.program.slots import Slot, picks, slots

if TYPE_CHECKING:
    from tricklint.program.program import Program

# Words in parameter names that speak of biases and norms, as no-decay lists spell them
_VECTOR_WORDS = ("bias", "norm", "bn", "ln", "gain", "beta", "gamma", "scale", "gn")
# Tests that tell modules apart, or trained parameters from frozen ones, but not matrices from vectors
_NEUTRAL = frozenset(("requires_grad", "within", "child", "not_none", "id_in", "is"))


def speaks_of_vectors(texts: tuple[object, ...]) -> bool:
    return any(isinstance(text, str) and any(word in text.lower() for word in _VECTOR_WORDS) for text in texts)


def separates(pred: Pred) -> bool | None:
    """Whether a test tells biases and norms from weight matrices: True, False, or None when that is unknown."""
    if pred.op in _NEUTRAL:
        return False
    if pred.op in ("and", "or"):
        verdicts = {separates(inner) for inner in pred.args}
        return True if True in verdicts else None if None in verdicts else False
    if pred.op in ("name_contains", "name_endswith", "name_equals", "name_in", "name_startswith"):
        return speaks_of_vectors(pred.args)
    if pred.op in ("ndim", "isinstance", "attr", "hasattr", "classname_contains", "classname"):
        return True
    return None


@dataclass
class DecayedGroup:
    """A param group whose decay is known to be non-zero; `sets` are the undifferentiated parameter sets in it."""

    group: Group
    decay: float
    implied: bool  # the optimizer's own default, not written in the code
    sets: list[ParamSet]


def param_sets(value: Value | None) -> Iterator[ParamSet | None]:
    """The parameter sets behind a `params` argument; None for a part that is unknown, unless only a path that the defaults
    do not take makes it so."""
    seen: set[int] = set()
    stack: list[Value] = [value] if value is not None else []
    while stack:
        at = stack.pop()
        options = members(at)
        if isinstance(at, Union) and at.sure and isinstance(options[0], ParamSet):
            options = tuple(option for option in options if not isinstance(option, Unknown))
        for option in options:
            if not isinstance(option, Sequence):
                yield option if isinstance(option, ParamSet) else None
            elif option.open and not option.items:
                yield None  # a list of whatever it may be
            elif id(option) not in seen:
                seen.add(id(option))
                stack.extend(reversed(option.items))


def decayed_groups(optimizer: Instance) -> list[DecayedGroup]:
    """The groups of `optimizer` that decay biases and norms together with the matrices, as far as that is known."""
    found: list[DecayedGroup] = []
    told: list[ParamSet] = []
    for group in optimizer.fact(OptimizerFacts).groups:
        decay, implied = effective_decay(optimizer, group)
        if decay is None or decay == 0 or not group.default:
            continue
        sets, apart = undivided(group)
        if sets:
            found.append(DecayedGroup(group, decay, implied, sets))
        told += apart
        if not sets and (joined := joined_again(told)):  # in groups of their own, which decay all the same
            found.append(DecayedGroup(group, decay, implied, joined))
    return found


def undivided(group: Group) -> tuple[list[ParamSet], list[ParamSet]]:
    """The sets of a group in which biases and norms stand beside matrices, and those that a test told apart; none where a
    part of the group is unknown. Sets told apart count as one where the group holds both sides of the test."""
    told: list[ParamSet] = []  # sets that hold matrices or vectors alone
    sets: list[ParamSet] = []
    for pset in param_sets(group.params):
        if pset is None:
            return [], []
        if pset.kind != "param" or pset.names:
            continue
        verdicts = {separates(pred) for pred in pset.preds}
        if None in verdicts:
            return [], []
        if True in verdicts:
            told.append(pset)
        elif may_hold_vectors(pset):
            sets.append(pset)
    return [*sets, *joined_again(told)], told


def joined_again(told: list[ParamSet]) -> list[ParamSet]:
    """What sets that stand in one group make together, where one passed a test that the other failed and none is left that
    tells biases and norms apart."""
    return [
        whole for whole in joined(told) if not any(separates(pred) for pred in whole.preds) and may_hold_vectors(whole)
    ]


MOST_SETS = 16  # that are joined, pair by pair


def joined(sets: list[ParamSet]) -> list[ParamSet]:
    """What pairs of sets make together, where one passed a test that the other failed; and what these make in turn."""
    found: list[ParamSet] = []
    for at, pset in enumerate(known := sets[:MOST_SETS]):
        for other in known[:at]:
            if other.root is not pset.root or other.kind != pset.kind:
                continue
            rest = common_rest(pset.preds, other.preds)
            if rest is not None and len(known) < MOST_SETS:
                whole = pset.but(preds=rest, elem=False)
                found.append(whole)
                known.append(whole)
    return found


def common_rest(these: tuple[Pred, ...], those: tuple[Pred, ...]) -> tuple[Pred, ...] | None:
    """The tests that two sets share, when those in which they differ are passed by one and failed by the other."""
    these, those = flattened(these), flattened(those)
    own = [pred for pred in these if not any(alike(pred, other) for other in those)]
    others = [pred for pred in those if not any(alike(pred, other) for other in these)]
    if not own or not others or not (opposed(own, others) or opposed(others, own)):
        return None
    return tuple(pred for pred in these if not any(pred is each for each in own))


def flattened(preds: tuple[Pred, ...]) -> tuple[Pred, ...]:
    """`a and b` as two tests."""
    found: list[Pred] = []
    for pred in preds:
        if pred.op == "and" and not pred.negated:
            found += flattened(pred.args)
        elif pred.op == "or" and pred.negated:
            found += flattened(tuple(~part for part in pred.args))
        else:
            found.append(pred)
    return tuple(found)


def opposed(all_of: list[Pred], any_of: list[Pred]) -> bool:
    """What passes all of the first tests fails the second, and nothing fails both: `a and b`, and `not a or not b`."""
    if len(any_of) != 1:
        return False
    parts = any_of[0].args if any_of[0].op == "or" and not any_of[0].negated else tuple(any_of)
    return len(parts) == len(all_of) and all(any(complementary(a, b) for b in parts) for a in all_of)


def alike(a: Pred, b: Pred) -> bool:
    """The same test with the same outcome."""
    if a.op != b.op or a.negated != b.negated or len(a.args) != len(b.args):
        return False
    return all(alike(x, y) if isinstance(x, Pred) and isinstance(y, Pred) else x == y for x, y in zip(a.args, b.args))


_OPPOSITE = {"<": ">=", ">=": "<", ">": "<=", "<=": ">", "==": "!=", "!=": "=="}


def complementary(a: Pred, b: Pred) -> bool:
    """What passes one test fails the other, and nothing fails both: `p.ndim < 2`, and `p.ndim >= 2` or `p.ndim > 1`."""
    if alike(a, ~b):
        return not any(pred.op == "unknown" for pred in every_test((a,)))
    if a.op != "ndim" or b.op != "ndim":
        return False
    (how, least), (other, most) = spelled(a), spelled(b)
    return how != "?" and _OPPOSITE.get(how) == other and least == most


def spelled(pred: Pred) -> tuple[str, float]:
    """A test on dimensions without `>` and `<=`: they are whole numbers."""
    how, count = pred.args
    if pred.negated:
        how = _OPPOSITE.get(how, "?")
    return (">=", count + 1) if how == ">" else ("<", count + 1) if how == "<=" else (how, count)


def may_hold_vectors(pset: ParamSet) -> bool:
    """False when names are tested so that no bias or norm of the (known) model is in the set."""
    root = pset.root
    tests = [pred for pred in every_test(pset.preds) if pred.op.startswith("name")]
    if not isinstance(root, Instance) or not tests:
        return True
    grown = grown_by_name(tests, root)
    if "<dynamic>" in root.fact(ModuleFacts).grown and any(not pred.negated for pred in tests):
        return False  # what is picked by name may be what was hung there
    if grown:  # the names pick what the program itself hung on the modules of the model
        return any(has_vectors(module) is not False for module in grown)
    if any(module.fact(ModuleFacts).external or module.part_of is not None for _, module in submodules(root)):
        return True
    held = slots(root)
    vectors = [slot for slot in held if slot.is_norm or slot.name.startswith("bias") or slot.ndim == 1]
    return not held or any(picks(pset, slot) != 0 for slot in vectors)


def every_test(preds: tuple[Pred, ...]) -> Iterator[Pred]:
    """The tests in a condition, one by one."""
    for pred in preds:
        if pred.op in ("and", "or"):
            yield from every_test(pred.args)
        else:
            yield pred


def grown_by_name(tests: list[Pred], root: Instance) -> list[Instance]:
    """Modules that a loop over the model's own modules hung on them, under a name that the tests ask for."""
    texts = [text for pred in tests if not pred.negated for text in pred.args]
    return [
        module
        for name, value in root.fact(ModuleFacts).grown.items()
        if any(isinstance(text, str) and name in text.split(".") for text in texts)
        for module in members(value)
        if isinstance(module, Instance)
    ]


def effective_decay(optimizer: Instance, group: Group) -> tuple[float | None, bool]:
    """Weight decay of a group and whether it is only implied; None when it is not known."""
    known = optimizer.fact(OptimizerFacts)
    passed = group.options.get("weight_decay")
    if passed is None and not group.open:
        passed = known.options.get("weight_decay")
        if passed is None:
            if known.open:
                return None, False
            row = known.row
            return (row.default_decay if row is not None else None), True
    return least(passed), False


def least(value: Value | None) -> float | None:
    """The number a value is on the default path; where any of several may be, the smallest, if all are above zero."""
    sure = number(value)
    if sure is not None or not isinstance(value, Union) or value.sure:
        return float(sure) if sure is not None else None
    found = [number(each) for each in value.values]
    every = [each for each in found if each is not None and each > 0]
    return float(min(every)) if len(every) == len(found) else None


def has_vectors(module: Instance) -> bool | None:
    """Whether a module trains biases or norm parameters; None when its structure is not known."""
    unknown = foreign = False
    if module.fact(ModuleFacts).peft:
        return False  # the matrices of its adapters train, and nothing else
    for _, child in submodules(module):
        known = child.fact(ModuleFacts)
        if known.guessed:
            foreign = foreign or child is not module
        elif (
            known.external
            or child.part_of is not None
            or _made_elsewhere(child)
            or layer_class(child) in layers.ATTENTION
        ):
            return True
        unknown = (
            unknown or known.guessed or (not isinstance(child.cls, Class) and not child.library.startswith("torch.nn."))
        )
        foreign = foreign or any(_stranger(value) for value in child.fields.values())
    held = [slot for slot in slots(module) if not slot.absent]
    if any(is_vector(slot) for slot in held):
        return True
    if foreign and not held:
        return True  # an optimizer takes no empty list: what another library made holds the parameters
    return None if unknown or foreign else False


def foreign_net(program: Program, module: Instance) -> bool:
    """Whether a module of a library that nothing is known of is a net: a loss is computed of what it gives. (A loss with
    weights of its own gives the loss itself.) A net without a bias or a norm would be a rarity."""
    if not module.fact(ModuleFacts).guessed or isinstance(module.cls, Class) or module.fact(ModuleFacts).peft:
        return False

    def judged() -> set[int]:
        found: set[int] = set()
        left = [value for event in program.events(LossComputed) for value in event.inputs]
        while left:
            for at in flow(left.pop()):
                if at.op == "call" and at.module is not None and id(at.module) not in found:
                    found.add(id(at.module))
                    left += [at.result] if at.result is not None else []  # what it calls itself
        return found

    found: set[int] = program.remember("modules whose output is judged", judged)
    return id(module) in found


def vectors_of(models: list[Instance]) -> str:
    """What a message calls the vectors of these models: the biases, the norms, or both where not all is known."""
    if any(from_library(child) or _made_elsewhere(child) for model in models for _, child in submodules(model)):
        return "biases and norms"
    held = [slot for model in models for slot in slots(model) if not slot.absent and is_vector(slot)]
    norms = any(slot.is_norm for slot in held)
    if all(slot.is_norm for slot in held):
        return "norms" if held else "biases and norms"
    return "biases and norms" if norms else "biases"


def is_vector(slot: Slot) -> bool:
    """A bias, or the scale or shift of a norm layer."""
    return (
        slot.is_norm or slot.name.startswith("bias") or slot.name.endswith("bias") or slot.library in layers.RECURRENT
    )


def _made_elsewhere(child: Instance) -> bool:
    """An instance of a class of the program whose base class, a library's, brings layers of its own."""
    return isinstance(child.cls, Class) and any(
        not name.startswith(("torch.nn.", "lightning.")) for name in child.cls.libraries()
    )


def _stranger(value: object) -> bool:
    """Something that a library made, of which nothing is known."""
    return any(
        isinstance(member, Instance) and not member.kind and isinstance(member.cls, Ref)
        for member in (members(value) if isinstance(value, Value) else ())
    )


def roots(sets: list[ParamSet]) -> list[Instance]:
    found: list[Instance] = []
    for pset in sets:
        for root in roots_of(pset):
            if root not in found:
                found.append(root)
    return found
