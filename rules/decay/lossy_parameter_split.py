"""A hand-written split of parameters into groups that loses some, holds one twice, or splits nothing.

## What it does
Follows the loop or comprehension that sorts a model's parameters into groups with and without weight decay, and holds
it against the model that it is applied to. It reports parameters that no group gets (the widely copied `isinstance(m,
(nn.Conv2d, nn.Linear))` loop never sees a bare `nn.Parameter`, an LSTM or `nn.MultiheadAttention`), attributes that
are None and are put into a group all the same (a norm without affine parameters, a layer without bias), parameters
that two groups get, `name not in no_decay` with parts of names (whole names such as `encoder.0.bias` are never in
that list, so nothing is split), a list of names that spares norms but not those of this model, and a split of which only
the group with decay is handed on.

## Why it costs
A parameter that no optimizer holds never trains: a class token, a positional embedding or a whole LSTM stays as it
was drawn, and nothing says so. A None or a parameter in two groups stops the run, or is updated twice a step. A split
that splits nothing decays what it was written to spare.

## When not to follow it
When parameters are left out on purpose: freeze them with `requires_grad_(False)`, then nobody has to guess. A test
that all groups share (`if "teacher" in name: continue`) counts as such a purpose.

## Example
```python
import torch
from torch import nn


class Classifier(nn.Module):
    def __init__(self):
        super().__init__()
        self.token = nn.Parameter(torch.zeros(1, 1, 16))
        self.proj = nn.Linear(16, 4)

    def forward(self, x):
        return self.proj(x + self.token)


def split_weights(net):
    decay, no_decay = [], []
    for m in net.modules():
        if isinstance(m, (nn.Conv2d, nn.Linear)):
            decay.append(m.weight)
            if m.bias is not None:
                no_decay.append(m.bias)
        else:
            if hasattr(m, "weight"):
                no_decay.append(m.weight)
            if hasattr(m, "bias"):
                no_decay.append(m.bias)
    return [dict(params=decay), dict(params=no_decay, weight_decay=0)]


model = Classifier()
optimizer = torch.optim.SGD(split_weights(model), lr=0.1, weight_decay=1e-4)
```

## After the fix
```python
import torch
from torch import nn


class Classifier(nn.Module):
    def __init__(self):
        super().__init__()
        self.token = nn.Parameter(torch.zeros(1, 1, 16))
        self.proj = nn.Linear(16, 4)

    def forward(self, x):
        return self.proj(x + self.token)


def split_weights(net):
    decay, no_decay = [], []
    for name, param in net.named_parameters():
        if param.ndim < 2 or name.endswith("bias"):
            no_decay.append(param)
        else:
            decay.append(param)
    return [dict(params=decay), dict(params=no_decay, weight_decay=0)]


model = Classifier()
optimizer = torch.optim.SGD(split_weights(model), lr=0.1, weight_decay=1e-4)
```

## Fix level
recipe. A loop that fills one list with decay and one without becomes a loop over `named_parameters()`, which sees
every parameter once: matrices decay, biases, norms and other vectors do not. `name in no_decay` becomes `any(part in
name for part in no_decay)`, and a list of names gets the norms that it lacks. Where the model has embeddings that the
loop did not decay, or the lists are filled elsewhere too, the fix is unsafe or absent.

## Evidence
`tricklint check --trace` builds the model and counts: it names every parameter that the optimizer does not hold.

## References
- The slides' `split_weights`, from https://github.com/weiaicunzai/Bag_of_Tricks_for_Image_Classification_with_Convolutional_Neural_Networks
- https://docs.pytorch.org/docs/stable/optim.html#per-parameter-options
- timm.optim.param_groups_weight_decay, https://github.com/huggingface/pytorch-image-models
"""

from __future__ import annotations

from collections.abc import Iterator, Sized

import libcst as cst

from tricklint.finding import Evidence, Finding, Fix, FixLevel, Keeps, Severity
from tricklint.fix import build
from tricklint.interpreter.events import Event
from tricklint.interpreter.modules import FileModule
from tricklint.interpreter.values import (
    Instance,
    Pred,
    Sequence,
)
from tricklint.knowledge import layers
from tricklint.libraries.events import OptimizerBuilt
from tricklint.libraries.paramsets import OfLowered, ParamSet
from tricklint.program import Program
from tricklint.program.decay import is_vector, vectors_of
from tricklint.program.slots import Slot, slots
from tricklint.program.splits import (
    Split,
    half_spared,
    lost,
    missed_norms,
    nones,
    one_sided,
    origin,
    split_of,
    twice,
    whole_names,
)
from tricklint.rule import Rule
from tricklint.source.tree import Tree, walk
from tricklint.watching.record import Clean, Optimizer, Parameter, Run


