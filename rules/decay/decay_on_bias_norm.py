"""Weight decay on biases and norm parameters.

## What it does
Finds an optimizer whose weight decay is not zero (given, by a default, or implied: AdamW's is 0.01) and that is handed
all parameters of a model in one piece, or in pieces that were told apart and are decayed all the same, so that biases and the
scales and shifts of norm layers are decayed like weight matrices. Decay is followed through command line defaults, config classes, helper functions and files.
It stands at the optimizer's construction; where a helper makes whatever class it is told to, at the call that hands it the parameters.

## Why it costs
Weight decay stands for a prior on weight matrices. A bias has no scale to keep small, and a norm layer's scale undoes
whatever size the weights before it have. "Bag of Tricks" trains with no bias decay for this reason, and so do BERT, ViT,
ConvNeXt and most current recipes. What it costs differs from one report to the next, and in what was measured here it was
lost in the noise (see Evidence): it is a convention that is cheap to keep, so measure it with `--verify` on your own run.

## When not to follow it
When a published recipe that you reproduce decays everything (torchvision's references do), when the decay is so small
that it does nothing, or when a run is resumed from an optimizer checkpoint: the saved state has the old param groups.

## Example
```python
import torch
from torch import nn

model = nn.Sequential(nn.Linear(8, 16), nn.LayerNorm(16), nn.ReLU(), nn.Linear(16, 2))
optimizer = torch.optim.AdamW(model.parameters(), lr=1e-3, weight_decay=0.05)
```

## After the fix
```python
import torch
from torch import nn

model = nn.Sequential(nn.Linear(8, 16), nn.LayerNorm(16), nn.ReLU(), nn.Linear(16, 2))
decay, no_decay = [], []
for name, param in model.named_parameters():
    if not param.requires_grad:
        continue
    if param.ndim < 2 or name.endswith("bias"):
        no_decay.append(param)
    else:
        decay.append(param)
param_groups = [{"params": decay}, {"params": no_decay, "weight_decay": 0.0}]
optimizer = torch.optim.AdamW(param_groups, lr=1e-3, weight_decay=0.05)
```

## Fix level
recipe. Every parameter that was optimised still is, once, with the same learning rate; only the decay of biases, norms
and other vectors goes. It is unsafe where later code sets or takes what is in a param group by its number, sets the weight
decay of all groups, or loads this optimizer's state, also behind a flag: saved states have the old groups. There is no fix where the parameters come in groups that the code builds itself.

## Evidence
No measurable difference so far, in test accuracy over 8 paired seeds (kept in `bench/results/`). The source of the
trick reports +4.1 points for VGG-16 on CUB-200; He et al. 2018 saw about nothing on ResNet-50.

- `tricklint verify --recipe vgg-digits`, 16 layers without norms, AdamW: alone −6.0 points [−16.6, +4.6]; on top of
  Xavier +1.7 [−0.4, +3.9]; on top of the activation's gain −0.1 [−0.4, +0.3].
- `tricklint verify --recipe vgg-digits-sgd`: on top of Xavier +27 [−11, +65]: six of eight runs reach 90 %
  instead of two; on top of the activation's gain +0.1 [−0.2, +0.5].
- `tricklint verify --recipe resnet-pills`, with batch norm: alone −2.2 [−6.5, +2.0], on top of an init −0.1 [−2.4, +2.1].
- `tricklint check fixtures/pills --verify`, fine-tuning: −2.0 [−11.1, +7.1].

## References
- He et al., Bag of Tricks for Image Classification with Convolutional Neural Networks, 2018, section 3.1
- Jia et al., Highly Scalable Deep Learning Training System, 2018, section 3.2 (no decay on bias and norms)
- https://docs.pytorch.org/docs/stable/optim.html#per-parameter-options
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import libcst as cst

from tricklint.finding import Evidence, Finding, Fix, FixLevel, Severity
from tricklint.fix import build
from tricklint.interpreter.events import Event
from tricklint.interpreter.modules import FileModule
from tricklint.interpreter.values import Instance, Union, members, number
from tricklint.libraries.events import Froze, GroupOptionSet, GroupParamsTaken, OptimizerBuilt, OptimizerLoaded
from tricklint.libraries.facts import ModuleFacts, OptimizerFacts
from tricklint.program import Program
from tricklint.program.backbone import related
from tricklint.program.decay import (
    DecayedGroup,
    decayed_groups,
    foreign_net,
    has_vectors,
    param_sets,
    roots,
    vectors_of,
)
from tricklint.program.idle import idle
from tricklint.rule import Rule
from tricklint.source.tree import dotted, walk
from tricklint.watching.record import Clean, Parameter, Run

LONGEST_LINE = 120
KINDS = {"norm": "norm parameters", "bias": "biases", "scalar": "scales", "embedding": "token vectors"}


def counted(vectors: list[Parameter]) -> str:
    """ "62 norm parameters and 12 biases"."""
    return " and ".join(
        f"{count} {words}" for kind, words in KINDS.items() if (count := sum(p.kind == kind for p in vectors))
    )


class DecayOnBiasNorm(Rule):
    code = "TRK601"
    name = "decay-on-bias-norm"
    summary = "weight decay pulls biases and norm scales towards zero; common recipes decay weight matrices alone"
    severity = Severity.WARNING
    fix_level = FixLevel.RECIPE
    trick = "6 - No bias decay"
    triggers = ("optim", "weight_decay", "AdamW", "configure_optimizers")

    def check(self, program: Program) -> Iterator[Finding]:
        every = list(self.undivided(program))
        splits = [split for event, optimizer, _ in every if (split := split_of(*place(event), optimizer)) is not None]
        for event, optimizer, groups in every:
            yield self.report(program, event, optimizer, groups, splits)

    def undivided(self, program: Program) -> Iterator[tuple[Event, Instance, list[DecayedGroup]]]:
        """Optimizers that decay vectors as well as matrices, the first of each place."""
        seen: set[int] = set()
        for event in program.events(OptimizerBuilt):
            optimizer = event.subject
            assert isinstance(optimizer, Instance)
            at = id(place(event)[1])
            if at in seen or (optimizer.fact(OptimizerFacts).factory and not optimizer.fact(OptimizerFacts).groups):
                continue
            if idle(program, event) or decay_set_later(program, event):
                continue
            groups = decayed_groups(optimizer)
            groups = [
                group for group in groups if any(has_vectors(root) or foreign_net(program, root) for root in roots(group.sets))
            ]
            if not groups:
                continue
            seen.add(at)
            yield event, optimizer, groups

    def watched(self, run: Run) -> Iterator[Finding | Clean]:
        scheduled = {fact.data["optimizer"] for fact in run.facts("scheduler")}
        called = {one.model for one in run.forwards}
        for optimizer in run.optimizers:
            if optimizer.own:
                continue  # what its step does with the rate is its own affair
            ran = any(p.model and p.model.number in called for p in optimizer.parameters.values())
            if not optimizer.made and (run.steps or ran or optimizer.number in scheduled):
                continue  # built, and not used to train
            groups = optimizer.at_work
            if len({group.weight_decay or 0.0 for group in groups}) > 1:
                continue  # a split: what it puts where it does not belong is lossy-parameter-split's
            vectors = [p for group in groups for p in group.parameters if p.is_vector]
            decayed = [
                (p, group.weight_decay)
                for group in groups
                if group.weight_decay
                for p in group.parameters
                if p.is_vector
            ]
            if not vectors or not any(not p.is_vector for group in groups for p in group.parameters):
                continue
            if not any(p.kind in ("bias", "norm") for p, _ in decayed):
                yield Clean(self.code, optimizer.place, f"{optimizer.type} decays no bias and no norm parameter")
                continue
            rates = sorted({rate for _, rate in decayed})
            rate = ", ".join(f"{rate:g}" for rate in rates)
            when = "step 1" if optimizer.made else "when it was built"
            shares = " and ".join(
                f"{sum(p.kind == kind for p, _ in decayed)} of {sum(p.kind == kind for p in vectors)} {words}"
                for kind, words in KINDS.items()
                if any(p.kind == kind for p, _ in decayed)
            )
            seen = f"{when}, {shares} in a group with decay {rate}"
            message = f"{optimizer.type} applies weight decay {rate} to {counted([p for p, _ in decayed])} as well as to weights"
            yield from run.finding(self, optimizer.place, message, seen)

    def report(
        self, program: Program, event: Event, optimizer: Instance, groups: list[DecayedGroup], splits: list[Split]
    ) -> Finding:
        group = groups[0]
        models = roots(group.sets)
        label = optimizer.label if optimizer.label.isidentifier() else "the optimizer"
        how = "its default weight decay" if group.implied else "weight_decay"
        owner = models[0].label or "the model"
        vectors = vectors_of(models)
        given = group.group.options.get("weight_decay") or optimizer.fact(OptimizerFacts).options.get("weight_decay")
        much = f"{group.decay:g} or more" if isinstance(given, Union) and not given.sure else f"{group.decay:g}"
        message = f"{label} applies {how} {much} to the {vectors} of {owner} as well as to its weights"
        if optimizer.fact(OptimizerFacts).factory:
            message = (
                f"{label} is handed bare parameters, so it cannot tell biases and norms apart: "
                f"weight decay {much} applies to all of them"
            )
        evidence: list[Evidence | None] = [
            program.evidence(model.file, model.node, f"{model.label or 'the model'} is built here")
            for model in models[:2]
            if model.node is not None and not isinstance(model.node, cst.ClassDef)
        ]
        evidence.append(program.read_from(given, "the decay stands here"))
        file, node = place(event)
        if node is not event.node:
            evidence.append(program.evidence(event.file, event.node, f"{label} is built here"))
        split = next((each for each in splits if each.call is node and each.optimizer is optimizer), None)
        fix = self.mend(program, split, splits) if split is not None else None
        return program.finding(self, file, node, message, evidence, fix)

    def mend(self, program: Program, split: Split, splits: list[Split]) -> Fix | None:
        """One pair of groups before the call; before the whole `if`, where its branches give optimizers the same model."""
        tree, call = split.file.tree, split.call
        scope = next((up for up in tree.ancestors(call) if isinstance(up, (cst.FunctionDef, cst.Module))), tree.module)
        decay, no_decay, name, param = (
            build.name_for(tree, scope, *wanted)
            for wanted in (("decay",), ("no_decay",), ("name", "param_name"), ("param", "parameter"))
        )
        top, together = common_branch(split, splits)
        lines = [f"{decay}, {no_decay} = [], []", f"for {name}, {param} in {split.source}.named_parameters():"]
        if not any(thawed(program, each.optimizer) for each in together):
            lines += [f"    if not {param}.requires_grad:", "        continue"]
        lines += [
            f'    if {param}.ndim < 2 or {name}.endswith("bias"):',
            f"        {no_decay}.append({param})",
            "    else:",
            f"        {decay}.append({param})",
        ]
        groups = f'[{{"params": {decay}}}, {{"params": {no_decay}, "weight_decay": 0.0}}]'
        if len(together) > 1 or any(each.width + len(groups) > LONGEST_LINE for each in together):
            named = build.name_for(tree, scope, "param_groups")
            lines.append(f"{named} = {groups}")
            groups = named
        edits = build.insert_before(tree, top, lines)
        if edits is None:
            return None
        for each in together:
            edits += build.replace(tree, each.argument, groups)
        risk = next((risk for each in together if (risk := what_relies_on_groups(program, each.optimizer))), "")
        level, reason = (FixLevel.UNSAFE, risk) if risk else (FixLevel.RECIPE, "biases and norms are no longer decayed")
        return Fix(level, "split the parameters into a group with decay and one without", edits, reason)


@dataclass(frozen=True, eq=False)
class Split:
    """A call that gives an optimizer all parameters of one model, `source`, in one argument."""

    file: FileModule
    call: cst.Call
    optimizer: Instance
    argument: cst.BaseExpression
    source: str

    @property
    def width(self) -> int:
        """Of the argument's line without it."""
        tree = self.file.tree
        row = tree.line(tree.location(tree.offsets(self.argument)[0]).row)
        return len(row) - len(tree.code(self.argument))


