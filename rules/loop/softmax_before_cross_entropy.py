"""A loss that is given the wrong kind of output.

## What it does
Follows what reaches a loss back to the last thing that happened to it, through shapes, containers, modules and files:
a softmax before cross-entropy, a sigmoid before BCE-with-logits, a layer's raw output into `BCELoss` or `NLLLoss`, a
softmax (not log-softmax) into `NLLLoss`. Where branches differ, it is silent.

## Why it costs
Cross-entropy applies log-softmax itself. Given probabilities, the largest logit difference it can see is 1, so with C
classes the loss cannot fall below log(1 + (C − 1)/e), the gradient vanishes for confident mistakes, and training is
slow and ends early. Raw outputs in `BCELoss` are no probabilities at all: it fails, or returns infinities; in
`NLLLoss` the loss falls without bound.

## When not to follow it
When a paper's experiment with softmax outputs is to be reproduced as it was.

## Example
```python
import torch
from torch import nn

model = nn.Sequential(nn.Linear(8, 16), nn.ReLU(), nn.Linear(16, 3), nn.Softmax(dim=1))
criterion = nn.CrossEntropyLoss()
loss = criterion(model(torch.randn(4, 8)), torch.tensor([0, 1, 2, 0]))
```

## After the fix
```python
import torch
from torch import nn

model = nn.Sequential(nn.Linear(8, 16), nn.ReLU(), nn.Linear(16, 3))
criterion = nn.CrossEntropyLoss()
loss = criterion(model(torch.randn(4, 8)), torch.tensor([0, 1, 2, 0]))
```

## Fix level
recipe where the softmax or sigmoid stands in the call of the loss, since nothing else sees it. Unsafe where it stands
in the model (whoever reads the output gets logits) and where another loss is written (`BCEWithLogitsLoss`,
`CrossEntropyLoss`). No fix where the layer is used in ways that cannot be followed.

## Evidence
For a perfect one-hot prediction the loss with softmax stops at 0.31 for 2 classes, 1.46 for 10, 3.62 for 100 and 5.91
for 1000 (`cross_entropy` of a one-hot row, torch 2.13), where logits take it to 0. The finding stands at the softmax
and names the loss and the line that is given its output.

## References
- https://docs.pytorch.org/docs/stable/generated/torch.nn.CrossEntropyLoss.html
- https://docs.pytorch.org/docs/stable/generated/torch.nn.BCEWithLogitsLoss.html
- https://docs.pytorch.org/docs/stable/generated/torch.nn.NLLLoss.html
"""

from __future__ import annotations

from collections.abc import Iterator

import libcst as cst

from tricklint.finding import Finding, Fix, FixLevel, Severity
from tricklint.fix import build
from tricklint.interpreter.events import Event
from tricklint.interpreter.modules import FileModule
from tricklint.interpreter.values import (
    Instance,
    Value,
)
from tricklint.knowledge import layers
from tricklint.libraries.events import LossComputed
from tricklint.program import Program
from tricklint.program.predictions import Ending, only_ending
from tricklint.rule import Rule
from tricklint.source.tree import Tree, walk
from tricklint.watching.losses import wrong_input
from tricklint.watching.record import Clean, Fact, Run

# type of the loss → what its input ends in → what is wrong with it
WRONG = {
    "cross_entropy": {
        "softmax": "cross-entropy takes logits and applies log-softmax itself: the softmax before it flattens the loss",
    },
    "bce_logits": {
        "sigmoid": "this loss takes logits and applies the sigmoid itself: it is applied twice",
        "softmax": "this loss takes logits and applies a sigmoid itself: it is applied to a softmax's output",
    },
    "bce": {
        "raw": "binary cross-entropy takes probabilities, but is given a layer's raw output: use BCEWithLogitsLoss"
    },
    "nll": {
        "raw": "NLL loss takes log-probabilities, but is given a layer's raw output: use CrossEntropyLoss",
        "softmax": "NLL loss takes log-probabilities, but is given a softmax's output: use log_softmax",
    },
}
_ENDS = frozenset((*layers.SOFTMAX, layers.NN + "Sigmoid"))
_INSTEAD = {
    "BCELoss": "BCEWithLogitsLoss", "binary_cross_entropy": "binary_cross_entropy_with_logits",
    "NLLLoss": "CrossEntropyLoss", "nll_loss": "cross_entropy",
}  # fmt: skip


