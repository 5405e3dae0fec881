"""A traced graph, read: one `Op` a node, whatever rung of the ladder drew it. Torch-free and serialisable."""

from __future__ import annotations

from dataclasses import dataclass, field

PASS = frozenset({"norm", "drop", "pool", "shape", "resize", "cat"})
PARAMETRIC = frozenset({"linear", "conv", "recurrent", "attention", "embedding", "opaque"})


@dataclass
class Op:
    """One step of the forward. `inputs` are indices of earlier ops; `params` the parameters that enter here."""

    index: int
    name: str
    kind: str
    detail: str = ""
    module: str = ""  # path of the module this op *is* (a leaf) or belongs to
    leaf: bool = False
    params: tuple[str, ...] = ()
    inputs: tuple[int, ...] = ()
    shape: tuple[int, ...] | None = None
    const: float | None = None  # the number in x * 0.5, x / 0.07, x + 1
    live: bool = False  # depends on an input of the model
    users: list[int] = field(default_factory=list)
    weight_normalised: bool = False  # a parameter enters through an L2 normalisation


@dataclass
class Outline:
    """What the graph alone says about a model."""

    ops: list[Op]
    rung: str
    reason: str = ""  # why there is no single head, or no graph
    heads: list[str] = field(default_factory=list)
    output_activation: str = ""  # softmax, log_softmax or sigmoid right before an output
    activation_after: dict[str, str] = field(default_factory=dict)
    norm_after: dict[str, bool] = field(default_factory=dict)
    skip_after: dict[str, bool] = field(default_factory=dict)
    reached: set[str] = field(default_factory=set)  # parameters upstream of an output
    calls: dict[str, int] = field(default_factory=dict)
    order: list[str] = field(default_factory=list)  # layers in the order they run
    opaque_share: float = 0.0
    tried: list[str] = field(default_factory=list)


def connect(ops: list[Op], names: dict[int, str]) -> None:
    """Fill `users`, `live` and the parameters that enter through weight expressions (w / ‖w‖, w.t(), w * mask).

    `names` maps the index of a `param` op to the parameter's name.
    """
    entering: dict[int, frozenset[str]] = {}
    normalised: dict[int, bool] = {}
    for op in ops:
        for source in op.inputs:
            ops[source].users.append(op.index)
        if op.kind == "input":
            op.live = True
            continue
        op.live = op.kind != "size" and any(ops[source].live for source in op.inputs)
        if op.live:
            found: set[str] = set(op.params)
            for source in op.inputs:
                if not ops[source].live:
                    found |= entering.get(source, frozenset())
                    op.weight_normalised |= normalised.get(source, False)
            op.params = tuple(sorted(found))
        else:
            own = {names[op.index]} if op.index in names else set(op.params)
            entering[op.index] = frozenset(own.union(*(entering.get(s, frozenset()) for s in op.inputs)))
            normalised[op.index] = bool(entering[op.index]) and (
                op.kind == "l2norm"
                or (op.kind == "div" and any(ops[s].kind in ("length", "root", "shape") for s in op.inputs[1:]))
                or any(normalised.get(s, False) for s in op.inputs)
            )
