"""LightningCLI: it builds the module and its data with the defaults of their parameters, and trains."""

from __future__ import annotations

import libcst as cst

from tricklint.interpreter.behaviour import Behaviour, behaves, function, kind_of
from tricklint.interpreter.callargs import CallArgs
from tricklint.interpreter.machine import Machine
from tricklint.interpreter.objects import plain
from tricklint.interpreter.values import (
    UNKNOWN,
    Class,
    Const,
    Dict,
    Instance,
    Namespace,
    Sequence,
    Value,
    first,
    instances,
)
from tricklint.libraries.config_files import value_of
from tricklint.libraries.events import TrainerGiven
from tricklint.libraries.hydra import located
from tricklint.libraries.lightning import run_lightning
from tricklint.libraries.paths import data_at

NAMES = ("lightning.cli.LightningCLI", "lightning.utilities.cli.LightningCLI", "lightning.pytorch.cli.LightningCLI")


@function(*NAMES)
def command_line(m: Machine, name: str, args: CallArgs, node: cst.CSTNode) -> Value:
    made = plain(m, name, args, node)
    made.kind = "lightning cli"
    start(m, made, args, node)
    return made


@kind_of
def own_command_line(cls: Class) -> str:
    return "lightning cli" if any(name in NAMES for name in cls.libraries()) else ""


@behaves("lightning cli")
class CommandLine(Behaviour):
    def super_method(self, m: Machine, value: Instance, name: str, args: CallArgs, node: cst.CSTNode) -> Value | None:
        if name == "__init__":
            start(m, value, args, node)
        return None

    def built(self, m: Machine, made: Instance, cls: Class, args: CallArgs, node: cst.CSTNode) -> bool:
        if cls.lookup("__init__") is None:
            start(m, made, args, node)
        return True

    def method(self, m: Machine, value: Instance, name: str, args: CallArgs, node: cst.CSTNode) -> Value | None:
        return UNKNOWN


def start(m: Machine, cli: Instance, args: CallArgs, node: cst.CSTNode) -> None:
    config = default_config(m, args.kwargs.get("parser_kwargs"), node)
    model = part(m, args.get(0, "model_class"), config.fields.get("model"), node)
    data = part(m, args.get(1, "datamodule_class"), config.fields.get("data"), node)
    trainer = plain(m, "lightning.Trainer", CallArgs(), node)
    trainer.kind = "trainer"
    for given in (config.fields.get("trainer"), args.kwargs.get("trainer_defaults")):
        at = first(given)
        if isinstance(at, (Dict, Namespace)):
            trainer.kwargs.update({str(key): value for key, value in at.fields.items()})
    cli.fields.update({"model": model, "datamodule": data, "trainer": trainer})
    runs = first(args.kwargs.get("run"))
    if isinstance(runs, Const) and runs.value is False:
        return
    for module in instances(model, "module"):
        m.emit(TrainerGiven(m.now(node), module, "lightning", trainer))
        run_lightning(m, module, CallArgs([], {"datamodule": data}), node, trainer)


def default_config(m: Machine, given: Value | None, node: cst.CSTNode) -> Namespace:
    """What the parser reads by default: `parser_kwargs={"default_config_files": [...]}`, or so for `fit`."""
    at = first(given)
    found: Namespace = Namespace(node, m.file)
    if not isinstance(at, (Dict, Namespace)):
        return found
    below = first(at.fields.get("fit"))
    listed = first((below if isinstance(below, (Dict, Namespace)) else at).fields.get("default_config_files"))
    for item in listed.items if isinstance(listed, Sequence) else ():
        data = data_at(m, item)
        made = value_of(m, data[1], data[0], node, attributes=True) if data is not None else None
        if isinstance(made, Namespace):
            found.fields.update(made.fields)
    return found


def part(m: Machine, cls: Value | None, config: Value | None, node: cst.CSTNode) -> Value:
    """The module or the data: of the class given, or named by the configuration, with the arguments it tells."""
    at, wanted = first(config), first(cls)
    arguments: dict[str, Value] = {}
    if isinstance(at, Namespace):
        named = first(at.fields.get("class_path"))
        inner = first(at.fields.get("init_args"))
        if isinstance(named, Const) and isinstance(named.value, str):
            wanted = first(located(m, named.value, node))
            arguments = dict(inner.fields) if isinstance(inner, Namespace) else {}
        else:
            arguments = dict(at.fields)
    return m.call(wanted, CallArgs([], arguments), node) if isinstance(wanted, Class) else UNKNOWN
