"""Which classes of the program are modules, optimizers, schedulers or data sets: by their bases."""

from __future__ import annotations

import libcst as cst

from tricklint.interpreter.behaviour import kind_of
from tricklint.interpreter.values import (
    Class,
    Func,
    Ref,
    Unknown,
    Value,
)
from tricklint.knowledge import layers
from tricklint.knowledge.names import canonical
from tricklint.knowledge.optimizers import SCHEDULER_PREFIXES
from tricklint.source.tree import walk

MODULE_BASES = frozenset(
    (
        "torch.nn.Module", "lightning.LightningModule", "torch.nn.Sequential", "torch.nn.ModuleList", "torch.nn.ModuleDict",
        "torch.jit.ScriptModule", "composer.models.ComposerModel", "composer.ComposerModel", "mmengine.model.BaseModel",
        "mmengine.model.BaseModule", "mmcv.runner.BaseModule",
        "lightning.LightningDataModule",
    )
)  # fmt: skip


@kind_of
def kind_of_class(cls: Class) -> str:
    """What torch's own bases, and those of libraries built on it, make of a class."""
    libraries = cls.libraries()
    for name in libraries:
        if name in MODULE_BASES or (name.startswith("torch.nn.") and name[9:].lstrip("_")[:1].isupper()):
            if name.endswith(("Loss", "_Loss")):
                return "loss"
            return "module"
        if name.startswith(("transformers.", "lightning.LightningModule")) and ("Model" in name or "For" in name):
            return "module"
        if name.startswith(
            ("torchvision.models.", "timm.models.", "segmentation_models_pytorch.", "torch_geometric.nn.")
        ):
            return "module"
        if name.startswith("torch.optim.") and name[12:13].isupper():
            return "optimizer"
        if name.startswith(SCHEDULER_PREFIXES):
            return "scheduler"
        if name in ("torch.utils.data.Dataset", "torch.utils.data.IterableDataset") or name.startswith(
            "torchvision.datasets."
        ):
            return "dataset"
        if name.startswith(("fastai.", "monai.networks.", "pytorch_metric_learning", "torchmetrics")):
            return "module" if "nn" in name or "networks" in name or name.endswith("Module") else ""
    return "module" if any(unknown(at) for at in cls.mro()) and acts_like_a_module(cls) else ""


_DESCRIBED = ("builtins.", "torch.", "typing.", "typing_extensions.", "collections.", "abc.", "enum.", "lightning.")


def unknown(base: Value) -> bool:
    """A base class of which nothing is known: a company's BaseModel, a package that is not described."""
    return isinstance(base, Unknown) or (
        isinstance(base, Ref) and not base.name.startswith(_DESCRIBED)
    )


def acts_like_a_module(cls: Class) -> bool:
    """The class, or one of the program above it, has a `forward` and sets layers of torch.nn as its attributes."""
    if not isinstance(cls.lookup("forward"), Func):
        return False
    init = cls.lookup("__init__")
    return isinstance(init, Func) and any(
        isinstance(node, cst.Assign)
        and isinstance(node.value, cst.Call)
        and any(isinstance(at.target, cst.Attribute) for at in node.targets)
        and layers.is_module_name(dotted(init, node.value.func))
        for node in walk(init.node)
    )


def dotted(func: Func, node: cst.BaseExpression) -> str:
    """The library's name that an expression in a function's file spells: `nn.Linear`; "" for anything else."""
    if isinstance(node, cst.Attribute):
        owner = dotted(func, node.value)
        return canonical(f"{owner}.{node.attr.value}") if owner else ""
    at = func.file.names.get(node.value) if isinstance(node, cst.Name) else None
    return canonical(at.name) if isinstance(at, Ref) else ""
