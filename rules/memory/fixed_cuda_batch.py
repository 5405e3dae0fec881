"""A CUDA training loop with a fixed batch size and nothing that catches out-of-memory.

## What it does
Advises once a project, at the first training script's loader (or at the call that builds it), and names those of the
other scripts: batches of a size fixed in the code or by a default go to CUDA, and nothing copes with a full device:
no handler for `torch.cuda.OutOfMemoryError` (one for every exception that raises it again is none), no
`find_executable_batch_size`, no `auto_find_batch_size`, no gradient accumulation, no koila. A loader is whatever is
given the size of its batches and feeds the loop: a DataLoader or a subclass, another library's loader, an iterator or
generator of the program, also one that another script has pickled; the loop may be a framework's.

## Why it costs
A batch size that fits one device ends the run on a smaller one, or hours later at the longest sequence. Ways to cope:

- halve and accumulate (this rule's fix): on the error the batch is split and each piece's loss weighted n_i/N; the
  gradient of a mean loss is exact, batch norm sees the statistics of the pieces.
- gradient accumulation by hand: several small batches make one step; the same, with a fixed number of pieces, if the
  loss is scaled.
- accelerate's `find_executable_batch_size`: runs the function again with half the batch size; training starts over,
  and the learning rate no longer fits the batch.
- Lightning's batch-size finder: tries sizes before training; costs trial steps, and the largest sample may come
  later.
- koila 0.1.1: evaluates lazily and splits when memory is short; archived by its author, see below.

koila's gradients are wrong when it splits a batch: mean losses of the pieces are added up unscaled (64 as 32 + 32
doubles the gradient, 127 has been seen to give 25 times), residual blocks are computed again and again, batch norm
statistics are updated several times a step, autocast is ignored, and `import koila` fails with pynvml 12 and newer.
Its gradients are right as long as the batch fits. So it is written only when asked for.

## When not to follow it
When device and data are fixed and the batch has been tried, or when the exact batch size is part of the experiment.

## Example
```python
import torch
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
dataset = TensorDataset(torch.randn(64, 8), torch.randint(0, 2, (64,)))
loader = DataLoader(dataset, batch_size=32, shuffle=True)
model = nn.Linear(8, 2).to(device)
criterion = nn.CrossEntropyLoss()
optimizer = torch.optim.SGD(model.parameters(), lr=0.1)

for inputs, targets in loader:
    inputs, targets = inputs.to(device), targets.to(device)
    optimizer.zero_grad()
    outputs = model(inputs)
    loss = criterion(outputs, targets)
    loss.backward()
    optimizer.step()
```

## After the fix
```python
import torch
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
dataset = TensorDataset(torch.randn(64, 8), torch.randint(0, 2, (64,)))
loader = DataLoader(dataset, batch_size=32, shuffle=True)
model = nn.Linear(8, 2).to(device)
criterion = nn.CrossEntropyLoss()
optimizer = torch.optim.SGD(model.parameters(), lr=0.1)

def backward_in_pieces(optimizer, model, criterion, inputs, targets):
    \"\"\"Backpropagate one batch, in pieces of half the size whenever CUDA runs out of memory.

    Each piece's loss is weighted by its share of the batch, so the gradient of a mean loss is the whole batch's.
    Returns the batch's loss and outputs, both without their graph.
    \"\"\"
    size = piece = len(inputs)
    while True:
        try:
            optimizer.zero_grad()
            total, outputs = 0.0, []
            for start in range(0, size, piece):
                output = model(inputs[start : start + piece])
                loss = criterion(output, targets[start : start + piece]) * (len(output) / size)
                loss.backward()
                total = total + loss.detach()
                outputs.append(output.detach())
            return total, torch.cat(outputs)
        except torch.cuda.OutOfMemoryError:
            if piece == 1:
                raise
            piece = (piece + 1) // 2
        output = loss = None
        torch.cuda.empty_cache()


for inputs, targets in loader:
    inputs, targets = inputs.to(device), targets.to(device)
    loss, outputs = backward_in_pieces(optimizer, model, criterion, inputs, targets)
    optimizer.step()
```

## Fix level
unsafe, and only for the plain step of the example with a loss that averages over the batch. `oom-guard` chooses what
is written: `"accumulate"` (default), `"accelerate"` (a decorator on the function that builds the loader and trains)
or `"koila"`. Any other loop is only told about.

## Evidence
The mended fixtures are run with the error raised by hand: the weights agree with those of the whole batch, also for
pieces of unequal size, and are bit-equal when no error comes.

## References
- https://docs.pytorch.org/docs/stable/notes/cuda.html#memory-management
- https://huggingface.co/docs/accelerate/usage_guides/memory
- https://lightning.ai/docs/pytorch/stable/advanced/training_tricks.html#batch-size-finder
- https://github.com/rentruewang/koila
"""

