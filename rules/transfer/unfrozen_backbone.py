"""A pretrained backbone that trains at the new head's learning rate from the first step.

## What it does
Finds a model that gets pretrained weights (torchvision, timm, torch.hub, transformers, segmentation_models_pytorch,
or a checkpoint that is loaded before the head is swapped, or before a part of the model goes under new layers), has
its head replaced or a new head put on it, and starts training with every backbone parameter trainable at the head's
learning rate. torchvision's segmentation nets without weights of their own still get ImageNet's for their backbone,
unless `weights_backbone=None` says otherwise. Freezing is looked for wherever it may be: a helper, another file, a
loop over names, `no_grad` round the backbone, PEFT, a fine-tuning callback, param groups with a learning rate of
their own.

## Why it costs
A new head starts from random weights and sends large, meaningless gradients into layers that already know edges, shapes
and textures. Features learned on millions of pictures are bent to fit a few hundred before the head says anything
useful. Kumar et al. measure it: full fine-tuning gains 2 % in distribution and loses 7 % out of it against training the
head alone; the head first, then everything at a lower rate, beats both.

## When not to follow it
With a large data set that differs from the pre-training data, training everything is right (the trick's table says so:
set `dataset-size` and `similarity` in `[tool.tricklint.transfer]`, and this rule keeps to it). A warm-up so long that
the head settles first has much the same effect. After the head has settled, unfreeze and go on at a lower rate.

## Example
```python
import torch
from torch import nn
from torchvision import models


def make(classes):
    model = models.resnet18(weights="IMAGENET1K_V1")
    model.fc = nn.Linear(model.fc.in_features, classes)
    return model, torch.optim.SGD(model.parameters(), lr=0.1, momentum=0.9)
```

## After the fix
```python
import torch
from torch import nn
from torchvision import models


def make(classes):
    model = models.resnet18(weights="IMAGENET1K_V1")
    for param in model.parameters():
        param.requires_grad = False
    model.fc = nn.Linear(model.fc.in_features, classes)
    return model, torch.optim.SGD([p for p in model.parameters() if p.requires_grad], lr=0.1, momentum=0.9)
```

## Fix level
recipe. The backbone is frozen before the new head is put on, so the head stays trainable, and the optimizer is handed
what remains trainable. Where the head is made inside the constructor (timm's `num_classes`), it is unfrozen by name; where
no `train()` is called, the frozen BatchNorm layers are put in eval mode at once. Where a schedule warms up to a rate of no
more than 1e-4, the rule only tells: at such a rate a head alone hardly learns.

## Evidence
Test accuracy over 8 paired seeds (kept in `bench/results/`):

- `tricklint verify --recipe transfer-pills`, 240 pictures of 12 new classes: all fine-tuned 83.9 %; backbone frozen 88.8 %
  (+4.9 points [−0.4, +10.2], p 0.094 after Holm: inconclusive); frozen, then unfrozen at a lower rate 86.6 % (+2.7
  [−2.8, +8.2]: inconclusive).
- `tricklint check fixtures/pills --verify`, 300 pictures at the head's rate of 0.1: 41.4 % → 60.0 % frozen (+18.6 points
  [+14.6, +22.6], p 0.039): helps.

## References
- Kumar et al., Fine-Tuning can Distort Pretrained Features and Underperform Out-of-Distribution, ICLR 2022
- Yosinski et al., How transferable are features in deep neural networks?, NeurIPS 2014
- https://docs.pytorch.org/tutorials/beginner/transfer_learning_tutorial.html
"""

from __future__ import annotations

from collections.abc import Iterator

import libcst as cst

from tricklint.finding import Edit, Evidence, Finding, Fix, FixLevel, Keeps, Severity
from tricklint.fix import build
from tricklint.interpreter.events import Built, Event, Made
from tricklint.interpreter.modules import FileModule
from tricklint.interpreter.values import (
    Class,
    Const,
    Func,
    Instance,
    first,
    members,
)
from tricklint.knowledge import frameworks, images
from tricklint.libraries.events import (
    FreezeMissed,
    GroupAdded,
    GroupOptionSet,
    OptimizerBuilt,
    OptimizerLoaded,
    TrainerGiven,
)
from tricklint.libraries.facts import ModuleFacts, OptimizerFacts
from tricklint.libraries.modules import submodules
from tricklint.libraries.paramsets import ParamSet, roots_of
from tricklint.program import Program
from tricklint.program import backbone as bb
from tricklint.program.backbone import Backbone
from tricklint.program.decay import joined, param_sets
from tricklint.program.freezing import (
    chosen_apart,
    condition,
    drifts,
    guarded,
    heads_on_branches,
    instead_of,
    one_of_several,
)
from tricklint.program.idle import idle, seen_training
from tricklint.program.loops import happens_with, surely_with
from tricklint.program.rates import peak_rate, warmed_up
from tricklint.program.transfer import batch_norms
from tricklint.program.uncalled import never_called
from tricklint.rule import Rule
from tricklint.source.tree import Tree, walk
from tricklint.watching.record import Clean, Model, Optimizer, Parameter, Run

