"""The rules, asked of ModelFacts: pure functions, torch-free. Each returns what the real model shows.

A `FactFinding` confirms (the mistake is there, seen in the model) or, with `refutes`, denies (a static finding of
that code about this model is wrong). `tells` says whether it may be reported although no static finding was made.
"""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass

from tricklint.trace import formulas
from tricklint.trace.facts import LayerFact, ModelFacts, ParameterFact, Site

NAMES: dict[str, tuple[str, str]] = {
    "TRK101": ("unfrozen-backbone", "warning"),
    "TRK103": ("unfrozen-not-optimized", "error"),
    "TRK104": ("frozen-norm-drift", "warning"),
    "TRK201": ("unscaled-normalized-logits", "error"),
    "TRK301": ("fixed-cuda-batch", "advice"),
    "TRK501": ("missing-init", "advice"),
    "TRK502": ("init-gain-mismatch", "warning"),
    "TRK503": ("classifier-bias", "advice"),
    "TRK504": ("symmetric-init", "error"),
    "TRK601": ("decay-on-bias-norm", "warning"),
    "TRK602": ("lossy-parameter-split", "error"),
    "TRK702": ("softmax-before-cross-entropy", "error"),
    "TRK705": ("unregistered-submodule", "error"),
    "TRK706": ("unused-parameter", "warning"),
}
DEEP = 5  # layers without norm or skip from which a stack counts as deep
_INITIALISED = (
    "Linear",
    "Conv1d",
    "Conv2d",
    "Conv3d",
    "ConvTranspose1d",
    "ConvTranspose2d",
    "ConvTranspose3d",
    "Bilinear",
)


@dataclass(frozen=True)
class FactFinding:
    """What the traced model says about one rule. `module_path` is the module (or "" for the whole model)."""

    code: str
    module_path: str
    message: str
    refutes: bool = False
    tells: bool = False
    severity: str = ""  # overrides the rule's own
    site: Site | None = None  # the class or call it belongs to
    details: tuple[str, ...] = ()

    @property
    def name(self) -> str:
        return NAMES[self.code][0]

    @property
    def level(self) -> str:
        return self.severity or NAMES[self.code][1]

    def __str__(self) -> str:
        where = self.module_path or "the model"
        return f"{self.code} {self.name}: {where}: {self.message}"


def judge(facts: ModelFacts, batch_size: int | None = None, gpu: str | int | None = None) -> list[FactFinding]:
    """Everything the facts alone can report (for a live model, or beside a static check): the findings that `tells`."""
    found = [
        *missing_init(facts),
        *init_gain(facts),
        *decay(facts),
        *lossy_split(facts),
        *products(facts),
        *norm_drift(facts),
        *unregistered(facts),
        *unused(facts),
    ]
    if batch_size and gpu:
        found += memory(facts, batch_size, gpu)
    return [finding for finding in found if finding.tells and not finding.refutes]


# -- TRK501, TRK502, TRK503: initialisation


def owner_of(facts: ModelFacts, path: str) -> tuple[str, Site | None]:
    """(path, class site) of the nearest module above `path` whose class is the user's own; the model when none is."""
    known = {module.path: module.site for module in facts.modules}
    above = path.rpartition(".")[0]
    while True:
        if known.get(above):
            return above, facts.sites.get(known[above])
        if not above:
            return "", facts.site
        above = above.rpartition(".")[0]


def plain_stack(facts: ModelFacts) -> list[LayerFact]:
    """The longest run of layers, in the order they run, that have neither a norm nor a skip between them."""
    best: list[LayerFact] = []
    run: list[LayerFact] = []
    for layer in facts.layers:
        run.append(layer)
        if layer.norm_after or layer.skip_after:
            run = []
        if len(run) > len(best):
            best = list(run)
    return best


def signal_ratio(layers: list[LayerFact]) -> float | None:
    """By what the signal's standard deviation changes from one of these layers to the next, the geometric mean; the
    last layer (often the head) is left out. None when fewer than three were measured."""
    stds = [layer.output_std for layer in layers[:-1] if layer.output_std]
    if len(stds) < 3 or not stds[0] or not stds[-1]:
        return None
    return float((stds[-1] / stds[0]) ** (1.0 / (len(stds) - 1)))


