"""Models of libraries that drop activations while they train, by their published names.

Sources: the `*_dropout` defaults of the configuration classes of transformers 5.
"""

from __future__ import annotations

# Parts of the names of transformers' classes and checkpoints whose configurations default to dropout above zero
TRANSFORMERS = (
    "bert", "electra", "xlnet", "xlm", "gpt2", "gpt-2", "openaigpt", "t5", "bart", "pegasus", "mpnet", "longformer", "bigbird",
    "big_bird", "funnel", "reformer", "deberta", "layoutlm", "marian", "opus-mt", "blenderbot", "led-", "prophetnet", "wav2vec2",
    "hubert", "wavlm", "speech_to_text", "speech2text",
)  # fmt: skip


def drops(*names: str) -> bool:
    """Whether a transformers model of one of these names has dropout by default."""
    return any(part in name.lower() for name in names for part in TRANSFORMERS)


__all__ = ["TRANSFORMERS", "drops"]
