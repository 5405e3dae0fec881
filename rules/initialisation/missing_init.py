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
A leaky ReLU's slope is passed. Where the class has a method that would initialise these layers and nothing calls it, the
fix calls that. The keys and shapes of the `state_dict` stay. The fix stands at the outermost class that is trained; the
classes inside it are reached by it.

It is unsafe where a class inside holds a part of another library, which may initialise its own layers.

Left alone are pretrained parts, parts that somebody else built and handed in, layers inside `nn.MultiheadAttention` and
the `nn.Transformer…` blocks, which initialise themselves, and layers under weight or spectral norm: their weight is
computed from other parameters, so that writing to it changes nothing.

## Evidence
Test accuracy over 8 paired seeds (kept in `bench/results/`):

- `tricklint verify --recipe vgg-digits`, 16 layers without norms, AdamW: 84.8 % with the default, 93.5 % with Xavier,
  97.7 % with this fix (+12.9 points [+6.0, +19.8], p 0.039): helps.
- `tricklint verify --recipe vgg-digits-sgd`, the same with SGD: 9.1 % with the default, which never starts to learn,
  56.7 % with Xavier (four of eight runs reach 90 %), 98.2 % with this fix (+89.1 points [+88.3, +89.9], p 0.031): helps.
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
from collections import defaultdict
from collections.abc import Iterator

import libcst as cst

