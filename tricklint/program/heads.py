"""Which layer yields the logits that a loss sees, and what the code says about how rare positives are."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import libcst as cst

from tricklint.interpreter.events import Event
from tricklint.interpreter.modules import FileModule
from tricklint.interpreter.values import (
    Const,
    Instance,
    Length,
    Ref,
    Sequence,
    Value,
    first,
    instances,
    members,
)
from tricklint.knowledge import layers
from tricklint.knowledge.pretrained import HEAD_NAMES
from tricklint.libraries.events import HeadReplaced, LossComputed, SamplerBuilt
from tricklint.libraries.facts import ModuleFacts
from tricklint.libraries.tensors import Tensor, part_of_output
from tricklint.program.focal import focal_losses
from tricklint.program.initialisation import Initialisation
from tricklint.program.program import Program

# Operations that hand logits on as they are
_THROUGH = frozenset(
    """view reshape flatten squeeze unsqueeze permute transpose contiguous index item float double half to cuda cpu
    view_as type type_as input call t interpolate upsample softmax sigmoid log_softmax logsigmoid clamp masked_select
    gather sum mean cat stack squeeze_ rename tensor view_ Variable""".split()
)
_SOFTMAX = frozenset(("softmax", "log_softmax"))
_GAN_TARGETS = frozenset("ones zeros ones_like zeros_like full full_like fill_ new_ones new_zeros new_full".split())
FOCAL, FOCAL_NOTE = "the loss is a focal loss", "positives are rare: a focal loss"
DEFAULT_PRIOR = 0.01  # Lin et al. 2017


@dataclass
class Imbalance:
    """Why positives are rare, where the code says so, and the share of positives. stated: by the code's own constants; None
    where it says nothing, and the share is a guess."""

    why: str
    note: str
    node: cst.CSTNode | None
    file: FileModule | None
    sigmoid: bool
    stated: float | None = None

    @property
    def prior(self) -> float:
        return DEFAULT_PRIOR if self.stated is None else self.stated


def rare_heads(program: Program) -> dict[int, tuple[Instance, Imbalance]]:
    """Trained layers that yield logits, keep their default bias, and see rare positives; by id of the layer."""
    found: dict[int, tuple[Instance, Imbalance]] = program.remember("rare heads", lambda: _rare_heads(program))
    return found


def _rare_heads(program: Program) -> dict[int, tuple[Instance, Imbalance]]:
    init = Initialisation.of(program)
    found: dict[int, tuple[Instance, Imbalance]] = {}
    for event in program.events(LossComputed):
        if event.grad is False or not event.inputs:
            continue
        for head, softmax in head_layers(program, event):
            if id(head) in found or not default_bias(init, head):
                continue
            if not trained(program, init, head):
                continue
            why = imbalance(program, event, head, softmax)
            if why is not None and chosen(program, event, head):
                found[id(head)] = (head, why)
    for focal in focal_losses(program):
        for head, softmax in _producers(program, focal.scores):
            if id(head) in found or not default_bias(init, head) or not trained(program, init, head):
                continue
            found[id(head)] = (
                head,
                Imbalance(
                    FOCAL, FOCAL_NOTE, focal.product.node, focal.product.file, sigmoid=focal.sigmoid and not softmax
                ),
            )
    return found


def trained(program: Program, init: Initialisation, head: Instance) -> bool:
    """Whether an optimizer is given the layer, or a module that holds it."""
    return bool(program.trained_by(head)) or any(program.trained_by(holder) for holder in init.holders(head))


def default_bias(init: Initialisation, head: Instance) -> bool:
    bias = first(head.kwargs.get("bias"))
    if isinstance(bias, Const) and not bias.value:
        return False
    if init.loaded(head) or head.part_of is not None:
        return False
    return not any(True for _ in init.reaching(head, "bias"))


def head_layers(program: Program, event: LossComputed) -> list[tuple[Instance, bool]]:
    """Weight layers whose output reaches a loss through shape changes (and a final softmax or sigmoid) alone, and whether
    a softmax is on the way: one constant added to all classes changes nothing then."""
    for value in event.inputs[:2]:  # the second where the two were swapped: what is no model's output is the target
        found = list(dict.fromkeys(_producers(program, value, event)))
        if found or any(tensor.op == "call" for tensor in leaves(value)):
            return found
    return []


def _producers(program: Program, value: Value, at_event: Event | None = None) -> Iterator[tuple[Instance, bool]]:
    stack: list[tuple[Value, bool]] = [(value, False)]
    seen: set[int] = set()
    while stack and len(seen) < 400:
        at, softmax = stack.pop()
        if id(at) in seen:
            continue
        seen.add(id(at))
        for member in members(at):
            if not isinstance(member, Tensor):
                continue
            part = part_of_output(member)
            if part is not None or member.result is not None:
                stack.append((part or member.result or member, softmax))
            elif member.module is not None and member.op == "call":
                kind = member.module.library
                if kind in layers.WEIGHTED:
                    yield member.module, softmax
                elif _hands_on(kind):
                    stack.extend((each, softmax or kind in layers.SOFTMAX) for each in member.inputs[:1])
                else:
                    yield from ((head, softmax) for head in _new_head(program, member.module, at_event))
            elif member.op in _THROUGH:
                stack.extend((each, softmax or member.op in _SOFTMAX) for each in member.inputs[:1])


def _new_head(program: Program, model: Instance, before: Event | None) -> Iterator[Instance]:
    """The layer that the program put in the place of a library model's classifier (`model.fc = nn.Linear(…)`), where it put
    another one there later the one of before an event."""
    if not model.fact(ModuleFacts).external:
        return
    replaced: list[HeadReplaced] = program.events(HeadReplaced)
    for name, value in list(model.fields.items()):  # in the order in which they were put in
        if name not in HEAD_NAMES:
            continue
        later = [
            at for at in replaced
            if before and at.seq > before.seq and at.subject is model and at.attribute == name and at.entry == before.entry
        ]  # fmt: skip
        for head in instances(later[0].old if later else value, "module"):
            inside = [layer for value in head.fields.values() for layer in instances(value, "module")]
            for layer in (head, *reversed(inside)):
                if layer.library in layers.WEIGHTED and layer.part_of is None:
                    yield layer
                    return
                if not _hands_on(layer.library) and layer is not head:
                    return


def _hands_on(kind: str) -> bool:
    """A layer that changes logits at most into probabilities."""
    return kind in layers.PASSIVE or kind in layers.DROPOUT or kind in layers.SOFTMAX or kind.endswith(".Sigmoid")


def leaves(value: Value) -> Iterator[Tensor]:
    """Every tensor in the data flow behind `value`."""
    stack: list[Value] = [value]
    seen: set[int] = set()
    while stack and len(seen) < 400:
        at = stack.pop()
        if id(at) in seen:
            continue
        seen.add(id(at))
        for member in members(at):
            if isinstance(member, Tensor):
                yield member
                part = part_of_output(member)
                stack.extend(member.inputs if part is None else (part,))
                if member.result is not None:
                    stack.append(member.result)
            elif isinstance(member, Sequence):
                stack.extend(member.items)


def imbalance(program: Program, event: LossComputed, head: Instance, softmax: bool) -> Imbalance | None:
    """What the code itself says about rare positives where this loss is used; None when it says nothing. softmax: the
    loss sees the head's scores through one."""
    inputs = event.inputs
    loss = event.subject
    kind = event.type
    if isinstance(loss, Instance):
        made = (loss.node, loss.file)
        if kind in ("focal", "focal_softmax"):
            return Imbalance(FOCAL, FOCAL_NOTE, *made, sigmoid=kind == "focal" and not softmax)
        weight = first(loss.kwargs.get("pos_weight"))
        if kind == "bce_logits" and _given(weight):
            return Imbalance("positives are weighted up by pos_weight", "positives are rare: pos_weight", *made,
                             sigmoid=not softmax, stated=_prior_of(weight))  # fmt: skip
        weight = first(loss.passed(0, "weight"))
        if kind in ("cross_entropy", "nll") and _given(weight):
            return Imbalance("the classes are weighted in the loss", "the classes are imbalanced: class weights", *made,
                             sigmoid=False)  # fmt: skip
    elif isinstance(loss, Ref):
        if kind in ("focal", "focal_softmax"):
            return Imbalance(FOCAL, FOCAL_NOTE, event.node, event.file, kind == "focal" and not softmax)
        if kind == "bce_logits" and _given(first(event.kwargs.get("pos_weight"))):
            return Imbalance("positives are weighted up by pos_weight", "positives are rare: pos_weight", event.node,
                             event.file, not softmax)  # fmt: skip
        if kind in ("cross_entropy", "nll") and _given(first(event.kwargs.get("weight"))):
            return Imbalance("the classes are weighted in the loss", "the classes are imbalanced: class weights", event.node,
                             event.file, False)  # fmt: skip
    if len(inputs) > 1 and all(_made_up(target) for target in members(inputs[1])):
        return None  # real against generated: as many of one as of the other
    if kind in ("bce_logits", "bce") and not softmax:  # behind one, the labels are classes that exclude each other
        many = _outputs(head)
        prior = 1 / many if many and len(inputs) > 1 and _one_hot(inputs[1]) else None
        if prior is not None and prior >= 0.5:
            return None  # one of two classes: even odds are the truth
        target_is_input = len(inputs) > 1 and _same_data(inputs[0], inputs[1])
        labels = many > 1 if many is not None else _counted(head) and not _of_classes(program, head)
        if head.library in layers.LINEAR and not target_is_input and labels:
            several = "its" if many is None else f"its {many:g}"
            return Imbalance(f"{several} labels are trained by binary cross-entropy, each mostly negative",
                             "many labels, each rare", event.node, event.file, True, prior)  # fmt: skip
        if head.library in layers.CONV and "Transpose" not in head.library and not target_is_input:
            if _keeps_size(head) and not _unreduced(event):
                return Imbalance("every pixel is a binary decision, most of them negative", "dense binary cross-entropy",
                                 event.node, event.file, True, prior)  # fmt: skip
    for sampler in program.events(SamplerBuilt):
        if isinstance(sampler.subject, Instance) and sampler.subject.library.endswith("WeightedRandomSampler"):
            if sampler.entry == event.entry and kind in ("cross_entropy", "bce_logits", "nll", "bce"):
                return Imbalance("a WeightedRandomSampler says that classes are imbalanced",
                                 "the classes are imbalanced: a weighted sampler", sampler.node, sampler.file, False)  # fmt: skip
    return None