def split_of(file: FileModule, call: cst.CSTNode, optimizer: Instance) -> Split | None:
    """How the parameters can be told apart there; None where the call, or what it is given, cannot be rewritten."""
    known = optimizer.fact(OptimizerFacts)
    if not isinstance(call, cst.Call) or known.own or known.factory or known.configured:
        return None
    argument = next((arg for arg in call.args if arg.keyword is not None and arg.keyword.value == "params"), None)
    if argument is None:
        if not call.args or call.args[0].star or call.args[0].keyword is not None:
            return None
        argument = call.args[0]
    model = named_source(argument.value, optimizer)
    if model is None or build.repeated(file.tree, call):
        return None
    if any(root.fact(ModuleFacts).flat for root in roots([s for s in param_sets(known.params) if s is not None])):
        return None  # a sharded model's parameters are flat: their shapes say nothing
    return Split(file, call, optimizer, argument.value, file.tree.code(model))


def common_branch(split: Split, splits: list[Split]) -> tuple[cst.CSTNode, list[Split]]:
    """Where the groups are made, and for which calls: the outermost `if` of the function whose other branches split the same
    model too, and binds nothing that the model is named by; else the call alone."""
    tree = split.file.tree
    mine: list[cst.If] = []
    for up in tree.ancestors(split.call):
        if isinstance(up, (cst.FunctionDef, cst.ClassDef, cst.Lambda, cst.For, cst.While)):
            break
        if isinstance(up, cst.If) and not isinstance(tree.parent(up), cst.If):
            mine.append(up)  # an `elif` is a part of its `if`
    root = split.source.partition(".")[0]
    for top in reversed(mine):
        beside = [
            each
            for each in splits
            if each.file is split.file
            and each.source == split.source
            and any(up is top for up in tree.ancestors(each.call))
        ]
        if len({id(each.call) for each in beside}) > 1 and not binds(top, root, split.source):
            return top, beside
    return split.call, [split]