class SoftmaxBeforeCrossEntropy(Rule):
    code = "TRK702"
    name = "softmax-before-cross-entropy"
    summary = "a loss is given the wrong kind of output: softmax before cross-entropy, sigmoid before BCE-with-logits …"
    severity = Severity.ERROR
    fix_level = FixLevel.RECIPE
    trick = "Training loop"
    triggers = ("softmax", "Softmax", "sigmoid", "Sigmoid", "BCELoss", "NLLLoss", "binary_cross_entropy", "nll_loss")

    def watched(self, run: Run) -> Iterator[Finding | Clean]:
        """What losses were given, by its values. What one module gives to several losses is one mistake."""
        modules = {one.number: one.module for one in run.forwards}
        given: dict[object, list[tuple[Fact, tuple[str, str]]]] = {}
        for fact in run.facts("loss"):
            wrong = wrong_input(fact)
            if wrong is None:
                continue
            if not wrong:
                yield Clean(self.code, fact.place, f"{fact.data['function']} was given what it expects")
                continue
            row = fact.data.get("forward")
            by = modules.get(row) if row is not None else None
            given.setdefault((by, fact.data["function"]) if by is not None else fact.place, []).append((fact, wrong))
        for facts in given.values():
            fact, wrong = facts[0]
            seen = f"{sum(each.data['count'] for each, _ in facts)} calls, {wrong[1]}"
            yield from run.finding(
                self, fact.place, wrong[0], seen, [(each.place, "and here") for each, _ in facts[1:]]
            )

    def check(self, program: Program) -> Iterator[Finding]:
        found: dict[int, list[tuple[LossComputed, Ending]]] = {}
        for event in program.events(LossComputed):
            wrong = WRONG.get(event.type)
            ending = only_ending(prediction(event)) if wrong is not None else None
            if wrong is None or ending is None or ending.tensor is None or ending.kind not in wrong:
                continue
            found.setdefault(id(place(event, ending)[1]), []).append((event, ending))
        for given in found.values():
            event, ending = given[0]
            file, node = place(event, ending)
            evidence = [program.evidence(event.file, event.node, "the loss is given it here")]
            subject = event.subject
            if isinstance(subject, Instance):
                evidence.append(program.evidence(subject.file, subject.node, f"{subject.label} is made here"))
            others = {id(each.node): each for each, _ in given if each.node is not event.node}
            evidence += [program.evidence(each.file, each.node, "and here") for each in others.values()]
            fix = self.mend(program, event, ending)
            yield program.finding(self, file, node, WRONG[event.type][ending.kind], evidence, fix)

    def mend(self, program: Program, event: LossComputed, ending: Ending) -> Fix | None:
        if ending.kind == "raw":
            return self.other_loss(program, event)
        if event.type == "nll":
            return self.log_softmax(ending)
        return self.without(event, ending)

    def other_loss(self, program: Program, event: Event) -> Fix | None:
        """BCELoss → BCEWithLogitsLoss, NLLLoss → CrossEntropyLoss: the same arguments at the same places."""
        subject = event.subject
        file, node = event.file, event.node
        if isinstance(subject, Instance):
            if subject.file is None or subject.node is None:
                return None
            file, node = subject.file, subject.node
            for other in program.events(LossComputed):
                found = only_ending(prediction(other)) if other.subject is subject else None
                if other.subject is subject and (found is None or found.kind != "raw"):
                    return None
        if not isinstance(node, cst.Call) or not isinstance(node.func, cst.Attribute):
            return None
        instead = _INSTEAD.get(node.func.attr.value)
        if instead is None:
            return None
        edits = build.replace(file.tree, node.func.attr, instead)
        return Fix(FixLevel.UNSAFE, f"use {instead}", edits, "code that reads the output may take it for probabilities")

    def log_softmax(self, ending: Ending) -> Fix | None:
        found = call_of(ending)
        if (
            found is None
            or not isinstance(found[1].func, cst.Attribute)
            or found[1].func.attr.value not in ("softmax", "Softmax")
        ):
            return None
        file, call = found
        assert isinstance(call.func, cst.Attribute)
        instead = "log_softmax" if call.func.attr.value == "softmax" else "LogSoftmax"
        edits = build.replace(file.tree, call.func.attr, instead)
        return Fix(FixLevel.UNSAFE, f"use {instead}", edits, "code that reads the output may take it for probabilities")

    def without(self, event: Event, ending: Ending) -> Fix | None:
        """Take the softmax or sigmoid out."""
        tensor = ending.tensor
        assert tensor is not None
        what = "softmax" if ending.kind == "softmax" else "sigmoid"
        reason = f"everything else that reads this output gets logits; apply the {what} there"
        module = tensor.module if tensor.op == "call" else None
        if module is not None:
            if module.file is None or not isinstance(module.node, cst.Call):
                return None
            tree = module.file.tree
            if module.library not in _ENDS:  # a model that was told to end so
                edits = build.remove_argument(tree, module.node, "activation")
                return Fix(FixLevel.UNSAFE, f"build it without the {what}", edits, reason) if edits else None
            argument = tree.parent(module.node)
            holder = tree.parent(argument) if isinstance(argument, cst.Arg) else None
            if isinstance(holder, cst.Call) and tree.code(holder.func).endswith("Sequential") and len(holder.args) > 1:
                if holder.args[-1] is not argument:
                    return None
                edits = build.remove_argument(tree, holder, argument)
                return Fix(FixLevel.UNSAFE, f"take the {what} out", edits, reason) if edits else None
        found = call_of(ending)
        if found is None:
            return None
        file, call = found
        tree = file.tree
        if isinstance(call.func, cst.Attribute) and not call.args:
            inner: cst.BaseExpression = call.func.value
        elif (
            tensor.op != "call"
            and isinstance(call.func, cst.Attribute)
            and method_of_tensor(tree.code(call.func.value))
        ):
            inner = call.func.value
        elif call.args and not call.args[0].star and call.args[0].keyword is None:
            inner = call.args[0].value
        else:
            return None
        code = tree.text[slice(*build.whole_offsets(tree, inner))]
        loose = isinstance(inner, (cst.BinaryOperation, cst.Comparison, cst.IfExp, cst.Lambda, cst.UnaryOperation))
        if loose and not inner.lpar and not isinstance(tree.parent(call), (cst.Arg, cst.Assign, cst.Return)):
            code = f"({code})"
        name = name_given(tree, call)
        together = file is event.file and scope_at(tree, call) is scope_at(tree, event.node)
        if name is not None and together and read_elsewhere(event, file, name, call):
            # the probabilities are wanted elsewhere: only what the loss is given may change
            argument = loss_argument(event, name)
            if argument is None or not isinstance(inner, cst.Name) or rebound(tree, inner, call):
                return None
            edits = build.replace(tree, argument, code)
            return Fix(FixLevel.RECIPE, f"give the loss the logits, without the {what}", edits, "the loss sees logits")
        edits = without_statement(tree, call, code) or build.replace(tree, call, code)
        direct = file is event.file and any(up is event.node for up in tree.ancestors(call))
        if direct:
            return Fix(FixLevel.RECIPE, f"give the loss the logits, without the {what}", edits, "the loss sees logits")
        return Fix(FixLevel.UNSAFE, f"take the {what} out", edits, reason)


