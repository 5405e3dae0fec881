"""Trackers keep what a run logs in the run's own folder, also where the script says otherwise in its own words."""

from __future__ import annotations

import functools
import os
from collections.abc import Callable
from typing import Any

from tricklint.verify.runner.logged import on_import

_AWAY = ("http:", "https:", "databricks", "uc:", "ftp:", "s3:", "gs:", "postgresql", "mysql", "mssql")


def install() -> None:
    """Take effect as soon as a tracker is imported."""
    on_import({"wandb": _wandb, "mlflow": _mlflow})


def _wandb(module: Any) -> None:
    def init(plain: Callable[..., Any]) -> Callable[..., Any]:
        @functools.wraps(plain)
        def call(*args: Any, **kwargs: Any) -> Any:
            if kwargs.get("mode") not in (None, "disabled"):
                kwargs["mode"] = "offline"
            for name in ("id", "resume", "resume_from", "fork_from"):  # a run of before must not go on
                kwargs.pop(name, None)
            return plain(*args, **kwargs)

        return call

    if callable(getattr(module, "init", None)):
        module.init = init(module.init)


def _mlflow(module: Any) -> None:
    def local(plain: Callable[..., Any]) -> Callable[..., Any]:
        @functools.wraps(plain)
        def call(uri: Any, *args: Any, **kwargs: Any) -> Any:
            text = os.fspath(uri) if isinstance(uri, (str, os.PathLike)) else ""
            return plain(os.path.abspath("mlruns") if text.startswith(_AWAY) else uri, *args, **kwargs)

        return call

    for name in ("set_tracking_uri", "set_registry_uri"):
        if callable(getattr(module, name, None)):
            setattr(module, name, local(getattr(module, name)))
