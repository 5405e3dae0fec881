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
`tricklint verify --recipe transfer-pills` gives 83.5 % for all fine-tuned, 89.8 % frozen (+6.4 points [+1.0, +11.7]) and
85.9 % for frozen first (+2.5 [−1.1, +6.0]): with 8 paired seeds both are inconclusive after Holm.

## References
- The slides, "When and how to fine-tune?"
- https://cs231n.github.io/transfer-learning/
- Kumar et al., Fine-Tuning can Distort Pretrained Features and Underperform Out-of-Distribution, 2022
"""

from __future__ import annotations

from collections.abc import Iterator

from tricklint.finding import Finding, Severity
from tricklint.program import Program
from tricklint.program.policy import Policy, advice
from tricklint.program.recipe import UsedRecipe, recipes
from tricklint.rule import Rule

_USED = {"all": "trains only the head", "part": "trains part of the backbone", "none": "trains all of it"}


class FineTuningPolicy(Rule):
    code = "TRK106"
    name = "fine-tuning-policy"
    summary = "the transfer-learning recipe does not fit the size and similarity that the project configures"
    severity = Severity.ADVICE
    trick = "1 - Transfer learning"
    triggers = ("pretrained", "weights", "create_model")

    def check(self, program: Program) -> Iterator[Finding]:
        policy = advice(program)
        if policy is None:
            return
        seen: set[int] = set()
        for used in recipes(program):
            model = used.model
            if model.node is None or model.file is None or id(model.node) in seen or fits(policy, used):
                continue
            seen.add(id(model.node))
            does = _USED[used.frozen]
            if used.frozen == "all" and used.head_layers is not None and used.head_layers > 1:
                does = f"trains a head of {used.head_layers} layers"
            fitting = policy.recommendation.partition(": ")[2]
            data = f"dataset-size {policy.size}, similarity {policy.similarity}"
            message = f"{data}: {fitting}; this code {does} ({model.label})"
            evidence = [program.evidence(used.event.file, used.event.node, "the optimizer gets its parameters here")]
            yield program.finding(self, model.file, model.node, message, evidence)


def fits(policy: Policy, used: UsedRecipe) -> bool:
    """Whether the recipe in use is the table's."""
    if policy.recipe in ("train_all", "fine_tune"):
        return used.frozen != "all"
    if policy.recipe == "linear":
        return used.frozen == "all" and (used.head_layers is None or used.head_layers <= 1)
    return used.frozen == "all"  # earlier layers: which layer feeds the classifier is not judged
