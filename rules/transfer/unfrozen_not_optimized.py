"""Layers that are unfrozen, or put in, after the optimizer was built without them.

## What it does
Finds layers that get `requires_grad = True` after an optimizer was built that holds only the others (it was given the
parameters with `requires_grad`, or the head alone; transformers' `Trainer` does so when it begins to train, and a callback
thaws layers later), and a head that is replaced after the optimizer was built, when
the optimizer goes on stepping and neither `add_param_group` nor a new optimizer follows. Reported where the layers
are unfrozen or replaced.

## Why it costs
An optimizer keeps the list of tensors it was given. Layers that join later get gradients, cost memory and time, and
never move: the fine-tuning phase fine-tunes nothing, and a replaced head stays random for ever.

## When not to follow it
When gradients are all that is wanted (saliency, adversarial inputs). An optimizer built before `.to(device)` is fine:
modules move their parameters in place.

## Example
```python
import torch
from torch import nn

model = nn.Sequential(nn.Linear(8, 16), nn.ReLU(), nn.Linear(16, 2))
for param in model[0].parameters():
    param.requires_grad = False
optimizer = torch.optim.SGD(filter(lambda p: p.requires_grad, model.parameters()), lr=0.1)


def train(loader, epochs):
    for _ in range(epochs):
        for x, y in loader:
            optimizer.zero_grad()
            nn.functional.cross_entropy(model(x), y).backward()
            optimizer.step()


batches = [(torch.randn(4, 8), torch.tensor([0, 1, 0, 1]))]
train(batches, epochs=2)
for param in model[0].parameters():
    param.requires_grad = True
train(batches, epochs=2)
```

## After the fix
```python
import torch
from torch import nn

model = nn.Sequential(nn.Linear(8, 16), nn.ReLU(), nn.Linear(16, 2))
for param in model[0].parameters():
    param.requires_grad = False
optimizer = torch.optim.SGD(model.parameters(), lr=0.1)


def train(loader, epochs):
    for _ in range(epochs):
        for x, y in loader:
            optimizer.zero_grad()
            nn.functional.cross_entropy(model(x), y).backward()
            optimizer.step()


batches = [(torch.randn(4, 8), torch.tensor([0, 1, 0, 1]))]
train(batches, epochs=2)
for param in model[0].parameters():
    param.requires_grad = True
train(batches, epochs=2)
```

## Fix level
recipe, where the optimizer filters one model's parameters on `requires_grad`: the filter goes, since an optimizer
skips parameters without gradient by itself. Elsewhere none: which learning rate the new group wants is the author's
to say.

## Evidence
Certain: `torch.optim.Optimizer` never looks at the module again.

## References
- https://docs.pytorch.org/docs/stable/generated/torch.optim.Optimizer.add_param_group.html
- Howard and Ruder, Universal Language Model Fine-tuning, 2018, section 3.3 (gradual unfreezing)
"""

from __future__ import annotations

from collections.abc import Iterator

import libcst as cst

from tricklint.finding import Finding, Fix, FixLevel, Keeps, Severity
from tricklint.fix import build
from tricklint.interpreter.events import Event
from tricklint.interpreter.values import (
    Instance,
    members,
)
from tricklint.libraries.events import GroupAdded, HeadReplaced, OptimizerBuilt, Stepped
from tricklint.libraries.paramsets import roots_of
from tricklint.program import Program
from tricklint.program.callbacks import built_without, hook_of, may_change_optimizer
from tricklint.program.thaw import (
    Thaw,
    covers,
    has_layers,
    optimizers_before,
    rebuilt,
    related,
    sets_of,
    shares_loop,
    thaws,
    trains_on,
)
from tricklint.program.transfer import holds
from tricklint.rule import Rule
from tricklint.watching.record import Clean, Run


