"""The last bias of a classifier whose positives are rare, left at its default.

## What it does
Finds the layer that yields the logits when the code itself says that positives are rare or classes imbalanced (a focal
loss, `pos_weight`, class weights, a WeightedRandomSampler, binary cross-entropy over many labels or over every pixel)
and the layer's bias keeps its default, a small random number near zero. A focal loss of the program is known by what it
computes, the log of a probability times a power of how far off it is, whatever its name.

## Why it costs
With a bias near zero a sigmoid starts at 0.5 and a softmax at 1/C: the first hundreds of steps are spent on learning
how rare the positives are, with large gradients through the whole net that say nothing about the pictures. RetinaNet
sets the bias to -log((1 - 0.01) / 0.01) = -4.595 for this reason and reports that training diverges without it.

## When not to follow it
When the sampler has made the batches balanced, or the training set is: then the default is near the truth. The same
holds for a `pos_weight` of negatives / positives, under which the best constant logit is 0: take one of the two. The gain
shows in the early loss; it does not always show in the final accuracy. The prior that the fix writes comes from the
constants of the code, or is 0.01, which nobody measured on your data: put your own in its place.

## Example
```python
import torch
from torch import nn


class Tagger(nn.Module):
    def __init__(self):
        super().__init__()
        self.hidden = nn.Linear(32, 64)
        self.head = nn.Linear(64, 6)

    def forward(self, x):
        return self.head(torch.relu(self.hidden(x)))


model = Tagger()
optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
loss = nn.BCEWithLogitsLoss()(model(torch.randn(8, 32)), (torch.rand(8, 6) < 0.1).float())
loss.backward()
optimizer.step()
```

## After the fix
```python
import math

import torch
from torch import nn


class Tagger(nn.Module):
    def __init__(self):
        super().__init__()
        self.hidden = nn.Linear(32, 64)
        self.head = nn.Linear(64, 6)
        nn.init.constant_(self.head.bias, math.log(0.01 / (1 - 0.01)))  # a guess at the share of positives

    def forward(self, x):
        return self.head(torch.relu(self.hidden(x)))


model = Tagger()
optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
loss = nn.BCEWithLogitsLoss()(model(torch.randn(8, 32)), (torch.rand(8, 6) < 0.1).float())
loss.backward()
optimizer.step()
```

## Fix level
recipe where the outputs go through a sigmoid and the code says how rare positives are (one class of ten is right, say):
only the start value of one bias changes. unsafe where it does not say so: 0.01 is a guess then, and where a fifth of the
pixels are positive it is a worse start than even odds. unsafe beside a `pos_weight`, which may even the odds out already.
Class-weighted softmax heads are only told.

## Evidence
Average precision over 8 paired seeds (kept in `bench/results/`). The gain is early; trained long enough, the default
catches up.

- `tricklint verify --recipe rare-positives`, 2 % positives: after a fifth of the training 0.257 → 0.793 (+0.536 [+0.337,
  +0.735], p 0.031): helps; at the end 0.985 → 1.000 (+0.015 [−0.012, +0.041], p 0.75): inconclusive. With π = 0.01
  instead of the true 0.02: 0.677 early, 1.000 at the end.
- `tricklint check fixtures/pills --verify`, 5 % positives, five epochs: 0.223 → 0.999 (+0.776 [+0.654, +0.898], p 0.039):
  helps.

## References
- Lin et al., Focal Loss for Dense Object Detection, ICCV 2017, section 3.3 and 4.1 (prior pi = 0.01)
- Karpathy, A Recipe for Training Neural Networks, 2019 ("init well": set the final bias to the base rate)
"""

from __future__ import annotations

from collections.abc import Iterator

import libcst as cst

from tricklint.finding import Evidence, Finding, Fix, FixLevel, Severity
from tricklint.fix import build
from tricklint.interpreter.values import (
    Instance,
)
from tricklint.program import Program
from tricklint.program.heads import Imbalance, rare_heads
from tricklint.rule import Rule
from tricklint.watching.odds import FAR, base_rate, default_bias, even_odds
from tricklint.watching.record import Clean, Fact, Run


