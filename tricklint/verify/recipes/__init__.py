"""Built-in training recipes: small, on embedded or generated data, one for each trick that only training can judge."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from tricklint.verify.recipes.base import Recipe

# name → (module, class, what it shows): listed here so that names can be shown without importing torch.
CATALOGUE = {
    "vgg-digits": ("vgg", "VggDigits", "a norm-free 16-layer VGG: baseline, + Xavier, + no bias decay, + init"),
    "vgg-digits-sgd": ("vgg", "VggDigitsSgd", "the same with SGD, where the default initialisation never learns"),
    "mlp-deep": ("mlp", "MlpDeep", "a 20-layer ReLU MLP: PyTorch's default init against Kaiming"),
    "resnet-pills": (
        "resnet",
        "ResNetPills",
        "a small ResNet with batch norm: do init and no bias decay matter there?",
    ),
    "transfer-pills": ("transfer", "TransferPills", "fine-tune all, freeze the backbone, or freeze and then unfreeze"),
    "cosine-1000": ("cosine", "Cosine1000", "normalised logits of 1,000 classes: scale 1, below and above α_low"),
    "rare-positives": ("rare", "RarePositives", "2 % positives under a focal loss: prior bias against none"),
    "memory-limited": (
        "limited",
        "MemoryLimited",
        "a batch that keeps 36 MB where 12 are to be had: koila and pieces against all of it in one",
    ),
}


def load(name: str) -> Recipe:
    """The recipe of that name. Raises KeyError with the names there are."""
    import importlib

    if name not in CATALOGUE:
        raise KeyError(f"no recipe {name!r}; there are: {', '.join(CATALOGUE)}")
    module, kind, _ = CATALOGUE[name]
    recipe: Recipe = getattr(importlib.import_module(f"{__name__}.{module}"), kind)()
    return recipe
