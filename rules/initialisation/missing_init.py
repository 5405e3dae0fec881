"""A network that is trained from scratch with the layers' default initialisation.

## What it does
Finds an `nn.Module` class (or a trained `nn.Sequential`) that owns Linear, Conv, ConvTranspose or Bilinear layers, is
trained from scratch, and has no explicit initialisation that reaches them: not in the class, not in a base class, not in
the model around it, not in a helper that is applied to it. A helper that nobody calls reaches nothing, and one that
leaves out a kind of hidden layer is told so.

## Why it costs
PyTorch's default for these layers is `kaiming_uniform_(a=sqrt(5))`, that is U(-1/sqrt(fan_in), 1/sqrt(fan_in)): a
standard deviation 2.45 times below Kaiming's for ReLU. Through a plain ReLU stack the signal shrinks to about 0.41 of
itself in every layer, and the gradient with it, so a deep net without norm layers starts almost dead. With norm layers
or skips it matters little: then this rule is only advice.

## When not to follow it
When norm layers follow every convolution and the recipe you reproduce relies on the default, or when weights are loaded
by code that cannot be seen from here. A single new head on a pretrained net is left alone by this rule.

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
The keys and shapes of the `state_dict` stay. The fix stands at the outermost class that is trained; the classes inside
it are reached by it.

## Evidence
Test accuracy over 8 paired seeds (kept in `bench/results/`):

- `tricklint verify --recipe vgg-digits`, 16 layers without norms, AdamW: 84.3 % with the default, 95.0 % with Xavier,
  97.7 % with this fix (+13.3 points [+8.8, +17.9], p 0.039): helps.
- `tricklint verify --recipe vgg-digits-sgd`, the same with SGD: 9.1 % with the default, which never starts to learn,
  56.7 % with Xavier (four of eight runs reach 90 %), 98.2 % with this fix (+89.1 points [+88.3, +89.9], p 0.031): helps.
- `tricklint verify --recipe mlp-deep`, 20 layers: 9.0 % → 70.2 % (+61 points [+48, +74], p 0.016): helps.
- `tricklint verify --recipe resnet-pills`, with batch norm: 80.3 % → 87.2 % (+6.9 points [+2.3, +11.5], p 0.047): helps
  there too, though less.

## References
- Glorot and Bengio, Understanding the difficulty of training deep feedforward neural networks, AISTATS 2010
- He et al., Delving Deep into Rectifiers, ICCV 2015
- https://docs.pytorch.org/docs/stable/nn.init.html and https://github.com/pytorch/pytorch/issues/18182
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator

import libcst as cst

from tricklint.finding import Edit, Evidence, Finding, Fix, FixLevel, Severity
from tricklint.fix import build
from tricklint.interpreter.events import Event
from tricklint.interpreter.modules import FileModule
from tricklint.interpreter.values import (
    Class,
    Func,
    Instance,
    Ref,
    Unknown,
    members,
)
from tricklint.knowledge import frameworks, layers
from tricklint.libraries.events import OptimizerBuilt, WeightsLoaded
from tricklint.libraries.facts import ModuleFacts, OptimizerFacts
from tricklint.libraries.modules import submodules
from tricklint.libraries.paramsets import ParamSet
from tricklint.program import Program
from tricklint.program.activations import following
from tricklint.program.heads import rare_heads
from tricklint.program.initialisation import Initialisation, deep_and_plain, holds_pretrained, owned
from tricklint.rule import Rule
from tricklint.source.tree import walk


class MissingInit(Rule):
    code = "TRK501"
    name = "missing-init"
    summary = "the default init is 2.45 times too small for ReLU; without norms or skips the signal dies in the depth"
    severity = Severity.ADVICE
    fix_level = FixLevel.RECIPE
    trick = "5 - Xavier init"
    triggers = ("optim", "Trainer", "backward(", "nn.Module")

    def check(self, program: Program) -> Iterator[Finding]:
        init = Initialisation.of(program)
        by_class: dict[Class, list[tuple[Instance, Event]]] = defaultdict(list)
        sequentials: list[tuple[Instance, OptimizerBuilt]] = []
        for module, events in program.trained.values():
            if isinstance(module.cls, Class):
                by_class[module.cls].append((module, events[0]))
        for built in program.events(OptimizerBuilt):
            for group in built.subject.fact(OptimizerFacts).groups:
                for root in program_roots(group.params):
                    if root.library == "torch.nn.Sequential" and root.part_of is None:
                        sequentials.append((root, built))
                    for outer in trained_in_parts(program, init, root):
                        if outer not in (module for module, _ in by_class[outer.cls]):  # type: ignore[index]
                            by_class[outer.cls].append((outer, built))  # type: ignore[index]
        flagged = {cls: made for cls, made in by_class.items() if self.unreached(program, init, cls, made)}
        inside: dict[int, set[Class]] = defaultdict(set)  # which flagged classes hold a module
        for cls, made in flagged.items():
            for outer, _ in made:
                for _, child in submodules(outer)[1:]:
                    inside[id(child)].add(cls)
        for cls, made in flagged.items():
            yield self.report(program, cls, made, inside)
        seen: set[int] = set()
        for module, event in sequentials:
            if id(module.node) not in seen and self.plain_sequential(program, init, module):
                seen.add(id(module.node))
                yield self.report_sequential(program, module, event)

    # -- what is missing -------------------------------------------------------------------------------------------------

    def unreached(
        self, program: Program, init: Initialisation, cls: Class, made: list[tuple[Instance, Event]]
    ) -> bool:
        if not cls.knows_bases or any(name.startswith("transformers.") for name in cls.libraries()):
            return False
        scratch: set[int] = set()  # where the models that start anew are built, and where those that are loaded
        loaded: set[int] = set()
        for module, event in made:
            if not program.complete(event) or module.fact(ModuleFacts).loss_class:
                return False
            if init.too_late(event) or init.only_tested(module, event):
                continue
            found = [layer for _, layer in owned(module) if not only_by_choice(program, module, layer)]
            if not found:
                continue
            if init.reaches_any(found) and not self.missed(program, init, module):
                return False
            if init.escapes(found[0], harmless):
                return False
            if init.loaded(found[0]):  # a later stage goes on from a checkpoint: the first one may still start anew
                loaded.add(id(module.node))
                continue
            scratch.add(id(module.node))
            if holds_pretrained(module):
                recurrent = sum(child.library in layers.RECURRENT for _, child in submodules(module))
                if len(found) + recurrent < 2:
                    return False
                if all(layer.library in layers.LINEAR for layer in found) and not recurrent:
                    return False
            elif any(part_of_small_head(outer) for outer in init.holders(module) if outer is not module):
                return False
        return bool(scratch) and not scratch & loaded

    @staticmethod
    def missed(program: Program, init: Initialisation, module: Instance) -> list[str]:
        """Kinds of layers that a helper's tests on layer classes leave out altogether, when they are more than the head."""
        by_kind: dict[str, list[Instance]] = defaultdict(list)
        for _, layer in owned(module):
            by_kind[layer.library].append(layer)
        reached = {kind for kind, found in by_kind.items() if init.reaches_any(found)}
        events = [event for kind in reached for layer in by_kind[kind] for event in init.reaching(layer)]
        if not events or not all(isinstance(e.subject, ParamSet) and tells_kinds(e.subject) for e in events):
            return []
        missed = []
        for kind in sorted(set(by_kind) - reached):
            if any(following(program, layer) not in (None, "none") for layer in by_kind[kind]):
                missed.append(kind.rpartition(".")[2])
        return missed

    def plain_sequential(self, program: Program, init: Initialisation, module: Instance) -> bool:
        found = [layer for _, layer in owned(module)]
        if not found or is_module_class(module.made_in) or holds_pretrained(module):
            return False
        if len(init.holders(module)) > 1 or init.loaded(found[0]) or init.escapes(found[0], harmless):
            return False
        return not init.reaches_any(found)

    # -- findings --------------------------------------------------------------------------------------------------------

    def report(
        self,
        program: Program,
        cls: Class,
        made: list[tuple[Instance, Event]],
        inside: dict[int, set[Class]],
    ) -> Finding:
        init = Initialisation.of(program)
        module, event = next(((m, e) for m, e in made if any(owned(m)) and not goes_on(init, m, e)), made[0])
        kinds = sorted({layer.library.rpartition(".")[2] for _, layer in owned(module)})
        deep = deep_and_plain(module)
        message = f"{cls.name} is trained from scratch and its {' and '.join(kinds)} layers keep PyTorch's default init"
        missed = self.missed(program, init, module)
        if missed:
            message = f"the initialisation of {cls.name} misses its {' and '.join(missed)} layers: they keep PyTorch's default"
        deep = deep and not missed
        if deep:
            message += "; it is deep and has neither norm layers nor skips, so the signal dies out"
        trained = event.subject
        label = trained.label if isinstance(trained, Instance) else "it"
        what = f"{label} trains it here" if isinstance(event, OptimizerBuilt) else "it is trained here"
        evidence: list[Evidence | None] = [
            program.evidence(module.file, module.node, f"{cls.name} is built here")
            if not isinstance(module.node, (cst.ClassDef, cst.FunctionDef))
            else None,
            program.evidence(event.file, event.node, what),
        ]
        outermost = not inside[id(module)] - {cls}
        fix = self.mend(program, cls, module) if outermost and not missed else None
        return program.finding(
            self,
            cls.file,
            cls.node,
            message,
            evidence,
            fix,
            severity=Severity.WARNING if deep else Severity.ADVICE,
        )

    def report_sequential(self, program: Program, module: Instance, event: OptimizerBuilt) -> Finding:
        assert module.file is not None and module.node is not None
        message = "this Sequential is trained from scratch and its layers keep PyTorch's default init"
        evidence = [program.evidence(event.file, event.node, f"{event.subject.label} trains it here")]
        return program.finding(
            self, module.file, module.node, message, evidence, self.mend_sequential(program, module),
            severity=Severity.WARNING if deep_and_plain(module) else Severity.ADVICE,
        )  # fmt: skip

    # -- fixes -----------------------------------------------------------------------------------------------------------

    def mend(self, program: Program, cls: Class, module: Instance) -> Fix | None:
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
        nn = nn_name(cls.file)
        imports: tuple[Edit, ...] = ()
        if nn is None:
            added = build.add_import(tree, "import torch.nn as nn")
            if added is None:
                return None
            imports, nn = added, "nn"
        reach = self.reachable(program, module)
        if reach is None:
            return None
        name = "_init_weights" if cls.lookup("_init_weights") is None else "_init_parameters"
        if cls.lookup(name) is not None:
            return None
        uses = [following(program, layer) for _, layer in submodules(module) if layer.library in layers.WEIGHTED]
        if all(activation is None for activation in uses) and module.fact(ModuleFacts).output is None:
            return None  # its forward could not be followed: no gain is the right one
        body = init_lines(program, module, self_name, nn, reach)
        call = build.insert_after(tree, node.body.body[-1], [f"{self_name}.{name}()"])
        method = build.insert_after(tree, node, ["", f"def {name}({self_name}):", *(f"    {line}" for line in body)])
        if call is None or method is None:
            return None
        if call[0].location == method[0].location:  # __init__ is the class's last statement: one edit for both
            merged = call[0].content + method[0].content
            call, method = (Edit(call[0].path, call[0].location, call[0].end_location, merged),), ()
        return Fix(
            FixLevel.RECIPE,
            f"initialise the layers in {cls.name}.{name}, called at the end of __init__",
            (*imports, *call, *method),
            "training starts from other weights",
        )

    @staticmethod
    def reachable(program: Program, module: Instance) -> list[str] | None:
        """The children to go over: [] for all of `self.modules()`; None when no fix is safe. Pretrained parts, those that
        have an initialisation of their own, and those that come from nobody knows where are left out."""
        init = Initialisation.of(program)

        def taken(part: Instance) -> bool:
            weighted = [child for _, child in submodules(part) if child.library in layers.WEIGHTED]
            return holds_pretrained(part) or init.reaches_any(weighted)

        if not taken(module) and not foreign_parts(module):
            return []
        names = []
        for name, value in module.fields.items():
            if isinstance(value, Instance) and value.kind == "module" and not taken(value):
                if any(child.library in layers.WEIGHTED for _, child in submodules(value)):
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
        lines = init_lines(program, module, target, nn, [])
        edits = build.insert_after(tree, statement, lines)
        if edits is None:
            return None
        return Fix(FixLevel.RECIPE, "initialise the layers after they are built", edits, "training starts from other weights")