class LossyParameterSplit(Rule):
    code = "TRK602"
    name = "lossy-parameter-split"
    summary = "a split of the parameters loses some, holds one twice, or splits nothing"
    severity = Severity.ERROR
    fix_level = FixLevel.RECIPE
    trick = "6 - No bias decay"
    triggers = ("optim", "weight_decay", "no_decay", "param_groups")

    def check(self, program: Program) -> Iterator[Finding]:
        seen: set[int] = set()
        for event in program.events(OptimizerBuilt):
            optimizer = event.subject
            if not isinstance(optimizer, Instance) or not event.possible:
                continue
            split = split_of(program, optimizer)
            problem = self.problem(program, event, split) if split is not None else None
            if problem is None:
                problem = self.left_behind(program, event, optimizer)
            if problem is not None and id(problem[1]) not in seen:
                seen.add(id(problem[1]))
                yield self.report(program, event, *problem)

    def watched(self, run: Run) -> Iterator[Finding | Clean]:
        """A split into groups that lost parameters of a model whose others it holds; what no optimizer got counts."""
        held = {number for optimizer in run.optimizers for number in optimizer.parameters}
        for optimizer in run.optimizers:
            if len(optimizer.at_work) < 2:
                continue
            lost_here = [p for p in beside(optimizer) if p.number not in held and not run.frozen(p)]
            if not lost_here:
                yield Clean(self.code, optimizer.place, f"every trainable parameter is in a group of {optimizer.type}")
                continue
            names = ", ".join(p.name for p in lost_here[:3]) + (f" and {len(lost_here) - 3} more" if len(lost_here) > 3 else "")
            size = sum(p.size for p in lost_here)
            message = f"the groups of {optimizer.type} lack {names}: no optimizer holds {them(lost_here)}, so {they(lost_here)}"
            seen = f"{len(lost_here)} trainable parameters ({size:,} numbers) in no group"
            yield from run.finding(self, optimizer.place, message, seen)

    def left_behind(
        self, program: Program, event: Event, optimizer: Instance
    ) -> tuple[FileModule, cst.CSTNode, str, list[Slot], Fix | None] | None:
        """A split of which only the matrices are handed on."""
        pset = one_sided(program, optimizer)
        if pset is None or not isinstance(pset.root, Instance):
            return None
        found = origin(program, pset)
        node, file = found if found is not None else (event.node, event.file)
        vectors = vectors_of([pset.root])
        shown = [slot for slot in slots(pset.root) if slot.sure and not slot.absent and is_vector(slot)]
        message = (
            f"{optimizer.label} gets only the parameters that this test picks: the {vectors} of {pset.root.label}, told apart "
            "from them, are handed to no optimizer and never train"
        )
        return file, place(node), message, shown, None

    def problem(
        self, program: Program, event: Event, split: Split
    ) -> tuple[FileModule, cst.CSTNode, str, list[Slot], Fix | None] | None:
        """Where it is, what it is, the parameters that show it, and a fix."""
        tested = next((pset for pset in split.sets if pset.preds and pset.node is not None), None)
        label = split.root.library.removesuffix(".from_pretrained").rpartition(".")[2] or split.root.label

        def at(pset: ParamSet | None) -> tuple[FileModule, cst.CSTNode]:
            found = origin(program, pset) if pset is not None else None
            return (found[1], found[0]) if found is not None else (event.file, event.node)

        for slot, pset in nones(split):
            file, node = at(pset)
            message = (
                f"this split puts {slot.path} of {label} into a group although it is None: the optimizer refuses it"
            )
            return file, place(node), message, [slot], self.loop_fix(split, file, node)
        missing = lost(split)
        if missing:
            file, node = at(tested)
            message = (
                f"this split loses {listed(missing)} of {label}: no group holds {them(missing)}, so {they(missing)}"
            )
            return file, place(node), message, missing, self.loop_fix(split, file, node)
        for slot, pset in twice(split):
            file, node = at(pset if pset.node is not None and pset.preds else None)
            fix = self.loop_fix(split, file, node)
            return file, place(node), f"{slot.path} of {label} is handed to the optimizer twice", [slot], fix
        for part, pset, pred in whole_names(split):
            file, node = at(pset)
            test = name_test(node)
            if test is None and part.group.node is not None and event.file.tree.parent(part.group.node) is not None:
                file, test = event.file, name_test(part.group.node)  # the pairs were made elsewhere
            words = ", ".join(str(text) for text in pred.args[:3])
            message = (
                f"no parameter of {label} is called {words} in full, so this split spares nothing from weight decay"
            )
            fix = self.membership_fix(file, split, program)
            return file, test if test is not None else place(node), message, [], fix
        norms = missed_norms(split)
        if norms:
            slot, pset, pred = norms[0]
            file, node = at(pset)
            words = ", ".join(str(text) for text in pred.args)
            message = (
                f"the names {words} do not meet {listed([n for n, _, _ in norms])} of {label}: these norms still decay"
            )
            return (
                file,
                place(node),
                message,
                [n for n, _, _ in norms],
                self.names_fix(program, split, file, node, norms),
            )
        half = half_spared(split)
        if half is not None:
            weights, pset, pred = half
            file, node = at(pset)
            words = ", ".join(str(text) for text in pred.args)
            message = f"the names {words} spare biases twice and {' and '.join(weights)} never: these norms still decay"
            return file, place(node), message, [], self.listed_fix(file, node, weights)
        return None

    def report(
        self, program: Program, event: Event, file: FileModule, node: cst.CSTNode, message: str, shown: list[Slot],
        fix: Fix | None,
    ) -> Finding:  # fmt: skip
        evidence: list[Evidence | None] = []
        for slot in shown[:3]:
            held = slot.owner.fields.get(slot.name)
            source = held if getattr(held, "node", None) is not None else slot.owner
            evidence.append(program.evidence(source.file, source.node, f"{slot.path} is made here"))  # type: ignore[union-attr]
        if event.node is not node:
            evidence.append(program.evidence(event.file, event.node, "the groups go to this optimizer"))
        return program.finding(self, file, node, message, evidence, fix)

    # -- fixes ---------------------------------------------------------------------------------------------------------

    def loop_fix(self, split: Split, file: FileModule, node: cst.CSTNode) -> Fix | None:
        """Turn the loop that fills a list with decay and a list without into one over `named_parameters()`."""
        if len(split.parts) != 2 or not isinstance(node, cst.For):
            return None
        tree = file.tree
        sparing = [part for part in split.parts if part.decay == 0 and "weight_decay" in part.group.options]
        if len(sparing) != 1:
            return None
        other = next(part for part in split.parts if part is not sparing[0])
        names = [list_name(tree, part.group.params) for part in (other, sparing[0])]
        if None in names or not only_appends(node, {str(name) for name in names}):
            return None
        edits = named_loop(tree, node, str(names[0]), str(names[1]), any_requires_grad(split))
        if edits is None:
            return None
        level, reason = FixLevel.RECIPE, "parameters that no group held are trained now"
        if any(slot.library in layers.EMBEDDING for slot in slots(split.root)):
            level, reason = FixLevel.UNSAFE, "embeddings are matrices, so they decay now"
        return Fix(level, "split the parameters by named_parameters()", edits, reason, keeps=Keeps(optimised="more"))

    def membership_fix(self, file: FileModule, split: Split, program: Program) -> Fix | None:
        """`n not in no_decay` → `not any(part in n for part in no_decay)`, in every group."""
        edits: list[build.Edits | None] = []
        done: set[int] = set()
        for part, pset, _ in whole_names(split):
            found = origin(program, pset)
            test = name_test(found[0]) if found is not None and found[1] is file else None
            if test is None and part.group.node is not None and file.tree.parent(part.group.node) is not None:
                test = name_test(part.group.node)
            if test is None:
                return None
            if id(test) not in done:
                done.add(id(test))
                edits.append(membership(file.tree, test))
        every = build.joined(edits)
        if not every:
            return None
        return Fix(
            FixLevel.RECIPE, "look for parts of names", every, "the parameters on the list are no longer decayed",
            keeps=Keeps(optimised="more"),
        )

    def names_fix(
        self,
        program: Program,
        split: Split,
        file: FileModule,
        node: cst.CSTNode,
        norms: list[tuple[Slot, ParamSet, Pred]],
    ) -> Fix | None:
        """Add the norms' names to the list; where they have only numbers, spare all vectors."""
        reason = "these norms are no longer decayed"
        missing = list(dict.fromkeys(slot.path.split(".")[-2] for slot, _, _ in norms if "." in slot.path))
        if missing and not any(name.isdigit() for name in missing):
            if any(isinstance(text, OfLowered) for text in norms[0][2].args):
                missing = [name.lower() for name in missing]
            listed = self.listed_fix(file, node, [f"{name}.weight" for name in missing])
            if listed is not None:
                return listed
        return self.spare_vectors(program, split, file, reason)

    def listed_fix(self, file: FileModule, node: cst.CSTNode, names: list[str]) -> Fix | None:
        """Add names to the list."""
        literal = listed_names(file.tree, node)
        if literal is None or not literal.elements:
            return None
        end = build.whole_offsets(file.tree, literal.elements[-1].value)[1]
        edits = (build.edit_at(file.tree, end, end, "".join(f', "{name}"' for name in names)),)
        reason = "these norms are no longer decayed"
        return Fix(FixLevel.RECIPE, "put the norms on the list", edits, reason, keeps=Keeps(optimised="more"))

    def spare_vectors(self, program: Program, split: Split, file: FileModule, reason: str) -> Fix | None:
        edits = self.or_vectors(program, split, file)
        return Fix(FixLevel.RECIPE, "spare all vectors", edits, reason, keeps=Keeps(optimised="more")) if edits else None

    @staticmethod
    def or_vectors(program: Program, split: Split, file: FileModule) -> build.Edits | None:
        """`any(part in name …)` → `(p.ndim < 2 or any(part in name …))`, in every group."""
        edits: list[build.Edits | None] = []
        done: set[int] = set()
        for pset in split.sets:
            found = origin(program, pset)
            if found is None or found[1] is not file:
                return None
            loop = found[0]
            target = loop.target if isinstance(loop, (cst.For, cst.CompFor)) else None
            pair = [e.value for e in target.elements] if isinstance(target, cst.Tuple) else []
            call = quantifier(loop)
            if call is None or len(pair) != 2 or not isinstance(pair[1], cst.Name):
                return None
            if id(call) not in done:
                done.add(id(call))
                code = f"({pair[1].value}.ndim < 2 or {file.tree.code(call)})"
                edits.append(build.replace(file.tree, call, code))
        return build.joined(edits)