from tricklint.finding import Edit, Evidence, Finding, Fix, FixLevel, Severity
from tricklint.fix import build
from tricklint.interpreter.modules import FileModule
from tricklint.interpreter.values import (
    Class,
    Instance,
    Ref,
    members,
)
from tricklint.knowledge import layers
from tricklint.libraries.events import OptimizerBuilt
from tricklint.libraries.facts import ModuleFacts, from_library
from tricklint.libraries.modules import layer_class, submodules
from tricklint.program import Program
from tricklint.program.activations import following, slope_after
from tricklint.program.foreign import foreign_parts
from tricklint.program.heads import rare_heads
from tricklint.program.init_scope import (
    computed_weights,
    handed_in,
    has_computed_weight,
    helper_of_class,
    library_blocks,
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
        tree = cls.file.tree
        init = cls.fields.get("__init__")
        node = getattr(init, "node", None)
        if not isinstance(node, cst.FunctionDef) or not isinstance(node.body, cst.IndentedBlock):
            return None
        if any(child.library.startswith("torch.nn.Lazy") for _, child in submodules(module)):
            return None
        if any(isinstance(n, (cst.Return, cst.Raise)) for n in _top_level(node)):
            return None
        self_name = node.params.params[0].name.value if node.params.params else "self"
        helper = helper_of_class(program, module, [layer for owner in found.owners for layer in owner.layers])
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
        if reach is None or any(id(layer) in others for owner in found.owners for layer in owner.layers):
            return None
        gone_over = {id(layer) for path, layer in submodules(module) if not reach or path.partition(".")[0] in reach}
        init_of = Initialisation.of(program)
        left = [layer for owner in found.owners for layer in owner.layers if id(layer) not in gone_over]
        if any(not init_of.reaches_any([layer]) for layer in left):
            return None  # half of what was found would be left
        name = "_init_weights" if cls.lookup("_init_weights") is None else "_init_parameters"
        if cls.lookup(name) is not None:
            return None
        uses = [following(program, layer) for _, layer in submodules(module) if layer_class(layer) in layers.WEIGHTED]
        if all(activation is None for activation in uses) and module.fact(ModuleFacts).output is None:
            return None  # its forward could not be followed: no gain is the right one
        body = init_lines(program, module, self_name, nn, reach)
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
        uses = [following(program, layer) for _, layer in submodules(module) if layer_class(layer) in layers.WEIGHTED]
        if all(activation is None for activation in uses):
            return None  # no gain is the right one
        lines = init_lines(program, module, target, nn, [])
        edits = build.insert_after(tree, statement, lines)
        if edits is None:
            return None
        return Fix(FixLevel.RECIPE, "initialise the layers after they are built", edits, "training starts from other weights")


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


def is_layer(value: object) -> bool:
    """A layer with weights, and none below it."""
    return isinstance(value, Instance) and len(submodules(value)) == 1 and layer_class(value) in layers.WEIGHTED


def is_module(value: object) -> bool:
    return any(isinstance(member, Instance) and member.kind in ("module", "loss", "") for member in members(value))  # type: ignore[arg-type]


def quoted(name: object) -> str:
    return f'"{name}"'


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


def scheme(activation: str | None, nn: str, weight: str, slope: float | None = None) -> str:
    """The init call for a weight whose output goes into `activation` (gains: torch.nn.init.calculate_gain)."""
    if activation == "leaky_relu" and slope is not None and slope != 0.01:
        return f'{nn}.init.kaiming_uniform_({weight}, a={slope:g}, nonlinearity="leaky_relu")'
    if activation in ("relu", "leaky_relu"):
        return f'{nn}.init.kaiming_uniform_({weight}, nonlinearity="{activation}")'
    if activation == "selu":
        return f'{nn}.init.kaiming_normal_({weight}, nonlinearity="linear")'
    if activation == "tanh":
        return f'{nn}.init.xavier_uniform_({weight}, gain={nn}.init.calculate_gain("tanh"))'
    return f"{nn}.init.xavier_uniform_({weight})"


def init_lines(program: Program, module: Instance, self_name: str, nn: str, children: list[str]) -> list[str]:
    """The statements that initialise every weight layer below `module`."""
    # layer class → (path, the init that suits the layer; None where what follows is not known)
    kinds: dict[str, list[tuple[str, str | None]]] = defaultdict(list)
    for path, layer in submodules(module):
        mine = layer_class(layer) in layers.WEIGHTED and (not children or path.partition(".")[0] in children)
        if mine and not has_computed_weight(layer):
            activation = following(program, layer)
            suited = activation and scheme(activation, nn, "{}.weight", slope_after(program, layer))
            kinds[layer_class(layer).rpartition(".")[2]].append((path, suited))
    rare = rare_heads(program)  # their bias is another rule's matter: zero would be wrong for them
    spared: dict[str, list[str]] = defaultdict(list)
    for path, layer in submodules(module):
        if id(layer) in rare and (name := spelled(module, path, self_name)):
            spared[layer_class(layer).rpartition(".")[2]].append(name)
    plain = scheme("none", nn, "{}.weight")
    majority: dict[str, str] = {}
    for kind, uses in kinds.items():
        known = [suited for _, suited in uses if suited is not None]
        majority[kind] = max(known, key=lambda each: (known.count(each), each != plain)) if known else plain
    by_scheme: dict[str, list[str]] = defaultdict(list)
    for kind, call in majority.items():
        by_scheme[call].append(kind)
    only = module.fields[children[0]] if len(children) == 1 else None
    if isinstance(only, Instance) and is_layer(only) and len(majority) == 1:
        return one_layer(only, f"{self_name}.{children[0]}", next(iter(majority.values())), nn, id(only) in rare)
    lines = [*blocks_apart(module, self_name, nn), *loop_over(module, self_name, children)]
    inner = " " * (len(lines[-1]) - len(lines[-1].lstrip()) + 4)
    skipped = computed_weights(module, nn, "module")
    if library_blocks(module):
        skipped.insert(0, "module in theirs")
    if skipped:
        lines += [f"{inner}if {' or '.join(skipped)}:", f"{inner}    continue"]
    word = "if"
    untested = len(by_scheme) == 1 and not skipped and lines[-1].startswith("for module in (")  # layers of these kinds alone
    for call, same in by_scheme.items():
        names = [f"{nn}.{kind}" for kind in same]
        test = names[0] if len(names) == 1 else f"({', '.join(names)})"
        if untested:
            inner = inner[4:]
        else:
            lines.append(f"{inner}{word} isinstance(module, {test}):")
        lines.append(f"{inner}    {call.format('module')}")
        apart = [name for kind in same for name in spared[kind]]
        if apart:
            lines.append(f"{inner}    # positives are rare: the head's bias is to say so")
        biased = "module.bias is not None" + "".join(f" and module is not {name}" for name in apart)
        lines.append(f"{inner}    if {biased}:")
        lines.append(f"{inner}        {nn}.init.zeros_(module.bias)")
        word = "elif"
    for kind, uses in kinds.items():
        for path, suited in uses:
            if suited is None or suited == majority[kind] or len(uses) == 1:
                continue
            name = spelled(module, path, self_name)
            if name:
                lines.append(suited.format(name))
    return lines


def one_layer(layer: Instance, name: str, call: str, nn: str, rare: bool) -> list[str]:
    """The initialisation of a single layer; of a head whose positives are rare the bias is another rule's matter."""
    lines = [call.format(name)]
    if ("bias" in layer.kwargs or len(layer.args) > 2) and not rare:
        lines += [f"if {name}.bias is not None:", f"    {nn}.init.zeros_({name}.bias)"]
    elif not rare:
        lines.append(f"{nn}.init.zeros_({name}.bias)")
    return lines


def blocks_apart(module: Instance, self_name: str, nn: str) -> list[str]:
    """Names the layers inside blocks of torch.nn that initialise themselves, where there are any."""
    blocks = [f"{nn}.{name}" for name in library_blocks(module)]
    if not blocks:
        return []
    listed = blocks[0] if len(blocks) == 1 else f"({', '.join(blocks)})"
    return [
        f"blocks = [module for module in {self_name}.modules() if isinstance(module, {listed})]",
        "theirs = {part for block in blocks for part in block.modules()}  # they have an initialisation of their own",
    ]


def loop_over(module: Instance, self_name: str, children: list[str]) -> list[str]:
    """The header of a loop over all modules, or over those in some children; the last line is the innermost."""
    if not children:
        return [f"for module in {self_name}.modules():"]
    foreign = foreign_parts(module)
    others = [
        name for name, value in module.fields.items() if (is_module(value) or name in foreign) and name not in children
    ]
    plain = all(isinstance(value, Instance) for value in module.fields.values() if is_module(value))
    listed = ", ".join(f"{self_name}.{name}" for name in children)
    if len(children) == 1:
        return [f"for module in {listed}.modules():"]
    if len(listed) < 90 and all(is_layer(module.fields[name]) for name in children):
        return [f"for module in ({listed}):"]
    if plain and len(others) < len(children) and len(children) > 3:
        named = f"== {quoted(others[0])}" if len(others) == 1 else f"in ({', '.join(map(quoted, others))})"
        skip = [f"    if name {named}:", "        continue"]
        return [f"for name, part in {self_name}.named_children():", *skip, "    for module in part.modules():"]
    return [f"for part in ({listed}):", "    for module in part.modules():"]


def spelled(module: Instance, path: str, self_name: str) -> str:
    """`features.3` as it is written in the class: `self.features[3]`; "" when the path is too deep or dynamic, or when
    how many layers come before it may change from one model to the next."""
    parts = path.split(".")
    if len(parts) > 2 or not all(part.isidentifier() or part.isdigit() for part in parts):
        return ""
    written, holder = self_name, module
    for part in parts:
        held = next((m for m in members(holder.fields.get(part)) if isinstance(m, Instance)), None)
        if not part.isdigit():
            written += f".{part}"
        elif part == "0" or lists_its_layers(holder):
            written += "[-1]" if part != "0" and last_of(holder) == int(part) else f"[{part}]"
        elif held is not None and surely_last(holder, part, held):
            written += "[-1]"
        else:
            return ""
        if held is None:
            return written if part is parts[-1] else ""
        holder = held
    return written


def lists_its_layers(holder: Instance) -> bool:
    """`nn.Sequential(a, b, c)` and `nn.ModuleList([a, b, c])`, not `nn.Sequential(*layers)`."""
    call = holder.node
    if not isinstance(call, cst.Call) or not call.args or any(arg.star for arg in call.args):
        return False
    if len(call.args) > 1 or "ModuleList" not in holder.library:
        return not isinstance(call.args[0].value, cst.Name) or "Sequential" in holder.library
    only = call.args[0].value
    return isinstance(only, (cst.List, cst.Tuple)) and all(isinstance(each, cst.Element) for each in only.elements)


def last_of(holder: Instance) -> int:
    """The number of its last layer."""
    return max((int(key) for key in map(str, holder.fields) if key.isdigit()), default=-1)


def surely_last(holder: Instance, part: str, layer: Instance) -> bool:
    """The layer is put at the end of the list on every path, right before the list becomes a module."""
    if last_of(holder) != int(part):
        return False
    if layer.file is None or layer.file is not holder.file or layer.node is None or holder.node is None:
        return False
    tree = layer.file.tree
    made, built = tree.statement_of(layer.node), tree.statement_of(holder.node)
    block = tree.parent(built) if built is not None else None
    if not isinstance(block, cst.IndentedBlock) or made is built or made is None or tree.parent(made) is not block:
        return False
    body = list(block.body)
    between = body[body.index(made) + 1 : body.index(built)]  # type: ignore[arg-type]
    return all(isinstance(each, cst.SimpleStatementLine) for each in between)
