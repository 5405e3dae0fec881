"""Which activation follows a layer, read off the data flow: through norms, dropout, pooling, reshaping and additions.

The graph is walked forwards on the default path: a branch that the defaults do not take consumes nothing.
"""

from __future__ import annotations

from collections import defaultdict
from typing import TYPE_CHECKING, Literal
from weakref import WeakKeyDictionary

from tricklint.interpreter.events import Built
from tricklint.interpreter.values import (
    Class,
    Const,
    Dict,
    Instance,
    Sequence,
    Union,
    Value,
    members,
    number,
)
from tricklint.knowledge import layers
from tricklint.libraries.events import Backward, Forward, LossComputed
from tricklint.libraries.facts import ModuleFacts
from tricklint.libraries.modules import submodules
from tricklint.libraries.tensors import Tensor
from tricklint.program.traced_layers import traced_activation

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tricklint.program.program import Program

Activation = Literal["relu", "leaky_relu", "tanh", "sigmoid", "selu", "none"]

# Functions and tensor methods, by the last part of their name
_GROUPS = {
    "relu": """relu relu_ relu6 clamp_min elu elu_ celu gelu silu silu_ mish hardswish softplus swish""",
    "leaky_relu": "leaky_relu leaky_relu_ prelu rrelu",
    "selu": "selu selu_",
    "tanh": "tanh tanh_ hardtanh softsign tanhshrink",
    "sigmoid": "sigmoid sigmoid_ hardsigmoid logsigmoid expit",
}
_FUNCTIONS = {word: group for group, words in _GROUPS.items() for word in words.split()}
# What hands the signal on: its size may change, the layer before stays the one whose output an activation sees
_PASSES = frozenset(
    """input view reshape flatten unflatten permute transpose swapaxes movedim squeeze unsqueeze squeeze_ unsqueeze_
    contiguous t index item chunk split unbind cat concat stack mean sum max amax add add_ sub subtract sub_ to
    float half double bfloat16 type type_as cuda cpu clone expand expand_as repeat repeat_interleave view_as
    reshape_as narrow select index_select gather flip roll pad requires_grad_ masked_fill masked_fill_ where
    max_pool1d max_pool2d max_pool3d avg_pool1d avg_pool2d avg_pool3d adaptive_avg_pool1d adaptive_avg_pool2d
    adaptive_avg_pool3d adaptive_max_pool1d adaptive_max_pool2d adaptive_max_pool3d interpolate upsample
    pixel_shuffle dropout dropout1d dropout2d dropout3d alpha_dropout batch_norm layer_norm group_norm
    instance_norm rms_norm local_response_norm rearrange negate reduce""".split()
)
# What takes the signal into another product of weights (or a normaliser of the output): nothing non-linear came before
_LINEAR = frozenset(
    """matmul bmm mm baddbmm addmm mv einsum linear bilinear conv1d conv2d conv3d conv_transpose1d conv_transpose2d
    conv_transpose3d scaled_dot_product_attention softmax log_softmax gumbel_softmax""".split()
)
_SUMS = frozenset(("add", "add_", "sub", "sub_", "subtract"))
_IGNORED = frozenset("detach number numpy argmax argsort topk sort dim eq ne gt lt ge le norm".split())
_ENDS = "end"
_LOSS = "loss"
_GATES = frozenset(("sigmoid", "softmax", "hardsigmoid"))


