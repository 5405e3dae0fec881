"""A learning rate schedule that is stepped too early, or too often.

## What it does
Finds a `scheduler.step()` that comes before the first `optimizer.step()` of the same loop (the order of PyTorch
before 1.1), and a scheduler whose arguments count epochs (`StepLR`, `MultiStepLR`, `ExponentialLR`,
`CosineAnnealingLR` over the number of epochs) but which is stepped once a batch. A step with an explicit epoch, one
that is skipped in the first epoch, and the fast-forward of a resumed run are left alone.

## Why it costs
Stepped first, the scheduler skips the first value of its schedule: a warm-up starts one step late, and every decay
comes one epoch early. Stepped once a batch, a schedule meant for 90 epochs is over within the first.

## When not to follow it
When the schedule is shifted on purpose.

## Example
```python
import torch
from torch import nn

model = nn.Linear(4, 2)
optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
scheduler = torch.optim.lr_scheduler.StepLR(optimizer, step_size=7, gamma=0.1)

for epoch in range(25):
    scheduler.step()
    for inputs in torch.randn(5, 8, 4):
        optimizer.zero_grad()
        model(inputs).pow(2).mean().backward()
        optimizer.step()
```

## After the fix
```python
import torch
from torch import nn

model = nn.Linear(4, 2)
optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
scheduler = torch.optim.lr_scheduler.StepLR(optimizer, step_size=7, gamma=0.1)

for epoch in range(25):
    for inputs in torch.randn(5, 8, 4):
        optimizer.zero_grad()
        model(inputs).pow(2).mean().backward()
        optimizer.step()
    scheduler.step()
```

## Fix level
recipe, where both steps stand in one block (they are swapped) or the scheduler's stands at the top of the epoch loop
(it goes to the end); nothing is rewritten where `continue` or `break` may skip the new place.

## Evidence
`StepLR(step_size=3)` stepped first gives 0.1, 0.1, 0.01, 0.01, 0.01, 0.001 where it should give 0.1, 0.1, 0.1, 0.01,
0.01, 0.01 (torch 2.13). The finding names the optimizer's step and the scheduler's construction.

## References
- https://docs.pytorch.org/docs/stable/optim.html#how-to-adjust-learning-rate
"""

from __future__ import annotations

import re
from collections.abc import Iterator

import libcst as cst

from tricklint.finding import Finding, Fix, FixLevel, Severity
from tricklint.fix import build
from tricklint.interpreter.events import Event, Loop
from tricklint.interpreter.values import (
    Class,
    Const,
    Instance,
    Sequence,
    Value,
    first,
    members,
    number,
)
from tricklint.knowledge import optimizers
from tricklint.libraries.events import SchedulerBuilt, SchedulerStepped, Stepped
from tricklint.libraries.facts import SchedulerFacts
from tricklint.program import Program
from tricklint.program.conditions import rules_out
from tricklint.program.loaders import loaders_of
from tricklint.program.loops import surely_with
from tricklint.rule import Rule
from tricklint.source.tree import Tree, children, walk
from tricklint.watching.record import Clean, Run

TORCH = "torch.optim.lr_scheduler."
# What of other libraries makes a LambdaLR, or is one, which is stepped as PyTorch's own are
LAMBDAS = ("transformers.get_", "transformers.optimization.get_", "diffusers.optimization.get_", *optimizers.WARMUPS)
# More rounds than this are no epochs: a step size or patience above it is counted in batches
FEW = 200


# A search for a good learning rate goes through many; which one comes first is no matter
_SEARCHES = re.compile(r"find|search|range_?test", re.IGNORECASE)


