"""What a project's code may do to the worker: nothing that stays or hangs, and always one line says what."""

from __future__ import annotations

import time
from pathlib import Path

import pytest

from tricklint.trace.client import Worker
from tricklint.trace.facts import Failure, ModelFacts

NET = """
    import torch
    from torch import nn

    class Net(nn.Module):
        def __init__(self):
            super().__init__()
            {line}
            self.fc = nn.Linear(4, 2)

        def forward(self, x):
            return self.fc(x)
"""

NASTY = {
    "endless": ("while True: pass", "limit", "time limit"),
    "endless, swallowing": (
        "\n            while True:\n                try:\n                    while True: pass\n"
        "                except BaseException: pass",
        "limit",
        "time limit",
    ),
    "endless in C": ("import itertools; sum(itertools.repeat(1))", "limit", "time limit"),
    "100 GB": ("self.big = bytearray(100 * 2**30)", "memory", "more than the 4 GB"),
    "os.system": ("import os; os.system('touch stolen')", "blocked", "os.system"),
    "subprocess": ("import subprocess; subprocess.run(['touch', 'stolen'])", "blocked", "subprocess.Popen"),
    "swallowed os.system": (
        "\n            import os\n            try: os.system('touch stolen')\n            except Exception: pass",
        "blocked",
        "os.system",
    ),
    "input": ("self.n = int(input('how many classes? '))", "blocked", "input()"),
    "sys.exit": ("import sys; sys.exit(3)", "exit", "sys.exit(3)"),
    "os._exit": ("import os; os._exit(3)", "exit", "exit code 3"),
    "socket": ("import socket; socket.create_connection(('127.0.0.1', 9))", "blocked", "socket"),
    "url": ("import urllib.request; urllib.request.urlopen('http://127.0.0.1:9/')", "blocked", "network"),
    "write": ("open('stolen', 'w').write('x')", "blocked", "writing stolen"),
    "pathlib write": ("import pathlib; pathlib.Path('stolen').write_text('x')", "blocked", "writing stolen"),
    "torch.save": ("torch.save({}, 'stolen')", "blocked", "stolen"),
    "mkdir": ("import os; os.makedirs('stolen')", "blocked", "os.mkdir"),
    "segfault": ("import ctypes; ctypes.string_at(0)", "crash", "segmentation fault"),
    "abort": ("import os; os.abort()", "crash", "abort"),
    "fork": ("import os; os.fork()", "blocked", "os.fork"),
    "recursion": ("self.__init__()", "error", "RecursionError"),
}


@pytest.mark.parametrize("name", NASTY)
def test_is_named_in_one_line_and_nothing_is_left(name, trace, tmp_path: Path) -> None:
    line, cause, words = NASTY[name]
    started = time.monotonic()
    result = trace({"models.py": NET.format(line=line)}, "models.py:Net", seconds=3 if cause == "limit" else 20)
    assert isinstance(result, Failure), result
    assert result.cause == cause, result
    assert words in result.message and "\n" not in result.message
    assert time.monotonic() - started < 60
    assert sorted(path.name for path in tmp_path.iterdir()) == ["models.py"]
    if cause in ("blocked", "memory", "limit") and name not in ("endless, swallowing",):
        assert result.site is not None and result.site.path == "models.py"


def test_a_hundred_gigabytes_of_tensor_cost_nothing_on_meta(trace) -> None:
    facts = trace({"models.py": NET.format(line="self.big = torch.zeros(10**5, 270000)")}, "models.py:Net")
    assert isinstance(facts, ModelFacts)
    assert facts.heads[0].path == "fc"


def test_goes_on_after_a_crash(trace) -> None:
    assert isinstance(
        trace({"models.py": NET.format(line="import ctypes; ctypes.string_at(0)")}, "models.py:Net"), Failure
    )
    assert isinstance(trace({"models.py": NET.format(line="pass")}, "models.py:Net"), ModelFacts)


def test_training_at_import_is_dropped(trace, tmp_path: Path) -> None:
    text = (
        NET.format(line="pass")
        + """
    model = Net()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    for step in range(10**9):
        model(torch.randn(2, 4)).sum().backward()
        optimizer.step()
    torch.save(model.state_dict(), "model.pt")
"""
    )
    facts = trace({"models.py": text}, "models.py:Net")
    assert isinstance(facts, ModelFacts) and facts.heads[0].classes == 2
    assert not (tmp_path / "model.pt").exists()
    wanted = trace({"models.py": text}, "models.py:model")
    assert (
        isinstance(wanted, Failure) and wanted.cause == "missing" and "a statement at the top level" in wanted.message
    )


def test_a_missing_package_is_stubbed_where_nothing_depends_on_it(trace) -> None:
    text = "import wandb_that_is_not_there as wandb\nfrom not_there.either import thing\n"
    files = {
        "models.py": text
        + "import torch\nfrom torch import nn\n"
        + "class Net(nn.Linear):\n    def __init__(self): super().__init__(3, 2)\n"
    }
    facts = trace(files, "models.py:Net")
    assert isinstance(facts, ModelFacts), facts


