"""The parameters that a module is known to hold, one by one, and which of them a `ParamSet` picks.

Only what the code shows is listed: of a model from a library the parts that the program itself put there. So a slot
that no set picks is lost for certain, while a short list proves nothing.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import libcst as cst

from tricklint.interpreter.values import (
    Class,
    Const,
    Instance,
    Pred,
    Sequence,
    Union,
    Value,
    first,
    members,
)
from tricklint.knowledge import layers, parts
from tricklint.libraries.facts import ModuleFacts
from tricklint.libraries.modules import layer_arguments, layer_class
from tricklint.libraries.paramsets import Attr, ParamSet, in_case_of
from tricklint.libraries.tensors import Tensor

NN = layers.NN
_RECURRENT = ("weight_ih", "weight_hh", "bias_ih", "bias_hh")
# Classes of torch.nn that others inherit from
_BASES: dict[str, frozenset[str]] = {
    NN + "_ConvNd": layers.CONV,
    NN + "_ConvTransposeNd": frozenset(name for name in layers.CONV if "Transpose" in name),
    NN + "_BatchNorm": layers.BATCH_NORM,
    NN + "_NormBase": layers.BATCH_NORM | {f"{NN}InstanceNorm{d}d" for d in (1, 2, 3)},
    NN + "_InstanceNorm": frozenset(f"{NN}InstanceNorm{d}d" for d in (1, 2, 3)),
    NN + "RNNBase": frozenset(NN + name for name in ("RNN", "LSTM", "GRU")),
}


@dataclass(frozen=True, eq=False)
class Slot:
    """One parameter of a model.

    path: its name in `named_parameters()` of the root; local: within its owner. library: the torch.nn class of the
    module that owns it, or "". ndim: None when unknown. absent: the attribute is there and is None (the scale of a norm
    without affine parameters). sure: False when the module may lack it. above: the modules from the root to the owner.
    """

    path: str
    local: str
    owner: Instance
    library: str
    ndim: int | None
    absent: bool
    sure: bool
    above: tuple[Instance, ...]

    @property
    def is_norm(self) -> bool:
        return self.library in layers.AFFINE_NORM

    @property
    def name(self) -> str:
        """The attribute: `weight`, `bias`, `cls_token`."""
        return self.local.rpartition(".")[2]

    @property
    def key(self) -> tuple[int, str]:
        """The same for the same parameter, whatever root its path begins at."""
        return id(self.owner), self.local


def slots(root: Instance) -> list[Slot]:
    """What `root.named_parameters()` is known to give, and the attributes that are None (`absent`); once the program has run."""
    facts = root.fact(ModuleFacts)
    if facts.slots is None:
        facts.slots = list(_below(root, "", (), True, set()))
    found: list[Slot] = facts.slots
    return found


def _slot_of(root: Instance, key: tuple[int, str]) -> Slot | None:
    facts = root.fact(ModuleFacts)
    if facts.slots_by_key is None:
        facts.slots_by_key = {slot.key: slot for slot in reversed(slots(root))}
    found: Slot | None = facts.slots_by_key.get(key)
    return found


def _below(module: Instance, path: str, above: tuple[Instance, ...], sure: bool, seen: set[int]) -> Iterator[Slot]:
    if id(module) in seen:
        return
    seen.add(id(module))
    above = (*above, module)
    dot = f"{path}." if path else ""

    def slot(name: str, library: str, ndim: int | None, absent: bool = False, certain: bool = True) -> Slot:
        return Slot(dot + name, name, module, library, ndim, absent, sure and certain, above)

    name = layer_class(module)
    own = isinstance(module.cls, Class)
    yield from (slot(*part, certain=not own) for part in _library_parts(name, *layer_arguments(module)))
    if not own:
        yield from (slot(*part) for part in _model_parts(module.library, module))
    for key, child in list(module.fields.items()):
        if not isinstance(child, Value):
            continue
        certain = not isinstance(child, Union) or child.sure
        options = child.values[:1] if isinstance(child, Union) and child.sure else members(child)
        for option in options:
            if isinstance(option, Instance) and option.kind in ("module", "loss"):
                yield from _below(option, dot + str(key), above, sure and certain, seen)
            elif isinstance(option, Tensor) and option.op == "parameter" and _trainable(option):
                yield slot(str(key), "", _shape(option), certain=certain)


def _model_parts(name: str, module: Instance) -> Iterator[tuple[str, str, int | None, bool]]:
    """Parameters that a library's model is known to hold: norms, and those that hang on no layer."""
    if not module.fact(ModuleFacts).external:
        return
    passed = first(module.args[0]) if module.args else None
    checkpoint = passed.value if isinstance(passed, Const) and isinstance(passed.value, str) else None
    row = parts.parts_of(name, checkpoint)
    if row is None:
        return
    for norm in row.norms:
        yield f"{norm}.weight", NN + "LayerNorm", 1, False
        yield f"{norm}.bias", NN + "LayerNorm", 1, False
    for bare, ndim in row.bare:
        yield bare, "", ndim, False


