"""Hand-written splits of a model's parameters into groups: what they lose, hold twice, or fail to tell apart."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import libcst as cst

from tricklint.interpreter.values import (
    Instance,
    Pred,
    Sequence,
    Union,
    Value,
    first,
    leaves,
)
from tricklint.libraries.events import Froze, GroupAdded, OptimizerBuilt
from tricklint.libraries.facts import Group, ModuleFacts, OptimizerFacts
from tricklint.libraries.modules import held, modules_below, submodules
from tricklint.libraries.paramsets import ParamSet, roots_of
from tricklint.libraries.tensors import Tensor
from tricklint.program.decay import effective_decay, flattened, has_vectors, param_sets, speaks_of_vectors, spelled
from tricklint.program.slots import Slot, picks, picks_anywhere, slots

if TYPE_CHECKING:
    from tricklint.interpreter.modules import FileModule
    from tricklint.program.program import Program

_NAME_TESTS = ("name_contains", "name_startswith", "name_endswith", "name_in", "name_equals", "name_in_unknown")
# First words of the entries in no-decay lists that are never a whole top-level name of a model
_NOT_TOP_LEVEL = frozenset(("bias", "weight", "gamma", "beta", "LayerNorm", "layernorm", "layer_norm", "BatchNorm"))


@dataclass
class Part:
    """One param group with the sets of parameters in it; `known` is False when it may hold others."""

    group: Group
    sets: list[ParamSet] = field(default_factory=list)
    known: bool = True
    decay: float | None = None


@dataclass
class Split:
    """The groups of one optimizer, over the parameters of `root`."""

    optimizer: Instance
    root: Instance
    parts: list[Part]
    frozen: bool
    all_there: bool  # the groups stand in one literal list, so none of them is another one's alternative

    @property
    def sets(self) -> list[ParamSet]:
        return [pset for part in self.parts for pset in part.sets]

    @property
    def known(self) -> bool:
        return all(part.known for part in self.parts)

    @property
    def by_decay(self) -> bool:
        """The groups are there to decay some parameters and not others."""
        return any("weight_decay" in part.group.options for part in self.parts)


def split_of(program: Program, optimizer: Instance) -> Split | None:
    """The split that an optimizer is built from; None when its groups are not known or it has only one set."""
    params = first(optimizer.fact(OptimizerFacts).params)
    groups: list[Group] = [group for group in optimizer.fact(OptimizerFacts).groups if group.default]
    if not isinstance(params, (Sequence, ParamSet)) or optimizer.fact(OptimizerFacts).factory:
        return None
    parts = [_part(optimizer, group) for group in groups]
    sets = [pset for part in parts for pset in part.sets]
    if len(sets) < 2:
        return None
    counted: dict[int, tuple[Instance, int]] = {}
    for pset in sets:
        if isinstance(pset.root, Instance) and any(pred.op != "within" for pred in pset.preds):
            root, count = counted.get(id(pset.root), (pset.root, 0))
            counted[id(root)] = (root, count + 1)
    if not counted:
        return None
    root = max(counted.values(), key=lambda pair: pair[1])[0]
    return Split(optimizer, root, parts, _frozen(program, root), _is_literal(params))


def _is_literal(params: Value) -> bool:
    node = params.node if isinstance(params, Sequence) else None
    if not isinstance(node, (cst.List, cst.Tuple)) or not isinstance(params, Sequence):
        return False
    return len(node.elements) == len(params.items) and all(isinstance(e, cst.Element) for e in node.elements)


def _part(optimizer: Instance, group: Group) -> Part:
    decay, _ = effective_decay(optimizer, group)
    part = Part(group, decay=decay, known=not isinstance(group.params, Union))
    for value in leaves(group.params, dicts=True):
        if isinstance(value, ParamSet) and value.kind == "param" and not value.names:
            part.sets.append(value)
        else:
            part.known = False
    return part


def _frozen(program: Program, root: Instance) -> bool:
    """The code may freeze some of the model's parameters."""
    mine = modules_below(root)
    for event in program.events(Froze):
        if event.value is not True:
            if isinstance(event.subject, Tensor) and any(
                each is event.subject for _, module in submodules(root) for each in module.fields.values()
            ):
                return True
            for other in roots_of(event.subject):
                if id(other) in mine or any(module is root for _, module in submodules(other)):
                    return True
    return False


