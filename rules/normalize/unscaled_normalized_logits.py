"""Cosines as logits without a scale: softmax cannot become sure.

## What it does
Finds L2-normalised features (`F.normalize(x)`, `x / x.norm(...)`, also within `F.cosine_similarity` with class
weights or prototypes that are learnt) that meet class weights and go into cross-entropy
with no scale or temperature, or with a constant one below α_low = log(p (C − 2) / (1 − p)) for the C classes that are
visible and p = 0.9 (`[tool.tricklint.normalize] p`). For two classes, where that is undefined, CosFace's bound is
taken. An error where the class weights are normalised too, a warning where they are free. A scale in the loss, in a
margin head of another file, a learnable one, an `.exp()` or a division by a temperature all count. Silent where an
option without a visible default picks the loss and another of its choices scales the cosines.

## Why it costs
The logits are cosines, between −1 and 1. With C classes softmax then gives the right class e / (e + C − 2) or so:
0.03 for a hundred classes, however well the features are separated. The loss stays high, the gradient never fades for
samples that are right already, and training stalls on a plateau. This is the normalise layer of the slides without
its α.

## When not to follow it
With a metric loss that takes cosines as they are (triplet, contrastive with a margin), or when the bound on
confidence is wanted as a regulariser.

## Example
```python
import torch
import torch.nn.functional as F
from torch import nn


class CosineHead(nn.Module):
    def __init__(self, in_features=64, num_classes=100):
        super().__init__()
        self.weight = nn.Parameter(torch.randn(num_classes, in_features))

    def forward(self, x):
        return F.linear(F.normalize(x), F.normalize(self.weight))


head = CosineHead()
features, labels = torch.randn(8, 64), torch.randint(100, (8,))
loss = F.cross_entropy(head(features), labels)
loss.backward()
```

## After the fix
```python
import torch
import torch.nn.functional as F
from torch import nn


class CosineHead(nn.Module):
    def __init__(self, in_features=64, num_classes=100):
        super().__init__()
        self.weight = nn.Parameter(torch.randn(num_classes, in_features))

    def forward(self, x):
        return 16.0 * F.linear(F.normalize(x), F.normalize(self.weight))


head = CosineHead()
features, labels = torch.randn(8, 64), torch.randint(100, (8,))
loss = F.cross_entropy(head(features), labels)
loss.backward()
```

## Fix level
recipe: the cosines are multiplied by a usual scale at or above α_low; nothing is added to the state_dict, and the
order of the classes stays. No fix where a constant scale stands there already: raise it where it is set.

## Evidence
Follows from the formulas; α_low at p = 0.9 is 4.3 for 10 classes, 6.8 for 100 and 9.1 for 1000.

`tricklint verify --recipe cosine-1000` trains 1,000 classes at four scales (8 paired seeds, kept in `bench/results/`).
At scale 1 the surest of all predictions has a probability of 0.003, at 4 of 0.034, at 16 of 0.975. Test accuracy: 94.6 %
at 1, 96.4 % at 4 (+1.8 points [+1.7, +1.9]), 96.2 % at 16 (+1.6 [+1.3, +1.9]), and 90.2 % at 32 (−4.5 [−4.9, −4.0]): far
above α_low a scale hurts.

## References
- Ranjan et al., L2-constrained Softmax Loss for Discriminative Face Verification, 2017, section 3.3 (α_low)
- Wang et al., CosFace: Large Margin Cosine Loss for Deep Face Recognition, 2018, section 3.3 (the lower bound of s)
- Wang et al., NormFace: L2 Hypersphere Embedding for Face Verification, 2017, proposition 2
"""

from __future__ import annotations

from collections.abc import Iterator

import libcst as cst

from tricklint.finding import Finding, Fix, FixLevel, Severity
from tricklint.fix import build
from tricklint.interpreter.events import Event
from tricklint.interpreter.values import (
    Value,
    first,
)
from tricklint.knowledge.alpha import alpha_low, highest, reachable, rounded_scale
from tricklint.libraries.events import LossBuilt, LossComputed
from tricklint.libraries.tensors import Tensor
from tricklint.program import Program
from tricklint.program.normalise import Cosine, cosine_behind
from tricklint.rule import Rule
from tricklint.watching.record import Clean, Run


