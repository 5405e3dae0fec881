"""One forward, written down as a torch.fx.Graph: works wherever a forward runs, on meta, fake or real tensors."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import fx, nn
from torch.overrides import TorchFunctionMode

from tricklint.trace.kinds import is_norm
from tricklint.trace.vocabulary import activation_class

_SIMPLE = (int, float, bool, str, type(None), torch.dtype, torch.device, torch.memory_format, torch.layout)


def is_leaf(module: nn.Module) -> bool:
    """Modules that are one step of the graph: torch.nn's own layers, norms and activations of any class."""
    kind = type(module)
    if kind.__module__.startswith(("torch.nn", "torch.ao.nn")):
        if isinstance(module, (nn.Sequential, nn.ModuleList, nn.ModuleDict)):
            return False
        return not kind.__name__.startswith(("Transformer", "AdaptiveLogSoftmax")) and not kind.__name__.endswith(
            "Loss"
        )
    childless = next(module.children(), None) is None
    if isinstance(module, (nn.Linear, nn.modules.conv._ConvNd)) and childless:
        return True
    return childless and (is_norm(module) or bool(activation_class(kind.__name__)))


class Recorder(TorchFunctionMode):
    """Records what runs inside `with recorder.watching(model):`; then `finish(output)` gives the graph."""

    def __init__(self, model: nn.Module) -> None:
        super().__init__()
        self.model = model
        self.graph = fx.Graph()
        self.nodes: dict[int, fx.Node] = {}
        self.keep: list[Any] = []  # ids are only unique while their objects live
        self.names = {id(p): n for n, p in model.named_parameters()}
        self.buffers = {id(b): n for n, b in model.named_buffers()}
        self.paths = {id(m): n for n, m in model.named_modules()}
        self.functions: dict[Any, fx.Node] = {}  # grad_fn → node, to find the way through unseen calls
        self.stack: list[str] = [""]
        self.inside = 0
        self.shapes: dict[str, tuple[int, ...]] = {}

    # -- tensors ↔ nodes

    def add_input(self, name: str, value: Any) -> None:
        for index, tensor in enumerate(_tensors(value)):
            node = self.graph.placeholder(name if index == 0 else f"{name}_{index}")
            self._own(tensor, node)

    def _own(self, tensor: torch.Tensor, node: fx.Node) -> None:
        self.nodes[id(tensor)] = node
        self.keep.append(tensor)
        node.meta.setdefault("shape", tuple(tensor.shape))
        if tensor.grad_fn is not None:
            self.functions.setdefault(tensor.grad_fn, node)

    def _node(self, tensor: torch.Tensor) -> fx.Node:
        known = self.nodes.get(id(tensor))
        if known is not None:
            return known
        if id(tensor) in self.names:
            node = self.graph.create_node("get_attr", self.names[id(tensor)])
            node.meta["parameter"] = self.names[id(tensor)]
        elif id(tensor) in self.buffers:
            node = self.graph.create_node("get_attr", self.buffers[id(tensor)])
        else:
            sources = self._upstream(tensor)
            if sources:
                node = self.graph.create_node("call_function", unseen, tuple(sources))
                node.meta["path"] = self.stack[-1]
            else:
                node = self.graph.create_node("get_attr", "_constant")
        self._own(tensor, node)
        return node

    def _upstream(self, tensor: torch.Tensor) -> list[fx.Node]:
        """The recorded tensors an unseen one was computed from (autograd.Function, scripted code), by its graph."""
        if tensor.grad_fn is None:
            return []
        found: dict[fx.Node, None] = {}
        stack, seen = [tensor.grad_fn], {tensor.grad_fn}
        while stack and len(seen) < 500:
            function = stack.pop()
            if function in self.functions:
                found[self.functions[function]] = None
                continue
            variable = getattr(function, "variable", None)
            if variable is not None and id(variable) in self.names:
                found[self._node(variable)] = None
            for upper, _ in function.next_functions:
                if upper is not None and upper not in seen:
                    seen.add(upper)
                    stack.append(upper)
        return list(found)

    def _argument(self, value: Any) -> Any:
        if isinstance(value, torch.Tensor):
            return self._node(value)
        if isinstance(value, (tuple, list)):
            return tuple(self._argument(item) for item in value)
        if isinstance(value, dict):
            return {str(key): self._argument(item) for key, item in value.items()}
        if isinstance(value, slice):
            return "slice"
        if isinstance(value, _SIMPLE):
            return value
        tensors = list(_tensors(value))
        return tuple(self._node(t) for t in tensors) if tensors else type(value).__name__

    # -- calls

    def _record(self, kind: str, target: Any, args: Any, kwargs: Any, result: Any) -> None:
        outputs = list(_tensors(result))
        if not outputs:
            return
        node = self.graph.create_node(kind, target, self._argument(args), self._argument(kwargs))
        node.meta["path"] = self.stack[-1]
        for tensor in outputs:
            if id(tensor) not in self.names or tensor.is_meta:
                self._own(tensor, node)

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        if self.inside:
            return func(*args, **kwargs)
        name = getattr(func, "__name__", "")
        if name == "__get__":
            name = getattr(getattr(func, "__self__", None), "__name__", "")
            result = func(*args, **kwargs)
            if isinstance(result, torch.Tensor) and name not in ("grad",):
                self._record("call_method", name, args, {}, result)
            return result
        self.inside += 1
        try:
            result = func(*args, **kwargs)
        finally:
            self.inside -= 1
        if name == "__setitem__":
            self._record("call_method", name, args, {}, args[0])
        elif args or kwargs:
            self._record("call_function", func, args, kwargs, result)
        return result

    def call_module(self, original: Callable[..., Any], module: nn.Module, args: Any, kwargs: Any) -> Any:
        path = self.paths.get(id(module))
        if self.inside or path is None:
            return original(module, *args, **kwargs)
        if is_leaf(module):
            self.inside += 1
            try:
                result = original(module, *args, **kwargs)
            finally:
                self.inside -= 1
            self._record("call_module", path, args, kwargs, result)
        else:
            self.stack.append(path)
            try:
                result = original(module, *args, **kwargs)
            finally:
                self.stack.pop()
        first = next(_tensors(result), None)
        if first is not None:
            self.shapes.setdefault(path, tuple(first.shape))
        return result

    @contextmanager
    def watching(self) -> Iterator[Recorder]:
        original = nn.Module.__call__
        recorder = self

        def call(module: nn.Module, *args: Any, **kwargs: Any) -> Any:
            return recorder.call_module(original, module, args, kwargs)

        nn.Module.__call__ = call  # type: ignore[method-assign]
        try:
            with self:
                yield self
        finally:
            nn.Module.__call__ = original  # type: ignore[method-assign]

    def finish(self, output: Any) -> list[str]:
        """Close the graph; returns the names of its outputs (`logits`, `0` …), in order."""
        named = list(named_tensors(output))
        self.graph.output(tuple(self._node(tensor) for _, tensor in named))
        return [name for name, _ in named]


