"""The slides' table: which transfer-learning recipe fits a data set, by its size and its likeness to the pretraining
data.

| data set | similarity     | recommendation                                              |
|----------|----------------|-------------------------------------------------------------|
| large    | very different | train all of it, initialised with the pretrained weights    |
| large    | similar        | fine-tune (less likely to overfit)                          |
| small    | very different | train a classifier on the features of earlier layers        |
| small    | similar        | do not fine-tune (overfitting): train a linear classifier   |
"""

from __future__ import annotations

from dataclasses import dataclass

from tricklint.program.program import Program

# Samples below which a data set counts as small: fine-tuning all of a network of ten million weights overfits there
SMALL_BELOW = 10_000


@dataclass(frozen=True)
class Policy:
    """One row of the table. `recipe`: train_all, fine_tune, earlier_layers or linear. `size` as it was configured."""

    recipe: str
    recommendation: str
    size: str | int
    similarity: str

    @property
    def free(self) -> bool:
        """The pretrained weights may move freely from the start."""
        return self.recipe == "train_all"


_TABLE = {
    ("large", "different"): ("train_all", "large and different data: train all of it from the pretrained weights"),
    ("large", "similar"): ("fine_tune", "large and similar data: fine-tune"),
    ("small", "different"): ("earlier_layers", "small and different data: train a classifier on earlier layers"),
    ("small", "similar"): ("linear", "small and similar data: train a linear classifier only"),
}


def size_of(configured: str | int) -> str:
    """`small` or `large`; a number of samples counts as small below 10,000."""
    if isinstance(configured, str):
        return configured
    return "small" if configured < SMALL_BELOW else "large"


def advice(program: Program) -> Policy | None:
    """The row for the configured data set; None when its size or its similarity is not configured."""
    return advice_of(program.settings)


def advice_of(settings: object) -> Policy | None:
    transfer = getattr(settings, "transfer", None)
    size = getattr(transfer, "dataset_size", None)
    similarity = getattr(transfer, "similarity", None)
    if size is None or similarity is None:
        return None
    recipe, recommendation = _TABLE[size_of(size), similarity]
    return Policy(recipe, recommendation, size, similarity)
