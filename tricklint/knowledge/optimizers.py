"""Optimizers: their default weight decay and where it stands among the arguments.

`coupled` decay is added to the gradient (L2), `decoupled` shrinks the weights; both act on biases and norms alike.
Sources: torch.optim (torch 2.13), timm.optim (1.0), transformers.optimization, apex.optimizers, bitsandbytes.optim.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class OptimizerRow:
    default_decay: float
    decay_position: int | None  # position of weight_decay in the signature, params counted as 0
    lr_position: int | None = 1
    default_lr: float | None = None


_TORCH = {
    "SGD": OptimizerRow(0.0, 4, default_lr=1e-3),
    "Adam": OptimizerRow(0.0, 4, default_lr=1e-3),
    "AdamW": OptimizerRow(1e-2, 4, default_lr=1e-3),
    "Adamax": OptimizerRow(0.0, 4, default_lr=2e-3),
    "NAdam": OptimizerRow(0.0, 4, default_lr=2e-3),
    "RAdam": OptimizerRow(0.0, 4, default_lr=1e-3),
    "Adagrad": OptimizerRow(0.0, 3, default_lr=1e-2),
    "Adadelta": OptimizerRow(0.0, 4, default_lr=1.0),
    "ASGD": OptimizerRow(0.0, 5, default_lr=1e-2),
    "RMSprop": OptimizerRow(0.0, 4, default_lr=1e-2),
    "Rprop": OptimizerRow(0.0, None, default_lr=1e-2),
    "LBFGS": OptimizerRow(0.0, None, default_lr=1.0),
    "SparseAdam": OptimizerRow(0.0, None, default_lr=1e-3),
    "Adafactor": OptimizerRow(0.0, None, default_lr=1e-2),
    "Muon": OptimizerRow(0.1, 2, default_lr=1e-3),
}
OPTIMIZERS: dict[str, OptimizerRow] = {"torch.optim." + name: row for name, row in _TORCH.items()}
OPTIMIZERS |= {
    "transformers.AdamW": OptimizerRow(0.0, 4, default_lr=1e-3),
    "pytorch_pretrained_bert.BertAdam": OptimizerRow(0.01, None, default_lr=None),
    "pytorch_pretrained_bert.optimization.BertAdam": OptimizerRow(0.01, None, default_lr=None),
    "pytorch_pretrained.optimization.BertAdam": OptimizerRow(0.01, None, default_lr=None),
    "pytorch_transformers.AdamW": OptimizerRow(0.0, 4, default_lr=1e-3),
    "apex.optimizers.FusedAdam": OptimizerRow(0.0, None, default_lr=1e-3),
    "apex.optimizers.FusedSGD": OptimizerRow(0.0, 4, default_lr=None),
    "apex.optimizers.FusedLAMB": OptimizerRow(0.01, None, default_lr=1e-3),
    "bitsandbytes.optim.AdamW8bit": OptimizerRow(1e-2, 4, default_lr=1e-3),
    "bitsandbytes.optim.Adam8bit": OptimizerRow(0.0, 4, default_lr=1e-3),
    "timm.optim.RMSpropTF": OptimizerRow(0.0, 4, default_lr=1e-2),
    "timm.optim.Lamb": OptimizerRow(0.01, None, default_lr=1e-3),
    "timm.optim.AdamP": OptimizerRow(0.0, None, default_lr=1e-3),
    "torch_optimizer.RAdam": OptimizerRow(0.0, 4, default_lr=1e-3),
    "torch_optimizer.Lamb": OptimizerRow(0.0, 4, default_lr=1e-3),
    "adabelief_pytorch.AdaBelief": OptimizerRow(0.0, 4, default_lr=1e-3),
}
# Packages of optimizers: every class that they export is one
PACKAGES = ("torch.optim.", "torch_optimizer.", "pytorch_optimizer.", "bitsandbytes.optim.", "apex.optimizers.", "timm.optim.")
FACTORIES = {  # timm's helper functions: they split biases and norms themselves when handed a model
    "timm.optim.create_optimizer_v2", "timm.optim.create_optimizer", "timm.optim.optim_factory.create_optimizer",
    "timm.optim.optim_factory.create_optimizer_v2",
}  # fmt: skip
GROUP_HELPERS = {  # functions that return separated param groups
    "timm.optim.param_groups_weight_decay", "timm.optim.optim_factory.param_groups_weight_decay",
    "timm.optim.optim_factory.add_weight_decay", "timm.optim.param_groups_layer_decay",
    "timm.optim.optim_factory.param_groups_layer_decay",
    "torchvision.ops._utils.split_normalization_params",
}  # fmt: skip
# LambdaLRs of transformers before its `get_…_schedule` functions
WARMUPS = tuple(
    f"{package}.{name}"
    for package in ("transformers", "pytorch_transformers", "pytorch_transformers.optimization")
    for name in ("ConstantLRSchedule", "WarmupConstantSchedule", "WarmupLinearSchedule", "WarmupCosine")
)
SCHEDULER_PREFIXES = (
    "torch.optim.lr_scheduler.",
    "transformers.get_",
    "timm.scheduler.",
    "torch.optim.swa_utils.SWALR",
    "warmup_scheduler.",
    "cosine_annealing_warmup.",
    "pl_bolts.optimizers.lr_scheduler.",
    *WARMUPS,
)
# one step per optimizer step, by their documentation
PER_BATCH_SCHEDULERS = frozenset(("torch.optim.lr_scheduler.OneCycleLR", "torch.optim.lr_scheduler.CyclicLR"))
# one step per epoch, by what their arguments count
PER_EPOCH_SCHEDULERS = frozenset(
    "torch.optim.lr_scheduler." + n for n in ("StepLR", "MultiStepLR", "ExponentialLR", "ReduceLROnPlateau")
)
