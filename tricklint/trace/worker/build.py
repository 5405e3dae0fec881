"""A target's name → the model it builds."""

from __future__ import annotations

import argparse
import contextlib
import importlib
import inspect
import sys
from pathlib import Path
from typing import Any

import torch
from torch import nn

from tricklint.trace.facts import Site
from tricklint.trace.initwatch import InitWatch
from tricklint.trace.twin import to_meta
from tricklint.trace.worker import downloads, stubs
from tricklint.trace.worker.guard import Guard
from tricklint.trace.worker.loader import UserFinder, module_name
from tricklint.trace.worker.meta import MetaMode, no_moves


class BuildError(Exception):
    """The target cannot be built; the message is one line for the user, `cause` a word for the report."""

    def __init__(self, message: str, cause: str = "error") -> None:
        super().__init__(message)
        self.cause = cause


def patch_argparse() -> None:
    """parse_args() answers with the defaults, whatever the command line says."""

    def defaults(self: argparse.ArgumentParser, args: Any = None, namespace: Any = None) -> argparse.Namespace:
        found = namespace or argparse.Namespace()
        for action in self._actions:
            if action.dest != argparse.SUPPRESS and action.default is not argparse.SUPPRESS:
                value = action.default
                if isinstance(value, str) and callable(action.type):
                    with contextlib.suppress(Exception):
                        value = action.type(value)
                setattr(found, action.dest, value)
        for name, value in self._defaults.items():
            setattr(found, name, value)
        return found

    def known(self: Any, args: Any = None, namespace: Any = None) -> tuple[argparse.Namespace, list[str]]:
        return defaults(self, args, namespace), []

    argparse.ArgumentParser.parse_args = defaults  # type: ignore[method-assign,assignment]
    argparse.ArgumentParser.parse_known_args = known  # type: ignore[method-assign,assignment]


def resolve(target: str, finder: UserFinder) -> Any:
    """`pkg.models:Net`, `path/to/file.py:Net`, or a file alone that holds one model. Raises BuildError."""
    where, _, name = target.rpartition(":") if ":" in target else (target, "", "")
    if not where:
        where, name = name, ""
    if where.endswith(".py"):
        path = Path(where).resolve()
        if not path.is_file():
            raise BuildError(f"{where}: no such file", "missing")
        dotted, folder = module_name(path)
        if str(folder) in sys.path:
            sys.path.remove(str(folder))
        sys.path.insert(0, str(folder))
    else:
        dotted = where
    module = importlib.import_module(dotted)
    file = str(getattr(module, "__file__", ""))
    if not name:
        name = _only_model(module, where)
    found: Any = module
    for part in name.split("."):
        if not hasattr(found, part):
            dropped = finder.loaded.get(file, {})
            if part in dropped:
                raise BuildError(
                    f"{part} is made by a statement at the top level (line {dropped[part]}), which a trace does not run"
                    ": name a class or a function",
                    "missing",
                )
            raise BuildError(f"{where} has no {name}{_near(part, found)}", "missing")
        found = getattr(found, part)
    return found


def _near(word: str, holder: Any) -> str:
    import difflib

    close = difflib.get_close_matches(word, [n for n in dir(holder) if not n.startswith("_")], 1)
    return f" (did you mean {close[0]}?)" if close else ""


def _only_model(module: Any, where: str) -> str:
    kinds = [
        name
        for name, value in vars(module).items()
        if isinstance(value, type) and issubclass(value, nn.Module) and value.__module__ == module.__name__
    ]
    if not kinds:
        raise BuildError(f"{where} defines no nn.Module", "missing")
    text = inspect.getsource(module)
    outer = [name for name in kinds if text.count(f"{name}(") <= 1]
    if len(kinds) == 1 or len(outer) == 1:
        return str((kinds if len(kinds) == 1 else outer)[0])
    raise BuildError(
        f"{where} defines {len(kinds)} models ({', '.join(kinds[:8])}): choose one with {where}:NAME", "missing"
    )


