"""Dropout and batch norm in the wrong mode.

## What it does
Finds two mistakes with models that hold dropout or batch norm layers: a loop over validation or test data that runs
the model in train mode (also a second model of which only the first was put in eval mode), and an evaluation that
puts the model in eval mode inside the training loop without a `train()` that puts it back.

## Why it costs
In train mode dropout goes on zeroing activations, and batch norm normalises with the batch at hand *and* lets the
validation data change its running statistics: the numbers depend on how the data is batched, and on the order. In
eval mode training goes on without dropout and with frozen statistics from the second epoch on.

## When not to follow it
For Monte-Carlo dropout, for generators whose dropout is their noise, and for fine-tuning with frozen norms on purpose
(a model that is put in eval mode *before* it is trained is left alone).

## Example
```python
import torch
from torch import nn

model = nn.Sequential(nn.Linear(4, 8), nn.BatchNorm1d(8), nn.ReLU(), nn.Dropout(0.5), nn.Linear(8, 2))
optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
train_data = val_data = [(torch.randn(8, 4), torch.zeros(8, dtype=torch.long))]

for epoch in range(2):
    model.train()
    for inputs, targets in train_data:
        optimizer.zero_grad()
        nn.functional.cross_entropy(model(inputs), targets).backward()
        optimizer.step()
    with torch.no_grad():
        for inputs, targets in val_data:
            print((model(inputs).argmax(1) == targets).float().mean())
```

## After the fix
```python
import torch
from torch import nn

model = nn.Sequential(nn.Linear(4, 8), nn.BatchNorm1d(8), nn.ReLU(), nn.Dropout(0.5), nn.Linear(8, 2))
optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
train_data = val_data = [(torch.randn(8, 4), torch.zeros(8, dtype=torch.long))]

for epoch in range(2):
    model.train()
    for inputs, targets in train_data:
        optimizer.zero_grad()
        nn.functional.cross_entropy(model(inputs), targets).backward()
        optimizer.step()
    model.eval()
    with torch.no_grad():
        for inputs, targets in val_data:
            print((model(inputs).argmax(1) == targets).float().mean())
```

## Fix level
None: where the mode belongs is for the author to say.

## Evidence
The finding names the layer that acts differently and the line that set the mode.

## References
- https://docs.pytorch.org/docs/stable/notes/autograd.html#evaluation-mode-nn-module-eval
- https://docs.pytorch.org/docs/stable/generated/torch.nn.BatchNorm2d.html
"""

from __future__ import annotations

import re
from collections.abc import Iterator

from tricklint.finding import Finding, Severity
from tricklint.interpreter.events import Event
from tricklint.interpreter.values import (
    Instance,
)
from tricklint.libraries.events import Backward, Forward
from tricklint.program import Program
from tricklint.program.evaluation import evaluations
from tricklint.program.loops import Modes, Reach, contradict
from tricklint.program.modes import behaves_differently, layer_name, unfollowed_mode_call
from tricklint.rule import Rule

_COPIES = re.compile(r"\bdeepcopy\b|\bema|EMA|\bswa_|AveragedModel")


class EvalModeMissing(Rule):
    code = "TRK703"
    name = "eval-mode-missing"
    summary = "dropout and batch norm run in the wrong mode: eval() missing before evaluation, or train() after it"
    severity = Severity.WARNING
    trick = "Training loop"
    triggers = ("torch",)

    def check(self, program: Program) -> Iterator[Finding]:
        yield from self.evaluated_in_train_mode(program)
        yield from self.trained_in_eval_mode(program)

    def evaluated_in_train_mode(self, program: Program) -> Iterator[Finding]:
        modes = Modes(program)
        seen: set[int] = set()
        for found in evaluations(program, grad=None):
            event, module = found.event, found.event.subject
            if found.why != "name" or not found.whole or found.region.loop is None or id(found.region.node) in seen:
                continue
            if framework_runs(event):
                continue
            assert isinstance(module, Instance)
            layer = behaves_differently(module)
            mode = modes.last(module, event)
            if layer is None or (mode is not None and mode.train is not True):
                continue
            if unfollowed_mode_call(program, event, "eval", anywhere=mode is None):
                continue
            seen.add(id(found.region.node))
            name = event.file.tree.code(event.node.func)  # type: ignore[attr-defined]
            message = (
                f"{name} is evaluated in train mode: its {layer_name(layer)} layers still act as in training; "
                f"call {name}.eval() first"
            )
            evidence = [program.evidence(layer.file, layer.node, f"the {layer_name(layer)} layer")]
            if mode is not None:
                evidence.insert(0, program.evidence(mode.file, mode.node, "put in train mode here"))
            yield program.finding(self, event.file, event.node, message, evidence)

    def trained_in_eval_mode(self, program: Program) -> Iterator[Finding]:
        modes, reach = Modes(program), Reach(program)
        seen: set[int] = set()
        for forward in program.events(Forward):
            module = forward.subject
            if forward.node not in reach.nodes or not isinstance(module, Instance) or not forward.loops:
                continue
            layer = behaves_differently(module)
            if layer is None:
                continue
            before = modes.last(module, forward)
            if before is not None and before.train is not True:
                continue
            for loop in forward.loops:
                inside = [mode for mode in modes.in_loop[loop.serial] if modes.covers(mode, module)]
                stops = [mode for mode in inside if mode.train is False]
                if not stops or len(stops) != len(inside) or stops[0].seq < forward.seq:
                    continue
                stop = stops[0]
                if id(stop.node) in seen or not stop.possible or contradict(stop, forward):
                    continue
                if unfollowed_mode_call(program, forward, "train", anywhere=False) or copies_models(forward, stop):
                    continue
                if not any(loop.node is each.node for back in program.events(Backward) for each in back.loops):
                    continue
                seen.add(id(stop.node))
                message = (
                    "the model stays in eval mode after this: from the next round of the loop on, it trains with its "
                    f"{layer_name(layer)} layers switched off; call train() before training goes on"
                )
                evidence = [program.evidence(forward.file, forward.node, "trained here in the next round")]
                yield program.finding(self, stop.file, stop.node, message, evidence)


def framework_runs(event: Event) -> bool:
    """Within a step of a Lightning module: the trainer sets the mode."""
    owners = [func.owner for func in event.stack if func.owner is not None]
    return any("lightning.LightningModule" in owner.libraries() for owner in owners)


def copies_models(*events: Event) -> bool:
    """A copy of the model (an average of its weights, say) is evaluated in its place."""
    return any(_COPIES.search(event.file.tree.text) for event in events)
