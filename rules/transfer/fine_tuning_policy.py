"""The recipe that fits the data set, held against the one the code uses.

## What it does
Speaks only when the project says, in `[tool.tricklint.transfer]`, how large its data set is (`dataset-size`: "small",
"large" or the number of samples) and how like the pretraining data (`similarity`: "similar" or "different"). It then
holds what the code does with a pretrained model (all of it trained, part of it, only the head) against the slides'
table, and says which recipe fits when another one is used. A number of samples counts as small below 10,000.

| data set | similarity | recommendation |
|---|---|---|
| large | very different | train all of it, initialised with the pretrained weights |
| large | similar | fine-tune |
| small | very different | train a classifier on the features of earlier layers |
| small | similar | do not fine-tune: train a linear classifier |

## Why it costs
A small data set cannot hold millions of free weights in place: fine-tuning all of them overfits. A large one is wasted
on a linear classifier over frozen features, the more so the less it looks like the pretraining data.

## When not to follow it
The table is a rule of thumb. Strong regularisation, augmentation, or adapters such as LoRA move its borders, and
`--verify` can measure both recipes on your data.

## Example
```toml
[tool.tricklint.transfer]
dataset-size = "large"
similarity = "different"
```

```python
import torch
from torch import nn
from torchvision.models import resnet18

model = resnet18(weights="DEFAULT")
for param in model.parameters():
    param.requires_grad = False
model.fc = nn.Linear(512, 4)
optimizer = torch.optim.SGD(model.fc.parameters(), lr=0.01)
```

## After the fix
```python
import torch
from torch import nn
from torchvision.models import resnet18

model = resnet18(weights="DEFAULT")
model.fc = nn.Linear(512, 4)
optimizer = torch.optim.SGD(model.parameters(), lr=0.01)
```

## Fix level
None: it is advice on how to train, and the settings decide it.

## Evidence
In the literature full fine-tuning gains about 2 % in distribution and loses about 7 % out of it; probing first and then
fine-tuning has the best of both (Kumar et al. 2022). On 240 pictures of classes like those of the pre-training,
`tricklint verify --recipe transfer-pills` gives 83.9 % for all fine-tuned, 88.8 % frozen (+4.9 points [−0.4, +10.2]) and
86.6 % for frozen first (+2.7 [−2.8, +8.2]): with 8 paired seeds both are inconclusive after Holm.

## References
- The slides, "When and how to fine-tune?"
- https://cs231n.github.io/transfer-learning/
- Kumar et al., Fine-Tuning can Distort Pretrained Features and Underperform Out-of-Distribution, 2022
"""

from __future__ import annotations

from collections.abc import Iterator

from tricklint.finding import Finding, Severity
from tricklint.program import Program
from tricklint.program.policy import Policy, advice, advice_of
from tricklint.program.recipe import recipes
from tricklint.rule import Rule
from tricklint.watching.record import Clean, Model, Optimizer, Run

_USED = {"all": "trains only the head", "part": "trains part of the backbone", "none": "trains all of it"}


class FineTuningPolicy(Rule):
    code = "TRK106"
    name = "fine-tuning-policy"
    summary = "the transfer-learning recipe does not fit the size and similarity that the project configures"
    severity = Severity.ADVICE
    trick = "1 - Transfer learning"
    triggers = ("pretrained", "weights", "create_model")

    def watched(self, run: Run) -> Iterator[Finding | Clean]:
        """Which of the loaded weights could train at some step, and how many new layers did."""
        policy = advice_of(run.settings)
        if policy is None:
            return
        for optimizer, model in run.trained():
            recipe = watched_recipe(run, optimizer, model)
            loaded = [p for p in model.parameters if p.loaded is not None]
            if recipe is None or loaded[0].loaded is None:
                continue
            frozen, moving, head = recipe
            seen = f"{moving} of {len(loaded)} loaded parameters trained, and {head} new layer{'s' * (head != 1)}"
            if fits(policy, frozen, head):
                yield Clean(self.code, loaded[0].loaded, seen)
                continue
            message = told(policy, frozen, head, model.type)
            yield from run.finding(
                self, loaded[0].loaded, message, seen, [(optimizer.place, "the optimizer gets its parameters here")]
            )

    def check(self, program: Program) -> Iterator[Finding]:
        policy = advice(program)
        if policy is None:
            return
        seen: set[int] = set()
        for used in recipes(program):
            model = used.model
            if (
                model.node is None
                or model.file is None
                or id(model.node) in seen
                or fits(policy, used.frozen, used.head_layers)
            ):
                continue
            seen.add(id(model.node))
            message = told(policy, used.frozen, used.head_layers, model.label)
            evidence = [program.evidence(used.event.file, used.event.node, "the optimizer gets its parameters here")]
            yield program.finding(self, model.file, model.node, message, evidence)


def told(policy: Policy, frozen: str, head_layers: int | None, label: str) -> str:
    does = _USED[frozen]
    if frozen == "all" and head_layers is not None and head_layers > 1:
        does = f"trains a head of {head_layers} layers"
    fitting = policy.recommendation.partition(": ")[2]
    data = f"dataset-size {policy.size}, similarity {policy.similarity}"
    return f"{data}: {fitting}; this code {does} ({label})"


def fits(policy: Policy, frozen: str, head_layers: int | None) -> bool:
    """Whether the recipe in use is the table's."""
    if policy.recipe in ("train_all", "fine_tune"):
        return frozen != "all"
    if policy.recipe == "linear":
        return frozen == "all" and (head_layers is None or head_layers <= 1)
    return frozen == "all"  # earlier layers: which layer feeds the classifier is not judged


def watched_recipe(run: Run, optimizer: Optimizer, model: Model) -> tuple[str, int, int] | None:
    """(how much of the loaded weights was frozen, how many trained, how many new layers did) of a model with a new head;
    None where its new weights are no head: they stand between the loaded ones, as adapters do."""
    at = [index for index, p in enumerate(model.parameters) if p.loaded is not None]
    new = [p for p in model.parameters if p.loaded is None and p.kind == "matrix" and p.number in optimizer.parameters]
    if not at or not new or at[-1] - at[0] + 1 != len(at):
        return None
    moving = sum(run.trains(model.parameters[index], optimizer) for index in at)
    frozen = "all" if not moving else "none" if moving == len(at) else "part"
    return frozen, moving, sum(run.trains(p, optimizer) for p in new)