class _Graph:
    """Who consumes which tensor, over all that the program computed on its default path."""

    def __init__(self, program: Program) -> None:
        self.consumers: dict[int, list[Tensor]] = defaultdict(list)
        self.results: dict[int, list[Tensor]] = defaultdict(list)  # what forward returned → the calls that gave it
        self.calls: dict[int, list[Tensor]] = defaultdict(list)  # module → its calls
        self.inner: set[int] = set()  # modules that are part of another
        self.leaky: dict[int, list[Tensor]] = defaultdict(list)  # tensor → the leaky activations it meets
        self.imagined: set[int] = set()  # modules of classes that the program never builds
        self._seen: set[int] = set()
        self._kept: list[Value] = []  # holds what the ids above stand for
        for event in program.events(Built):
            module = event.subject
            output = module.fact(ModuleFacts).output
            if output is not None:
                self._add(output)
            self.inner.update(id(part) for path, part in submodules(module) if path)
            if module.fact(ModuleFacts).imagined:
                self.imagined.update(id(part) for _, part in submodules(module))
        for used in program.events(LossComputed, Backward, Forward):
            if used.possible:
                self._add(used.subject)
                for value in () if isinstance(used, Backward) else used.inputs:
                    self._add(value)
                if isinstance(used, LossComputed):  # its result may go to a trainer that cannot be seen
                    self._add(Tensor("loss", tuple(used.inputs), None, used.node, used.file))

    def _add(self, root: Value) -> None:
        stack = [root]
        while stack:
            for tensor in _tensors(stack.pop()):
                if id(tensor) in self._seen:
                    continue
                self._seen.add(id(tensor))
                self._kept.append(tensor)
                if tensor.op == "call" and tensor.module is not None:
                    self.calls[id(tensor.module)].append(tensor)
                if tensor.result is not None:
                    for inner in _tensors(tensor.result):
                        self.results[id(inner)].append(tensor)
                    stack.append(tensor.result)
                for value in tensor.inputs:
                    for source in _tensors(value):
                        self.consumers[id(source)].append(tensor)
                    stack.append(value)

    def entries(self, call: Tensor, source: Tensor) -> list[Tensor]:
        """The tensors by which `source` enters the body of the module that `call` calls (its body ran once)."""
        assert call.module is not None
        position = next((i for i, value in enumerate(call.inputs) if any(t is source for t in _tensors(value))), None)
        found: list[Tensor] = []
        for other in self.calls[id(call.module)]:
            if position is None or position >= len(other.inputs):
                continue
            for value in _tensors(other.inputs[position]):
                found += [t for t in self.consumers[id(value)] if t.op == "input" and t.node is other.node]
        return found

    def after(self, tensor: Tensor) -> tuple[set[str | None], bool]:
        """What the signal meets next, over all ways it takes: names of activations, "none", "loss", "end" or None;
        and whether a norm layer rescales it on a way."""
        found: set[str | None] = set()
        normed = False
        seen: set[int] = set()
        stack = [(tensor, False)]
        while stack:
            at, outside = stack.pop()
            if id(at) in seen:
                continue
            seen.add(id(at))
            takers = self.consumers.get(id(at), [])
            calls = self.results.get(id(at), [])
            if not takers and not calls:
                found.add(_ENDS)
            for call in calls:
                stack.append((call, outside or id(call.module) not in self.inner))
            swish = any(_is_swish(taker, at) for taker in takers)
            if swish:
                found.add("relu")
            for taker in takers:
                if swish and (taker.op in ("multiply", "mul") or _activation(taker) == "sigmoid"):
                    continue
                met = self._meet(taker, at)
                if met == "leaky_relu":
                    self.leaky[id(tensor)].append(taker)
                if isinstance(met, list):
                    normed = normed or _is_norm(taker)
                    stack.extend((each, outside) for each in met)
                elif met != "ignored":  # outside the whole model, what is no activation is the end of the way
                    found.add(_ENDS if met is None and outside else met)
        return found, normed

    def _meet(self, taker: Tensor, at: Tensor) -> list[Tensor] | str | None:
        """What `at` meets at `taker`: a name, None, or the tensors by which its signal goes on."""
        activation = _activation(taker)
        if activation is not None:
            return activation
        if taker.op == "loss":
            return _LOSS
        if taker.module is not None and taker.op == "call":
            return self._enter(taker, at)
        if taker.op in _PASSES or (taker.op == "unknown" and taker.attrs.get("name", "").startswith("einops.")):
            return [taker]
        if taker.op in ("multiply", "mul", "divide", "div", "mul_", "div_"):
            return [taker] if _scales(taker, at) else None
        if taker.op in _LINEAR or taker.op == "matrixmultiply":
            return "none"
        return "ignored" if taker.op in _IGNORED else None

    def _enter(self, taker: Tensor, at: Tensor) -> list[Tensor] | str | None:
        module = taker.module
        assert module is not None
        name = _library(module)
        if module.kind == "loss":
            return _LOSS
        if taker.result is not None:
            return self.entries(taker, at) or None
        if name in layers.NORM or name in layers.DROPOUT or name in layers.PASSIVE or name.endswith(("DropPath",)):
            return [taker]
        if name in layers.WEIGHTED or name in layers.RECURRENT or name in layers.ATTENTION or name in layers.SOFTMAX:
            return "none"
        return None


