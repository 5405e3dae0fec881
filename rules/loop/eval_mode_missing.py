"""Dropout and batch norm in the wrong mode.

## What it does
Finds two mistakes with models that hold dropout or batch norm layers: a loop over validation or test data that runs
the model in train mode (also a second model of which only the first was put in eval mode; also a loop without autograd
that hands the model what it gave in the round before, as texts and pictures are generated), and an evaluation that puts
the model in eval mode inside the training loop without a `train()` that puts it back.

## Why it costs
In train mode dropout goes on zeroing activations, and batch norm normalises with the batch at hand *and* lets the
validation data change its running statistics: the numbers depend on how the data is batched, and on the order. In
eval mode training goes on without dropout and with frozen statistics from the second epoch on.

## When not to follow it
For Monte-Carlo dropout, for generators whose dropout is their noise, and for fine-tuning with frozen norms on purpose
(a model that is put in eval mode *before* it is trained is left alone).

## Example
```python
import torch
from torch import nn

model = nn.Sequential(nn.Linear(4, 8), nn.BatchNorm1d(8), nn.ReLU(), nn.Dropout(0.5), nn.Linear(8, 2))
optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
train_data = val_data = [(torch.randn(8, 4), torch.zeros(8, dtype=torch.long))]

for epoch in range(2):
    model.train()
    for inputs, targets in train_data:
        optimizer.zero_grad()
        nn.functional.cross_entropy(model(inputs), targets).backward()
        optimizer.step()
    with torch.no_grad():
        for inputs, targets in val_data:
            print((model(inputs).argmax(1) == targets).float().mean())
```

## After the fix
```python
import torch
from torch import nn

model = nn.Sequential(nn.Linear(4, 8), nn.BatchNorm1d(8), nn.ReLU(), nn.Dropout(0.5), nn.Linear(8, 2))
optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
train_data = val_data = [(torch.randn(8, 4), torch.zeros(8, dtype=torch.long))]

for epoch in range(2):
    model.train()
    for inputs, targets in train_data:
        optimizer.zero_grad()
        nn.functional.cross_entropy(model(inputs), targets).backward()
        optimizer.step()
    model.eval()
    with torch.no_grad():
        for inputs, targets in val_data:
            print((model(inputs).argmax(1) == targets).float().mean())
```

## Fix level
None: where the mode belongs is for the author to say.

## Evidence
The finding names the layer that acts differently and the line that set the mode.

## References
- https://docs.pytorch.org/docs/stable/notes/autograd.html#evaluation-mode-nn-module-eval
- https://docs.pytorch.org/docs/stable/generated/torch.nn.BatchNorm2d.html
"""

from __future__ import annotations

import re
from collections.abc import Iterator

import libcst as cst

from tricklint.finding import Finding, Severity
from tricklint.interpreter.events import Escaped, Event
from tricklint.interpreter.modules import FileModule
from tricklint.interpreter.values import Instance, Value, members
from tricklint.libraries.events import Backward, Forward, TrainerGiven, WeightsLoaded
from tricklint.libraries.facts import ModuleFacts
from tricklint.program import Program
from tricklint.program.detached import only_looked_at
from tricklint.program.evaluation import Evaluation, evaluations, holds_weights, made_up
from tricklint.program.loaders import loaders_of
from tricklint.program.loops import Modes, Reach, computed_from, happens_with, levels, names_in, surely_with
from tricklint.program.modes import behaves_differently, copied_into_eval, unfollowed_mode_call
from tricklint.program.transfer import holds
from tricklint.program.unreached import harmless
from tricklint.rule import Rule
from tricklint.source.tree import walk
from tricklint.watching.record import Clean, Run

_AVERAGES = re.compile(r"\bema|EMA|\bswa_|AveragedModel")


