"""Layers that act differently in training and evaluation, and mode switches that could not be followed."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import libcst as cst

from tricklint.interpreter.events import Event
from tricklint.interpreter.values import (
    Const,
    Instance,
    first,
    members,
    number,
)
from tricklint.knowledge import dropout, layers
from tricklint.libraries.events import ModeSet
from tricklint.libraries.facts import ModuleFacts
from tricklint.libraries.modules import submodules
from tricklint.program.transfer import holds_norms, published_name
from tricklint.source.once import below

if TYPE_CHECKING:
    from tricklint.interpreter.modules import FileModule
    from tricklint.program.program import Program


@dataclass(frozen=True)
class Modal:
    """What acts differently in training and evaluation: its name, and where it is made or called. `starts_in_eval`: the
    library hands the model over in eval mode."""

    name: str
    file: FileModule | None
    node: cst.CSTNode | None
    starts_in_eval: bool = False


def copied_into_eval(program: Program, module: Instance) -> bool:
    """Whether a copy of the module is put in eval mode where it is made: `copy.deepcopy(model).eval()`. Copy and model are one
    here, so that nobody can tell which of them is run."""
    return module.fact(ModuleFacts).copied and any(
        event.train is False
        and event.subject is module
        and isinstance(event.node, cst.Call)
        and isinstance(event.node.func, cst.Attribute)
        and isinstance(event.node.func.value, cst.Call)
        for event in program.events(ModeSet)
    )


def behaves_differently(module: Instance) -> Modal | None:
    """A dropout or batch norm below `module`: a layer, a function that is given `self.training`, one of a library's model."""
    whole = None
    for _, at in submodules(module):
        if at.library in layers.DROPOUT or at.library in layers.BATCH_NORM:
            return Modal(at.label, at.file, at.node)
        if drops_between(at):
            return Modal("dropout", at.file, at.node)
        if not at.has(ModuleFacts):
            continue
        known = at.fact(ModuleFacts)
        if known.modal is not None:
            return Modal(*known.modal)
        if whole is None and at.part_of is None:
            if holds_norms(at):
                whole = Modal("batch norm", at.file, at.node)
            elif drops_out(at):
                whole = Modal("dropout", at.file, at.node, at.library.endswith(".from_pretrained"))
    return whole


def drops_between(layer: Instance) -> bool:
    """Whether a layer of torch.nn has dropout of its own: `nn.LSTM(…, dropout=0.2)`, `nn.TransformerEncoderLayer(…)`."""
    if layer.library in layers.LAYERS_IN_COPIES:
        copied = first(layer.passed(0, "encoder_layer") or layer.kwargs.get("decoder_layer"))
        return isinstance(copied, Instance) and copied.library in layers.OWN_DROPOUT and drops_between(copied)
    known = layers.OWN_DROPOUT.get(layer.library)
    if known is None:
        return False
    at, default = known
    given = layer.passed(at, "dropout")
    rate = first(given)
    if layer.library in layers.RECURRENT:  # between the layers of a stack, of which there is one by default
        depth = first(layer.passed(2, "num_layers"))
        if depth is None or (isinstance(depth, Const) and depth.value == 1):
            return False
    return bool(rate.value) if isinstance(rate, Const) else given is not None or default


def drops_out(model: Instance) -> bool:
    """Whether a model of transformers, torchvision or timm surely has dropout."""
    if not model.library.startswith("transformers."):
        return pictures_drop_out(model)
    names = [model.library.removesuffix(".from_pretrained").rpartition(".")[2]]
    passed = first(model.args[0]) if model.args else first(model.kwargs.get("pretrained_model_name_or_path"))
    if isinstance(passed, Const) and isinstance(passed.value, str):
        names.append(passed.value)
    return dropout.drops(*names)


def pictures_drop_out(model: Instance) -> bool:
    """Whether a vision model drops by what it was told, or by default: in what is left of its own classifier, or between
    its blocks."""
    family = model.fact(ModuleFacts).family
    if family not in ("torchvision", "timm") or model.open_kwargs or ".detection." in model.library:
        return False
    told = [number(model.kwargs[name]) for name in dropout.RATES if name in model.kwargs]
    if told:
        return any(rate is not None and rate > 0 for rate in told)
    name = published_name(model).rpartition("/")[2]
    if dropout.in_classifier(family, name):
        kept = members(model.fields.get("classifier"))
        return all(isinstance(each, Instance) and each.owner is model for each in kept)
    return dropout.in_blocks(family, name)


def unfollowed_mode_call(program: Program, event: Event, name: str) -> bool:
    """Whether some `x.eval()` / `x.train()` in the code around an event was not followed to a model, so that it may be the
    one looked for: in the files of the functions that are running, or in one that the same entry has run."""
    known = _mode_calls(program)
    files = {event.file, *(func.file for func in event.stack)}
    words = {name, "train"}  # train(False) is eval()
    for file in files:
        if f".{name}(" not in file.tree.text and ".train(" not in file.tree.text:
            continue
        for node in below(file.tree, file.tree.module, cst.Call):
            if isinstance(node.func, cst.Attribute) and node.func.attr.value in words:
                if node.func.attr.value != name and name == "eval" and not node.args:
                    continue
                if node not in known and node not in program.called:
                    return True
    return False


def _mode_calls(program: Program) -> set[cst.CSTNode]:
    """The calls that were followed to models."""
    found = program.remember("mode calls", lambda: {event.node for event in program.events(ModeSet)})
    assert isinstance(found, set)
    return found


__all__ = ["Modal", "behaves_differently", "unfollowed_mode_call"]
