"""Trainers of frameworks: Lightning's, transformers', fastai's learners."""

from __future__ import annotations

from collections.abc import Iterator

import libcst as cst

from tricklint.interpreter.behaviour import Behaviour, behaves, function, kind_of
from tricklint.interpreter.callargs import CallArgs
from tricklint.interpreter.machine import Machine
from tricklint.interpreter.objects import plain
from tricklint.interpreter.values import (
    NONE,
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
    members,
)
from tricklint.knowledge import frameworks
from tricklint.libraries.builtins import _modules_in
from tricklint.libraries.callbacks import TRANSFORMERS_HOOKS, callbacks_of, run_hooks
from tricklint.libraries.events import LearnerBuilt, OptimizerLoaded, TrainerGiven, TrainsOver
from tricklint.libraries.facts import ModuleFacts, TrainerFacts
from tricklint.libraries.learners import measure
from tricklint.libraries.lightning import run_lightning


@function(*frameworks.TRAINERS)
def trainer(m: Machine, name: str, args: CallArgs, node: cst.CSTNode) -> Value:
    framework = frameworks.TRAINERS[name]
    made = plain(m, name, args, node)
    made.kind = "trainer"
    made.fact(TrainerFacts).framework = framework
    model = args.get(0, "model")
    if (framework == "fastai" and model is None) or (framework == "fastai" and not list(_modules_in(model))):
        model = args.get(1, "model")
    made.fact(TrainerFacts).model = model
    if framework == "fastai":
        m.emit(LearnerBuilt(m.now(node), made))
    for member in members(model):
        if isinstance(member, (Instance,)) and member.kind == "module":
            m.emit(TrainerGiven(m.now(node), member, framework, made))
    if model is None:
        m.emit(TrainerGiven(m.now(node), made, framework, made))
    return made


@kind_of
def trainer_class(cls: Class) -> str:
    """The program's own subclass of a trainer."""
    return "trainer" if _framework_of(cls) else ""


def _framework_of(cls: Class) -> str:
    return next((frameworks.TRAINERS[name] for name in cls.libraries() if name in frameworks.TRAINERS), "")


@function("lightning.Trainer.from_argparse_args")
def trainer_of_options(m: Machine, name: str, args: CallArgs, node: cst.CSTNode) -> Value:
    """A trainer that is told what the command line says, and what is given beside it."""
    options = first(args.get(0, "args"))
    told = {key: value for key, value in options.fields.items() if isinstance(key, str)} if isinstance(options, Namespace) else {}
    given = CallArgs([], {**told, **{key: value for key, value in args.kwargs.items() if key != "args"}})
    given.open_kwargs = True
    return trainer(m, "lightning.Trainer", given, node)


@function("lightning.Trainer.add_argparse_args")
def options_of_trainer(m: Machine, name: str, args: CallArgs, node: cst.CSTNode) -> Value:
    return args.get(0, "parent_parser") or UNKNOWN


def trainer_method(m: Machine, value: Instance, name: str, args: CallArgs, node: cst.CSTNode) -> Value:
    framework = value.fact(TrainerFacts).framework
    if name == "add_callback" and args.positional:
        value.fact(TrainerFacts).callbacks.append(args.positional[0])
    if name in ("fit", "train", "fit_one_cycle", "fine_tune", "fit_flat_cos", "test", "validate", "predict"):
        model = args.get(0, "model") if framework == "lightning" else value.fact(TrainerFacts).model
        if name in ("fit", "train"):
            for member in members(model):
                if isinstance(member, Instance) and member.kind == "module":
                    m.emit(TrainerGiven(m.now(node), member, framework, value))
                    if framework == "transformers":
                        run_hooks(m, value, callbacks_of(m, value, node), member, TRANSFORMERS_HOOKS, node)
                    if framework == "lightning":
                        run_lightning(m, member, args, node, value)
                        if resumes(args, value):
                            for optimizer in optimizers_in(member.fact(ModuleFacts).optimizers):
                                m.emit(OptimizerLoaded(m.now(node), optimizer))
        if name in ("fit", "train", "fit_one_cycle", "fine_tune", "fit_flat_cos"):
            trains_over(m, value, framework, node)
    return UNKNOWN


def resumes(args: CallArgs, trainer: Instance) -> bool:
    """Lightning is told where a checkpoint lies, or may be by an option: it brings the state of the optimizers too."""
    given = (args.kwargs.get("ckpt_path"), trainer.kwargs.get("resume_from_checkpoint"))
    return any(value is not None and not (isinstance(value, Const) and value.value is None and not value.default) for value in given)


def optimizers_in(given: Value | None) -> Iterator[Instance]:
    """What `configure_optimizers` gives, in whatever form."""
    for member in members(given):
        if isinstance(member, Instance) and member.kind == "optimizer":
            yield member
        elif isinstance(member, Sequence):
            for item in member.items:
                yield from optimizers_in(item)
        elif isinstance(member, Dict):
            yield from optimizers_in(member.fields.get("optimizer"))


def trains_over(m: Machine, trainer: Instance, framework: str, node: cst.CSTNode) -> None:
    """What tells the trainer how large its batches are: a loader, the data's own object, or its arguments."""
    position = {"transformers": 1, "fastai": 0}.get(framework)
    given = [trainer.kwargs.get(key) for key in ("train_dataloader", "args", "dls")]
    if position is not None and position < len(trainer.args):
        given.append(trainer.args[position])
    for value in given:
        for source in instances(value):
            m.emit(TrainsOver(m.now(node), source, framework, trainer, dict(source.kwargs)))
    if framework == "fastai":
        loss = trainer.kwargs.get("loss_func", trainer.args[2] if len(trainer.args) > 2 else None)
        measure(m, trainer.fact(TrainerFacts).model, loss, UNKNOWN, node)


@behaves("trainer")
class TrainerBehaviour(Behaviour):
    def attribute(self, m: Machine, value: Instance, name: str, node: cst.CSTNode) -> Value | None:
        if name == "tuner" and value.fact(TrainerFacts).framework == "lightning":
            return plain(m, "lightning.tuner.Tuner", CallArgs(), node)
        return value.fact(TrainerFacts).model if name == "model" else None

    def built(self, m: Machine, made: Instance, cls: Class, args: CallArgs, node: cst.CSTNode) -> bool:
        known = made.fact(TrainerFacts)
        known.framework = _framework_of(cls)
        known.model = known.model or args.get(0, "model")
        for model in instances(known.model, "module"):
            m.emit(TrainerGiven(m.now(node), model, known.framework, made))
        return False

    def super_method(self, m: Machine, value: Instance, name: str, args: CallArgs, node: cst.CSTNode) -> Value | None:
        if name != "__init__":
            return self.method(m, value, name, args, node)
        known = value.fact(TrainerFacts)
        known.model = args.get(0, "model")
        for key, given in args.kwargs.items():
            value.kwargs.setdefault(key, given)
        return NONE

    def method(self, m: Machine, value: Instance, name: str, args: CallArgs, node: cst.CSTNode) -> Value | None:
        return trainer_method(m, value, name, args, node)
