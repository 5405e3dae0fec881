"""torch.fx graphs (symbolic, recorded or exported) → `Op`s."""

from __future__ import annotations

from typing import Any

import torch
from torch import fx, nn

from tricklint.trace.analysis import describe
from tricklint.trace.kinds import is_norm
from tricklint.trace.ladder import Traced
from tricklint.trace.ops import Op, Outline, connect
from tricklint.trace.vocabulary import activation_class, canonical, module_class, operation

_HIDDEN_OUTPUTS = ("past_key_values", "hidden_states", "attentions", "cross_attentions", "encoder_last_hidden_state",
                   "encoder_hidden_states", "decoder_hidden_states", "rnn_state", "mems", "loss")  # fmt: skip
_MAIN_OUTPUTS = ("logits", "prediction_logits", "logits_per_image", "out", "start_logits", "end_logits")


def _function_name(target: Any) -> str:
    if isinstance(target, str):
        return target
    packet = getattr(target, "_overloadpacket", None)
    name = getattr(packet if packet is not None else target, "__name__", None) or str(target)
    return str(name).split(".")[-1]


def _number(value: Any) -> float | None:
    return float(value) if isinstance(value, (int, float)) and not isinstance(value, bool) else None


def read(traced: Traced) -> Outline:
    """The outline of what `traced` holds; of an empty one, on the tree's rung, an outline without ops."""
    if traced.graph is None or traced.owner is None:
        why = traced.tried[-1] if traced.tried else "no graph"
        return Outline([], traced.rung, reason=why, tried=traced.tried)
    model = traced.owner
    modules = dict(model.named_modules())
    parameters = {name for name, _ in model.named_parameters(remove_duplicate=False)}
    ops: list[Op] = []
    at: dict[fx.Node, int] = {}
    names: dict[int, str] = {}
    outputs: list[int] = []
    for node in traced.graph.nodes:
        if node.op == "output":
            outputs = _outputs(node, at, traced.output_names)
            continue
        op = Op(len(ops), node.name, "other", shape=_shape(node))
        op.inputs = tuple(at[source] for source in node.all_input_nodes if source in at)
        if node.op == "placeholder":
            known = traced.names.get(node.name)
            op.kind = "input" if known is None else "param" if known in parameters else "const"
            if op.kind == "param":
                op.name, names[op.index] = str(known), str(known)
        elif node.op == "get_attr":
            full = str(node.target)
            op.kind = "param" if full in parameters else "const"
            if op.kind == "param":
                op.name, names[op.index] = full, full
        elif node.op == "call_module":
            _module_op(op, modules[str(node.target)], str(node.target))
        else:
            _call_op(op, node, modules)
        ops.append(op)
        at[node] = op.index
    connect(ops, names)
    _weigh(ops)
    outline = describe(ops, outputs, traced.rung)
    outline.tried, outline.opaque_share = traced.tried, traced.opaque_share
    return outline


def _outputs(node: fx.Node, at: dict[fx.Node, int], names: list[str]) -> list[int]:
    found: list[fx.Node] = []
    labels: list[str] = []

    def collect(value: Any, label: str = "") -> None:
        if isinstance(value, fx.Node):
            found.append(value)
            labels.append(label)
        elif isinstance(value, dict) or hasattr(value, "items"):
            for key, item in value.items():
                collect(item, label or str(key))
        elif hasattr(value, "_asdict"):
            collect(value._asdict(), label)
        elif isinstance(value, (tuple, list)):
            for item in value:
                collect(item, label)

    collect(node.args)
    if len(names) == len(found):
        labels = names
    chosen = [n for n, label in zip(found, labels, strict=True) if label in _MAIN_OUTPUTS or label.startswith("aux")]
    if not chosen:
        chosen = [n for n, label in zip(found, labels, strict=True) if label not in _HIDDEN_OUTPUTS]
    return list(dict.fromkeys(at[n] for n in (chosen or found) if n in at))


def _shape(node: fx.Node) -> tuple[int, ...] | None:
    shape = node.meta.get("shape")
    if shape is None and isinstance(node.meta.get("val"), torch.Tensor):
        shape = node.meta["val"].shape
    try:
        return tuple(int(side) for side in shape) if shape is not None else None
    except Exception:  # a symbolic size
        return None


def _module_op(op: Op, module: nn.Module, path: str) -> None:
    op.module, op.leaf = path, True
    op.params = tuple(f"{path}.{name}" for name, _ in module.named_parameters())
    low = type(module).__name__
    op.kind, op.detail = module_class(low, is_norm(module))
    if op.kind == "other" and isinstance(module, nn.Linear):
        op.kind = "linear"
    elif op.kind == "other" and isinstance(module, nn.modules.conv._ConvNd):
        op.kind = "conv"
    elif op.kind == "act" and isinstance(module, nn.GLU):
        op.detail = "glu"
    elif op.kind == "other" and op.params:
        op.kind = "opaque"
    if op.kind == "act" and getattr(module, "approximate", None) is not None:
        op.detail = "gelu"


def _call_op(op: Op, node: fx.Node, modules: dict[str, nn.Module]) -> None:
    name = _function_name(node.target)
    op.name = canonical(name)
    op.kind, op.detail = operation(name)
    op.module = str(node.meta.get("path", ""))
    if op.name == "getattr" and len(node.args) > 1 and node.args[1] not in ("T", "mT", "H", "mH", "real", "data"):
        op.kind = "size"
    stack = node.meta.get("nn_module_stack")
    if stack:
        op.module = str(list(stack.values())[-1][0])
    elif not op.module:
        scope = node.meta.get("nn_module_stack") or {}
        op.module = str(next(reversed(scope), "")) if scope else ""
    if op.name in ("clamp", "clip", "hardtanh") and op.kind != "act":
        bounds = [*node.args[1:], *node.kwargs.values()]
        if bounds and bounds[0] == 0:
            op.kind, op.detail = "act", "relu6" if len(bounds) > 1 and bounds[1] == 6 else "relu"
    if op.kind == "act" and op.name == "hardtanh" and tuple(node.args[1:3]) == (0.0, 6.0):
        op.detail = "relu6"
    if op.name in ("max", "maximum") and len(node.args) > 1 and node.args[1] == 0:
        op.kind, op.detail = "act", "relu"
    if op.kind in ("add", "mul", "div", "root"):
        numbers = [_number(value) for value in node.args]
        op.const = next((value for value in numbers if value is not None), None)
    # An activation written as a class of its own, seen from inside by torch.export.
    owner = modules.get(op.module)
    if owner is not None and op.kind in ("mul", "pow", "root", "add") and activation_class(type(owner).__name__):
        op.kind = "shape"


def _weigh(ops: list[Op]) -> None:
    """matmul, addmm and einsum with a parameter are layers; aten's `linear` without one is a product."""
    for op in ops:
        if not op.live:
            continue
        live = sum(ops[i].live for i in op.inputs)
        if op.kind == "matmul" and op.params and live == 1 and not op.leaf:
            op.kind = "linear"
        elif op.kind == "linear" and not op.params:
            op.kind = "matmul"
        elif op.kind == "conv" and not op.params:
            op.kind = "pool"  # a fixed filter (a blur, a Gabor bank)
        elif op.kind == "attention" and not op.leaf and not op.params:
            op.kind = "matmul"
        elif op.kind == "embedding" and not op.params:
            op.kind = "other"
