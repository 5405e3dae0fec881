"""Where scripts give their metric: each is read, and named with its source; what is no metric is none."""

from __future__ import annotations

import textwrap
from pathlib import Path
from typing import Any

import pytest

from tricklint.verify.conduct import Wishes, _metrics
from tricklint.verify.judging import choose
from tricklint.verify.records import Run, VerifyError

from .helpers import run_script

HEAD = """
import torch
from torch import nn
import json
torch.manual_seed(0)
x = torch.randn(60, 4)
y = (x.sum(1) > 0).long()
model = nn.Linear(4, 2)
optimizer = torch.optim.SGD(model.parameters(), lr=0.5)
"""
LOOP = """
for epoch in range(3):
    for i in range(4):
        optimizer.zero_grad()
        loss = nn.functional.cross_entropy(model(x[:40]), y[:40])
        loss.backward()
        optimizer.step()
    with torch.no_grad():
        acc = (model(x[40:]).argmax(1) == y[40:]).float().mean().item() + epoch / 1000
"""


def train(root: Path, engine: Any, before: str, each: str, after: str = "", **options: Any) -> Run:
    """Three epochs of four steps; `each` is done with `acc` after each of them."""
    parts = (
        HEAD,
        textwrap.dedent(before),
        LOOP,
        textwrap.indent(textwrap.dedent(each), "    "),
        textwrap.dedent(after),
    )
    text = "\n".join(parts)
    run = run_script(root, engine, text, **options)
    assert run.status == "ok", run.message
    return run


WANDB = """
class Run:
    def log(self, data, step=None): pass
def init(**options):
    global log
    log = Run().log
    return Run()
def log(data, step=None): pass
"""
MLFLOW = """
def start_run(): pass
def log_metric(key, value, step=None): pass
def log_metrics(metrics, step=None): [log_metric(k, v) for k, v in metrics.items()]
"""
CASES: dict[str, tuple[str, str, str, str, str]] = {
    # what is done before, in each epoch, after; the metric's name and source
    "print": ("", "print(f'epoch {epoch} val_acc {acc:.6f}')", "", "val_acc", "printed"),
    "print to stderr": (
        "import sys",
        "print(f'images: 60, val_acc={acc}', file=sys.stderr)",
        "",
        "val_acc",
        "stderr",
    ),
    "logging to stderr": (
        "import logging\nlogging.basicConfig(level=logging.INFO)\nprint('images: 60')",
        "logging.info('epoch %d done, validation accuracy %.6f', epoch, acc)",
        "",
        "validation accuracy",
        "stderr",
    ),
    "logging to a file": (
        "import logging\nlogging.basicConfig(filename='out.log', level=logging.INFO)",
        "logging.info('val_acc: %s', acc)",
        "",
        "val_acc",
        "logging",
    ),
    "a progress bar": (
        "import sys",
        "sys.stderr.write(f'\\r{epoch}/3 [00:01, val_acc={acc}]')",
        "",
        "val_acc",
        "stderr",
    ),
    "JSON lines, never closed": (
        "log = open('metrics.jsonl', 'w')",
        "log.write(json.dumps({'epoch': epoch, 'val_acc': acc}) + '\\n')",
        "",
        "val_acc",
        "metrics.jsonl",
    ),
    "CSV": (
        "import csv\nfile = open('history.csv', 'w', newline='')\nrows = csv.writer(file)\nrows.writerow(['epoch', 'val_acc'])",
        "rows.writerow([epoch, acc])",
        "file.close()",
        "val_acc",
        "history.csv",
    ),
    "a table of pandas": (
        "import pandas as pd\nhistory = []",
        "history.append({'epoch': epoch, 'lr': 0.5, 'acc': acc})\npd.DataFrame(history).to_csv('val.csv')",
        "",
        "val acc",
        "val.csv",
    ),
    "JSON at the end": (
        "history = {'epoch': [], 'val': {'acc': []}}",
        "history['epoch'].append(epoch)\nhistory['val']['acc'].append(acc)",
        "json.dump(history, open('results.json', 'w'))",
        "val/acc",
        "results.json",
    ),
    "a name that counts": ("", "print(f'val_acc_epoch_{epoch}: {acc}')", "", "val_acc_epoch", "printed"),
    "a text file": ("", "open('notes.txt', 'a').write(f'val_acc: {acc}\\n')", "", "val_acc", "notes.txt"),
    "wandb.log": (
        "import wandb\nwandb.init(project='x')",
        "wandb.log({'val': {'acc': torch.tensor(acc, dtype=torch.float64)}, 'epoch': epoch})",
        "",
        "val/acc",
        "wandb.log",
    ),
    "a run of wandb": (
        "import wandb\nrun = wandb.init()\nwandb.log({'x': 1})",
        "wandb.log({'val_acc': acc})",
        "",
        "val_acc",
        "wandb.log",
    ),
    "mlflow": ("import mlflow", "mlflow.log_metrics({'val_acc': acc}, step=epoch)", "", "val_acc", "mlflow.log_metric"),
    "mlflow, one": ("import mlflow", "mlflow.log_metric('val_acc', acc)", "", "val_acc", "mlflow.log_metric"),
}


