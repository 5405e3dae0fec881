"""What follows what: activations, norms, skips, heads, normalised products. Torch-free, over `Op`s."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass

from tricklint.trace.ops import PARAMETRIC, PASS, Op, Outline

LAYERS = frozenset({"linear", "conv"})


def describe(ops: list[Op], outputs: list[int], rung: str) -> Outline:
    """The outline of a graph whose outputs (the ones that reach the loss) are `outputs`."""
    out = Outline(ops, rung)
    for op in ops:
        if op.live and (op.kind in PARAMETRIC or (op.leaf and op.params)) and op.params:
            path = layer_path(op)
            out.calls[path] = out.calls.get(path, 0) + 1
            if op.kind in LAYERS:
                if path not in out.activation_after:
                    out.order.append(path)
                    out.activation_after[path] = following(ops, op)
                    out.norm_after[path], out.skip_after[path] = company(ops, op)
                elif out.activation_after[path] == "none":
                    out.activation_after[path] = following(ops, op)
    _heads(ops, outputs, out)
    out.reached = reached(ops, outputs)
    return out


def layer_path(op: Op) -> str:
    """The module a layer's facts belong to: its own path, or that of the parameter's holder for functional calls."""
    if op.leaf or not op.params:
        return op.module
    holders = [name.rpartition(".")[0] for name in op.params if name.endswith("weight")]
    if holders:
        return holders[0]
    return op.params[0]


def _skip(ops: list[Op], op: Op) -> bool:
    return op.kind in ("add", "cat") and sum(ops[i].live for i in op.inputs) >= 2


def following(ops: list[Op], start: Op) -> str:
    """The activation that the output of `start` meets first, or "none" when another layer or the output comes first."""
    queue = deque(start.users)
    seen = set(start.users)
    while queue:
        op = ops[queue.popleft()]
        if op.kind == "act":
            return _named(ops, op)
        if op.kind == "softmax":
            continue
        onward = op.kind in PASS or op.kind == "add"
        if op.kind in ("mul", "div"):
            # By a number or a parameter: a scale. By another signal: a gate, where this branch ends.
            onward = sum(ops[i].live for i in op.inputs) < 2 or _self_gate(ops, op)
        if op.kind == "root" and op.name == "pow":
            onward = True
        if onward:
            for user in op.users:
                if user not in seen:
                    seen.add(user)
                    queue.append(user)
    return "none"


def _self_gate(ops: list[Op], op: Op) -> bool:
    return len(op.inputs) == 1


def _named(ops: list[Op], op: Op) -> str:
    """`x * sigmoid(x)` is SiLU; `tanh` inside `0.5 x (1 + tanh …)` is GELU's approximation; clamp is ReLU6."""
    if op.detail in ("sigmoid", "hardsigmoid"):
        source = _through_shape(ops, op.inputs[0]) if op.inputs else -1
        for user in op.users:
            if ops[user].kind == "mul" and any(_through_shape(ops, i) == source for i in ops[user].inputs):
                return "silu" if op.detail == "sigmoid" else "hardswish"
    if op.detail == "tanh":
        for user in op.users:
            if ops[user].kind == "add" and ops[user].const == 1.0:
                if any(ops[later].kind == "mul" for later in ops[user].users):
                    return "gelu"
        if any(ops[i].detail in ("softplus",) for i in op.inputs):
            return "mish"
    if op.detail == "softplus" and any(ops[user].detail == "tanh" for user in op.users):
        return "mish"
    return op.detail


def _through_shape(ops: list[Op], index: int) -> int:
    while ops[index].kind in ("shape",) and len(ops[index].inputs) == 1:
        index = ops[index].inputs[0]
    return index


def company(ops: list[Op], start: Op) -> tuple[bool, bool]:
    """(a norm, a skip) between `start` and the next layer."""
    norm = skip = False
    queue, seen = deque(start.users), set(start.users)
    while queue:
        op = ops[queue.popleft()]
        norm |= op.kind == "norm"
        skip |= _skip(ops, op)
        if op.kind in PASS or op.kind in ("act", "add", "mul", "div"):
            for user in op.users:
                if user not in seen:
                    seen.add(user)
                    queue.append(user)
    return norm, skip


_BACK = frozenset(
    {"shape", "pool", "drop", "act", "softmax", "resize", "norm", "exp", "root", "l2norm", "other", "detach"}
)


def _heads(ops: list[Op], outputs: list[int], out: Outline) -> None:
    heads: dict[str, None] = {}
    reasons: list[str] = []
    for output in outputs:
        _walk_back(ops, output, out, heads, reasons)
    out.heads = list(heads)
    if not out.heads:
        out.reason = reasons[0] if reasons else "no layer with parameters feeds the output"


