"""BatchNorm layers of a frozen backbone that go on updating their statistics.

## What it does
Finds a pretrained backbone whose parameters are frozen with `requires_grad = False`, that holds BatchNorm layers, and
that is trained in training mode: `train()` is called on it or on the model around it, and nothing puts its norms into
evaluation mode before the forward. Reported where it is frozen. An overridden `train()`, `eval()` on the backbone or
on its norms, `momentum` or `track_running_stats` set by hand all count as handled.

## Why it costs
`requires_grad = False` stops the gradients of a norm's scale and shift, but `running_mean` and `running_var` are
buffers: in training mode every forward moves them towards the statistics of the new batches, and normalises with the
batch itself. The frozen filters then see other inputs than they were trained for, a small batch makes them noisy, and
at evaluation the features are no longer those that the head learned on. What was meant as a fixed feature extractor
is not fixed.

## When not to follow it
When the new images differ so much from the pretraining data that their statistics are wanted (adaptive BatchNorm), or
when the backbone is frozen for a few warm-up epochs only. GroupNorm, LayerNorm and FrozenBatchNorm2d keep no
statistics.

## Example
```python
import torch
from torch import nn
from torchvision.models import resnet18

model = resnet18(weights="DEFAULT")
for param in model.parameters():
    param.requires_grad = False
model.fc = nn.Linear(512, 4)
optimizer = torch.optim.SGD(model.fc.parameters(), lr=0.01)


def train_one_epoch(loader, criterion):
    model.train()
    for images, labels in loader:
        optimizer.zero_grad()
        criterion(model(images), labels).backward()
        optimizer.step()
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
optimizer = torch.optim.SGD(model.fc.parameters(), lr=0.01)


def train_one_epoch(loader, criterion):
    model.train()
    for module in model.modules():
        if isinstance(module, torch.nn.modules.batchnorm._BatchNorm) and module.weight is not None:
            module.train(module.weight.requires_grad)
    for images, labels in loader:
        optimizer.zero_grad()
        criterion(model(images), labels).backward()
        optimizer.step()
```

## Fix level
recipe. Only BatchNorm layers whose own scale is frozen go to evaluation mode, after each `train()`; layers that are
still trained (a head's norms, a stage unfrozen later) stay as they are. The lines stand behind the freeze where that
comes later. No fix where a framework calls `train()` itself.

## Evidence
`tricklint verify` pairs both variants over seeds; the effect grows with the distance of the data and with small
batches.

## References
- https://docs.pytorch.org/docs/stable/generated/torch.nn.BatchNorm2d.html (running estimates are kept during training)
- https://keras.io/guides/transfer_learning/ (why a frozen BatchNorm should run in inference mode)
- Ioffe and Szegedy, Batch Normalization, 2015, section 3.1
"""

from __future__ import annotations

from collections.abc import Iterator

import libcst as cst

from tricklint.finding import Finding, Fix, FixLevel, Keeps, Severity
from tricklint.fix import build
from tricklint.interpreter.events import Built, Event
from tricklint.interpreter.values import (
    Class,
    Func,
    Instance,
)
from tricklint.libraries.events import Backward, Forward, ModeSet, TrainerGiven
from tricklint.libraries.facts import ModuleFacts
from tricklint.program import Program
from tricklint.program.initialisation import Initialisation
from tricklint.program.loops import shared_loops, surely_with
from tricklint.program.norm_drift import RUN_IN_TRAIN_MODE, may_happen, trained_in_train_mode
from tricklint.program.transfer import (
    Freeze,
    Norms,
    batch_norms,
    freezes,
    holds,
    is_pretrained,
    optimised,
    published_name,
    takes_in,
    whole,
)
from tricklint.program.uncalled import never_called
from tricklint.rule import Rule
from tricklint.watching.record import Clean, Run