def _frozen(facts: ModelFacts) -> set[str]:
    names: set[str] = set()
    for parameter in facts.parameters:
        if parameter.frozen:
            names.update((parameter.name, *parameter.tied_to))
    return names


def missing_init(facts: ModelFacts) -> list[FactFinding]:
    """TRK501: layers whose weights are PyTorch's own default, by class of the user's."""
    frozen = _frozen(facts)
    classes: dict[str, list[LayerFact]] = defaultdict(list)
    sites: dict[str, Site | None] = {}
    paths: dict[str, str] = {}
    for layer in facts.layers:
        if layer.type not in _INITIALISED or layer.weight in frozen or layer.init == "unknown":
            continue
        path, site = owner_of(facts, layer.path)
        key = site.name if site else ""
        classes[key].append(layer)
        sites[key] = site
        paths.setdefault(key, path)
    stack = plain_stack(facts)
    ratio = signal_ratio(stack)
    deep = len(stack) >= DEEP
    total = [layer for layers in classes.values() for layer in layers]
    default_total = [layer for layer in total if layer.init == "default"]
    found = []
    for key, layers in classes.items():
        default = [layer for layer in layers if layer.init == "default"]
        site, path = sites[key], paths[key]
        if not default:
            many = _count(len(layers), "layer")
            text = f"traced: {many} of it {_are(len(layers))} initialised on purpose ({_inits(layers)})"
            found.append(FactFinding("TRK501", path, text, refutes=True, site=site))
            continue
        one = max(default, key=lambda layer: layer.fan_in)
        right, wanted = _right(one)
        text = (
            f"traced: {len(default)} of {_count(len(layers), 'layer')} keep PyTorch's default; {one.path}: std"
            f" {one.default_std:.3g}, {right} for {_follows(one)} is {wanted:.3g}"
        )
        severity = ""
        in_stack = deep and any(layer in default for layer in stack)
        if in_stack:
            severity = "warning"
            text += f"; {len(stack)} layers in a row without a norm or a skip"
            if ratio is not None:
                text += f", the signal's std is multiplied by {ratio:.2f} a layer ({_walk(stack)})"
        # A new head on an initialised net is no finding.
        tells = len(default_total) > 1 or (len(total) == len(default_total) and len(total) > 1)
        found.append(FactFinding("TRK501", path, text, tells=tells, severity=severity, site=site))
    return found


def _right(layer: LayerFact) -> tuple[str, float]:
    if layer.activation in formulas.RELU_FAMILY:
        return "Kaiming's", layer.kaiming_std
    return "Xavier's", layer.xavier_std


def _follows(layer: LayerFact) -> str:
    return "no activation" if layer.activation == "none" else f"the {layer.activation} that follows"


def _walk(layers: list[LayerFact]) -> str:
    stds = [layer.output_std for layer in layers[:-1] if layer.output_std]
    return f"{stds[0]:.2g} → {stds[-1]:.2g}"


def _inits(layers: list[LayerFact]) -> str:
    counts: dict[str, int] = defaultdict(int)
    for layer in layers:
        counts[layer.init] += 1
    return ", ".join(f"{count} {name}" for name, count in sorted(counts.items(), key=lambda item: -item[1]))


def _count(number: int, thing: str) -> str:
    return f"{number} {thing}" if number == 1 else f"{number} {thing}s"


def _are(number: int) -> str:
    return "is" if number == 1 else "are"