SMALL_RATE = 1e-4  # usual where all of a pretrained transformer is fine-tuned


class UnfrozenBackbone(Rule):
    code = "TRK101"
    name = "unfrozen-backbone"
    summary = "a new head's first gradients bend the pretrained features it should build on"
    severity = Severity.WARNING
    fix_level = FixLevel.RECIPE
    trick = "1 - Transfer learning"
    triggers = ("optim", "Trainer", "pretrained", "load_state_dict", "torch.hub")

    def check(self, program: Program) -> Iterator[Finding]:
        if self.all_should_train(program):
            return
        found: dict[int, tuple[Backbone, Event]] = {}
        for backbone in bb.backbones(program):
            node, _ = backbone.place(program)
            event = self.trained_whole(program, backbone) if id(node) not in found else None
            if event is not None:
                found[id(node)] = (backbone, event)
        told = {*found, *(id(backbone.built.node) for backbone, _ in found.values())}
        fixes: list[tuple[Backbone, Event, Fix | None]] = []
        for backbone, event in found.values():
            others = one_of_several(program, backbone, told) or self.switched_elsewhere(program, event)
            fixes.append((backbone, event, self.mend(program, backbone, event) if not others else None))
        for backbone, event, fix in fixes:
            left = (other for other, same, none in fixes if none is None and same is event)
            if fix is not None and any(instead_of(program, backbone, other) for other in left):
                fix = None
            yield self.report(program, backbone, event, fix)

    def watched(self, run: Run) -> Iterator[Finding | Clean]:
        """Loaded weights that train from the first step on, all of them, at the rate of layers that are new."""
        for optimizer, model in run.trained():
            loaded = [p for p in model.parameters if p.loaded is not None]
            new = [
                p
                for p in model.parameters
                if p.loaded is None and p.kind == "matrix" and p.number in optimizer.parameters
            ]
            if not loaded or loaded[0].loaded is None:
                continue
            place = loaded[0].loaded
            if any(run.frozen(p) for p in loaded):
                yield Clean(
                    self.code,
                    place,
                    f"{sum(run.frozen(p) for p in loaded)} of its {len(loaded)} loaded parameters were frozen",
                )
                continue
            if alone := steps_before(run, optimizer, new, loaded):
                yield Clean(self.code, place, f"its new layers trained alone for {alone} steps first")
                continue
            rate = shared_rate(optimizer, model)
            if not new or rate is None or (attends(model) and rate <= SMALL_RATE):
                continue
            message = f"the pretrained {model.type} trains as a whole from the first step on, at the learning rate of its new layers"
            seen = (
                f"step 1, {len(loaded)} of {len(loaded)} loaded parameters trainable, in one group with {len(new)} new matrices, "
                f"lr {rate:g}"
            )
            yield from run.finding(self, place, message, seen, [(optimizer.place, "the optimizer gets all of it here")])

    @staticmethod
    def all_should_train(program: Program) -> bool:
        transfer = getattr(program.settings, "transfer", None)
        size = getattr(transfer, "dataset_size", None)
        return getattr(transfer, "similarity", None) == "different" and (
            size == "large" or (isinstance(size, int) and size >= 10_000)
        )

    @staticmethod
    def finetuning_entries(program: Program) -> set[str]:
        """Entries that make a callback which freezes and thaws the backbone by itself."""
        found: set[str] = set()
        for event in program.events(Made, Built):
            made = event.subject
            names = (made.library, *(made.cls.libraries() if isinstance(made.cls, Class) else ()))
            if any(name.endswith(("BackboneFinetuning", "BaseFinetuning")) for name in names):
                found.add(event.entry)
        return found

    @staticmethod
    def switched_elsewhere(program: Program, trained: Event) -> bool:
        """The program has a callback of its own that freezes, which is off by default: a freeze beside it would contradict it."""
        made = {event.entry for event in program.events(Made, Built) if freezes_by_hook(event.subject)}
        return trained.entry in made

    def trained_whole(self, program: Program, backbone: Backbone) -> Event | None:
        """The event that trains every parameter of the backbone at the head's rate, or None when that is not so."""
        model = backbone.model
        outer = bb.containers(program, model)
        if not outer or model.fact(ModuleFacts).peft or any(container.fact(ModuleFacts).peft for container in outer):
            return None
        training = [
            event
            for container in outer
            for event in program.trained_by(container)
            if program.complete(event) and not (isinstance(event, OptimizerBuilt) and idle(program, event))
        ]
        if not training or not program.complete(backbone.built):
            return None
        if any(
            missed.value is False and missed.possible and bb.related(missed.subject, model, outer)
            for missed in program.events(FreezeMissed)
        ):
            return None  # it is meant to be frozen: noop-freeze says what is wrong, and its edit mends both
        callbacks: set[str] = program.remember("finetuning entries", lambda: self.finetuning_entries(program))
        if any(event.entry in callbacks for event in training):
            return None
        new_head = bool(backbone.heads) or bool(model.fact(ModuleFacts).new_head)
        if not new_head and not any(bb.has_new_layers(container, model) for container in outer):
            return None
        by_hand = not all(event.entry.startswith("run ") for event in training)  # by whom and when is not to be read
        frozen = (event for event in bb.freezes(program, model, outer) if by_hand or not never_called(program, event))
        if any(frozen) or bb.without_grad(program, model, outer):
            return None
        unfollowed = [event for event in bb.escapes(program, model, outer) if not harmless(event.to)]
        for event in training:
            if isinstance(event, TrainerGiven):
                if event.framework in ("transformers", "fastai"):
                    return None
                continue
            optimizer = event.subject
            assert isinstance(optimizer, Instance)
            several = sum(group.default for group in optimizer.fact(OptimizerFacts).groups) > 1
            if bb.has_own_group(optimizer) or any(
                e.subject is optimizer and (e.group is None if isinstance(e, GroupAdded) else several and not e.every)
                for e in program.events(GroupOptionSet, GroupAdded)
            ):
                return None
            rate = peak_rate(program, optimizer)
            if transformer(model) and (rate is None or rate <= SMALL_RATE):
                return None
        whole = (
            event
            for event in training
            if isinstance(event, OptimizerBuilt)
            and self.holds_backbone(sets_at_one_rate(event, training), model)
            and not any(happens_with(escape, event) for escape in unfollowed)
        )
        return next(
            (
                event
                for event in whole
                if not bb.head_went_first(program, model, outer, event)
                and not bb.head_was_trained(program, model, outer, event)
            ),
            None,
        )

    @staticmethod
    def holds_backbone(sets: list[ParamSet], model: Instance) -> bool:
        """Whether the optimizer is given the backbone's own parameters, not the head's or filtered ones alone."""
        for pset in sets:
            if pset.names or any(pred.op not in ("requires_grad", "within") for pred in pset.preds):
                continue
            for root in roots_of(pset):
                if any(child is model or begins(child, model) for _, child in submodules(root)):
                    return True
        return False

    def report(self, program: Program, backbone: Backbone, trained: Event, fix: Fix | None) -> Finding:
        node, file = backbone.place(program)
        optimizer = trained.subject
        assert isinstance(optimizer, Instance)
        rate = peak_rate(program, optimizer)
        at = " at the head's learning rate"
        if rate is not None:
            at += f" {rate:g}" if rate == bb.learning_rate(optimizer) else f", at most {rate:g},"
        name = (backbone.model.label or "model") if backbone.whole is None else f"part of {backbone.whole.label}"
        message = f"the pretrained {name} is fine-tuned whole{at} from the first step, its new head still random"
        advice = self.advice(program)
        if advice:
            message += f"; {advice}"
        evidence: list[Evidence | None] = []
        asked = backbone.asked_for
        if asked is not None and asked[0] is not node and not (isinstance(node, cst.Call) and bb.says_pretrained(node)):
            evidence.append(program.evidence(asked[1], asked[0], "its weights are asked for here"))
        for head in backbone.heads[:1]:
            evidence.append(program.evidence(head.file, head.node, "the head is replaced here"))
        if backbone.loaded is not None and backbone.loaded.node is not node:
            evidence.append(program.evidence(backbone.loaded.file, backbone.loaded.node, "the weights are loaded here"))
        evidence.append(
            program.evidence(trained.file, trained.node, f"{optimizer.label} is given every parameter here")
        )
        return program.finding(self, file, node, message, evidence, fix)

    @staticmethod
    def advice(program: Program) -> str:
        transfer = getattr(program.settings, "transfer", None)
        size, similarity = getattr(transfer, "dataset_size", None), getattr(transfer, "similarity", None)
        if size is None or similarity is None:
            return ""
        small = size == "small" or (isinstance(size, int) and size < 10_000)
        if small and similarity == "similar":
            return "for a small, similar data set train only a linear classifier"
        if small:
            return "for a small, different data set train a classifier on earlier layers"
        return "for a large, similar data set fine-tune after the head has settled, at a lower rate"

    # -- the fix ---------------------------------------------------------------------------------------------------------

    def mend(self, program: Program, backbone: Backbone, trained: Event) -> Fix | None:
        if isinstance(trained, OptimizerBuilt) and any(head.seq > trained.seq for head in backbone.heads):
            return None  # the new head is in no optimizer: with a freeze nothing at all would train
        if isinstance(trained, OptimizerBuilt) and gently(program, trained.subject):
            return None  # a head alone hardly learns at that rate, and another one is the author's to say
        if isinstance(trained, OptimizerBuilt) and chosen_for_all(backbone.model, trained.subject):
            return None  # whether all of it is fine-tuned is for whoever gives the option to say
        if isinstance(trained, OptimizerBuilt) and not self.holds_backbone(
            sets_at_one_rate(trained, []), backbone.model
        ):
            return None  # it shares the backbone with other optimizers: what is left for each is the author's to say
        if any(isinstance(each, TrainerGiven) and each.framework == "smp" for each in program.trained_by(backbone.model)):
            return None  # its runner puts all of the net in train mode anew: frozen norms would drift
        still = drifts(program, backbone)
        frozen = self.freeze_edits(backbone, still)
        if frozen is None:
            return None
        edits = [*frozen, *self.optimizer_edits(trained)]
        level = FixLevel.RECIPE
        reason = "the backbone no longer trains; unfreeze it at a lower learning rate once the head has settled"
        if backbone.loaded is not None and not backbone.built.inside(backbone.loaded):
            level, reason = (
                FixLevel.UNSAFE,
                "the weights are loaded under a condition, and the backbone is frozen without it",
            )
        elif condition(backbone) == "":
            level, reason = (
                FixLevel.UNSAFE,
                "whether weights are loaded is decided elsewhere, and the backbone is frozen anyhow",
            )
        elif any(
            each is trained.subject for loaded in program.events(OptimizerLoaded) for each in members(loaded.subject)
        ):
            level, reason = FixLevel.UNSAFE, "an optimizer state is loaded, and saved states hold all parameters"
        elif batch_norms(backbone.model) and not seen_training(program, trained):
            level, reason = FixLevel.UNSAFE, "no training step was found, which may let the frozen norms drift"
        return Fix(
            level,
            "freeze the backbone before its new head is put on, and optimise what remains trainable",
            tuple(edits),
            reason,
            keeps=Keeps(optimised="fewer", frozen="any", modes="any" if still else "same"),
        )

    def freeze_edits(self, backbone: Backbone, still: bool) -> tuple[Edit, ...] | None:
        """still: its norms are put in eval mode with it."""
        model = backbone.model
        if backbone.heads:
            head = backbone.heads[0]
            target = assigned_root(head.node)
            if target is None or "." in str(model.fact(ModuleFacts).path):
                return None
            tree, code, node = head.file.tree, head.file.tree.code(target), head.node
            lines = freeze_lines(tree, node, code)
            if still:
                lines += norm_lines(head.file, node, code)
            lines = guarded(condition(backbone), lines)
            if head.file is backbone.built.file:
                built = backbone.built.node
                if chosen_apart(tree, built, node) is not None:  # elsewhere it may be built without weights
                    made = tree.statement_of(built)
                    if made is None or assignment_target(tree, made, built) != code:
                        return None
                    return with_nn(head.file, build.insert_after(tree, made, lines), still)
                chain = chosen_apart(tree, node, built)
                heads = heads_on_branches(tree, chain, code) if chain is not None else [True]
                if chain is not None and sum(heads) > 1:  # each name has a head of its own: all are frozen, or none
                    if not all(heads):
                        return None
                    node = chain
            return with_nn(head.file, build.insert_before(tree, node, lines, above_comments=True), still)
        node, file = backbone.built.node, backbone.built.file
        if backbone.loaded is not None:
            return None
        tree = file.tree
        statement = tree.statement_of(node)
        target_code = assignment_target(tree, statement, node)
        if target_code is None or statement is None:
            return None
        lines = freeze_lines(tree, node, target_code)
        part = target_code
        if model.fact(ModuleFacts).new_head:
            family = model.fact(ModuleFacts).family
            if family == "smp":
                part = f"{target_code}.encoder"
                lines = freeze_lines(tree, node, part)
            elif family == "transformers":
                part = f"{target_code}.base_model"
                lines = freeze_lines(tree, node, part)
            elif family == "timm":
                param = lines[0].split()[1]
                lines += [
                    f"for {param} in {target_code}.get_classifier().parameters():",
                    f"    {param}.requires_grad = True",
                ]
            else:
                return None
        if still:
            lines += norm_lines(file, node, part)
        return with_nn(file, build.insert_after(tree, statement, guarded(condition(backbone), lines)), still)

    def optimizer_edits(self, trained: Event) -> tuple[Edit, ...]:
        call = trained.node
        if not isinstance(call, cst.Call) or not call.args:
            return ()
        argument = call.args[0]
        if argument.star or (argument.keyword is not None and argument.keyword.value != "params"):
            return ()
        value = argument.value
        plain = (
            isinstance(value, cst.Call)
            and isinstance(value.func, cst.Attribute)
            and value.func.attr.value == "parameters"
            and not value.args
        )
        if not plain:
            return ()
        tree = trained.file.tree
        return build.replace(tree, value, f"[p for p in {tree.code(value)} if p.requires_grad]")