from __future__ import annotations

from collections.abc import Iterator

import libcst as cst

from tricklint.finding import Finding, Fix, FixLevel, Keeps, Severity
from tricklint.fix import build
from tricklint.interpreter.values import (
    Const,
    Instance,
    first,
)
from tricklint.knowledge import layers
from tricklint.libraries.events import Forward, LossComputed
from tricklint.libraries.modules import submodules
from tricklint.program import Program
from tricklint.program.batches import FixedBatch, fixed_batches
from tricklint.program.loaders import size_given
from tricklint.program.plain_step import PlainStep, plain_step
from tricklint.rule import Rule
from tricklint.source.tree import Tree, walk

HELPER = '''def {name}(optimizer, model, criterion, inputs, targets):
    """Backpropagate one batch, in pieces of half the size whenever CUDA runs out of memory.

    Each piece's loss is weighted by its share of the batch, so the gradient of a mean loss is the whole batch's.
    Returns the batch's loss and outputs, both without their graph.
    """
    size = piece = len(inputs)
    while True:
        try:
            optimizer.zero_grad()
            total, outputs = 0.0, []
            for start in range(0, size, piece):
                output = model(inputs[start : start + piece])
                loss = criterion(output, targets[start : start + piece]) * (len(output) / size)
                loss.backward()
                total = total + loss.detach()
                outputs.append(output.detach())
            return total, torch.cat(outputs)
        except torch.cuda.OutOfMemoryError:
            if piece == 1:
                raise
            piece = (piece + 1) // 2
        output = loss = None
        torch.cuda.empty_cache()
'''


class FixedCudaBatch(Rule):
    code = "TRK301"
    name = "fixed-cuda-batch"
    summary = "a CUDA training loop with a fixed batch size has nothing that catches out-of-memory"
    severity = Severity.ADVICE
    fix_level = FixLevel.UNSAFE
    trick = "3 - Out of memory"
    triggers = ("DataLoader", "cuda")

    def check(self, program: Program) -> Iterator[Finding]:
        every = fixed_batches(program)
        if not every:
            return
        found, *others = every
        message = (
            f"batches of {found.size} go to CUDA and nothing catches an out-of-memory error: "
            "a smaller device, or a larger sample, ends the run"
        )
        evidence = [program.evidence(found.backward.file, found.backward.node, "trained here")]
        if found.made_in is not found.file:
            evidence.insert(0, program.evidence(found.made_in, found.made, "the loader is built here"))
        if found.script is not None and found.script[0] not in (found.file, found.made_in, found.backward.file):
            evidence.append(program.evidence(*found.script, "the script asks for it here"))
        evidence.append(program.read_from(size_given(found.source), "the size stands here"))
        for each in others:
            evidence.append(program.evidence(each.file, each.node, f"the same with batches of {each.size}"))
            if each.made_in is not each.file:
                evidence.append(program.evidence(each.made_in, each.made, "from a loader that is built here"))
        yield program.finding(self, found.file, found.node, message, evidence, self.mend_all(program, every))

    def mend_all(self, program: Program, every: list[FixedBatch]) -> Fix | None:
        """Wherever such batches are trained on, or nowhere: the next place would be found instead."""
        places = {id(each.backward.node): each for each in every}.values()
        return Fix.everywhere(self.mend(program, each) for each in places)

    def mend(self, program: Program, found: FixedBatch) -> Fix | None:
        guard = getattr(program.settings, "oom_guard", None) or "accumulate"
        tree = found.backward.file.tree
        if guard == "accelerate":
            return executable_batch_size(found)
        step = plain_step(tree, found.backward.node)
        if step is None or not mean_loss(program, found):
            return None
        if guard == "koila":
            return lazy_batch(tree, step)
        return in_pieces(tree, step, normed(program, found))


def in_pieces(tree: Tree, step: PlainStep, normed: bool) -> Fix | None:
    """Halve on OutOfMemoryError, and weight the pieces by their share of the batch."""
    name = build.name_for(tree, tree.module, "backward_in_pieces")
    top = step.statements[0]
    for up in tree.ancestors(step.statements[0]):
        if not isinstance(up, cst.Module):
            top = up
    given = ", ".join((step.optimizer, step.model, step.criterion, step.inputs, step.targets))
    call = f"{step.loss}, {step.output} = {name}({given})"
    helper = HELPER.format(name=name).rstrip("\n").split("\n")
    start = tree.offsets(step.statements[0])[0]
    end = tree.offsets(step.statements[-1])[1]
    inside = tree.text[start:end]
    if "#" in inside:
        return None
    imported = build.add_import(tree, "import torch")
    placed = build.insert_before(tree, top, [*helper, "", ""])
    if imported is None or placed is None:
        return None
    reason = (
        "losses that do not average over the batch (sums, class weights, ignored targets) would be weighted wrongly"
    )
    if normed:
        reason = "batch norm sees the statistics of the pieces, and " + reason
    edits = (*imported, *placed, build.edit_at(tree, start, end, call))
    return Fix(
        FixLevel.UNSAFE,
        "halve the batch on OutOfMemoryError and accumulate weighted gradients",
        edits,
        reason,
        keeps=Keeps(cleared="any"),
    )


