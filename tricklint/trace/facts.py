"""ModelFacts: everything a trace learnt about one model. Torch-free; `to_json` and `from_json` are inverse."""

from __future__ import annotations

import dataclasses
import json
import types
import typing
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

SCHEMA = 1
USABLE = 0.92  # of a card's memory: the rest is the CUDA context, fragmentation and workspaces


class _Record:
    """Plain JSON in and out, for dataclasses of numbers, strings, lists and other records."""

    def to_dict(self) -> dict[str, Any]:
        return dataclasses.asdict(self)  # type: ignore[call-overload,no-any-return]

    @classmethod
    def from_dict(cls, data: dict[str, Any]) -> Any:
        hints = typing.get_type_hints(cls)
        known = {f.name for f in dataclasses.fields(cls)}  # type: ignore[arg-type]
        return cls(**{name: _revive(hints[name], value) for name, value in data.items() if name in known})


def _revive(hint: Any, value: Any) -> Any:
    if value is None:
        return None
    origin = typing.get_origin(hint)
    if origin in (typing.Union, types.UnionType):
        return _revive(next(a for a in typing.get_args(hint) if a is not type(None)), value)
    if origin is list:
        return [_revive(typing.get_args(hint)[0], item) for item in value]
    if origin is tuple:
        return tuple(_revive(typing.get_args(hint)[0], item) for item in value)
    if origin is dict:
        return {key: _revive(typing.get_args(hint)[1], item) for key, item in value.items()}
    if isinstance(hint, type) and issubclass(hint, _Record):
        return hint.from_dict(value)
    if isinstance(hint, type) and not isinstance(value, (int, float) if hint is float else hint):
        raise TypeError(f"expected {hint.__name__}, got {type(value).__name__}")
    return value


@dataclass
class Site(_Record):
    """Where a class, function or call stands in the user's own files. 1-based rows; `path` as it was imported."""

    path: str
    row: int
    end_row: int = 0
    name: str = ""


@dataclass
class ModuleFact(_Record):
    """One module of the tree. `parameters` counts what it holds directly, `calls` how often the graph ran it."""

    path: str
    type: str
    parameters: int
    site: str = ""  # key into ModelFacts.sites when the class is the user's own
    shape: tuple[int, ...] = ()  # of its output, batch included, when a forward ran
    calls: int = 0


@dataclass
class ParameterFact(_Record):
    """One parameter. `used` is None when nothing could tell whether the forward reaches it."""

    name: str
    shape: tuple[int, ...]
    dtype: str
    kind: str  # matrix, bias, norm, embedding, scalar
    frozen: bool = False
    tied_to: tuple[str, ...] = ()  # other names of the same parameter
    used: bool | None = None
    groups: tuple[int, ...] = ()  # indices into OptimizerFact.groups; twice in one group counts twice
    std: float | None = None  # at construction
    constant: float | None = None  # every element is this number

    @property
    def size(self) -> int:
        count = 1
        for side in self.shape:
            count *= side
        return count


@dataclass
class LayerFact(_Record):
    """One Linear or Conv layer, in the order they run. Standard deviations are of the weight at construction."""

    path: str
    type: str
    kind: str  # linear, conv
    weight: str
    bias: str
    fan_in: int
    fan_out: int
    activation: str  # that follows; "none"
    norm_after: bool
    skip_after: bool
    std: float | None
    default_std: float  # PyTorch's own, 1/√(3·fan_in)
    xavier_std: float  # gain 1, or 5/3 before tanh
    kaiming_std: float  # √2/√fan_in
    init: str = "unknown"  # default, xavier, kaiming, zero, constant, other, unknown
    own_init: bool = False  # somebody's code initialised it again after the constructor
    output_std: float | None = None  # of its activations at init, inputs standard normal


@dataclass
class HeadFact(_Record):
    """The layer that yields the model's output."""

    path: str
    type: str
    classes: int | None
    bias: str  # its name, "" when there is none
    bias_default: bool | None  # the bias still is PyTorch's random default (or zero)
    bias_value: float | None = None  # when all biases are one number


@dataclass
class ProductFact(_Record):
    """L2-normalised features meet class weights."""

    module: str
    classes: int | None
    weights_normalised: bool
    scale: float | None
    learnable: bool  # or a number the graph does not show


@dataclass
class NormFact(_Record):
    """A normalisation layer with running statistics."""

    path: str
    type: str
    frozen: bool  # its own parameters are frozen (or it has none and stands in a frozen parent)
    pinned: bool  # kept in eval mode whatever .train() says, or in eval mode now
    moved: bool = False  # its running mean is no longer the zeros it was made with


