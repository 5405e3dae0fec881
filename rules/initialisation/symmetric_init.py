"""Weights of a hidden layer that all start at one number.

## What it does
Finds an initialisation that sets all weights of a hidden Linear or conv layer to one constant: `nn.init.constant_`,
`zeros_`, `ones_`, `weight.data.fill_(0.1)`, `weight.data.zero_()`, `nn.Parameter(torch.zeros(...))` put in the place
of the weight, also from an init function that is applied to the net. A layer is hidden when its output goes on,
through an activation, into another layer with weights. Biases may be constant, and so may the layer that gives the
output.

## Why it costs
All units of such a layer compute the same thing. As far as the next layer treats them alike they also get the same
gradient, so they stay copies of one another: a layer of 512 units learns what one unit can. With zeros and a ReLU it
is worse: the output is zero, no gradient comes through, and neither this layer nor those before it learn at all.

## When not to follow it
Zeros are right in the last layer of a residual branch (the block starts as the identity), in the output layer, in
LoRA's second matrix and in gates; the rule is silent on these. It also leaves frozen layers alone (a fixed blur or
Sobel filter), layers with one output, and convolutions with groups. In a lesson that shows what symmetry does,
suppress it.

## Example
```python
from torch import nn


class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.hidden = nn.Linear(64, 128)
        self.head = nn.Linear(128, 10)
        nn.init.constant_(self.hidden.weight, 0.01)
        nn.init.zeros_(self.hidden.bias)

    def forward(self, x):
        return self.head(self.hidden(x).relu())
```

## After the fix
```python
from torch import nn


class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.hidden = nn.Linear(64, 128)
        self.head = nn.Linear(128, 10)
        nn.init.kaiming_uniform_(self.hidden.weight, nonlinearity="relu")
        nn.init.zeros_(self.hidden.bias)

    def forward(self, x):
        return self.head(self.hidden(x).relu())
```

## Fix level
recipe, or unsafe where the constant is a variable. The call draws random weights instead: Kaiming uniform where a ReLU follows, Xavier uniform with the right
gain where tanh, a sigmoid or nothing does. It is offered for calls of `nn.init` whose layers are all followed by the
same activation; where the tensor is filled by hand, or the call also reaches vectors, the rule only tells.

## Evidence
Follows from the symmetry: units that start equal are given equal gradients in every step and stay equal. No recipe
measures it; `tricklint verify train.py` does so for your own net.

## References
- Goodfellow, Bengio and Courville, Deep Learning, 2016, section 8.4 (breaking symmetry)
- Glorot and Bengio, Understanding the difficulty of training deep feedforward neural networks, AISTATS 2010
- https://docs.pytorch.org/docs/stable/nn.init.html
"""

from __future__ import annotations

import re
from collections.abc import Iterator

import libcst as cst

from tricklint.finding import Evidence, Finding, Fix, FixLevel, Severity
from tricklint.fix import build
from tricklint.interpreter.events import Event
from tricklint.interpreter.values import (
    Class,
    Instance,
    first,
    number,
)
from tricklint.libraries.events import Froze, WeightsLoaded
from tricklint.libraries.paramsets import ParamSet
from tricklint.program import Program
from tricklint.program.activations import Activation, feeds, following
from tricklint.program.inits import WeightInit, constant, weight_inits
from tricklint.program.slots import picks_anywhere, slots
from tricklint.rule import Rule
from tricklint.source.tree import Tree, dotted
from tricklint.watching.record import Clean, Run

_NUMBERS = (cst.Integer, cst.Float, cst.UnaryOperation)