class EvalModeMissing(Rule):
    code = "TRK703"
    name = "eval-mode-missing"
    summary = "dropout and batch norm run in the wrong mode: eval() missing before evaluation, or train() after it"
    severity = Severity.WARNING
    trick = "Training loop"
    triggers = ("torch",)

    def check(self, program: Program) -> Iterator[Finding]:
        told: set[int] = set()
        for finding, node in self.evaluated_in_train_mode(program):
            told.add(id(node))
            yield finding
        yield from self.loaded_and_run(program, told)
        yield from self.trained_in_eval_mode(program)

    def watched(self, run: Run) -> Iterator[Finding | Clean]:
        trained = [one for one in run.forwards if one.reached]
        measured = run.measured()
        modeful = {one.module for one in run.forwards if one.modeful or one.active}
        for one in run.forwards:
            beside = [each for each in trained if each.model == one.model]
            inference = not trained and bool(one.loaders) and run.restored(one.model)
            if one.module not in modeful or not (beside or inference):
                continue
            if one.grad and (one.number not in measured or one.reached or not one.unreached):
                continue
            if not one.evaluates(trained) and not (one.grad and one.dropped(run.steps_for(one.model))):
                continue
            if one.active and (one.discarded or one.most_in_a_row > one.most_others == 1):
                continue  # statistics taken anew; several draws of dropout for one input
            place = one.place.apart(each.place for each in beside)
            if not one.active:
                yield Clean(self.code, place, f"{one.type} was in eval mode in all {one.count} calls")
                continue
            what = "is evaluated" if beside else "runs on loaded weights"
            message = f"{one.type} {what} in train mode: its dropout and norm layers still act as in training"
            seen = f"step {one.first + 1}, {one.acting} in train mode, {one.count} calls {'that no backward reached' if one.grad else 'without autograd'}"
            yield from run.finding(self, place, message, seen, [(one.place, "the model runs here")])
        yield from self.stays_in_eval(run)

    def stays_in_eval(self, run: Run) -> Iterator[Finding]:
        """It trained in train mode first, and in eval mode after an `eval()` in between."""
        for late in run.forwards:
            if not late.reached or late.active:
                continue
            early = [one for one in run.forwards if one.reached and one.module == late.module and one.active]
            stops = [
                fact
                for fact in run.facts("mode")
                if not fact.data["train"] and fact.step <= late.first and any(one.first < fact.step for one in early)
            ]
            if not stops or not any(one.last < late.first for one in early):
                continue
            message = (
                "the model stays in eval mode after this: training goes on with its dropout and norm layers switched off; "
                "call train() before it does"
            )
            seen = f"step {late.first + 1}, it trains with none of its dropout and norm layers acting; until then {early[0].acting}"
            yield from run.finding(self, stops[-1].place, message, seen, [(late.place, "trained here")])

    def evaluated_in_train_mode(self, program: Program) -> Iterator[tuple[Finding, cst.CSTNode]]:
        modes = Modes.of(program)
        seen: set[int] = set()
        for found in evaluations(program, grad=None):
            event, module = found.event, found.event.subject
            if event.mixed or copied_into_eval(program, module):
                continue  # it may be what was put in eval mode elsewhere: `ema.ema if average else model.eval()`
            file, node = found.file, found.node
            outside = asked_of_model(program, event) if found.called is None and not found.beside else None
            if outside is not None:
                file, node = outside
            place = id(found.region) if found.whole and outside is None else id(node)
            if place in seen or id(node) in seen:
                continue
            if found.beside:
                if not between_epochs(program, event) or made_up(event):
                    continue
            elif (found.why == "generated" and not trains_too(program, found)) or (found.why not in ("name", "generated") and not held_out(program, found)):
                continue
            layer = behaves_differently(module)
            mode = modes.last(module, event)
            if (
                layer is None
                or (mode is not None and mode.train is not True)
                or (mode is None and layer.starts_in_eval)
            ):
                continue
            if unfollowed_mode_call(program, event, "eval"):
                continue
            seen |= {place, id(node)}
            name = model_called(file, node) if outside is None else model_asked(file, node)
            message = (
                f"{name} is evaluated in train mode: its {layer.name} layers still act as in training; "
                f"call {name}.eval() first"
            )
            evidence = [program.evidence(layer.file, layer.node, f"the {layer.name} layer")]
            if mode is not None:
                evidence.insert(0, program.evidence(mode.file, mode.node, "put in train mode here"))
            if found.called is not None:
                evidence.append(program.evidence(*found.called, "it evaluates here, and trains elsewhere"))
            if outside is not None:
                evidence.append(program.evidence(event.file, event.node, "its method runs it here"))
            yield program.finding(self, file, node, message, evidence), node if outside is not None else event.node

    def loaded_and_run(self, program: Program, told: set[int]) -> Iterator[Finding]:
        """Weights are loaded and the model is run, in a script that trains nothing: whatever its loops are called, this is
        inference."""
        modes = Modes.of(program)
        training = {event.entry for event in program.events(Backward, TrainerGiven)}
        loads = program.events(WeightsLoaded)
        for event in program.events(Forward):
            module = event.subject
            if event.depth or event.mixed or event.entry in training:
                continue
            if not program.complete(event) or not isinstance(event.node, cst.Call):
                continue
            outside = asked_of_model(program, event)
            file, node = outside if outside is not None else (event.file, event.node)
            if id(node) in told:
                continue
            if made_up(event) and only_looked_at(event.file.tree, event.node):
                continue  # a sampler's noise gives pictures; a look at shapes, or at the time it takes, gives none
            load = next((load for load in loads if load.seq < event.seq and loads_for(load, module, outside)), None)
            if load is None or not surely_with(load, event) or load.entry in training:
                continue
            if load.entry != event.entry and program.starts.get(load.entry) != program.starts.get(event.entry):
                continue  # a function that is handed to a stranger runs what its own script has loaded
            layer = behaves_differently(module)
            if layer is None or layer.starts_in_eval or modes.last(module, event) is not None:
                continue
            handed = (each for each in program.events(Escaped) if each.subject is module and each.seq < event.seq)
            if any(not harmless(each.to) and happens_with(each, event) for each in handed) or unfollowed_mode_call(
                program, event, "eval"
            ):
                continue
            told.add(id(node))
            name = model_called(file, node) if outside is None else model_asked(file, node)
            message = (
                f"{name} runs on loaded weights in train mode: its {layer.name} layers still act as in training; "
                "call eval() first"
            )
            evidence = [
                program.evidence(load.file, load.node, "its weights are loaded here"),
                program.evidence(layer.file, layer.node, f"the {layer.name} layer"),
            ]
            if outside is not None:
                evidence.append(program.evidence(event.file, event.node, "its method runs it here"))
            yield program.finding(self, file, node, message, evidence)

    def trained_in_eval_mode(self, program: Program) -> Iterator[Finding]:
        modes, reach = Modes.of(program), Reach.of(program)
        seen: set[int] = set()
        for forward in program.events(Forward):
            module = forward.subject
            if not isinstance(module, Instance) or not forward.loops or not reach.reaches(forward):
                continue
            if forward.grad is False:  # a teacher's pass: the loss depends on it, and does not train it
                continue
            layer = behaves_differently(module)
            if layer is None:
                continue
            born = {loop.serial for made in program.made.get(id(module), ()) for loop in made.loops}
            for loop in forward.loops:
                if loop.serial in born:
                    continue  # the next round makes another
                inside = [
                    mode
                    for mode in modes.in_loop.get(loop.serial, ())
                    if modes.covers(mode, module) and happens_with(mode, forward)
                ]
                stops = [mode for mode in inside if mode.train is False]
                if not stops or len(stops) != len(inside):
                    continue
                stop = stops[0]
                before = modes.last(module, stop)
                if (before is not None and before.train is not True) or (before is None and layer.starts_in_eval):
                    continue
                if stop.seq < forward.seq and not evaluated_between(program, module, stop, forward):
                    continue  # it trains in eval mode on purpose
                if id(stop.node) in seen or unfollowed_mode_call(program, forward, "train"):
                    continue
                if evaluates_a_copy(program, module, forward, stop) or not reach.trains(loop.serial, forward):
                    continue
                seen.add(id(stop.node))
                message = (
                    "the model stays in eval mode after this: from the next round of the loop on, it trains with its "
                    f"{layer.name} layers switched off; call train() before training goes on"
                )
                evidence = [program.evidence(forward.file, forward.node, "trained here in the next round")]
                file, node = stop.file, stop.node
                if not program.is_asked(file):  # the call in the training loop that leads there
                    level = levels(stop)[loop.depth - 1]
                    file, node = level.file, level.node
                    evidence.insert(0, program.evidence(stop.file, stop.node, "the mode is set here"))
                yield program.finding(self, file, node, message, evidence)