class SchedulerBeforeOptimizer(Rule):
    code = "TRK704"
    name = "scheduler-before-optimizer"
    summary = "scheduler.step() comes before the first optimizer.step(), or a per-epoch scheduler is stepped per batch"
    severity = Severity.ERROR
    fix_level = FixLevel.RECIPE
    trick = "Training loop"
    triggers = (
        "lr_scheduler", "get_linear_schedule", "get_cosine_schedule", "get_scheduler", "schedule_with_warmup",
        "LRSchedule", "WarmupLinear", "WarmupCos", "WarmupConst",
    )  # fmt: skip

    def check(self, program: Program) -> Iterator[Finding]:
        first_step: dict[int, SchedulerStepped] = {}
        for event in program.events(SchedulerStepped):
            if all(rounds(loop.over) != 0 for loop in event.loops):  # `range(0, start_epoch)`, which starts at 0
                first_step.setdefault(id(event.subject), event)
        steps: dict[int, list[Event]] = {}
        for step in program.events(Stepped):
            steps.setdefault(id(step.subject), []).append(step)
        seen: set[int] = set()
        for event in first_step.values():
            scheduler = event.subject
            if not library_of(scheduler).startswith((TORCH, *LAMBDAS)) or id(event.node) in seen:
                continue
            mine = [step for made in members(scheduler.fact(SchedulerFacts).optimizer) for step in steps.get(id(made), [])]
            if not mine or not program.complete(event):
                continue
            if any(rules_out(made, event) for made in program.events(SchedulerBuilt) if made.subject is scheduler):
                continue  # it is another schedule that is stepped here
            found = self.too_early(program, event, scheduler, mine) or self.too_often(program, event, scheduler, mine)
            if found is not None:
                seen.add(id(event.node))
                yield found

    def watched(self, run: Run) -> Iterator[Finding | Clean]:
        made = {fact.data["scheduler"]: fact for fact in run.facts("scheduler")}
        batches = [fact.data["length"] for fact in run.facts("loader") if fact.data.get("length")]
        stepping = {optimizer.number for optimizer in run.optimizers if optimizer.made}
        for fact in run.facts("scheduled"):
            built = made.get(fact.data["scheduler"])
            if built is None or built.data["optimizer"] not in stepping or not built.data["base"]:
                continue
            evidence = [(built.place, "the scheduler is made here")]
            kind, count = built.data["base"], fact.data["count"]
            ends = built.data["options"].get("milestones") or [built.data["options"].get("step_size", 0)]
            early = fact.data["first"] == 0 and not fact.data.get("told")  # told the epoch, it skips none
            if early and kind != "ReduceLROnPlateau" and (count == 1 or fact.data["made"]):
                message = f"{kind} is stepped before the optimizer's first step, so the first value of its schedule is skipped"
                yield from run.finding(self, fact.place, message, "step 1, the optimizer had made no step yet", evidence)
            elif (
                kind in ("StepLR", "MultiStepLR")
                and batches
                and fact.data["same"] >= count - 1 > 0
                and 0 < max(ends) < min(max(batches), count)
            ):
                message = f"{kind} is stepped once a batch, but its schedule of {max(ends)} steps ends within the first epoch"
                seen = f"{count} of its steps followed one step of the optimizer each; an epoch has {max(batches)}"
                yield from run.finding(self, fact.place, message, seen, evidence)
            elif fact.data["first"] and fact.data["same"] < count - 1:
                yield Clean(self.code, fact.place, f"{kind} was stepped after {fact.data['first']} steps of its optimizer")

    def too_early(self, program: Program, event: SchedulerStepped, scheduler: Instance, steps: list[Event]) -> Finding | None:
        args = event.args
        if args.positional or args.kwargs or args.open or args.open_kwargs:
            return None
        step = min(steps, key=lambda each: each.seq)
        if step.seq < event.seq or step.entry != event.entry:
            return None
        if not surely_with(event, step):
            return None
        if event.loops and not any(each.serial == event.loops[-1].serial for each in step.loops):
            return None  # it catches up with a schedule that was interrupted
        message = (
            f"{scheduler.label} is stepped before the optimizer's first step, so the first value of its schedule is "
            "skipped"
        )
        evidence = [
            program.evidence(step.file, step.node, "the optimizer is stepped only here"),
            program.evidence(scheduler.file, scheduler.node, "the scheduler is made here"),
        ]
        return program.finding(self, event.file, event.node, message, evidence, self.mend(event, step))

    def too_often(self, program: Program, event: Event, scheduler: Instance, steps: list[Event]) -> Finding | None:
        built = (each for each in program.events(SchedulerBuilt) if each.subject is scheduler)
        made_in = {loop.serial for each in built for loop in each.loops}
        # phases of one epoch stand between; in rounds that make a scheduler each, it is another one
        around = [loop for loop in event.loops[:-1] if not loop.one_by_one and loop.serial not in made_in]
        if not around:
            return None
        inner, outer = event.loops[-1], around[-1]
        if not any(step.loops and step.loops[-1].serial == inner.serial and surely_with(event, step) for step in steps):
            return None
        if inner.node is outer.node or not isinstance(inner.node, (cst.For, cst.While)):
            return None
        counts = epochs_meant(scheduler, rounds(outer.over))
        if not counts or inner_is_epochs(inner):
            return None
        message = f"{scheduler.label} is stepped once a batch, but {counts}: step it once an epoch"
        evidence = [
            program.evidence(inner.file, inner.node.iter if isinstance(inner.node, cst.For) else None, "the batches"),
            program.evidence(scheduler.file, scheduler.node, "the scheduler is made here"),
        ]
        return program.finding(self, event.file, event.node, message, evidence)

    def mend(self, event: Event, step: Event) -> Fix | None:
        """Put the scheduler's step behind the optimizer's, where both stand in one block; else at the epoch's end."""
        if event.file is not step.file:
            return None
        tree = event.file.tree
        statement, other = tree.statement_of(event.node), tree.statement_of(step.node)
        if not isinstance(statement, cst.SimpleStatementLine) or len(statement.body) != 1 or other is None:
            return None
        if not isinstance(statement.body[0], cst.Expr):
            return None
        block = tree.parent(statement)
        loop = event.loops[-1].node if event.loops else None
        if not isinstance(block, cst.IndentedBlock):
            return None
        if tree.parent(other) is block:
            # what this round's rate is asked for keeps its answer
            body = list(block.body)
            later = body[body.index(other) + 1 :]
            asks = [each for each in later if any(word in tree.code(each) for word in ("param_groups", "get_l"))]
            after: cst.CSTNode = asks[-1] if asks else other
        elif isinstance(loop, (cst.For, cst.While)) and tree.parent(block) is loop and not leaves_early(loop):
            after = block.body[-1]
        else:
            return None
        edits = moved(tree, statement, after)
        if edits is None:
            return None
        return Fix(
            FixLevel.RECIPE, "step the scheduler after the optimizer", edits, "the schedule starts at its first value"
        )


