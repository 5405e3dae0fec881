"""Parameters inside library models that split helpers forget: how their norms are called, and bare nn.Parameters.

Sources: the modeling files of transformers 5.23, torchvision 0.28 (models/vision_transformer.py, swin_transformer.py,
convnext.py) and timm 1.0 (vision_transformer.py). Ageing: check when a new major version renames modules.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass


@dataclass(frozen=True)
class PartsRow:
    """norms: paths of norm layers, bare: parameters that hang on no layer (path, number of dimensions), tokens: others of
    these, which a model may lack."""

    norms: tuple[str, ...] = ()
    bare: tuple[tuple[str, int], ...] = ()
    tokens: tuple[str, ...] = ()

    def holds_parameter(self, path: str) -> bool:
        """Whether the model has a parameter of its own at this path; blocks are alike, whatever their number."""
        alike = re.sub(r"\.\d+\.", ".0.", path)
        return alike in self.tokens or any(alike == at for at, _ in self.bare)


_BERT_LIKE = PartsRow(("embeddings.LayerNorm", "encoder.layer.0.output.LayerNorm"))
_VIT = PartsRow(
    ("encoder.layer.0.layernorm_before", "encoder.layer.0.layernorm_after", "layernorm"),
    (("embeddings.cls_token", 3), ("embeddings.position_embeddings", 3)),
    ("embeddings.mask_token", "embeddings.distillation_token"),
)
_SEQ2SEQ = PartsRow(("encoder.layers.0.self_attn_layer_norm", "encoder.layers.0.final_layer_norm"))
_LLAMA = PartsRow(("model.layers.0.input_layernorm", "model.layers.0.post_attention_layernorm", "model.norm"))
# the beginning of a transformers class name, or a part of a checkpoint's name; the longest that fits wins
_TRANSFORMERS: dict[str, PartsRow] = {
    "distilbert": PartsRow(
        (
            "embeddings.LayerNorm",
            "transformer.layer.0.sa_layer_norm",
            "transformer.layer.0.output_layer_norm",
        )
    ),
    "albert": PartsRow(("embeddings.LayerNorm", "encoder.albert_layer_groups.0.albert_layers.0.full_layer_layer_norm")),
    "bert": _BERT_LIKE,
    "roberta": _BERT_LIKE,
    "electra": _BERT_LIKE,
    "deberta": _BERT_LIKE,
    "camembert": _BERT_LIKE,
    "xlmroberta": _BERT_LIKE,
    "xlm-roberta": _BERT_LIKE,
    "longformer": _BERT_LIKE,
    "layoutlm": _BERT_LIKE,
    "xlnet": PartsRow(
        ("layer.0.rel_attn.layer_norm", "layer.0.ff.layer_norm"),
        (("layer.0.rel_attn.q", 3), ("mask_emb", 3)),
    ),
    "gpt2": PartsRow(("h.0.ln_1", "h.0.ln_2", "ln_f")),
    "t5": PartsRow(("encoder.block.0.layer.0.layer_norm", "encoder.final_layer_norm")),
    "bart": _SEQ2SEQ,
    "mbart": _SEQ2SEQ,
    "pegasus": _SEQ2SEQ,
    "marian": _SEQ2SEQ,
    "opt": PartsRow(("decoder.layers.0.self_attn_layer_norm", "decoder.layers.0.final_layer_norm")),
    "llama": _LLAMA,
    "mistral": _LLAMA,
    "vit": _VIT,
    "deit": _VIT,
    "wav2vec2": PartsRow(("encoder.layers.0.layer_norm", "encoder.layers.0.final_layer_norm")),
    "hubert": PartsRow(("encoder.layers.0.layer_norm", "encoder.layers.0.final_layer_norm")),
}
_TV_VIT = PartsRow(
    ("encoder.layers.0.ln_1", "encoder.layers.0.ln_2", "encoder.ln"),
    (("class_token", 3), ("encoder.pos_embedding", 3)),
)
_TV_SWIN = PartsRow(("features.1.0.norm1", "norm"), (("features.1.0.attn.relative_position_bias_table", 2),))
_TIMM_VIT = PartsRow(
    ("blocks.0.norm1", "blocks.0.norm2"), (("pos_embed", 3),), ("cls_token", "reg_token", "dist_token")
)
_IMAGE = (
    (re.compile(r"timm\..*\bVisionTransformer"), _TIMM_VIT),
    (re.compile(r"torchvision\.models\.vit_"), _TV_VIT),
    (re.compile(r"torchvision\.models\.swin_"), _TV_SWIN),
    (re.compile(r"torchvision\.models\.convnext_"), PartsRow((), (("features.1.0.layer_scale", 3),))),
)
_CLASS = re.compile(r"^(?:transformers|pytorch_transformers|pytorch_pretrained_bert)\.(?:TF)?([A-Za-z0-9]+)")


def parts_of(constructor: str, checkpoint: str | None) -> PartsRow | None:
    """What is known to be inside the model that `constructor` builds; `checkpoint` is its first argument."""
    for pattern, row in _IMAGE:
        if pattern.match(constructor):
            return row
    if constructor.startswith("timm.") and checkpoint is not None:
        return _TIMM_VIT if checkpoint.startswith(("vit_", "deit_")) else None
    match = _CLASS.match(constructor)
    if match is None:
        return None
    name = match[1].lower()
    if not name.startswith("auto"):
        return _longest(key for key in _TRANSFORMERS if name.startswith(key))
    if checkpoint is None:
        return None
    words = re.split(r"[-_/]", checkpoint.rpartition("/")[2].lower())
    return _longest(key for key in _TRANSFORMERS if words[0] == key or checkpoint.lower().startswith(key + "-"))


def _longest(keys: Iterable[str]) -> PartsRow | None:
    found = sorted(keys, key=len)
    return _TRANSFORMERS[found[-1]] if found else None