def gently(program: Program, optimizer: Instance) -> bool:
    """Whether a schedule warms up to a rate that is small even for all of the net: a fine-tuning of the whole, by plan."""
    rate = peak_rate(program, optimizer)
    return rate is not None and rate <= SMALL_RATE and warmed_up(program, optimizer)


def chosen_for_all(model: Instance, optimizer: Instance) -> bool:
    """Whether a transformer's learning rate is an option's default: asked for a small one, the whole is fine-tuned by plan."""
    rate = first(optimizer.fact(OptimizerFacts).options.get("lr"))
    return isinstance(rate, Const) and rate.default and transformer(model)


def freezes_by_hook(made: Instance) -> bool:
    """A Lightning callback of the program whose hooks set `requires_grad` of what they are given."""
    if not isinstance(made.cls, Class) or not any(name == "lightning.Callback" for name in made.cls.libraries()):
        return False
    hooks = [func.node for func in made.cls.fields.values() if isinstance(func, Func) and func.node is not None]
    return any(
        isinstance(each, cst.Attribute) and each.attr.value in ("requires_grad", "requires_grad_")
        for hook in hooks
        for each in walk(hook)
    )


def begins(part: Instance, model: Instance) -> bool:
    """Whether a module is the part of a model that its inputs enter, or the first layer of that, taken over into another."""
    if part is model or part.owner is not model:
        return False
    stage, _, below = str(part.fact(ModuleFacts).path).partition(".")
    return stage in images.FIRST_STAGES and set(below.split(".")) <= {"", "0"}


