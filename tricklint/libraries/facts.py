"""What is known of a library's objects, as typed records: `optimizer.fact(OptimizerFacts).groups`.

A record is made when it is first asked for, with nothing known in it.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import libcst as cst

    from tricklint.interpreter.callargs import CallArgs
    from tricklint.interpreter.events import Step
    from tricklint.interpreter.modules import FileModule
    from tricklint.interpreter.values import (
        Instance,
        Value,
    )
    from tricklint.knowledge.optimizers import OptimizerRow


@dataclass(slots=True, eq=False)
class Group:
    """One param group of an optimizer: the value given as `params`, and the options given beside it."""

    params: Value
    options: dict[str, Value] = field(default_factory=dict)
    open: bool = False
    node: cst.CSTNode | None = None
    default: bool = True  # False for a group that the default path does not take


@dataclass(slots=True, eq=False)
class OptimizerFacts:
    """name: the class or factory, dotted. own: a class of the program. factory: it splits the parameters by itself.
    open: more options may have been given. defaults: what an own class hands to `Optimizer.__init__`. configured: a
    configuration names its class, and what the call is given goes through a library that takes no groups of tensors."""

    name: str = ""
    row: OptimizerRow | None = None
    params: Value | None = None
    groups: list[Group] = field(default_factory=list)
    options: dict[str, Value] = field(default_factory=dict)
    open: bool = False
    own: bool = False
    factory: bool = False
    defaults: Value | None = None
    configured: bool = False


@dataclass(slots=True, eq=False)
class SchedulerFacts:
    optimizer: Value | None = None


@dataclass(slots=True, eq=False)
class GroupsFacts:
    """Of `optimizer.param_groups`, and of one group in it."""

    optimizer: Instance | None = None


@dataclass(slots=True, eq=False)
class LoaderFacts:
    dataset: Value | None = None
    batch_size: Value | None = None
    shuffle: Value | None = None
    sampler: Value | None = None
    batch_sampler: Value | None = None


@dataclass(slots=True, eq=False)
class BatchFacts:
    """Of what a loop over a loader gives."""

    loader: Instance | None = None


@dataclass(slots=True, eq=False)
class TrainerFacts:
    framework: str = ""
    model: Value | None = None


@dataclass(slots=True, eq=False)
class CheckpointFacts:
    source: str = ""


@dataclass(slots=True, eq=False)
class ParserFacts:
    """The options a command line parser was given, with their defaults."""

    options: dict[str, Value] = field(default_factory=dict)


@dataclass(slots=True, eq=False)
class Load:
    """Weights of a checkpoint that a module was given before it was trained."""

    node: cst.CSTNode
    weights: Instance
    file: FileModule
    path: tuple[Step, ...]


@dataclass(slots=True, eq=False)
class ModuleFacts:
    """What is known of a module.

    pretrained: it was asked for with weights (None where that is unknown, False where it was not asked). family: the
    library's row it came from. external: a library built it whole. new_head: with a head that no weights were loaded into.
    path: where in a library's model it is a part; parts: those that were asked for. loads: checkpoints it was
    given. modal: a function that is given its `training`, as name, file and node. output: what its forward gave; unrecorded: while autograd was off; running: it is under way. loss_class: it serves as a criterion. init_arguments:
    saved hyperparameters. optimizers: what `configure_optimizers` gave; fitted: a trainer ran it. flat: its parameters are
    one long vector. reparametrised: the wrapper that gives its weight a scale of its own. open: it may hold more children.
    copied: another model was made from it. peft: adapters train in it. super_args: what its base class was given.
    grown: modules that a loop over its own modules hung on them, by the attribute. adopted: fields that hold modules it
    was given when it was made. guessed: only its use says that it is a
    module, nothing tells what is in it. imagined: nobody made it; it stands for an instance that may be. is_pretrained, holds_pretrained: answers that rules have worked out before.
    """

    pretrained: bool | None = False
    family: str = ""
    external: bool = False
    new_head: bool = False
    path: str = ""
    parts: list[Instance] = field(default_factory=list)
    loads: list[Load] = field(default_factory=list)
    modal: tuple[str, FileModule, cst.CSTNode] | None = None
    output: Value | None = None
    unrecorded: bool = False
    running: bool = False
    loss_class: bool = False
    init_arguments: dict[str, Value] = field(default_factory=dict)
    optimizers: Value | None = None
    fitted: bool = False
    flat: bool = False
    reparametrised: str = ""
    open: bool = False
    copied: bool = False
    peft: bool = False
    super_args: CallArgs | None = None
    grown: dict[str, Value] = field(default_factory=dict)
    adopted: set[str] = field(default_factory=set)
    guessed: bool = False
    imagined: bool = False
    is_pretrained: bool | None = None
    holds_pretrained: bool | None = None


def from_library(module: Instance) -> bool:
    """Whether a module, or the model it is a part of, was built whole by a library: it holds more than the code shows."""
    if not module.has(ModuleFacts):
        return module.part_of is not None
    known = module.fact(ModuleFacts)
    return known.external or module.part_of is not None or known.pretrained is not False or bool(known.family)


__all__ = [
    "BatchFacts", "CheckpointFacts", "Group", "GroupsFacts", "Load", "LoaderFacts", "ModuleFacts", "OptimizerFacts", "ParserFacts",
    "SchedulerFacts", "TrainerFacts", "from_library",
]  # fmt: skip
