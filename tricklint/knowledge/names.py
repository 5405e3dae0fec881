"""Canonical spellings: one name for one thing, however it was imported."""

from __future__ import annotations

import re

# prefix → prefix; the first match wins
_PREFIXES = {
    "pytorch_lightning": "lightning",
    "lightning.pytorch": "lightning",
    "lightning.fabric.loggers": "lightning.loggers",
    "lightning_fabric.loggers": "lightning.loggers",
    "lightning_fabric": "lightning.fabric",
    "pytorch_transformers": "transformers",
    "pytorch_pretrained_bert": "transformers",
    "torch.autograd.grad_mode": "torch",
    "torch.utils.data.dataloader": "torch.utils.data",
    "torch.utils.data.dataset": "torch.utils.data",
    "torch.utils.data.sampler": "torch.utils.data",
    "torch.utils.data.distributed": "torch.utils.data.distributed",
    "torchvision.models.segmentation": "torchvision.models.segmentation",
    "torchvision.models.detection": "torchvision.models.detection",
    "torchvision.models.video": "torchvision.models.video",
    "segmentation_models_pytorch": "segmentation_models_pytorch",
    "pandas.core.frame": "pandas",
    "tensorflow": "tensorflow",
    "apex.parallel": "apex.parallel",
    # timm's convolutions are torch's, or classes derived from it; its Linear too
    **{
        f"timm.{module}layers.{name}": f"torch.nn.{plain}"
        for module in ("", "models.")
        for name, plain in {"create_conv2d": "Conv2d", "Conv2dSame": "Conv2d", "Linear": "Linear"}.items()
    },
}
_TORCH_MODULE = re.compile(r"^torch\.nn\.modules\.(?:[a-z]\w*\.)?(_?[A-Z]\w*)$")
_TORCH_OPTIM = re.compile(r"^torch\.optim\.(?!lr_scheduler|swa_utils)[a-z_0-9]+\.(\w+)$")
_TV_MODEL = re.compile(
    r"^torchvision\.models\.(?:resnet|vgg|densenet|alexnet|inception|squeezenet|googlenet|mobilenet|mobilenetv2|"
    r"mobilenetv3|efficientnet|convnext|regnet|vision_transformer|swin_transformer|shufflenetv2|mnasnet|maxvit)\.(\w+)$"
)
_CACHE: dict[str, str] = {}
_SAME: dict[str, str] = {}


def same_as(name: str, known: str) -> None:
    """From now on the dotted `name` means `known`: a package's own base is `torch.nn.Module`, its `adamw` torch's."""
    _SAME[name] = canonical(known)
    _CACHE.clear()


def canonical(name: str) -> str:
    """`torch.nn.modules.linear.Linear` → `torch.nn.Linear`, `pytorch_lightning.Trainer` → `lightning.Trainer` …"""
    known = _CACHE.get(name)
    if known is None:
        known = _CACHE[name] = _canonical(name)
    return known


def _canonical(name: str) -> str:
    if name in _SAME:
        return _SAME[name]
    for prefix, to in _PREFIXES.items():
        if name == prefix or name.startswith(prefix + "."):
            name = to + name[len(prefix) :]
            break
    match = _TORCH_MODULE.match(name)
    if match:
        return f"torch.nn.{match[1]}"
    match = _TORCH_OPTIM.match(name)
    if match:
        return f"torch.optim.{match[1]}"
    match = _TV_MODEL.match(name)
    if match:
        return f"torchvision.models.{match[1]}"
    if name.startswith(("lightning.core.", "lightning.callbacks.")):
        return "lightning." + name.rpartition(".")[2]
    if name.startswith("lightning.trainer."):
        return "lightning.Trainer" if name.endswith(".Trainer") else name
    if name.startswith(("transformers.models.", "transformers.modeling_")):
        return "transformers." + name.rpartition(".")[2]
    if name.startswith("transformers.optimization."):
        return "transformers." + name.rpartition(".")[2]
    return name