def asked_of_model(program: Program, event: Forward) -> tuple[FileModule, cst.CSTNode] | None:
    """The call of a model's own method (`model.sample(16)`, `model.predict(x)`) in which the pass runs, from outside of models:
    there the mode is set. None where the pass stands in no such method, or in one that trains or goes over batches."""
    reach = Reach.of(program)
    found: tuple[FileModule, cst.CSTNode] | None = None
    for level in reversed(levels(event)):
        func, call = level.activation.func, level.activation.call
        if (
            func is None
            or func.owner is None
            or not any(name.startswith("torch.nn.") for name in func.owner.libraries())
        ):
            return found if found is not None and asks(found[1]) and program.is_asked(found[0]) else None
        if (
            call is None
            or call[1] is func.node
            or func.name == "__init__"
            or reach.trains(level.activation.serial, event)
        ):
            return None
        if any(True for loop in level.loops for _ in loaders_of(loop.over)):
            return None
        found = call
    return None


def asks(node: cst.CSTNode) -> bool:
    return isinstance(node, cst.Call) and isinstance(node.func, cst.Attribute)


def model_asked(file: FileModule, node: cst.CSTNode) -> str:
    """The model whose method is called: `net` of `net.sample(16)`."""
    assert isinstance(node, cst.Call) and isinstance(node.func, cst.Attribute)
    return file.tree.code(node.func.value)


