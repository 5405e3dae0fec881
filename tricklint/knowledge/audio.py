"""Audio models of transformers, which freeze their convolutional front themselves when they are asked to."""

from __future__ import annotations

import re

FREEZES_OF_FRONTS = ("freeze_feature_encoder", "freeze_feature_extractor", "freeze_base_model")
_CLASS = re.compile(r"^transformers\.(?:[\w.]+\.)?(Wav2Vec2|Hubert|WavLM|UniSpeech|SEW)For\w+$")


def frozen_by(library: str, method: str) -> tuple[str, ...]:
    """The part that such a method freezes, as the attributes that lead to it: `wav2vec2`, `feature_extractor`. What stands
    below the head goes by the family's name in small letters."""
    found = _CLASS.match(library.removesuffix(".from_pretrained"))
    if found is None or method not in FREEZES_OF_FRONTS:
        return ()
    base = found[1].lower()
    return (base,) if method == "freeze_base_model" else (base, "feature_extractor")


__all__ = ["FREEZES_OF_FRONTS", "frozen_by"]
