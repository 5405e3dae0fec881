"""Evaluation and inference that record an autograd graph.

## What it does
Finds loops that only evaluate a model (it is in eval mode, the loop goes over a validation or test loader, or only
numbers are taken from the output) outside `torch.no_grad()` and `torch.inference_mode()`. A forward pass whose output
reaches some `backward()` is never reported, and neither is a single forward pass that stands in no loop.

## Why it costs
Outside `no_grad` every layer keeps what its backward pass would need, until the last reference to the output goes.
The memory of an evaluation batch is then that of a training batch, so a larger evaluation batch fits, and each call
is faster, once nothing is recorded. `model.eval()` does not do this: it switches dropout and batch norm, not
autograd.

## When not to follow it
When the gradient is wanted: saliency maps, adversarial examples, inputs that are optimised. The rule leaves loops
alone that mention `requires_grad`, `backward` or `autograd.grad`.

## Example
```python
import torch
from torch import nn

model = nn.Sequential(nn.Linear(8, 16), nn.ReLU(), nn.Linear(16, 2))
val_loader = [(torch.randn(4, 8), torch.zeros(4, dtype=torch.long))]

model.eval()
correct = 0
for inputs, targets in val_loader:
    correct += (model(inputs).argmax(dim=1) == targets).sum().item()
```

## After the fix
```python
import torch
from torch import nn

model = nn.Sequential(nn.Linear(8, 16), nn.ReLU(), nn.Linear(16, 2))
val_loader = [(torch.randn(4, 8), torch.zeros(4, dtype=torch.long))]

model.eval()
correct = 0
with torch.no_grad():
    for inputs, targets in val_loader:
        correct += (model(inputs).argmax(dim=1) == targets).sum().item()
```

## Fix level
safe. The same numbers come out, bit for bit: a loop over data goes below `with torch.no_grad():`, a function without a
loop of its own gets the decorator, and in a `while` loop or a training loop only the statements that run the model move.

## Evidence
An 8-layer MLP of width 512 keeps 4.5 MiB for one evaluation batch of 256 samples, and nothing under `no_grad`
(counted with `torch.autograd.graph.saved_tensors_hooks`, torch 2.13). The finding names the line that put the model
in eval mode; no `backward()` of the program depends on the call.

## References
- https://docs.pytorch.org/docs/stable/notes/autograd.html#locally-disabling-gradient-computation
- https://docs.pytorch.org/docs/stable/generated/torch.no_grad.html
"""

from __future__ import annotations

from collections.abc import Iterator
from itertools import pairwise

import libcst as cst

from tricklint.finding import Finding, Fix, FixLevel, Severity
from tricklint.fix import build
from tricklint.interpreter.imports import alias_of
from tricklint.program import Program
from tricklint.program.evaluation import Evaluation, evaluations, whole_function
from tricklint.program.loaders import loaders_of
from tricklint.rule import Rule
from tricklint.source.tree import Tree
from tricklint.watching.record import Clean, Run


def over_batches(found: Evaluation) -> bool:
    """Whether the model runs once for each batch of a loader: what is done once before is the smaller part."""
    return any(True for loop in found.event.loops for _ in loaders_of(loop.over))