class UnfrozenNotOptimized(Rule):
    code = "TRK103"
    name = "unfrozen-not-optimized"
    summary = "layers are unfrozen or replaced after the optimizer was built without them: they never train"
    severity = Severity.ERROR
    fix_level = FixLevel.RECIPE
    trick = "1 - Transfer learning"
    triggers = ("optim", "Trainer")

    def check(self, program: Program) -> Iterator[Finding]:
        yield from self.unfrozen(program)
        yield from self.replaced(program)

    def watched(self, run: Run) -> Iterator[Finding | Clean]:
        """Parameters that may train, of models that are trained, in no optimizer at all: let go or put in too late."""
        held = {number for optimizer in run.optimizers for number in optimizer.parameters}
        models = {id(model): (optimizer, model) for optimizer, model in run.trained()}
        for optimizer, model in models.values():
            lost = {p.number: p for p in model.parameters if p.number not in held}
            for kind, what in (("froze", "are unfrozen here"), ("registered", "are put in here")):
                for fact in run.facts(kind):
                    numbers = [n for n in fact.data["parameters"] if n in run.parameters and run.parameters[n].model is model]
                    if not numbers or (kind == "froze" and not (fact.data["value"] and fact.data["changed"])):
                        continue
                    mine = [lost[n] for n in numbers if n in lost]
                    if not mine:
                        yield Clean(self.code, fact.place, f"{optimizer.type} holds all {len(numbers)} parameters")
                        continue
                    if fact.step >= run.steps:
                        continue  # nothing trained after it
                    size = sum(p.size for p in mine)
                    names = mine[0].name + (f" and {len(mine) - 1} more" if len(mine) > 1 else "")
                    message = f"{names} {what}, but {optimizer.type} was built without them and nothing adds them: they never train"
                    seen = f"from step {fact.step + 1} on, {len(mine)} trainable parameters ({size:,} numbers) in no optimizer"
                    evidence = [(optimizer.place, "the optimizer gets the other parameters here")]
                    yield from run.finding(self, fact.place, message, seen, evidence)

    def unfrozen(self, program: Program) -> Iterator[Finding]:
        seen: set[int] = set()
        for thaw in thaws(program):
            if id(thaw.event.node) in seen:
                continue
            began = built_without(program, thaw.model, thaw.frozen, thaw.event)
            if began is not None:
                seen.add(id(thaw.event.node))
                yield self.too_late(program, thaw, began)
                continue
            hook = hook_of(thaw.event)
            if hook is not None and may_change_optimizer(hook):
                continue
            held = [event for event in optimizers_before(program, thaw.event) if related(program, event, thaw.model)]
            held = [event for event in held if trains_on(program, event.subject, thaw.event)]
            if not held or any(covers(event.subject, thaw.model, thaw.event) is not False for event in held):
                continue
            optimizer = held[-1]
            assert isinstance(optimizer.subject, Instance)
            if thaw.frozen.event.seq > optimizer.seq or rebuilt(program, thaw.model, thaw.event, optimizer.subject):
                continue
            seen.add(id(thaw.event.node))
            message = (
                f"the parameters of {_label(thaw)} are unfrozen here, but {optimizer.subject.label} was built without them "
                "and nothing adds them: they never train"
            )
            evidence = [
                program.evidence(thaw.frozen.event.file, thaw.frozen.event.node, "frozen here"),
                program.evidence(optimizer.file, optimizer.node, "the optimizer gets the other parameters here"),
            ]
            yield program.finding(
                self, thaw.event.file, thaw.event.node, message, evidence, self.mend(optimizer, thaw.model)
            )

    def too_late(self, program: Program, thaw: Thaw, began: Event) -> Finding:
        """Unfrozen by a callback of transformers' `Trainer`, whose optimizer takes only what requires gradients."""
        message = (
            f"the parameters of {_label(thaw)} are unfrozen here, but the Trainer has made its optimizer by "
            "then, over the others: they never train"
        )
        (file, node), frozen = ((event.file, event.node) for event in (thaw.event, thaw.frozen.event))
        if node is frozen[1]:  # one helper does both, as it is called
            (file, node), frozen = thaw.event.calls[-1], thaw.frozen.event.calls[-1]
        evidence = [
            program.evidence(*frozen, "frozen here"),
            program.evidence(began.file, began.node, "the optimizer is made here, over what requires gradients then"),
        ]
        return program.finding(self, file, node, message, evidence)

    def replaced(self, program: Program) -> Iterator[Finding]:
        seen: set[int] = set()
        for event in program.events(HeadReplaced):
            old = event.old
            if (
                not event.sure
                or id(event.node) in seen
                or not has_layers(event.value)
                or event.grad is False
            ):
                continue
            for model in members(event.subject):
                if not isinstance(model, Instance) or (
                    old is None and model.part_of is None and not model.library
                ):
                    continue
                found = self.missed(program, event, model)
                if found is not None:
                    seen.add(id(event.node))
                    yield found
                    break

    def missed(self, program: Program, event: HeadReplaced, model: Instance) -> Finding | None:
        attribute = event.attribute
        for made in optimizers_before(program, event):
            optimizer = made.subject
            assert isinstance(optimizer, Instance)
            sets = sets_of(optimizer)
            if not made.sure or sets is None or shares_loop(made, event):
                continue
            if not any(holds(root, model) for subset, _ in sets for root in roots_of(subset)):
                continue
            after = [
                step
                for step in program.events(Stepped)
                if step.entry == event.entry
                and step.seq > event.seq
                and any(m is optimizer for m in members(step.subject))
            ]
            if not after or rebuilt(program, model, event, optimizer):
                continue
            message = (
                f"`{attribute}` is replaced after {optimizer.label} was built: the optimizer holds the old layer, "
                "and the new one never trains"
            )
            evidence = [program.evidence(made.file, made.node, "the optimizer is built here")]
            return program.finding(self, event.file, event.node, message, evidence)
        return None

    def mend(self, optimizer: OptimizerBuilt | GroupAdded, model: Instance) -> Fix | None:
        """`filter(lambda p: p.requires_grad, net.parameters())` → `net.parameters()`, when `net` holds the layers."""
        call, tree = optimizer.node, optimizer.file.tree
        sets = sets_of(optimizer.subject)
        if not isinstance(call, cst.Call) or sets is None or len(sets) != 1 or not call.args:
            return None
        argument = next(
            (arg for arg in call.args if arg.keyword is not None and arg.keyword.value == "params"), call.args[0]
        )
        if not any(holds(root, model) for root in roots_of(sets[0][0])):
            return None
        inner = _unfiltered(argument.value)
        if inner is None:
            return None
        return Fix(
            FixLevel.RECIPE,
            "hand the optimizer all parameters: it skips those without gradient",
            build.replace(tree, argument.value, tree.code(inner)),
            "the unfrozen layers train from now on",
            keeps=Keeps(optimised="more"),
        )


