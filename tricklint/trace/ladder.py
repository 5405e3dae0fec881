"""From a model to one torch.fx.Graph, by the cheapest tracer that manages.

fx → fx with failing submodules as leaves → recorder on meta → torch.export (non-strict) → recorder on real tensors →
the module tree alone. The recorder stands before torch.export because it is ten to a hundred times cheaper; export
comes where a forward cannot run on values that are not there.
"""

from __future__ import annotations

import inspect
import warnings
from collections.abc import Callable, Iterable
from contextlib import nullcontext
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import fx, nn

from tricklint.trace.recorder import Recorder, is_leaf

OPAQUE_LIMIT = 0.5


@dataclass
class Inputs:
    """Arguments of one forward, and where they were taken from."""

    args: tuple[Any, ...] = ()
    kwargs: dict[str, Any] = field(default_factory=dict)
    source: str = ""


@dataclass
class Traced:
    """The graph, the rung that drew it ("fx", "fx-leaves", "recorder", "export", "recorder-cpu", "tree")."""

    rung: str
    graph: fx.Graph | None = None
    owner: nn.Module | None = None  # what the graph's call_module targets are looked up in
    names: dict[str, str] = field(default_factory=dict)  # placeholder → parameter or buffer (torch.export)
    output_names: list[str] = field(default_factory=list)
    tried: list[str] = field(default_factory=list)  # "rung: why it was left"
    opaque_share: float = 0.0
    inputs: Inputs | None = None
    shapes: dict[str, tuple[int, ...]] = field(default_factory=dict)


class _Tracer(fx.Tracer):
    """symbolic_trace that keeps our leaves, and a submodule it cannot enter as a leaf."""

    def __init__(self, forgive: bool) -> None:
        super().__init__()
        self.forgive = forgive
        self.given_up: dict[str, str] = {}
        self.budget = 200

    def trace(self, root: Any, concrete_args: dict[str, Any] | None = None) -> fx.Graph:
        self.known = {id(p): name for name, p in root.named_parameters()}
        self.known.update({id(b): name for name, b in root.named_buffers()})
        return super().trace(root, concrete_args)

    def getattr(self, attr: str, attr_val: Any, parameter_proxy_cache: dict[str, Any]) -> Any:
        """As fx's own, with a look-up where that walks over all parameters for each access."""
        if not isinstance(attr_val, nn.Parameter) or id(attr_val) not in self.known:
            return attr_val
        name = self.known[id(attr_val)]
        if name not in parameter_proxy_cache:
            parameter_proxy_cache[name] = self.create_proxy("get_attr", name, (), {})
        return parameter_proxy_cache[name]

    def create_arg(self, a: Any) -> Any:
        if isinstance(a, torch.Tensor) and id(a) in self.known:
            return self.create_node("get_attr", self.known[id(a)], (), {})
        return super().create_arg(a)

    def is_leaf_module(self, m: nn.Module, module_qualified_name: str) -> bool:
        return is_leaf(m)

    def call_module(self, m: nn.Module, forward: Callable[..., Any], args: Any, kwargs: Any) -> Any:
        if not self.forgive:
            return super().call_module(m, forward, args, kwargs)
        before = len(self.graph.nodes)
        try:
            return super().call_module(m, forward, args, kwargs)
        except Exception as error:
            path = self.path_of_module(m)
            self.budget -= 1
            if m is self.root or self.budget < 0:
                raise
            for node in list(self.graph.nodes)[before:][::-1]:
                self.graph.erase_node(node)
            self.given_up[path] = f"{type(error).__name__}: {one_line(error)}"
            return self.create_proxy("call_module", path, args, kwargs)


def one_line(error: BaseException | str, limit: int = 160) -> str:
    """The first telling line of an error message."""
    text = str(error).strip().splitlines()
    line = next((part.strip() for part in text if part.strip()), "")
    if not line and isinstance(error, BaseException):
        line = type(error).__name__
    return line if len(line) <= limit else line[: limit - 1] + "…"


