"""The numbers that a run hands to a logger of experiments: read from the call itself, whatever the logger does with them.

Which functions those are stands in `CALLS`; what needs more than its arguments (Lightning, torchmetrics, ignite,
`logging`) in `frameworks`.
"""

from __future__ import annotations

import contextlib
import functools
import importlib.util
import re
import sys
import threading
from collections.abc import Callable, Mapping
from typing import Any

from tricklint.verify.runner.outputs import flat, scalar

MOST = 500_000  # values of one run that are kept
# module → (function or method, source, how it is called). "pair": (name, value, …), "mapping": ({name: value}, …),
# "group": (group, {name: value}, …), "series": (title, series, value, …), "value": (value, name=…), "second …": the same
# from the second argument on, "opens": what it returns, and from then on the module, has the method `log` of a mapping
CALLS: Mapping[str, tuple[tuple[str, str, str], ...]] = {
    "torch.utils.tensorboard.writer": (
        ("SummaryWriter.add_scalar", "SummaryWriter", "pair"),
        ("SummaryWriter.add_scalars", "SummaryWriter", "group"),
        ("SummaryWriter.add_hparams", "SummaryWriter", "second"),
    ),
    "tensorboardX.writer": (
        ("SummaryWriter.add_scalar", "SummaryWriter", "pair"),
        ("SummaryWriter.add_scalars", "SummaryWriter", "group"),
    ),
    "wandb": (("log", "wandb.log", "mapping"), ("init", "wandb.log", "opens")),
    "wandb.sdk.wandb_run": (("Run.log", "wandb.log", "mapping"),),
    "wandb.sdk.wandb_summary": (
        ("SummaryDict.__setitem__", "wandb.summary", "pair"),
        ("SummaryDict.update", "wandb.summary", "mapping"),
    ),
    "mlflow": (("log_metric", "mlflow.log_metric", "pair"), ("log_metrics", "mlflow.log_metric", "mapping")),
    "mlflow.tracking.client": (("MlflowClient.log_metric", "mlflow.log_metric", "second pair"),),
    "comet_ml.experiment": (
        ("CometExperiment.log_metric", "comet_ml", "pair"),
        ("CometExperiment.log_metrics", "comet_ml", "mapping"),
        ("BaseExperiment.log_metric", "comet_ml", "pair"),
        ("BaseExperiment.log_metrics", "comet_ml", "mapping"),
    ),
    "clearml.logger": (
        ("Logger.report_scalar", "clearml", "series"),
        ("Logger.report_single_value", "clearml", "pair"),
    ),
    "aim.sdk.run": (("Run.track", "aim", "value"),),
    "dvclive.live": (("Live.log_metric", "dvclive", "pair"),),
    "swanlab": (("log", "swanlab.log", "mapping"),),
    "transformers.trainer": (("Trainer.log", "Trainer.log", "mapping"),),
    "accelerate.accelerator": (("Accelerator.log", "Accelerator.log", "mapping"),),
    "lightning.fabric.fabric": (("Fabric.log", "Fabric.log", "pair"), ("Fabric.log_dict", "Fabric.log", "mapping")),
}
_DATA = re.compile(r"(?<![a-z])(val|valid|validation|eval|test|dev|train|training)(?![a-z])", re.IGNORECASE)