def following(program: Program, layer: Instance) -> Activation | None:
    """The activation that the output of `layer` meets next, as `nn.init.calculate_gain` groups them.

    "relu" stands for its smooth relatives too (ELU, GELU, SiLU …). "none": the output goes into the loss, another
    layer, a softmax, or out of the model as it is. None: not known, or several that ask for different gains.
    """
    traced = traced_activation(program, layer)
    if traced is not None:
        return "none" if traced == "none" else _FUNCTIONS.get(traced.lower())  # type: ignore[return-value]
    graph = _graph_of(program)
    found: set[str | None] = set()
    for call in graph.calls.get(id(layer), []):
        found |= graph.after(call)[0]
    if not found or None in found:
        return None
    active = found - {"none", _ENDS, _LOSS}
    if not active:
        # the signal leaves the model as it is; of a class that nothing builds, nobody knows what takes it
        return None if found == {_ENDS} and id(layer) in graph.imagined else "none"
    if len(active) > 1 or (active & {"tanh", "sigmoid"} and found & {"none"}):
        return None
    if _LOSS in found and active & {"tanh", "sigmoid"}:  # logits go into the loss, their sigmoid into a metric
        return "none"
    return active.pop()  # type: ignore[return-value]


def slope_after(program: Program, layer: Instance) -> float | None:
    """The slope below zero of the leaky ReLU that `layer` meets next; None where there are several, or it is not known."""
    if traced_activation(program, layer) is not None:
        return None
    graph = _graph_of(program)
    slopes: set[float | None] = set()
    for call in graph.calls.get(id(layer), []):
        graph.leaky.pop(id(call), None)
        graph.after(call)
        slopes.update(_slope(taker) for taker in graph.leaky[id(call)])
    return slopes.pop() if len(slopes) == 1 else None


def _slope(taker: Tensor) -> float | None:
    """The slope at which one leaky activation starts, a layer or a function."""
    if taker.op == "call" and taker.module is not None:
        name, args, kwargs = _library(taker.module).rpartition(".")[2], taker.module.args, taker.module.kwargs
        if name == "PReLU":
            return 0.25 if (init := taker.module.passed(1, "init")) is None else _number(init)
        given = kwargs.get("negative_slope", args[0] if args else None)
    else:
        name, kwargs = taker.op, taker.attrs.get("kwargs", {})
        given = kwargs.get("negative_slope", taker.inputs[1] if len(taker.inputs) > 1 + len(kwargs) else None)
    if name not in ("LeakyReLU", "leaky_relu", "leaky_relu_"):
        return None  # prelu is given it, RReLU draws it
    return 0.01 if given is None else _number(given)


def _number(value: Value) -> float | None:
    known = number(value)
    return None if known is None else float(known)


def rescaled(program: Program, layer: Instance) -> bool:
    """A norm layer stands between `layer` and what follows it: the scale of its weights does not matter there."""
    graph = _graph_of(program)
    return any(graph.after(call)[1] for call in graph.calls.get(id(layer), []))


def held_by_norm(program: Program, layer: Instance) -> bool:
    """A norm layer stands between what enters `layer` and the layers with weights before it, on every way: what it gets is
    of a size that does not follow from their weights."""
    stack = [source for call in _graph_of(program).calls.get(id(layer), []) for source in call.inputs[:1]]
    seen: set[int] = set()
    while stack:
        for at in _tensors(stack.pop()):
            if id(at) in seen or _is_norm(at):
                continue
            seen.add(id(at))
            kind = _library(at.module) if at.op == "call" and at.module is not None else ""
            if at.result is not None:
                stack.append(at.result)
            elif not at.inputs or kind in layers.WEIGHTED:
                return False
            else:
                stack += at.inputs
    return bool(_graph_of(program).calls.get(id(layer)))


