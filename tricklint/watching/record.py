"""What a watched run wrote down, as types that rules ask."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any, NamedTuple

from tricklint.finding import Evidence, Finding, Location, Severity
from tricklint.rule import Rule


@dataclass(frozen=True)
class Frame:
    """One line of the user's that was running; columns count from 1."""

    file: str
    row: int
    end_row: int
    column: int
    end_column: int
    function: str


@dataclass(frozen=True)
class Place:
    """Where something happened: the user's lines that led there, the innermost first. Empty: only in libraries."""

    frames: tuple[Frame, ...] = ()

    @property
    def at(self) -> Frame | None:
        return self.frames[0] if self.frames else None

    def apart(self, others: Iterable[Place]) -> Place:
        """From the innermost line on that none of the others came by: a helper that both call is left out."""
        shared = {(frame.file, frame.row) for other in others for frame in other.frames}
        for index, frame in enumerate(self.frames):
            if (frame.file, frame.row) not in shared:
                return Place(self.frames[index:])
        return self


class Draw(NamedTuple):
    """A call of torch.nn.init by the project: which function, where, and the numbers and names it was given."""

    function: str
    place: Place
    given: dict[str, Any]


@dataclass(frozen=True)
class Statistics:
    """What a parameter's values were like before the first step."""

    mean: float
    std: float
    largest: float  # of the absolute values
    least: float
    most: float

    @property
    def constant(self) -> bool:
        return self.least == self.most


@dataclass
class Parameter:
    """`kind` is matrix, bias, norm, embedding or scalar; `layer` the class that holds it; `drawn` the
    project's own last draw of it."""

    number: int
    name: str
    shape: tuple[int, ...]
    kind: str
    trainable: bool
    layer: str
    drawn: Draw | None = None
    loaded: Place | None = None
    loader: str = ""  # the package whose code loaded it
    statistics: Statistics | None = None
    model: Model | None = None

    @property
    def size(self) -> int:
        size = 1
        for side in self.shape:
            size *= side
        return size

    @property
    def is_vector(self) -> bool:
        """A bias, a norm's, a scalar or another vector: what common recipes do not decay."""
        if self.kind in ("bias", "norm", "scalar"):
            return True
        return self.kind != "matrix" and sum(side > 1 for side in self.shape) < 2


@dataclass
class Model:
    """A model that ran or whose parameters an optimizer got. `modules`: path → (class, the project's file or None)."""

    number: int
    type: str
    modules: dict[str, tuple[str, str | None]]
    parameters: list[Parameter]
    place: Place = Place()
    unregistered: list[tuple[str, str, str, int]] = field(default_factory=list)

    @property
    def own_class(self) -> tuple[str, str] | None:
        """(class, file) of the model itself, where its class is the project's."""
        name, file = self.modules.get("", ("", None))
        return (name, file) if file is not None else None


@dataclass
class Group:
    lr: float | None
    weight_decay: float | None
    parameters: list[Parameter]


@dataclass
class Stepped:
    """Steps of one optimizer at one place. `backward`: where the last one before was; `stale`: the gradients of the
    step before were still there; `fresh`: a backward had reached it since."""

    place: Place
    backward: Place | None
    stale: bool
    fresh: bool
    count: int
    first: int
    last: int


@dataclass
class Optimizer:
    """`own`: a class of the project's. `groups`: as they were built, then each time they had changed, with the steps it had made by then."""

    number: int
    type: str
    own: bool
    place: Place
    groups: list[tuple[int, list[Group]]] = field(default_factory=list)
    steps: list[Stepped] = field(default_factory=list)
    cleared: list[Place] = field(default_factory=list)

    @property
    def at_work(self) -> list[Group]:
        """The groups that its first step had; those it was built with where it made none."""
        return [groups for made, groups in self.groups if made == 0][-1] if self.groups else []

    @property
    def made(self) -> int:
        return sum(step.count for step in self.steps)

    @property
    def parameters(self) -> dict[int, Parameter]:
        return {p.number: p for _, groups in self.groups for group in groups for p in group.parameters}


