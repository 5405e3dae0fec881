"""Lightning, transformers' Trainer and accelerate drive the loop: what is seen there is placed in the user's own code."""

from __future__ import annotations

from pathlib import Path

import pytest

from .helpers import tricklint, watched, write

LIGHTNING = """
    import lightning as L
    import torch
    from torch import nn


    class Lit(L.LightningModule):
        def __init__(self):
            super().__init__()
            self.net = nn.Sequential(nn.Linear(4, 8), nn.BatchNorm1d(8), nn.ReLU(), nn.Linear(8, 2))

        def training_step(self, batch, index):
            x, y = batch
            return nn.functional.cross_entropy(self.net(x).softmax(1), y)

        def validation_step(self, batch, index):
            self.net(batch[0])

        def configure_optimizers(self):
            return torch.optim.AdamW(self.parameters(), lr=0.01)


    data = torch.utils.data.TensorDataset(torch.randn(64, 4), torch.zeros(64).long())
    loader = torch.utils.data.DataLoader(data, 8)
    options = dict(logger=False, enable_checkpointing=False, enable_progress_bar=False, accelerator="cpu")
    L.Trainer(max_epochs=20, **options).fit(Lit(), loader, loader)
    print("NOT REACHED")
"""
TRAINER = """
    import torch
    from transformers import BertConfig, BertForSequenceClassification, Trainer, TrainingArguments

    config = BertConfig(hidden_size=32, num_hidden_layers=2, num_attention_heads=2, intermediate_size=64, vocab_size=100)
    BertForSequenceClassification(config).save_pretrained("saved")
    model = BertForSequenceClassification.from_pretrained("saved", num_labels=5, ignore_mismatched_sizes=True)
    data = [{"input_ids": torch.randint(0, 100, (16,)), "labels": torch.tensor(i % 5)} for i in range(32)]
    arguments = TrainingArguments(
        "out", max_steps=6, per_device_train_batch_size=4, report_to=[], use_cpu=True, weight_decay=0.1, disable_tqdm=True
    )
    Trainer(model, arguments, train_dataset=data, eval_dataset=data).train()
"""
ACCELERATE = """
    import torch
    from accelerate import Accelerator
    from torch import nn

    accelerator = Accelerator(cpu=True)
    net = nn.Sequential(nn.Linear(4, 8), nn.BatchNorm1d(8), nn.ReLU(), nn.Linear(8, 2))
    optimizer = torch.optim.AdamW(net.parameters(), lr=0.01)
    data = torch.utils.data.TensorDataset(torch.randn(64, 4), torch.zeros(64).long())
    net, optimizer, loader = accelerator.prepare(net, optimizer, torch.utils.data.DataLoader(data, 8))
    for x, y in loader:
        accelerator.backward(nn.functional.cross_entropy(net(x), y))
        optimizer.step()
"""


@pytest.fixture(autouse=True)
def longer(monkeypatch: pytest.MonkeyPatch) -> None:
    """Their imports alone take a while."""
    from .helpers import oracle

    monkeypatch.setattr(oracle, "LIMIT_S", 200)


def test_lightning(tmp_path: Path) -> None:
    pytest.importorskip("lightning")
    seen = watched(tmp_path, LIGHTNING, steps=12)
    assert seen.record.steps == 12 and "NOT REACHED" not in seen.output
    assert seen.places("TRK6", "TRK7") == [("TRK702", "train.py", 14), ("TRK601", "train.py", 20)]


def test_the_trainer_of_transformers(tmp_path: Path) -> None:
    pytest.importorskip("transformers")
    seen = watched(tmp_path, TRAINER)
    assert seen.record.steps == 6, seen.output
    assert not seen.findings()
    model = next(model for _, model in seen.record.trained())
    new = [p.name for p in model.parameters if seen.record.parameters[p.number].loaded is None]
    assert new == ["classifier.weight", "classifier.bias"]


def test_accelerate(tmp_path: Path) -> None:
    pytest.importorskip("accelerate")
    seen = watched(tmp_path, ACCELERATE)
    assert seen.places("TRK6", "TRK7") == [("TRK601", "train.py", 8), ("TRK701", "train.py", 12)]


TWO = """
    import torch
    from torch import nn

    torch.distributed.init_process_group("gloo")
    net = nn.parallel.DistributedDataParallel(nn.Sequential(nn.Linear(4, 8), nn.BatchNorm1d(8), nn.Linear(8, 2)))
    optimizer = torch.optim.AdamW(net.parameters(), lr=0.01)
    for _ in range(100):
        nn.functional.cross_entropy(net(torch.randn(8, 4)), torch.zeros(8).long()).backward()
        optimizer.step()
    print("NOT REACHED")
"""


def test_two_processes_of_torchrun(tmp_path: Path) -> None:
    write(tmp_path, "train.py", TWO)
    words = ("watch", "--isolated", "--output-format", "concise", "--select", "TRK7", "--steps", "10")
    done = tricklint(tmp_path, *words, "--", "torchrun", "--nproc_per_node", "2", "train.py")
    assert done.returncode == 1, done.stderr
    assert "train.py:9:5: TRK701" in done.stdout
    assert "NOT REACHED" not in done.stderr and "Traceback" not in done.stderr and "FAILED" not in done.stderr
