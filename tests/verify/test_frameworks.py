"""Lightning and transformers' Trainer run as they are; their steps, losses and metrics are seen."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from .helpers import run_script


def test_lightning(project: Path, engine: Any) -> None:
    pytest.importorskip("lightning", reason="lightning is not installed")
    text = """
        import lightning as L, torch
        from torch import nn
        from torch.utils.data import DataLoader, TensorDataset

        class Net(L.LightningModule):
            def __init__(self):
                super().__init__()
                self.net = nn.Linear(6, 2)
            def training_step(self, batch, index):
                return nn.functional.cross_entropy(self.net(batch[0]), batch[1])
            def validation_step(self, batch, index):
                acc = (self.net(batch[0]).argmax(1) == batch[1]).float().mean()
                self.log("val_acc", acc)
            def configure_optimizers(self):
                return torch.optim.SGD(self.parameters(), lr=0.1)

        L.seed_everything(0)
        x = torch.randn(64, 6)
        data = TensorDataset(x, (x[:, 0] > 0).long())
        trainer = L.Trainer(max_epochs=2, logger=False, enable_checkpointing=False, enable_progress_bar=False,
                            enable_model_summary=False, accelerator="cpu")
        trainer.fit(Net(), DataLoader(data, batch_size=16, shuffle=True), DataLoader(data, batch_size=64))
    """
    run = run_script(project, engine, text)
    assert run.status == "ok", run.message
    assert run.steps == 8 == len(run.losses[0])
    assert run.losses[0][-1] < run.losses[0][0]
    assert 0 <= run.series["val_acc"][-1] <= 1
    cut = run_again(project, engine, text, steps=5)
    assert (cut.steps, cut.status) == (5, "ok")


def run_again(project: Path, engine: Any, text: str, **options: Any) -> Any:
    import shutil

    shutil.rmtree(project / ".tricklint")
    return run_script(project, engine, text, **options)


def test_transformers_trainer(project: Path, engine: Any) -> None:
    pytest.importorskip("transformers", reason="transformers is not installed")
    pytest.importorskip("accelerate", reason="accelerate is not installed")
    text = """
        import torch
        from torch import nn
        from transformers import Trainer, TrainingArguments

        class Net(nn.Module):
            def __init__(self):
                super().__init__()
                self.net = nn.Linear(6, 2)
            def forward(self, x, labels=None):
                logits = self.net(x)
                return {"loss": nn.functional.cross_entropy(logits, labels), "logits": logits}

        class Data(torch.utils.data.Dataset):
            def __init__(self):
                g = torch.Generator().manual_seed(1)
                self.x = torch.randn(64, 6, generator=g)
            def __len__(self): return 64
            def __getitem__(self, i): return {"x": self.x[i], "labels": (self.x[i, 0] > 0).long()}

        args = TrainingArguments(output_dir="out", num_train_epochs=2, per_device_train_batch_size=16,
                                 learning_rate=0.1,
                                 report_to=[], eval_strategy="epoch", save_strategy="no", use_cpu=True, logging_steps=2)
        accuracy = lambda p: {"accuracy": float((p.predictions.argmax(-1) == p.label_ids).mean())}
        Trainer(Net(), args, train_dataset=Data(), eval_dataset=Data(), compute_metrics=accuracy).train()
    """
    run = run_script(project, engine, text)
    assert run.status == "ok", run.message
    assert run.steps == 8 == len(run.losses[0])
    assert len(run.series["eval_accuracy"]) == 2
    assert not (project / "out").exists()