def quantifier(loop: cst.CSTNode) -> cst.Call | None:
    """The first `any(…)` of a loop or comprehension."""
    for inner in walk(loop):
        if isinstance(inner, cst.Call) and isinstance(inner.func, cst.Name) and inner.func.value == "any":
            return inner
    return None


def listed(found: list[Slot]) -> str:
    names = list(dict.fromkeys(slot.path for slot in found))
    return ", ".join(names[:3]) + (f" and {len(names) - 3} more" if len(names) > 3 else "")


def beside(optimizer: Optimizer) -> list[Parameter]:
    """All parameters of the models that give the optimizer most of what they have: of a head alone it is no split."""
    mine = optimizer.parameters
    models = {id(p.model): p.model for p in mine.values() if p.model is not None}
    return [
        p
        for model in models.values()
        if 2 * sum(p.number in mine for p in model.parameters) > len(model.parameters)
        for p in model.parameters
    ]


def them(found: Sized) -> str:
    return "it" if len(found) == 1 else "them"


def they(found: Sized) -> str:
    return "it never trains" if len(found) == 1 else "they never train"


def place(node: cst.CSTNode) -> cst.CSTNode:
    """What a finding marks of a loop: the expression it goes over."""
    return node.iter if isinstance(node, (cst.For, cst.CompFor)) else node