def binds(branch: cst.If, root: str, source: str) -> bool:
    """Whether a statement within gives the name, or the attribute that is meant, another value."""
    for node in walk(branch):
        targets = (
            [node.target]
            if isinstance(node, (cst.AssignTarget, cst.AnnAssign, cst.AugAssign, cst.For, cst.NamedExpr))
            else []
        )
        for target in targets:
            for each in walk(target):
                if (
                    isinstance(each, cst.Name)
                    and each.value == root
                    and isinstance(target, (cst.Name, cst.Tuple, cst.List))
                ):
                    return True
                if isinstance(each, cst.Attribute) and f"{source}.".startswith(f"{dotted(each)}."):
                    return True
        if isinstance(node, (cst.FunctionDef, cst.ClassDef)) and node.name.value == root:
            return True
    return False


def decay_set_later(program: Program, built: Event) -> bool:
    """Whether the groups are told to decay nothing: `group["weight_decay"] = 0`."""
    return any(
        event.subject is built.subject
        and event.option == "weight_decay"
        and event.seq > built.seq
        and number(event.value) == 0
        for event in program.events(GroupOptionSet)
    )


def place(event: Event) -> tuple[FileModule, cst.CSTNode]:
    """The call that builds the optimizer; where a helper builds whatever it is told to and passes all arguments on
    (`cls(**kwargs)`), the call that hands the parameters to the helper."""
    for file, node in ((event.file, event.node), *reversed(event.calls)):
        if not isinstance(node, cst.Call) or not node.args or not all(arg.star for arg in node.args):
            return file, node
    return event.file, event.node