def one_sided(program: Program, optimizer: Instance) -> ParamSet | None:
    """The set of matrices that is all an optimizer gets of a model, although a test told them from the vectors, which no
    optimizer and no frozen state accounts for."""
    known = optimizer.fact(OptimizerFacts)
    sets = [pset for group in known.groups if group.default for pset in param_sets(group.params)]
    if known.factory or not sets or any(pset is None or pset.kind != "param" or pset.names for pset in sets):
        return None
    tested = [pset for pset in sets if pset is not None]
    root = tested[0].root
    if not isinstance(root, Instance) or any(pset.root is not root for pset in tested) or _frozen(program, root):
        return None
    if not all(any(_spares_vectors(pred) for pred in flattened(pset.preds)) for pset in tested) or not has_vectors(root):
        return None
    mine = held(root)
    for event in program.events(OptimizerBuilt, GroupAdded):
        if event.subject is optimizer and isinstance(event, GroupAdded):
            return None  # the others may follow
        if event.subject is not optimizer and any(
            id(other) in mine or id(root) in held(other)
            for group in event.subject.fact(OptimizerFacts).groups
            for other in roots_of(group.params)
        ):
            return None  # another optimizer has them, or is built from the model in its turn
    return tested[0]


def _spares_vectors(pred: Pred) -> bool:
    """What biases and norms fail: `not any(part in name for part in no_decay)`, `p.ndim > 1`."""
    if pred.op == "ndim":
        how, count = spelled(pred)
        return how == ">=" and count == 2
    return pred.negated and pred.op in ("name_contains", "name_endswith") and speaks_of_vectors(pred.args)


# -- what may be wrong with it ---------------------------------------------------------------------------------------


def nones(split: Split) -> list[tuple[Slot, ParamSet]]:
    """Attributes that are None and are put into a group: the optimizer refuses them."""
    return [
        (slot, pset)
        for slot in slots(split.root)
        if slot.absent and slot.sure
        for pset in split.sets
        if pset.root is split.root and any(pred.op == "attr" for pred in pset.preds) and picks(pset, slot) == 1
    ][:8]


def lost(split: Split) -> list[Slot]:
    """Parameters of the model that no group holds, when the split goes over the whole model and is known."""
    tested = [pset for pset in split.sets if pset.root is split.root and pset.preds]
    if not split.known or split.frozen or not split.by_decay or len(tested) < 2:
        return []
    common = _common(tested)
    found = []
    for slot in slots(split.root):
        if slot.absent or not slot.sure:
            continue
        if any(picks_anywhere(pset, slot) != 0 for pset in split.sets):
            continue
        left_out = ParamSet(split.root, "param", tuple(common))
        if picks(left_out, slot) == 0:  # a test that all groups share leaves it out on purpose
            continue
        found.append(slot)
    return found


def _common(sets: list[ParamSet]) -> list[Pred]:
    """Tests on names and `requires_grad` that every set makes."""
    return [
        pred
        for pred in sets[0].preds
        if (pred.op in _NAME_TESTS or pred.op == "requires_grad")
        and all(any(same_test(pred, other) for other in pset.preds) for pset in sets[1:])
    ]


def same_test(a: Pred, b: Pred) -> bool:
    return a.op == b.op and a.negated == b.negated and a.args == b.args


def twice(split: Split) -> list[tuple[Slot, ParamSet]]:
    """Parameters that are in two groups, or in one group twice."""
    found = []
    for slot in slots(split.root):
        if slot.absent or not slot.sure:
            continue
        holders: list[ParamSet] = []
        for part in split.parts:
            # lists that grew in branches of an `if` on a setting may be alternatives; groups in one literal are not
            certain = split.all_there and len(part.sets) == 1
            for pset in part.sets:
                count = picks_anywhere(pset, slot) or 0
                holders += [pset] * (count if count > 1 or certain else 0)
        if len(holders) > 1:
            found.append((slot, holders[1]))
    return found