def init_gain(facts: ModelFacts) -> list[FactFinding]:
    """TRK502: an explicit initialisation whose gain contradicts the activation that really follows. Layers behind
    which a norm stands are spared: it rescales the signal anyway. Without a wrong one, it refutes."""
    frozen = _frozen(facts)
    explicit = [layer for layer in facts.layers if layer.own_init and layer.weight not in frozen and layer.std]
    wrong: dict[str, list[tuple[LayerFact, str]]] = defaultdict(list)
    sites: dict[str, Site | None] = {}
    for layer in explicit:
        said = ""
        if layer.activation in ("relu", "leaky_relu", "prelu", "relu6", "rrelu") and layer.init == "xavier":
            said = f"Xavier without ReLU's gain (std {layer.std:.3g}), {layer.activation} follows"
            said += f": wants {layer.kaiming_std:.3g}"
        elif layer.activation in ("tanh", "sigmoid") and layer.init == "kaiming":
            said = f"Kaiming's √2 (std {layer.std:.3g}), {layer.activation} follows: wants {layer.xavier_std:.3g}"
        if said:
            path, site = owner_of(facts, layer.path)
            sites[path] = site
            wrong[path].append((layer, said))
    if not wrong and explicit and facts.rung != "tree":
        text = f"traced: the gains fit the activations that follow ({_inits(explicit)})"
        return [FactFinding("TRK502", "", text, refutes=True, site=facts.site)]
    found = []
    for path, layers in wrong.items():
        layer, said = layers[0]
        more = f" (and {len(layers) - 1} more)" if len(layers) > 1 else ""
        tells = any(not one.norm_after for one, _ in layers)
        found.append(FactFinding("TRK502", path, f"traced: {layer.path}: {said}{more}", tells=tells, site=sites[path]))
    return found


def head_bias(facts: ModelFacts) -> list[FactFinding]:
    """TRK503: whether the head is what it seems, and keeps its default bias. Never reported by facts alone: that
    positives are rare is the code's evidence, not the model's."""
    found = []
    for head in facts.heads:
        if not head.bias:
            found.append(
                FactFinding("TRK503", head.path, "traced: the head has no bias", refutes=True, site=facts.site)
            )
        elif head.bias_default is False:
            value = f" ({head.bias_value:.3g})" if head.bias_value is not None else ""
            text = f"traced: the head's bias is set on purpose{value}"
            found.append(FactFinding("TRK503", head.path, text, refutes=True, site=facts.site))
        elif head.bias_default:
            text = (
                f"traced: {head.path} is the head ({_count(head.classes or 0, 'output')}), its bias PyTorch's default"
            )
            found.append(FactFinding("TRK503", head.path, text, site=facts.site))
    return found


# -- TRK601, TRK602: who decays


def vectors(facts: ModelFacts) -> list[ParameterFact]:
    """Trainable biases, norm parameters, scalars and other vectors: what should not decay."""
    return [
        p
        for p in facts.parameters
        if not p.frozen
        and (p.kind in ("bias", "norm", "scalar") or (sum(side > 1 for side in p.shape) < 2 and p.kind != "matrix"))
    ]


def decay(facts: ModelFacts) -> list[FactFinding]:
    """TRK601: biases and norms in an optimizer group with weight decay."""
    loose = vectors(facts)
    kinds = _kinds(loose)
    if not loose:
        text = "traced: the model has no trainable biases, norms or other vectors"
        return [FactFinding("TRK601", "", text, refutes=True, site=facts.site)]
    optimizer = facts.optimizer
    if optimizer is None:
        text = f"traced: {len(loose)} of {len(facts.parameters)} parameters are no matrices ({kinds})"
        return [FactFinding("TRK601", "", text, site=facts.site)]
    site = optimizer.site
    decayed = [p for p in loose if any(optimizer.groups[g].weight_decay > 0 for g in p.groups)]
    if not decayed:
        text = f"traced: {optimizer.type} decays none of the {len(loose)} biases, norms and vectors"
        return [FactFinding("TRK601", "", text, refutes=True, site=site)]
    rate = max(optimizer.groups[g].weight_decay for p in decayed for g in p.groups)
    text = f"traced: {optimizer.type} decays {_kinds(decayed)} by {rate:g}, {decayed[0].name} first"
    return [FactFinding("TRK601", "", text, tells=True, site=site, details=tuple(p.name for p in decayed))]


def _kinds(parameters: Iterable[ParameterFact]) -> str:
    words = {"bias": ("bias", "biases"), "norm": ("norm parameter", "norm parameters"), "scalar": ("scale", "scales"),
             "embedding": ("token vector", "token vectors"), "matrix": ("matrix", "matrices")}  # fmt: skip
    counts: dict[str, int] = defaultdict(int)
    for parameter in parameters:
        counts[parameter.kind] += 1
    return ", ".join(f"{n} {words[kind][n != 1]}" for kind, n in counts.items())


