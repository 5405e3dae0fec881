"""Every run is another sample: whichever generator the script seeds. Run 0 is the user's own."""

from __future__ import annotations

import subprocess
import sys
import textwrap
from pathlib import Path
from typing import Any

import pytest

from tricklint.verify.plan import BASELINE
from tricklint.verify.replay import inserted_lines

from .helpers import MODEL, MODEL_INIT, TRAIN, edited, run_script, session_for

DRAWS = {
    "random.seed": "random.seed(42); d(random.random())",
    "random.Random": "d(random.Random(42).random())",
    "random.Random of a text": "d(random.Random('fold').random())",
    "a subclass": "class R(random.Random): pass\nd(R(42).random())",
    "np.random.seed": "np.random.seed(42); d(np.random.rand())",
    "np.random.seed of a list": "np.random.seed([4, 2]); d(np.random.rand())",
    "RandomState": "d(np.random.RandomState(42).rand())",
    "RandomState.seed": "r = np.random.RandomState(); r.seed(42); d(r.rand())",
    "default_rng": "d(np.random.default_rng(42).random())",
    "default_rng of a list": "d(np.random.default_rng([4, 2]).random())",
    "SeedSequence": "d(np.random.default_rng(np.random.SeedSequence(42)).random())",
    "PCG64": "d(np.random.Generator(np.random.PCG64(42)).random())",
    "torch.manual_seed": "torch.manual_seed(42); d(torch.rand(1).item())",
    "torch.Generator": "d(torch.rand(1, generator=torch.Generator().manual_seed(42)).item())",
    "an unseeded torch.Generator": "d(torch.rand(1, generator=torch.Generator()).item())",
    "default_generator": "torch.default_generator.manual_seed(42); d(torch.rand(1).item())",
    "imported under another name": "from numpy.random import default_rng as f\nd(f(42).random())",
    "random_split": "d(list(random_split(range(99), [9, 90], generator=torch.Generator().manual_seed(42))[0])[0])",
    "DataLoader": "l = DataLoader(range(99), shuffle=True, generator=torch.Generator().manual_seed(42))\n"
    "d(next(iter(l)).item())",
    "scikit-learn": "from sklearn.model_selection import train_test_split\n"
    "d(train_test_split(list(range(99)), random_state=42)[0][0])",
    "pandas": "import pandas as pd\nd(pd.Series(range(99)).sample(1, random_state=42).iloc[0])",
}
HEAD = (
    "import random\nimport numpy as np\nimport torch\nfrom torch.utils.data import DataLoader, random_split\n"
    "def d(value): print(f'draw {float(value)!r}')\n"
)
STEP = "torch.optim.SGD([torch.nn.Parameter(torch.ones(1))], lr=0.1).step()\n"


def printed(root: Path, run: int) -> list[str]:
    text = (root / f".tricklint/verify/now/logs/baseline-{run}-1.out").read_text()
    return text.splitlines()


@pytest.fixture
def draws(project: Path, engine: Any) -> list[list[str]]:
    """What the script of all `DRAWS` prints: plainly, and in runs 0, 1 and 2."""
    (project / "train.py").write_text(HEAD + "\n".join(DRAWS.values()) + "\n" + STEP)
    session = session_for(project, engine, seeds=3)
    session.run(session.missing())
    assert all(run.status == "ok" for run in session.ledger.runs.values()), session.ledger.runs
    plain = subprocess.run([sys.executable, "train.py"], cwd=project, capture_output=True, text=True, check=True)
    return [plain.stdout.splitlines(), *(printed(project, run) for run in range(3))]


def test_every_generator_is_shifted_and_run_0_is_the_users_own(draws: list[list[str]]) -> None:
    plain, *runs = draws
    assert len(plain) == len(DRAWS)
    for number, name in enumerate(DRAWS):
        assert runs[0][number] == plain[number], name
        assert len({run[number] for run in runs}) > 1, f"{name}: three runs drew the same"


def test_run_0_of_a_whole_training_is_the_users_own(project: Path, engine: Any) -> None:
    """Default initialisation, shuffling, dropout: nothing is drawn elsewhere."""
    text = TRAIN.replace("acc:.4f", "acc!r").replace("model = Net()", "model = nn.Sequential(Net(), nn.Dropout(0.2))")
    (project / "train.py").write_text(text.replace("loss.item():.4f", "loss.item()!r"))
    plain = subprocess.run([sys.executable, "train.py"], cwd=project, capture_output=True, text=True, check=True)
    session = session_for(project, engine)
    session.run(session.missing())
    assert printed(project, 0) == plain.stdout.splitlines()


@pytest.mark.parametrize("run", [0, 2])
def test_what_a_fix_puts_in_draws_from_its_own_generator(project: Path, engine: Any, run: int) -> None:
    """In run 0 too: shuffling, dropout and the user's own initialisation go on as in the baseline."""
    (project / "train.py").write_text(
        "import torch\nfrom model import Net\ntorch.manual_seed(3)\nmodel = Net()\n"
        "torch.nn.init.normal_(model.b.weight)\nprint('own', model.b.weight[0, 0].item())\n"
        "print('noise', torch.rand(1).item())\nprint('first', model.a.weight[0, 0].item())\n"
        "torch.optim.SGD(model.parameters(), lr=0.1).step()\n"
    )
    session = session_for(project, engine, [edited("init", model=MODEL_INIT)], seeds=run + 1)
    session.run([task for task in session.plan.tasks() if task.seed == run])
    logs = project / ".tricklint/verify/now/logs"
    before, after = ((logs / f"{name}-{run}-1.out").read_text().splitlines() for name in (BASELINE, "init"))
    assert before[:2] == after[:2] and before[2] != after[2]


def test_lines_that_a_fix_puts_in() -> None:
    assert inserted_lines("a\nb\n", "a\nx\ny\nb\n") == [(2, 3)]
    assert inserted_lines("a\nb\n", "a\nB\n") == []
    assert inserted_lines(MODEL, MODEL) == []


def test_numpy_draws_in_workers_differ_by_worker_epoch_and_run(project: Path, engine: Any) -> None:
    text = """
        import random
        import numpy as np
        import torch
        from torch.utils.data import DataLoader, Dataset

        class Data(Dataset):
            def __len__(self):
                return 4

            def __getitem__(self, i):
                return i, np.random.rand(), random.random(), np.random.default_rng().random()

        torch.manual_seed(0)
        loader = DataLoader(Data(), batch_size=2, num_workers=2)
        for epoch in range(2):
            for i, a, b, c in loader:
                print(repr(a.tolist()), repr(b.tolist()), repr(c.tolist()))
    """
    drawn = []
    for run in range(2):
        assert run_script(project, engine, text + "        " + STEP, seed=run).status == "ok"
        lines = printed(project, run)
        assert len(set(lines)) == len(lines) == 4
        numbers = [number for line in lines for number in line.replace("[", "").replace("]", "").split()]
        assert len(set(numbers)) == len(numbers) == 24
        drawn.append(numbers)
    assert not set(drawn[0]) & set(drawn[1])
    plain = textwrap.dedent(text).replace("np.random.default_rng().random()", "0.5") + STEP
    (project / "train.py").write_text(plain)
    done = subprocess.run([sys.executable, "train.py"], cwd=project, capture_output=True, text=True, check=True)
    assert run_script(project, engine, plain, seed=0).status == "ok"
    assert printed(project, 0) == done.stdout.splitlines()
