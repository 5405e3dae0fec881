"""Names of one thing that was called otherwise before."""

from __future__ import annotations

import pytest

from tricklint.knowledge.names import canonical


@pytest.mark.parametrize(
    ("written", "meant"),
    [
        ("pytorch_transformers.optimization.AdamW", "transformers.AdamW"),
        ("pytorch_transformers.modeling_bert.BertPreTrainedModel", "transformers.BertPreTrainedModel"),
        ("pytorch_pretrained_bert.BertModel", "transformers.BertModel"),
        ("lightning_fabric.Fabric", "lightning.fabric.Fabric"),
        ("lightning.fabric.loggers.CSVLogger", "lightning.loggers.CSVLogger"),
    ],
)
def test_older_names_mean_the_same(written: str, meant: str) -> None:
    assert canonical(written) == meant
