"""What the machine asks of values that libraries make, and where their files register the answers.

A library's file describes its calls by dotted name (`@function`), by a test on the name (`@finder`), its objects' methods by
the object's kind (`@method`), and everything else about a kind of object, or a class of values of its own, with a
`Behaviour`. Nothing here knows a library.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any, TypeVar, cast

from tricklint.interpreter.values import (
    Instance,
    Value,
)

if TYPE_CHECKING:
    import libcst as cst

    from tricklint.interpreter.callargs import CallArgs
    from tricklint.interpreter.machine import Machine
    from tricklint.interpreter.values import (
        Class,
        Func,
        Pred,
    )

Function = Callable[["Machine", str, "CallArgs", "cst.CSTNode"], Value]
Method = Callable[["Machine", Instance, "CallArgs", "cst.CSTNode"], Value]
Finder = Callable[[str], "Function | None"]
F = TypeVar("F", bound=Callable[..., Any])


class Behaviour:
    """How one kind of object acts. Every answer may be None: then the machine does what it does for any object."""

    def attribute(self, m: Machine, value: Any, name: str, node: cst.CSTNode) -> Value | None:
        """`value.name`, where the object has no such field."""
        return None

    def set_attribute(self, m: Machine, value: Any, name: str, new: Value, node: cst.CSTNode) -> bool:
        """`value.name = new`; False where it is to be written like any field."""
        return False

    def item(self, m: Machine, value: Any, index: Value, node: cst.CSTNode) -> Value | None:
        """`value[index]`."""
        return None

    def sliced(self, m: Machine, value: Any, node: cst.CSTNode) -> Value | None:
        """`value[a:b]`."""
        return None

    def set_item(self, m: Machine, value: Any, index: Value, new: Value, node: cst.CSTNode) -> bool:
        """`value[index] = new`; False where nothing is known of it."""
        return False

    def method(self, m: Machine, value: Any, name: str, args: CallArgs, node: cst.CSTNode) -> Value | None:
        """`value.name(args)`, where no function of the program has that name."""
        return None

    def in_place(self, m: Machine, value: Any, made: Value) -> bool:
        """Whether a method whose name ends with `_` turned the value into what it made, for whoever holds it."""
        return False

    def own_method(self, m: Machine, value: Instance, name: str, node: cst.CSTNode) -> None:
        """A function of the program is about to run as `value.name(…)`."""

    def own_call(self, m: Machine, value: Instance, func: Func, args: CallArgs, node: cst.CSTNode) -> Value | None:
        """`value.func(args)` of a function of the program, where it is more than a run of that function."""
        return None

    def super_method(self, m: Machine, value: Instance, name: str, args: CallArgs, node: cst.CSTNode) -> Value | None:
        """`super().name(args)` in a class of the program whose base is the library's."""
        return None

    def call(self, m: Machine, value: Any, args: CallArgs, node: cst.CSTNode) -> Value | None:
        """`value(args)`."""
        return None

    def element(self, m: Machine, value: Any, node: cst.CSTNode) -> Value | None:
        """One symbolic element of what a loop goes over."""
        return None

    def children(self, m: Machine, value: Any) -> Value | None:
        """A sequence of all that the object holds, where a loop may go over them one by one."""
        return None

    def several(self, m: Machine, value: Any) -> Value | None:
        """An open sequence of what is known of all that the object holds."""
        return None

    def spread(self, m: Machine, value: Any, count: int) -> list[Value] | None:
        """`a, b = value`. An empty list: this alternative cannot be unpacked."""
        return None

    def length(self, m: Machine, value: Any) -> Value | None:
        """`len(value)`."""
        return None

    def starred(self, m: Machine, value: Any) -> Value | None:
        """What stands for the elements in `[*value]` or `f(*value)`."""
        return None

    def truth(self, m: Machine, value: Any) -> tuple[bool | None, Pred | None] | None:
        return None

    def compare(self, m: Machine, kind: type, left: Value, right: Value, node: cst.CSTNode) -> Value | None:
        """A comparison with the value on one of its sides."""
        return None

    def unlike_none(self, value: Any) -> bool:
        """Whether `value is None` is known to be false."""
        return True

    def operate(self, m: Machine, node: cst.CSTNode, op: str, left: Value, right: Value) -> Value | None:
        """A binary operation with the value on one of its sides. `op`: the name of libcst's operator."""
        return None

    def elementwise(self, m: Machine, left: Value, right: Value, node: cst.CSTNode) -> Value | None:
        """A comparison with the value on one of its sides that is no single yes or no."""
        return None

    def negate(self, m: Machine, value: Any, node: cst.CSTNode) -> Value | None:
        return None

    def narrow(self, value: Any, preds: list[Pred]) -> Value:
        """The elements that passed tests, where the value stands for many."""
        return cast(Value, value)

    def escapes(self, value: Any) -> bool:
        """Whether rules want to know that the value was given to code that cannot be followed."""
        return False

    def added(
        self, m: Machine, value: Any, target: Any, how: str, old: Value | None, new: Value, node: cst.CSTNode
    ) -> bool:
        """The value is added to a total or a container; True where that was worth an event."""
        return False

    def decorates(self, m: Machine, value: Any, made: Value) -> None:
        """The object is a decorator of a function or class of the program, which stays what it is."""

    def built(self, m: Machine, made: Instance, cls: Class, args: CallArgs, node: cst.CSTNode) -> bool:
        """A class of the program, of this kind, was instantiated; True where an event says so already."""
        return False