@dataclass
class Forward:
    """Calls of one module from one place in one mode. `drops`, `norms`: its layers that acted as in training, of
    `modeful`; `functional`: calls of F.dropout that dropped; `unreached`: graphs that died without a backward;
    `kept`: graphs that lived on for rounds after their backward; `most_alive`: graphs alive at once."""

    number: int
    model: int | None
    module: int
    type: str
    place: Place
    training: bool
    drops: int
    norms: int
    modeful: int
    functional: int
    grad: bool
    inference: bool
    graph: bool
    count: int
    reached: int
    unreached: int
    most_alive: int
    most_in_a_row: int
    kept: int
    first: int
    last: int
    drifting: list[int]  # weights of frozen norm layers whose running statistics move
    still: list[int]  # … of those that were in eval mode
    loaders: list[int] = field(default_factory=list)  # those that had given the last batch before its calls
    discarded: bool = False  # nothing is done with what the calls give
    most_others: int = 0  # most calls in a row that were given something else than the one before

    def dropped(self, made: int) -> bool:
        """Whether nothing was ever done with its graphs, although the calls come back: between two of them the model's
        optimizers make several steps, of `made` in all."""
        return self.graph and not self.reached and self.unreached > 1 and 2 * self.count <= made

    def evaluates(self, trained: Iterable[Forward]) -> bool:
        """Whether its calls are rounds of an evaluation, if they do not train: several in a row, or again and again from a
        loader that none of the training calls is fed from."""
        if self.most_in_a_row > 1:
            return True
        theirs = {loader for one in trained for loader in one.loaders}
        return self.count > 1 and bool(self.loaders) and not set(self.loaders) & theirs

    @property
    def active(self) -> int:
        """Layers (and calls of F.dropout) that acted as in training."""
        return self.drops + self.norms or self.functional

    @property
    def acting(self) -> str:
        """ "3 of 5 dropout and norm layers"."""
        if self.modeful:
            return f"{self.drops + self.norms} of {self.modeful} dropout and norm layers"
        return f"{self.functional} call{'s' * (self.functional != 1)} of F.dropout"


@dataclass
class Fact:
    """What else was seen, with the places that it names made into `Place`s: see the recorder for its keys."""

    kind: str
    step: int
    place: Place
    data: dict[str, Any]


class RecordError(Exception):
    """A folder holds no record of a run that can be read."""


@dataclass(frozen=True)
class Clean:
    """The run shows that a rule's mistake is not made at this place."""

    code: str
    place: Place
    message: str


