"""Which classes of the program are modules, optimizers, schedulers or data sets: by their bases."""

from __future__ import annotations

from tricklint.interpreter.behaviour import kind_of
from tricklint.interpreter.values import (
    Class,
)

MODULE_BASES = frozenset(
    (
        "torch.nn.Module", "lightning.LightningModule", "torch.nn.Sequential", "torch.nn.ModuleList", "torch.nn.ModuleDict",
        "torch.jit.ScriptModule",
        "lightning.LightningDataModule",
    )
)  # fmt: skip


@kind_of
def kind_of_class(cls: Class) -> str:
    """What torch's own bases, and those of libraries built on it, make of a class."""
    libraries = cls.libraries()
    for name in libraries:
        if name in MODULE_BASES or (name.startswith("torch.nn.") and name[9:10].isupper()):
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
        if name.startswith("torch.optim.lr_scheduler."):
            return "scheduler"
        if name in ("torch.utils.data.Dataset", "torch.utils.data.IterableDataset") or name.startswith(
            "torchvision.datasets."
        ):
            return "dataset"
        if name.startswith(("fastai.", "monai.networks.", "pytorch_metric_learning", "torchmetrics")):
            return "module" if "nn" in name or "networks" in name or name.endswith("Module") else ""
    return ""