def test_what_depends_on_a_stub_is_unknown(trace) -> None:
    head = "import not_there\nimport torch\nfrom torch import nn\n"
    inherits = trace({"a.py": head + "class Net(not_there.BaseModule):\n    pass\n"}, "a.py:Net")
    assert isinstance(inherits, Failure) and inherits.cause == "unknown" and "not_there" in inherits.message
    body = "class Net(nn.Module):\n    def __init__(self):\n        super().__init__()\n"
    body += "        self.e = not_there.Encoder()\n"
    holds = trace({"b.py": head + body}, "b.py:Net")
    assert isinstance(holds, Failure) and holds.cause == "unknown" and "not_there" in holds.message


def test_stubs_stay_in_the_users_own_files(trace) -> None:
    """json's absent neighbour is stubbed in models.py, while a library that asks for it is told the truth."""
    text = """
        import not_there
        import importlib.util
        from torch import nn
        assert importlib.util.find_spec("not_there") is None
        class Net(nn.Linear):
            def __init__(self):
                import sys
                assert "not_there" not in sys.modules
                super().__init__(3, 2)
    """
    facts = trace({"models.py": text}, "models.py:Net")
    assert isinstance(facts, ModelFacts), facts


def test_a_circular_import_is_named(trace) -> None:
    files = {
        "one.py": "from two import b\nfrom torch import nn\nclass Net(nn.Linear):\n    pass\n",
        "two.py": "from one import Net\nb = 1\n",
    }
    result = trace(files, "one.py:Net")
    assert isinstance(result, Failure) and result.cause == "import" and "circular" in result.message


def test_a_syntax_error_is_named_with_its_line(trace) -> None:
    result = trace({"models.py": "x = 1\nclass Net(:\n"}, "models.py:Net")
    assert isinstance(result, Failure) and result.cause == "import"
    assert result.site is not None and result.site.row == 2


@pytest.mark.parametrize(
    ("target", "words"),
    [
        ("gone.py:Net", "no such file"),
        ("models.py:Nett", "did you mean Net?"),
        ("no_such_pkg.models:Net", "cannot import"),
    ],
)
def test_a_wrong_target_is_one_line(trace, target: str, words: str) -> None:
    result = trace({"models.py": NET.format(line="pass")}, target)
    assert isinstance(result, Failure) and words in result.message


def test_an_argument_nobody_knows_is_said(trace) -> None:
    text = "from torch import nn\nclass Net(nn.Linear):\n    def __init__(self, width):\n"
    text += "        super().__init__(width, 2)\n"
    result = trace({"models.py": text}, "models.py:Net")
    assert isinstance(result, Failure) and result.cause == "unknown" and "width" in result.message
    assert isinstance(trace({"models.py": text}, "models.py:Net", kwargs={"width": 5}), ModelFacts)


def test_argparse_gives_its_defaults(trace) -> None:
    text = """
        import argparse
        from torch import nn
        parser = argparse.ArgumentParser()
        parser.add_argument("--width", type=int, default="7")
        parser.add_argument("--data", required=True)
        args = parser.parse_args()
        def build():
            return nn.Linear(args.width, 3)
    """
    facts = trace({"train.py": text}, "train.py:build")
    assert isinstance(facts, ModelFacts) and facts.parameters[0].shape == (3, 7)


def test_an_interpreter_that_is_none_is_one_line(tmp_path: Path) -> None:
    from tricklint.trace.client import WorkerError

    with pytest.raises(WorkerError, match="cannot be started"):
        Worker(tmp_path, python=tmp_path / "python9", keep=False).start()
    with pytest.raises(WorkerError):
        Worker(tmp_path, python="/bin/false", keep=False).start()


def test_a_project_that_holds_its_own_python_is_not_mistaken_for_it(worker: Worker) -> None:
    import os

    from tricklint.trace.worker.guard import Guard

    guard = Guard()
    guard.roots = ("/",)
    assert guard.is_user("/home/me/models.py")
    assert not guard.is_user(os.__file__) and not guard.is_user(__import__("tricklint").__file__)
    assert not guard.is_user("/home/me/.venv/lib/python3.11/site-packages/timm/models.py")


def test_packages_are_found_through_local_imports(tmp_path: Path) -> None:
    (tmp_path / "src" / "pkg").mkdir(parents=True)
    (tmp_path / "src" / "pkg" / "__init__.py").write_text("")
    (tmp_path / "src" / "pkg" / "models.py").write_text("import layers\nfrom timm import create_model\n")
    (tmp_path / "layers.py").write_text("def f():\n    import einops\n")
    from tricklint.trace.targets import Target

    assert Worker(tmp_path, keep=False)._packages(Target("t", "pkg.models:Net")) == {"timm", "einops"}