def _walk_back(ops: list[Op], output: int, out: Outline, heads: dict[str, None], reasons: list[str]) -> None:
    stack: list[tuple[int, bool]] = [(output, False)]
    seen = {output}
    while stack:
        index, squashed = stack.pop()
        op = ops[index]
        if op.kind in LAYERS and op.live:
            heads.setdefault(layer_path(op))
            continue
        if op.kind in ("recurrent", "attention", "embedding", "opaque"):
            reasons.append(f"the output is that of {op.module or op.name} ({op.kind})")
            continue
        if op.kind == "softmax" or (op.kind == "act" and op.detail == "sigmoid"):
            if not squashed and not out.output_activation:
                out.output_activation = op.detail
            squashed = True
        elif op.kind not in ("shape", "drop", "resize"):
            squashed = True
        live = [i for i in op.inputs if ops[i].live]
        if op.kind == "matmul" and len(live) >= 2:
            reasons.append("the output is a product of two features")
            continue
        if op.kind in ("add", "mul") and len(live) >= 2:
            together = _summed(ops, live) if op.kind == "add" else []
            if together:
                for head in together:
                    heads.setdefault(layer_path(head))
                continue
            if op.kind == "add":
                reasons.append("a residual add feeds the output: features, no head")
                continue
        for source in live:
            if source not in seen:
                seen.add(source)
                stack.append((source, squashed))


def _summed(ops: list[Op], branches: list[int]) -> list[Op]:
    """The layers whose outputs are added, when every branch is one (class and distillation head, wide and deep, scores
    at several scales): a sum of heads, no residual."""
    found: list[Op] = []
    for index in branches:
        op = ops[index]
        while op.kind in ("shape", "pool", "drop", "resize", "mul", "div"):
            live = [i for i in op.inputs if ops[i].live]
            if len(live) != 1:
                return []
            op = ops[live[0]]
        if op.kind == "add":
            live = [i for i in op.inputs if ops[i].live]
            inner = _summed(ops, live) if len(live) > 1 else []
            if not inner:
                return []
            found += inner
        elif op.kind in LAYERS:
            found.append(op)
        else:
            return []
    return found


def reached(ops: list[Op], outputs: list[int]) -> set[str]:
    """Parameters with a differentiable path to an output, as far as the graph can tell."""
    names: set[str] = set()
    stack, seen = list(outputs), set(outputs)
    while stack:
        op = ops[stack.pop()]
        if op.kind == "detach":
            continue
        names.update(op.params)
        if op.kind == "param":
            names.add(op.name)
        for source in op.inputs:
            if source not in seen:
                seen.add(source)
                stack.append(source)
    return names


@dataclass(frozen=True)
class Product:
    """Normalised features meet class weights. `scale` is a number, None when there is none; see `learnable`."""

    module: str
    weights: tuple[str, ...]
    weights_normalised: bool
    scale: float | None
    learnable: bool
    classes: int | None


def products(ops: list[Op]) -> list[Product]:
    """Every matmul of L2-normalised features with class weights, with the scale on the way to the output."""
    found: list[Product] = []
    for op in ops:
        if not op.live or not _normalises(ops, op):
            continue
        for product, before, learnt in _meets_weights(ops, op):
            scale, learnable = _scale_after(ops, product)
            if before is not None:
                scale = before if scale is None else scale * before
            classes = product.shape[-1] if product.shape else None
            found.append(
                Product(
                    layer_path(product), product.params, product.weight_normalised, scale, learnable or learnt, classes
                )
            )
    return found


def _normalises(ops: list[Op], op: Op) -> bool:
    if op.kind == "l2norm":
        return "cosine" not in op.name
    if op.kind != "div" or len(op.inputs) < 2:
        return False
    below, hops = op.inputs[1], 0
    while hops < 6:
        under = ops[below]
        if under.kind == "length":
            return _through_shape(ops, under.inputs[0]) == _through_shape(ops, op.inputs[0])
        if under.kind not in ("shape", "root", "add") or not under.inputs:
            return False
        below, hops = under.inputs[0], hops + 1
    return False


def _meets_weights(ops: list[Op], start: Op) -> list[tuple[Op, float | None, bool]]:
    met: list[tuple[Op, float | None, bool]] = []
    queue: deque[tuple[int, float | None, bool]] = deque((user, None, False) for user in start.users)
    seen: set[int] = set()
    while queue:
        index, scale, learnt = queue.popleft()
        if index in seen:
            continue
        seen.add(index)
        op = ops[index]
        if op.kind in ("linear", "matmul") and op.params and sum(ops[i].live for i in op.inputs) == 1:
            met.append((op, scale, learnt))
            continue
        if op.kind in ("mul", "div") and sum(ops[i].live for i in op.inputs) == 1:
            scale, learnt = _times(op, scale, learnt)
        elif op.kind not in ("shape", "drop"):
            continue
        queue.extend((user, scale, learnt) for user in op.users)
    return met


def _times(op: Op, scale: float | None, learnt: bool) -> tuple[float | None, bool]:
    if op.const is not None and op.const != 0:
        factor = op.const if op.kind == "mul" else 1.0 / op.const
        return factor if scale is None else scale * factor, learnt
    return scale, learnt or bool(op.params) or any(True for _ in op.inputs[1:])


def _scale_after(ops: list[Op], start: Op) -> tuple[float | None, bool]:
    scale: float | None = None
    learnt = False
    queue, seen = deque(start.users), set(start.users)
    while queue:
        op = ops[queue.popleft()]
        if op.kind in ("mul", "div") and sum(ops[i].live for i in op.inputs) == 1:
            scale, learnt = _times(op, scale, learnt)
        elif op.kind in PARAMETRIC or op.kind in ("softmax", "output"):
            continue
        for user in op.users:
            if user not in seen:
                seen.add(user)
                queue.append(user)
    return scale, learnt
