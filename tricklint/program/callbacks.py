"""What happens in hooks of callbacks while a trainer trains: which optimizer it meets, and whether that may be changed there."""

from __future__ import annotations

import libcst as cst

from tricklint.interpreter.events import Event, Loop
from tricklint.interpreter.values import Instance, members
from tricklint.libraries.events import OptimizerBuilt, TrainerGiven
from tricklint.libraries.facts import ModuleFacts, TrainerFacts
from tricklint.libraries.modules import submodules
from tricklint.program.program import Program
from tricklint.program.transfer import Freeze, freezes, holds
from tricklint.source.tree import walk

# What Lightning's trainer tells that is a number or a flag, and no way to its optimizers
_NUMBERS = frozenset((
    "current_epoch", "global_step", "max_epochs", "max_steps", "num_training_batches", "estimated_stepping_batches",
    "is_global_zero", "sanity_checking", "global_rank",
))  # fmt: skip


def hook_of(at: Event) -> Loop | None:
    """The hook of a callback that an event happens in."""
    return next((loop for loop in reversed(at.loops) if _trainer(loop) is not None), None)


def _trainer(loop: Loop) -> Instance | None:
    hook = isinstance(loop.node, cst.FunctionDef) and isinstance(loop.over, Instance) and loop.over.kind == "trainer"
    return loop.over if hook else None  # type: ignore[return-value]


def may_change_optimizer(hook: Loop) -> bool:
    """The callback asks for the optimizer, or for the trainer beyond numbers: it can add groups, or set rates, itself."""
    trainer = _trainer(hook)
    around = next((up for up in hook.file.tree.ancestors(hook.node) if isinstance(up, cst.ClassDef)), hook.node)
    if trainer is None or trainer.fact(TrainerFacts).framework != "lightning":
        return any(_is_optimizer(node) for node in walk(around) if not isinstance(node, cst.Param)) or _hands_on(around)
    params = [param.name.value for param in hook.node.params.params]  # type: ignore[attr-defined]
    name = params[1] if len(params) > 1 else ""
    for node in walk(around):
        if isinstance(node, cst.Attribute) and node.attr.value in ("trainer", "optimizers"):
            return True
        if isinstance(node, cst.Name) and node.value == name and _goes_further(hook, node):
            return True
    return False


def _is_optimizer(node: cst.CSTNode) -> bool:
    if isinstance(node, cst.Attribute):
        return node.attr.value in ("optimizer", "trainer", "create_optimizer", "create_optimizer_and_scheduler")
    if isinstance(node, cst.SimpleString):
        return node.raw_value == "optimizer"
    return isinstance(node, cst.Name) and node.value == "optimizer"


def _hands_on(around: cst.CSTNode) -> bool:
    """All that a hook is given goes to another function: `helper(**kwargs)`."""
    return any(isinstance(node, cst.Arg) and node.star == "**" for node in walk(around))


def _goes_further(hook: Loop, name: cst.Name) -> bool:
    above = hook.file.tree.parent(name)
    if isinstance(above, cst.Param):
        return False
    if isinstance(above, cst.Attribute) and above.value is name:
        return above.attr.value not in _NUMBERS
    return not (isinstance(above, cst.Attribute) and above.attr is name)


def built_without(program: Program, model: Instance, freeze: Freeze, at: Event) -> Event | None:
    """Where transformers' `Trainer` began to train, with the optimizer that it makes then, once, over what requires gradients:
    `model`, frozen by then and let go by a callback at `at`, is not in it. None where the optimizer may be another one."""
    hook, frozen = hook_of(at), freeze.event
    trainer = _trainer(hook) if hook is not None else None
    if hook is None or trainer is None or trainer.fact(TrainerFacts).framework != "transformers":
        return None
    given = [event for event in program.events(TrainerGiven) if event.entry == at.entry]
    began = [event for event in given if event.trainer is trainer and event.seq < at.seq]
    if not began or hook_of(frozen) is not None or frozen.seq > began[-1].seq or _makes_its_own(program, trainer):
        return None
    if not _took_in(freeze, model) or any(event.seq > at.seq for event in given) or may_change_optimizer(hook):
        return None  # another training follows, with an optimizer of its own
    for other in freezes(program):
        between = other.on is not False and frozen.seq < other.event.seq < began[-1].seq
        if between and any(holds(root, model) or holds(model, root) for root in other.roots):
            return None
    return began[-1]


def _took_in(freeze: Freeze, model: Instance) -> bool:
    """Something of `model` surely was frozen: it holds all that was, or lies in it and no test on names spares it."""
    if any(holds(model, root) for root in freeze.roots):
        return True
    tests = [pred for pred in freeze.preds if pred.op not in ("within", "requires_grad", "not_none")]
    if any(not pred.negated or pred.op not in ("name_contains", "name_startswith") for pred in tests):
        return False
    words = [str(word) for pred in tests for word in pred.args]
    for root in freeze.roots:
        paths = [path for path, module in submodules(root) if module is model] or [str(model.fact(ModuleFacts).path)]
        if holds(root, model) and not any(word in path for word in words for path in paths):
            return True
    return False


def _makes_its_own(program: Program, trainer: Instance) -> bool:
    """The trainer is given an optimizer, or the program makes one for it."""
    if trainer.open_kwargs or any(key.startswith("optimizer") for key in trainer.kwargs) or len(trainer.args) > 10:
        return True
    if any(any(member is trainer for member in members(event.subject)) for event in program.events(OptimizerBuilt)):
        return True
    files = [program.project.module(path) for path, source in program.sources.items() if "create_optimizer" in source.text]
    return any(
        isinstance(node, cst.Name) and node.value.startswith("create_optimizer")
        for file in files if file is not None for node in walk(file.tree.module)
    )


__all__ = ["built_without", "hook_of", "may_change_optimizer"]
