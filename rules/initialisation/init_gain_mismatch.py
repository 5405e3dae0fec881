"""An initialisation whose gain belongs to another activation than the one that follows.

## What it does
Finds `nn.init.kaiming_*`, `xavier_*` and `orthogonal_` calls whose gain is that of one activation while the layers
they initialise are followed by another: Kaiming for ReLU in front of a tanh or sigmoid, `calculate_gain("tanh")` in
front of a ReLU, PyTorch's own `a=sqrt(5)` written out in front of a ReLU. Which activation follows is read off
`forward`, through dropout, pooling, reshaping and sums, also where it stands in another class.

## Why it costs
The gain is there to keep the size of the signal the same from layer to layer: sqrt(2) makes up for the half that a
ReLU cuts off, 5/3 for the slope of tanh, 1 is for layers with no activation. With the wrong one the signal grows or
shrinks by the ratio of the two in every layer; in front of tanh and sigmoid a gain that is too large also saturates
them, and what is saturated does not learn.

## When not to follow it
When a norm layer stands between (its output does not depend on the gain, and the rule is silent there), when the
scale is tuned on purpose (the rule only speaks about gains that belong to an activation), or when you reproduce a
paper's init. An init loop over the whole net is only reported when it fits none of the activations in it. Xavier's
default gain of 1 in front of a ReLU is reported with `--pedantic` only.

## Example
```python
from torch import nn


class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.hidden = nn.Linear(64, 128)
        self.head = nn.Linear(128, 10)
        nn.init.kaiming_normal_(self.hidden.weight, nonlinearity="relu")
        nn.init.zeros_(self.hidden.bias)

    def forward(self, x):
        return self.head(self.hidden(x).tanh())
```

## After the fix
```python
from torch import nn


class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.hidden = nn.Linear(64, 128)
        self.head = nn.Linear(128, 10)
        nn.init.kaiming_normal_(self.hidden.weight, nonlinearity="tanh")
        nn.init.zeros_(self.hidden.bias)

    def forward(self, x):
        return self.head(self.hidden(x).tanh())
```

## Fix level
recipe. Only the `nonlinearity`, `a` or `gain` argument changes, so the weights are drawn from the same distribution
at another scale. There is no fix where the gain is a variable that other calls share, or where the layers of one call
are followed by different activations.

## Evidence
`tricklint verify --recipe vgg-digits` trains 16 ReLU layers without norms with Xavier's gain of 1 and with the
activation's own: test accuracy 93.5 % against 97.7 % (+4.3 points [+0.7, +7.8] over 8 paired seeds). With SGD
(`--recipe vgg-digits-sgd`) only two of eight runs with gain 1 reach 90 %: 50.5 % against 98.1 % in the mean.

## References
- Glorot and Bengio, Understanding the difficulty of training deep feedforward neural networks, AISTATS 2010
- He et al., Delving Deep into Rectifiers, ICCV 2015, equations 10 and 14
- https://docs.pytorch.org/docs/stable/nn.init.html#torch.nn.init.calculate_gain
"""

from __future__ import annotations

import math
from collections.abc import Iterator

import libcst as cst

from tricklint.finding import Evidence, Finding, Fix, FixLevel, Severity
from tricklint.fix import build
from tricklint.interpreter.modules import FileModule
from tricklint.interpreter.values import (
    Class,
    Instance,
)
from tricklint.libraries.events import WeightsLoaded
from tricklint.program import Program
from tricklint.program.activations import Activation, following, rescaled
from tricklint.program.gains import RIGHT_GAIN, Declared, agreement, declared, drawn
from tricklint.program.inits import WeightInit, weight_inits
from tricklint.rule import Rule
from tricklint.source.tree import Tree, dotted
from tricklint.watching.record import Clean, Frame, Parameter, Place, Run

_SPOKEN = {
    "relu": "a ReLU", "leaky_relu": "a leaky ReLU", "tanh": "tanh", "sigmoid": "a sigmoid", "selu": "SELU",
    "linear": "no activation", "default": "PyTorch's default",
}  # fmt: skip
# What `nonlinearity=` and `calculate_gain` call it (for SELU the docs ask for the gain of a linear layer)
_SPOKEN_AFTER: dict[str, str] = {**_SPOKEN, "none": _SPOKEN["linear"]}
_ARGUMENT = {"relu": "relu", "leaky_relu": "leaky_relu", "tanh": "tanh", "sigmoid": "sigmoid", "selu": "linear"}
_NUMBER = {"relu": "2**0.5", "leaky_relu": "2**0.5", "tanh": "5 / 3", "sigmoid": "1.0", "selu": "1.0"}