def what_relies_on_groups(program: Program, optimizer: Instance) -> str:
    """Later code that the optimizer's new groups would surprise, in words; "" where there is none."""

    def mine(event: Event) -> bool:
        return any(member is optimizer for member in members(event.subject))

    for event in filter(mine, program.events(GroupOptionSet)):
        if not event.every:
            return "later code sets an option of a param group by its number"
        if event.option in (None, "weight_decay"):
            return "later code sets the weight decay of all param groups"
    if any(map(mine, program.events(GroupParamsTaken))):
        return "later code takes the parameters of a param group by its number"
    if any(map(mine, program.events(OptimizerLoaded))):
        return "an optimizer state is loaded, and saved states have the old param groups"
    return ""


def thawed(program: Program, optimizer: Instance) -> bool:
    """Whether some code unfreezes parameters that the optimizer holds: those that are frozen now must stay in it."""
    held = roots([s for s in param_sets(optimizer.fact(OptimizerFacts).params) if s is not None])
    return any(
        event.value is not False and any(related(event.subject, root, [root]) for root in held)
        for event in program.events(Froze)
    )


def named_source(argument: cst.BaseExpression, optimizer: Instance) -> cst.BaseExpression | None:
    """The model expression whose `named_parameters()` give what `argument` gives: `net` of `net.parameters()`,
    `filter(lambda p: p.requires_grad, net.parameters())`, `[p for p in net.parameters() if p.requires_grad]`."""
    if any(group.options for group in optimizer.fact(OptimizerFacts).groups):
        return None
    sets = list(param_sets(optimizer.fact(OptimizerFacts).params))
    if not sets or any(
        pset is None or any(pred.op != "requires_grad" or pred.negated for pred in pset.preds) for pset in sets
    ):
        return None
    at: cst.BaseExpression = argument
    while True:
        if isinstance(at, cst.Call) and isinstance(at.func, cst.Attribute):
            if at.func.attr.value == "parameters" and not at.args and is_plain(at.func.value):
                return at.func.value
            return None
        if (
            isinstance(at, cst.Call)
            and isinstance(at.func, cst.Name)
            and at.func.value in ("list", "tuple", "filter", "iter")
        ):
            if not at.args:
                return None
            at = at.args[-1].value
        elif isinstance(at, (cst.ListComp, cst.GeneratorExp)) and at.for_in.inner_for_in is None:
            at = at.for_in.iter
        else:
            return None


def is_plain(node: cst.BaseExpression) -> bool:
    """A name or dotted name: it may be written twice without being run twice."""
    while isinstance(node, cst.Attribute):
        node = node.value
    return isinstance(node, cst.Name)
