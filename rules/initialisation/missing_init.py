"""A network that is trained from scratch with the layers' default initialisation.

## What it does
Finds a model whose Linear, Conv, ConvTranspose or Bilinear layers are trained from scratch, with no explicit initialisation
that reaches them: not in the class that owns them, not in a base class, not in the model around it, not in a helper that is
applied to it. A helper that nobody calls reaches nothing, and one that leaves out a kind of hidden layer is told so. There is
one finding for each trained model, at the outermost of its classes (or the `nn.Sequential`) from which one fix reaches all;
the other classes that own such layers are its evidence. Where a wrapper holds one of several nets, each of these is a model.

## Why it costs
PyTorch's default for these layers is `kaiming_uniform_(a=sqrt(5))`, that is U(-1/sqrt(fan_in), 1/sqrt(fan_in)): a
standard deviation 2.45 times below Kaiming's for ReLU. Through a plain ReLU stack the signal shrinks to about 0.41 of
itself in every layer, and the gradient with it, so a deep net without norm layers starts almost dead: there the finding is a
warning. With few layers, norm layers, skips or another activation it matters less: then it is only advice.

## When not to follow it
When norm layers follow every convolution and the recipe you reproduce relies on the default, or when weights are loaded
by code that cannot be seen from here. A single new head on a pretrained net, a layer or two, is left alone by this rule.

## Example
```python
import torch
from torch import nn


class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.hidden = nn.Linear(64, 128)
        self.head = nn.Linear(128, 10)

    def forward(self, x):
        return self.head(self.hidden(x).relu())


model = Net()
optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
```

## After the fix
```python
import torch
from torch import nn


class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.hidden = nn.Linear(64, 128)
        self.head = nn.Linear(128, 10)
        self._init_weights()

    def _init_weights(self):
        for module in self.modules():
            if isinstance(module, nn.Linear):
                nn.init.kaiming_uniform_(module.weight, nonlinearity="relu")
                if module.bias is not None:
                    nn.init.zeros_(module.bias)
        nn.init.xavier_uniform_(self.head.weight)

    def forward(self, x):
        return self.head(self.hidden(x).relu())


model = Net()
optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
```

## Fix level
recipe. An `_init_weights` that is called at the end of `__init__`: Kaiming uniform where a ReLU-like activation follows,
Xavier uniform with the right gain where tanh, sigmoid or nothing does, biases zero; norm layers keep their own defaults.
A leaky ReLU's slope is passed, and that at which a PReLU starts. Where the class has a method that would initialise these
layers and nothing calls it, the fix calls that. The keys and shapes of the `state_dict` stay. The fix stands at the outermost
class that is trained; the classes inside it are reached by it.

It is unsafe where a class inside holds a part of another library, which may initialise its own layers.

There is none for heads on a pretrained part behind which no activation stands: logits may start small. And none where a
convolution draws a picture that goes out through tanh, with no norm right before it: weights by the book start it saturated.

Left alone are pretrained parts, parts that somebody else built and handed in, layers inside `nn.MultiheadAttention` and
the `nn.Transformer…` blocks, which initialise themselves, and layers under weight or spectral norm: their weight is
computed from other parameters, so that writing to it changes nothing.

## Evidence
Test accuracy over 8 paired seeds (kept in `bench/results/`):

- `tricklint verify --recipe vgg-digits`, 16 layers without norms, AdamW: 84.8 % with the default, 93.5 % with Xavier,
  97.7 % with this fix (+12.9 points [+6.0, +19.8], p 0.039): helps.
- `tricklint verify --recipe vgg-digits-sgd`, the same with SGD: 9.1 % with the default, which never starts to learn,
  50.5 % with Xavier (two of eight runs reach 90 %), 98.1 % with this fix (+89.0 points [+88.7, +89.4], p 0.031): helps.
- `tricklint verify --recipe mlp-deep`, 20 layers: 9.0 % → 63.2 % (+54 points [+35, +73], p 0.016): helps.
- `tricklint verify --recipe resnet-pills`, with batch norm: 80.3 % → 87.2 % (+6.9 points [+2.3, +11.5], p 0.047): helps
  there too, though less.

## References
- Glorot and Bengio, Understanding the difficulty of training deep feedforward neural networks, AISTATS 2010
- He et al., Delving Deep into Rectifiers, ICCV 2015
- https://docs.pytorch.org/docs/stable/nn.init.html and https://github.com/pytorch/pytorch/issues/18182
"""