def whole_names(split: Split) -> list[tuple[Part, ParamSet, Pred]]:
    """Tests `name in no_decay` that no parameter can pass, because the list holds parts of names."""
    found = []
    for part in split.parts:
        for pset in part.sets:
            for pred in _flat(pset.preds):
                if pred.op == "name_in" and speaks_of_vectors(pred.args) and pset.root is split.root:
                    if not any(_may_be_a_name(split.root, text) for text in pred.args):
                        found.append((part, pset, pred))
    return found if len(split.parts) > 1 else []


def _flat(preds: tuple[Pred, ...]) -> Iterator[Pred]:
    for pred in preds:
        if pred.op in ("and", "or"):
            yield from _flat(pred.args)
        else:
            yield pred


def _may_be_a_name(root: Instance, text: object) -> bool:
    top = str(text).partition(".")[0]
    if top in root.fields or any(slot.path == text for slot in slots(root)):
        return True
    unknown = root.fact(ModuleFacts).external or root.part_of is not None
    return top not in _NOT_TOP_LEVEL if unknown else False


def missed_norms(split: Split) -> list[tuple[Slot, ParamSet, Pred]]:
    """Norm weights that are decayed although the split has a list of names to spare norms, with the set that decays them
    and the list's test."""
    if len(split.parts) < 2:
        return []
    spared = [
        (pset, pred)
        for part in split.parts
        if part.decay == 0
        for pset in part.sets
        for pred in _flat(pset.preds)
        if pred.op in ("name_contains", "name_endswith") and not pred.negated and speaks_of_norms(pred.args)
    ]
    decayed = [pset for part in split.parts if part.decay for pset in part.sets]
    if not spared or not decayed:
        return []
    _, pred = spared[0]
    others = [each for part in split.parts if not part.decay for each in part.sets]
    return [
        (slot, pset, pred)
        for slot in slots(split.root)
        if slot.is_norm and slot.name == "weight" and slot.sure and not slot.absent
        for pset in [each for each in decayed if picks_anywhere(each, slot) == 1][:1]
        if all(picks_anywhere(each, slot) == 0 for each in others)
    ]


def speaks_of_norms(texts: tuple[object, ...]) -> bool:
    rest = tuple(text for text in texts if isinstance(text, str) and "bias" not in text.lower())
    return speaks_of_vectors(rest) or bool(half_named(texts))


def half_named(texts: tuple[object, ...]) -> list[str]:
    """The weights of layers that a list names by their bias alone, although it has all biases anyhow: `LayerNorm.weight` of
    `"bias", "LayerNorm.bias"`."""
    words = [text for text in texts if isinstance(text, str)]
    if "bias" not in words:
        return []
    weights = [f"{word.removesuffix('bias')}weight" for word in words if word.endswith(".bias")]
    return [weight for weight in weights if not any(word in weight for word in words)]


def half_spared(split: Split) -> tuple[list[str], ParamSet, Pred] | None:
    """Weights of norms that a list misses by name (`half_named`), with the set that decays them and the list's test, of a model
    whose parameters are not to be seen: a language model's of transformers."""
    unseen = any(part.library.startswith("transformers.") for _, part in submodules(split.root))
    if len(split.parts) < 2 or not unseen:
        return None
    for part in split.parts:
        for pset in part.sets if part.decay else ():
            for pred in _flat(pset.preds):
                if pred.op == "name_contains" and pred.negated and (weights := half_named(pred.args)):
                    return weights, pset, pred
    return None


def origin(program: Program, pset: ParamSet) -> tuple[cst.CSTNode, FileModule] | None:
    """The loop that a set's elements come from, with its file."""
    if pset.node is None:
        return None
    for module in program.project.loaded():
        if module.tree.parent(pset.node) is not None:
            return pset.node, module
    return None
