"""What a name may stand for while a program is followed.

Values are either immutable (`Const`, `Ref`, `Unknown`, …) or heap objects (`Obj` and below) whose `fields` are only
written through `Interpreter.write`, which keeps a journal so that a branch can be taken back.
`Unknown` is a value of its own: it spreads through every operation and no rule fires on it.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, TypeVar, cast

import libcst as cst

from tricklint.interpreter.frozen import frozen

if TYPE_CHECKING:
    from pathlib import Path

    from tricklint.interpreter.modules import FileModule


Record = TypeVar("Record")


class Value:
    """Base of everything the interpreter passes around."""

    __slots__ = ()
    crowd = False  # of many such values one is like the other: a union keeps only a few of what one module made
    made_by = 0  # of a crowd, the id of the module that made it
    silent = False  # rules ask nothing of it when it is what a function returns

    def preds_of_name(self) -> list[Pred] | None:
        """Where the value stands for the names of many elements: the tests that these have passed."""
        return None


class Unknown(Value):
    """Nothing is known: it came from outside, or the code could not be followed."""

    __slots__ = ("what",)

    def __init__(self, what: str = "") -> None:
        self.what = what

    def __repr__(self) -> str:
        return f"Unknown({self.what})"


UNKNOWN = Unknown()


class Share(Unknown):
    """A known number times or by one that is not known: `batch_size // device_count()`."""

    __slots__ = ("base",)

    def __init__(self, base: Const) -> None:
        super().__init__()
        self.base = base


class Length(Unknown):
    """How many something has that is not known itself: `len(columns)`."""

    __slots__ = ()


class Strided(Unknown):
    """A number out of `range(start, stop, step)`, whatever the start."""

    __slots__ = ("step",)

    def __init__(self, step: Value) -> None:
        super().__init__()
        self.step = step


class Widened(Unknown):
    """What a loop writes, before its body runs: the constant from before it, or what an earlier round has left there."""

    __slots__ = ()


class Prefixed(Unknown):
    """Text of which only the beginning is known: `"models." + name`. `pattern`: all that is known, with stars between."""

    __slots__ = ("pattern", "prefix")

    def __init__(self, prefix: str, pattern: str = "") -> None:
        super().__init__()
        self.prefix = prefix
        self.pattern = pattern or f"{prefix}*"


@frozen
class Place:
    """Where in a configuration file a constant stands."""

    path: Path
    row: int
    column: int


@frozen
class Const(Value):
    """A Python constant. `default` marks one that the user may override (a command line default, a parameter's).
    `place`: the configuration file that it was read from. `given`: in this call, or this round of a loop, it can be nothing
    else: a literal argument, an item of a literal list. `stem`: so many characters at the beginning of a text are literal.
    """

    value: Any
    default: bool = False
    place: Place | None = field(default=None, compare=False)
    given: bool = field(default=False, compare=False)
    stem: int = field(default=0, compare=False)


def part_of_text(whole: Const, start: int, stop: int) -> Const:
    """The text between two places: no default where all of it is literal."""
    default = whole.default and stop > whole.stem
    stem = max(0, min(stop, whole.stem) - start)
    return Const(whole.value[start:stop], default, whole.place, whole.given and not default, stem)


def derived(value: Any, *operands: Value | None) -> Const:
    """A constant worked out of others: as sure as they are."""
    known = [each for each in operands if isinstance(each, Const)]
    default = any(each.default for each in known)
    place = next((each.place for each in known if each.place is not None), None)
    return Const(value, default, place, not default and any(each.given for each in known))


NONE = Const(None)
TRUE = Const(True)
FALSE = Const(False)


@frozen
class Ref(Value):
    """Something of a library, by its dotted name: `torch.nn.Linear`."""

    name: str


@dataclass(slots=True, eq=False)
class Func(Value):
    """A function of the program; `owner` is the class it was defined in."""

    node: cst.FunctionDef | cst.Lambda
    file: FileModule
    closure: tuple[dict[str, Value], ...]
    owner: Class | None = None
    decorators: tuple[Value, ...] = ()

    @property
    def name(self) -> str:
        return self.node.name.value if isinstance(self.node, cst.FunctionDef) else "<lambda>"

    def __repr__(self) -> str:
        return f"Func({self.name})"


@dataclass(slots=True, eq=False)
class Class(Value):
    """A class of the program."""

    node: cst.ClassDef
    file: FileModule
    bases: tuple[Value, ...]
    fields: dict[str, Value] = field(default_factory=dict)
    decorators: tuple[Value, ...] = ()
    _mro: tuple[Value, ...] | None = field(default=None, init=False)
    _libraries: tuple[str, ...] | None = field(default=None, init=False)

    @property
    def name(self) -> str:
        return self.node.name.value

    def mro(self) -> tuple[Value, ...]:
        """This class, then its bases depth first (good enough for the mixins of training code)."""
        if self._mro is None:
            found: dict[int, Value] = {}
            stack: list[Value] = [self]
            while stack:
                at = stack.pop(0)
                if id(at) not in found:
                    found[id(at)] = at
                    if isinstance(at, Class):
                        stack[:0] = at.bases
            self._mro = tuple(found.values())
        return self._mro

    def lookup(self, name: str) -> Value | None:
        for at in self.mro():
            if isinstance(at, Class) and name in at.fields:
                return at.fields[name]
        return None

    def libraries(self) -> tuple[str, ...]:
        """Dotted names of the library classes it descends from."""
        if self._libraries is None:
            self._libraries = tuple(at.name for at in self.mro() if isinstance(at, Ref))
        return self._libraries

    @property
    def knows_bases(self) -> bool:
        return not any(isinstance(at, Unknown) for at in self.mro())

    def __repr__(self) -> str:
        return f"Class({self.name})"


@dataclass(slots=True, eq=False)
class Bound(Value):
    """A method of a heap object: a program's `Func` with its `self`, or a library method by name."""

    self: Value
    func: Func | None
    name: str


@dataclass(slots=True, eq=False)
class Partial(Value):
    func: Value
    args: tuple[Value, ...]
    kwargs: dict[str, Value]


@dataclass(slots=True, eq=False)
class Super(Value):
    self: Value
    owner: Class


class Obj(Value):
    """A heap object: identity matters, and `fields` may change."""

    __slots__ = ("fields", "file", "node")

    def __init__(self, node: cst.CSTNode | None = None, file: FileModule | None = None) -> None:
        self.node = node
        self.file = file
        self.fields: dict[Any, Any] = {}


class Instance(Obj):
    """What calling a class gives. `cls` is a `Class` of the program or a `Ref` to a library's class or factory."""

    __slots__ = (
        "args",
        "below",
        "cls",
        "held",
        "kind",
        "kwargs",
        "made_in",
        "open_kwargs",
        "part_of",
        "records",
        "seq",
    )

    def __init__(self, cls: Value, node: cst.CSTNode | None, file: FileModule | None) -> None:
        super().__init__(node, file)
        self.cls = cls
        self.kind = ""  # "module", "optimizer", "loss", "loader", … as the knowledge tables say; "" for plain objects
        self.args: tuple[Value, ...] = ()
        self.kwargs: dict[str, Value] = {}
        self.open_kwargs = False  # **something unknown was passed
        self.records: dict[type, Any] = {}  # what libraries know of the object: a typed record a kind
        self.made_in: Class | None = None  # the program's class whose method built it
        self.part_of: Instance | None = None  # the library's object that it was taken from
        self.below: tuple[tuple[str, Instance], ...] | None = None  # the modules it holds, once the program was run
        self.held: frozenset[int] | None = None  # their ids
        self.seq = 0

    def passed(self, position: int, name: str) -> Value | None:
        """The argument of that place and name that it was made with; None when there was none."""
        return self.kwargs.get(name) or (self.args[position] if position < len(self.args) else None)

    def fact(self, kind: type[Record]) -> Record:
        """What is known of the object, as a record of that kind; made when it is first asked for."""
        found = self.records.get(kind)
        if found is None:
            found = self.records[kind] = kind()
        return cast(Record, found)

    def has(self, kind: type) -> bool:
        """Whether anything of that kind was ever recorded of the object."""
        return kind in self.records

    @property
    def owner(self) -> Instance:
        """The library's object that this one is a part of, or the instance itself."""
        at = self
        while at.part_of is not None:
            at = at.part_of
        return at

    @property
    def library(self) -> str:
        """Dotted name of the library class behind it, or ""."""
        return self.cls.name if isinstance(self.cls, Ref) else ""

    @property
    def label(self) -> str:
        if isinstance(self.cls, Class):
            return self.cls.name
        tail = self.library.removesuffix(".from_pretrained").rpartition(".")[2]
        if tail in ("create_model", "load", "get_model", "get_encoder"):  # the model's name is given
            given = (
                *(self.kwargs.get(name) for name in ("model_name", "model", "name")),
                *self.args[tail == "load" :][:1],
            )
            name = next((value for value in map(first, given) if isinstance(value, Const)), None)
            return str(name.value) if name is not None else tail
        return "model" if tail == "<dynamic>" else tail  # `getattr(models, name)`

    def __repr__(self) -> str:
        return f"Instance({self.label}, {self.kind})"


@dataclass(slots=True, eq=False)
class IteratorFacts:
    """What `iter`, `enumerate` and `zip` go over."""

    iterates: Value | None = None
    enumerates: Value | None = None
    zips: tuple[Value, ...] = ()


@dataclass(slots=True, eq=False)
class CallFacts:
    """Of what a library's call gave: the object whose method it was, and the methods called on it since."""

    of: Instance | None = None
    methods: list[str] = field(default_factory=list)


MAX_ITEMS = 2_048  # of one container; what is beyond them is not known
MAX_WEIGHT = 8_192  # values in a container, those in containers within it counted as often as they stand there


class Sequence(Obj):
    """A list, tuple or set. `open` means that it may hold more than `items`."""

    __slots__ = ("kind",)

    def __init__(self, kind: str, items: tuple[Value, ...], open: bool = False, node: Any = None, file: Any = None):
        super().__init__(node, file)
        self.kind = kind
        self.fields["items"] = kept = bounded(items)
        self.fields["open"] = open or len(kept) < len(items)

    @property
    def items(self) -> tuple[Value, ...]:
        return cast("tuple[Value, ...]", self.fields["items"])

    @property
    def open(self) -> bool:
        return bool(self.fields["open"])

    def __repr__(self) -> str:
        return f"{self.kind}{list(self.items)}{'…' if self.open else ''}"


class Generated(Sequence):
    """What a generator of the program yields: it remembers the function and the arguments that it was called with."""

    __slots__ = ("arguments", "call", "func")

    def __init__(self, items: tuple[Value, ...], func: Func, arguments: dict[str, Value], node: Any, file: Any) -> None:
        super().__init__("list", items, True, node, file)
        self.func = func
        self.arguments = arguments
        self.call: tuple[FileModule, cst.CSTNode] | None = None


class Dict(Obj):
    """A dict with constant keys; `open` when it may hold others."""

    __slots__ = ("open",)

    def __init__(self, node: Any = None, file: Any = None, open: bool = False) -> None:
        super().__init__(node, file)
        self.open = open

    def __repr__(self) -> str:
        return f"Dict({self.fields})"


class Namespace(Obj):
    """`argparse.Namespace`, a config object: attributes with default values, others unknown."""

    __slots__ = ()


@frozen
class Pred:
    """One test on a parameter or module while a loop goes over many of them.

    ops: name_contains, name_startswith, name_endswith, name_in, name_equals (args: strings), ndim (operator, number),
    isinstance (dotted names), classname_contains, hasattr, requires_grad, not_none, is (args: an Instance), id_in (args: other ParamSets),
    and, or (args: Preds), unknown.
    """

    op: str
    args: tuple[Any, ...] = ()
    negated: bool = False

    def __invert__(self) -> Pred:
        return Pred(self.op, self.args, not self.negated)


@dataclass(slots=True, eq=False)
class Test(Value):
    """A condition on a symbolic element, not decidable for the set as a whole."""

    __test__ = False
    pred: Pred


class Choice(Value):
    """A parameter's value that whoever runs the program picks: the function is followed once with each."""

    __slots__ = ("values",)

    def __init__(self, values: tuple[Value, ...]) -> None:
        self.values = values


class Union(Value):
    """One of several values. With `sure`, the first is the one of the default path; else any may be."""

    __slots__ = ("sure", "values")

    def __init__(self, values: tuple[Value, ...], sure: bool = False) -> None:
        self.values = values
        self.sure = sure

    def __repr__(self) -> str:
        return f"Union{self.values}"


def weight(values: Iterable[Any], limit: int = MAX_WEIGHT) -> int:
    """How many values one meets who walks through these and all they hold; counting ends beyond `limit`, so that a
    list that holds itself is heavier than anything."""
    stack = list(values)
    count = len(stack)
    while stack and count <= limit:
        at = stack.pop()
        held: Iterable[Any] = ()
        if isinstance(at, Sequence):
            held = at.items
        elif isinstance(at, Dict):
            held = at.fields.values()
        elif isinstance(at, Union):
            held = at.values
        before = len(stack)
        stack.extend(held)
        count += len(stack) - before
    return count


def _holds(value: Value) -> bool:
    return isinstance(value, (Sequence, Dict, Union))


def given(value: Value) -> Value:
    """The value where a literal hands it over, also a pair of a key and what stands under it."""
    if isinstance(value, Const) and not value.default and value.place is None:
        return Const(value.value, given=True)
    if type(value) is Sequence and value.kind == "tuple" and any(isinstance(each, Const) for each in value.items):
        return Sequence("tuple", tuple(map(given, value.items)), value.open, value.node, value.file)
    return value


def bounded(items: tuple[Value, ...]) -> tuple[Value, ...]:
    """The items of one container as far as they are followed: no more than can be walked through again and again."""
    items = items[:MAX_ITEMS]
    if not any(map(_holds, items)) or weight(items) <= MAX_WEIGHT:
        return items
    room = MAX_WEIGHT - len(items)
    kept: list[Value] = []
    for item in items:
        spent = weight((item,), max(0, room)) - 1 if _holds(item) else 0
        kept.append(item if spent <= room else UNKNOWN)
        room -= spent if spent <= room else 0
    return tuple(kept)


def fit_for(target: Obj, value: Value) -> Value:
    """`value` as it may be put into `target`: unknown where it holds `target` itself, or more than can be followed."""
    if not _holds(value):
        return value
    seen: set[int] = set()
    stack: list[Any] = [value]
    while stack:
        at = stack.pop()
        if at is target:
            return UNKNOWN
        if id(at) in seen:
            continue
        seen.add(id(at))
        if isinstance(at, Sequence):
            stack.extend(at.items)
        elif isinstance(at, Dict):
            stack.extend(at.fields.values())
        elif isinstance(at, Union):
            stack.extend(at.values)
    return value if weight((value,)) <= MAX_WEIGHT else UNKNOWN


def leaves(value: Value | None, dicts: bool = False) -> Iterator[Value]:
    """The members of a value; of lists, tuples and sets among them (and, with `dicts`, of dicts) what these hold in
    turn, each list once."""
    seen: set[int] = set()
    stack: list[Value] = list(members(value))[::-1]
    while stack:
        at = stack.pop()
        if isinstance(at, Sequence):
            if id(at) not in seen:
                seen.add(id(at))
                stack += [member for item in reversed(at.items) for member in reversed(members(item))]
        elif dicts and isinstance(at, Dict):
            if id(at) not in seen:
                seen.add(id(at))
                stack += [member for item in reversed(list(at.fields.values())) for member in reversed(members(item))]
        else:
            yield at


MAX_UNION = 48
MAX_CROWD = 4


def same(a: Value, b: Value) -> bool:
    if a is b:
        return True
    if isinstance(a, Const) and isinstance(b, Const):
        return type(a.value) is type(b.value) and a.value == b.value
    if isinstance(a, Ref) and isinstance(b, Ref):
        return a.name == b.name
    return isinstance(a, Unknown) and isinstance(b, Unknown)


def members(value: Value | None) -> tuple[Value, ...]:
    """The alternatives a value stands for."""
    if value is None:
        return ()
    return value.values if type(value) is Union else (value,)


_PLAIN = (str, int, float, bool, type(None), bytes)


def _key(value: Value) -> object:
    """Values that are `same` have one key."""
    kind = type(value)
    if kind is Const:
        held = value.value  # type: ignore[attr-defined]
        return type(held), held if isinstance(held, _PLAIN) else id(held)
    if kind is Ref:
        return value.name  # type: ignore[attr-defined]
    return Unknown if isinstance(value, Unknown) else id(value)


def join(first: Value, *others: Value, sure: bool = False) -> Value:
    """One value for several; `first` stays first, and is the default path's when `sure`.

    Of a crowd only a few are kept: they differ by the branch they came through, seldom by what they are.
    """
    if type(first) is not Union:
        for other in others:
            if other is not first:
                break
        else:
            return first
    kept: dict[object, Value] = {}
    crowd: dict[int, int] = {}
    for value in (first, *others):
        for member in members(value):
            key = _key(member)
            if key in kept:
                continue
            if member.crowd:
                alike = crowd[member.made_by] = crowd.get(member.made_by, 0) + 1
                if alike > MAX_CROWD:
                    continue
            kept[key] = member
    if len(kept) == 1:
        return next(iter(kept.values()))
    if type(kept.get(Unknown)) is Widened:
        if any(not isinstance(value, (Const, Unknown)) for value in kept.values()):
            del kept[Unknown]  # what earlier rounds have left there is what this one puts there
            if len(kept) == 1:
                return next(iter(kept.values()))
    sure = sure or _one_default((first, *others))
    return Union(tuple(kept.values())[:MAX_UNION], sure and not (type(first) is Union and not first.sure))


def _one_default(values: tuple[Value, ...]) -> bool:
    """Whether the default path's value is the same in all: what is undecided between them changes nothing about it."""
    several = [value for value in values if type(value) is Union]
    if not several or not all(value.sure for value in several):
        return False
    defaults = [value.values[0] if type(value) is Union else value for value in values]
    return all(same(value, defaults[0]) for value in defaults)


def first(value: Value | None) -> Value | None:
    """The value of the default path; `UNKNOWN` when several are equally likely."""
    if type(value) is Union:
        return value.values[0] if value.sure else UNKNOWN
    return value


def instances(value: Value | None, kind: str = "") -> Iterator[Instance]:
    for member in members(value):
        if isinstance(member, Instance) and (not kind or member.kind == kind):
            yield member


def number(value: Value | None) -> float | int | None:
    """The number a value is on the default path, or None when it is unknown."""
    value = first(value)
    if isinstance(value, Const) and isinstance(value.value, (int, float)) and not isinstance(value.value, bool):
        return value.value
    return None
