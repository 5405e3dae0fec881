"""Which pretrained weights an initialisation overwrites."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import libcst as cst

from tricklint.interpreter.events import Event
from tricklint.interpreter.modules import FileModule
from tricklint.interpreter.values import (
    CallFacts,
    Const,
    Instance,
    Pred,
    Value,
    members,
)
from tricklint.knowledge import layers
from tricklint.libraries.checkpoints import CHANGED, saved
from tricklint.libraries.events import Initialised, WeightsLoaded
from tricklint.libraries.facts import ModuleFacts
from tricklint.libraries.modules import submodules, surely_below
from tricklint.libraries.paramsets import ParamSet, roots_of
from tricklint.program.program import Program
from tricklint.program.transfer import holds
from tricklint.program.uncalled import never_called

# What the published models of a family are made of
_CONVOLUTIONAL = ("torchvision", "timm", "smp", "efficientnet", "cadene", "hub")
_IN_CNN = layers.CONV | layers.BATCH_NORM | {"torch.nn.Module"}
_IN_TRANSFORMER = layers.LINEAR | layers.EMBEDDING | {"torch.nn.LayerNorm", "torch.nn.Module"}
_VALUES = frozenset((
    "xavier_uniform_", "xavier_normal_", "kaiming_uniform_", "kaiming_normal_", "normal_", "uniform_", "trunc_normal_",
    "orthogonal_", "constant_", "ones_", "zeros_", "fill_", "zero_", "xavier_uniform", "xavier_normal",
    "kaiming_uniform",
    "kaiming_normal", "normal", "uniform", "constant", "orthogonal", "sparse_", "reset_parameters", "eye_", "dirac_",
))  # fmt: skip
# Parts of published models that hold no weights: a net that takes only such a part over has nothing of its training
_WEIGHTLESS = frozenset(
    ("relu", "act", "act1", "act2", "maxpool", "avgpool", "pool", "pool0", "global_pool", "dropout", "drop", "flatten")
)


@dataclass(frozen=True)
class Loaded:
    """Weights that were there before: which model's, and where they came from."""

    label: str
    node: cst.CSTNode | None
    file: FileModule | None


def overwritten(program: Program, event: Initialised) -> Loaded | None:
    """The pretrained weights that an init over a whole model (a loop, `apply`) surely overwrites."""
    subject = event.subject
    if not isinstance(subject, ParamSet) or event.scheme not in _VALUES:
        return None
    if (
        not isinstance(subject.node, (cst.For, cst.Call, cst.CompFor))
        or not subject.elem
        or not _everything(subject.preds)
        or (event.stack and event.stack[0].owner is not None and never_called(program, event))
    ):
        return None
    if isinstance(subject.node, cst.Call) and subject.node is event.node:
        return None
    for root in roots_of(subject):
        owner, sure = root.owner, surely_below(root)
        for _, module in submodules(root):
            if id(module) not in sure:
                continue
            model = module.owner  # a backbone that was taken apart is in the net by its parts
            if model is not module and (model is owner or module.library.rpartition(".")[2] in _WEIGHTLESS):
                continue
            before = model.fact(ModuleFacts).pretrained is True and model.seq < event.seq
            if before and _reaches(subject.preds, model) and not _spared(program, event, module):
                return Loaded(model.label, model.node, model.file)
        if owner is not root and owner.fact(ModuleFacts).pretrained is True:
            continue  # a part of a backbone, picked by hand: meant so
        for load in program.events(WeightsLoaded):
            if load.seq < event.seq and load.entry == event.entry and load.sure and _is_file(load):
                for target in roots_of(load.subject):
                    if holds(root, target, sure) and _reaches(subject.preds, target) and not _built_later(root, target, load):
                        return Loaded(target.label, load.node, load.file)
    return None


def _built_later(root: Instance, target: Instance, load: Event) -> bool:
    return root is not target and target.seq > load.seq


def _is_file(load: WeightsLoaded) -> bool:
    """The weights come from outside, not from the state of another model of the program's own."""
    if saved(load.weights) is not None:
        return True
    return any(
        root.owner.fact(ModuleFacts).pretrained is True
        for member in members(load.weights)
        if isinstance(member, Instance) and member.kind == "state_dict" and member.has(CallFacts)
        for root in roots_of(member.fact(CallFacts).of)
    )


def _everything(preds: tuple[Pred, ...]) -> bool:
    return all(_known(pred) for pred in preds)


def _known(pred: Pred) -> bool:
    """A test on kinds and shapes, not on names or on what happened before."""
    if pred.op in ("and", "or"):
        return all(_known(part) for part in pred.args)
    if pred.negated:
        return pred.op in ("isinstance", "classname_contains")
    return pred.op in ("isinstance", "classname_contains", "classname", "attr", "hasattr", "not_none", "within", "ndim")


def _reaches(preds: tuple[Pred, ...], model: Instance) -> bool:
    return all(_reach(pred, model) for pred in preds)


def _reach(pred: Pred, model: Instance) -> bool:
    if pred.op == "or" and not pred.negated:
        return any(_reach(part, model) for part in pred.args)
    if pred.op == "and" and not pred.negated:
        return all(_reach(part, model) for part in pred.args)
    if pred.op == "attr":
        return True
    if pred.negated:
        return True  # an `elif`: the kinds that came before are out, and the positive test says what is in
    if pred.op == "isinstance":
        names = {kind for kind in pred.args if isinstance(kind, str)}
        return bool(names & set(_kinds_in(model)))
    if pred.op in ("classname_contains", "classname"):
        kinds = {kind.rpartition(".")[2] for kind in _kinds_in(model)} - {"Module"}
        return any(str(word) in kind for word in pred.args for kind in kinds)
    return True


def _kinds_in(model: Instance) -> Iterator[str]:
    family = model.fact(ModuleFacts).family
    if family == "transformers":
        yield from _IN_TRANSFORMER
    elif family in _CONVOLUTIONAL:
        if any(word in model.library for word in ("vit_", "swin", "maxvit")):
            yield from _IN_TRANSFORMER
        else:
            yield from _IN_CNN
    else:
        for _, module in submodules(model):
            if module.library:
                yield module.library


def _spared(program: Program, event: Event, model: Instance) -> bool:
    """Loaded again afterwards: the init was only a start. What a script that runs as it stands never asks for does not count."""
    runs = event.entry.startswith("run ")
    return any(
        load.seq > event.seq
        and load.possible
        and any(holds(target, model) or holds(model, target) for target in roots_of(load.subject))
        and not _puts_back(load, event)
        and not (runs and never_called(program, load))
        for load in program.events(WeightsLoaded)
    )


def _puts_back(load: WeightsLoaded, event: Event) -> bool:
    """The weights are the model's own as they were at some time after `event`, its best ones say: what was lost by then
    does not come back."""
    given = [each for each in members(load.weights) if not (isinstance(each, Const) and each.value is None)]
    return bool(given) and all(_own_state(each, load, event) for each in given)


def _own_state(weights: Value, load: WeightsLoaded, event: Event) -> bool:
    if not isinstance(weights, Instance) or weights.kind != "state_dict" or weights.seq < event.seq:
        return False
    if CHANGED in weights.fields:
        return False
    model = weights.fact(CallFacts).of
    # A copy of a model, made before, is followed as the model itself: its state may be the old one
    return model is not None and not model.fact(ModuleFacts).copied and any(model is each for each in roots_of(load.subject))


__all__ = ["Loaded", "overwritten"]
