"""Every bad fixture that runs on this machine, run, and what the fixes make of it, run after it, in one process.

What cannot run (names from nowhere, packages that are not here, a GPU) is passed over, and so is what imports one of the big
libraries, each of which takes longer to import than all the rest to run; but where the bad one runs, the mended
one does, steps its optimizers as often, gives each of them every parameter once, trains in every step, and leaves models with
the same keys. Checkpoints that it loads are stood in for: any file can be loaded, and fits any model.
"""

from __future__ import annotations

import contextlib
import importlib
import importlib.util
import io
import os
import random
import re
import runpy
import shutil
import signal
import socket
import sys
import warnings
from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from types import FrameType
from typing import Any

import pytest
import torch
import torch._dynamo  # else the first optimizer that steps takes seconds for it, and is cut short in the middle of it
from torch import nn
from torch.optim.optimizer import register_optimizer_step_pre_hook

ROOT = Path(__file__).parents[2] / "fixtures"
BIG = re.compile(r"^\s*(?:from|import) (?:torchvision|transformers|lightning|pytorch_lightning|timm|fastai|ignite|accelerate|monai|segmentation_models_pytorch)\b", re.M)
IMPORTED = re.compile(r"^\s*(?:from|import) (\w+)", re.M)
SECONDS, AFTER = 5, 20  # of this process, before the fix and after it: what is near the end before may not be over after
STARTS = ("train.py", "main.py", "run.py")
# Rules whose fix changes on purpose how many parameters an optimizer is given, or which keys a model has
OTHER_PARAMETERS = {"unfrozen-backbone", "lossy-parameter-split", "unfrozen-not-optimized", "unregistered-submodule", "noop-freeze"}
OTHER_KEYS = {"missing-feature-normalization", "unregistered-submodule", "unscaled-normalized-logits"}
OTHER_STEPS = {"scheduler-before-optimizer"}


@dataclass
class Ran:
    """What a script did: `steps` has for each optimizer step how many parameters had a gradient."""

    problem: str = ""
    steps: list[int] = field(default_factory=list)
    twice: list[str] = field(default_factory=list)
    given: list[int] = field(default_factory=list)  # parameters of each optimizer, in the order of their first steps
    keys: dict[str, list[str]] = field(default_factory=dict)


def _pairs() -> list[tuple[Path, Path]]:
    found = []
    for case in sorted(ROOT.glob("*/bad_*")):
        twin = case.with_name(f"{case.name}.fixed" if case.is_dir() else f"{case.stem}.fixed.py")
        if ".fixed" not in case.name and twin.exists() and _script(case) is not None:
            files = [case] if case.suffix == ".py" else case.rglob("*.py")
            if not any(BIG.search(file.read_text()) for file in files):
                found.append((case, twin))
    return found


def _script(case: Path) -> Path | None:
    if case.suffix == ".py":
        return case
    return next((case / name for name in STARTS if (case / name).exists()), None) if case.is_dir() else None


class _TooLong(BaseException):
    pass


def _stop(signum: int, frame: FrameType | None) -> None:
    raise _TooLong


@contextlib.contextmanager
def _alone(script: Path, folder: Path, seconds: float) -> Iterator[None]:
    """As if the script were started there: its folder on the path, no arguments, no network, what it imports forgotten."""
    before = set(sys.modules)
    argv, path, here = sys.argv, list(sys.path), Path.cwd()
    connect = socket.socket.connect

    def refuse(*args: object) -> None:
        raise OSError("no network here")

    sys.argv, sys.path[:0] = [str(script)], [str(script.parent)]
    socket.socket.connect = refuse  # type: ignore[method-assign,assignment]
    os.chdir(folder)
    old = signal.signal(signal.SIGVTALRM, _stop)
    signal.setitimer(signal.ITIMER_VIRTUAL, seconds)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_VIRTUAL, 0)
        signal.signal(signal.SIGVTALRM, old)
        os.chdir(here)
        socket.socket.connect = connect  # type: ignore[method-assign]
        sys.argv, sys.path[:] = argv, path
        for name in set(sys.modules) - before:
            where = getattr(sys.modules[name], "__file__", None) or ""
            if where.startswith(str(folder)):
                del sys.modules[name]