def call(maker: Any, args: list[Any], kwargs: dict[str, Any]) -> nn.Module:
    """Call a class or factory; the nn.Module it gives, also first in a tuple. Raises BuildError."""
    if isinstance(maker, nn.Module):
        return maker
    if not callable(maker):
        raise BuildError(f"this is a {type(maker).__name__}, neither a class nor a function", "missing")
    if isinstance(maker, stubs.Stub):
        raise BuildError(f"{maker._name}: that package is not installed", "unknown")
    try:
        inspect.signature(maker).bind(*args, **kwargs)
    except ValueError:
        pass  # a builtin without a signature
    except TypeError as error:
        name = getattr(maker, "__qualname__", "the factory")
        raise BuildError(f"{name}: {error}, and its value is not known", "unknown") from None
    made = maker(*args, **kwargs)
    if isinstance(made, (tuple, list)):
        made = next((item for item in made if isinstance(item, nn.Module)), made)
    if isinstance(made, dict):
        made = next((item for item in made.values() if isinstance(item, nn.Module)), made)
    if isinstance(made, stubs.Stub):
        raise BuildError(f"it comes from {made._name}, a package that is not installed", "unknown")
    if not isinstance(made, nn.Module):
        name = getattr(maker, "__qualname__", "the factory")
        raise BuildError(f"{name} gave a {type(made).__name__}, no nn.Module", "error")
    return made


def build(maker: Any, args: list[Any], kwargs: dict[str, Any], watch: InitWatch | None) -> tuple[nn.Module, str]:
    """(model on meta, "meta" or "cpu": how it was built). The init watch sees a meta build only."""
    stubs.called.clear()
    problem: Exception | None = None
    with no_moves():
        if watch is not None:
            for values_too in (False, True):
                try:
                    with watch.watching(), MetaMode(values_too):
                        model = call(maker, args, kwargs)
                    _refuse_stubs(model)
                    return to_meta(model), "meta"
                except BuildError:
                    raise
                except Exception as error:
                    problem = problem or error
                    watch.drawn.clear()
        torch.manual_seed(0)
        try:
            model = call(maker, args, kwargs)
        except BuildError:
            raise
        except Exception as error:
            raise problem if problem is not None and isinstance(error, NotImplementedError) else error from None
    _refuse_stubs(model)
    return model, "cpu"


def _refuse_stubs(model: nn.Module) -> None:
    for path, module in model.named_modules():
        for kind in type(module).__mro__:
            stub = kind.__dict__.get("_tricklint_stub")
            if stub:
                raise BuildError(
                    f"{type(module).__name__} inherits from {stub}, of a package that is not installed", "unknown"
                )
        for name, value in vars(module).items():
            if isinstance(value, stubs.Stub):
                where = f"{path}.{name}" if path else name
                raise BuildError(f"{where} comes from {value._name}, of a package that is not installed", "unknown")


class OptimizerWatch:
    """Remembers where each optimizer was made."""

    def __init__(self, guard: Guard) -> None:
        self.guard = guard
        self.sites: dict[int, Site] = {}
        original = torch.optim.Optimizer.__init__
        watch = self

        def init(self: Any, *args: Any, **kwargs: Any) -> None:
            original(self, *args, **kwargs)
            frame = sys._getframe(1)
            while frame is not None and not watch.guard.is_user(frame.f_code.co_filename):
                frame = frame.f_back  # type: ignore[assignment]
            if frame is not None:
                watch.sites[id(self)] = Site(frame.f_code.co_filename, frame.f_lineno)

        torch.optim.Optimizer.__init__ = init  # type: ignore[method-assign]

    def make(self, maker: Any, model: nn.Module, notes: list[str]) -> torch.optim.Optimizer | None:
        """The optimizer that `maker(model)` (or `maker(model.parameters())`) gives."""
        try:
            names = list(inspect.signature(maker).parameters)
        except (TypeError, ValueError):
            names = ["params"]
        wants_parameters = bool(names) and names[0] in ("params", "parameters", "param_groups", "groups")
        made = maker(model.parameters() if wants_parameters else model) if names else maker()
        return first_optimizer(made, notes)


def first_optimizer(made: Any, notes: list[str], depth: int = 0) -> torch.optim.Optimizer | None:
    """The first optimizer inside what configure_optimizers and its kind return."""
    if isinstance(made, torch.optim.Optimizer):
        return made
    items = list(made.values()) if isinstance(made, dict) else list(made) if isinstance(made, (list, tuple)) else []
    for item in items:
        found = first_optimizer(item, notes, depth + 1) if depth < 4 else None
        if found is not None:
            return found
    if depth == 0:
        notes.append(f"the optimizer factory gave a {type(made).__name__}, no optimizer")
    return None


def input_values(spec: Any, finder: UserFinder) -> Any:
    """An `input` setting that names a function ("pkg.data:example_batch") is called, on the CPU."""
    downloads.patch_libraries()
    return resolve(spec, finder)()
