"""An attribute that freezes nothing: `module.requires_grad = False`.

## What it does
Finds `requires_grad` set on an `nn.Module` instead of on its parameters, slips of its name on either (`require_grad`,
`requires_grads`), the method `requires_grad_` overwritten by a value instead of called, and `requires_grad == False` as a
statement, which compares: no parameter hears of it, and the layers go on training. Setting it to True is reported where the
same module was meant to be frozen elsewhere.

## Why it costs
The code does not do what it says. The backbone that should be fixed is fine-tuned at the head's learning rate, the
discriminator that should hold still collects gradients, and nothing fails: only the accuracy, or the memory, tells.

## When not to follow it
When the class defines `requires_grad` itself (a property that passes it on); the rule is silent there, and where the
attribute is read back by the class.

## Example
```python
import torch
from torch import nn

model = nn.Sequential(nn.Linear(8, 16), nn.ReLU(), nn.Linear(16, 2))
model[0].requires_grad = False
optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
```

## After the fix
```python
import torch
from torch import nn

model = nn.Sequential(nn.Linear(8, 16), nn.ReLU(), nn.Linear(16, 2))
model[0].requires_grad_(False)
optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
```

## Fix level
recipe: `requires_grad_()` sets every parameter below the module, as the line says; on a parameter the attribute's name is
put right, or `==` becomes `=`. It is unsafe where the frozen module is all that is trained, and in a loop, where the way back
may be missing.

## Evidence
Certain from PyTorch's own code: `nn.Module.__setattr__` stores a plain attribute. Seen in the wild time and again.

## References
- https://docs.pytorch.org/docs/stable/generated/torch.nn.Module.html#torch.nn.Module.requires_grad_
- https://docs.pytorch.org/docs/stable/notes/autograd.html#setting-requires-grad
"""

from __future__ import annotations

from collections.abc import Iterator

import libcst as cst

from tricklint.finding import Finding, Fix, FixLevel, Keeps, Severity
from tricklint.fix import build
from tricklint.interpreter.events import Event
from tricklint.interpreter.values import (
    Class,
    Func,
    Instance,
)
from tricklint.libraries.events import FreezeMissed
from tricklint.libraries.paramsets import ParamSet, roots_of
from tricklint.libraries.tensors import Tensor
from tricklint.program import Program
from tricklint.program.transfer import freezes, holds, whole
from tricklint.rule import Rule
from tricklint.source.tree import walk
from tricklint.watching.record import Run