class FrozenNormDrift(Rule):
    code = "TRK104"
    name = "frozen-norm-drift"
    summary = "a frozen backbone's BatchNorm layers still update their running statistics in training mode"
    severity = Severity.WARNING
    fix_level = FixLevel.RECIPE
    trick = "1 - Transfer learning"
    triggers = ("requires_grad", "freeze", "optim", "Trainer")

    def watched(self, run: Run) -> Iterator[Finding | Clean]:
        """Frozen norm layers that were in train mode in a pass that went backward."""
        passes = [one for one in run.forwards if one.reached]
        drifting = {number for one in passes for number in one.drifting}
        still = {number for one in passes for number in one.still} - drifting
        freezes = [fact for fact in run.facts("froze") if not fact.data["value"]]
        told: set[int] = set()
        for freeze in freezes:
            numbers = set(freeze.data["parameters"])
            if not numbers & (drifting | still):
                continue
            mine = numbers & drifting
            if mine and mine <= told:
                continue  # one backbone, frozen twice
            told |= mine
            if not mine:
                yield Clean(self.code, freeze.place, f"its {len(numbers & still)} frozen norm layers were in eval mode")
                continue
            first = next(one for one in passes if mine & set(one.drifting))
            message = "these layers are frozen, but their norm layers stay in train mode: the running statistics still move"
            seen = f"step {first.first + 1}, {len(mine)} frozen norm layers in train mode in a pass that trains"
            again = [(fact.place, "frozen here too") for fact in freezes if fact is not freeze and mine & set(fact.data["parameters"])]
            yield from run.finding(self, freeze.place, message, seen, [*again, (first.place, "it trains here")])

    def check(self, program: Program) -> Iterator[Finding]:
        seen: set[int] = set()
        every = list(freezes(program))
        for freeze in every:
            if freeze.on is not False or id(freeze.event.node) in seen:
                continue
            for root, frozen, trains in drifting(program, freeze, every):
                if seen.isdisjoint(owners := {id(norms.holder.owner) for norms in frozen}):
                    seen |= {id(freeze.event.node), *owners}
                    yield self.report(program, freeze, root, frozen[0], [*trains, *elsewhere(program, freeze, every)])
                    break

    def report(self, program: Program, freeze: Freeze, root: Instance, norms: Norms, trains: list[Event]) -> Finding:
        event, train = freeze.event, trains[0]
        owner = norms.holder.owner
        label = published_name(owner) or owner.label or "the backbone"
        if isinstance(train, TrainerGiven):
            how = "the trainer runs it in training mode"
        elif isinstance(train, Forward):
            how = "it trains in the training mode that it was built in"
        else:
            how = "train() puts them in training mode"
        message = (
            f"{label} is frozen here, but its BatchNorm layers keep updating their running statistics: "
            f"{how} and nothing puts them back in eval"
        )
        evidence = [
            program.evidence(norms.holder.file, norms.holder.node, f"{label} with BatchNorm layers is built here"),
            program.evidence(train.file, train.node, how),
        ]
        thawed = any(thawed_before_it_trains(program, norms, each) for each in trains)
        fix = None if thawed else self.mend_all(program, freeze, trains)
        return program.finding(self, event.file, event.node, message, evidence, fix)

    def mend_all(self, program: Program, freeze: Freeze, trains: list[Event]) -> Fix | None:
        """At each place where the layers are put in training mode, in whichever scripts: all or none."""
        fixes = []
        for train in {id(train.node): train for train in trains}.values():
            late = frozen_later(program, freeze, train)
            behind = statement_beside(freeze.event, train) if late else train.node
            fixes.append(self.mend(train, behind) if behind is not None else None)
        return Fix.everywhere(fixes)

    def mend(self, train: Event, behind: cst.CSTNode) -> Fix | None:
        """After a plain `model.train()` statement, or the freeze that follows it: BatchNorm layers follow their own scale's
        `requires_grad`."""
        if isinstance(train, TrainerGiven):
            return self.mend_lightning(train)
        call, tree = train.node, train.file.tree
        if (
            not isinstance(train, ModeSet)
            or not isinstance(call, cst.Call)
            or not isinstance(call.func, cst.Attribute)
            or call.args
        ):
            return None
        if (
            not isinstance(tree.parent(call), cst.Expr)
            or call.func.attr.value != "train"
            or not _plain(call.func.value)
        ):
            return None
        scope = next((up for up in tree.ancestors(call) if isinstance(up, (cst.FunctionDef, cst.Module))), tree.module)
        module = build.name_for(tree, scope, "module")
        lines = [
            f"for {module} in {tree.code(call.func.value)}.modules():",
            f"    if isinstance({module}, torch.nn.modules.batchnorm._BatchNorm) and {module}.weight is not None:",
            f"        {module}.train({module}.weight.requires_grad)",
        ]
        edits = build.joined((build.insert_after(tree, behind, lines), build.add_import(tree, "import torch")))
        if edits is None:
            return None
        return Fix(
            FixLevel.RECIPE,
            "run the frozen BatchNorm layers in evaluation mode",
            edits,
            "frozen norms no longer follow the new data",
            keeps=Keeps(modes="any"),
        )


    def mend_lightning(self, train: TrainerGiven) -> Fix | None:
        """A hook that the trainer runs before each epoch: from Lightning 2.2 on, fit() calls no `train()` that the module could
        override."""
        cls = train.subject.cls
        if train.framework != "lightning" or not isinstance(cls, Class) or any(
            cls.lookup(hook) is not None for hook in ("train", "on_train_epoch_start")
        ):
            return None
        init = cls.fields.get("__init__")
        if not isinstance(init, Func) or init.owner is not cls:
            return None
        tree = cls.file.tree
        lines = [
            "",
            "def on_train_epoch_start(self):",
            "    for module in self.modules():",
            "        if isinstance(module, torch.nn.modules.batchnorm._BatchNorm) and module.weight is not None:",
            "            module.train(module.weight.requires_grad)",
        ]
        edits = build.joined((build.insert_after(tree, init.node, lines), build.add_import(tree, "import torch")))
        if edits is None:
            return None
        reason = "frozen norms no longer follow the new data"
        message = "run the frozen BatchNorm layers in evaluation mode"
        return Fix(FixLevel.RECIPE, message, edits, reason, keeps=Keeps(modes="any"))