def sets_at_one_rate(event: OptimizerBuilt, training: list[Event]) -> list[ParamSet]:
    """The parameters that an optimizer is given, with those that others beside it train at the same rate; and what those
    make together that one test told apart."""
    rate = bb.learning_rate(event.subject)
    beside = [
        other
        for other in training
        if other is not event
        and isinstance(other, OptimizerBuilt)
        and other.entry == event.entry
        and surely_with(other, event)
        and rate is not None
        and bb.learning_rate(other.subject) == rate
    ]
    sets: list[ParamSet] = []
    for at in dict.fromkeys((event, *beside)):
        for group in at.subject.fact(OptimizerFacts).groups:
            sets += [pset for pset in param_sets(group.params) if pset is not None]
            if group.default:  # a factory that splits the parameters is given the model itself
                models = [
                    each for each in members(group.params) if isinstance(each, Instance) and each.kind == "module"
                ]
                sets += [ParamSet(model, "param", node=at.node) for model in models]
    return [*sets, *joined(sets)]


def harmless(to: str) -> bool:
    return to in frameworks.HARMLESS or to.startswith(frameworks.HARMLESS_PREFIXES)


def transformer(model: Instance) -> bool:
    if model.fact(ModuleFacts).family == "transformers":
        return True
    arch = model.args[0] if model.args else model.kwargs.get("model_name")
    name = str(getattr(arch, "value", "")) + model.library.rpartition(".")[2]
    return any(part in name for part in ("vit_", "swin", "deit", "beit", "bert"))