def name_given(tree: Tree, call: cst.Call) -> str | None:
    """The name that a call's result alone is assigned to."""
    assign = tree.parent(call)
    if isinstance(assign, cst.Assign) and len(assign.targets) == 1 and isinstance(assign.targets[0].target, cst.Name):
        return assign.targets[0].target.value
    return None


def scope_at(tree: Tree, node: cst.CSTNode) -> cst.CSTNode | None:
    return next((up for up in tree.ancestors(node) if isinstance(up, (cst.FunctionDef, cst.Lambda))), None)


def read_elsewhere(event: Event, file: FileModule, name: str, call: cst.Call) -> bool:
    """Whether a name is read behind a call, within its function, by anything but the loss."""
    scope = scope_at(file.tree, call) or file.tree.module
    inside = {id(node) for node in walk(event.node)} if file is event.file else set()
    target = file.tree.parent(call)
    own = {id(node) for node in walk(target)} if target is not None else set()
    end = file.tree.offsets(call)[1]
    return any(
        isinstance(node, cst.Name)
        and node.value == name
        and id(node) not in inside | own
        and file.tree.offsets(node)[0] > end
        for node in walk(scope)
    )


def loss_argument(event: Event, name: str) -> cst.Name | None:
    """The first argument of a loss, when it is just that name."""
    if not isinstance(event.node, cst.Call) or not event.node.args:
        return None
    value = event.node.args[0].value
    return value if isinstance(value, cst.Name) and value.value == name else None