def name_test(node: cst.CSTNode) -> cst.Comparison | None:
    """The first `name in names` or `name not in names` of a loop or comprehension."""
    for inner in walk(node):
        if isinstance(inner, cst.Comparison) and len(inner.comparisons) == 1:
            if isinstance(inner.comparisons[0].operator, (cst.In, cst.NotIn)) and isinstance(inner.left, cst.Name):
                return inner
    return None


def membership(tree: Tree, test: cst.Comparison) -> build.Edits:
    target = test.comparisons[0]
    part = build.name_for(tree, test, "part")
    code = f"any({part} in {tree.code(test.left)} for {part} in {tree.code(target.comparator)})"
    return build.replace(tree, test, f"not {code}" if isinstance(target.operator, cst.NotIn) else code)


def listed_names(tree: Tree, node: cst.CSTNode) -> cst.List | cst.Tuple | None:
    """The literal list that a comprehension's `any(part in name for part in names)` goes over."""
    for inner in walk(node):
        if not isinstance(inner, (cst.GeneratorExp, cst.ListComp)):
            continue
        over = inner.for_in.iter
        if isinstance(over, (cst.List, cst.Tuple)):
            return over
        if isinstance(over, cst.Name):
            return assigned_list(tree, node, over.value)
    return None


def assigned_list(tree: Tree, node: cst.CSTNode, name: str) -> cst.List | cst.Tuple | None:
    """The only literal that `name` is bound to, in the function around `node` or at the top of the module."""
    for scope in (*(up for up in tree.ancestors(node) if isinstance(up, cst.FunctionDef)), tree.module):
        found = [
            inner.value
            for inner in walk(scope)
            if isinstance(inner, cst.Assign)
            and any(isinstance(t.target, cst.Name) and t.target.value == name for t in inner.targets)
        ]
        if found:
            only = found[0]
            return only if len(found) == 1 and isinstance(only, (cst.List, cst.Tuple)) else None
    return None