def norm_lines(file: FileModule, node: cst.CSTNode, target: str) -> list[str]:
    from tricklint.rules.initialisation.missing_init import nn_name

    tree = file.tree
    scope = next((up for up in tree.ancestors(node) if isinstance(up, (cst.FunctionDef, cst.Module))), tree.module)
    module = build.name_for(tree, scope, "module", "m")
    return [
        f"for {module} in {target}.modules():  # its norms keep the statistics that they came with",
        f"    if isinstance({module}, {nn_name(file) or 'nn'}.modules.batchnorm._BatchNorm):",
        f"        {module}.eval()",
    ]


def with_nn(file: FileModule, edits: build.Edits | None, wanted: bool) -> build.Edits | None:
    """The edits, with the import that the norms' class needs where the file has none."""
    from tricklint.rules.initialisation.missing_init import nn_name

    if not wanted or nn_name(file) is not None:
        return edits
    return build.joined((build.add_import(file.tree, "from torch import nn"), edits))


def freeze_lines(tree: Tree, node: cst.CSTNode, target: str) -> list[str]:
    scope = next((up for up in tree.ancestors(node) if isinstance(up, (cst.FunctionDef, cst.Module))), tree.module)
    param = build.name_for(tree, scope, "param", "p", "parameter")
    return [f"for {param} in {target}.parameters():", f"    {param}.requires_grad = False"]