class InitGainMismatch(Rule):
    code = "TRK502"
    name = "init-gain-mismatch"
    summary = "the init's gain belongs to another activation, so the signal grows or shrinks in every layer"
    severity = Severity.WARNING
    fix_level = FixLevel.RECIPE
    trick = "5 - Xavier init"
    triggers = ("kaiming_", "xavier_", "orthogonal_", "calculate_gain", "nn.Module")

    def watched(self, run: Run) -> Iterator[Finding | Clean]:
        """Weights that were drawn by the project and trained, and what autograd's graph shows behind their layers."""
        met: dict[str, list[str]] = {}
        for fact in run.facts("followed"):
            met |= fact.data["met"]
        drawn_at: dict[Frame, list[tuple[Parameter, Declared, Activation]]] = {}
        for optimizer, model in run.trained():
            for p in model.parameters:
                after = met_next(set(met.get(str(p.number), ())))
                if p.drawn is None or p.drawn.place.at is None or p.number not in optimizer.parameters or after is None:
                    continue
                gain = drawn(p.drawn.function, p.drawn.given)
                if gain is not None and as_drawn(p, gain):
                    drawn_at.setdefault(p.drawn.place.at, []).append((p, gain, after))
        for layers in drawn_at.values():
            verdicts = [agreement(gain, after) for _, gain, after in layers]
            place = layers[0][0].drawn.place if layers[0][0].drawn is not None else Place()
            wrong = [one for one, verdict in zip(layers, verdicts, strict=True) if verdict == "wrong"]
            if "fits" in verdicts:
                yield Clean(
                    self.code,
                    place,
                    f"{_SPOKEN_AFTER[layers[verdicts.index('fits')][2]]} follows {layers[verdicts.index('fits')][0].name}",
                )
            elif wrong:
                p, gain, _ = wrong[0]
                message = told(gain, {after for _, _, after in wrong})
                seen = f"the output of {', '.join(one.name for one, _, _ in wrong[:3])} met {_SPOKEN_AFTER[wrong[0][2]]} in autograd's graph"
                yield from run.finding(self, place, message, seen)

    def check(self, program: Program) -> Iterator[Finding]:
        for place in weight_inits(program):
            wrong: list[tuple[Declared, Activation, Instance]] = []
            fits = False
            surely = False
            for event, layer in place.layers:
                gain = declared(event)
                after = following(program, layer)
                if gain is None or after is None:
                    continue
                verdict = agreement(gain, after)
                if verdict == "fits":
                    fits = True
                elif verdict != "neutral" and not rescaled(program, layer) and self.matters(program, place, layer):
                    wrong.append((gain, after, layer))
                    surely = surely or verdict == "wrong"
            if wrong and not fits:
                yield self.report(program, place, wrong, pedantic=not surely)

    @staticmethod
    def matters(program: Program, place: WeightInit, layer: Instance) -> bool:
        """The init is part of a class, or of a program that trains: not the prelude of loading a checkpoint."""
        if program.trained_by(layer):
            return True
        in_class = any(isinstance(func.owner, Class) for event in place.events for func in event.stack)
        return in_class and not program.events(WeightsLoaded)

    def report(
        self, program: Program, place: WeightInit, wrong: list[tuple[Declared, Activation, Instance]], pedantic: bool
    ) -> Finding:
        event = place.events[0]
        gain, after, _ = wrong[0]
        all_after = {activation for _, activation, _ in wrong}
        message = told(gain, all_after)
        evidence: list[Evidence | None] = []
        seen: set[int] = set()
        for _, activation, layer in wrong:
            if layer.node is not None and id(layer.node) not in seen and len(seen) < 3:
                seen.add(id(layer.node))
                evidence.append(program.evidence(layer.file, layer.node, f"{_SPOKEN[activation]} follows this layer"))
        fix = self.mend(event.file, event.node, gain, after) if len(all_after) == 1 else None
        return program.finding(self, event.file, event.node, message, evidence, fix, pedantic=pedantic)

    def mend(self, file: FileModule, call: cst.CSTNode, gain: Declared, after: Activation) -> Fix | None:
        if not isinstance(call, cst.Call):
            return None
        edits = _kaiming(file.tree, call, after) if gain.kaiming else _gain(file.tree, call, after)
        if not edits:
            return None
        message = f"take the gain of {_SPOKEN[after]}"
        return Fix(FixLevel.RECIPE, message, edits, "training starts from weights of another scale")