def any_requires_grad(split: Split) -> bool:
    return any(pred.op == "requires_grad" for pset in split.sets for pred in pset.preds)


def list_name(tree: Tree, value: object) -> str | None:
    """The variable that a list was bound to where it was made: `decay` of `decay, no_decay = [], []`."""
    node = value.node if isinstance(value, Sequence) else None
    if node is None or tree.parent(node) is None:
        return None
    up = tree.parent(node)
    if isinstance(up, cst.Assign) and len(up.targets) == 1 and isinstance(up.targets[0].target, cst.Name):
        return up.targets[0].target.value
    outer = tree.parent(up) if isinstance(up, cst.Element) else None
    assign = tree.parent(outer) if isinstance(outer, cst.Tuple) else None
    if isinstance(outer, cst.Tuple) and isinstance(assign, cst.Assign) and len(assign.targets) == 1:
        target = assign.targets[0].target
        position = next(i for i, element in enumerate(outer.elements) if element is up)
        if isinstance(target, cst.Tuple) and position < len(target.elements):
            name = target.elements[position].value
            return name.value if isinstance(name, cst.Name) else None
    return None


def only_appends(loop: cst.For, lists: set[str]) -> bool:
    """The loop's body holds tests and appends to these lists, and nothing that the new loop would lose."""
    if loop.orelse is not None or loop.asynchronous is not None:
        return False
    for inner in walk(loop.body):
        if isinstance(inner, (cst.While, cst.With, cst.Try, cst.Return, cst.Break, cst.FunctionDef, cst.Raise)):
            return False
        if isinstance(inner, (cst.Assign, cst.AugAssign, cst.AnnAssign, cst.Del)):
            return False
        if isinstance(inner, cst.Expr):
            call = inner.value
            if not isinstance(call, cst.Call) or not isinstance(call.func, cst.Attribute):
                return False
            target = call.func.value
            if not isinstance(target, cst.Name) or target.value not in lists:
                return False
            if call.func.attr.value not in ("append", "extend", "add"):
                return False
    return True


def named_loop(tree: Tree, loop: cst.For, decay: str, no_decay: str, trainable_only: bool) -> build.Edits | None:
    """The edits that make `for m in net.modules(): …` a loop over `net.named_parameters()`."""
    over = loop.iter
    if not isinstance(over, cst.Call) or not isinstance(over.func, cst.Attribute) or over.args:
        return None
    if over.func.attr.value not in ("modules", "named_modules", "parameters", "named_parameters"):
        return None
    if not isinstance(loop.body, cst.IndentedBlock):
        return None
    first, last = loop.body.body[0], loop.body.body[-1]
    start = tree.offsets(first)[0]
    end = build.statement_end(tree, last)
    if "#" in tree.text[start:end]:
        return None
    scope = next((up for up in tree.ancestors(loop) if isinstance(up, cst.FunctionDef)), tree.module)
    target = loop.target
    names = [element.value for element in target.elements] if isinstance(target, cst.Tuple) else []
    if over.func.attr.value == "named_parameters" and len(names) == 2 and all(isinstance(n, cst.Name) for n in names):
        name, param = (n.value for n in names if isinstance(n, cst.Name))
    else:
        name, param = build.name_for(tree, scope, "name"), build.name_for(tree, scope, "param")
    line = tree.line_start(start)
    indent = tree.text[line:start]
    if indent.strip():
        return None
    step, newline = build.step_at(tree, first, indent), build.newline_of(tree)
    lines = []
    if trainable_only:
        lines += [f"if not {param}.requires_grad:", f"{step}continue"]
    lines += [
        f'if {param}.ndim < 2 or {name}.endswith("bias"):',
        f"{step}{no_decay}.append({param})",
        "else:",
        f"{step}{decay}.append({param})",
    ]
    body = (newline + indent).join(lines)
    return (
        *build.replace(tree, target, f"{name}, {param}"),
        *build.replace(tree, over, f"{tree.code(over.func.value)}.named_parameters()"),
        build.edit_at(tree, start, end, body),
    )
