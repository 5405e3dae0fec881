"""What is known of a library's objects, as typed records: `optimizer.fact(OptimizerFacts).groups`.

A record is made when it is first asked for, with nothing known in it.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

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
    """What is known of an optimizer."""

    name: str = ""  # the class or factory, dotted
    row: OptimizerRow | None = None  # what is known of that class
    params: Value | None = None  # the first argument
    groups: list[Group] = field(default_factory=list)
    options: dict[str, Value] = field(default_factory=dict)  # beside the parameters
    open: bool = False  # more options may have been given
    own: bool = False  # a class of the program
    factory: bool = False  # it splits the parameters by itself
    defaults: Value | None = None  # what an own class hands to `Optimizer.__init__`
    configured: bool = False  # a configuration names its class, through a library that takes no groups of tensors


@dataclass(slots=True, eq=False)
class SchedulerFacts:
    optimizer: Value | None = None


@dataclass(slots=True, eq=False)
class GroupsFacts:
    """Of `optimizer.param_groups`, and of one group in it. every: it stands for each of them, in a loop."""

    optimizer: Instance | None = None
    every: bool = False


@dataclass(slots=True, eq=False)
class LoaderFacts:
    dataset: Value | None = None
    batch_size: Value | None = None
    shuffle: Value | None = None
    sampler: Value | None = None
    batch_sampler: Value | None = None
    pickled: bool = False  # another script of the program may read it back


@dataclass(slots=True, eq=False)
class BatchFacts:
    """Of what a loop over a loader gives."""

    loader: Instance | None = None


@dataclass(slots=True, eq=False)
class TrainerFacts:
    framework: str = ""
    model: Value | None = None
    callbacks: list[Value] = field(default_factory=list)  # added after it was made


@dataclass(slots=True, eq=False)
class CheckpointFacts:
    """source: what read it. model: it as a whole model, once it was used as one."""

    source: str = ""
    model: Instance | None = None


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
    entry: str


@dataclass(slots=True, eq=False)
class ModuleFacts:
    """What is known of a module."""

    pretrained: bool | None = False  # asked for with weights; None where that is unknown, False where it was not asked
    family: str = ""  # the library's row it came from
    external: bool = False  # a library built it whole
    new_head: bool = False  # with a head that no weights were loaded into
    path: str = ""  # where in a library's model it is a part
    parts: list[Instance] = field(default_factory=list)  # of a library's model: those that were asked for
    loads: list[Load] = field(default_factory=list)  # checkpoints it was given
    modal: tuple[str, FileModule, cst.CSTNode] | None = None  # a function that is given its `training`
    output: Value | None = None  # what its forward gave
    unrecorded: bool = False  # that forward ran while autograd was off
    running: bool = False  # its forward is under way
    loss_class: bool = False  # it serves as a criterion
    init_arguments: dict[str, Value] = field(default_factory=dict)  # saved hyperparameters
    optimizers: Value | None = None  # what `configure_optimizers` gave
    fitted: bool = False  # a trainer ran it
    flat: bool = False  # its parameters are one long vector
    reparametrised: str = ""  # the wrapper that gives its weight a scale of its own
    scripted: int | None = None  # when TorchScript compiled it: its layers are no instances of their classes from then on
    open: bool = False  # it may hold more children
    copied: bool = False  # another model was made from it
    peft: bool = False  # adapters train in it
    super_args: CallArgs | None = None  # what its base class was given
    grown: dict[str, Value] = field(default_factory=dict)  # modules that a loop hung on its own modules, by attribute
    adopted: set[str] = field(default_factory=set)  # fields that hold modules it was given when it was made
    guessed: bool = False  # only its use says that it is a module, nothing tells what is in it
    imagined: bool = False  # nobody made it; it stands for an instance that may be
    is_pretrained: bool | None = None  # an answer that a rule has worked out before
    holds_pretrained: bool | None = None  # likewise
    slots: list[Any] | None = None  # likewise: its parameters
    slots_by_key: dict[tuple[int, str], Any] | None = None


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
