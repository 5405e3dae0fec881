"""Hydra: the configuration that `hydra.main` hands to a function, the compose API, and what `instantiate` builds."""

from __future__ import annotations

from pathlib import Path

import libcst as cst

from tricklint.interpreter.attributes import get_attribute
from tricklint.interpreter.behaviour import Behaviour, behaves, enters, function, parameter_defaults
from tricklint.interpreter.callargs import CallArgs
from tricklint.interpreter.imports import ModuleValue, of_library, run_file
from tricklint.interpreter.machine import Machine
from tricklint.interpreter.objects import plain
from tricklint.interpreter.values import (
    NONE,
    UNKNOWN,
    Choice,
    Class,
    Const,
    Dict,
    Func,
    Instance,
    Namespace,
    Partial,
    Sequence,
    Value,
    first,
    instances,
)
from tricklint.libraries.facts import OptimizerFacts
from tricklint.libraries.hydra_compose import Composer, HydraFacts
from tricklint.libraries.omegaconf import finished
from tricklint.libraries.paths import path_text, places


def _text(value: Value | None) -> str | None:
    at = first(value)
    return at.value if isinstance(at, Const) and isinstance(at.value, str) else None


@parameter_defaults
def composed_config(m: Machine, func: Func) -> dict[str, Value]:
    """`@hydra.main(config_path="conf", config_name="config")`: the first parameter is the composed configuration."""
    for decorator in func.decorators:
        if isinstance(decorator, Instance) and decorator.library == "hydra.main" and func.node.params.params:
            at = decorator
            path = path_text(at.kwargs.get("config_path", at.args[0] if at.args else None))
            name = _text(at.kwargs.get("config_name", at.args[1] if len(at.args) > 1 else None))
            if path is not None:
                path = path.replace("\\", "/")  # as it is written on Windows
            if path is not None and name is None and path.endswith((".yaml", ".yml")):  # Hydra before 1.0: the file itself
                path, _, name = f"./{path}".removesuffix(".yml").rpartition("/")
            folder = func.file.path.parent / path if path is not None else None
            if name is None:
                return {}
            made = Composer(m, folder, func.node).compositions(name.removesuffix(".yaml"))
            configs = tuple(finished(m, each) for each in made)
            config = configs[0] if len(configs) == 1 else Choice(configs) if configs else UNKNOWN
            return {func.node.params.params[0].name.value: config}
    return {}


def composed(m: Machine, folder: Path | None, name: str, overrides: list[str], node: cst.CSTNode) -> Value:
    raw = Composer(m, folder, node).config(name.removesuffix(".yaml"), overrides)
    return finished(m, raw) if raw is not None else UNKNOWN


@function("hydra.initialize", "hydra.experimental.initialize", "hydra.initialize_config_dir")
def initialize(m: Machine, name: str, args: CallArgs, node: cst.CSTNode) -> Value:
    text = path_text(args.get(0, "config_dir" if name.endswith("dir") else "config_path"))
    if text is not None:
        m.fact(HydraFacts).folder = m.file.path.parent / text if not name.endswith("dir") else _only(places(m, text))
    return plain(m, name, args, node)


def _only(found: list[Path]) -> Path | None:
    there = [path for path in found if path.is_dir()]
    return there[0] if len(there) == 1 else None


@enters("hydra.initialize", "hydra.initialize_config_dir")
def entered(m: Machine, value: Value) -> None:
    """`with initialize(…)`: the call has said all."""


@function("hydra.compose", "hydra.experimental.compose")
def compose(m: Machine, name: str, args: CallArgs, node: cst.CSTNode) -> Value:
    wanted = _text(args.get(0, "config_name"))
    given = first(args.get(1, "overrides"))
    items = [_text(item) for item in given.items] if isinstance(given, Sequence) else []
    if wanted is None or None in items or (isinstance(given, Sequence) and given.open):
        return UNKNOWN
    return composed(m, m.fact(HydraFacts).folder, wanted, [item for item in items if item], node)


# -- the config store --------------------------------------------------------------------------------------------------


@function("hydra.core.config_store.ConfigStore.instance", "hydra.core.config_store.ConfigStore")
def config_store(m: Machine, name: str, args: CallArgs, node: cst.CSTNode) -> Value:
    made = plain(m, "hydra.core.config_store.ConfigStore", args, node)
    made.kind = "config store"
    return made


