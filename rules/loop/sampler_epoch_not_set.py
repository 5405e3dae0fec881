"""A DistributedSampler that shuffles every epoch alike.

## What it does
Finds a shuffling `DistributedSampler` whose loader is trained on in a loop over epochs without a `set_epoch()` that
reaches it; one call before or after all epochs changes nothing between them. It is judged on the branch on which it
exists. Samplers that do not shuffle, single passes over the data, loaders of validation data, and loops that a framework
runs are left alone.

## Why it costs
The sampler seeds its permutation with `seed + epoch`, and only `set_epoch` changes the epoch. Without it every epoch
has the same order and the same batches, so batch norm and the gradient noise see no variety, and accuracy suffers
quietly.

## When not to follow it
When the same order in every epoch is wanted, or the loop makes one pass only.

## Example
```python
import torch
from torch import nn
from torch.utils.data import DataLoader, TensorDataset
from torch.utils.data.distributed import DistributedSampler

dataset = TensorDataset(torch.randn(16, 4))
sampler = DistributedSampler(dataset, num_replicas=1, rank=0)
loader = DataLoader(dataset, batch_size=4, sampler=sampler)
model = nn.Linear(4, 1)
optimizer = torch.optim.SGD(model.parameters(), lr=0.1)

for epoch in range(3):
    for (inputs,) in loader:
        optimizer.zero_grad()
        model(inputs).pow(2).mean().backward()
        optimizer.step()
```

## After the fix
```python
import torch
from torch import nn
from torch.utils.data import DataLoader, TensorDataset
from torch.utils.data.distributed import DistributedSampler

dataset = TensorDataset(torch.randn(16, 4))
sampler = DistributedSampler(dataset, num_replicas=1, rank=0)
loader = DataLoader(dataset, batch_size=4, sampler=sampler)
model = nn.Linear(4, 1)
optimizer = torch.optim.SGD(model.parameters(), lr=0.1)

for epoch in range(3):
    sampler.set_epoch(epoch)
    for (inputs,) in loader:
        optimizer.zero_grad()
        model(inputs).pow(2).mean().backward()
        optimizer.step()
```

## Fix level
None: the epoch to set is not always the loop's own counter (a resumed run counts on).

## Evidence
The finding names the loop over epochs.

## References
- https://docs.pytorch.org/docs/stable/data.html#torch.utils.data.distributed.DistributedSampler
"""

from __future__ import annotations

from collections.abc import Iterator

import libcst as cst

from tricklint.finding import Finding, Severity
from tricklint.interpreter.events import Event
from tricklint.interpreter.values import (
    Const,
    Instance,
    first,
    members,
)
from tricklint.libraries.events import Backward, EpochSet, SamplerBuilt
from tricklint.libraries.facts import LoaderFacts
from tricklint.program import Program
from tricklint.program.loaders import loaders_of
from tricklint.rule import Rule
from tricklint.source.tree import walk
from tricklint.watching.record import Clean, Run

_SAMPLERS = ("torch.utils.data.distributed.DistributedSampler", "torch.utils.data.DistributedSampler")


class SamplerEpochNotSet(Rule):
    code = "TRK707"
    name = "sampler-epoch-not-set"
    summary = "a shuffling DistributedSampler without set_epoch gives every epoch the same order"
    severity = Severity.ERROR
    trick = "Training loop"
    triggers = ("DistributedSampler",)

    def watched(self, run: Run) -> Iterator[Finding | Clean]:
        for fact in run.facts("sampled"):
            epochs, made = fact.data["epochs"], run.place(fact.data["made"])
            if not fact.data["shuffle"] or len(epochs) < 2:
                continue
            if len(set(epochs)) == 1:
                message = "set_epoch() is never called: every epoch goes through the data in the same order"
                seen = f"{len(epochs)} epochs, all of them in the order of epoch {epochs[0]}"
                yield from run.finding(self, made, message, seen, [(fact.place, "gone through here")])
            else:
                yield Clean(self.code, made, f"its epochs were {', '.join(map(str, epochs[:5]))}")

    def check(self, program: Program) -> Iterator[Finding]:
        seen: set[int] = set()
        for event in program.events(SamplerBuilt):
            sampler = event.subject
            if not isinstance(sampler, Instance) or sampler.library not in _SAMPLERS:
                continue
            if id(event.node) in seen or not self.shuffles(sampler) or not program.complete(event):
                continue
            loop = self.trained_with(program, sampler)
            if loop is None or self.set_elsewhere(program, event, loop) or made_anew(event, loop):
                continue
            told = [each for each in program.events(EpochSet) if any(one is sampler for one in members(each.subject))]
            if not all(once(each, loop) for each in told):
                continue
            seen.add(id(event.node))
            missed = "is called outside the loop over epochs" if told else "is never called"
            message = f"this sampler shuffles by epoch number, but set_epoch() {missed}: every epoch has the same order"
            evidence = [program.evidence(loop.loops[0].file, self.head(loop), "the epochs")]
            evidence += [program.evidence(each.file, each.node, "set once, for all epochs") for each in told[:1]]
            yield program.finding(self, event.file, event.node, message, evidence)

    def shuffles(self, sampler: Instance) -> bool:
        passed = sampler.passed(3, "shuffle")
        if passed is None:
            return not sampler.open_kwargs
        at = first(passed)
        return isinstance(at, Const) and at.value is True

    def trained_with(self, program: Program, sampler: Instance) -> Event | None:
        """The backward pass of a training loop over the sampler's loader that stands in a loop over epochs."""
        for back in program.events(Backward):
            if len(back.loops) < 2:
                continue
            for at, loop in enumerate(back.loops):
                if at and any(
                    sampler is m for loader in loaders_of(loop.over) for m in members(loader.fact(LoaderFacts).sampler)
                ):
                    return back
        return None

    def head(self, back: Event) -> cst.CSTNode | None:
        node = back.loops[0].node
        return node.iter if isinstance(node, cst.For) else None

    def set_elsewhere(self, program: Program, event: Event, back: Event) -> bool:
        """A `set_epoch` call in these files was not followed to its sampler, so it may be this one's."""
        known = {each.node for each in program.events(EpochSet)}
        for file in {event.file, back.file, *(loop.file for loop in back.loops), *(func.file for func in back.stack)}:
            if "set_epoch" in file.tree.text:
                for node in walk(file.tree.module):
                    if (
                        isinstance(node, cst.Attribute)
                        and node.attr.value == "set_epoch"
                        and file.tree.parent(node) not in known
                    ):
                        return True
        return False


def once(told: Event, back: Event) -> bool:
    """A number that is set before or after all epochs of a run, in no loop at all, serves every one of them."""
    return told.entry == back.entry and not told.loops


def made_anew(event: Event, back: Event) -> bool:
    """The sampler is built within the loop over epochs."""
    return any(each.node is back.loops[0].node for each in event.loops)
