"""Pretrained weights that an initialisation overwrites.

## What it does
Finds an init loop or `apply(init_fn)` over a model that holds pretrained weights already: a torchvision, timm or
transformers backbone built with its weights, or a checkpoint loaded before. Reported at the loop or the `apply`.
Initialising only the new head (its own layers, or parameters picked by name) is silent.

## Why it costs
The download, and the whole point of transfer learning, is thrown away without a word: the model trains from scratch,
on a data set that is most often too small for it. Norm layers reset to one and zero, with the running statistics of
the old weights kept, are worse than a fresh network.

## When not to follow it
When only the architecture is wanted; then do not load weights. Or when a layer is reset on purpose (the last block, as
some fine-tuning recipes do): initialise that layer, not the model around it.

## Example
```python
import torch
from torch import nn
from torchvision.models import resnet18


class Net(nn.Module):
    def __init__(self, num_classes=4):
        super().__init__()
        self.backbone = resnet18(weights="DEFAULT")
        self.backbone.fc = nn.Linear(512, num_classes)
        for m in self.modules():
            if isinstance(m, (nn.Conv2d, nn.Linear)):
                nn.init.kaiming_normal_(m.weight)

    def forward(self, x):
        return self.backbone(x)
```

## After the fix
```python
import torch
from torch import nn
from torchvision.models import resnet18


class Net(nn.Module):
    def __init__(self, num_classes=4):
        super().__init__()
        self.backbone = resnet18(weights="DEFAULT")
        self.backbone.fc = nn.Linear(512, num_classes)
        nn.init.xavier_normal_(self.backbone.fc.weight)

    def forward(self, x):
        return self.backbone(x)
```

## Fix level
None: whether the loop should go, move before the load, or be narrowed to the head is the author's to say.

## Evidence
`tricklint check --trace` shows the fingerprint of the weights before and after; `--verify` trains both. What is lost is
the pre-training.

## References
- Yosinski et al., How transferable are features in deep neural networks?, 2014
- https://docs.pytorch.org/tutorials/beginner/transfer_learning_tutorial.html
"""

from __future__ import annotations

from collections.abc import Iterator

import libcst as cst

from tricklint.finding import Evidence, Finding, Severity
from tricklint.interpreter.events import Event
from tricklint.interpreter.modules import FileModule
from tricklint.libraries.events import Initialised
from tricklint.libraries.paramsets import ParamSet
from tricklint.program import Program
from tricklint.program.reinit import overwritten
from tricklint.rule import Rule
from tricklint.watching.record import Fact, Place, Run


class ReinitAfterPretrained(Rule):
    code = "TRK105"
    name = "reinit-after-pretrained"
    summary = "an init loop runs after pretrained weights were loaded, and overwrites them"
    severity = Severity.ERROR
    trick = "1 - Transfer learning"
    triggers = ("init", "apply", "normal_", "uniform_", "reset_parameters", "optim")

    def watched(self, run: Run) -> Iterator[Finding]:
        by_function: dict[tuple[object, ...], list[Fact]] = {}
        for fact in run.facts("reinit"):
            if fact.place.at is not None:
                by_function.setdefault((fact.place.at.file, fact.place.at.function, fact.place.frames[1:]), []).append(fact)
        for facts in by_function.values():
            first, others = facts[0], facts[1:]
            functions = " and ".join(dict.fromkeys(fact.data["function"] for fact in facts))
            message = f"weights that were loaded before are drawn anew here, by {functions}"
            seen = f"{sum(len(fact.data['parameters']) for fact in facts)} loaded parameters were overwritten"
            ways = [(Place((frame,)), "called from here") for frame in first.place.frames[1:]]
            ways += [(fact.place, "and here") for fact in others]
            yield from run.finding(self, first.place, message, seen, ways)

    def check(self, program: Program) -> Iterator[Finding]:
        seen: set[int] = set()
        for event in program.events(Initialised):
            subject = event.subject
            if not isinstance(subject, ParamSet) or not event.sure or subject.node is None or id(subject.node) in seen:
                continue
            lost = overwritten(program, event)
            place = _file_of(program, event, subject.node) if lost is not None else None
            if lost is None or place is None:
                continue
            seen.add(id(subject.node))
            node = subject.node.iter if isinstance(subject.node, (cst.For, cst.CompFor)) else subject.node
            scheme = str(event.scheme)
            message = f"{scheme} over all of the model overwrites the pretrained weights of {lost.label}"
            evidence: list[Evidence | None] = [program.evidence(lost.file, lost.node, "the weights are loaded here")]
            if event.node is not subject.node:
                evidence.append(program.evidence(event.file, event.node, "they are initialised here"))
            yield program.finding(self, place, node, message, evidence)


def _file_of(program: Program, event: Event, node: cst.CSTNode) -> FileModule | None:
    """The file whose tree holds `node`: the init function may live in another one than the `apply`."""
    for file in (event.file, *program.project.loaded()):
        if file.tree.parent(node) is not None:
            return file
    return None
