"""Lightning: what `Trainer.fit` calls, and modules restored from checkpoints."""

from __future__ import annotations

import libcst as cst

from tricklint.interpreter.behaviour import Behaviour, behaves
from tricklint.interpreter.callargs import CallArgs
from tricklint.interpreter.calls import invoke
from tricklint.interpreter.classes import instantiate
from tricklint.interpreter.events import Loop
from tricklint.interpreter.iteration import rounds
from tricklint.interpreter.machine import Machine
from tricklint.interpreter.objects import plain
from tricklint.interpreter.values import (
    UNKNOWN,
    Bound,
    Class,
    Const,
    Func,
    Instance,
    Sequence,
    Value,
    first,
)
from tricklint.libraries.callbacks import LIGHTNING_HOOKS, LIGHTNING_LATER, callbacks_of, run_hooks
from tricklint.libraries.events import TrainsOver, WeightsLoaded
from tricklint.libraries.facts import Load, ModuleFacts
from tricklint.libraries.tensors import Tensor


def restored(m: Machine, cls: Class, args: CallArgs, node: cst.CSTNode) -> Value:
    """A Lightning module as its checkpoint describes it: arguments that are not given come from there."""

    given = CallArgs(
        [], {k: v for k, v in args.kwargs.items() if k not in ("checkpoint_path", "map_location", "strict")}
    )
    given.open_kwargs = True
    made = instantiate(m, cls, given, node)
    if isinstance(made, Instance):
        source = plain(m, "lightning.checkpoint", args, node)
        source.kind = "checkpoint"
        made.fact(ModuleFacts).loads.append(Load(node, source, m.file, tuple(m.path), m.entry))
        m.emit(WeightsLoaded(m.now(node), made, source))
    return made


def run_lightning(
    m: Machine, model: Instance, args: CallArgs, node: cst.CSTNode, trainer: Instance | None = None
) -> None:
    """What `Trainer.fit` calls: the hooks that build optimizers, then one training and one validation step."""

    if not isinstance(model.cls, Class) or model.fact(ModuleFacts).fitted:
        return
    # A trial run that only an option asks for is not the training: that comes after it
    model.fact(ModuleFacts).fitted = not any(step.taken is False for step in m.path)
    callbacks = callbacks_of(m, trainer, node) if trainer is not None else []
    if trainer is not None:
        run_hooks(m, trainer, callbacks, model, ("setup",), node)
    for hook in ("setup", "configure_model", "configure_optimizers", "on_fit_start"):
        method = model.cls.lookup(hook)
        if isinstance(method, Func):
            result = invoke(m, method, model, CallArgs(), node)
            if hook == "configure_optimizers":
                model.fact(ModuleFacts).optimizers = result
    outer, grad = m.loops, m.grad
    some = Sequence("tuple", (Tensor("data"), Tensor("data")), True)
    loader = training_loader(m, model, args, node)
    found = rounds(m, loader, node) if loader is not None else []
    given = found[0] if found else None
    if loader is not None and trainer is not None:
        m.emit(TrainsOver(m.now(node), loader, "lightning", trainer))
    if trainer is not None:
        run_hooks(m, trainer, callbacks, model, LIGHTNING_HOOKS, node)
    for hook in ("on_train_start", "on_train_epoch_start"):
        method = model.cls.lookup(hook)
        if isinstance(method, Func):
            m.seq += 1
            m.loops = [*outer, Loop(method.node, None, method.file, m.seq, len(m.frames))]
            invoke(m, method, model, CallArgs(), node)
    for hook, train in (("training_step", True), ("validation_step", False), ("test_step", False)):
        method = model.cls.lookup(hook)
        if isinstance(method, Func):
            m.seq += 1
            m.loops = [*outer, Loop(method.node, None, method.file, m.seq, len(m.frames))]
            m.grad = grad if train else False
            invoke(m, method, model, CallArgs([given if train and given is not None else some, UNKNOWN]), node)
    m.loops, m.grad = outer, grad
    if trainer is not None:
        run_hooks(m, trainer, callbacks, model, LIGHTNING_LATER, node)


def training_loader(m: Machine, model: Instance, args: CallArgs, node: cst.CSTNode) -> Instance | None:
    """The training loader that `Trainer.fit` is given, or that the data module or the model itself makes."""

    loader = args.get(1, "train_dataloaders") or args.kwargs.get("train_dataloader")
    sources = [first(loader), first(args.kwargs.get("datamodule")), model]
    for source in sources:
        if not isinstance(source, Instance):
            continue
        made: Value | None = source if source.kind in ("loader", "batches") else None
        cls = source.cls if isinstance(source.cls, Class) else None
        hook = cls.lookup("train_dataloader") if cls is not None else None
        if cls is not None and isinstance(hook, Func):
            prepare = cls.lookup("setup")
            if source is not model and isinstance(prepare, Func):
                invoke(m, prepare, source, CallArgs([Const("fit")]), node)
            made = invoke(m, hook, source, CallArgs(), node)
        made = first(made)
        if isinstance(made, Instance) and made.kind in ("loader", "batches"):
            return made
    return None


@behaves(Class)
class ClassBehaviour(Behaviour):
    """A Lightning module's class: `Net.load_from_checkpoint(…)`."""

    def attribute(self, m: Machine, value: Class, name: str, node: cst.CSTNode) -> Value | None:
        restores = name == "load_from_checkpoint" and "lightning.LightningModule" in value.libraries()
        return Bound(value, None, name) if restores else None

    def method(self, m: Machine, value: Class, name: str, args: CallArgs, node: cst.CSTNode) -> Value | None:
        return restored(m, value, args, node) if name == "load_from_checkpoint" else None