def assigned_root(statement: cst.CSTNode) -> cst.BaseExpression | None:
    """`model` of `model.fc = …`, `model.classifier[6] = …`; None when that is no plain name or attribute of self."""
    if not isinstance(statement, cst.Assign) or len(statement.targets) != 1:
        return None
    at: cst.BaseExpression = statement.targets[0].target
    if isinstance(at, cst.Subscript):
        at = at.value
    if not isinstance(at, cst.Attribute):
        return None
    chain: list[cst.BaseExpression] = []
    while isinstance(at, (cst.Attribute, cst.Subscript)):
        at = at.value
        chain.append(at)
    if not isinstance(at, cst.Name):
        return None
    if at.value == "self":
        return chain[-2] if len(chain) >= 2 else None
    return chain[-1]


def assignment_target(tree: Tree, statement: cst.CSTNode | None, node: cst.CSTNode) -> str | None:
    """The name that a statement gives to `node`'s value, when it gives it one and nothing else."""
    if not isinstance(statement, cst.SimpleStatementLine) or len(statement.body) != 1:
        return None
    small = statement.body[0]
    if not isinstance(small, cst.Assign) or len(small.targets) != 1:
        return None
    value = small.value
    while value is not node:
        # a move or wrapper round the model: models.resnet18(...).to(device)
        if (
            isinstance(value, cst.Call)
            and isinstance(value.func, cst.Attribute)
            and value.func.attr.value in ("to", "cuda")
        ):
            value = value.func.value
        else:
            return None
    target = small.targets[0].target
    if isinstance(target, cst.Name) or (isinstance(target, cst.Attribute) and isinstance(target.value, cst.Name)):
        return tree.code(target)
    return None


def steps_before(run: Run, optimizer: Optimizer, new: list[Parameter], loaded: list[Parameter]) -> int:
    """The steps that another optimizer made for new layers, and for none that were loaded, before this one's first."""
    began = min(step.first for step in optimizer.steps)
    others = [one for one in run.optimizers if one is not optimizer and any(p.number in one.parameters for p in new)]
    return sum(
        step.count
        for one in others
        if not any(p.number in one.parameters for p in loaded)
        for step in one.steps
        if step.last < began
    )


def shared_rate(optimizer: Optimizer, model: Model) -> float | None:
    """The learning rate that all loaded and new parameters of the model have; None where they do not share one."""
    rates = {group.lr for group in optimizer.at_work for p in group.parameters if p.model is model}
    held = {p.number for group in optimizer.at_work for p in group.parameters}
    if any(p.number not in held for p in model.parameters if p.loaded is not None) or len(rates) != 1:
        return None
    return rates.pop()


def attends(model: Model) -> bool:
    """Whether it is a transformer: its layers hold queries, keys and values."""
    return any("attention" in name.lower() or name == "Attention" for name, _ in model.modules.values())
