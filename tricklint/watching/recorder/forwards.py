"""Each call of a model from the user's code: its mode, autograd's state, whether a backward reached it, and how long
its graph lived."""

from __future__ import annotations

import contextlib
import itertools
import sys
import threading
import weakref
from collections.abc import Callable
from typing import Any

import torch
from torch import nn

from tricklint.watching.recorder.log import Log, Row
from tricklint.watching.recorder.names import Names, Serials, tensors_in
from tricklint.watching.recorder.patches import Patches

SETTLED = 6  # calls after which a model's layers are taken as given
FOLLOWED = 64  # backwards through the calls of one place, after which only its first calls of each step are followed
FIRST = 8
KEPT = 3  # graphs of as many rounds that are alive at once: somebody keeps them
LOADERS = 50  # of one place that are listed: some make a new one each epoch
MARK = "tricklint"


class Graph:
    """The graph of one call, as long as it lives."""

    __slots__ = ("reached", "row", "step")

    def __init__(self, row: Row, step: int) -> None:
        self.row, self.step, self.reached = row, step, False


class Mark:
    """Hangs on the graph of one call, and dies with it. There may be dozens in a step: what it does costs little."""

    __slots__ = ("alive", "graph")

    def __init__(self, graph: Graph, alive: dict[int, Graph]) -> None:
        self.graph, self.alive = graph, alive
        alive[id(graph)] = graph
        row = graph.row
        row["alive"] += 1
        if row["alive"] > row["most_alive"]:
            row["most_alive"] = row["alive"]

    def __call__(self, _: Any) -> None:
        graph = self.graph
        if not graph.reached:
            graph.reached = True
            graph.row["reached"] += 1

    def __del__(self) -> None:
        graph = self.graph
        self.alive.pop(id(graph), None)
        graph.row["alive"] -= 1
        graph.row["unreached"] += not graph.reached


class Called:
    """What is known of one module that the user's code calls."""

    def __init__(self, module: nn.Module, number: int) -> None:
        self.ref = weakref.ref(module)
        self.number = number
        self.calls = 0
        self.model: int | None = None
        self.kinds: list[tuple[nn.Module, str]] = []
        self.given: weakref.ref[torch.Tensor] | None = None  # what the call before was given
        self.has_parameters = any(True for _ in module.parameters())

    def settle(self, module: nn.Module) -> None:
        """The layers in it that act differently in training."""
        self.kinds = [(m, kind) for m in module.modules() if (kind := mode_kind(m))]


def mode_kind(module: nn.Module) -> str:
    """What acts differently in training about a layer; "" where nothing does."""
    if isinstance(module, nn.modules.dropout._DropoutNd) and module.p > 0:
        return "dropout"
    if isinstance(module, nn.modules.batchnorm._NormBase) and module.track_running_stats:
        return "norm"
    if isinstance(module, nn.RNNBase) and module.dropout > 0 and module.num_layers > 1:
        return "dropout"
    if isinstance(module, nn.MultiheadAttention) and module.dropout > 0:
        return "dropout"
    return ""


