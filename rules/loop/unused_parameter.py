"""unused-parameter: parameters that the forward never reaches.

## What it does
Reports trainable parameters of a model that no path of its forward graph leads to: a layer made in `__init__` and
forgotten in `forward`, a branch that is never taken. It needs `--trace`: the model is built and traced, and the
autograd graph of one forward (on the meta device, without data) tells which parameters get a gradient. Reported at the
class that holds them.

## Why it costs
Such parameters take memory on the card, in the optimizer's state and in every checkpoint, and weight decay shrinks them
to nothing. Under DistributedDataParallel the first backward waits for their gradients and fails ("Expected to have
finished reduction in the prior iteration") or needs `find_unused_parameters=True`, which costs time in every step. And
often the layer was meant to be used: then the model is not the one its author believes to train.

## When not to follow it
Where another method than `forward` uses the layer (a decoder that only generates), or training starts with a part of
the model and takes the rest later. Freeze what is not trained (`requires_grad_(False)`): frozen parameters are not
reported.

## Example
```python
class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.features = nn.Linear(64, 32)
        self.aux = nn.Linear(32, 8)
        self.head = nn.Linear(32, 10)

    def forward(self, x):
        return self.head(self.features(x).relu())
```

## After the fix
```python
class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.features = nn.Linear(64, 32)
        self.head = nn.Linear(32, 10)

    def forward(self, x):
        return self.head(self.features(x).relu())
```

## Fix level
None: whether the layer is superfluous or its call is missing, only the author knows.

## Evidence
`bench/trace_models.py` holds the rule against 30 models of five libraries: the parameters it names are those whose
`grad` is None after a real backward.

## References
- PyTorch, "DistributedDataParallel", the note on `find_unused_parameters`:
  https://docs.pytorch.org/docs/stable/generated/torch.nn.parallel.DistributedDataParallel.html
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from tricklint.finding import Finding, Severity
from tricklint.rule import Rule
from tricklint.watching.record import Parameter, Run
from tricklint.watching.sources import class_place

if TYPE_CHECKING:
    from tricklint.program import Program


class UnusedParameter(Rule):
    code = "TRK706"
    name = "unused-parameter"
    summary = "parameters that the forward graph never reaches"
    severity = Severity.WARNING
    fix_level = None
    trick = "Training loop"
    needs_trace = True
    triggers = ("optim", "backward", "Trainer", "Module")

    def watched(self, run: Run) -> Iterator[Finding]:
        """Parameters that no backward reached in the first steps, by class of the project; what another optimizer's steps
        find a gradient for is reached."""
        idle = {fact.data["optimizer"]: set(fact.data["parameters"]) for fact in run.facts("idle")}
        reached = {p for one in run.optimizers if one.made for p in set(one.parameters) - idle.get(one.number, set())}
        for fact in run.facts("idle"):
            lost = [run.parameters[number] for number in fact.data["parameters"] if number in run.parameters and number not in reached]
            by_class: dict[tuple[str, str], list[Parameter]] = {}
            for p in lost:
                owner = owner_of(p)
                if owner is not None and fact.data["steps"] > 1:
                    by_class.setdefault(owner, []).append(p)
            for (name, file), mine in by_class.items():
                place = class_place(run, file, name)
                size = sum(p.size for p in mine)
                names = mine[0].name + (f" and {len(mine) - 1} more" if len(mine) > 1 else "")
                message = f"the forward never reaches {names} ({size:,} numbers)"
                seen = f"no gradient in {fact.data['steps']} steps"
                if place is not None:
                    yield from run.finding(self, place, message, seen)

    def check(self, program: Program) -> Iterable[Finding]:
        report = program.facts
        if report is None:
            return
        from tricklint.trace.judge import unused
        from tricklint.trace.merging import finding_for

        root = Path(report.root) if report.root else Path.cwd()
        seen: set[tuple[str, int]] = set()
        for facts in report.models:
            for verdict in unused(facts):
                finding = finding_for(verdict, facts, root)
                if finding is not None and (str(finding.path), finding.location.row) not in seen:
                    seen.add((str(finding.path), finding.location.row))
                    yield finding


def owner_of(parameter: Parameter) -> tuple[str, str] | None:
    """(class, file) of the innermost module of the project's that holds it."""
    if parameter.model is None:
        return None
    path = parameter.name
    while path:
        path = path.rpartition(".")[0]
        name, file = parameter.model.modules.get(path, ("", None))
        if file is not None:
            return name, file
    return None
