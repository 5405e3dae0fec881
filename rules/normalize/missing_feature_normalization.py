"""A classifier fed by a backbone's raw features: the slides' normalise layer is missing.

## What it does
Off by default; switch it on with `extend-select = ["TRK202"]`. Finds a classifier (the last Linear before
cross-entropy) that takes the features of a pretrained backbone as they come, with no norm layer, hidden layer of its
own, classifier within the backbone or L2 normalisation between (pooling, dropout and a ReLU keep the length that
features came with), and offers the slides' layer: L2-normalise, then scale by α ≥ α_low = log(p (C − 2) / (1 − p)).

## Why it costs
The length of a raw feature says how easy an image was, not what is on it: softmax can lower its loss by stretching
easy features instead of turning hard ones. On a sphere only the angle is left, classes become compact, and rare or
hard samples weigh as much as easy ones. Verification and retrieval gain most; plain classification gains sometimes.

## When not to follow it
When confidence should follow the length (out-of-distribution scores), when the head was trained before, or when the
measured gain is nothing: `--verify` tells.

## Example
```python
import torch
from torch import nn
from torchvision.models import resnet18


class Net(nn.Module):
    def __init__(self, num_classes=10):
        super().__init__()
        self.backbone = resnet18(weights="DEFAULT")
        self.backbone.fc = nn.Identity()
        self.classifier = nn.Linear(512, num_classes)

    def forward(self, x):
        features = self.backbone(x)
        return self.classifier(features)


net = Net()
logits = net(torch.randn(2, 3, 64, 64))
nn.CrossEntropyLoss()(logits, torch.tensor([0, 1])).backward()
```

## After the fix
```python
import torch
from torch import nn
from torchvision.models import resnet18


class Net(nn.Module):
    def __init__(self, num_classes=10):
        super().__init__()
        self.backbone = resnet18(weights="DEFAULT")
        self.backbone.fc = nn.Identity()
        self.classifier = nn.Linear(512, num_classes)

    def forward(self, x):
        features = self.backbone(x)
        return self.classifier(16.0 * torch.nn.functional.normalize(features, dim=1))


net = Net()
logits = net(torch.randn(2, 3, 64, 64))
nn.CrossEntropyLoss()(logits, torch.tensor([0, 1])).backward()
```

## Fix level
unsafe: it adds a layer, and a head that was trained on raw features has to be trained again.

## Evidence
No recipe measures it. `tricklint verify train.py` trains yours both ways over paired seeds; "no measurable difference"
is a common and honest answer.

## References
- Ranjan et al., L2-constrained Softmax Loss for Discriminative Face Verification, 2017
- Wang et al., NormFace: L2 Hypersphere Embedding for Face Verification, 2017
"""

from __future__ import annotations

from collections.abc import Iterator

import libcst as cst

from tricklint.finding import Finding, Fix, FixLevel, Keeps, Severity
from tricklint.fix import build
from tricklint.knowledge.alpha import alpha_low, rounded_scale
from tricklint.libraries.events import LossComputed
from tricklint.program import Program
from tricklint.program.features import Classifier, classifier_behind
from tricklint.rule import Rule


class MissingFeatureNormalization(Rule):
    code = "TRK202"
    name = "missing-feature-normalization"
    summary = "the classifier takes a backbone's raw features; the slides normalise and scale them"
    severity = Severity.ADVICE
    fix_level = FixLevel.UNSAFE
    trick = "2 - Normalize"
    on_by_default = False
    triggers = ("pretrained", "weights", "create_model")

    def check(self, program: Program) -> Iterator[Finding]:
        p = getattr(getattr(program.settings, "normalize", None), "p", 0.9)
        seen: set[int] = set()
        for event in program.events(LossComputed):
            if event.type != "cross_entropy" or not event.possible or event.grad is False:
                continue
            inputs = event.inputs or ()
            found = classifier_behind(program, inputs[0] if inputs else None)
            if found is None or id(found.node) in seen:
                continue
            seen.add(id(found.node))
            yield self.report(program, found, p)

    def report(self, program: Program, found: Classifier, p: float) -> Finding:
        name = found.backbone.label
        message = f"the classifier takes the raw features of {name}; normalise them and scale by α"
        low = alpha_low(found.classes, p) if found.classes is not None and found.classes >= 2 else None
        if low is not None:
            message += f" ≥ α_low = {low:.2f} (C = {found.classes}, p = {p:g})"
        evidence = [program.evidence(found.backbone.file, found.backbone.node, f"the pretrained {name} is built here")]
        return program.finding(self, found.file, found.node, message, evidence, self.mend(found, low))

    def mend(self, found: Classifier, low: float | None) -> Fix | None:
        call, tree = found.node, found.file.tree
        if (
            not isinstance(call, cst.Call)
            or len(call.args) != 1
            or call.args[0].keyword is not None
            or call.args[0].star
        ):
            return None
        argument = call.args[0].value
        scale = rounded_scale(low) if low is not None else 16.0
        code = f"{scale} * torch.nn.functional.normalize({tree.code(argument)}, dim=1)"
        edits = build.joined((build.replace(tree, argument, code), build.add_import(tree, "import torch")))
        if edits is None:
            return None
        return Fix(
            FixLevel.UNSAFE, "normalise the features, then scale them", edits, "adds a layer: train the head again",
            keeps=Keeps(keys="more"),
        )