def held_by(m: Machine, value: Value | None) -> Value | None:
    """A sequence of what an object holds, as far as that is known (`*nn.Sequential(…)`); else the value itself."""
    if value is None:
        return None
    return of(value).children(m, value) or of(value).several(m, value) or value


NOTHING = Behaviour()
STRANGER = "<stranger>"  # the kind that objects without one act as, where no package's prefix is registered
GUESSES: list[Callable[[Machine, cst.Call, Value], Value | None]] = []
AFTER: dict[str, Callable[[Machine, Value, cst.CSTNode], Value]] = {}
_MADE_BY: list[tuple[str, Behaviour]] = []
_ACTS: dict[str, Behaviour] = {"": NOTHING}
KINDS: dict[str, Behaviour] = {}
TYPES: dict[type, Behaviour] = {}
FUNCTIONS: dict[str, Function] = {}
NAMED: dict[str, Callable[[Machine], Value]] = {}
METHODS: dict[tuple[str, str], Method] = {}
_FINDERS: list[tuple[int, Finder]] = []
_FOUND: dict[str, Function | None] = {}
ENTERED: dict[str, Callable[[Machine, Value], None]] = {}
KINDS_OF_CLASS: list[Callable[[Class], str]] = []
_OPAQUE: list[Callable[[Machine, CallArgs, cst.CSTNode, str, Value | None], Value]] = []
_DEFAULTS: list[Callable[[Machine, Func], dict[str, Value]]] = []
_DECLARED: list[Callable[[Value], Value | None]] = []


def of(value: Value | None) -> Behaviour:
    """How a value acts."""
    if type(value) is not Instance:
        return TYPES.get(type(value), NOTHING)
    return KINDS.get(value.kind, NOTHING) if value.kind else of_made_by(value.library)


def of_made_by(library: str) -> Behaviour:
    """How objects of a library act that have no kind of their own."""
    if library not in _ACTS:
        others = KINDS.get(STRANGER, NOTHING)
        _ACTS[library] = next((acts for prefix, acts in _MADE_BY if library.startswith(prefix)), others)
    return _ACTS[library]


def behaves_below(*prefixes: str) -> Callable[[type[Behaviour]], type[Behaviour]]:
    """The decorated Behaviour is that of objects whose class stands below one of these packages."""

    def register(behaviour: type[Behaviour]) -> type[Behaviour]:
        made = behaviour()
        _MADE_BY.extend((prefix, made) for prefix in prefixes)
        return behaviour

    return register


def guesses(guess: F) -> F:
    """The decorated function may tell what an unknown callee is, from how it is called: `(m, call, callee) -> Value | None`."""
    GUESSES.append(guess)
    return guess


def after(name: str) -> Callable[[F], F]:
    """The decorated function sees what methods of the program of that name return: `(m, result, node) -> Value`."""

    def register(handler: F) -> F:
        AFTER[name] = handler
        return handler

    return register