@behaves("config store")
class ConfigStore(Behaviour):
    def method(self, m: Machine, value: Instance, name: str, args: CallArgs, node: cst.CSTNode) -> Value | None:
        label, content = _text(args.get(0, "name")), args.get(1, "node")
        if name == "store" and label is not None and content is not None:
            group = _text(args.get(2, "group")) or ""
            package = _text(args.get(3, "package"))
            key = f"{group}/{label.removesuffix('.yaml')}".lstrip("/")
            m.fact(HydraFacts).store[key] = (content, package)
        return NONE


# -- instantiate -------------------------------------------------------------------------------------------------------


def located(m: Machine, dotted: str, node: cst.CSTNode) -> Value:
    """What a dotted path means: something of the program, or of a library."""
    parts = dotted.split(".")
    script = m.frames[0].file if m.frames else m.file
    for count in range(len(parts) - 1, 0, -1):
        path = m.project.find(".".join(parts[:count]), script.path)
        if path is None and script.path.with_suffix("").parts[-count:] == tuple(parts[:count]):
            path = script.path
        module = run_file(m, path) if path is not None and not m.project.framework_name(path) else None
        if module is not None:
            found: Value = ModuleValue(module)
            for part in parts[count:]:
                found = get_attribute(m, found, part, node)
            return found
    return of_library(m, dotted)


@function("hydra.utils.instantiate", "hydra.utils.call", "hydra.instantiate")
def instantiate(m: Machine, name: str, args: CallArgs, node: cst.CSTNode) -> Value:
    config = args.get(0, "config")
    rest = CallArgs(args.positional[1:], {key: value for key, value in args.kwargs.items() if key != "config"})
    rest.open, rest.open_kwargs = args.open, args.open_kwargs
    return built(m, config or UNKNOWN, rest, node) if config is not None else UNKNOWN


def built(m: Machine, value: Value, args: CallArgs, node: cst.CSTNode, depth: int = 0) -> Value:
    """What a configuration with a `_target_` builds, with all targets below it."""
    at = first(value)
    if isinstance(at, Sequence):
        items = tuple(built(m, item, CallArgs(), node, depth + 1) for item in at.items)
        return Sequence(at.kind, items, at.open, node, m.file)
    record = isinstance(at, Instance) and isinstance(at.cls, Class) and not at.kind
    if (not isinstance(at, (Namespace, Dict)) and not record) or depth > 12:
        return value
    assert isinstance(at, (Namespace, Dict, Instance))
    fields = {key: each for key, each in at.fields.items() if isinstance(key, str)}
    if isinstance(at, Instance) and isinstance(at.cls, Class) and "_target_" not in fields:
        target = at.cls.lookup("_target_")
        if target is not None:
            fields["_target_"] = target
    flags = {**fields, **args.kwargs}
    recursive, partial = (first(flags.get(key)) for key in ("_recursive_", "_partial_"))
    below = not (isinstance(recursive, Const) and recursive.value is False)
    given = {
        key: built(m, each, CallArgs(), node, depth + 1) if below else each
        for key, each in fields.items()
        if key not in ("_target_", "_recursive_", "_partial_", "_convert_", "_args_")
    }
    if "_target_" not in fields:
        if isinstance(at, Instance):
            return at
        made: Namespace | Dict = Namespace(node, m.file) if isinstance(at, Namespace) else Dict(node, m.file, at.open)
        made.fields.update({**given, **args.kwargs})
        return made
    target = first(fields["_target_"])
    dotted = target.value if isinstance(target, Const) and isinstance(target.value, str) else None
    if dotted is None and isinstance(target, Const):
        return UNKNOWN
    callee = located(m, dotted, node) if dotted is not None else target or UNKNOWN
    listed = first(fields.get("_args_"))
    positional = [*args.positional] or ([*listed.items] if isinstance(listed, Sequence) else [])
    given.update({key: each for key, each in args.kwargs.items() if not key.startswith("_")})
    if isinstance(partial, Const) and partial.value:
        return Partial(callee, tuple(positional), given)
    call = CallArgs(positional, given)
    call.open, call.open_kwargs = args.open, args.open_kwargs or (isinstance(at, Dict) and at.open)
    result = m.call(callee, call, node)
    for optimizer in instances(result, "optimizer"):
        optimizer.fact(OptimizerFacts).configured = True
    return result


@function("hydra.utils.get_class", "hydra.utils.get_method", "hydra.utils.get_object", "hydra.utils.get_static_method",
          "pydoc.locate")  # fmt: skip
def get_object(m: Machine, name: str, args: CallArgs, node: cst.CSTNode) -> Value:
    dotted = _text(args.get(0, "path"))
    return located(m, dotted, node) if dotted is not None else UNKNOWN


__all__ = ["built", "located"]