@pytest.fixture(autouse=True)
def weights(monkeypatch: pytest.MonkeyPatch) -> None:
    """Any file can be loaded, and what it holds fits any model."""
    anything = lambda *args, **kwargs: defaultdict(dict)  # noqa: E731
    monkeypatch.setattr(torch, "load", anything)
    monkeypatch.setattr(nn.Module, "load_state_dict", lambda self, *args, **kwargs: None)


def _import_packages(case: Path) -> None:
    """Installed packages that a case imports are there before its time begins, which is for the case itself."""
    for file in [case] if case.suffix == ".py" else case.rglob("*.py"):
        for name in IMPORTED.findall(file.read_text()):
            found = name not in sys.modules and importlib.util.find_spec(name)
            if found and "site-packages" in (found.origin or ""):
                with contextlib.suppress(Exception):  # the case says what is wrong with it
                    importlib.import_module(name)


def _placed(case: Path, twin: Path | None, folder: Path) -> Path:
    """A copy of a case in a folder of its own; with `twin`, of what the fixes make of it."""
    if case.suffix == ".py":
        folder.mkdir()
        return Path(shutil.copy(twin or case, folder / case.name))
    shutil.copytree(case, folder)
    if twin is not None:
        shutil.copytree(twin, folder, dirs_exist_ok=True)
    return folder


def _run(case: Path, folder: Path, seconds: float) -> Ran:
    script, ran = _script(case), Ran()
    assert script is not None
    order: dict[int, int] = {}
    alive: list[Any] = []  # ids stay theirs

    def before_step(optimizer: Any, args: Any, kwargs: Any) -> None:
        params = [param for group in optimizer.param_groups for param in group["params"]]
        if id(optimizer) not in order:
            order[id(optimizer)] = len(alive)
            alive.append(optimizer)
            ran.given.append(len({id(param) for param in params}))
            if len({id(param) for param in params}) < len(params):
                ran.twice.append(type(optimizer).__name__)
        ran.steps.append(sum(param.grad is not None for param in params))

    torch.manual_seed(0)
    random.seed(0)
    hook = register_optimizer_step_pre_hook(before_step)
    quiet = contextlib.redirect_stdout(io.StringIO()), contextlib.redirect_stderr(io.StringIO())
    names: dict[str, Any] = {}
    try:
        with _alone(script, folder, seconds), quiet[0], quiet[1], warnings.catch_warnings():
            warnings.simplefilter("ignore")
            names = runpy.run_path(str(script), run_name="__main__")
    except SystemExit as ended:
        ran.problem = f"SystemExit: {ended.code}" if ended.code else ""
    except (Exception, _TooLong) as error:
        ran.problem = f"{type(error).__name__}: {error}"
    finally:
        hook.remove()
        torch.set_grad_enabled(True)
        torch.set_default_dtype(torch.float32)
    ran.keys = {name: sorted(each.state_dict()) for name, each in names.items() if isinstance(each, nn.Module)}
    return ran


PAIRS = _pairs()
RAN: list[bool] = []


@pytest.mark.parametrize(("case", "twin"), PAIRS, ids=lambda path: f"{path.parent.name}/{path.name}")
def test_what_runs_before_the_fix_runs_after_it(case: Path, twin: Path, tmp_path: Path) -> None:
    rule = case.parent.name
    _import_packages(case)
    bad = _run(_placed(case, None, tmp_path / "bad"), tmp_path, SECONDS)
    RAN.append(not bad.problem)
    if bad.problem:
        pytest.skip(bad.problem[:200])
    fixed = _run(_placed(case, twin, tmp_path / "fixed"), tmp_path, AFTER)
    assert not fixed.problem
    assert not fixed.twice, "an optimizer is given a parameter twice"
    if rule not in OTHER_STEPS:
        assert len(fixed.steps) == len(bad.steps)
    assert all(fixed.steps) or not all(bad.steps), "a step trains nothing"
    if rule not in OTHER_PARAMETERS:
        assert fixed.given == bad.given
    if rule not in OTHER_KEYS:
        assert {name: fixed.keys[name] for name in bad.keys.keys() & fixed.keys.keys()} == {
            name: bad.keys[name] for name in bad.keys.keys() & fixed.keys.keys()
        }


def test_enough_pairs_ran() -> None:
    if len(RAN) == len(PAIRS):
        assert sum(RAN) >= 100