def _made_up(target: Value) -> bool:
    """A target of ones or zeros, with nothing of the data in it."""
    behind = list(leaves(target))
    return any(t.op in _GAN_TARGETS for t in behind) and not any(t.op in ("data", "item") for t in behind)


def _one_hot(target: Value) -> bool:
    """Exactly one label of a row is positive, by how the target is made."""
    stack, seen = list(members(target)), set()
    while stack:
        at = stack.pop()
        if not isinstance(at, Tensor) or id(at) in seen:
            return False
        seen.add(id(at))
        if at.op != "one_hot":
            if at.op not in _THROUGH or not at.inputs:
                return False
            stack.extend(members(at.inputs[0]))
    return True


def _unreduced(event: LossComputed) -> bool:
    """A loss per element, which the code goes on to mask or weight: it says nothing about how rare positives are."""
    loss = event.subject
    kwargs = loss.kwargs if isinstance(loss, Instance) else event.kwargs
    reduction = first(kwargs.get("reduction"))
    return isinstance(reduction, Const) and reduction.value == "none"


def chosen(program: Program, event: Event, head: Instance) -> bool:
    """Whether the loss is the one that the code uses by default, wherever the head exists."""
    steps, known = list(event.path), set()
    for made in program.made.get(id(event.subject), ()):
        steps += made.path
    for made in program.made.get(id(head), ()):
        known |= {id(step.node) for step in made.path if step.taken is False}
    return all(step.taken is not False or id(step.node) in known for step in steps)