def rebound(tree: Tree, name: cst.Name, call: cst.Call) -> bool:
    """Whether a name is bound again behind a call, in its function."""
    at = tree.offsets(call)[0]
    scope = scope_at(tree, call) or tree.module
    return any(
        isinstance(node, (cst.AssignTarget, cst.AugAssign, cst.AnnAssign, cst.For, cst.NamedExpr))
        and any(isinstance(each, cst.Name) and each.value == name.value for each in walk(node.target))
        and tree.offsets(node)[0] > at
        for node in walk(scope)
    )


def without_statement(tree: Tree, call: cst.Call, code: str) -> build.Edits | None:
    """`x = self.softmax(x)` goes whole: `x = x` would be left."""
    assign, line = tree.parent(call), tree.statement_of(call)
    if not isinstance(assign, cst.Assign) or len(assign.targets) != 1 or tree.code(assign.targets[0].target) != code:
        return None
    if not isinstance(line, cst.SimpleStatementLine) or len(line.body) != 1:
        return None
    block = tree.parent(line)
    if not isinstance(block, cst.IndentedBlock) or len(block.body) < 2:
        return None
    return build.remove_statement(tree, line)


def prediction(event: LossComputed) -> Value | None:
    """The first argument of a loss."""
    given = event.positional or ()
    if given:
        return given[0]
    return event.kwargs.get("input")


def place(event: Event, ending: Ending) -> tuple[FileModule, cst.CSTNode]:
    """Where the mistake stands: at the softmax (the layer's construction, or the call); at the loss for raw logits."""
    tensor = ending.tensor
    assert tensor is not None
    if ending.kind == "raw":
        subject = event.subject
        if isinstance(subject, Instance) and subject.file is not None and subject.node is not None:
            return subject.file, subject.node
        return event.file, event.node
    if (
        tensor.op == "call"
        and tensor.module is not None
        and tensor.module.file is not None
        and tensor.module.node is not None
    ):
        return tensor.module.file, tensor.module.node
    assert tensor.file is not None and tensor.node is not None
    return tensor.file, tensor.node


def call_of(ending: Ending) -> tuple[FileModule, cst.Call] | None:
    """The call that applies it: `F.softmax(x, 1)`, `x.softmax(1)`, `self.softmax(x)`, `nn.Softmax(1)(x)`."""
    tensor = ending.tensor
    if tensor is None or tensor.file is None or not isinstance(tensor.node, cst.Call):
        return None
    if tensor.op == "call" and tensor.module is not None:
        module = tensor.module
        if tensor.node.func is module.node:
            return tensor.file, tensor.node
        if module.file is None or module.node is None:
            return None
        assign = module.file.tree.parent(module.node)
        if not isinstance(assign, cst.Assign) or module.file is not tensor.file:
            return None
        code = tensor.file.tree.code(tensor.node.func)
        if not any(module.file.tree.code(target.target) == code for target in assign.targets):
            return None
    return tensor.file, tensor.node


def method_of_tensor(code: str) -> bool:
    """`x.softmax(1)`, not `F.softmax(x, 1)`."""
    return code not in ("F", "nn.functional", "torch", "torch.nn.functional", "functional", "nn.F", "torch.special")