def drifting(
    program: Program, freeze: Freeze, every: list[Freeze]
) -> Iterator[tuple[Instance, list[Norms], list[Event]]]:
    """What is frozen, its norms that stay frozen, and what puts them in training mode."""
    for root in freeze.roots:
        here = not is_pretrained(root) and trained_before(program, root, freeze.event)
        frozen = [
            norms for norms in frozen_norms(program, root, freeze, here) if always_frozen(program, freeze.event, norms)
        ]
        for norms in frozen:
            found = [
                train
                for train in trained_in_train_mode(program, norms)
                if not thawed(program, norms, freeze, every, train)
                and not (here and train.seq < freeze.event.seq and train.entry == freeze.event.entry)
            ]
            if found:
                yield root, frozen, found
                break


def elsewhere(program: Program, freeze: Freeze, every: list[Freeze]) -> Iterator[Event]:
    """What puts the layers in training mode that the same line freezes in other scripts."""
    entries = {freeze.event.entry}
    for other in every:
        if other.on is False and other.event.node is freeze.event.node and other.event.entry not in entries:
            for _, _, trains in drifting(program, other, every):
                entries.add(other.event.entry)
                yield from trains
                break


def frozen_later(program: Program, freeze: Freeze, train: Event) -> bool:
    """Right behind `train()` the layers are not frozen yet: that comes later, be it in each round, and the training mode is not
    set again after it."""
    event = freeze.event
    if not isinstance(train, ModeSet) or event.entry != train.entry or event.seq < train.seq:
        return False
    return bool(shared_loops(event, train)) or not any(
        mode.node is train.node and mode.seq > event.seq for mode in program.events(ModeSet)
    )


