"""Models of libraries that drop activations while they train, by their published names.

Sources: the `*_dropout` defaults of the configuration classes of transformers 5; the defaults of `dropout` and
`stochastic_depth_prob` of torchvision 0.28, of `drop_path_rate` of timm 1.0.
"""

from __future__ import annotations

import re

# Parts of the names of transformers' classes and checkpoints whose configurations default to dropout above zero
TRANSFORMERS = (
    "bert", "electra", "xlnet", "xlm", "gpt2", "gpt-2", "openaigpt", "t5", "bart", "pegasus", "mpnet", "longformer", "bigbird",
    "big_bird", "funnel", "reformer", "deberta", "layoutlm", "marian", "opus-mt", "blenderbot", "led-", "prophetnet", "wav2vec2",
    "hubert", "wavlm", "speech_to_text", "speech2text",
)  # fmt: skip


def drops(*names: str) -> bool:
    """Whether a transformers model of one of these names has dropout by default."""
    return any(part in name.lower() for name in names for part in TRANSFORMERS)


# Models of torchvision and timm by the start of their names: those with dropout in their `classifier`, and those that drop
# whole branches of their blocks. What a caller says comes before the default.
_IN_CLASSIFIER = {"torchvision": re.compile(r"(?:alexnet|vgg|squeezenet)")}
_IN_BLOCKS = {
    "torchvision": re.compile(r"(?:swin_|convnext_)"),
    "timm": re.compile(r"(?:swin_|swinv2_(?!cr)|(?:jx_)?nest_|focalnet_)"),
}
RATES = ("drop_rate", "drop_path_rate", "attn_drop_rate", "proj_drop_rate", "dropout", "stochastic_depth_prob")


def in_classifier(family: str, name: str) -> bool:
    return family in _IN_CLASSIFIER and _IN_CLASSIFIER[family].match(name) is not None


def in_blocks(family: str, name: str) -> bool:
    return family in _IN_BLOCKS and _IN_BLOCKS[family].match(name) is not None


__all__ = ["RATES", "TRANSFORMERS", "drops", "in_blocks", "in_classifier"]