def _label(thaw: Thaw) -> str:
    label = thaw.model.label if thaw.model.label not in ("", "?") else f"layers of {thaw.model.owner.label or 'the model'}"
    return label + (f" ({', '.join(thaw.words[:3])})" if thaw.words else "")


def _unfiltered(node: cst.BaseExpression) -> cst.BaseExpression | None:
    """`net.parameters()` inside a filter on `requires_grad`."""
    if isinstance(node, cst.Call) and isinstance(node.func, cst.Name):
        if node.func.value == "filter" and len(node.args) == 2:
            return _parameters(node.args[1].value)
        if node.func.value in ("list", "tuple") and len(node.args) == 1:
            return _unfiltered(node.args[0].value)
    if (
        isinstance(node, (cst.ListComp, cst.GeneratorExp))
        and isinstance(node.elt, cst.Name)
        and len(node.for_in.ifs) == 1
    ):
        test = node.for_in.ifs[0].test
        if isinstance(test, cst.Attribute) and test.attr.value == "requires_grad" and node.for_in.inner_for_in is None:
            return _parameters(node.for_in.iter)
    return None


def _parameters(node: cst.BaseExpression) -> cst.BaseExpression | None:
    plain = isinstance(node, cst.Call) and isinstance(node.func, cst.Attribute) and node.func.attr.value == "parameters"
    return node if plain else None
