"""What transfer learning does to the parts of a model: which are pretrained, frozen, in training mode, optimised."""

from __future__ import annotations

from collections.abc import Container, Iterator
from dataclasses import dataclass

from tricklint.interpreter.events import Event
from tricklint.interpreter.values import (
    Const,
    Instance,
    Pred,
    Value,
    first,
)
from tricklint.knowledge import layers
from tricklint.knowledge.backbones import has_batch_norm
from tricklint.knowledge.pretrained import HEAD_NAMES
from tricklint.libraries.events import Froze
from tricklint.libraries.facts import ModuleFacts
from tricklint.libraries.modules import modules_below, submodules
from tricklint.libraries.paramsets import ParamSet, roots_of
from tricklint.program.program import Program

_NORM_WORDS = ("bn", "norm", "downsample")
# Words in a parameter's name that take in a whole stage of a backbone, its norms included
_STAGES = (
    "layer",
    "block",
    "feature",
    "stage",
    "encoder",
    "backbone",
    "base",
    "body",
    "trunk",
    "resnet",
    "model",
    "net",
)


def published_name(model: Instance) -> str:
    """The name a library's model was published under (`resnet18` of torchvision, timm, torch.hub …), or ""."""
    family = model.fact(ModuleFacts).family
    if family in ("timm", "hub", "smp", "efficientnet", "cadene") and not model.library.endswith(f".{family}"):
        keys = {
            "timm": ("model_name", 0),
            "hub": ("model", 1),
            "smp": ("encoder_name", 0),
            "efficientnet": ("model_name", 0),
        }
        key, position = keys.get(family, ("model_name", 0))
        if model.library.endswith(("create_model", "hub.load", "from_pretrained", "from_name")) or family == "smp":
            passed = model.passed(position, key)
            if passed is None:
                return "resnet34" if family == "smp" else ""
            at = first(passed)
            return at.value if isinstance(at, Const) and isinstance(at.value, str) else ""
    return model.library.rpartition(".")[2]


def is_pretrained(module: Instance) -> bool:
    """A library's model that was asked for weights (or may have been), or a model that a checkpoint was loaded into."""
    owner = module.owner
    return owner.fact(ModuleFacts).pretrained is not False or bool(owner.fact(ModuleFacts).loads)


@dataclass(frozen=True)
class Norms:
    """BatchNorm layers with running statistics: one, or those of a library's model. `path` is below a root."""

    path: str
    holder: Instance


def batch_norms(root: Instance) -> list[Norms]:
    """Where below `root` BatchNorm layers surely are."""
    found: list[Norms] = []
    owner = root.owner
    if owner is not root:  # a part of a library's model: `model.layer4`, `model.features`
        part = str(root.fact(ModuleFacts).path)
        head = part.partition(".")[0]
        if holds_norms(owner) and head not in HEAD_NAMES and any(head.startswith(word) for word in _STAGES):
            found.append(Norms("", root))
        return found
    for path, module in submodules(root):
        if module.part_of is not None:
            continue
        if module.library in layers.BATCH_NORM:
            if not _is(module, "track_running_stats", False):
                found.append(Norms(path, module))
        elif holds_norms(module):
            found.append(Norms(path, module))
    return found


def holds_norms(model: Instance) -> bool:
    """Whether a library's model surely has BatchNorm layers."""
    if not model.library or not model.fact(ModuleFacts).family or "norm_layer" in model.kwargs:
        return False
    if model.fact(ModuleFacts).family in ("transformers", "monai") or ".detection." in model.library:
        return False
    if model.fact(ModuleFacts).family == "efficientnet":
        return True
    return has_batch_norm(published_name(model)) is True


def _is(module: Instance, name: str, value: object) -> bool:
    passed = first(module.kwargs.get(name))
    return isinstance(passed, Const) and passed.value is value


def whole(subject: Value) -> bool:
    """All parameters below the subject's root, none picked out."""
    if isinstance(subject, ParamSet):
        return not [pred for pred in subject.preds if pred.op not in ("within", "requires_grad", "not_none")]
    return isinstance(subject, Instance)


def takes_in(preds: tuple[Pred, ...], norms: Norms) -> bool:
    """Whether a set narrowed by `preds` surely holds the parameters of these norms."""
    return all(_takes_in(pred, norms) for pred in preds)


def _takes_in(pred: Pred, norms: Norms) -> bool:
    if pred.op in ("within", "child", "requires_grad", "not_none"):
        return not pred.negated or pred.op == "not_none"
    if pred.op == "unknown":
        return pred.args == ("slice",) and not pred.negated
    if pred.op == "hasattr":  # what every module has, or every parameter
        return not pred.negated and {"requires_grad_", "requires_grad", "parameters", "children"}.issuperset(pred.args)
    if pred.op == "and" and not pred.negated:
        return all(_takes_in(part, norms) for part in pred.args)
    if pred.op == "or" and pred.negated:
        return all(_takes_in(~part, norms) for part in pred.args)
    if pred.op in ("name_contains", "name_startswith", "name_in", "name_equals", "name_endswith"):
        words = [str(word) for word in pred.args]
        if any(norm in word.lower() for word in words for norm in _NORM_WORDS):
            return False
        steps = norms.path.split(".") if norms.path else []
        named = any(word.rstrip(".").split(".")[0] in steps for word in words)
        if pred.negated:
            return not named and not any(word in ("weight", "bias") for word in words)
        if pred.op in ("name_in", "name_equals", "name_endswith"):
            return False
        stage = any(stage in word.lower() for word in words for stage in _STAGES)
        return named or (not steps and stage and norms.holder.library not in layers.BATCH_NORM)
    return False


@dataclass(frozen=True)
class Freeze:
    """An event that sets `requires_grad` for a set of parameters: of which roots, which of them, to what."""

    event: Event
    roots: tuple[Instance, ...]
    preds: tuple[Pred, ...]
    on: bool | None  # None: not known


def freezes(program: Program) -> Iterator[Freeze]:
    """Every change of `requires_grad`. `p.requires_grad = "fc" in name` freezes what the test does not hold for."""
    for event in program.events(Froze):
        subject = event.subject
        roots = tuple(roots_of(subject))
        preds = subject.preds if isinstance(subject, ParamSet) else ()
        on, pred = event.value, event.pred
        if on is None and pred is not None:
            yield Freeze(event, roots, (*preds, ~pred), False)
        else:
            yield Freeze(event, roots, preds, on)


def holds(outer: Instance, inner: Instance, below: Container[int] | None = None) -> bool:
    """`inner` is `outer`, one of its submodules, or a part of one. `below`: the ids of those that count, if not all do."""
    owner: Instance | None = inner
    ids = modules_below(outer) if below is None else below
    while owner is not None:
        if id(owner) in ids:
            return True
        owner = owner.part_of
    return False


def holds_norms_of(outer: Instance, model: Instance) -> bool:
    """`outer` holds stages of a library's model that was taken apart (`nn.Sequential(net.conv1, net.bn1, net.layer1)`), and
    BatchNorm layers with them."""
    return any(child.owner is model and child is not model and batch_norms(child) for _, child in submodules(outer))


def touches(subject: Value, module: Instance) -> bool:
    """A mode change of `subject` may reach `module` or something in it."""
    return any(
        holds(root, module) or holds(module, root) or holds_norms_of(root, module) for root in roots_of(subject)
    )


def optimised(program: Program, model: Instance) -> list[Event]:
    """Events by which an optimizer or a trainer gets parameters of `model` or of a part of it."""
    found: list[Event] = []
    for _, module in submodules(model):
        for event in program.trained_by(module):
            if event not in found:
                found.append(event)
    return found