class NoopFreeze(Rule):
    code = "TRK107"
    name = "noop-freeze"
    summary = "requires_grad set on a module (or misspelt) freezes nothing"
    severity = Severity.ERROR
    fix_level = FixLevel.RECIPE
    trick = "1 - Transfer learning"
    triggers = ("grad", "gard", "optim", "Trainer")

    def watched(self, run: Run) -> Iterator[Finding]:
        for fact in run.facts("in_vain"):
            message = f"{fact.data['type']} has no attribute {fact.data['name']}: setting it freezes nothing"
            seen = f"{fact.data['count']} times set to {fact.data['value']} on a {fact.data['type']}"
            yield from run.finding(self, fact.place, message, seen)

    def check(self, program: Program) -> Iterator[Finding]:
        seen: set[int] = set()
        events = program.events(FreezeMissed)
        for event in events:
            if (
                id(event.node) in seen
                or not isinstance(event.node, (cst.Assign, cst.Comparison))
                or not self.says_something(program, event, events)
            ):
                continue
            seen.add(id(event.node))
            yield self.report(program, event)

    def says_something(self, program: Program, event: FreezeMissed, events: list[FreezeMissed]) -> bool:
        """False for an attribute the class itself reads, and for a line that only repeats what is so already."""
        subject, on, misspelt = event.subject, event.value, event.attribute != "requires_grad"
        if isinstance(subject, Tensor):
            return on is not None
        roots = roots_of(subject)
        for root in roots:
            if isinstance(root.cls, Class) and self.is_own(root.cls, event):
                return False
        if isinstance(subject, ParamSet) and subject.kind == "param":
            return misspelt and on is not None
        if on is None:
            return False
        frozen = [each for each in freezes(program) if each.on is not None and whole(each.event.subject)]
        if on is False:  # repeated after a freeze that works
            return not any(
                each.on is False and any(holds(outer, root) for outer in each.roots for root in roots)
                for each in frozen
            )
        meant = any(
            other.value is False and set(map(id, roots_of(other.subject))) & set(map(id, roots))
            for other in events
        )
        return meant or any(
            each.on is False and any(holds(outer, r) for outer in each.roots for r in roots) for each in frozen
        )

    def is_own(self, cls: Class, event: FreezeMissed) -> bool:
        if any(isinstance(cls.lookup(name), Func) for name in (event.attribute, "__setattr__")):
            return True
        return any(isinstance(at, Class) and reads_itself(at, event.attribute) for at in cls.mro())

    def report(self, program: Program, event: FreezeMissed) -> Finding:
        subject, attribute = event.subject, event.attribute
        word = "freezes" if event.value is False else "unfreezes"
        if isinstance(event.node, cst.Comparison):
            message = f"`==` compares and sets nothing: this line {word} nothing"
        elif attribute == "requires_grad_":
            message = f"requires_grad_ is a method, which this line hides by a value instead of calling it: it {word} nothing"
        elif isinstance(subject, Tensor) or (isinstance(subject, ParamSet) and subject.kind == "param"):
            message = f"`{attribute}` is no attribute of a parameter (requires_grad is): this line {word} nothing"
        else:
            root = next(iter(roots_of(subject)), None)
            label = (
                f"the modules of {root.label}"
                if isinstance(subject, ParamSet) and root
                else (root.label if root else "a module")
            )
            message = f"{label} is an nn.Module, whose `{attribute}` is a plain attribute: this line {word} nothing"
            if isinstance(subject, ParamSet):
                message = f"{label} are nn.Modules, whose `{attribute}` is a plain attribute: this line {word} nothing"
        return program.finding(self, event.file, event.node, message, (), self.mend(program, event))

    def mend(self, program: Program, event: Event) -> Fix | None:
        node, tree = event.node, event.file.tree
        if isinstance(node, cst.Comparison):
            target, value = node.left, node.comparisons[0].comparator
        elif isinstance(node, cst.Assign) and len(node.targets) == 1:
            target, value = node.targets[0].target, node.value
        else:
            return None
        if not isinstance(target, cst.Attribute):
            return None
        subject = event.subject
        if isinstance(subject, Tensor) or (isinstance(subject, ParamSet) and subject.kind == "param"):
            code = f"{tree.code(target.value)}.requires_grad = {tree.code(value)}"
            return Fix(FixLevel.RECIPE, "set requires_grad", build.replace(tree, node, code), "the freeze takes effect", keeps=Keeps(optimised="fewer", frozen="any"))
        level, reason = FixLevel.RECIPE, "the freeze takes effect"
        roots = roots_of(subject)
        around = [
            module
            for module, _ in program.trained.values()
            if any(module is not root and holds(module, root) for root in roots)
        ]
        if event.loops and not isinstance(subject, ParamSet):
            level, reason = FixLevel.UNSAFE, "inside a loop the parameters may have to be unfrozen again"
        elif isinstance(subject, Instance) and not around:
            level, reason = FixLevel.UNSAFE, "nothing may be left to train"
        code = f"{tree.code(target.value)}.requires_grad_({tree.code(value)})"
        return Fix(level, "call requires_grad_()", build.replace(tree, node, code), reason, keeps=Keeps(optimised="fewer", frozen="any"))


def reads_itself(cls: Class, attribute: str) -> bool:
    """Whether a method of the class asks for `self.attribute` and does not only set it."""
    tree = cls.file.tree
    for node in walk(cls.node):
        if not isinstance(node, cst.Attribute) or node.attr.value != attribute:
            continue
        if isinstance(node.value, cst.Name) and node.value.value == "self":
            if not isinstance(tree.parent(node), cst.AssignTarget):
                return True
    return False