class ClassifierBias(Rule):
    code = "TRK503"
    name = "classifier-bias"
    summary = "the head starts at even odds although positives are rare: the first steps only learn the base rate"
    severity = Severity.ADVICE
    fix_level = FixLevel.RECIPE
    trick = "5 - Xavier init"
    triggers = ("optim", "Trainer", "backward(", "oss(")

    def watched(self, run: Run) -> Iterator[Finding | Clean]:
        """The targets that a loss got, and the bias that yields its logits before the first step."""
        held = {number for optimizer, _ in run.trained() for number in optimizer.parameters}
        losses: dict[int, list[Fact]] = {}
        for fact in run.facts("loss"):
            if fact.data.get("targets") and fact.data["head"]["bias"] in held:
                losses.setdefault(fact.data["head"]["bias"], []).append(fact)
        for number, facts in losses.items():
            bias, place = run.parameters[number], run.place(facts[0].data["head"]["made"])
            default = default_bias(bias)
            if default is False:
                yield Clean(self.code, place, f"{bias.name} was set before the first step")
            batches = [one for fact in facts for one in fact.data["targets"]]
            if not default or len({len(one["seen"]) for one in batches}) != 1:
                continue
            seen, weighed = (
                [sum(values) for values in zip(*(one[key] for one in batches), strict=True)]
                for key in ("seen", "weighed")
            )
            least, even = base_rate(seen, weighed), even_odds(len(seen))
            if least is not None and even > FAR * least:
                share = f"{100 * min(seen) / sum(seen):.2g} %"
                what = f"{share} of the targets are {'of one kind' if len(seen) == 2 else 'of the rarest class'}"
                message = f"the head starts at even odds although {what}: its loss begins at {even:.2g}, always answering with the shares seen costs {least:.2g}"
                counted = f"{sum(seen):,.0f} targets in {len(batches)} batches, {', '.join(f'{one:,.0f}' for one in sorted(seen, reverse=True)[:5])} of each class"
                told = (
                    f"{counted}; before step 1, {bias.name} had PyTorch's default, no more than {bias.statistics.largest:.2g}"
                    if bias.statistics
                    else counted
                )
                yield from run.finding(self, place, message, told, [(facts[0].place, "the loss gets the targets here")])

    def check(self, program: Program) -> Iterator[Finding]:
        seen: set[int] = set()
        for head, found in rare_heads(program).values():
            if id(head.node) not in seen:
                seen.add(id(head.node))
                yield self.report(program, head, found)

    def report(self, program: Program, head: Instance, found: Imbalance) -> Finding:
        assert head.file is not None and head.node is not None
        message = f"this {head.label} yields the logits and keeps its default bias although {found.why}"
        evidence: list[Evidence | None] = [program.evidence(found.file, found.node, found.note)]
        return program.finding(self, head.file, head.node, message, evidence, self.mend(program, head, found))

    def mend(self, program: Program, head: Instance, found: Imbalance) -> Fix | None:
        from tricklint.rules.initialisation.missing_init import nn_name
        from tricklint.rules.transfer.unfrozen_backbone import assignment_target

        if head.file is None or head.node is None or not found.sigmoid:
            return None
        tree = head.file.tree
        statement = tree.statement_of(head.node)
        target = assignment_target(tree, statement, head.node)
        nn = nn_name(head.file)
        if target is None or statement is None or nn is None:
            return None
        math = next((n for n, v in head.file.names.items() if getattr(v, "name", "") == "math"), None)
        imports = () if math else build.add_import(tree, "import math")
        if imports is None:
            return None
        prior = f"{found.prior:.4g}"
        what = "a guess at the share of positives" if found.stated is None else "the share of positives"
        line = f"{nn}.init.constant_({target}.bias, {math or 'math'}.log({prior} / (1 - {prior})))  # {what}"
        edits = build.insert_after(tree, statement, [line])
        if edits is None or not isinstance(statement, cst.SimpleStatementLine):
            return None
        level, reason = FixLevel.RECIPE, "training starts from another bias"
        if "pos_weight" in found.note:
            level = FixLevel.UNSAFE
            reason = (
                "a pos_weight near negatives / positives evens the loss out, so that even odds may be the better start"
            )
        elif found.stated is None:
            level = FixLevel.UNSAFE
            reason = (
                f"nothing here says how rare positives are, and {prior} is a guess: put your own share of positives in"
            )
        return Fix(
            level, f"start the bias at the log odds of a share of positives of {prior}", (*imports, *edits), reason
        )
