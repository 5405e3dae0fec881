"""Layers that their module does not know.

## What it does
Finds `nn.Module` attributes that are plain lists, tuples or dicts of layers with parameters, and that nothing
registers in another way: no `nn.ModuleList`, `nn.ModuleDict` or `nn.Sequential` of the same layers, no `add_module`,
no `setattr`, no attribute of their own. Modules that were handed in from outside may be hidden on purpose and are
left alone, and so are layers whose parameters are given to an optimizer directly.

## Why it costs
`parameters()`, `to()`, `state_dict()`, `train()` and `eval()` see only registered submodules. The others stay on the
CPU, stay at their initial weights, are lost when the model is saved, and keep their dropout on in evaluation. Often
nothing fails.

## When not to follow it
When a module is kept out of `parameters()` on purpose, such as a frozen teacher in a one-element list.

## Example
```python
import torch
from torch import nn


class MLP(nn.Module):
    def __init__(self, sizes):
        super().__init__()
        self.stem = nn.Linear(4, sizes[0])
        self.layers = []
        for size, following in zip(sizes, sizes[1:]):
            self.layers.append(nn.Linear(size, following))

    def forward(self, x):
        x = self.stem(x)
        for layer in self.layers:
            x = torch.relu(layer(x))
        return x


model = MLP([8, 8, 2])
optimizer = torch.optim.Adam(model.parameters())
```

## After the fix
```python
import torch
from torch import nn


class MLP(nn.Module):
    def __init__(self, sizes):
        super().__init__()
        self.stem = nn.Linear(4, sizes[0])
        self.layers = nn.ModuleList()
        for size, following in zip(sizes, sizes[1:]):
            self.layers.append(nn.Linear(size, following))

    def forward(self, x):
        x = self.stem(x)
        for layer in self.layers:
            x = torch.relu(layer(x))
        return x


model = MLP([8, 8, 2])
optimizer = torch.optim.Adam(model.parameters())
```

## Fix level
None: an `nn.ModuleList` adds keys to the `state_dict`, so old checkpoints no longer load as they are.

## Evidence
The finding names the construction of the layers that are lost.

## References
- https://docs.pytorch.org/docs/stable/generated/torch.nn.ModuleList.html
- https://docs.pytorch.org/docs/stable/generated/torch.nn.ModuleDict.html
"""

from __future__ import annotations

from collections.abc import Iterator

from tricklint.finding import Finding, Severity
from tricklint.interpreter.events import Built
from tricklint.interpreter.values import (
    Dict,
    Instance,
    Sequence,
    Union,
    Value,
    members,
)
from tricklint.knowledge.layers import DROPOUT
from tricklint.libraries.events import GroupAdded, OptimizerBuilt, PlainContainer
from tricklint.libraries.facts import OptimizerFacts, from_library
from tricklint.libraries.modules import modules_below
from tricklint.libraries.paramsets import roots_of
from tricklint.program import Program
from tricklint.program.evaluation import holds_weights
from tricklint.rule import Rule
from tricklint.watching.record import Run
from tricklint.watching.sources import assignment


class UnregisteredSubmodule(Rule):
    code = "TRK705"
    name = "unregistered-submodule"
    summary = "layers kept in a plain list or dict attribute are neither moved, saved nor trained"
    severity = Severity.ERROR
    trick = "Training loop"
    triggers = ("nn.Module", "Module")

    def watched(self, run: Run) -> Iterator[Finding]:
        seen: set[tuple[str, str]] = set()
        for _, model in run.trained():
            for path, attribute, kind, count in model.unregistered:
                file = model.modules.get(path, ("", None))[1]
                place = assignment(run, file, kind, attribute) if file is not None else None
                if place is not None and (kind, attribute) not in seen:
                    seen.add((kind, attribute))
                    message = f"self.{attribute} is a plain container: its {count} modules are neither moved nor trained"
                    yield from run.finding(self, place, message, f"{count} modules with parameters that {kind} does not know")

    def check(self, program: Program) -> Iterator[Finding]:
        optimised: set[int] = set()
        for event in program.events(OptimizerBuilt, GroupAdded):
            for group in event.subject.fact(OptimizerFacts).groups:
                for root in roots_of(group.params):
                    optimised |= modules_below(root)
        registered: set[int] = set()
        for made in program.events(Built):
            if made.subject.kind == "module":
                registered |= modules_below(made.subject) - {id(made.subject)}
        seen: set[int] = set()
        for put in program.events(PlainContainer):
            owner, attribute = put.subject, put.attribute
            if id(put.node) in seen or not (program.complete(put) or id(put.subject) in program.made):
                continue
            kept = owner.fields.get(attribute)
            if isinstance(kept, Union):  # branches put different lists there
                kept = put.value if any(each is put.value for each in kept.values) else None
            layers = [
                layer
                for layer in held(kept)
                if id(layer) not in registered
                and id(layer) not in optimised
                and not from_library(layer)
                and (holds_weights(layer) or layer.library in DROPOUT)
                and not given(owner, layer)
            ]
            if not layers:
                continue
            seen.add(id(put.node))
            kind = "ModuleDict" if isinstance(kept, Dict) else "ModuleList"
            plain = "dict" if isinstance(kept, Dict) else "list"
            lost = "neither moved to a device nor saved nor trained"
            if not any(map(holds_weights, layers)):
                lost = "eval() does not reach them, so they go on dropping units"
            message = f"self.{attribute} is a plain {plain} of layers, which PyTorch does not see: {lost}; keep them in an nn.{kind}"
            evidence = [
                program.evidence(layer.file, layer.node, f"a {layer.label} layer is made here") for layer in layers[:2]
            ]
            yield program.finding(self, put.file, put.node, message, evidence)


def held(value: object) -> Iterator[Instance]:
    """Modules in a plain list, tuple, set or dict, and in such containers within it."""
    if isinstance(value, Sequence):
        items: tuple[Value, ...] = value.items
    elif isinstance(value, Dict):
        items = tuple(item for item in value.fields.values() if isinstance(item, Value))
    else:
        return
    for item in items:
        for member in members(item):
            if isinstance(member, Instance) and member.kind == "module":
                yield member
            elif isinstance(member, (Sequence, Dict)):
                yield from held(member)


def given(owner: Instance, layer: Instance) -> bool:
    """The layer came from outside: a list that hides it from `parameters()` may be meant."""
    passed = [*owner.args, *owner.kwargs.values()]
    return any(layer is member for value in passed for member in (*members(value), *held(value)))