def goes_on(init: Initialisation, module: Instance, event: Event) -> bool:
    """Whether `event` trains a model further that a checkpoint was loaded into."""
    loaded = any(init.loaded(layer) for _, layer in owned(module))
    return loaded and not init.too_late(event) and not init.only_tested(module, event)


def tells_kinds(chosen: ParamSet) -> bool:
    """Whether a loop over modules picks them by their class."""
    return any(pred.op in ("isinstance", "classname_contains", "classname") and not pred.negated for pred in chosen.preds)


def foreign_parts(module: Instance) -> list[str]:
    """Attributes that the class calls or goes over as it would modules, without a trace of what they are: an argument,
    or something another library made, which may be pretrained."""
    if not isinstance(module.cls, Class):
        return []
    unknown = {
        str(name)
        for name, value in module.fields.items()
        if any(isinstance(m, Unknown) or (isinstance(m, Instance) and m.kind == "") for m in members(value))
    }
    used: set[str] = set()
    for cls in module.cls.mro() if unknown else ():
        for func in cls.fields.values() if isinstance(cls, Class) else ():
            for node in walk(func.node) if isinstance(func, Func) and func.node is not None else ():
                if isinstance(node, cst.Call):
                    used.update(own_attribute(node.func))
                elif isinstance(node, (cst.For, cst.CompFor)):
                    for each in walk(node.iter):
                        used.update(own_attribute(each))
    return sorted(unknown & used)


