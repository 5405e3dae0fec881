"""What training code does to models, optimizers, losses and loaders: the events that libraries' models emit."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from tricklint.interpreter.events import Event

if TYPE_CHECKING:
    from tricklint.interpreter.callargs import CallArgs
    from tricklint.interpreter.values import (
        Dict,
        Instance,
        Pred,
        Ref,
        Value,
    )


@dataclass(frozen=True, slots=True, eq=False, repr=False)
class OptimizerBuilt(Event):
    """An optimizer was made; what it was given is in its `OptimizerFacts`."""

    subject: Instance

    @property
    def makes(self) -> bool:
        return True


@dataclass(frozen=True, slots=True, eq=False, repr=False)
class OptimizerLoaded(Event):
    """`optimizer.load_state_dict(…)`: groups are matched by their number."""

    subject: Instance


@dataclass(frozen=True, slots=True, eq=False, repr=False)
class GroupAdded(Event):
    """`optimizer.add_param_group(group)`; None when it is no dict that could be read."""

    subject: Instance
    group: Dict | None


@dataclass(frozen=True, slots=True, eq=False, repr=False)
class GroupOptionSet(Event):
    """`optimizer.param_groups[i][option] = value`; option None when it is not known. every: a loop sets it in all groups."""

    option: object
    value: Value
    every: bool = False


@dataclass(frozen=True, slots=True, eq=False, repr=False)
class GroupParamsTaken(Event):
    """`optimizer.param_groups[i]["params"]`: the parameters of one group, by its number."""

    subject: Instance


@dataclass(frozen=True, slots=True, eq=False, repr=False)
class Stepped(Event):
    """`optimizer.step()`, also by a framework; `through`: by a scaler, which is given the optimizer."""

    through: bool = False


@dataclass(frozen=True, slots=True, eq=False, repr=False)
class GradsCleared(Event):
    """`zero_grad()` of an optimizer or a module."""


@dataclass(frozen=True, slots=True, eq=False, repr=False)
class SchedulerBuilt(Event):
    """A learning rate scheduler was made; its `SchedulerFacts` name the optimizer."""

    subject: Instance

    @property
    def makes(self) -> bool:
        return True


@dataclass(frozen=True, slots=True, eq=False, repr=False)
class SchedulerStepped(Event):
    """`scheduler.step(…)`, also through a framework."""

    subject: Instance
    args: CallArgs


@dataclass(frozen=True, slots=True, eq=False, repr=False)
class LoaderBuilt(Event):
    """A `DataLoader` was made; what it was given is in its `LoaderFacts`."""

    subject: Instance

    @property
    def makes(self) -> bool:
        return True


@dataclass(frozen=True, slots=True, eq=False, repr=False)
class SamplerBuilt(Event):
    """A sampler, also a `DistributedSampler`, was made."""

    subject: Instance

    @property
    def makes(self) -> bool:
        return True


@dataclass(frozen=True, slots=True, eq=False, repr=False)
class EpochSet(Event):
    """`sampler.set_epoch(…)`."""


@dataclass(frozen=True, slots=True, eq=False, repr=False)
class LossBuilt(Event):
    """A criterion was made. `type`: the loss it is (`cross_entropy`, `bce`, …), "" for others."""

    subject: Instance
    type: str

    @property
    def makes(self) -> bool:
        return True


@dataclass(frozen=True, slots=True, eq=False)
class Outcome:
    """What a call gives, known once it has returned."""

    values: list[Value] = field(default_factory=list)


@dataclass(frozen=True, slots=True, eq=False, repr=False)
class LossComputed(Event):
    """A criterion (an Instance, or a Ref for a function) was called.

    inputs: positional arguments, then the keywords' values. type: as in LossBuilt.
    """

    subject: Instance | Ref
    inputs: tuple[Value, ...]
    positional: tuple[Value, ...]
    kwargs: dict[str, Value]
    type: str
    outcome: Outcome = field(default_factory=Outcome)

    @property
    def output(self) -> Value | None:
        return self.outcome.values[-1] if self.outcome.values else None


@dataclass(frozen=True, slots=True, eq=False, repr=False)
class Forward(Event):
    """A module was called.

    depth: how many other modules' forwards it stands in. root_grad: whether autograd recorded when the outermost of them
    began. mixed: the callee may be something else too.
    """

    subject: Instance
    inputs: tuple[Value, ...]
    positional: tuple[Value, ...]
    depth: int
    root_grad: bool | None
    mixed: bool
    outcome: Outcome = field(default_factory=Outcome)

    @property
    def output(self) -> Value | None:
        return self.outcome.values[-1] if self.outcome.values else None


@dataclass(frozen=True, slots=True, eq=False, repr=False)
class Backward(Event):
    """The subject was backpropagated. `partial`: only gradients with regard to some inputs were asked for."""

    partial: bool = False

    @property
    def trains(self) -> bool:
        return True


@dataclass(frozen=True, slots=True, eq=False, repr=False)
class ModeSet(Event):
    """`train()` (True), `eval()` (False), or a mode that could not be decided (None)."""

    train: bool | None


@dataclass(frozen=True, slots=True, eq=False, repr=False)
class Moved(Event):
    """`.to(…)`, `.cuda()`, `.half()` …: `how` is the method."""

    subject: Instance
    how: str
    args: CallArgs


@dataclass(frozen=True, slots=True, eq=False, repr=False)
class Froze(Event):
    """`requires_grad` was set to `value` (None: not decided), for the elements that pass `pred`."""

    value: bool | None
    pred: Pred | None = None


@dataclass(frozen=True, slots=True, eq=False, repr=False)
class FreezeMissed(Event):
    """Something that looks like a freeze (or thaw, `value` True) and is none: `attribute` was set, on a module or misspelt."""

    attribute: str
    value: bool | None


@dataclass(frozen=True, slots=True, eq=False, repr=False)
class NormStatsSet(Event):
    """`track_running_stats` or `momentum` of a norm layer was set."""

    attribute: str
    value: Value


@dataclass(frozen=True, slots=True, eq=False, repr=False)
class Initialised(Event):
    """Weights were given values. `scheme`: the function of `nn.init` or the method; `which`: weight or bias where it is
    known; `args`, `kwargs`: beside the tensor."""

    scheme: str
    args: tuple[Value, ...] = ()
    kwargs: dict[str, Value] = field(default_factory=dict)
    which: str | None = None


@dataclass(frozen=True, slots=True, eq=False, repr=False)
class HeadReplaced(Event):
    """A part of a model was replaced after the model was made: `model.fc = nn.Linear(…)`."""

    subject: Instance
    attribute: str
    value: Value
    old: Value | None


@dataclass(frozen=True, slots=True, eq=False, repr=False)
class WeightsLoaded(Event):
    """`load_state_dict(weights, strict)`, or a checkpoint of a framework."""

    subject: Instance
    weights: Value | None
    strict: Value | None = None


@dataclass(frozen=True, slots=True, eq=False, repr=False)
class PlainContainer(Event):
    """A list or dict became an attribute of a module: layers in it are not registered."""

    subject: Instance
    attribute: str
    value: Value


@dataclass(frozen=True, slots=True, eq=False, repr=False)
class TrainsOver(Event):
    """A framework's training loop goes over the subject: a loader, or an object that was given the size of batches.

    options: what the call was given beside it, or the object that holds the trainer's arguments.
    """

    subject: Instance
    framework: str
    trainer: Instance | None
    options: dict[str, Value] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, eq=False, repr=False)
class TrainerGiven(Event):
    """A framework's trainer was given the subject (or, without a model, is the subject itself)."""

    subject: Instance
    framework: str
    trainer: Instance

    @property
    def trains(self) -> bool:
        return True


@dataclass(frozen=True, slots=True, eq=False, repr=False)
class LearnerBuilt(Event):
    """A learner of fastai was made."""

    subject: Instance

    @property
    def makes(self) -> bool:
        return True


__all__ = [
    "Backward",
    "EpochSet",
    "Forward",
    "FreezeMissed",
    "Froze",
    "GradsCleared",
    "GroupAdded",
    "GroupOptionSet",
    "GroupParamsTaken",
    "HeadReplaced",
    "Initialised",
    "LearnerBuilt",
    "LoaderBuilt",
    "LossBuilt",
    "LossComputed",
    "ModeSet",
    "Moved",
    "NormStatsSet",
    "OptimizerBuilt",
    "OptimizerLoaded",
    "Outcome",
    "PlainContainer",
    "SamplerBuilt",
    "SchedulerBuilt",
    "SchedulerStepped",
    "Stepped",
    "TrainerGiven",
    "TrainsOver",
    "WeightsLoaded",
]  # fmt: skip
