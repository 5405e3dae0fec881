"""The whole network is unfrozen and trained on at the head's learning rate.

## What it does
Finds pretrained layers that are frozen while the head is trained, unfrozen later, and then trained at the learning
rate the head had: by the same optimizer whose rate nothing lowers, or by a new one with the same (or a larger) rate.
Rates of 1e-4 and below are taken as fine-tuning rates. Reported where the layers are unfrozen. A scheduler of the
optimizer that goes on, one that does more than to lower the rate of a new optimizer from where it begins, a group of its
own, or a rate that is not known is silent.

## Why it costs
This is step 4 of the slides' process: unfreeze and fine-tune *with a smaller learning rate*. The pretrained weights
sit in a good place already; steps of the size a random head needs throw them out of it within a few hundred batches.
Probing first and then fine-tuning gently beats both a frozen backbone and plain fine-tuning, in distribution and out
of it.

## When not to follow it
When the data set is large and unlike the pretraining data: then the weights are only a start and may move freely.

## Example
```python
import torch
from torch import nn
from torchvision.models import resnet18

model = resnet18(weights="DEFAULT")
for param in model.parameters():
    param.requires_grad = False
model.fc = nn.Linear(512, 4)


def train(optimizer, loader):
    for images, labels in loader:
        optimizer.zero_grad()
        nn.functional.cross_entropy(model(images), labels).backward()
        optimizer.step()


loader = [(torch.randn(2, 3, 64, 64), torch.tensor([0, 1]))]
train(torch.optim.Adam(model.fc.parameters(), lr=1e-3), loader)
for param in model.parameters():
    param.requires_grad = True
train(torch.optim.Adam(model.parameters(), lr=1e-3), loader)
```

## After the fix
```python
import torch
from torch import nn
from torchvision.models import resnet18

model = resnet18(weights="DEFAULT")
for param in model.parameters():
    param.requires_grad = False
model.fc = nn.Linear(512, 4)


def train(optimizer, loader):
    for images, labels in loader:
        optimizer.zero_grad()
        nn.functional.cross_entropy(model(images), labels).backward()
        optimizer.step()


loader = [(torch.randn(2, 3, 64, 64), torch.tensor([0, 1]))]
train(torch.optim.Adam(model.fc.parameters(), lr=1e-3), loader)
for param in model.parameters():
    param.requires_grad = True
train(torch.optim.Adam(model.parameters(), lr=1e-3 / 10), loader)
```

## Fix level
recipe, where a new optimizer with a rate written in its call follows: the rate is divided by ten, as is usual between
the two phases. None where one optimizer goes on: whether its rate is lowered or a group added is the author's to say.

## Evidence
No recipe measures it alone. In `tricklint verify --recipe transfer-pills` unfreezing at a tenth of the rate ends 2.3
points [−1.8, 6.3] below staying frozen: no sure difference. `tricklint verify train.py --lr-scale 0.2,0.5,1` tries
your script at several rates.

## References
- Kumar et al., Fine-Tuning can Distort Pretrained Features and Underperform Out-of-Distribution, 2022
- Howard and Ruder, Universal Language Model Fine-tuning, 2018, section 3.2
- https://keras.io/guides/transfer_learning/ (a very low learning rate at the second stage)
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
from tricklint.libraries.events import (
    GroupAdded,
    GroupOptionSet,
    OptimizerBuilt,
    OptimizerLoaded,
    SchedulerBuilt,
    Stepped,
    TrainerGiven,
)
from tricklint.libraries.facts import SchedulerFacts
from tricklint.libraries.modules import submodules
from tricklint.libraries.paramsets import roots_of
from tricklint.program import Program
from tricklint.program.policy import advice
from tricklint.program.rates import only_falls, schedules
from tricklint.program.thaw import (
    Thaw,
    covers,
    in_a_later_round,
    optimizers_before,
    rate_of,
    related,
    runs,
    sets_of,
    shares_loop,
    thaws,
)
from tricklint.program.transfer import is_pretrained
from tricklint.rule import Rule
from tricklint.watching.record import Clean, Run

SMALL = 1e-4  # the rate at which pretrained networks are usually fine-tuned


class UnfreezeWithoutLowerLr(Rule):
    code = "TRK102"
    name = "unfreeze-without-lower-lr"
    summary = "pretrained layers are unfrozen and trained on at the head's learning rate"
    severity = Severity.WARNING
    fix_level = FixLevel.RECIPE
    trick = "1 - Transfer learning"
    triggers = ("requires_grad", "freeze", "optim", "Trainer")

    def watched(self, run: Run) -> Iterator[Finding | Clean]:
        """Parameters that were frozen for some steps, and the rates before and after they were let go."""
        looks = sorted(run.facts("trainable"), key=lambda fact: fact.step)
        for thaw in run.facts("froze"):
            if not thaw.data["value"] or not thaw.data["changed"] or not thaw.step:
                continue
            numbers = set(thaw.data["parameters"])
            if any(
                not fact.data["value"] and fact.data["last"] > thaw.step and numbers & set(fact.data["parameters"])
                for fact in run.facts("froze")
            ):
                continue  # they are frozen again: parts that train in turns
            after = next(
                (
                    fact
                    for fact in looks
                    if fact.step >= thaw.step and any(fact.data["changed"].get(str(n)) for n in numbers)
                ),
                None,
            )
            for optimizer in run.optimizers:
                if after is None or not optimizer.made or not numbers & set(optimizer.parameters):
                    continue
                # The rate that the rest was trained at until then, by this optimizer or one before it.
                old = next((one for one in run.optimizers if any(step.first < thaw.step for step in one.steps)), None)
                before = [group.lr for group in old.at_work] if old is not None else []
                now = [
                    rate
                    for group, rate in zip(optimizer.groups[-1][1], after.data["rates"], strict=False)
                    if any(p.number in numbers for p in group.parameters)
                ]
                if not before or not now or before[0] is None or None in now:
                    continue
                seen = f"step {after.step + 1}, {len(numbers)} parameters let go at lr {max(now):g}, before it was {before[0]:g}"
                if max(now) >= before[0]:
                    message = "layers are unfrozen here, and training goes on at the old learning rate"
                    yield from run.finding(
                        self, thaw.place, message, seen, [(optimizer.place, "the optimizer is made here")]
                    )
                else:
                    yield Clean(self.code, thaw.place, seen)

    def check(self, program: Program) -> Iterator[Finding]:
        policy = advice(program)
        if policy is not None and policy.free:
            return  # large and different: the weights are only a start
        seen: set[int] = set()
        for thaw in thaws(program):
            model = thaw.model
            if id(thaw.event.node) in seen or not (
                is_pretrained(model) or any(is_pretrained(module) for _, module in submodules(model))
            ):
                continue
            finding = self.judge(program, thaw, policy.recommendation if policy is not None else "")
            if finding is not None:
                seen.add(id(thaw.event.node))
                yield finding

    def judge(self, program: Program, thaw: Thaw, recommendation: str) -> Finding | None:
        at, model = thaw.event, thaw.model
        before = [event for event in optimizers_before(program, at) if stepped(program, event, at, before=True)]
        before = [event for event in before if related(program, event, model)]
        if not before:
            return None
        first = before[-1]
        after = [
            event
            for event in program.events(OptimizerBuilt)
            if event.entry == at.entry and event.seq > at.seq and related(program, event, model)
            and (event.sure or (event.possible and at.inside(event)))
            and stepped(program, event, at, before=False)
        ]  # fmt: skip
        second = after[0] if after else first
        assert isinstance(first.subject, Instance) and isinstance(second.subject, Instance)
        if covers(second.subject, model, at) is False and second is first:
            return None  # never trained at all: unfrozen-not-optimized
        if second is first and not stepped(program, second, at, before=False):
            return None
        if self.lowered(program, (first, second), at):
            return None
        old, new = highest_rate(first.subject), rate_of(second.subject, model)
        if old is None or new is None or new <= SMALL or new < old:
            return None
        label = thaw.label("the backbone")
        begins = second is not first and any(schedules(program, each) for each in (first.subject, second.subject))
        how = "its head's training began with" if begins else "its head was trained with"
        message = f"{label} is unfrozen here and trained on at learning rate {new:g}, the one {how}"
        if new > old:
            message = f"{label} is unfrozen here and trained on at learning rate {new:g}, more than the head's {old:g}"
        message += "; fine-tuning wants a smaller one" + (f" ({recommendation})" if recommendation else "")
        evidence = [
            program.evidence(thaw.frozen.event.file, thaw.frozen.event.node, "frozen here"),
            program.evidence(second.file, second.node, f"learning rate {new:g}"),
        ]
        fix = self.mend(second) if second.node is not first.node and new == old else None  # one call may serve both phases
        return program.finding(self, at.file, at.node, message, evidence, fix)

    def lowered(self, program: Program, optimizers: tuple[Event, Event], at: Event) -> bool:
        """Something else may set the rate: a scheduler, a param group's option, a loaded state. A new optimizer has its own
        rate again, whatever a schedule made of that of the one before, and its own schedule may begin there."""
        subjects = [event.subject for event in optimizers]
        anew = subjects[0] is not subjects[1]
        for event in program.events(SchedulerBuilt, GroupOptionSet, OptimizerLoaded, GroupAdded):
            of = (
                event.subject.fact(SchedulerFacts).optimizer
                if isinstance(event, SchedulerBuilt) and isinstance(event.subject, Instance)
                else event.subject
            )
            if any(member is subject for member in members(of) for subject in subjects):
                if anew and isinstance(event, SchedulerBuilt) and only_falls(event.subject):
                    continue
                return True
            if (
                isinstance(event, SchedulerBuilt)
                and event.entry == at.entry
                and not any(isinstance(m, Instance) for m in members(of))
            ):
                return True
        return False

    def mend(self, optimizer: Event) -> Fix | None:
        call, tree = optimizer.node, optimizer.file.tree
        if not isinstance(call, cst.Call):
            return None
        rate = next((arg.value for arg in call.args if arg.keyword is not None and arg.keyword.value == "lr"), None)
        if not isinstance(rate, (cst.Float, cst.Name, cst.Attribute)):
            return None
        return Fix(
            FixLevel.RECIPE,
            "fine-tune at a tenth of the learning rate",
            build.replace(tree, rate, f"{tree.code(rate)} / 10"),
            "the second phase takes smaller steps",
            keeps=Keeps(optimised="any"),
        )


def highest_rate(optimizer: Instance) -> float | None:
    """The rate of the first phase: the largest of its groups, None when one is not known."""
    sets = sets_of(optimizer)
    rates = [rate_of(optimizer, root) for subset, _ in sets or () for root in roots_of(subset)]
    known = [rate for rate in rates if rate is not None]
    return max(known) if known and len(known) == len(rates) else None


def stepped(program: Program, optimizer: Event, at: Event, before: bool) -> bool:
    for step in program.events(Stepped):
        mine = step.entry == at.entry and any(member is optimizer.subject for member in members(step.subject))
        if mine and ((step.seq < at.seq) is before or shares_loop(step, at)):
            return True
    given = [event for event in program.events(TrainerGiven) if event.entry == at.entry and in_a_later_round(at)]
    return any(
        isinstance(member, Instance) and runs(event, member) for event in given for member in members(optimizer.subject)
    )