class Logged:
    """All values of one run: (source, name) → values, each with the optimizer steps made by then."""

    def __init__(self, steps: Callable[[], int]) -> None:
        self.steps = steps
        self.series: dict[tuple[str, str], tuple[list[int], list[float]]] = {}
        self.count = 0
        self.inside = threading.local()

    def add(self, source: str, name: str, value: Any, at: int | None = None) -> None:
        """Keep one value; what is no number is none."""
        number = scalar(value)
        if number is None or not name or self.count >= MOST:
            return
        self.count += 1
        steps, values = self.series.setdefault((source, name), ([], []))
        steps.append(self.steps() if at is None else at)
        values.append(number)

    def last(self, source: str, name: str) -> float | None:
        found = self.series.get((source, name))
        return found[1][-1] if found else None

    def to_json(self) -> list[dict[str, Any]]:
        return [
            {"source": source, "name": name, "at": steps, "values": values}
            for (source, name), (steps, values) in self.series.items()
        ]

    def install(self) -> None:
        on_import({name: functools.partial(self._module, calls=calls) for name, calls in CALLS.items()})

    def _module(self, module: Any, calls: tuple[tuple[str, str, str], ...]) -> None:
        for path, source, kind in calls:
            owner, _, name = path.rpartition(".")
            holder = getattr(module, owner, None) if owner else module
            # A method may be inherited: it is replaced where it stands.
            home = next((c for c in getattr(holder, "__mro__", (holder,)) if name in vars(c)), None) if holder else None
            plain = vars(home).get(name) if home is not None else None
            if callable(plain) and not hasattr(plain, "_tricklint"):
                opens = kind == "opens"
                ours = self._opened(module, plain, source) if opens else self._watched(plain, source, kind, bool(owner))
                setattr(home, name, ours)

    def _opened(self, module: Any, plain: Callable[..., Any], source: str) -> Callable[..., Any]:
        @functools.wraps(plain)
        def call(*args: Any, **kwargs: Any) -> Any:
            run = plain(*args, **kwargs)
            for holder, method in ((type(run), True), (module, False)):
                log = getattr(holder, "log", None)
                if callable(log) and not hasattr(log, "_tricklint"):
                    with contextlib.suppress(AttributeError, TypeError):  # a built-in type keeps its methods
                        holder.log = self._watched(log, source, "mapping", method)
            return run

        call._tricklint = True  # type: ignore[attr-defined]
        return call

    def _watched(self, plain: Callable[..., Any], source: str, kind: str, method: bool) -> Callable[..., Any]:
        @functools.wraps(plain)
        def call(*args: Any, **kwargs: Any) -> Any:
            if getattr(self.inside, "busy", False):  # one logger built on another logs once
                return plain(*args, **kwargs)
            with contextlib.suppress(Exception):  # reading must never end a run
                self._read(source, kind, args[0] if method else None, args[1:] if method else args, kwargs)
            self.inside.busy = True
            try:
                return plain(*args, **kwargs)
            finally:
                self.inside.busy = False

        call._tricklint = True  # type: ignore[attr-defined]
        return call

    def _read(self, source: str, kind: str, owner: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        given = [*args, *kwargs.values()]
        if kind.startswith("second"):
            given, kind = given[1:], kind[7:] or "mapping"
        if kind == "pair":
            found = [(str(given[0]), given[1])]
        elif kind == "mapping":
            found = list(flat_of(given[0]))
        elif kind == "group":
            found = [(f"{given[0]}/{key}", value) for key, value in given[1].items()]
        elif kind == "series":
            same = str(given[0]) == str(given[1])
            found = [(str(given[0]) if same else f"{given[0]}/{given[1]}", given[2])]
        else:
            context = kwargs.get("context") or {}
            name = kwargs.get("name", args[1] if len(args) > 1 else "")
            found = [(" ".join([*(str(v) for v in context.values()), str(name)]), given[0])]
        data = self._data_of(owner)
        for name, value in found:
            self.add(source, f"{data} {name}" if data and not _DATA.search(name) else name, value)

    @staticmethod
    def _data_of(owner: Any) -> str:
        """`SummaryWriter("runs/val")`: on which data its numbers were measured."""
        for name in ("log_dir", "logdir"):
            with contextlib.suppress(Exception):  # an owner may answer for any attribute with an error of its own
                folder = getattr(owner, name, None)
                if isinstance(folder, str):
                    return data_of(folder)
        return ""


def data_of(path: str) -> str:
    """The last folder or file name in a path that speaks of validation, test or training; '' when none does."""
    for part in reversed(path.replace("\\", "/").split("/")[-2:]):
        found = _DATA.search(part)
        if found:
            return found.group(1).lower()
    return ""


def flat_of(value: Any) -> list[tuple[str, Any]]:
    """Name and value of everything in a mapping that may be nested; lists are no metrics here."""
    found: list[tuple[str, Any]] = []
    for key, inner in dict(value).items():
        if isinstance(inner, Mapping):
            found += [(f"{key}/{name}", number) for name, number in flat(inner)]
        elif not isinstance(inner, (list, tuple)):
            found.append((str(key), inner))
    return found


def on_import(hooks: Mapping[str, Callable[[Any], None]]) -> None:
    """Call each hook with its module: at once where it is there, else when it has been imported."""
    for name, hook in hooks.items():
        if name in sys.modules:
            hook(sys.modules[name])

    class Finder:
        busy = False

        def find_spec(self, name: str, path: Any = None, target: Any = None) -> Any:
            if name not in hooks or self.busy:
                return None
            self.busy = True
            try:
                spec = importlib.util.find_spec(name)
            finally:
                self.busy = False
            if spec is None or spec.loader is None:
                return None
            plain = spec.loader.exec_module

            def exec_module(module: Any) -> None:
                plain(module)
                hooks[name](module)

            spec.loader.exec_module = exec_module  # type: ignore[method-assign]
            return spec

    sys.meta_path.insert(0, Finder())