class Forwards:
    def __init__(self, log: Log, names: Names) -> None:
        self.log, self.names = log, names
        self.serials = Serials()
        self.called: dict[int, Called] = {}
        self.alive: dict[int, Graph] = {}
        self.first: list[Callable[[nn.Module], None]] = []  # called with a model before its first call
        self.inside = threading.local()
        self.drops: list[float] = []  # F.dropout of the call under way
        self.loader: Callable[[], int | None] = lambda: None  # the one that gave the last batch
        self._searched: set[int] = set()
        self._setting = 0

    def install(self, patches: Patches) -> None:
        patches.set(nn.Module, "__call__", self._call)
        patches.set(nn.Module, "train", self._train)

    # -- modes

    def _train(self, plain: Any) -> Any:
        def train(module: nn.Module, mode: bool = True) -> Any:
            if self._setting:
                return plain(module, mode)
            self._setting += 1
            try:
                return plain(module, mode)
            finally:
                self._setting -= 1
                with contextlib.suppress(Exception):
                    place = self.log.place(sys._getframe(1))
                    number = self.serials.of(module)
                    row = self.log.row("mode", number, place, mode, module=number, at=place, train=mode, count=0)
                    row["count"] += 1
                    row["last"] = self.log.step
                    row["norms"] = sum(mode_kind(m) == "norm" for m in module.modules())

        return train

    # -- calls

    def _call(self, plain: Any) -> Any:
        inside = self.inside
        compiling = torch.compiler.is_compiling

        def call(module: nn.Module, *args: Any, **kwargs: Any) -> Any:
            if compiling() or getattr(inside, "on", False):
                return plain(module, *args, **kwargs)
            inside.on = True
            try:
                row = self._before(module, args)
                result = plain(module, *args, **kwargs)
            finally:
                inside.on = False
            if row is not None:
                with contextlib.suppress(Exception):
                    self._after(row, result)
            return result

        return call

    def _before(self, module: nn.Module, args: Any) -> Row | None:
        try:
            return self._begin(module, args)
        except Exception:
            return None  # what cannot be looked at is left out

    def _begin(self, module: nn.Module, args: Any) -> Row | None:
        number = self.serials.of(module)
        known = self.called.get(number)
        if known is None:
            known = self.called[number] = Called(module, number)
        if not known.has_parameters and known.calls:
            return None
        if known.calls < SETTLED:
            known.settle(module)
        if known.calls == 0:
            known.has_parameters = any(True for _ in module.parameters())
            if known.has_parameters:
                known.model = self.names.model_of(module)
                for call in self.first:
                    call(module)
        known.calls += 1
        if not known.has_parameters:
            return None
        training = [kind for m, kind in known.kinds if m.training]
        drops, norms = training.count("dropout"), training.count("norm")
        place = self.log.place()
        grad, inference = torch.is_grad_enabled(), torch.is_inference_mode_enabled()
        key = number, place, bool(module.training), drops, norms, grad, inference
        row = self.log.known("forward", key) or self.log.row(
            "forward", *key, model=known.model, module=number, type=type(module).__name__, at=place,
            training=bool(module.training), drops=drops, norms=norms, modeful=len(known.kinds), grad=grad,
            inference=inference, count=0, reached=0, unreached=0, alive=0, most_alive=0, in_a_row=0, most_in_a_row=0,
            kept=0, functional=0, loaders=[], others=0, most_others=0,
        )  # fmt: skip
        loader = self.loader()
        if loader is not None and loader not in row["loaders"] and len(row["loaders"]) < LOADERS:
            row["loaders"].append(loader)
        if not row["count"]:
            self._norms(known, row)
            row["discarded"] = self.log.discarded(sys._getframe(3))
        given = args[0] if args and isinstance(args[0], torch.Tensor) else None
        again = given is not None and known.given is not None and known.given() is given
        if not again:
            known.given = weakref.ref(given) if given is not None else None
        if row.get("last") == self.log.step:
            row["in_a_row"] += 1
            row["others"] += not again
        else:
            row["in_a_row"] = row["others"] = 1
        row["most_in_a_row"] = max(row["most_in_a_row"], row["in_a_row"])
        row["most_others"] = max(row["most_others"], row["others"])
        row["count"] += 1
        row["last"] = self.log.step
        self.drops.clear()
        return row

    def _norms(self, known: Called, row: Row) -> None:
        """Norm layers whose parameters are frozen: those whose running statistics move all the same, and the others."""
        frozen = [
            m for m, kind in known.kinds if kind == "norm" and m.weight is not None and not m.weight.requires_grad
        ]
        row["drifting"] = [self.names.parameters.of(m.weight) for m in frozen if m.training]
        row["still"] = [self.names.parameters.of(m.weight) for m in frozen if not m.training]

    def _after(self, row: Row, result: Any) -> None:
        row["functional"] = max(row["functional"], len(self.drops))
        if row["reached"] > FOLLOWED and row["in_a_row"] > FIRST:
            return  # a cell that is called for each word: it trains, and following all calls would slow it down
        mark: Mark | None = None
        for tensor in itertools.islice(tensors_in(result), 8):
            node: Any = tensor.grad_fn
            if node is not None:
                mark = mark or Mark(Graph(row, self.log.step), self.alive)
                node.register_prehook(mark)
                node.metadata[MARK] = row["row"], row["count"]
        row["graph"] = mark is not None
        self.log.touch(row)
        if row["alive"] >= KEPT + 2 and row["row"] not in self._searched:
            self._searched.add(row["row"])
            self._holders(sys._getframe(2), row)
        self.log.flush()

    # -- graphs that stay

    def stepped(self) -> None:
        """After a step: the graphs of earlier rounds that went backward and are still alive."""
        counts: dict[int, int] = {}
        rows: dict[int, Row] = {}
        for graph in list(self.alive.values()):
            if graph.reached and graph.step < self.log.step - 1:
                counts[id(graph.row)] = counts.get(id(graph.row), 0) + 1
                rows[id(graph.row)] = graph.row
        for key, count in counts.items():
            row = rows[key]
            row["kept"] = max(row["kept"], count)
            self.log.touch(row)
            if count >= KEPT and -row["row"] - 1 not in self._searched:
                self._searched.add(-row["row"] - 1)
                self._holders(sys._getframe(1), row)

    def _holders(self, frame: Any, row: Row) -> None:
        """Which variables of the user's hold tensors with the graph of more than one call."""
        modules: set[int] = set()
        while frame is not None:
            code = frame.f_code
            if self.log.mine(code.co_filename):
                function = getattr(code, "co_qualname", code.co_name)
                self._variables(frame.f_locals, row, code.co_filename, code.co_firstlineno, function)
                if frame.f_globals is not frame.f_locals and id(frame.f_globals) not in modules:
                    modules.add(id(frame.f_globals))
                    kept = {name: value for name, value in list(frame.f_globals.items()) if isinstance(value, (list, dict, torch.Tensor))}
                    self._variables(kept, row, code.co_filename, 1, "<module>")
            frame = frame.f_back

    def _variables(self, variables: dict[str, Any], row: Row, file: str, first: int, function: str) -> None:
        for name, value in list(variables.items()):
            for path, size in _keeping(name, value, row["row"]):
                self.log.row(
                    "kept", row["row"], file, path, forward=row["row"], size=size, name=path, file=self.log.shown(file),
                    first=first, function=function,
                )  # fmt: skip