def library_of(scheduler: Instance) -> str:
    """PyTorch's class, also behind one of the program's own that makes its steps as PyTorch does."""
    if not isinstance(scheduler.cls, Class):
        return scheduler.library
    if scheduler.cls.lookup("step") is not None or _SEARCHES.search(scheduler.cls.name):
        return ""
    return next((name for name in scheduler.cls.libraries() if name.startswith(TORCH)), "")


def moved(tree: Tree, statement: cst.SimpleStatementLine, after: cst.CSTNode) -> build.Edits | None:
    """Take the line of a statement, with a comment at its end, behind another of its block."""
    start, end = tree.offsets(statement)
    line = tree.line_start(start)
    stop = build.line_end(tree.text, end)
    if tree.text[line:start].strip() or tree.text[end:stop].strip().partition("#")[0]:
        return None
    below = stop + (2 if tree.text[stop : stop + 2] == "\r\n" else 1)
    placed = build.insert_after(tree, after, [tree.text[start:stop].rstrip()])
    return build.joined(((build.edit_at(tree, line, min(below, len(tree.text)), ""),), placed))


def leaves_early(loop: cst.For | cst.While) -> bool:
    """`continue`, `break` or `return` may leave a round of the loop before its last statement."""
    stack: list[tuple[cst.CSTNode, bool]] = [(each, True) for each in loop.body.body]
    while stack:
        node, own = stack.pop()
        if isinstance(node, cst.FunctionDef):
            continue
        if isinstance(node, (cst.Return, cst.Raise)) or (own and isinstance(node, (cst.Continue, cst.Break))):
            return True
        inner = own and not isinstance(node, (cst.For, cst.While))
        stack.extend((child, inner) for child in children(node))
    return False


def rounds(over: Value | None) -> float | None:
    """How many rounds `for … in range(n)` has, when that is known."""
    made = first(over)
    if not isinstance(made, Instance) or made.kind != "range" or not made.args:
        return None
    ends = [number(arg) for arg in made.args]
    if len(ends) == 1:
        return ends[0]
    start = ends[0] if ends[0] is not None else 0
    return ends[1] - start if ends[1] is not None else None


def epochs_meant(scheduler: Instance, epochs: float | None) -> str:
    """What in the scheduler's arguments counts epochs; "" when that is not sure."""
    kind = scheduler.library.removeprefix(TORCH)
    if scheduler.open_kwargs:
        return ""

    def given(position: int, name: str) -> Value | None:
        if name in scheduler.kwargs:
            return scheduler.kwargs[name]
        return scheduler.args[position] if position < len(scheduler.args) else None

    few = epochs if epochs is not None else 0
    if kind == "StepLR":
        size = number(given(1, "step_size"))
        return f"its step_size {size:g} counts epochs" if size is not None and 0 < size <= min(few, FEW) else ""
    if kind == "MultiStepLR":
        stones = first(given(1, "milestones"))
        if isinstance(stones, Sequence) and not stones.open and stones.items:
            found = [number(item) for item in stones.items]
            if all(each is not None and each <= min(few, FEW) for each in found):
                return "its milestones count epochs"
        return ""
    if kind == "SequentialLR":
        ends = first(given(2, "milestones"))
        if isinstance(ends, Sequence) and not ends.open and ends.items:
            joined = [number(item) for item in ends.items]
            if all(end is not None and 0 < end <= min(few, FEW) for end in joined):
                return "its milestones count epochs"
        return ""
    if kind == "ExponentialLR":
        gamma = number(given(1, "gamma"))
        return (
            f"gamma {gamma:g} a batch takes the learning rate to nothing"
            if gamma is not None and 0 < gamma <= 0.97
            else ""
        )
    if kind == "CosineAnnealingLR":
        top = given(1, "T_max")
        at = first(top)
        return "its T_max is the number of epochs" if isinstance(at, Const) and number(top) == epochs and epochs else ""
    return ""


# Words beside "epoch" in the name of something that goes over the batches of one
_OF_AN_EPOCH = ("per_epoch", "iter", "step", "batch", "size", "loader", "data")


def inner_is_epochs(inner: Loop) -> bool:
    """The innermost loop counts epochs itself (an outer one goes over folds, seeds or stages)."""
    node = inner.node
    if not isinstance(node, cst.For):
        return False
    if any(isinstance(each, cst.Name) and "epoch" in each.value.lower() for each in walk(node.target)):
        return True
    if any(True for _ in loaders_of(inner.over)):
        return False
    names = [each.value.lower() for each in walk(node.iter) if isinstance(each, cst.Name)]
    return any("epoch" in name and not any(word in name for word in _OF_AN_EPOCH) for name in names)
