"""Metrics of frameworks that keep them in objects of their own, messages of `logging`, and what argparse parsed."""

from __future__ import annotations

import argparse
import contextlib
import functools
import logging
import sys
from typing import Any

from tricklint.verify.runner.logged import Logged, on_import
from tricklint.verify.runner.outputs import scalar

LONGEST = 1 << 20  # characters of messages that are kept


class Frameworks:
    """Watches them for one run; what they measure goes to `logged`."""

    def __init__(self, logged: Logged) -> None:
        self.logged = logged
        self.arguments: dict[str, float] = {}  # the numbers of the command line: they are no metrics
        self.messages: list[tuple[int, str]] = []  # (steps made, message)
        self.length = 0

    def install(self) -> None:
        self._logging()
        self._argparse()
        lightning = ("lightning.pytorch.trainer.trainer", "pytorch_lightning.trainer.trainer")
        on_import(
            {
                **dict.fromkeys(lightning, self._lightning),
                "torchmetrics.metric": self._torchmetrics,
                "ignite.metrics.metric": self._ignite,
            }
        )

    def _logging(self) -> None:
        plain, watcher = logging.Logger.callHandlers, self

        @functools.wraps(plain)
        def call_handlers(logger: Any, record: Any) -> None:
            with contextlib.suppress(Exception):  # a message that cannot be made is reported by logging itself
                text = record.getMessage()
                if watcher.length < LONGEST and any(map(str.isdigit, text)):
                    watcher.length += len(text)
                    watcher.messages.append((watcher.logged.steps(), text))
            plain(logger, record)

        logging.Logger.callHandlers = call_handlers  # type: ignore[method-assign,assignment]

    def _argparse(self) -> None:
        plain, watcher = argparse.ArgumentParser.parse_known_args, self

        @functools.wraps(plain)
        def parse_known_args(parser: Any, *args: Any, **kwargs: Any) -> Any:
            found = plain(parser, *args, **kwargs)
            for name, value in vars(found[0]).items():
                number = scalar(value)
                if number is not None:
                    watcher.arguments[name] = number
            return found

        argparse.ArgumentParser.parse_known_args = parse_known_args  # type: ignore[method-assign,assignment]

    def _lightning(self, module: Any) -> None:
        """Lightning logs metrics without printing them: they are read when it has validated, tested or ended."""
        source, logged = "Lightning's log", self.logged
        callbacks = sys.modules[module.__name__.split(".trainer")[0] + ".callbacks"]

        def keep(trainer: Any) -> None:
            if getattr(trainer, "sanity_checking", False):
                return
            for name, value in trainer.callback_metrics.items():
                number = scalar(value)
                if number is not None and logged.last(source, name) != number:
                    logged.add(source, name, number)

        class Watch(callbacks.Callback):  # type: ignore[misc,name-defined]
            def on_validation_end(self, trainer: Any, *_: Any) -> None:
                keep(trainer)

            def on_train_epoch_end(self, trainer: Any, *_: Any) -> None:
                keep(trainer)

        def watched(plain: Any, fits: bool) -> Any:
            @functools.wraps(plain)
            def call(trainer: Any, *args: Any, **kwargs: Any) -> Any:
                watch = Watch()
                if fits:
                    trainer.callbacks.append(watch)
                try:
                    return plain(trainer, *args, **kwargs)
                finally:
                    keep(trainer)
                    if fits and watch in trainer.callbacks:
                        trainer.callbacks.remove(watch)

            return call

        for name in ("fit", "validate", "test"):
            setattr(module.Trainer, name, watched(getattr(module.Trainer, name), name == "fit"))

    def _torchmetrics(self, module: Any) -> None:
        """What `compute` returns outside of `forward` (there it is one batch's), under the name that the caller has for
        the metric."""
        logged, forward = self.logged, module.Metric.forward
        plain = module.Metric._wrap_compute
        batch = [0]

        @functools.wraps(forward)
        def watched_forward(metric: Any, *args: Any, **kwargs: Any) -> Any:
            batch[0] += 1
            try:
                return forward(metric, *args, **kwargs)
            finally:
                batch[0] -= 1

        @functools.wraps(plain)
        def wrap_compute(metric: Any, compute: Any) -> Any:
            wrapped = plain(metric, compute)

            @functools.wraps(wrapped)
            def call(*args: Any, **kwargs: Any) -> Any:
                value = wrapped(*args, **kwargs)
                if not batch[0]:
                    logged.add("torchmetrics", name_of(metric, sys._getframe(1)), value)
                return value

            return call

        module.Metric.forward, module.Metric._wrap_compute = watched_forward, wrap_compute

    def _ignite(self, module: Any) -> None:
        plain, logged = module.Metric.completed, self.logged

        @functools.wraps(plain)
        def completed(metric: Any, engine: Any, name: str, *args: Any, **kwargs: Any) -> None:
            plain(metric, engine, name, *args, **kwargs)
            logged.add("ignite", name, engine.state.metrics.get(name))

        module.Metric.completed = completed


def name_of(thing: Any, frame: Any) -> str:
    """The name that a caller has for an object: of a variable, an attribute, or an entry of a mapping; else its
    class'."""
    for _ in range(4):
        if frame is None:
            break
        for name, value in list(frame.f_locals.items()):
            if value is thing and name not in ("self", "metric", "m"):
                return str(name)
            if name == "self" and value is not thing:
                inner = {**getattr(value, "__dict__", {}), **getattr(value, "_modules", {})}
                found = next((key for key, held in inner.items() if held is thing), None)
                if found is not None and found not in ("metric", "m"):
                    return str(found)
        frame = frame.f_back
    return type(thing).__name__