def behaves(*kinds: str | type) -> Callable[[type[Behaviour]], type[Behaviour]]:
    """The decorated Behaviour is that of objects of these kinds, or of values of these classes."""

    def register(behaviour: type[Behaviour]) -> type[Behaviour]:
        made = behaviour()
        for kind in kinds:
            if isinstance(kind, str):
                KINDS[kind] = made
            else:
                TYPES[kind] = made
        return behaviour

    return register


def function(*names: str) -> Callable[[F], F]:
    """The decorated function says what calls of these dotted names do: `(m, name, args, node) -> Value`."""

    def register(handler: F) -> F:
        FUNCTIONS.update(dict.fromkeys(names, handler))
        return handler

    return register


def named(*names: str) -> Callable[[F], F]:
    """The decorated function says what these dotted names of a library stand for: `(m) -> Value`."""

    def register(handler: F) -> F:
        NAMED.update(dict.fromkeys(names, handler))
        return handler

    return register


def finder(rank: int) -> Callable[[Finder], Finder]:
    """The decorated function is asked for a handler of names that nobody registered, lower ranks first."""

    def register(find: Finder) -> Finder:
        _FINDERS.append((rank, find))
        _FINDERS.sort(key=lambda pair: pair[0])
        return find

    return register


def method(kind: str, *names: str) -> Callable[[F], F]:
    """The decorated function says what methods of objects of a kind do: `(m, value, args, node) -> Value`."""

    def register(handler: F) -> F:
        METHODS.update({(kind, name): handler for name in names})
        return handler

    return register


def enters(*names: str) -> Callable[[F], F]:
    """The decorated function says what entering a context manager (or a decorator) of these names changes."""

    def register(handler: F) -> F:
        ENTERED.update(dict.fromkeys(names, handler))
        return handler

    return register


def kind_of(test: Callable[[Class], str]) -> Callable[[Class], str]:
    """The decorated function tells the kind of a class of the program by its bases; "" when it is none of its own."""
    KINDS_OF_CLASS.append(test)
    return test


def opaque_calls(handler: F) -> F:
    """The decorated function says what a call gives that cannot be followed: `(m, args, node, name, of) -> Value`."""
    _OPAQUE.append(handler)
    return handler


def opaque(m: Machine, args: CallArgs, node: cst.CSTNode, name: str, of: Value | None = None) -> Value:
    """What a call gives that cannot be followed; `of`: the object whose method it is."""
    return _OPAQUE[-1](m, args, node, name, of)


def parameter_defaults(handler: F) -> F:
    """The decorated function knows defaults that a function's decorators give to its parameters: `(m, func) -> dict`."""
    _DEFAULTS.append(handler)
    return handler


def defaults_of(m: Machine, func: Func) -> dict[str, Value]:
    found: dict[str, Value] = {}
    for handler in _DEFAULTS if func.decorators else ():
        found.update(handler(m, func))
    return found


def declares_default(handler: F) -> F:
    """The decorated function knows what a parameter's default stands for, when it is an object that declares one."""
    _DECLARED.append(handler)
    return handler


def declared_default(value: Value) -> Value | None:
    return next((found for handler in _DECLARED if (found := handler(value)) is not None), None)


def library_function(name: str) -> Function | None:
    """What is registered for a dotted name."""
    exact = FUNCTIONS.get(name)
    if exact is not None:
        return exact
    if name not in _FOUND:
        _FOUND[name] = next((found for _, find in _FINDERS if (found := find(name)) is not None), None)
    return _FOUND[name]


__all__ = [
    "AFTER",
    "ENTERED",
    "GUESSES",
    "KINDS_OF_CLASS",
    "METHODS",
    "NAMED",
    "STRANGER",
    "Behaviour",
    "Function",
    "after",
    "behaves",
    "behaves_below",
    "declared_default",
    "declares_default",
    "defaults_of",
    "enters",
    "finder",
    "function",
    "guesses",
    "kind_of",
    "library_function",
    "method",
    "named",
    "of",
    "of_made_by",
    "opaque",
    "opaque_calls",
    "parameter_defaults",
]  # fmt: skip
