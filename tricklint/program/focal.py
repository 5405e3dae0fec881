"""Focal losses, told by what they compute: the log of a probability, weighted by a power of how far off it is."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from tricklint.interpreter.values import Class, Dict, Sequence, Value, members
from tricklint.libraries.events import Backward
from tricklint.libraries.tensors import Tensor
from tricklint.program.program import Program

_PRODUCT = frozenset(("multiply", "mul", "mul_"))
_POWER = frozenset(("power", "pow", "pow_", "square"))
_LOG = frozenset(("log", "log_softmax", "logsigmoid", "log1p", "loss", "logsumexp", "softplus"))
_SOFTMAX = frozenset(("softmax", "log_softmax", "logsumexp"))
MOST = 3000  # tensors of one loss's data flow


@dataclass(frozen=True)
class Focal:
    """A product of a power and a log of the same scores. scores: what a module gave for it; sigmoid: no softmax is in it."""

    product: Tensor
    scores: Tensor
    sigmoid: bool


def focal_losses(program: Program) -> list[Focal]:
    """The focal losses behind what is backpropagated; a loss within a library's call shows nothing."""
    found: list[Focal] = []
    seen: set[int] = set()
    places: set[int] = set()
    for event in program.events(Backward):
        for tensor in behind(event.subject, seen):
            if tensor.op not in _PRODUCT or id(tensor.node) in places:
                continue
            for focal in _focal(tensor):
                places.add(id(tensor.node))
                found.append(focal)
    return found


def behind(value: Value, seen: set[int] | None = None) -> Iterator[Tensor]:
    """Every tensor in the data flow behind `value`, itself among them."""
    known: set[int] = set() if seen is None else seen
    stack: list[Value] = [value]
    before = len(known)
    while stack and len(known) - before < MOST:
        for member in members(stack.pop()):
            if id(member) in known:
                continue
            known.add(id(member))
            if isinstance(member, Tensor):
                yield member
                stack.extend(member.inputs)
                if member.result is not None:
                    stack.append(member.result)
            elif isinstance(member, Sequence):
                stack.extend(member.items)
            elif isinstance(member, Dict):
                stack.extend(each for each in member.fields.values() if isinstance(each, Value))


def _focal(product: Tensor) -> Iterator[Focal]:
    factors = list(_factors(product))
    powers = [factor for factor in factors if factor.op in _POWER]
    logs = [factor for factor in factors if factor.op not in _POWER and any(each.op in _LOG for each in _within(factor))]
    for power in powers:
        base = list(_within(power))
        for log in logs:
            flow = list(_within(log))
            scores = next((each for each in flow if _is_output(each) and any(each is other for other in base)), None)
            if scores is not None:
                yield Focal(product, scores, not any(each.op in _SOFTMAX or _softmax_loss(each) for each in (*base, *flow)))
                return


def _factors(tensor: Tensor) -> Iterator[Tensor]:
    """What a product is made of, through signs and products within it."""
    for value in tensor.inputs:
        for member in members(value):
            if isinstance(member, Tensor):
                if member.op in _PRODUCT or member.op == "negate":
                    yield from _factors(member)
                else:
                    yield member


def _within(tensor: Tensor) -> Iterator[Tensor]:
    """The data flow behind a tensor, up to what modules with layers gave."""
    stack: list[Value] = [tensor]
    seen: set[int] = set()
    while stack and len(seen) < MOST:
        for member in members(stack.pop()):
            if not isinstance(member, Tensor) or id(member) in seen:
                continue
            seen.add(id(member))
            yield member
            if _is_output(member):
                continue
            stack.extend(member.inputs)
            if member.result is not None:
                stack.append(member.result)


def _is_output(tensor: Tensor) -> bool:
    """What calling a module of the program or a library gave, which is no loss."""
    return tensor.op == "call" and tensor.module is not None and tensor.module.kind == "module"


def _softmax_loss(tensor: Tensor) -> bool:
    """A cross-entropy over classes, as a function or a module."""
    if tensor.op != "loss":
        return False
    if tensor.module is not None and not isinstance(tensor.module.cls, Class):
        return tensor.module.library in ("torch.nn.CrossEntropyLoss", "torch.nn.NLLLoss")
    return str(tensor.attrs.get("name", "")).endswith((".cross_entropy", ".nll_loss"))


__all__ = ["Focal", "focal_losses"]