def _given(value: Value | None) -> bool:
    """An argument that was passed and is not None (what it holds may be unknown)."""
    return value is not None and not (isinstance(value, Const) and value.value is None)


def _prior_of(weight: Value | None) -> float | None:
    """pos_weight is negatives per positive: the share of positives is 1 / (1 + w); None where w is not known."""
    at = first(weight)
    if isinstance(at, Tensor) and at.inputs:
        at = first(at.inputs[0])
    if isinstance(at, Const) and isinstance(at.value, (int, float)) and at.value > 0:
        return 1 / (1 + float(at.value))
    return None


def _outputs(head: Instance) -> float | None:
    value = first(_width(head))
    if isinstance(value, Const) and isinstance(value.value, (int, float)):
        return float(value.value)
    return None


def _counted(head: Instance) -> bool:
    """It has as many outputs as there are names on some list: one for each label."""
    return isinstance(first(_width(head)), Length)


def _of_classes(program: Program, head: Instance) -> bool:
    """Its outputs go to a cross-entropy as well: they are classes there, and the binary loss is for two of them."""
    found: set[int] = program.remember(
        "heads under cross-entropy",
        lambda: {
            id(layer)
            for event in program.events(LossComputed)
            if event.type in ("cross_entropy", "nll") and event.inputs
            for layer, _ in head_layers(program, event)
        },
    )
    return id(head) in found


def _width(head: Instance) -> Value | None:
    name = "out_features" if head.library in layers.LINEAR else "out_channels"
    return head.passed(layers.OUT_FEATURES.get(head.library, 1), name)


def _keeps_size(conv: Instance) -> bool:
    """The convolution gives one output for each pixel that it is given: `kernel_size=3, padding=1`."""
    size, stride, padding = (_side(conv, at, name) for at, name in ((2, "kernel_size"), (3, "stride"), (4, "padding")))
    if stride not in (None, 1) or not isinstance(size, int):
        return False
    return size == 1 or padding == "same" or (isinstance(padding, int) and 2 * padding == size - 1)


def _side(conv: Instance, at: int, name: str) -> object:
    value = first(conv.passed(at, name))
    if isinstance(value, Sequence) and value.items:
        value = first(value.items[0])
    return value.value if isinstance(value, Const) else None


def _same_data(output: Value, target: Value) -> bool:
    """The target is what the model was fed: an autoencoder."""
    return not _data_behind(output, set()).isdisjoint(_data_behind(target, set()))


def _data_behind(value: Value, seen: set[int]) -> set[int]:
    """The ids of the data that a value was computed from: by what a module's code does with its inputs where that tells,
    else from all of them."""
    found: set[int] = set()
    stack: list[Value] = [value]
    while stack and len(seen) < 400:
        for member in members(stack.pop()):
            if isinstance(member, Sequence):
                stack.extend(member.items)
            if not isinstance(member, Tensor) or id(member) in seen:
                continue
            seen.add(id(member))
            part = part_of_output(member)
            if member.op in ("data", "input") or (member.op == "item" and part is None):
                found.add(id(member))
            made = part or member.result
            inside = _data_behind(made, seen) if made is not None else set()
            found |= inside
            if not inside:
                stack.extend(member.inputs)
    return found