class UnscaledNormalizedLogits(Rule):
    code = "TRK201"
    name = "unscaled-normalized-logits"
    summary = "cosines go into softmax without a scale large enough to let it become sure"
    severity = Severity.ERROR
    fix_level = FixLevel.RECIPE
    trick = "2 - Normalize"
    triggers = ("normalize", "norm(", "cosine_similarity", "CosineSimilarity")

    def watched(self, run: Run) -> Iterator[Finding | Clean]:
        """What cross_entropy was given, by autograd's own graph: a product of normalised features, and its scale."""
        p = run.settings.normalize.p if run.settings is not None else 0.9
        for fact in run.facts("loss"):
            found = next((look for look in fact.data["looks"] if look and look.get("product")), None)
            if found is None or not found["product"]["features"] or found["classes"] < 2:
                continue
            scale, classes = found["product"]["scale"], found["classes"]
            least = alpha_low(classes, p)
            if scale is None or abs(scale) >= least:
                told = "learnt" if scale is None else f"{scale:.3g}"
                yield Clean(self.code, fact.place, f"the scale of the normalised logits is {told}")
                continue
            both = found["product"]["weights"]
            what = "normalised features meet normalised weights" if both else "normalised features meet free weights"
            message = f"{what}, and go into cross_entropy at scale {scale:.3g}: for {classes} classes it takes {least:.3g}"
            seen = f"logits between {found['least']:.2g} and {found['most']:.2g}, scale {scale:.3g}, α_low {least:.3g}"
            severity = self.severity if both else Severity.WARNING
            yield from run.finding(self, fact.place, message, seen, severity=severity)

    def check(self, program: Program) -> Iterator[Finding]:
        p = getattr(getattr(program.settings, "normalize", None), "p", 0.9)
        seen: set[int] = set()
        for event in program.events(LossComputed):
            if event.type not in ("cross_entropy", "nll") or not event.possible or event.grad is False:
                continue
            cosine = cosine_behind(logits_of(event))
            if cosine is None or id(cosine.node) in seen or scaled_by_another(program, event):
                continue
            finding = self.judge(program, event, cosine, p)
            if finding is not None:
                seen.add(id(cosine.node))
                yield finding

    def judge(self, program: Program, event: Event, cosine: Cosine, p: float) -> Finding | None:
        classes, scale = cosine.classes, cosine.scale
        if scale <= 0 or classes == 1:
            return None
        if classes is None:
            low = alpha_low(2, p)
            if scale >= low:
                return None
            count = f"C is not visible, but even for two classes α_low is {low:.2f} (p = {p:g})"
            limit = f"the softmax can reach {highest(2, scale):.2f} at most"
        else:
            low = alpha_low(classes, p)
            if scale >= low:
                return None
            count = f"C = {classes}, p = {p:g}: α_low = {low:.2f}"
            limit = (
                f"the softmax can reach {highest(classes, scale):.3g} at most, and {reachable(classes, scale):.3g} "
                "with the classes spread out"
            )
        found = "no scale" if scale == 1.0 else f"the scale {scale:g}"
        what = "features and class weights are" if cosine.weights == "unit" else "the features are"
        message = f"{what} normalised and {found} follows before the softmax; {count}, so {limit}"
        severity = Severity.ERROR
        if cosine.weights == "free":
            severity = Severity.WARNING
            message = (
                f"{what} normalised and {found} follows before the softmax: with weights of norm one ({count}) {limit}"
            )
        evidence = [program.evidence(event.file, event.node, "the logits meet softmax here")]
        fix = self.mend(cosine, low) if scale == 1.0 and not cosine.margin else None
        return program.finding(self, cosine.file, cosine.node, message, evidence, fix, severity=severity)

    def mend(self, cosine: Cosine, low: float) -> Fix | None:
        node, tree = cosine.node, cosine.file.tree
        if not isinstance(node, (cst.Call, cst.BinaryOperation)):
            return None
        code = tree.code(node)
        if isinstance(node, cst.BinaryOperation) and not node.lpar:
            code = f"({code})"
        code = f"{rounded_scale(low)} * {code}"
        if not isinstance(tree.parent(node), (cst.Assign, cst.Return, cst.Arg, cst.AnnAssign)):
            code = f"({code})"
        return Fix(
            FixLevel.RECIPE,
            "multiply the cosines by a scale",
            build.replace(tree, node, code),
            "the logits, and so the loss, get another range",
        )


def scaled_by_another(program: Program, event: LossComputed) -> bool:
    """The criterion called here is one of several that an option picks, and another of them, a loss of the program's
    own, scales the logits itself: which of the two trains is not visible."""
    here = (event.file, event.node)
    if any(built.subject is event.subject and built.path and built.sure for built in program.events(LossBuilt)):
        return False  # the default
    for other in program.events(LossComputed):
        if other.type == "cross_entropy" and other.possible and here in other.calls:
            cosine, own = cosine_behind(logits_of(other)), cosine_behind(logits_of(event))
            if cosine is None or own is None or cosine.scale > own.scale:
                return True
    return False


def logits_of(event: LossComputed) -> Value | None:
    """What a cross-entropy takes as logits; for NLL what went into `log_softmax`."""
    inputs = event.inputs or ()
    value = inputs[0] if inputs else (event.kwargs or {}).get("input")
    if event.type == "cross_entropy":
        return value
    at = first(value)
    for _ in range(8):
        if not isinstance(at, Tensor):
            return None
        if at.op == "log_softmax" or (at.module is not None and at.module.library == "torch.nn.LogSoftmax"):
            return at.inputs[0] if at.inputs else None
        if at.op == "call" and at.result is not None:
            at = first(at.result)
        elif at.op in ("input", "squeeze", "view") and at.inputs:
            at = first(at.inputs[0])
        else:
            return None
    return None
