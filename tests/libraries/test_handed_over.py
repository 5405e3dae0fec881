"""Functions that something else calls, and things that are looked up by name, are followed to the training they lead to."""

from __future__ import annotations

from pathlib import Path

import pytest

from tricklint.check import Options, run
from tricklint.settings import load

NET = '''
import argparse
import sys
import torch
from torch import nn


class A(nn.Module):
    def __init__(self, width=8):
        super().__init__()
        self.conv = nn.Conv2d(3, width, 3)
        self.norm = nn.BatchNorm2d(width)

    def forward(self, x):
        return self.norm(self.conv(x)).mean((2, 3))


class B(A):
    pass


def train(model, decay=0.1):
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1, weight_decay=decay)
    for _ in range(3):
        optimizer.zero_grad()
        model(torch.randn(1, 3, 8, 8)).mean().backward()
        optimizer.step()


parser = argparse.ArgumentParser()
parser.add_argument("--arch", default="A")
parser.add_argument("--wanted", required=True)
args = parser.parse_args()
'''
BAD = {
    "eval of a name and a call": 'train(eval(args.arch + "()"))',
    "eval of a name": "train(eval(args.arch)(width=4))",
    "eval of a formatted call": 'train(eval(f"{args.arch}(width=4)"))',
    "globals": "train(globals()[args.arch]())",
    "this module": "train(getattr(sys.modules[__name__], args.arch)())",
    "a dict of alternatives": 'train({"a": A, "b": B}[args.wanted]())',
    "an ordered dict": 'from collections import OrderedDict\nR = OrderedDict([("a", A), ("b", B)])\ntrain(R[args.wanted]())',
    "a registry": "R = {}\n\ndef register(cls):\n    R[cls.__name__] = cls\n    return cls\n\n@register\nclass C(A):\n    pass\n\ntrain(R[args.wanted]())",
    "a process": "import torch.multiprocessing as mp\np = mp.Process(target=train, args=(A(),))\np.start()",
    "a process of a context": 'import multiprocessing as mp\nmp.get_context("spawn").Process(target=train, kwargs={"model": A()}).start()',
    "spawned": "import torch.multiprocessing as mp\n\ndef work(rank, model):\n    train(model)\n\nmp.spawn(work, args=(A(),), nprocs=2)",
    "a thread": "from threading import Thread\nThread(target=train, args=[A()]).start()",
    "a pool": "from multiprocessing import Pool\nwith Pool(2) as pool:\n    pool.map(train, [A(), B()])",
    "an executor": "from concurrent.futures import ThreadPoolExecutor\nwith ThreadPoolExecutor() as pool:\n    pool.submit(train, A())",
    "a study": "import optuna\n\ndef objective(trial):\n    train(A())\n    return 1\n\noptuna.create_study().optimize(objective, n_trials=3)",
    "a sweep": "import wandb\n\ndef one():\n    train(A())\n\nwandb.agent('id', function=one)",
    "tune": "from ray import tune\ntune.run(tune.with_parameters(lambda config, net: train(net), net=A()), config={})",
    "a launcher": "from accelerate import notebook_launcher\nnotebook_launcher(train, args=(A(),))",
    "absl": "from absl import app\n\ndef main(argv):\n    train(A())\n\napp.run(main)",
}  # fmt: skip
GOOD = {
    "an argument that is handed over": "import torch.multiprocessing as mp\nmp.Process(target=train, args=(A(), 0.0)).start()",
    "eval of what is not known": "train(eval(args.wanted), 0.0)",
    "eval of a call within": 'train(eval("A(width=len([1]))"), 0.0)',
    "eval of too much": 'eval("(" * 400)\ntrain(A(), 0.0)',
    "a study that tries": "import optuna\n\ndef objective(trial):\n    train(A(), trial.suggest_float('wd', 0, 1))\n\noptuna.create_study().optimize(objective)",
}  # fmt: skip


def found(tmp_path: Path, files: dict[str, str]) -> list[str]:
    for name, text in files.items():
        file = tmp_path / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text)
    (tmp_path / ".git").mkdir()
    report = run([tmp_path], load([tmp_path], isolated=True, options={"select": ["TRK601"]}), Options(cache=False))
    assert not report.problems
    return [finding.path.relative_to(tmp_path).as_posix() for finding in report.findings]


@pytest.mark.parametrize("name", BAD)
def test_found(name: str, tmp_path: Path) -> None:
    assert found(tmp_path, {"train.py": f"{NET}\n{BAD[name]}\n"}) == ["train.py"]


@pytest.mark.parametrize("name", GOOD)
def test_silent(name: str, tmp_path: Path) -> None:
    assert found(tmp_path, {"train.py": f"{NET}\n{GOOD[name]}\n"}) == []


@pytest.mark.parametrize(
    ("adds", "there"),
    [
        ('sys.path.append("lib")', True),
        ("sys.path.insert(0, os.path.join(os.path.dirname(__file__), 'lib'))", True),
        ("sys.path.append(str(Path(__file__).parent / 'lib'))", True),
        ("sys.path.append('/lib')", False),
    ],
)
def test_folders_of_imports(adds: str, there: bool, tmp_path: Path) -> None:
    script = f"import os, sys\nfrom pathlib import Path\n{adds}\nfrom decays import decay\n" + NET + "\ntrain(A(), decay)\n"
    assert found(tmp_path, {"train.py": script, "lib/decays.py": "decay = 0.1\n"}) == ["train.py"] * there