from __future__ import annotations

import math
from collections.abc import Iterator

import libcst as cst

from tricklint.finding import Edit, Evidence, Finding, Fix, FixLevel, Severity
from tricklint.fix import build
from tricklint.interpreter.modules import FileModule
from tricklint.interpreter.values import (
    Class,
    Instance,
    Ref,
)
from tricklint.knowledge import layers
from tricklint.libraries.events import OptimizerBuilt
from tricklint.libraries.facts import ModuleFacts, from_library
from tricklint.libraries.modules import layer_class, submodules
from tricklint.program import Program
from tricklint.program.activations import feeds, following, held_by_norm
from tricklint.program.foreign import foreign_parts
from tricklint.program.init_lines import init_lines
from tricklint.program.init_scope import (
    handed_in,
    helper_of_class,
)
from tricklint.program.initialisation import Initialisation, deep_and_plain, holds_pretrained
from tricklint.program.unreached import Unreached, unreached_models
from tricklint.rule import Rule
from tricklint.source.tree import Tree
from tricklint.watching.record import Clean, Parameter, Run
from tricklint.watching.sources import class_place

LAYERS = frozenset(
    "Linear Conv1d Conv2d Conv3d ConvTranspose1d ConvTranspose2d ConvTranspose3d Bilinear".split()
)
GAINS = frozenset(("relu", "leaky_relu", "selu", "tanh"))  # activations behind which PyTorch's default is too small


def by_default(p: Parameter) -> bool:
    """Whether values are U(±1/√fan_in), as torch.nn draws them: no larger, and of that spread."""
    assert p.statistics is not None
    fan_in = p.size // max(1, p.shape[0])
    if p.layer.startswith("ConvTranspose"):
        fan_in = p.size // max(1, p.shape[0]) if len(p.shape) > 1 else 1
    if p.layer == "Bilinear":
        fan_in = p.shape[1]
    bound = 1 / math.sqrt(max(1, fan_in))
    off = 5 / math.sqrt(max(1, p.size))
    return p.statistics.largest <= bound * 1.0001 and abs(p.statistics.std * math.sqrt(3) / bound - 1) < 0.02 + off


def missed_in_run(run: Run, layers: list[Parameter], default: list[Parameter]) -> list[Parameter]:
    """The layers of kinds of which none was drawn by the project, where it drew all of the other kinds; [] where those
    are heads alone: what behind them meets an activation or a norm is none."""
    kinds = {p.layer for p in default}
    inside = [p for p in layers if p.layer in kinds]
    if len(inside) != len(default) or len(inside) == len(layers):
        return []
    if any((p.layer in kinds) is (p.drawn is not None) for p in layers):
        return []
    met: dict[str, list[str]] = {}
    for fact in run.facts("followed"):
        met |= fact.data["met"]
    inner = {"relu", "leaky_relu", "selu", "norm"}
    return default if any(inner & set(met.get(str(p.number), ())) for p in default) else []