def own_attribute(node: cst.CSTNode) -> tuple[str, ...]:
    """("layers",) for `self.layers`, and for `self.layers[0]` and `self.layers.forward`."""
    if isinstance(node, cst.Subscript) or (isinstance(node, cst.Attribute) and node.attr.value == "forward"):
        node = node.value
    if isinstance(node, cst.Attribute) and isinstance(node.value, cst.Name) and node.value.value == "self":
        return (node.attr.value,)
    return ()


def is_module(value: object) -> bool:
    return any(isinstance(member, Instance) and member.kind in ("module", "loss", "") for member in members(value))  # type: ignore[arg-type]


def quoted(name: object) -> str:
    return f'"{name}"'


def part_of_small_head(outer: Instance) -> bool:
    """Whether all that is new in a model around a pretrained net is a layer or two: its head."""
    if not holds_pretrained(outer):
        return False
    new = [child for _, child in submodules(outer) if child.library in layers.WEIGHTED and child.part_of is None]
    return len(new) < 3


def harmless(to: str) -> bool:
    return to in frameworks.HARMLESS or to.startswith(frameworks.HARMLESS_PREFIXES)


def only_by_choice(program: Program, module: Instance, layer: Instance) -> bool:
    """A layer on a branch of `__init__` that the defaults do not take: the module mostly goes without it."""
    built, holder = program.made.get(id(layer)), program.made.get(id(module))
    if not built or not holder:
        return False
    known = {id(step.node) for step in holder[0].path}
    return any(step.taken is False and id(step.node) not in known for step in built[0].path)


