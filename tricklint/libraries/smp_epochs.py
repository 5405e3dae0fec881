"""segmentation_models_pytorch's epoch runners: `TrainEpoch(model, loss, metrics, optimizer, …).run(loader)`."""

from __future__ import annotations

import libcst as cst

from tricklint.interpreter.behaviour import Behaviour, behaves, function
from tricklint.interpreter.callargs import CallArgs
from tricklint.interpreter.events import Loop
from tricklint.interpreter.iteration import rounds
from tricklint.interpreter.machine import Machine
from tricklint.interpreter.objects import plain
from tricklint.interpreter.values import UNKNOWN, Instance, Value, instances
from tricklint.libraries.events import ModeSet, Moved, TrainerGiven, TrainsOver
from tricklint.libraries.learners import measure

_TRAINS = "segmentation_models_pytorch.utils.train.TrainEpoch"


@function(_TRAINS, "segmentation_models_pytorch.utils.train.ValidEpoch")
def epoch(m: Machine, name: str, args: CallArgs, node: cst.CSTNode) -> Value:
    made = plain(m, name, args, node)
    made.kind = "smp_epoch"
    for model in instances(args.get(0, "model"), "module"):
        m.emit(Moved(m.now(node), model, "to", CallArgs([args.get(4, "device") or UNKNOWN])))
        if name == _TRAINS:
            m.emit(TrainerGiven(m.now(node), model, "smp", made))
    return made


@behaves("smp_epoch")
class Epoch(Behaviour):
    def method(self, m: Machine, value: Instance, name: str, args: CallArgs, node: cst.CSTNode) -> Value | None:
        """One epoch: it sets the model's mode, and switches autograd off where it does not train."""
        if name != "run":
            return UNKNOWN
        trains = value.library == _TRAINS
        model, data = value.passed(0, "model"), args.get(0, "dataloader")
        for each in instances(model, "module"):
            m.emit(ModeSet(m.now(node), each, trains))
        if not trains:
            return UNKNOWN
        found = rounds(m, data, node) if data is not None else []
        outer = m.loops
        m.seq += 1
        m.loops = [*outer, Loop(node, data, m.file, m.seq, len(m.frames))]
        measure(m, model, value.passed(1, "loss"), found[0] if found else UNKNOWN, node)
        m.loops = outer
        for loader in instances(data):
            if loader.kind in ("loader", "batches"):
                m.emit(TrainsOver(m.now(node), loader, "smp", value))
        return UNKNOWN