class EvalWithoutNoGrad(Rule):
    code = "TRK303"
    name = "eval-without-no-grad"
    summary = "evaluation builds autograd graphs that nothing uses; run it under torch.no_grad()"
    severity = Severity.WARNING
    fix_level = FixLevel.SAFE
    trick = "3 - Out of memory"
    triggers = ("torch", "eval()", "DataLoader")

    def check(self, program: Program) -> Iterator[Finding]:
        seen: set[int] = set()
        mended: list[build.Edits] = []
        every = list(evaluations(program, grad=True))
        for found in every:
            place = found.region if found.whole and found.region is not None else found.node
            if id(place) in seen or id(found.node) in seen or any(id(loop.node) in seen for loop in found.event.loops):
                continue
            seen |= {id(place), id(found.node)}
            together = [each for each in every if each.region is found.region and each.whole and each.called is None]
            fix = self.mend(program, found, [each.node for each in together] if found.whole else [found.node])
            if fix is not None:
                if fix.edits in mended:
                    continue  # the edit of a finding above it mends this pass too
                mended.append(fix.edits)
            inside = [each for each in every if any(loop.node is place for loop in each.event.loops) and each.called is None]
            yield self.report(program, next(filter(over_batches, [found, *inside]), found), fix)

    def watched(self, run: Run) -> Iterator[Finding | Clean]:
        """Passes in a row, or one each epoch, whose graph no backward ever reached, of a model that trains elsewhere or is
        in eval mode."""
        trained = [one for one in run.forwards if one.reached]
        trains = any(optimizer.made for optimizer in run.optimizers)
        for one in run.forwards:
            if one.place.at is None or one.reached:
                continue
            beside = [each for each in trained if each.model == one.model]
            place = one.place.apart(each.place for each in beside)
            if not one.grad:
                yield Clean(self.code, place, f"autograd was off in all {one.count} calls")
                continue
            loaded = not trains and run.restored(one.model)  # a program that only predicts
            if not one.graph or not one.unreached or not (beside or not one.training or loaded):
                continue
            if one.evaluates(trained) or (beside and one.dropped(run.steps_for(one.model))):
                how = "in eval mode" if not one.training else "only evaluated"
                message = f"{one.type} is {how} here, with autograd on: every call builds a graph that nothing uses"
                seen = f"{one.unreached} graphs were built and dropped without a backward, from step {one.first + 1} on"
                yield from run.finding(self, place, message, seen, [(one.place, "the model runs here")])

    def report(self, program: Program, found: Evaluation, fix: Fix | None) -> Finding:
        tree = found.file.tree
        assert isinstance(found.node, cst.Call)
        model = tree.code(found.node.func).removesuffix(".forward")
        how = {
            "mode": "in eval mode",
            "name": "only evaluated",
            "data": "only evaluated",
            "measured": "only measured",
            "loaded": "only run on loaded weights",
        }[found.why]
        message = (
            f"{model} is {how} here, but outside torch.no_grad(): every call builds an autograd graph that nothing uses"
        )
        evidence = []
        if found.mode is not None:
            evidence.append(program.evidence(found.mode.file, found.mode.node, "put in eval mode here"))
        if found.called is not None:
            evidence.append(program.evidence(*found.called, "it evaluates here, and trains elsewhere"))
        if found.node is not found.event.node:
            evidence.append(program.evidence(found.event.file, found.event.node, "the model runs here"))
        return program.finding(self, found.file, found.node, message, evidence, fix)

    def mend(self, program: Program, found: Evaluation, passes: list[cst.CSTNode]) -> Fix | None:
        if found.called is not None:
            return None  # whether to switch autograd off here, by a flag, or round the call is the author's to say
        region, tree = found.region, found.file.tree
        torch = alias_of(found.file, "torch")
        imported = () if torch else build.add_import(tree, "import torch")
        header = f"{torch or 'torch'}.no_grad()"
        edits: build.Edits | None = None
        func = whole_function(program, found)
        if func is not None and not func.decorators:
            edits = build.insert_before(tree, func, [f"@{header}"])
        elif found.whole and isinstance(region, cst.For):
            edits = build.wrap_block(tree, region, region, f"with {header}:")
        elif found.whole and isinstance(region, cst.While):
            # its rounds wait, read and draw; the passes are a part of them
            first, last = _span(tree, passes) or (region, region)
            edits = build.wrap_block(tree, first, last, f"with {header}:")
        elif found.whole and isinstance(region, cst.FunctionDef) and not region.decorators:
            edits = build.insert_before(tree, region, [f"@{header}"])
        if edits is None:
            edits = build.wrap_block(tree, found.node, found.node, f"with {header}:")
        if edits is None or imported is None:
            return None
        return Fix(FixLevel.SAFE, "run it under torch.no_grad()", (*imported, *edits))


def _span(tree: Tree, nodes: list[cst.CSTNode]) -> tuple[cst.CSTNode, cst.CSTNode] | None:
    """The first and the last statement of the innermost block that holds all the nodes; None where only a loop's head
    does."""
    chains = [[node, *tree.ancestors(node)] for node in sorted(nodes, key=lambda node: tree.offsets(node)[0])]
    for block in chains[0]:
        if not isinstance(block, (cst.IndentedBlock, cst.Module)):
            continue
        below = [next((one for one, up in pairwise(chain) if up is block), None) for chain in chains]
        if below[0] is not None and below[-1] is not None and None not in below:
            return below[0], below[-1]
    return None