def lossy_split(facts: ModelFacts) -> list[FactFinding]:
    """TRK602: a split into groups that loses trainable parameters or holds one twice. One group over a part of the
    model (a head, one net of several) is no split."""
    optimizer = facts.optimizer
    if optimizer is None:
        return []
    found = []
    if optimizer.twice:
        text = f"traced: {_listed(optimizer.twice)} in two groups of {optimizer.type}"
        found.append(FactFinding("TRK602", "", text, tells=True, site=optimizer.site, details=tuple(optimizer.twice)))
    if optimizer.missing and len(optimizer.groups) > 1:
        lost = {p.name for p in facts.parameters if p.name in set(optimizer.missing)}
        size = sum(p.size for p in facts.parameters if p.name in lost)
        text = (
            f"traced: {_listed(optimizer.missing)} in no group of {optimizer.type}, {size:,} numbers that never train"
        )
        found.append(FactFinding("TRK602", "", text, tells=True, site=optimizer.site, details=tuple(optimizer.missing)))
    if not found and not optimizer.missing:
        text = f"traced: every trainable parameter is in {optimizer.type} exactly once"
        found.append(FactFinding("TRK602", "", text, refutes=True, site=optimizer.site))
    return found


def _listed(names: list[str]) -> str:
    return names[0] if len(names) == 1 else f"{names[0]} and {len(names) - 1} more"


# -- TRK201: normalised logits


def products(facts: ModelFacts, p: float = 0.9) -> list[FactFinding]:
    """TRK201: L2-normalised features meet class weights, and the scale between is missing or below α_low. A scale may
    also stand in the loss, which the graph does not show: without one in the graph, the facts only confirm."""
    found = []
    for product in facts.products:
        classes = product.classes or 0
        if product.learnable:
            text = "traced: a learnable (or computed) scale stands between the normalised product and the output"
            found.append(FactFinding("TRK201", product.module, text, refutes=True, site=_site(facts, product.module)))
            continue
        if classes < 2:
            continue
        least = formulas.alpha_low(classes, p)
        scale = product.scale if product.scale is not None else 1.0
        if scale >= least:
            text = f"traced: the scale is {scale:.3g}, α_low {least:.3g} (C = {classes}, p = {p:g})"
            found.append(FactFinding("TRK201", product.module, text, refutes=True, site=_site(facts, product.module)))
            continue
        known = product.scale is not None or facts.output_activation in ("softmax", "log_softmax")
        what = f"scale {product.scale:.3g}" if product.scale is not None else "no scale"
        text = f"traced: {what}, α_low is {least:.3g} (C = {classes}, p = {p:g})"
        if product.weights_normalised:
            text += f"; the softmax reaches at most {formulas.best_probability(scale, classes):.2g}"
        severity = "" if product.weights_normalised else "warning"
        found.append(
            FactFinding(
                "TRK201", product.module, text, tells=known, severity=severity, site=_site(facts, product.module)
            )
        )
    return found


def _site(facts: ModelFacts, path: str) -> Site | None:
    return owner_of(facts, path)[1]


# -- TRK104, TRK301


def norm_drift(facts: ModelFacts) -> list[FactFinding]:
    """TRK104: layers with running statistics, frozen but not kept in eval mode."""
    if not facts.norms:
        text = "traced: no layer of the model keeps running statistics"
        return [FactFinding("TRK104", "", text, refutes=True, site=facts.site)]
    drifting = [norm for norm in facts.norms if norm.frozen and not norm.pinned]
    if drifting:
        names = _listed([norm.path for norm in drifting])
        text = f"traced: {names} ({drifting[0].type}): frozen, yet the running statistics move"
        return [
            FactFinding(
                "TRK104", drifting[0].path, text, tells=True, details=tuple(n.path for n in drifting), site=facts.site
            )
        ]
    if any(norm.frozen for norm in facts.norms):
        text = "traced: every frozen norm is kept in eval mode"
        return [FactFinding("TRK104", "", text, refutes=True, site=facts.site)]
    text = f"traced: {len(facts.norms)} layers keep running statistics ({facts.norms[0].path} … {facts.norms[-1].path})"
    return [FactFinding("TRK104", "", text, site=facts.site)]