@pytest.mark.parametrize("case", CASES)
def test_the_metric_is_read_where_it_is_given(project: Path, engine: Any, case: str) -> None:
    before, each, after, name, source = CASES[case]
    (project / "wandb.py").write_text(WANDB)
    (project / "mlflow.py").write_text(MLFLOW)
    run = train(project, engine, before, each, after)
    (metric,) = choose(run)
    assert (metric.name, metric.source, metric.higher) == (name, source, True)
    values = run.series[metric.name]
    assert len(values) == 3 and len(set(values)) > 1 and all(v is not None and 0 < v < 1.1 for v in values)
    if after == "" or "file" in before:  # written as it goes
        assert list(metric.at) == [4, 8, 12]


def test_tensorboard(project: Path, engine: Any) -> None:
    pytest.importorskip("tensorboard")
    before = "from torch.utils.tensorboard import SummaryWriter\nlog = SummaryWriter('runs/a')\nval = SummaryWriter('runs/val')"
    each = "log.add_scalars('loss', {'train': loss, 'val': acc + 1}, epoch)\nval.add_scalar('acc', acc, epoch)"
    run = train(project, engine, before, each)
    (metric,) = choose(run)
    assert (metric.name, metric.source, metric.at) == ("val acc", "SummaryWriter", (4, 8, 12))
    assert set(run.series) == {"loss/train", "loss/val", "val acc", "train loss"}


def test_torchmetrics(project: Path, engine: Any) -> None:
    """What compute returns counts under the name that the script has for the metric; a batch's own value does not."""
    try:
        import torchmetrics  # noqa: F401
    except Exception as error:  # it imports torchvision, which may not fit the torch that is installed
        pytest.skip(f"torchmetrics cannot be imported: {error}")
    before = """
        import torchmetrics
        val_acc = torchmetrics.Accuracy(task="multiclass", num_classes=2)
    """
    each = "val_acc(model(x[40:50]), y[40:50])\nval_acc(model(x[50:]), y[50:])\nval_acc.compute()\nval_acc.reset()"
    run = train(project, engine, before, each)
    (metric,) = choose(run)
    assert (metric.name, metric.source) == ("val_acc", "torchmetrics")
    assert len(run.series["val_acc"]) == 3


def test_one_metric_in_several_places_is_one(project: Path, engine: Any) -> None:
    before = "import wandb\nlog = open('metrics.jsonl', 'w')"
    each = "print(f'val acc {100 * acc:.2f}%')\nwandb.log({'val_acc': acc})\nlog.write(json.dumps({'val_acc': acc}) + '\\n')"
    (project / "wandb.py").write_text(WANDB)
    run = train(project, engine, before, each)
    assert [(m.name, m.source) for m in choose(run)] == [("val_acc", "wandb.log")]