def loads_for(load: WeightsLoaded, module: Value | None, outside: object) -> bool:
    """The weights are the module's, or of the part that has all of its weights; of one that is run in a method of the model,
    also where the whole was given them."""
    given = load.subject
    if given is module:
        return True
    if not isinstance(given, Instance) or not isinstance(module, Instance):
        return False
    return (outside is not None and holds(given, module)) or has_all_weights(given, module)


def has_all_weights(part: Instance, module: Instance) -> bool:
    """`module` is a wrapper round `part`: nothing else in it has weights."""
    held = [each for value in module.fields.values() if isinstance(value, Value) for each in members(value)]
    parts = [each for each in held if isinstance(each, Instance) and each.kind in ("module", "guessed")]
    return any(each is part for each in parts) and not any(holds_weights(each) for each in parts if each is not part)


def model_called(file: FileModule, node: cst.CSTNode) -> str:
    """The model of a call, as the code has it: `net` of `net(x)` and of `net.forward(x)`."""
    func = node.func if isinstance(node, cst.Call) else node
    return file.tree.code(func).removesuffix(".forward")


def between_epochs(program: Program, event: Forward) -> bool:
    """The pass stands in the loop of epochs, and every training step of that round in a loop within it."""
    mine = {loop.serial for loop in event.loops}
    around = [{loop.serial for loop in step.loops} for step in program.events(Backward) if step.entry == event.entry]
    together = [serials for serials in around if not mine.isdisjoint(serials)]
    return bool(together) and all(mine < serials for serials in together)


def held_out(program: Program, found: Evaluation) -> bool:
    """Whatever the names: autograd is off, each round shows the model a piece of data, and all that is taken from it are
    numbers, or it is a batch; the model is trained elsewhere in the program."""
    if (
        found.why not in ("measured", "unrecorded")
        or found.event.grad is not False
        or not isinstance(found.region, cst.For)
    ):
        return False
    fed = computed_from(found.region.body, names_in(found.region.target))
    if not isinstance(found.node, cst.Call) or fed.isdisjoint(
        name for arg in found.node.args for name in names_in(arg.value)
    ):
        return False
    return trains_too(program, found)


def trains_too(program: Program, found: Evaluation) -> bool:
    """The model that is evaluated is seen to be trained as well."""
    reach = Reach.of(program)
    return any(each.subject is found.event.subject and reach.reaches(each) for each in program.events(Forward))


def evaluated_between(program: Program, module: Instance, stop: Event, forward: Event) -> bool:
    """The model was put in eval mode for passes of its own, before the one that trains."""
    return any(
        stop.seq < each.seq < forward.seq and each.subject is module and each.grad is False
        for each in program.events(Forward)
    )


def evaluates_a_copy(program: Program, module: Instance, forward: Event, stop: Event) -> bool:
    """Whether it may be a copy of the model (an average of its weights, say) that is put in eval mode: copy and model are one
    here, and only their names tell them apart."""
    if any(_AVERAGES.search(event.file.tree.text) for event in (forward, stop)):
        return True
    if not module.fact(ModuleFacts).copied:
        return False
    names: frozenset[str] = program.remember("names of copies", lambda: names_of_copies(program))
    return any(not names.isdisjoint(names_in(node)) for node in (stop.node, *(node for _, node in stop.calls)))


def names_of_copies(program: Program) -> frozenset[str]:
    """What makes copies, and what they are called: `deepcopy`, the names that get what it gives, functions that return that."""
    found = {"deepcopy"}
    trees = [tree for tree in program.trees if "deepcopy" in tree.text]
    for tree in [*trees, *trees]:  # a name may get what a function further down returns
        for each in walk(tree.module):
            if not isinstance(each, (cst.Assign, cst.Return)) or name_of(each.value) not in found:
                continue
            if isinstance(each, cst.Return):
                found |= {up.name.value for up in tree.ancestors(each) if isinstance(up, cst.FunctionDef)}
            else:
                found |= {name_of(target.target) for target in each.targets} - {""}
    return frozenset(found)


def name_of(value: cst.CSTNode | None) -> str:
    """What a value, or what makes it, is called: `deepcopy` of `copy.deepcopy(net).eval()`."""
    while isinstance(value, cst.Call):
        above = value.func.value if isinstance(value.func, cst.Attribute) else None
        value = above if isinstance(above, cst.Call) else value.func
    if isinstance(value, cst.Attribute):
        return value.attr.value
    return value.value if isinstance(value, cst.Name) else ""
