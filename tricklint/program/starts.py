"""Which files a project is followed from.

A file that trains or asks for pretrained weights is followed for its own sake, and what it imports with it. A file
that only says how layers are built, initialised, frozen, scored or put in eval mode is followed too, unless there are
so many of them that the project is a library of models: then those are read that something trains.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from tricklint.source.text import Source

# Characters of files that train nothing, beyond which a project counts as a library of models (about 50,000 lines)
LIBRARY_SIZE = 2_000_000

_FRAMEWORKS = ("torch", "lightning", "fastai", "transformers", "timm", "accelerate")
_FOLLOWED = re.compile(r"\b(torch|lightning|pytorch_lightning|fastai|transformers|timm|accelerate)\b")
# Plain words are looked for first: a search for a word costs a small part of one for a pattern
_TRAINS = (
    ".backward(", "DataLoader(", ".fit(", "fit_one_cycle(", "create_cnn(", ".step()", "Trainer(", "Learner(",
    "_learner(", "def training_step", "configure_optimizers", "LightningModule", "AdamW(",
)  # fmt: skip
_OPTIM = re.compile(r"\boptim\.[A-Z]|[ ,]optim\b")
_PRETRAINED = re.compile(r"pretrained\s*=\s*True")
_SPEAKS = (
    ".eval()", "Loss(", "cross_entropy(", "nll_loss(", "requires_grad_(", "kaiming_", "xavier_", "orthogonal_",
    "calculate_gain",
)  # fmt: skip
_PLAIN_CONTAINER = re.compile(
    r"self\.\w+\s*=\s*[\[{(]+\s*(?:[\"']\w+[\"']\s*:\s*)?(?:torch\.)?nn\.[A-Z]|self\.\w+\.append\(\s*(?:torch\.)?nn\.[A-Z]"
)
_FREEZES = re.compile(r"\.requires?_grad\s*=[^=]")
_FILLS = re.compile(
    r"(?:constant_?|zeros_|fill_)\(\s*[\w.]*(?:weight|param)|weight\.(?:data\.)?(?:fill_|zero_)\(|\.weight(?:\.data)?\s*=[^=]"
)


def followed(sources: Mapping[Path, Source], roots: Iterable[Path]) -> list[Path]:
    """The files among `roots` that are followed for their own sake, in their order."""
    training, speaking, size = set(), set(), 0
    every = list(roots)
    for path in every:
        text = sources[path].text
        if not _uses_framework(text):
            continue
        if trains(text):
            training.add(path)
        elif size <= LIBRARY_SIZE and speaks(text):
            speaking.add(path)
            size += len(text)
    chosen = training if size > LIBRARY_SIZE else training | speaking
    return [path for path in every if path in chosen]


def _uses_framework(text: str) -> bool:
    return any(word in text for word in _FRAMEWORKS) and _FOLLOWED.search(text) is not None


def trains(text: str) -> bool:
    """A file that trains or asks for pretrained weights."""
    if any(word in text and _in_code(text, word) for word in _TRAINS):
        return True
    optim = "torch.optim" in text or "create_optimizer" in text or (("optim." in text or " optim" in text) and _OPTIM.search(text) is not None)
    return optim or ("pretrained" in text and _PRETRAINED.search(text) is not None)


def _in_code(text: str, word: str) -> bool:
    """Whether a word stands anywhere but in comments, doctests and names quoted in documentation."""
    at = text.find(word)
    while at >= 0:
        before = text[text.rfind("\n", 0, at) + 1 : at].lstrip()
        if not before.startswith((">>>", "...", "#")) and "`" not in before:
            part_of_a_word = word == "Learner(" and before[-1:].isalpha()
            if not part_of_a_word and not before.startswith("class "):
                return True
        at = text.find(word, at + 1)
    return False


def speaks(text: str) -> bool:
    """A file that evaluates, scores, initialises or freezes, or keeps layers in a plain list: some rule has a word on it alone."""
    if any(word in text for word in _SPEAKS) or ("_grad" in text and _FREEZES.search(text) is not None):
        return True
    if "nn." in text and _PLAIN_CONTAINER.search(text) is not None:
        return True
    return ("weight" in text or "param" in text) and _FILLS.search(text) is not None