def is_module_class(cls: Class | None) -> bool:
    return cls is not None and (not cls.knows_bases or "torch.nn.Module" in cls.libraries())


def trained_in_parts(program: Program, init: Initialisation, part: Instance) -> Iterator[Instance]:
    """The model around `part` all of whose own layers some optimizer is given, part by part: an actor and its critic."""
    for outer in init.holders(part):
        if outer is part or outer.cls is not part.made_in or program.trained_by(outer):
            continue
        if all(program.trained_by(layer) for _, layer in owned(outer)) and not parts_loaded(program, outer):
            yield outer


def parts_loaded(program: Program, module: Instance) -> bool:
    """Whether weights are loaded into something below `module`: what is new beside them is a head."""
    below = {id(child) for _, child in submodules(module)[1:]}
    return any(id(event.subject) in below for event in program.events(WeightsLoaded))


def program_roots(params: object) -> list[Instance]:
    from tricklint.libraries.paramsets import roots_of

    return roots_of(params)  # type: ignore[arg-type]


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


def scheme(activation: str | None, nn: str, weight: str) -> str:
    """The init call for a weight whose output goes into `activation` (gains: torch.nn.init.calculate_gain)."""
    if activation in ("relu", "leaky_relu"):
        return f'{nn}.init.kaiming_uniform_({weight}, nonlinearity="{activation}")'
    if activation == "selu":
        return f'{nn}.init.kaiming_normal_({weight}, nonlinearity="linear")'
    if activation == "tanh":
        return f'{nn}.init.xavier_uniform_({weight}, gain={nn}.init.calculate_gain("tanh"))'
    return f"{nn}.init.xavier_uniform_({weight})"