def _library_parts(
    name: str, args: tuple[Value, ...], kwargs: dict[str, Value]
) -> Iterator[tuple[str, str, int | None, bool]]:
    """Parameters of a layer of torch.nn: name, owning class, number of dimensions, whether it is None."""
    off = {key for key, value in kwargs.items() if _is_false(value)}
    if name in layers.WEIGHTED:
        conv = name in layers.CONV
        yield "weight", name, (2 + int(name[-2]) if conv else 3 if name.endswith("Bilinear") else 2), False
        yield "bias", name, 1, "bias" in off
    elif name in layers.AFFINE_NORM:
        instance_norm = "InstanceNorm" in name
        passed = kwargs.get("affine") or (args[3] if len(args) > 3 else None)
        if instance_norm:
            absent = passed is None or _is_false(passed)
            if passed is not None and not isinstance(first(passed), Const):
                return
        else:
            absent = bool({"affine", "elementwise_affine"} & off)
        yield "weight", name, 1, absent
        if not name.endswith("RMSNorm"):
            yield "bias", name, 1, absent or "bias" in off
    elif name in layers.EMBEDDING:
        yield "weight", name, 2, False
    elif name == NN + "PReLU":
        yield "weight", name, 1, False
    elif name in layers.RECURRENT:
        suffix = "" if name.endswith("Cell") else "_l0"
        for part in _RECURRENT:
            if part.startswith("weight") or "bias" not in off:
                yield part + suffix, name, 2 if part.startswith("weight") else 1, False
    elif name == NN + "MultiheadAttention":
        yield from _attention("", "bias" in off)
    elif name in (NN + "TransformerEncoderLayer", NN + "TransformerDecoderLayer"):
        yield from _attention("self_attn.", "bias" in off)
        for inner in ("linear1", "linear2"):
            yield f"{inner}.weight", NN + "Linear", 2, False
            yield f"{inner}.bias", NN + "Linear", 1, "bias" in off
        for inner in ("norm1", "norm2"):
            yield f"{inner}.weight", NN + "LayerNorm", 1, False
            yield f"{inner}.bias", NN + "LayerNorm", 1, "bias" in off


def _attention(prefix: str, no_bias: bool) -> Iterator[tuple[str, str, int | None, bool]]:
    yield prefix + "in_proj_weight", NN + "MultiheadAttention", 2, False
    if not no_bias:
        yield prefix + "in_proj_bias", NN + "MultiheadAttention", 1, False
    yield prefix + "out_proj.weight", NN + "Linear", 2, False
    yield prefix + "out_proj.bias", NN + "Linear", 1, no_bias


def _is_false(value: Value | None) -> bool:
    at = first(value)
    return isinstance(at, Const) and not at.value