def _keeping(name: str, value: Any, mark: int) -> list[tuple[str, int]]:
    """(path, how many graphs) of a variable that keeps more than one call's graph: a sum, or a container of tensors; an
    attribute of an object too."""
    found = []
    size = len(_graphs(value, mark))
    if size > 1:
        found.append((name, size))
    elif not isinstance(value, (nn.Module, type, torch.Tensor)) or name == "self":
        for key, inner in list(getattr(value, "__dict__", {}).items())[:200]:
            size = len(_graphs(inner, mark)) if not isinstance(inner, nn.Module) else 0
            if size > 1:
                found.append((f"{name}.{key}", size))
    return found


def _graphs(value: Any, mark: int) -> set[int]:
    """The calls of one row whose graphs a value holds."""
    if isinstance(value, torch.Tensor):
        return _marks(value, mark)
    inner: list[Any] = []
    if isinstance(value, dict):
        inner = list(value.values())[:50]
    elif isinstance(value, (list, tuple)) and value and isinstance(value[-1], (torch.Tensor, tuple, list, dict)):
        inner = list(value[-10:])
    return set().union(*(_graphs(one, mark) for one in inner))


def _marks(tensor: torch.Tensor, mark: int, most: int = 3000) -> set[int]:
    """The calls of one row that a tensor's graph holds."""
    if tensor.grad_fn is None:
        return set()
    calls = set()
    seen = {tensor.grad_fn}
    stack: list[Any] = [tensor.grad_fn]
    while stack and len(seen) < most:
        node = stack.pop()
        row, call = node.metadata.get(MARK) or (None, 0)
        if row == mark:
            calls.add(call)
            continue  # what lies below is the model's own
        for inner, _ in node.next_functions:
            if inner is not None and inner not in seen:
                seen.add(inner)
                stack.append(inner)
    return calls