class Run:
    """One watched run. `root` is the folder that the files' names start from."""

    def __init__(self, root: Path, facts: Iterable[dict[str, Any]], settings: Any = None) -> None:
        self.root = root
        self.settings = settings
        self._places: dict[int, Place] = {}
        self._rows: dict[int, dict[str, Any]] = {}
        self._once: list[dict[str, Any]] = []
        self.end: dict[str, Any] | None = None
        for fact in facts:
            if fact.get("fact") == "place":
                self._places[fact["place"]] = Place(tuple(_frame(*frame) for frame in fact["frames"]))
            elif fact.get("fact") == "end":
                self.end = fact
            elif "row" in fact:
                self._rows[fact["row"]] = fact
            else:
                self._once.append(fact)

    # -- what it is

    @property
    def steps(self) -> int:
        if self.end is not None:
            return int(self.end["steps"])
        return max((row.get("last", -1) + 1 for row in self._all("step")), default=0)

    @property
    def arguments(self) -> list[str]:
        """What the command was given beside the script's name."""
        return next((list(fact["argv"][1:]) for fact in self._once if fact["fact"] == "start"), [])

    def files(self) -> list[Path]:
        """The project's files that ran, as far as they are there."""
        names = {frame.file for place in self._places.values() for frame in place.frames}
        names.update(self.end.get("files", ()) if self.end is not None else ())
        paths = {Path(name) if Path(name).is_absolute() else self.root / name for name in names}
        return sorted(path for path in paths if path.is_file() and path.suffix == ".py")

    def place(self, number: int | None) -> Place:
        return self._places.get(number, Place()) if number is not None else Place()

    def _all(self, kind: str) -> Iterator[dict[str, Any]]:
        yield from (fact for fact in self._once if fact["fact"] == kind)
        yield from (row for row in self._rows.values() if row["fact"] == kind)

    def facts(self, kind: str) -> list[Fact]:
        return [Fact(kind, fact.get("step", 0), self.place(fact.get("at")), fact) for fact in self._all(kind)]

    @cached_property
    def parameters(self) -> dict[int, Parameter]:
        """All that are known, by number."""
        found = {p.number: p for model in self.models.values() for p in model.parameters}
        for fact in self._all("weights"):
            for number, values in fact["statistics"].items():
                if int(number) in found:
                    found[int(number)].statistics = Statistics(*values)
        for fact in self._all("loaded"):
            for number in fact["parameters"]:
                if number in found:
                    found[number].loaded, found[number].loader = self.place(fact["at"]), fact["by"]
        return found

    @cached_property
    def models(self) -> dict[int, Model]:
        """As they were last written down."""
        found: dict[int, Model] = {}
        for fact in self._all("model"):
            parameters = [
                Parameter(
                    number,
                    name,
                    tuple(shape),
                    kind,
                    trainable,
                    layer,
                    Draw(drawn[0], self.place(drawn[1]), drawn[2]) if drawn else None,
                )
                for number, name, shape, kind, trainable, layer, drawn in fact["parameters"]
            ]
            modules = {path: (name, file) for path, name, file in fact["modules"]}
            lost = [(path, name, kind, count) for path, name, kind, count in fact["unregistered"]]
            place = self.place(fact["at"])
            model = found[fact["model"]] = Model(fact["model"], fact["type"], modules, parameters, place, lost)
            for parameter in parameters:
                parameter.model = model
        return found

    @cached_property
    def optimizers(self) -> list[Optimizer]:
        found = {
            fact["optimizer"]: Optimizer(fact["optimizer"], fact["type"], fact["own"], self.place(fact["at"]))
            for fact in self._all("optimizer")
        }
        for fact in self._all("groups"):
            groups = [
                Group(
                    one["lr"],
                    one["weight_decay"],
                    [self.parameters[p] for p in one["parameters"] if p in self.parameters],
                )
                for one in fact["groups"]
            ]
            found[fact["optimizer"]].groups.append((fact["own"], groups))
        for row in self._all("step"):
            back = self.place(row["backward"]) if row["backward"] is not None else None
            found[row["optimizer"]].steps.append(
                Stepped(self.place(row["at"]), back, row["stale"], row["fresh"], row["count"], row["step"], row["last"])
            )
        for row in self._all("zero_grad"):
            if row["optimizer"] in found:
                found[row["optimizer"]].cleared.append(self.place(row["at"]))
        return list(found.values())

    @cached_property
    def forwards(self) -> list[Forward]:
        return [
            Forward(
                row["row"], row["model"], row["module"], row["type"], self.place(row["at"]), row["training"], row["drops"],
                row["norms"], row["modeful"], row["functional"], row["grad"], row["inference"], row.get("graph", False),
                row["count"], row["reached"], row["unreached"], row["most_alive"], row["most_in_a_row"], row["kept"],
                row["step"], row["last"], row.get("drifting", []), row.get("still", []), row.get("loaders", []),
                row.get("discarded", False), row.get("most_others", 0),
            )
            for row in self._all("forward")
        ]  # fmt: skip

    def trained(self) -> list[tuple[Optimizer, Model]]:
        """Each optimizer that made a step, with each model that it trains."""
        found = []
        for optimizer in self.optimizers:
            if optimizer.made:
                models = {id(p.model): p.model for p in optimizer.parameters.values() if p.model is not None}
                found += [(optimizer, model) for model in models.values()]
        return found

    def steps_for(self, model: int | None) -> int:
        """How many steps were made by optimizers that train a model."""
        return sum(optimizer.made for optimizer, one in self.trained() if one.number == model)

    def measured(self) -> set[int]:
        """Calls whose graphs a loss was given."""
        return {fact.data["forward"] for fact in self.facts("loss") if fact.data.get("forward") is not None}

    def frozen(self, parameter: Parameter) -> bool:
        """Whether it could not train at some step (or, without one, when it was last written down)."""
        values = self._could_train(parameter)
        return not all(values) if values else not parameter.trainable

    def restored(self, number: int | None) -> bool:
        """Whether all weights of a model were loaded."""
        model = self.models.get(number) if number is not None else None
        return model is not None and bool(model.parameters) and all(self.parameters[p.number].loaded is not None for p in model.parameters)

    def trains(self, parameter: Parameter, optimizer: Optimizer) -> bool:
        """Whether the optimizer holds it, and it could train at some step."""
        values = self._could_train(parameter)
        return parameter.number in optimizer.parameters and (any(values) if values else parameter.trainable)

    def _could_train(self, parameter: Parameter) -> list[bool]:
        """Whether it might, at each step where that had changed."""
        number = str(parameter.number)
        return [fact["changed"][number] for fact in self._all("trainable") if number in fact["changed"]]

    # -- what rules make of it

    def finding(
        self, rule: Rule, place: Place, message: str, seen: str, evidence: Iterable[tuple[Place, str]] = (),
        severity: Severity | None = None,
    ) -> Iterator[Finding]:  # fmt: skip
        """A finding at the user's line of a place, if it has one; `seen` is what was watched."""
        if place.at is not None:
            path, start, end = self.spot(place.at)
            notes = tuple(Evidence(*self.spot(at.at), text) for at, text in evidence if at.at is not None)
            yield Finding(
                rule.code, rule.name, severity or rule.severity, message, path, start, end, notes,
                confirmed=f"watched: {seen}",
            )  # fmt: skip

    def spot(self, frame: Frame) -> tuple[Path, Location, Location]:
        path = Path(frame.file) if Path(frame.file).is_absolute() else self.root / frame.file
        return path, Location(frame.row, frame.column), Location(frame.end_row, frame.end_column)