@dataclass
class GroupFact(_Record):
    lr: float
    weight_decay: float
    parameters: int


@dataclass
class OptimizerFact(_Record):
    """The optimizer the project builds for this model."""

    type: str
    groups: list[GroupFact]
    site: Site | None = None
    missing: list[str] = field(default_factory=list)  # trainable, in no group
    twice: list[str] = field(default_factory=list)
    strangers: int = 0  # parameters in it that the model does not have
    state_per_parameter: int = 2  # tensors of the parameter's size it keeps (Adam 2, SGD with momentum 1)


@dataclass
class MemoryFact(_Record):
    """Bytes of one training step: what autograd saves for a sample, and what stays whatever the batch."""

    per_sample: int
    fixed: int  # parameters, gradients, optimizer state, buffers
    input_shape: tuple[int, ...] = ()

    def bytes_for(self, batch: int) -> int:
        return self.fixed + batch * self.per_sample

    def largest_batch(self, card: int) -> int:
        """The largest batch that fits a card of `card` bytes, 0 when not even one sample does."""
        room = card * USABLE - self.fixed
        return max(0, int(room // self.per_sample)) if self.per_sample else 0


@dataclass
class Unregistered(_Record):
    """Layers a module keeps in a plain list or dict, out of reach of .parameters() and .to()."""

    owner: str
    attribute: str
    layers: int
    parameters: int
    site: str = ""


@dataclass
class InputFact(_Record):
    name: str
    shape: tuple[int, ...]
    dtype: str
    source: str


@dataclass
class ModelFacts(_Record):
    """All of it. `rung` is the step of the ladder the graph came from, `tried` why cheaper ones were left."""

    target: str
    type: str
    rung: str
    site: Site | None = None
    found_at: Site | None = None  # where the Program saw it built, for a discovered model
    tried: list[str] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    inputs: list[InputFact] = field(default_factory=list)
    modules: list[ModuleFact] = field(default_factory=list)
    parameters: list[ParameterFact] = field(default_factory=list)
    layers: list[LayerFact] = field(default_factory=list)
    heads: list[HeadFact] = field(default_factory=list)
    head_reason: str = ""
    output_activation: str = ""
    products: list[ProductFact] = field(default_factory=list)
    norms: list[NormFact] = field(default_factory=list)
    unregistered: list[Unregistered] = field(default_factory=list)
    optimizer: OptimizerFact | None = None
    memory: MemoryFact | None = None
    sites: dict[str, Site] = field(default_factory=dict)
    opaque_share: float = 0.0
    eval_only: bool = False  # the forward did not run in train mode
    signal_note: str = ""  # why output_std is missing
    torch: str = ""
    seconds: float = 0.0  # by the clock, the signal's forward included
    cpu_seconds: float = 0.0
    schema: int = SCHEMA

    @property
    def complete(self) -> bool:
        """Head (or the reason there is none), activations and parameter kinds are all known."""
        return self.rung != "tree" and bool(self.heads or self.head_reason) and all(p.kind for p in self.parameters)

    @property
    def unused(self) -> list[ParameterFact]:
        """Trainable parameters that the forward never reaches."""
        return [p for p in self.parameters if p.used is False and not p.frozen]

    @property
    def total(self) -> int:
        return sum(p.size for p in self.parameters)

    def to_json(self) -> str:
        return json.dumps(self.to_dict(), indent=1)

    @classmethod
    def from_json(cls, text: str) -> ModelFacts:
        """Raises ValueError when `text` is no ModelFacts of this schema."""
        try:
            data = json.loads(text)
            if data.get("schema") != SCHEMA:
                raise ValueError(f"facts of schema {data.get('schema')}, wanted {SCHEMA}")
            return typing.cast(ModelFacts, cls.from_dict(data))
        except (TypeError, KeyError, AttributeError) as error:
            raise ValueError(f"not ModelFacts: {error}") from error


@dataclass
class Failure(_Record):
    """A target that could not be built or traced: one line, with its cause and, where known, the place."""

    target: str
    cause: str  # limit, memory, blocked, crash, import, missing, exit, error, unknown
    message: str
    site: Site | None = None


@dataclass
class FactsReport(_Record):
    """What `--trace` learnt about a project. Iterating gives the ModelFacts."""

    models: list[ModelFacts] = field(default_factory=list)
    failures: list[Failure] = field(default_factory=list)
    root: str = ""  # the project's folder, which the sites' relative paths start from

    def __iter__(self) -> Iterator[ModelFacts]:
        return iter(self.models)

    def __len__(self) -> int:
        return len(self.models)