class SymmetricInit(Rule):
    code = "TRK504"
    name = "symmetric-init"
    summary = "all weights of a hidden layer start equal, so its units stay copies of one another"
    severity = Severity.ERROR
    fix_level = FixLevel.RECIPE
    trick = "5 - Xavier init"
    triggers = ("init.constant", "zeros_(", "ones_(", "fill_(", "zero_(", "full_like", "nn.Module")

    def watched(self, run: Run) -> Iterator[Finding | Clean]:
        """Weights of a hidden layer that were one number when training began."""
        for optimizer, model in run.trained():
            layers = [p for p in model.parameters if p.kind == "matrix" and p.number in optimizer.parameters and p.statistics]
            for p in layers[:-1]:
                assert p.statistics is not None
                if p.drawn is None or len(p.shape) < 2:
                    continue
                if not p.statistics.constant:
                    yield Clean(self.code, p.drawn[1], f"{p.name} began with a standard deviation of {p.statistics.std:.2g}")
                elif p.shape[0] > 1 and p.statistics.least != 0:
                    value = p.statistics.least
                    message = f"all weights of {p.name} start at {value:g}: its units compute the same and learn the same"
                    seen = f"before step 1, all {p.size:,} numbers of {p.name} were {value:g}"
                    yield from run.finding(self, p.drawn[1], message, seen)

    def check(self, program: Program) -> Iterator[Finding]:
        for place in weight_inits(program):
            wrong: list[tuple[float, Instance]] = []
            for event, layer in place.layers:
                value = constant(event)
                if value is None or not self.many_units(layer) or self.frozen(program, layer):
                    continue
                # zeros before a sum are a residual branch that starts as the identity
                if feeds(program, layer, additions=value != 0) and self.matters(program, place, layer):
                    wrong.append((value, layer))
            if wrong:
                yield self.report(program, place, wrong)

    @staticmethod
    def many_units(layer: Instance) -> bool:
        """The layer is known to have several outputs that share their inputs."""
        outputs = layer.kwargs.get("out_features") or layer.kwargs.get("out_channels")
        if outputs is None and len(layer.args) > 1:
            outputs = layer.args[1]
        groups = layer.passed(6, "groups")
        if number(outputs) == 1:
            return False
        return groups is None or number(groups) == 1

    @staticmethod
    def frozen(program: Program, layer: Instance) -> bool:
        """The code may freeze the weights: a fixed filter."""
        weight = next((slot for slot in slots(layer) if slot.name == "weight"), None)
        for event in program.events(Froze):
            if event.value is True or weight is None:
                continue
            subject = event.subject
            if isinstance(subject, ParamSet) and picks_anywhere(subject, weight) != 0:
                return True
        return False

    @staticmethod
    def matters(program: Program, place: WeightInit, layer: Instance) -> bool:
        """The init is part of a class, or of a program that trains: not a test that wants known numbers."""
        if not all(called(program, event) for event in place.events):
            return False
        if program.trained_by(layer):
            return True
        in_class = any(isinstance(func.owner, Class) for event in place.events for func in event.stack)
        return in_class and not program.events(WeightsLoaded) and not place.events[0].file.holds_unit_tests

    def report(self, program: Program, place: WeightInit, wrong: list[tuple[float, Instance]]) -> Finding:
        event = place.events[0]
        value = wrong[0][0]
        kinds = sorted({layer.label for _, layer in wrong})
        what = f"the hidden {' and '.join(kinds)} layers" if len(wrong) > 1 else f"a hidden {kinds[0]} layer"
        message = f"all weights of {what} start at {value:g}: their units compute the same and learn the same"
        evidence: list[Evidence | None] = []
        seen: set[int] = set()
        for _, layer in wrong:
            if layer.node is not None and id(layer.node) not in seen and len(seen) < 3:
                seen.add(id(layer.node))
                evidence.append(program.evidence(layer.file, layer.node, "its output goes into another layer"))
        return program.finding(self, event.file, event.node, message, evidence, self.mend(program, place, wrong))

    def mend(self, program: Program, place: WeightInit, wrong: list[tuple[float, Instance]]) -> Fix | None:
        event = place.events[0]
        after = {following(program, layer) for _, layer in wrong}
        if len(after) != 1 or not isinstance(event.node, cst.Call) or self.reaches_others(place):
            return None
        activation = after.pop()
        edits = _random(event.file.tree, event.node, activation) if activation is not None else None
        if not edits:
            return None
        written = all(isinstance(arg.value, _NUMBERS) for arg in event.node.args[1:])
        if not written:
            reason = "the constant is set elsewhere, where it has no effect any more"
            return Fix(FixLevel.UNSAFE, "draw random weights", edits, reason)
        return Fix(FixLevel.RECIPE, "draw random weights", edits, "training starts from other weights")

    @staticmethod
    def reaches_others(place: WeightInit) -> bool:
        """The call also fills biases or norm weights, which a random init cannot or must not touch."""
        for event in place.events:
            subject = event.subject
            if not isinstance(subject, ParamSet) or not isinstance(first(subject.root), Instance):
                return True
            root = first(subject.root)
            assert isinstance(root, Instance)
            mine = {id(layer) for _, layer in place.layers}
            for slot in slots(root):
                if (id(slot.owner) not in mine or slot.name != "weight") and picks_anywhere(subject, slot) != 0:
                    return True
        return False


def called(program: Program, event: Event) -> bool:
    """False for what a method does that no code of the project mentions, in a class that no library calls by itself."""
    func = event.stack[0] if event.stack else None
    if func is None or not isinstance(func.owner, Class) or not isinstance(event.calls[0][1], cst.FunctionDef):
        return True
    name = func.name
    if name.startswith("__") or name == "forward" or set(func.owner.libraries()) != {"torch.nn.Module"}:
        return True
    mentioned = re.compile(rf"(?:^|(?<=\r))[^#\n\r]*\.{re.escape(name)}\b", re.MULTILINE)
    return any(name in source.text and mentioned.search(source.text) for source in program.sources.values())


def _random(tree: Tree, call: cst.Call, after: Activation) -> build.Edits | None:
    """`nn.init.constant_(w, c)` → `nn.init.kaiming_uniform_(w, nonlinearity="relu")`."""
    func = call.func
    tail = func.attr.value if isinstance(func, cst.Attribute) else ""
    if not isinstance(func, cst.Attribute) or tail not in ("constant_", "zeros_", "ones_", "constant"):
        return None
    if not dotted(func.value).endswith("init") or not call.args or call.args[0].star:
        return None
    if call.args[0].keyword is not None and call.args[0].keyword.value != "tensor":
        return None
    prefix, tensor = tree.code(func.value), tree.code(call.args[0].value)
    if after in ("relu", "leaky_relu"):
        code = f'{prefix}.kaiming_uniform_({tensor}, nonlinearity="{after}")'
    elif after == "tanh":
        code = f'{prefix}.xavier_uniform_({tensor}, gain={prefix}.calculate_gain("tanh"))'
    elif after == "selu":
        code = f'{prefix}.kaiming_normal_({tensor}, nonlinearity="linear")'
    else:
        code = f"{prefix}.xavier_uniform_({tensor})"
    return build.replace(tree, call, code)