_UNITS = {"": 1, "b": 1, "kb": 2**10, "mb": 2**20, "gb": 2**30, "tb": 2**40, "k": 2**10, "m": 2**20, "g": 2**30}


def card_bytes(text: str | int) -> int:
    """ "24GB" → bytes (GB is 2^30, as cards are named). Raises ValueError."""
    if isinstance(text, int):
        return text
    match = re.fullmatch(r"\s*(\d+(?:\.\d+)?)\s*(?:i?)([a-zA-Z]*)\s*", text.replace("iB", "B"))
    if match is None or match[2].lower() not in _UNITS:
        raise ValueError(f"{text!r} is no size of memory: write 24GB")
    return int(float(match[1]) * _UNITS[match[2].lower()])


def size(count: float) -> str:
    """Bytes as a person reads them."""
    for unit, factor in (("GB", 2**30), ("MB", 2**20), ("kB", 2**10)):
        if count >= factor:
            value = count / factor
            return f"{value:.0f} {unit}" if value >= 100 else f"{value:.3g} {unit}"
    return f"{count:.0f} bytes"


def memory(facts: ModelFacts, batch: int, gpu: str | int | None) -> list[FactFinding]:
    """TRK301: what a batch needs, and whether it fits the card. A batch that fills less than 80 % of it refutes."""
    if facts.memory is None:
        return []
    need = facts.memory.bytes_for(batch)
    text = f"traced: ≈ {size(facts.memory.per_sample)} a sample, batch {batch} needs ≈ {size(need)}"
    if not gpu:
        return [FactFinding("TRK301", "", text, site=facts.site)]
    card = card_bytes(gpu)
    most = facts.memory.largest_batch(card)
    if batch > most:
        text += f": does not fit {size(card)} (the largest batch is {most})"
        return [FactFinding("TRK301", "", text, tells=True, severity="warning", site=facts.site)]
    text += f" of {size(card)} (the largest batch is {most})"
    return [FactFinding("TRK301", "", text, refutes=need < 0.8 * card, site=facts.site)]


# -- TRK702, TRK705, TRK706


def output(facts: ModelFacts, wants: str) -> list[FactFinding]:
    """TRK702: whether the model's output really is what the static finding takes it for: "softmax", "sigmoid" (then
    the loss adds a second one) or "logits" (then the loss misses one)."""
    if facts.rung == "tree" or not facts.heads:
        return []
    seen = facts.output_activation
    there = {"softmax": seen in ("softmax", "log_softmax"), "sigmoid": seen == "sigmoid", "logits": not seen}[wants]
    text = f"traced: the output of the model is {'raw logits' if not seen else f'a {seen}'}"
    return [FactFinding("TRK702", facts.heads[0].path, text, refutes=not there, site=facts.site)]


def unregistered(facts: ModelFacts) -> list[FactFinding]:
    """TRK705: layers in a plain list or dict."""
    found = []
    for lost in facts.unregistered:
        where = f"{lost.owner}.{lost.attribute}" if lost.owner else lost.attribute
        text = (
            f"traced: {_count(lost.layers, 'module')} in {where}, a plain container: {lost.parameters:,} numbers"
            " that no optimizer gets and .to() does not move"
        )
        found.append(FactFinding("TRK705", lost.owner, text, tells=True, site=facts.sites.get(lost.site, facts.site)))
    return found


def unused(facts: ModelFacts) -> list[FactFinding]:
    """TRK706: trainable parameters that the forward never reaches, one finding a class of the user's."""
    groups: dict[str, list[ParameterFact]] = defaultdict(list)
    sites: dict[str, Site | None] = {}
    if facts.rung == "tree":
        return []
    for parameter in facts.unused:
        path, site = owner_of(facts, parameter.name.rpartition(".")[0])
        sites[path] = site
        groups[path].append(parameter)
    found = []
    for path, lost in groups.items():
        share = sum(p.size for p in lost)
        names = [p.name for p in lost]
        text = f"traced: the forward never reaches {_listed(names)} ({share:,} of {facts.total:,} numbers)"
        found.append(FactFinding("TRK706", path, text, tells=True, site=sites[path], details=tuple(names)))
    return found