def feeds(program: Program, layer: Instance, additions: bool = True, beyond: bool = True) -> bool:
    """The output of `layer` goes, activated or not, straight into another layer with weights: it is a hidden layer.

    Products with other tensors (gates) are not followed; sums are unless `additions` is False, nor what the whole model
    gives unless `beyond`.
    """
    graph = _graph_of(program)
    stack: list[Tensor] = list(graph.calls.get(id(layer), []))
    seen: set[int] = set()
    while stack:
        at = stack.pop()
        if id(at) in seen:
            continue
        seen.add(id(at))
        stack.extend(call for call in graph.results.get(id(at), []) if beyond or id(call.module) in graph.inner)
        for taker in graph.consumers.get(id(at), []):
            if taker.op in _SUMS and not additions:
                continue
            name = _library(taker.module) if taker.module is not None and taker.op == "call" else ""
            if name in layers.WEIGHTED and taker.module is not layer:
                return True
            if _activation(taker) is not None:
                stack.append(taker)
                continue
            met = graph._meet(taker, at)
            if isinstance(met, list):
                stack.extend(met)
    return False


_GRAPHS: WeakKeyDictionary[Program, _Graph] = WeakKeyDictionary()


def _graph_of(program: Program) -> _Graph:
    graph = _GRAPHS.get(program)
    if graph is None:
        graph = _GRAPHS[program] = _Graph(program)
    return graph


def _tensors(value: Value | None) -> Iterator[Tensor]:
    """The tensors that a value stands for on the default path, also those in a tuple, list or dict."""
    if isinstance(value, Tensor):
        yield value
    elif isinstance(value, Union):
        for member in value.values[:1] if value.sure else value.values:
            yield from _tensors(member)
    elif isinstance(value, Sequence):
        for item in value.items:
            yield from _tensors(item)
    elif isinstance(value, Dict):
        for item in value.fields.values():
            yield from _tensors(item)


def _library(module: Instance) -> str:
    """The library class whose forward runs when `module` is called, or ""."""
    if isinstance(module.cls, Class) and module.cls.lookup("forward") is None:
        return next(iter(module.cls.libraries()), "")
    return module.library


def _activation(tensor: Tensor) -> str | None:
    if tensor.op == "call" and tensor.module is not None:
        return layers.ACTIVATIONS.get(_library(tensor.module))
    return _FUNCTIONS.get(tensor.op)


def _is_norm(taker: Tensor) -> bool:
    if taker.op == "call" and taker.module is not None:
        return _library(taker.module) in layers.NORM
    return taker.op in ("batch_norm", "layer_norm", "group_norm", "instance_norm", "rms_norm")


def _is_swish(taker: Tensor, at: Tensor) -> bool:
    """`x * sigmoid(x)`."""
    if taker.op not in ("multiply", "mul"):
        return False
    return any(
        _activation(other) == "sigmoid" and any(t is at for value in other.inputs for t in _tensors(value))
        for value in taker.inputs
        for other in _tensors(value)
    )


def _scales(taker: Tensor, at: Tensor) -> bool:
    """A product of `at` and a number, a parameter or a gate between 0 and 1."""
    for value in taker.inputs:
        for other in members(value):
            if isinstance(other, Const) or other is at:
                continue
            if not isinstance(other, Tensor):
                return False
            if any(t is at for t in _tensors(value)):
                continue
            while other.op in _PASSES and other.inputs and isinstance(other.inputs[0], Tensor):
                other = other.inputs[0]
            gate = other.result if isinstance(other.result, Tensor) else other
            if other.op != "parameter" and gate.op not in _GATES and _activation(gate) != "sigmoid":
                return False
    return True