def _trainable(tensor: Tensor) -> bool:
    """False for `nn.Parameter(x, requires_grad=False)`."""
    node = tensor.node
    if not isinstance(node, cst.Call):
        return True
    passed = [a.value for a in node.args if a.keyword is not None and a.keyword.value == "requires_grad"]
    passed += [a.value for a in node.args[1:2] if a.keyword is None]
    return not any(isinstance(value, cst.Name) and value.value == "False" for value in passed)


def _shape(tensor: Tensor) -> int | None:
    """Dimensions of `nn.Parameter(torch.zeros(1, 8, 16))`."""
    inner = first(tensor.inputs[0]) if tensor.inputs else None
    while isinstance(inner, Tensor) and inner.op in ("multiply", "clone", "to", "float") and inner.inputs:
        inner = next((first(i) for i in inner.inputs if isinstance(first(i), Tensor)), None)
    if not isinstance(inner, Tensor) or inner.op not in (
        "zeros",
        "ones",
        "randn",
        "rand",
        "empty",
        "Tensor",
        "FloatTensor",
    ):
        return None
    node = inner.node
    if not isinstance(node, cst.Call):
        return None
    positional = [arg for arg in node.args if arg.keyword is None]
    if any(arg.star for arg in positional) or not positional:
        return None
    if len(positional) == 1 and isinstance(positional[0].value, (cst.Tuple, cst.List)):
        return len(positional[0].value.elements)
    if len(positional) == 1 and not isinstance(positional[0].value, cst.Integer):
        return None
    return len(positional)


# -- which slots a set picks -----------------------------------------------------------------------------------------


def picks(pset: ParamSet, slot: Slot, frozen: bool | None = False) -> int | None:
    """How many times `pset` gives the parameter of `slot` (a slot of the set's own root); None when it is not known.

    frozen: whether the code freezes some of the model's parameters, so that a test on `requires_grad` is open.
    """
    if pset.names or not isinstance(pset.root, Instance):
        return None
    attributes = [pred for pred in pset.preds if pred.op == "attr"]
    within = any(pred.op == "within" for pred in pset.preds)
    preds = [pred for pred in pset.preds if pred.op not in ("attr", "within")]
    if pset.kind != "param":
        return None
    if attributes:
        if within:
            return None
        if any(slot.name not in pred.args for pred in attributes):
            return 0
        return _count([_holds(pred, slot, slot.path, frozen) for pred in preds])
    if slot.absent:
        return 0
    if within:
        return _inside(pset, preds, slot, frozen)
    if not pset.recurse and len(slot.above) > 1:
        return 0
    return _count([_holds(pred, slot, slot.path, frozen) for pred in preds])


def _inside(pset: ParamSet, preds: list[Pred], slot: Slot, frozen: bool | None) -> int | None:
    """`for m in net.modules(): … m.parameters()`: once for each module on the way that passes the tests."""
    if any(pred.op.startswith("name") for pred in preds):
        return None
    total = 0
    owners = slot.above if pset.recurse else slot.above[-1:]
    for depth, module in enumerate(slot.above):
        if module not in owners:
            continue
        as_owner = Slot(
            slot.path, slot.name, module, module.library, slot.ndim, False, slot.sure, slot.above[: depth + 1]
        )
        count = _count([_holds(pred, as_owner, slot.path, frozen) for pred in preds])
        if count is None:
            return None
        total += count
    return total


def _count(verdicts: list[bool | None]) -> int | None:
    if False in verdicts:
        return 0
    return None if None in verdicts else 1


def _holds(pred: Pred, slot: Slot, path: str, frozen: bool | None) -> bool | None:
    verdict = _test(pred, slot, path, frozen)
    return verdict if verdict is None or not pred.negated else not verdict