def init_lines(program: Program, module: Instance, self_name: str, nn: str, children: list[str]) -> list[str]:
    """The statements that initialise every weight layer below `module`."""
    kinds: dict[str, list[tuple[str, str | None]]] = defaultdict(list)  # layer class → (path, activation)
    for path, layer in submodules(module):
        if layer.library in layers.WEIGHTED and (not children or path.partition(".")[0] in children):
            kinds[layer.library.rpartition(".")[2]].append((path, following(program, layer)))
    rare = rare_heads(program)  # their bias is another rule's matter: zero would be wrong for them
    spared = [spelled(module, path, self_name) for path, layer in submodules(module) if id(layer) in rare]
    biased = "module.bias is not None" + "".join(f" and module is not {name}" for name in spared if name)
    majority: dict[str, str] = {}
    for kind, uses in kinds.items():
        known = [activation for _, activation in uses]
        counts = {activation: known.count(activation) for activation in known if activation is not None}
        best = max(counts, key=lambda a: (counts[a], a != "none")) if counts else "none"
        majority[kind] = scheme(best, nn, "module.weight")
    by_scheme: dict[str, list[str]] = defaultdict(list)
    for kind, call in majority.items():
        by_scheme[call].append(f"{nn}.{kind}")
    lines: list[str] = []
    inner = "    "
    if children:
        foreign = foreign_parts(module)
        others = [
            name
            for name, value in module.fields.items()
            if (is_module(value) or name in foreign) and name not in children
        ]
        plain = all(isinstance(value, Instance) for value in module.fields.values() if is_module(value))
        listed = ", ".join(f"{self_name}.{name}" for name in children)
        if len(children) == 1:
            lines.append(f"for module in {listed}.modules():")
        elif plain and len(others) < len(children) and len(children) > 3:
            named = f"== {quoted(others[0])}" if len(others) == 1 else f"in ({', '.join(map(quoted, others))})"
            lines.append(f"for name, part in {self_name}.named_children():")
            lines.append(f"    if name {named}:")
            lines.append("        continue")
            lines.append("    for module in part.modules():")
            inner = "        "
        else:
            lines.append(f"for part in ({listed}):")
            lines.append("    for module in part.modules():")
            inner = "        "
    else:
        lines.append(f"for module in {self_name}.modules():")
    word = "if"
    for call, names in by_scheme.items():
        test = names[0] if len(names) == 1 else f"({', '.join(names)})"
        lines.append(f"{inner}{word} isinstance(module, {test}):")
        lines.append(f"{inner}    {call}")
        lines.append(f"{inner}    if {biased}:")
        lines.append(f"{inner}        {nn}.init.zeros_(module.bias)")
        word = "elif"
    for kind, uses in kinds.items():
        for path, activation in uses:
            wanted = scheme(activation, nn, "module.weight")
            if activation is None or wanted == majority[kind] or len(uses) == 1:
                continue
            name = spelled(module, path, self_name)
            if name:
                lines.append(scheme(activation, nn, f"{name}.weight"))
    return lines


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
            written += f"[{part}]"
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


def surely_last(holder: Instance, part: str, layer: Instance) -> bool:
    """The layer is put at the end of the list on every path, right before the list becomes a module."""
    if max((int(key) for key in map(str, holder.fields) if key.isdigit()), default=-1) != int(part):
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