def told(gain: Declared, after: set[Activation]) -> str:
    what = " or ".join(sorted(_SPOKEN_AFTER[one] for one in after))
    right = ", ".join(sorted({f"{RIGHT_GAIN[one]:.3g}" for one in after}))
    return f"these weights are drawn with gain {gain.value:.3g}, that of {_SPOKEN[gain.family]}, but {what} follows (gain {right})"


def met_next(met: set[str]) -> Activation | None:
    """The one activation that a layer's output meets; None behind a norm, whose output no gain changes, where the way
    could not be followed, and where several ask for different gains."""
    if not met or met & {"norm", "unknown"}:
        return None
    active = met - {"none", "loss", "end"}
    if not active:
        return "none"
    if len(active) > 1 or (active & {"tanh", "sigmoid"} and met - active):
        return None  # a gate beside the signal; logits whose sigmoid only a metric takes
    return active.pop()  # type: ignore[return-value]


def as_drawn(p: Parameter, gain: Declared) -> bool:
    """Whether the weights had the spread of that draw before the first step: nothing has scaled or loaded them since."""
    if p.statistics is None or p.drawn is None or p.loaded is not None or len(p.shape) < 2:
        return False
    field = p.size // (p.shape[0] * p.shape[1])
    ins, outs = p.shape[1] * field, p.shape[0] * field
    if gain.kaiming:
        spread = gain.value / math.sqrt(outs if p.drawn.given.get("mode") == "fan_out" else ins)
    else:
        spread = gain.value * math.sqrt(2 / (ins + outs))
    return abs(p.statistics.std / spread - 1) < 0.02 + 5 / math.sqrt(2 * p.size)


def _argument(call: cst.Call, position: int, name: str) -> cst.Arg | None:
    for arg in call.args:
        if arg.keyword is not None and arg.keyword.value == name:
            return arg
    positional = [arg for arg in call.args if arg.keyword is None]
    if any(arg.star for arg in call.args):
        return None
    return positional[position] if position < len(positional) else None


def _is_text(node: cst.BaseExpression) -> bool:
    return isinstance(node, cst.SimpleString)


def _kaiming(tree: Tree, call: cst.Call, after: Activation) -> build.Edits | None:
    """`kaiming_normal_(w, a=0, mode="fan_in", nonlinearity="leaky_relu")` with the right nonlinearity."""
    if any(arg.star for arg in call.args):
        return None
    wanted = f'"{_ARGUMENT[after]}"'
    slope, named = _argument(call, 1, "a"), _argument(call, 3, "nonlinearity")
    if named is not None:
        if not _is_text(named.value):
            return None
        if isinstance(named.value, cst.SimpleString) and named.value.raw_value == _ARGUMENT[after]:
            return build.replace(tree, slope.value, "0") if slope is not None else None
        return build.replace(tree, named.value, wanted)
    if slope is None:
        return build.set_argument(tree, call, "nonlinearity", wanted)
    if slope.keyword is not None:
        return build.replace(tree, slope, f"nonlinearity={wanted}")
    return None


def _gain(tree: Tree, call: cst.Call, after: Activation) -> build.Edits | None:
    """`xavier_uniform_(w, gain=…)` with the gain of `after`."""
    if any(arg.star for arg in call.args):
        return None
    passed = _argument(call, 1, "gain")
    value = passed.value if passed is not None else None
    if isinstance(value, cst.Call) and len(value.args) == 1 and _is_text(value.args[0].value):
        if dotted(value.func).endswith("calculate_gain"):
            return build.replace(tree, value.args[0].value, f'"{_ARGUMENT[after]}"')
    if isinstance(value, (cst.Name, cst.Attribute, cst.Subscript)):
        return None
    prefix = call.func.value if isinstance(call.func, cst.Attribute) else None
    code = f'{tree.code(prefix)}.calculate_gain("{_ARGUMENT[after]}")' if prefix is not None else _NUMBER[after]
    if passed is None:
        return build.set_argument(tree, call, "gain", code)
    return build.replace(tree, passed.value, code)
