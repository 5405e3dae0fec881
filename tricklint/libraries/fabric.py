"""Lightning's Fabric: the program's own loop, with models, optimizers and loaders set up for it."""

from __future__ import annotations

import libcst as cst

from tricklint.interpreter.behaviour import Behaviour, behaves, function
from tricklint.interpreter.callargs import CallArgs
from tricklint.interpreter.machine import Machine
from tricklint.interpreter.objects import plain
from tricklint.interpreter.values import NONE, UNKNOWN, Const, Instance, Ref, Sequence, Value, first, members
from tricklint.libraries.events import Backward, Moved
from tricklint.libraries.launchers import can_run, launch, the_rest

_RETURN_WHAT_THEY_GET = frozenset(("setup", "setup_dataloaders", "setup_module", "setup_optimizers", "to_device", "all_gather", "all_reduce"))
_CONTEXTS = frozenset(("autocast", "no_backward_sync", "init_module", "init_tensor", "sharded_model", "rank_zero_first"))


@function("lightning.fabric.Fabric", "lightning.Fabric")
def fabric(m: Machine, name: str, args: CallArgs, node: cst.CSTNode) -> Value:
    made = plain(m, "lightning.fabric.Fabric", args, node)
    made.kind = "fabric"
    return made


def device_of(m: Machine, value: Instance, node: cst.CSTNode) -> Value:
    """The accelerator that it is told, by default the one that the machine has."""
    told = value.kwargs.get("accelerator", value.args[0] if value.args else None)
    named = first(told)
    if told is None or (isinstance(named, Const) and named.value in ("auto", "mps", "tpu")):
        return plain(m, "torch.accelerator.current_accelerator", CallArgs(), node)
    return told


@behaves("fabric")
class Fabric(Behaviour):
    def attribute(self, m: Machine, value: Instance, name: str, node: cst.CSTNode) -> Value | None:
        if name == "device":
            device = Instance(Ref("torch.device"), node, m.file)
            given = value.kwargs.get("accelerator")
            device.args = (given,) if given is not None else ()
            return device
        return None

    def method(self, m: Machine, value: Instance, name: str, args: CallArgs, node: cst.CSTNode) -> Value | None:
        if name == "backward":
            if args.positional:
                m.emit(Backward(m.now(node), args.positional[0]))
            return NONE
        if name in ("setup", "setup_module"):
            for member in (each for given in args.positional for each in members(given)):
                if isinstance(member, Instance) and member.kind == "module":
                    m.emit(Moved(m.now(node), member, "to", CallArgs([device_of(m, value, node)])))
        if name in _RETURN_WHAT_THEY_GET and args.positional:
            if len(args.positional) == 1 and not args.open:
                return args.positional[0]
            return Sequence("tuple", tuple(args.positional), args.open, node, m.file)
        if name == "launch" and args.positional and can_run(args.positional[0]):
            given = the_rest(m, args, node)
            return launch(m, args.positional[0], CallArgs([value, *given.positional], given.kwargs), node)
        if name in _CONTEXTS:
            return plain(m, f"lightning.fabric.Fabric.{name}", args, node)
        return UNKNOWN