class MissingInit(Rule):
    code = "TRK501"
    name = "missing-init"
    summary = "the layers start from PyTorch's default, U(±1/√fan_in), whatever activation follows them"
    severity = Severity.ADVICE
    fix_level = FixLevel.RECIPE
    trick = "5 - Xavier init"
    triggers = ("optim", "Trainer", "backward(", "nn.Module")

    def watched(self, run: Run) -> Iterator[Finding | Clean]:
        """A model that trains from scratch, all of whose layers began with the numbers of PyTorch's default."""
        for optimizer, model in run.trained():
            layers = [p for p in model.parameters if p.layer in LAYERS and p.kind == "matrix" and p.statistics]
            layers = [p for p in layers if p.number in optimizer.parameters]
            if any(p.loaded for p in model.parameters) or not layers:
                continue
            own = model.own_class
            place = class_place(run, own[1], own[0]) if own is not None else model.place
            if place is None:
                continue
            default = [p for p in layers if p.drawn is None and by_default(p)]
            if not default:
                yield Clean(self.code, place, f"none of its {len(layers)} layers began with PyTorch's default")
            elif len(default) == len(layers) > 1:
                message = f"{model.type} is trained from scratch and its layers keep PyTorch's default init"
                seen = f"before step 1, {len(default)} of {len(layers)} layers had the numbers of PyTorch's default"
                yield from run.finding(self, place, message, seen, [(optimizer.place, f"{optimizer.type} trains it here")])
            elif missed := missed_in_run(run, layers, default):
                kinds = " and ".join(sorted({p.layer for p in missed}))
                message = f"the initialisation of {model.type} misses its {kinds} layers: they keep PyTorch's default"
                seen = f"before step 1, {len(missed)} of {len(layers)} layers had the numbers of PyTorch's default"
                yield from run.finding(self, place, message, seen, [(optimizer.place, f"{optimizer.type} trains it here")])

    def check(self, program: Program) -> Iterator[Finding]:
        for found in unreached_models(program):
            yield self.report(program, found)

    def report(self, program: Program, found: Unreached) -> Finding:
        module = found.place
        assert module.file is not None and module.node is not None
        every = [layer for owner in found.owners for layer in owner.layers]
        kinds = " and ".join(sorted({layer_class(layer).rpartition(".")[2] for layer in every}))
        name = module.label if isinstance(module.cls, Class) else "this Sequential"
        deep = deep_and_plain(module) and not found.missed and not found.beside
        if found.missed:
            message = f"the initialisation of {name} misses its {' and '.join(found.missed)} layers: they keep PyTorch's default"
        elif found.beside:
            message = f"{name} trains new {kinds} layers beside a pretrained part, and they keep PyTorch's default init"
        else:
            message = f"{name} is trained from scratch and its {kinds} layers keep PyTorch's default init"
        if deep:
            message += "; it is deep and has neither norm layers nor skips, so the signal dies out"
        fix = self.mend(program, found) if not found.missed else None
        file, node = (module.cls.file, module.cls.node) if isinstance(module.cls, Class) else (module.file, module.node)
        return program.finding(
            self, file, node, message, self.evidence(program, found), fix,
            severity=Severity.WARNING if deep else Severity.ADVICE,
        )  # fmt: skip

    @staticmethod
    def evidence(program: Program, found: Unreached) -> list[Evidence | None]:
        """Where the model is built and trained, and which other classes own layers that are not reached."""
        module, event = found.place, found.event
        label = event.subject.label if isinstance(event.subject, Instance) else "it"
        trained = f"{label} trains it here" if isinstance(event, OptimizerBuilt) else "it is trained here"
        built = isinstance(module.cls, Class) and not isinstance(module.node, (cst.ClassDef, cst.FunctionDef))
        shown = [
            program.evidence(module.file, module.node, f"{module.label} is built here") if built else None,
            program.evidence(event.file, event.node, trained),
            *part_of(program, found),
        ]
        for owner in found.owners:
            cls = owner.module.cls
            if cls is module.cls or owner.module is module:
                continue
            kinds = " and ".join(sorted({layer_class(layer).rpartition(".")[2] for layer in owner.layers}))
            file, node = (cls.file, cls.node) if isinstance(cls, Class) else (owner.module.file, owner.module.node)
            shown.append(program.evidence(file, node, f"its {owner.module.label} has {kinds} layers, not reached either"))
        return shown

    # -- fixes -----------------------------------------------------------------------------------------------------------

    def mend(self, program: Program, found: Unreached) -> Fix | None:
        """An initialisation of all that is not reached below the place, in its class or behind the call that builds it."""
        module = found.place
        cls = module.cls
        if not isinstance(cls, Class):
            return self.mend_sequential(program, module)
        every = [layer for owner in found.owners for layer in owner.layers]
        if found.beside and not any(following(program, layer) in GAINS for layer in every):
            return None  # heads on what was trained: no activation asks for larger weights, and logits start small
        if any(saturates(program, layer) for layer in every):
            return None
        tree = cls.file.tree
        init = cls.fields.get("__init__")
        node = getattr(init, "node", None)
        if not isinstance(node, cst.FunctionDef) or not isinstance(node.body, cst.IndentedBlock):
            return None
        if any(child.library.startswith("torch.nn.Lazy") or scripted_in(module, child) for _, child in submodules(module)):
            return None
        if any(isinstance(n, (cst.Return, cst.Raise)) for n in _top_level(node)):
            return None
        init_of = Initialisation.of(program)
        self_name = node.params.params[0].name.value if node.params.params else "self"
        if len(every) == 1 and any(
            init_of.reaches_any([layer])
            for whole in found.wholes
            for _, layer in submodules(whole)
            if layer_class(layer) in layers.WEIGHTED
        ):
            return None  # the rest has an initialisation of its own: what is left is a head
        helper = helper_of_class(program, module, every)
        if helper:
            called = build.insert_after(tree, node.body.body[-1], [f"{self_name}.{helper}()"])
            what = f"call {cls.name}.{helper} at the end of __init__"
            return Fix(FixLevel.RECIPE, what, called, "training starts from other weights") if called else None
        nn = nn_name(cls.file)
        imports: tuple[Edit, ...] = ()
        if nn is None:
            added = build.add_import(tree, "import torch.nn as nn")
            if added is None:
                return None
            imports, nn = added, "nn"
        others = handed_in(program, module)
        reach = self.reachable(program, module, others)
        if reach is None or any(id(layer) in others for layer in every):
            return None
        gone_over = {id(layer) for path, layer in submodules(module) if not reach or path.partition(".")[0] in reach}
        left = [layer for layer in every if id(layer) not in gone_over]
        if any(not init_of.reaches_any([layer]) for layer in left):
            return None  # half of what was found would be left
        name = "_init_weights" if cls.lookup("_init_weights") is None else "_init_parameters"
        if cls.lookup(name) is not None:
            return None
        uses = [following(program, layer) for _, layer in submodules(module) if layer_class(layer) in layers.WEIGHTED]
        if all(activation is None for activation in uses) and module.fact(ModuleFacts).output is None:
            return None  # its forward could not be followed: no gain is the right one
        body = init_lines(program, module, self_name, nn, reach)
        if body is None:
            return None
        call = build.insert_after(tree, node.body.body[-1], [f"{self_name}.{name}()"])
        lines = ["", f"def {name}({self_name}):", *(f"    {line}" for line in body)]
        method = build.insert_after(tree, node, lines)
        if method is not None and not blank_below(tree, node, method[0].location.row):
            method = build.insert_after(tree, node, [*lines, ""])
        if call is None or method is None:
            return None
        if call[0].location == method[0].location:  # __init__ is the class's last statement: one edit for both
            merged = call[0].content + method[0].content
            call, method = (Edit(call[0].path, call[0].location, call[0].end_location, merged),), ()
        level, reason = FixLevel.RECIPE, "training starts from other weights"
        inside = next((part for _, part in submodules(module) if part is not module and foreign_parts(part)), None)
        if inside is not None and not reach:
            level = FixLevel.UNSAFE
            reason = f"{inside.label} holds a part that cannot be followed, whose layers this reaches as well"
        return Fix(
            level,
            f"initialise the layers in {cls.name}.{name}, called at the end of __init__",
            (*imports, *call, *method),
            reason,
        )

    @staticmethod
    def reachable(program: Program, module: Instance, others: set[int]) -> list[str] | None:
        """The children to go over: [] for all of `self.modules()`; None when no fix is safe. Pretrained parts, those that
        a library built (it initialises them, and a flag may ask for their weights), those that have an initialisation of
        their own, those that somebody else built (`others` are their layers) and those that come from nobody knows where
        are left out."""
        init = Initialisation.of(program)

        def taken(part: Instance) -> bool:
            if holds_pretrained(part) or any(from_library(child) for _, child in submodules(part)):
                return True
            weighted = [child for _, child in submodules(part) if layer_class(child) in layers.WEIGHTED]
            return init.reaches_any(weighted) or any(id(layer) in others for layer in weighted)

        if not taken(module) and not foreign_parts(module):
            return []
        names = []
        for name, value in module.fields.items():
            if isinstance(value, Instance) and value.kind == "module" and not taken(value):
                if any(layer_class(child) in layers.WEIGHTED for _, child in submodules(value)):
                    if not str(name).isidentifier():
                        return None
                    names.append(str(name))
        return names or None

    def mend_sequential(self, program: Program, module: Instance) -> Fix | None:
        from tricklint.rules.transfer.unfrozen_backbone import assignment_target

        if module.file is None or module.node is None:
            return None
        tree = module.file.tree
        statement = tree.statement_of(module.node)
        target = assignment_target(tree, statement, module.node)
        nn = nn_name(module.file)
        if target is None or statement is None or nn is None:
            return None
        inside = [layer for _, layer in submodules(module) if layer_class(layer) in layers.WEIGHTED]
        if all(following(program, layer) is None for layer in inside):
            return None  # no gain is the right one
        if any(saturates(program, layer) for layer in inside):
            return None
        lines = init_lines(program, module, target, nn, [])
        if lines is None:
            return None
        edits = build.insert_after(tree, statement, lines)
        if edits is None:
            return None
        return Fix(FixLevel.RECIPE, "initialise the layers after they are built", edits, "training starts from other weights")


