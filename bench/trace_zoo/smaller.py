"""Transformers models from their own configuration classes, shrunk."""

from __future__ import annotations

import transformers

_SIZES = {
    "hidden_size": 64, "num_hidden_layers": 2, "num_attention_heads": 4, "num_key_value_heads": 4,
    "intermediate_size": 128,
    "d_model": 64, "encoder_layers": 2, "decoder_layers": 2, "num_layers": 2, "vocab_size": 1000, "head_dim": 16,
}  # fmt: skip


def model(name, changes):
    kind = getattr(transformers, name)
    defaults = kind.config_class()
    small = {key: value for key, value in _SIZES.items() if isinstance(getattr(defaults, key, None), int)}
    special = [key for key in ("pad_token_id", "bos_token_id", "eos_token_id") if hasattr(defaults, key)]
    small.update(
        {
            key: 1
            for key in special
            if (getattr(defaults, key) or 0)
            if not isinstance(getattr(defaults, key), list) and getattr(defaults, key) >= 1000
        }
    )
    small.update(changes)
    small = {key: value for key, value in small.items() if value is not None}
    if name.startswith("CLIPModel"):
        part = {"hidden_size": 64, "num_hidden_layers": 2, "num_attention_heads": 4, "intermediate_size": 128}
        small = {
            "text_config": {**part, "vocab_size": 1000},
            "vision_config": {**part, "image_size": 64, "patch_size": 16},
        }
    if "num_hidden_groups" in small or name.startswith(("Swin", "ConvNext", "ResNet", "MobileViT", "Segformer")):
        small = dict(changes)
    return kind(kind.config_class(**small))
