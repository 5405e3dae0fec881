"""Which parameters an optimizer decays, group by group."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from tricklint.interpreter.values import (
    Class,
    Const,
    Instance,
    Pred,
    Sequence,
    Value,
    first,
    members,
    number,
)
from tricklint.knowledge import layers
from tricklint.libraries.facts import Group, ModuleFacts, OptimizerFacts
from tricklint.libraries.modules import submodules
from tricklint.libraries.paramsets import ParamSet, roots_of
from tricklint.program.slots import picks, slots

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
    """The parameter sets behind a `params` argument; None for a part that is unknown."""
    for member in members(value):
        if isinstance(member, ParamSet):
            yield member
        elif isinstance(member, Sequence):
            for item in member.items:
                yield from param_sets(item)
        else:
            yield None


def decayed_groups(optimizer: Instance) -> list[DecayedGroup]:
    """The groups of `optimizer` that decay biases and norms together with the matrices, as far as that is known."""
    found: list[DecayedGroup] = []
    for group in optimizer.fact(OptimizerFacts).groups:
        decay, implied = effective_decay(optimizer, group)
        if decay is None or decay == 0 or not group.default:
            continue
        sets: list[ParamSet] = []
        for pset in param_sets(group.params):
            if pset is None:
                sets = []
                break
            if pset.kind != "param" or pset.names:
                continue
            verdicts = {separates(pred) for pred in pset.preds}
            if None in verdicts:
                sets = []
                break
            if True not in verdicts and may_hold_vectors(pset):
                sets.append(pset)
        if sets:
            found.append(DecayedGroup(group, decay, implied, sets))
    return found


def may_hold_vectors(pset: ParamSet) -> bool:
    """False when names are tested so that no bias or norm of the (known) model is in the set."""
    root = pset.root
    if not isinstance(root, Instance) or not any(pred.op.startswith("name") for pred in pset.preds):
        return True
    if any(module.fact(ModuleFacts).external or module.part_of is not None for _, module in submodules(root)):
        return True
    held = slots(root)
    vectors = [slot for slot in held if slot.is_norm or slot.name.startswith("bias") or slot.ndim == 1]
    return not held or any(picks(pset, slot) != 0 for slot in vectors)


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
    value = number(passed)
    return (float(value) if value is not None else None), False


def has_vectors(module: Instance) -> bool | None:
    """Whether a module has bias or norm parameters; None when its structure is not known."""
    unknown = False
    for _, child in submodules(module):
        if child.library in layers.WEIGHTED:
            bias = first(child.kwargs.get("bias"))
            if not (isinstance(bias, Const) and not bias.value):
                return True
        elif child.library in layers.AFFINE_NORM:
            affine = first(child.kwargs.get("affine") or child.kwargs.get("elementwise_affine"))
            if not (isinstance(affine, Const) and not affine.value):
                return True
        elif (
            child.library in layers.RECURRENT
            or child.library in layers.ATTENTION
            or child.fact(ModuleFacts).external
            or child.part_of is not None
            or (
                isinstance(child.cls, Class)
                and any(not name.startswith(("torch.nn.", "lightning.")) for name in child.cls.libraries())
            )
        ):
            return True
        elif not isinstance(child.cls, Class) and not child.library.startswith("torch.nn."):
            unknown = True
    return None if unknown else False


def roots(sets: list[ParamSet]) -> list[Instance]:
    found: list[Instance] = []
    for pset in sets:
        for root in roots_of(pset):
            if root not in found:
                found.append(root)
    return found
