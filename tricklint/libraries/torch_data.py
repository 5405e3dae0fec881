"""Data loaders, samplers, data sets, and the batches that a loop over a loader gives."""

from __future__ import annotations

import libcst as cst

from tricklint.interpreter.behaviour import Behaviour, behaves, behaves_below, function, kind_of, method
from tricklint.interpreter.callargs import CallArgs
from tricklint.interpreter.machine import Machine
from tricklint.interpreter.objects import plain
from tricklint.interpreter.values import (
    NONE,
    UNKNOWN,
    Class,
    Const,
    Func,
    Instance,
    Ref,
    Sequence,
    Value,
    first,
)
from tricklint.libraries.events import EpochSet, LoaderBuilt, SamplerBuilt
from tricklint.libraries.facts import BatchFacts, LoaderFacts
from tricklint.libraries.tensors import Tensor

LOADERS = ("torch.utils.data.DataLoader", "torch_geometric.loader.DataLoader", "torch_geometric.data.DataLoader")


@function(*LOADERS)
def data_loader(m: Machine, name: str, args: CallArgs, node: cst.CSTNode) -> Value:
    made = plain(m, name, args, node)
    made.kind = "loader"
    learn(made, args)
    m.emit(LoaderBuilt(m.now(node), made))
    return made


def learn(loader: Instance, args: CallArgs) -> None:
    """What a DataLoader's own arguments say of it."""
    known = loader.fact(LoaderFacts)
    known.dataset, known.batch_size, known.shuffle = (
        args.get(0, "dataset"),
        args.get(1, "batch_size"),
        args.get(2, "shuffle"),
    )
    known.sampler, known.batch_sampler = args.get(3, "sampler"), args.get(4, "batch_sampler")


@kind_of
def loader_class(cls: Class) -> str:
    """The program's own subclass of a DataLoader."""
    return "loader" if any(name in LOADERS for name in cls.libraries()) else ""


@function(
    "torch.utils.data.WeightedRandomSampler",
    "torch.utils.data.RandomSampler",
    "torch.utils.data.SequentialSampler",
    "torch.utils.data.DistributedSampler",
    "torch.utils.data.distributed.DistributedSampler",
)
def sampler(m: Machine, name: str, args: CallArgs, node: cst.CSTNode) -> Value:
    made = plain(m, name, args, node)
    made.kind = "sampler"
    m.emit(SamplerBuilt(m.now(node), made))
    return made


@function("torch.utils.data.BatchSampler", "torch.utils.data.sampler.BatchSampler")
def batch_sampler(m: Machine, name: str, args: CallArgs, node: cst.CSTNode) -> Value:
    made = plain(m, name, args, node)
    made.fact(LoaderFacts).sampler, made.fact(LoaderFacts).batch_size = args.get(0, "sampler"), args.get(1, "batch_size")
    return made


@function("torch.utils.data.random_split")
def random_split(m: Machine, name: str, args: CallArgs, node: cst.CSTNode) -> Value:
    lengths = first(args.get(1, "lengths"))
    count = len(lengths.items) if isinstance(lengths, Sequence) and not lengths.open else 2
    made = plain(m, "torch.utils.data.Subset", args, node)
    return Sequence("list", (made,) * count, False, node, m.file)


@method("sampler", "set_epoch")
def set_epoch(m: Machine, value: Instance, args: CallArgs, node: cst.CSTNode) -> Value:
    m.emit(EpochSet(m.now(node), value))
    return NONE


def batch_of(m: Machine, loader: Instance, node: cst.CSTNode) -> Instance:
    item = Instance(Ref("torch.utils.data.Batch"), node, m.file)
    item.kind = "loader_item"
    item.fact(BatchFacts).loader = loader
    return item


@behaves("loader")
class LoaderBehaviour(Behaviour):
    def attribute(self, m: Machine, value: Instance, name: str, node: cst.CSTNode) -> Value | None:
        if name in ("dataset", "sampler", "batch_sampler", "batch_size"):
            return getattr(value.fact(LoaderFacts), name) or UNKNOWN
        return None

    def super_method(self, m: Machine, value: Instance, name: str, args: CallArgs, node: cst.CSTNode) -> Value | None:
        if name == "__init__":
            learn(value, args)
        elif name == "__iter__":
            return Sequence("list", (batch_of(m, value, node),), True, node, m.file)
        return None

    def built(self, m: Machine, made: Instance, cls: Class, args: CallArgs, node: cst.CSTNode) -> bool:
        if not isinstance(cls.lookup("__init__"), Func):
            learn(made, args)
        m.emit(LoaderBuilt(m.now(node), made))
        return True

    def element(self, m: Machine, value: Instance, node: cst.CSTNode) -> Value | None:
        return batch_of(m, value, node)

    def escapes(self, value: Instance) -> bool:
        return True


@behaves("loader_item")
class BatchBehaviour(Behaviour):
    def item(self, m: Machine, value: Instance, index: Value, node: cst.CSTNode) -> Value | None:
        at = first(index)
        column = at.value if isinstance(at, Const) else None
        return Tensor("data", (), None, node, m.file, loader=value.fact(BatchFacts).loader, key=column)

    def spread(self, m: Machine, value: Instance, count: int) -> list[Value] | None:
        loader = value.fact(BatchFacts).loader
        return [Tensor("data", (), None, value.node, value.file, loader=loader, key=i) for i in range(count)]


@behaves("dataset")
class DatasetBehaviour(Behaviour):
    def item(self, m: Machine, value: Instance, index: Value, node: cst.CSTNode) -> Value | None:
        if isinstance(value.cls, Class) and isinstance(value.cls.lookup("__getitem__"), Func):
            return None
        return Tensor("data", (), None, node, m.file)


@behaves_below("torch.utils.data.Subset")
class SubsetBehaviour(Behaviour):
    def attribute(self, m: Machine, value: Instance, name: str, node: cst.CSTNode) -> Value | None:
        return value.args[0] if name == "dataset" and value.args else None