def scripted_in(module: Instance, child: Instance) -> bool:
    """Whether TorchScript has compiled a part when the module's constructor ends: `isinstance(part, nn.Linear)` is false then."""
    at = child.fact(ModuleFacts).scripted
    return at is not None and child is not module and at < module.seq


def saturates(program: Program, layer: Instance) -> bool:
    """Whether a convolution draws a picture that leaves the model through tanh, out of what no norm keeps in size: with
    Kaiming's weights before it and tanh's gain in it, the picture would start black and white."""
    if layer_class(layer) not in layers.CONV or following(program, layer) != "tanh":
        return False
    return not feeds(program, layer, beyond=False) and not held_by_norm(program, layer)


def blank_below(tree: Tree, method: cst.FunctionDef, row: int) -> bool:
    """Whether a blank row, or nothing of the class, follows a method that ends in `row`."""
    block = tree.parent(method)
    last = not isinstance(block, cst.IndentedBlock) or block.body[-1] is method
    return last or not tree.line(row + 1).strip()


def part_of(program: Program, found: Unreached) -> Iterator[Evidence | None]:
    """The trained models that the finding's module is a part of, where these are classes of their own."""
    classes = {id(whole.cls): whole.cls for whole in found.wholes if isinstance(whole.cls, Class)}
    for cls in classes.values():
        if cls is not found.place.cls:
            yield program.evidence(cls.file, cls.node, f"it is trained as a part of {cls.name}")


def _top_level(node: cst.FunctionDef) -> Iterator[cst.CSTNode]:
    """Small statements of a function's own body, not of functions inside it."""
    stack: list[cst.CSTNode] = [*node.body.body]
    while stack:
        at = stack.pop()
        if isinstance(at, (cst.FunctionDef, cst.ClassDef, cst.Lambda)):
            continue
        if isinstance(at, cst.SimpleStatementLine):
            yield from at.body
        elif isinstance(at, cst.Return):
            yield at
        for name in ("body", "orelse", "finalbody", "handlers"):
            inner = getattr(at, name, None)
            if isinstance(inner, cst.BaseSuite):
                stack.extend(inner.body)
            elif isinstance(inner, cst.CSTNode):
                stack.append(inner)


def nn_name(file: FileModule) -> str | None:
    """How a file spells torch.nn."""
    for name, value in file.names.items():
        if isinstance(value, Ref) and value.name == "torch.nn":
            return name
    for name, value in file.names.items():
        if isinstance(value, Ref) and value.name == "torch":
            return f"{name}.nn"
    return None