def _concrete(model: nn.Module, inputs: Inputs | None) -> dict[str, Any]:
    """Arguments of forward that take their default: fx would otherwise trace `if x is None` the wrong way."""
    try:
        parameters = inspect.signature(model.forward).parameters
    except (TypeError, ValueError):
        return {}
    given = set(list(parameters)[: len(inputs.args)]) | set(inputs.kwargs) if inputs else set()
    simple = (type(None), bool, int, float, str)
    return {
        name: p.default
        for name, p in parameters.items()
        if name not in given and p.default is not inspect.Parameter.empty and isinstance(p.default, simple)
    }


def _fx(model: nn.Module, inputs: Inputs | None, forgive: bool) -> Traced:
    tracer = _Tracer(forgive)
    graph = tracer.trace(model, concrete_args=_concrete(model, inputs))
    if not any(node.op == "placeholder" for node in graph.nodes):
        raise ValueError("the forward takes no input")
    total = sum(p.numel() for p in model.parameters()) or 1
    hidden = {id(p): p.numel() for path in tracer.given_up for p in model.get_submodule(path).parameters()}
    share = sum(hidden.values()) / total
    if share > OPAQUE_LIMIT:
        worst = next(iter(tracer.given_up.items()))
        raise ValueError(f"{share:.0%} of the parameters in opaque leaves ({worst[0]}: {worst[1]})")
    traced = Traced("fx-leaves" if tracer.given_up else "fx", graph, model, opaque_share=share)
    traced.tried = [f"fx: {path}: {why}" for path, why in list(tracer.given_up.items())[:3]]
    return traced


def record(model: nn.Module, inputs: Inputs, rung: str, meter: Any = None) -> Traced:
    """The recorder's rung over one forward with `inputs`; `meter`, when given, watches the same forward."""
    recorder = Recorder(model)
    for index, value in enumerate(inputs.args):
        recorder.add_input(f"input_{index}", value)
    for name, value in inputs.kwargs.items():
        recorder.add_input(name, value)
    with meter or nullcontext(), recorder.watching():
        output = model(*inputs.args, **inputs.kwargs)
    if meter is not None:
        meter.finish(output)
    names = recorder.finish(output)
    if not names:
        raise ValueError("the forward returned no tensor")
    return Traced(rung, recorder.graph, model, output_names=names, inputs=inputs, shapes=recorder.shapes)


def _export(model: nn.Module, inputs: Inputs) -> Traced:
    program = torch.export.export(model, inputs.args, inputs.kwargs or None, strict=False)
    signature = program.graph_signature
    names = {**signature.inputs_to_parameters, **signature.inputs_to_buffers}
    return Traced("export", program.graph, model, names=dict(names), inputs=inputs)


def climb(
    model: nn.Module,
    candidates: Iterable[Inputs] = (),
    *,
    export: bool = True,
    prefer_forward: bool = False,
    on_export: Callable[[], Any] | None = None,
) -> Traced:
    """Trace `model` by the first rung that works. Never raises for what the model does: the last rung is the tree.

    `candidates` are tried in order for the rungs that need a forward, until one runs; `on_export` is called
    before torch.export is imported.
    """
    tried: list[str] = []
    options = list(candidates)
    given = options[0] if options else None
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        rungs: list[tuple[str, Callable[[], Traced]]] = [
            ("fx", lambda: _fx(model, given, False)),
            ("fx-leaves", lambda: _fx(model, given, True)),
        ]
        if prefer_forward:
            rungs = []
        for name, rung in rungs:
            try:
                traced = rung()
            except Exception as error:
                tried.append(f"{name}: {type(error).__name__}: {one_line(error)}")
            else:
                traced.tried = tried + traced.tried
                return traced
        for option in options:
            try:
                traced = record(model, option, "recorder")
            except Exception as error:
                tried.append(f"recorder ({option.source}): {type(error).__name__}: {one_line(error)}")
            else:
                traced.tried = tried
                return traced
        for option in options[:1] if export else []:
            try:
                if on_export is not None:
                    on_export()
                traced = _export(model, option)
            except Exception as error:
                tried.append(f"export ({option.source}): {type(error).__name__}: {one_line(error)}")
            else:
                traced.tried = tried
                return traced
    if not options:
        tried.append("recorder: no input shape is known")
    return Traced("tree", None, model, tried=tried)
