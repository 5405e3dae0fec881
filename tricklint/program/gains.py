"""The gain that an `nn.init` call asks for, and whether it suits an activation."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from tricklint.interpreter.values import (
    Const,
    Instance,
    Value,
    first,
)
from tricklint.libraries.events import Initialised

if TYPE_CHECKING:
    pass

# torch.nn.init.calculate_gain (SELU: what its documentation asks for, so that the net normalises itself)
RIGHT_GAIN = {"relu": math.sqrt(2), "leaky_relu": math.sqrt(2), "tanh": 5 / 3, "sigmoid": 1.0, "selu": 1.0, "none": 1.0}
_NAMED = {"relu": ("relu", math.sqrt(2)), "tanh": ("tanh", 5 / 3), "sigmoid": ("sigmoid", 1.0), "selu": ("selu", 0.75)}
_RELUS = ("relu", "leaky_relu")
Verdict = Literal["fits", "neutral", "wrong", "weak"]


@dataclass(frozen=True)
class Declared:
    """The gain of one init call: the activation it belongs to ("linear": none, "default": PyTorch's own a=√5).

    written: the code names it; False for Xavier's default of 1. kaiming: set by `nonlinearity` and `a`, not by `gain`.
    """

    family: str
    value: float
    written: bool
    kaiming: bool


def drawn(function: str, given: dict[str, object]) -> Declared | None:
    """What a call declares of which the arguments are known as numbers and names."""
    scheme = function.rstrip("_")
    if scheme in ("kaiming_normal", "kaiming_uniform"):
        slope, name = given.get("a", 0.0), given.get("nonlinearity", "leaky_relu")
        if isinstance(name, str) and isinstance(slope, (int, float)):
            return _by_name(name, float(slope), True, True)
        return None
    if scheme in ("xavier_normal", "xavier_uniform"):
        gain = given.get("gain", 1.0)
        return _by_value(float(gain)) if isinstance(gain, (int, float)) else None
    return None  # an orthogonal's bare number says nothing: √2 is PPO's custom for tanh nets too


def declared(event: Initialised) -> Declared | None:
    """What an init event declares; None for another scheme, an unknown argument, or a gain of no activation."""
    scheme = event.scheme.rstrip("_")
    args: list[Value] = list(event.args or ())
    kwargs: dict[str, Value] = event.kwargs or {}

    def passed(position: int, name: str) -> Value | None:
        return kwargs.get(name) or (args[position] if position < len(args) else None)

    if scheme in ("kaiming_normal", "kaiming_uniform"):
        slope, named = passed(0, "a"), passed(2, "nonlinearity")
        name = first(named) if named is not None else Const("leaky_relu")
        if not isinstance(name, Const) or not isinstance(name.value, str):
            return None
        return _by_name(name.value, 0.0 if slope is None else _number(slope), True, True)
    if scheme in ("xavier_normal", "xavier_uniform", "orthogonal"):
        gain = passed(0, "gain")
        if gain is None:
            return Declared("linear", 1.0, False, False) if scheme.startswith("xavier") else None
        at = first(gain)
        if isinstance(at, Instance) and at.library == "torch.nn.init.calculate_gain":
            name = first(at.args[0]) if at.args else first(at.kwargs.get("nonlinearity"))
            if not isinstance(name, Const) or not isinstance(name.value, str):
                return None
            slope = at.args[1] if len(at.args) > 1 else at.kwargs.get("param")
            return _by_name(name.value, 0.01 if slope is None else _number(slope), True, False)
        value = _number(gain)
        if value is None or scheme == "orthogonal":  # with a bare number, √2 is PPO's custom for tanh nets too
            return None
        return _by_value(value)
    return None


def _by_value(value: float) -> Declared | None:
    if value == 1:
        return Declared("linear", 1.0, False, False)
    for family, right in (("relu", math.sqrt(2)), ("tanh", 5 / 3)):
        if math.isclose(value, right, rel_tol=0.02):
            return Declared(family, value, True, False)
    return None


def agreement(gain: Declared, after: str) -> Verdict:
    """Whether a gain suits what follows. "weak": too small, but long the custom; "neutral": nothing to say."""
    family = gain.family
    if after == "none":
        return "fits" if family == "linear" else "neutral"
    if family in _RELUS:
        return "fits" if after in _RELUS else "wrong"
    if family == "default":
        return "wrong" if after in _RELUS else "neutral"
    if family == "linear":
        if after in _RELUS:
            return "wrong" if gain.written else "weak"
        return "fits" if after in ("sigmoid", "selu") else "neutral"
    if family == "sigmoid":
        return "fits" if after == "sigmoid" else "neutral" if after == "selu" else "wrong"
    return "fits" if after == family else "wrong"


def _by_name(name: str, slope: float | None, written: bool, kaiming: bool) -> Declared | None:
    if name in _NAMED:
        family, value = _NAMED[name]
        return Declared(family, value, written, kaiming)
    if name == "leaky_relu":
        if slope is None:
            return None
        value = math.sqrt(2 / (1 + slope * slope))
        if value < 0.7:
            return Declared("default", value, written, kaiming)
        if value < 1.15:  # `a=1`: Caffe2's "Xavier fill", gain 1
            return Declared("linear", value, False, kaiming)
        return Declared("leaky_relu", value, written, kaiming)
    if name == "linear" or name.startswith("conv"):
        return Declared("linear", 1.0, written, kaiming)
    return None


def _number(value: Value) -> float | None:
    at = first(value)
    if isinstance(at, Const) and isinstance(at.value, (int, float)) and not isinstance(at.value, bool):
        return float(at.value)
    if isinstance(at, Instance) and at.library in ("math.sqrt", "numpy.sqrt") and len(at.args) == 1:
        inner = _number(at.args[0])
        return math.sqrt(inner) if inner is not None and inner >= 0 else None
    return None