NOT_METRICS = {
    "a namespace": ("import argparse\nprint(argparse.Namespace(precision=16, val_score=0.5, lr=0.1))", "", ""),
    "arguments, at the end": (
        "import argparse\nparser = argparse.ArgumentParser()\n"
        "parser.add_argument('--val-score', type=float, default=0.5)\nargs = parser.parse_args()",
        "",
        "print(args)",
    ),
    "hyper-parameters in a file": ("json.dump({'precision': 16, 'val_score': 1.0}, open('hparams.json', 'w'))", "", ""),
    "a constant": ("", "print('images: 60, precision: 16')", ""),
    "words that tell no direction": ("", "print(f'wobble: {acc}, val_iou_threshold: {acc / 2}')", ""),
    "the training loss under its name": ("", "print(f'epoch {epoch} loss {loss.item():.4f}')", ""),
    "the training loss under another name": ("", "print(f'mse: {loss.item():.4f}')", ""),
    "predictions": (
        "import csv",
        "",
        "with open('test_predictions.csv', 'w', newline='') as file:\n"
        "    csv.writer(file).writerows([['id', 'score'], *([i, i / 60] for i in range(60))])",
    ),
    "a score of the training data": ("", "print(f'train_acc: {acc}')", ""),
}


@pytest.mark.parametrize("case", NOT_METRICS)
def test_what_is_no_metric_is_not_judged_and_the_training_loss_only_where_it_is_asked_for(
    project: Path, engine: Any, case: str
) -> None:
    run = train(project, engine, *NOT_METRICS[case])
    assert choose(run) == []
    with pytest.raises(VerifyError, match=r"no metric that can be judged in its 12 steps.*--metric 'train loss'"):
        _metrics(run, Wishes(yes=True), None)
    (asked,) = choose(run, "train loss")
    assert (asked.name, asked.higher) == ("train loss", False)


def test_a_metric_by_its_name_or_by_a_pattern(project: Path, engine: Any) -> None:
    run = train(project, engine, "", "print(f'wobble: {acc}, loss: {loss.item()}')")
    assert [m.name for m in choose(run, "loss")] == ["loss"]
    (metric,) = choose(run, "wobble", higher=True)
    assert (metric.name, metric.source, metric.higher, metric.at) == ("wobble", "printed", True, (4, 8, 12))
    with pytest.raises(
        VerifyError, match=r"no such number in its 12 steps; it gave wobble \(printed\), loss \(printed\)"
    ):
        choose(run, "val_acc")
    with pytest.raises(VerifyError, match="is higher or lower better"):
        _metrics(run, Wishes(metric="wobble"), None)
    caught = train(project, engine, "", "print(f'wobble: {acc}')", seed=1, metric=r"wobble: ([\d.]+)")
    assert next(iter(caught.series)) == "wobble" and caught.at["wobble"] == [4, 8, 12]


def test_a_score_that_does_not_move_is_judged_only_where_nothing_moves(project: Path, engine: Any) -> None:
    run = train(project, engine, "", "print(f'val_acc: 0.1, val_f1: {acc}')")
    assert [m.name for m in choose(run)] == ["val_f1"]
    run = train(project, engine, "", "print('val_acc: 0.1')", seed=1)
    (metric,) = choose(run)
    assert metric.name == "val_acc" and "did not move" in str(metric)


def test_what_is_evaluated_after_the_last_step_of_a_cut_run_belongs_to_it(project: Path, engine: Any) -> None:
    run = train(project, engine, "", "print(f'val_acc: {acc}')", steps=8)
    assert run.steps == 8 and run.at["val_acc"] == [4, 8]


def test_what_the_first_process_logs_for_those_that_trained(project: Path, engine: Any) -> None:
    """It parses the arguments before they start, and evaluates when they have ended."""
    (project / "wandb.py").write_text(WANDB)
    text = """
        import argparse
        import torch
        import torch.multiprocessing as mp
        import wandb

        def work(rank):
            w = torch.nn.Parameter(torch.ones(1))
            optimizer = torch.optim.SGD([w], lr=0.1)
            for _ in range(3):
                (w ** 2).sum().backward()
                optimizer.step()
                print("val_score:", 0.5)

        if __name__ == "__main__":
            parser = argparse.ArgumentParser()
            parser.add_argument("--val-score", type=float, default=0.5)
            parser.parse_args()
            mp.spawn(work, nprocs=1)
            wandb.log({"val_acc": 0.75})
    """
    run = run_script(project, engine, text)
    assert (run.status, run.steps) == ("ok", 3), run.message
    assert [(m.name, m.source, m.at) for m in choose(run)] == [("val_acc", "wandb.log", (3,))]