def unseen(*sources: Any) -> Any:
    """Stands for a call the recorder could not see (a custom autograd.Function, scripted code)."""
    raise NotImplementedError("this graph is for reading, not for running")


def _tensors(value: Any) -> Iterator[torch.Tensor]:
    for _, tensor in named_tensors(value):
        yield tensor


def named_tensors(value: Any, name: str = "", depth: int = 0) -> Iterator[tuple[str, torch.Tensor]]:
    """Every tensor inside tuples, lists, dicts, dataclasses and plain output objects, with the key it stands under."""
    if isinstance(value, torch.Tensor):
        yield name, value
    elif depth > 6 or value is None or isinstance(value, (int, float, str, bool, nn.Module)):
        return
    elif isinstance(value, dict) or (hasattr(value, "items") and hasattr(value, "keys")):
        for key, item in value.items():
            yield from named_tensors(item, name or str(key), depth + 1)
    elif hasattr(value, "_asdict"):
        yield from named_tensors(value._asdict(), name, depth)
    elif isinstance(value, (tuple, list)):
        for index, item in enumerate(value):
            yield from named_tensors(item, name or str(index), depth + 1)
    elif hasattr(value, "__dict__") and not isinstance(value, type) and not callable(value):
        for key, item in vars(value).items():
            yield from named_tensors(item, name or key, depth + 1)