def _frame(file: str, row: int, end: int | None, column: int | None, last: int | None, function: str) -> Frame:
    # Where the interpreter does not tell columns, a place is a row.
    return Frame(file, row, end or row, (column or 0) + 1, (last if last is not None else 200) + 1, function)


def read_lines(path: Path) -> list[dict[str, Any]]:
    """The facts in one file; a last line that was cut off is left out."""
    found = []
    with path.open(encoding="utf-8", errors="replace") as file:
        for line in file:
            try:
                fact = json.loads(line)
            except ValueError:
                continue
            if isinstance(fact, dict):
                found.append(fact)
    return found


def read_run(folder: Path, settings: Any = None) -> Run:
    """The record in a folder: of several processes the one that made most steps, the first of them. Raises
    RecordError."""
    files = sorted(folder.glob("record-*.jsonl")) if folder.is_dir() else []
    runs: list[tuple[tuple[int, int, bool, int], Run]] = []
    for path in files:
        facts = read_lines(path)
        start = next((fact for fact in facts if fact.get("fact") == "start"), None)
        root = start["root"] if start else None
        if root is None:
            try:
                root = json.loads((folder / "job.json").read_text(encoding="utf-8"))["root"]
            except (OSError, ValueError, KeyError):
                continue
        run = Run(Path(root), facts, settings)
        first = start is not None and start.get("first", False)
        rank = start.get("rank", 0) if start else 0
        runs.append(((-run.steps, rank, not first, len(runs)), run))
    if not runs:
        raise RecordError(f"{folder} holds no record of a watched run")
    return min(runs, key=lambda pair: pair[0])[1]