def _test(pred: Pred, slot: Slot, path: str, frozen: bool | None) -> bool | None:
    op, args = pred.op, pred.args
    if op in ("and", "or"):
        verdicts = [_holds(inner, slot, path, frozen) for inner in args]
        decisive = op == "or"
        if decisive in verdicts:
            return decisive
        return None if None in verdicts else not decisive
    if op == "isinstance":
        return _is_instance(slot, args)
    if op in ("classname_contains", "classname"):
        label = slot.library.rpartition(".")[2] or slot.owner.label
        return any(text in label if op == "classname_contains" else text == label for text in args)
    if op == "hasattr":
        return _has_attribute(slot, args[0])
    if op == "not_none":
        return not slot.absent
    if op == "requires_grad":
        return True if frozen is False else None
    if op == "child":
        return len(slot.above) == 2
    if op == "name_contains":
        return any(text in in_case_of(path, text) for text in args)
    if op == "name_startswith":
        return any(in_case_of(path, text).startswith(text) for text in args)
    if op == "name_endswith":
        return any(in_case_of(path, text).endswith(text) for text in args)
    if op in ("name_in", "name_equals"):
        return any(in_case_of(path, text) == text for text in args)
    if op == "ndim" and slot.ndim is not None:
        how, number = args
        table = {"<": slot.ndim < number, "<=": slot.ndim <= number, ">": slot.ndim > number,
                 ">=": slot.ndim >= number, "==": slot.ndim == number, "!=": slot.ndim != number}  # fmt: skip
        return table.get(how)
    if op == "id_in":
        return _among(args[0], slot, frozen)
    return None


def _is_instance(slot: Slot, kinds: tuple[object, ...]) -> bool | None:
    own = slot.library == slot.owner.library or not slot.library
    classes: list[Value] = list(slot.owner.cls.mro()) if own and isinstance(slot.owner.cls, Class) else []
    names = {slot.library} | {at.name for at in classes if not isinstance(at, Class) and hasattr(at, "name")}
    unsure = not all(isinstance(at, Class) or hasattr(at, "name") for at in classes)
    for kind in kinds:
        if kind is None:
            unsure = True
        elif isinstance(kind, str):
            if kind in names or kind == NN + "Module" or names & _BASES.get(kind, frozenset()):
                return True
            unsure = unsure or (kind.startswith(NN + "_") and kind not in _BASES)
        elif any(kind is at for at in classes):
            return True
    return None if unsure else False


def _has_attribute(slot: Slot, name: str) -> bool | None:
    if slot.library in layers.WEIGHTED | layers.AFFINE_NORM:
        return name in ("weight", "bias")
    if slot.library in layers.EMBEDDING or slot.library == NN + "PReLU":
        return name == "weight"
    if slot.library in layers.RECURRENT:
        return False if name in ("weight", "bias_hh") else name == "bias" or None
    if slot.library == NN + "MultiheadAttention":
        return False if name in ("weight", "bias") else None
    if isinstance(slot.owner.cls, Class):
        if name in slot.owner.fields:
            return True
        if slot.owner.cls.knows_bases and slot.owner.cls.lookup(name) is None:
            return False
    return None


def _among(value: Value, slot: Slot, frozen: bool | None) -> bool | None:
    """Whether a list of parameters, or of their ids, holds the parameter of `slot`."""
    verdict: bool | None = False
    for member in members(value):
        found: bool | None = None
        if isinstance(member, Attr) and member.what == "id":
            member = member.of
        if isinstance(member, Sequence):
            inner = [_among(item, slot, frozen) for item in member.items]
            found = True if True in inner else None if None in inner else False
        elif isinstance(member, ParamSet):
            count = picks_anywhere(member, slot, frozen)
            found = None if count is None else count > 0
        if found is True:
            return True
        verdict = None if found is None else verdict
    return verdict


def picks_anywhere(pset: ParamSet, slot: Slot, frozen: bool | None = False) -> int | None:
    """`picks` for a set of any root: a submodule, or the model that holds the slot's own root."""
    if not isinstance(pset.root, Instance):
        return None
    own = _slot_of(pset.root, slot.key)
    if own is not None:
        return picks(pset, own, frozen)
    part_of_owner = pset.root.part_of is not None and pset.root.owner is slot.owner
    return None if part_of_owner else 0