def lazy_batch(tree: Tree, step: PlainStep) -> Fix | None:
    if not step.plain_names:
        return None
    imported = build.add_import(tree, "from koila import lazy")
    line = f"{step.inputs}, {step.targets} = lazy({step.inputs}, {step.targets}, batch=0)"
    placed = build.insert_before(tree, step.statements[0], [line])
    if imported is None or placed is None:
        return None
    reason = (
        "when koila 0.1.1 splits a batch it adds up mean losses unscaled, so gradients grow with the number of pieces"
    )
    return Fix(FixLevel.UNSAFE, "hand the batch to koila", (*imported, *placed), reason, keeps=Keeps(cleared="any"))


def executable_batch_size(found: FixedBatch) -> Fix | None:
    """accelerate's decorator on the function that builds the loader from its own `batch_size` parameter."""
    tree = found.made_in.tree
    call = found.made
    function = next((up for up in tree.ancestors(call) if isinstance(up, cst.FunctionDef)), None)
    if (
        function is None
        or function.decorators
        or found.made_in is not found.backward.file
        or not isinstance(call, cst.Call)
    ):
        return None
    if not any(up is function for up in tree.ancestors(found.backward.node)):
        return None
    params = function.params
    if params.params and params.params[0].name.value in ("self", "cls", "batch_size"):
        return None
    if params.posonly_params or isinstance(params.star_arg, cst.Param):
        return None
    names = {param.name.value for param in (*params.params, *params.kwonly_params)}
    passed = next(
        (arg.value for arg in call.args if arg.keyword is not None and arg.keyword.value == "batch_size"), None
    )
    if passed is None and len(call.args) > 1 and call.args[1].keyword is None and not call.args[1].star:
        passed = call.args[1].value
    if passed is None or "batch_size" in names or binds(tree, function, "batch_size"):
        return None
    imported = build.add_import(tree, "from accelerate.utils import find_executable_batch_size")
    decorated = build.insert_before(tree, function, [f"@find_executable_batch_size(starting_batch_size={found.size})"])
    if imported is None or decorated is None:
        return None
    name_end = tree.offsets(function.name)[1]
    opening = tree.text.index("(", name_end) + 1
    first_param = "batch_size" + (", " if params.params or params.kwonly_params or params.star_kwarg else "")
    edits = (
        *imported,
        *decorated,
        build.edit_at(tree, opening, opening, first_param),
        *build.replace(tree, passed, "batch_size"),
    )
    reason = "the whole function starts again with half the batch size, and the learning rate no longer fits the batch"
    return Fix(FixLevel.UNSAFE, "let accelerate find a batch size that fits", edits, reason, keeps=Keeps(cleared="any"))


def binds(tree: Tree, function: cst.FunctionDef, name: str) -> bool:
    """The function's body uses the name for something of its own (not as an argument's keyword)."""
    for each in walk(function.body):
        if isinstance(each, cst.Name) and each.value == name:
            up = tree.parent(each)
            if not (isinstance(up, cst.Arg) and up.keyword is each):
                return True
    return False


def mean_loss(program: Program, found: FixedBatch) -> bool:
    """The loss is one of PyTorch's that average over the batch (no class weights, no other reduction)."""
    for event in program.events(LossComputed):
        if event.file is not found.backward.file or event.entry != found.backward.entry:
            continue
        if not any(loop.node is found.backward.loops[-1].node for loop in event.loops):
            continue
        given = event.subject.kwargs if isinstance(event.subject, Instance) else event.kwargs
        if isinstance(event.subject, Instance) and (not event.type or event.subject.args or event.subject.open_kwargs):
            return False
        if "weight" in given or "ignore_index" in given:
            return False
        reduction = first(given.get("reduction"))
        return reduction is None or (isinstance(reduction, Const) and reduction.value == "mean")
    return False


def normed(program: Program, found: FixedBatch) -> bool:
    loop = found.backward.loops[-1].node
    for event in program.events(Forward):
        if isinstance(event.subject, Instance) and any(each.node is loop for each in event.loops):
            if any(at.library in layers.BATCH_NORM for _, at in submodules(event.subject)):
                return True
    return False
