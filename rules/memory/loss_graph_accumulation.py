"""A running total that keeps every iteration's autograd graph.

## What it does
Finds sums and lists that grow once a round of a training or evaluation loop by a tensor that still carries its graph:
`total += loss`, `total = total + loss`, `losses.append(loss)`, or a meter's `update(loss)` that adds it up. It is
silent when the total itself is backpropagated (gradient accumulation, one loss over many terms), when it starts anew
in every round, and within the forward pass of a model or loss.

## Why it costs
Each total refers to all graphs that went into it. After `backward()` the saved activations are freed, but the graph's
nodes stay and grow by one set an iteration; in an evaluation outside `no_grad` the activations stay too, and memory
grows until the device is full.

## When not to follow it
When the total is meant to be differentiated later in a way that the rule could not see.

## Example
```python
import torch
from torch import nn

model = nn.Linear(4, 2)
criterion = nn.CrossEntropyLoss()
optimizer = torch.optim.SGD(model.parameters(), lr=0.1)

running_loss = 0.0
for inputs, targets in [(torch.randn(8, 4), torch.zeros(8, dtype=torch.long))] * 3:
    optimizer.zero_grad()
    loss = criterion(model(inputs), targets)
    loss.backward()
    optimizer.step()
    running_loss += loss
```

## After the fix
```python
import torch
from torch import nn

model = nn.Linear(4, 2)
criterion = nn.CrossEntropyLoss()
optimizer = torch.optim.SGD(model.parameters(), lr=0.1)

running_loss = 0.0
for inputs, targets in [(torch.randn(8, 4), torch.zeros(8, dtype=torch.long))] * 3:
    optimizer.zero_grad()
    loss = criterion(model(inputs), targets)
    loss.backward()
    optimizer.step()
    running_loss += loss.detach()
```

## Fix level
safe. `.detach()` keeps the value, its device and its dtype, and so every number computed from it. Writing `.item()`
instead gives a Python number, and waits for the device once an iteration.

## Evidence
After 1000 steps of a two-layer classifier, a running total that was never detached refers to 8004 live graph nodes
(torch 2.13); a detached one to none. The finding names the loop and the `backward()` of each round.

## References
- https://docs.pytorch.org/docs/stable/notes/faq.html#my-model-reports-cuda-runtime-error-2-out-of-memory
- https://docs.pytorch.org/docs/stable/generated/torch.Tensor.detach.html
"""

from __future__ import annotations

from collections.abc import Iterator

import libcst as cst

from tricklint.finding import Finding, Fix, FixLevel, Severity
from tricklint.fix import build
from tricklint.program import Program
from tricklint.program.totals import GraphTotal, all_tensors, graph_totals
from tricklint.rule import Rule
from tricklint.watching.record import Run
from tricklint.watching.sources import growing

KEPT = 3  # graphs of as many rounds that are alive at once


class LossGraphAccumulation(Rule):
    code = "TRK302"
    name = "loss-graph-accumulation"
    summary = "a running total of tensors keeps the autograd graph of every iteration alive"
    severity = Severity.ERROR
    fix_level = FixLevel.SAFE
    trick = "3 - Out of memory"
    triggers = ("torch",)

    def check(self, program: Program) -> Iterator[Finding]:
        for total in graph_totals(program):
            added = total.file.tree.code(total.value) if total.value is not None else "a tensor"
            joined = isinstance(total.node, cst.Assign) and isinstance(total.node.value, cst.Call)
            grows = "grows by" if joined or isinstance(total.node, cst.Call) else "adds up"
            message = (
                f"{total.target} {grows} {added} with its autograd graph, so the graph of every round stays "
                "in memory; add .item() or .detach()"
            )
            head = total.loop.node.iter if isinstance(total.loop.node, cst.For) else None
            evidence = [program.evidence(total.file, head, "for every round of this loop")]
            if total.node is not total.event.node:
                evidence.append(program.evidence(total.event.file, total.event.node, "the graph is kept here"))
            if total.backward is not None:
                evidence.append(
                    program.evidence(total.backward.file, total.backward.node, "each round is backpropagated here")
                )
            yield program.finding(self, total.file, total.node, message, evidence, self.mend(total))

    def watched(self, run: Run) -> Iterator[Finding]:
        """Graphs that outlived their rounds, and the variable that kept them."""
        for one in run.forwards:
            graphs = one.kept if one.reached else one.most_alive
            if graphs < KEPT or (one.reached and not one.kept):
                continue
            for fact in run.facts("kept"):
                place = growing(run, fact) if fact.data["forward"] == one.number else None
                if place is None:
                    continue
                message = (
                    f"{fact.data['name']} keeps the autograd graph of every round, so all of them stay in memory; "
                    "add .item() or .detach()"
                )
                seen = f"{graphs} graphs of {one.type} were alive at once"
                yield from run.finding(self, place, message, seen, [(one.place, "each graph is built here")])

    def mend(self, total: GraphTotal) -> Fix | None:
        value = total.value
        if value is None or not all_tensors(total.event):
            return None
        tree = total.file.tree
        start, end = build.whole_offsets(tree, value)
        code = tree.text[start:end]
        if isinstance(value, (cst.Name, cst.Attribute, cst.Call, cst.Subscript)) or value.lpar:
            new = f"{code}.detach()"
        else:
            new = f"({code}).detach()"
        return Fix(FixLevel.SAFE, "add the value without its graph", (build.edit_at(tree, start, end, new),))