def statement_beside(freeze: Event, train: Event) -> cst.CSTNode | None:
    """The statement below that of `train()`, in the same block, that freezes or calls what does."""
    tree = train.file.tree
    statement = tree.statement_of(train.node)
    block = tree.parent(statement) if statement is not None else None
    body = list(getattr(block, "body", ()))
    for file, node in ((freeze.file, freeze.node), *freeze.calls):
        at: cst.CSTNode | None = node if file is train.file else None
        while at is not None and tree.parent(at) is not block:
            at = tree.parent(at)
        if at is not None and at in body and body.index(at) > body.index(statement):
            return at
    return None


def thawed_before_it_trains(program: Program, norms: Norms, train: Event) -> bool:
    """Layers of the net are thawed between `train()` and the training that follows it: what is put in evaluation mode right
    behind `train()` would be so too early for them."""
    steps = [step.seq for step in program.events(Backward) if step.entry == train.entry and step.seq > train.seq]
    return any(
        other.on is not False
        and train.seq < other.event.seq < min(steps, default=0)
        and other.event.entry == train.entry
        and any(holds(each, norms.holder) or holds(norms.holder, each) for each in other.roots)
        for other in freezes(program)
    )


def always_frozen(program: Program, freeze: Event, norms: Norms) -> bool:
    """The norms are frozen wherever they exist, be it on a branch that the defaults do not take."""
    built = [each for each in program.made.get(id(norms.holder.owner), ()) if isinstance(each, Built)]
    return freeze.sure or any(each.path and surely_with(freeze, each) for each in built)


def trained_before(program: Program, root: Instance, freeze: Event) -> bool:
    """The net was trained in this script, and that is over when it is frozen."""
    above = [node for _, node in freeze.calls]
    for event in optimised(program, root):
        if event.entry != freeze.entry or event.seq > freeze.seq or any(event.node is node for node in above):
            continue
        if isinstance(event, TrainerGiven):
            call = event.node.func if isinstance(event.node, cst.Call) else None
            if isinstance(call, cst.Attribute) and call.attr.value in ("fit", "train"):  # not where the trainer is made
                return event.framework in RUN_IN_TRAIN_MODE
            continue
        steps = (step for step in program.events(Backward) if step.entry == freeze.entry)
        if any(event.seq < step.seq < freeze.seq and not shared_loops(step, freeze) for step in steps):
            return True
    return False


def frozen_norms(program: Program, root: Instance, freeze: Freeze, trained: bool) -> list[Norms]:
    """Pretrained norms below `root`, or those of one that was `trained` before, that exist when it is frozen and that the freeze
    takes in."""
    loaded = trained or is_pretrained(root) or Initialisation.of(program).loaded(root)
    if root.fact(ModuleFacts).copied:  # a teacher or a momentum encoder: its copy is what is trained
        return []
    return [
        norms
        for norms in batch_norms(root)
        if (loaded or is_pretrained(norms.holder))
        and norms.holder.seq <= freeze.event.seq
        and takes_in(freeze.preds, norms)
    ]


def thawed(program: Program, norms: Norms, freeze: Freeze, every: list[Freeze], train: Event) -> bool:
    """Something may set `requires_grad` of the norms again before the frozen net is trained, or in the same rounds (a net that
    two optimizers take turns at); a thaw after a stage of training comes too late for the statistics."""
    steps = [step.seq for step in program.events(Backward) if step.entry == train.entry]
    return any(
        other.on is not False
        and other.event.seq > freeze.event.seq
        and may_happen(program, other.event, norms)
        and not (
            other.event.entry == train.entry
            and not shared_loops(other.event, freeze.event)
            and any(max(freeze.event.seq, train.seq) < step < other.event.seq for step in steps)
        )
        and any(holds(root, norms.holder) for root in other.roots)
        and not (train.entry.startswith("run ") and program.complete(train) and never_called(program, other.event))
        and (whole(other.event.subject) or takes_in(other.preds, norms))
        for other in every
    )


def _plain(node: cst.BaseExpression) -> bool:
    while isinstance(node, cst.Attribute):
        node = node.value
    return isinstance(node, cst.Name)
