"""What a live model and its optimizer show beyond doubt: who trains, who does not, and what cannot learn.

Pure functions on ModelFacts, like those of `judge`; they speak only where the very objects of a run were looked at.
"""

from __future__ import annotations

from tricklint.trace.facts import HeadFact, LayerFact, ModelFacts
from tricklint.trace.judge import FactFinding

_SMALL_RATE = 1e-4  # fine-tuning the whole network at or below this rate is usual


def judge_objects(facts: ModelFacts) -> list[FactFinding]:
    """Findings on the very model and optimizer of a run."""
    return [*untrained(facts), *twice(facts), *symmetric(facts), *one_rate(facts)]


def _listed(names: list[str]) -> str:
    return ", ".join(names) if len(names) <= 3 else f"{', '.join(names[:2])} and {len(names) - 2} more"


def untrained(facts: ModelFacts) -> list[FactFinding]:
    """TRK103, TRK602: trainable parameters in no group; parameters in groups that are not the model's."""
    optimizer = facts.optimizer
    if optimizer is None:
        return []
    found = []
    if optimizer.missing:
        lost = set(optimizer.missing)
        size = sum(p.size for p in facts.parameters if p.name in lost)
        text = f"traced: {_listed(optimizer.missing)} ({size:,} numbers) can be trained, but {optimizer.type} has no group with"
        text += " it: it never trains" if len(lost) == 1 else " them: they never train"
        # Parameters lost between several groups are lost by the split; one group that lacks them was built too early.
        code = "TRK602" if len(optimizer.groups) > 1 else "TRK103"
        found.append(FactFinding(code, "", text, tells=True, site=optimizer.site, details=tuple(optimizer.missing)))
    if optimizer.strangers:
        many = f"{optimizer.strangers} parameter{'' if optimizer.strangers == 1 else 's'}"
        cause = "layers were replaced after it was built, or it belongs to another model"
        text = f"traced: {optimizer.type} holds {many} that the model does not have: {cause}"
        found.append(FactFinding("TRK103", "", text, tells=True, site=optimizer.site))
    return found


def twice(facts: ModelFacts) -> list[FactFinding]:
    """TRK602: a parameter that is in a group twice, or in two groups."""
    optimizer = facts.optimizer
    if optimizer is None or not optimizer.twice:
        return []
    text = (
        f"traced: {_listed(optimizer.twice)} {'is' if len(optimizer.twice) == 1 else 'are'} in {optimizer.type} twice"
    )
    return [FactFinding("TRK602", "", text, tells=True, site=optimizer.site, details=tuple(optimizer.twice))]


def symmetric(facts: ModelFacts) -> list[FactFinding]:
    """TRK504: trainable weights of hidden layers that are one number.

    Left alone: the last layer; zeros that a residual add or a gate takes up (zero-initialised branches learn); filters
    that see one channel each.
    """
    parameters = {name: p for p in facts.parameters for name in (p.name, *p.tied_to)}
    heads = {head.path for head in facts.heads}
    found = []
    for layer in facts.layers:
        weight = parameters.get(layer.weight)
        if weight is None or weight.frozen or weight.constant is None or layer.path in heads:
            continue
        if layer.fan_out < 2 or weight.size < 4 or (layer.kind == "conv" and weight.shape[1] == 1):
            continue
        if weight.constant == 0 and not _dead(layer):
            continue
        value = "all zero" if weight.constant == 0 else f"all {weight.constant:g}"
        text = f"traced: {layer.weight} is {value}: every unit computes the same"
        if weight.constant == 0:
            text = f"traced: {layer.weight} is {value} and {layer.activation} follows: nothing passes, and nothing is learnt"
        found.append(FactFinding("TRK504", layer.path, text, tells=True, site=facts.site))
    return found


def _dead(layer: LayerFact) -> bool:
    """Zeros learn unless an activation follows whose slope at zero is none."""
    return layer.activation in ("relu", "relu6") and not layer.skip_after and not layer.norm_after


def one_rate(facts: ModelFacts) -> list[FactFinding]:
    """TRK101: norms that were trained before, a head that was not, and one learning rate for all."""
    optimizer = facts.optimizer
    if optimizer is None or optimizer.missing or any(p.frozen for p in facts.parameters):
        return []
    rates = {group.lr for group in optimizer.groups}
    trained = _trained_before(facts)
    if len(rates) != 1 or max(rates) <= _SMALL_RATE or not trained or not facts.heads:
        return []
    layers = {layer.path: layer for layer in facts.layers}
    if not all(_fresh(head, layers.get(head.path)) for head in facts.heads):
        return []
    head = facts.heads[0].path
    text = f"traced: {head} is new, the layers before it were trained before ({trained} has moved), and"
    text += f" {optimizer.type} moves all {len(facts.parameters)} tensors at the rate {max(rates):g}"
    return [FactFinding("TRK101", "", text, tells=True, site=optimizer.site)]


def _trained_before(facts: ModelFacts) -> str:
    """The norm that shows that the layers before the head were trained before, "" when none does. Running statistics
    show it beyond doubt; where there are none, biases of norms do, if none of them is the one number it was made with."""
    if facts.norms:
        return next((norm.path for norm in facts.norms if norm.moved), "")
    biases = [p for p in facts.parameters if p.kind == "norm" and p.name.rpartition(".")[2] == "bias" and p.size > 1]
    moved = [p.name for p in biases if p.constant is None and p.std is not None]
    return moved[0] if moved and len(moved) == len(biases) else ""


def _fresh(head: HeadFact, layer: LayerFact | None) -> bool:
    """Whether a head is as it was made: torch's own draw, or a bias of zeros, which no training leaves."""
    if layer is None:
        return False
    return head.bias_value == 0 or (layer.init == "default" and head.bias_default is not False)
