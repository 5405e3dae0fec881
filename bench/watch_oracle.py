"""Hold what reading says of scripts against what watching them shows.

    python bench/watch_oracle.py fixtures              every script of every folder below
    python bench/watch_oracle.py fixtures --every 12   each twelfth
    python bench/watch_oracle.py some/scripts --show   with each disagreement

A script runs in a copy of its folder, for 50 optimizer steps and 20 seconds at most, without network. One that raises an
error did not run; one that runs into the time limit is judged by what it did. The libraries are imported once, and each
script is a fork. The table counts findings by rule: `agree` both say so; `only read` reading says so and the run shows
that it is not; `only watched` the run shows it and reading is silent; `not shown` reading says so and the run tells
nothing about it (the code did not run, or ran once). A script agrees that has nothing in the two middle columns.
"""

from __future__ import annotations

import argparse
import contextlib
import gc
import os
import runpy
import shutil
import signal
import socket
import sys
import tempfile
import time
import traceback
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tricklint.check import Options, run
from tricklint.finding import Finding
from tricklint.rule import Rule, discover
from tricklint.selection import matches
from tricklint.settings import load
from tricklint.testing import HEADER
from tricklint.watching.record import Clean, RecordError, Run, read_run
from tricklint.watching.verdicts import _cleared, same, shown

LIMIT_S = 20
STEPS = 50
LIBRARIES = ("pandas", "torchvision", "timm", "transformers", "accelerate", "lightning", "pytorch_lightning")


@dataclass
class Result:
    """One script: whether it ran (else why not), and its findings by column, each "CODE file:row message"."""

    path: Path
    ran: bool
    why: str = ""
    steps: int = 0
    seconds: float = 0.0
    agree: list[str] = field(default_factory=list)
    only_read: list[str] = field(default_factory=list)
    only_watched: list[str] = field(default_factory=list)
    not_shown: list[str] = field(default_factory=list)

    @property
    def agrees(self) -> bool:
        return not self.only_read and not self.only_watched


def scripts(folder: Path) -> list[Path]:
    """The scripts below a folder: of fixtures, the bad and good ones; a case of several files counts as its main one."""
    found = []
    for path in sorted(folder.rglob("*.py")):
        inside = path.relative_to(folder).parts
        case = next((part for part in inside if part.startswith(("bad_", "good_"))), None)
        if case is None:
            if not any(one.name.startswith(("bad_", "good_")) for one in path.parent.iterdir()):
                found.append(path)
        elif ".fixed" not in case and (path.name == case or path.stem in ("train", "main", "run")):
            found.append(path)
    return found


def warm(paths: list[Path]) -> None:
    """Import once what these scripts import."""
    import importlib

    os.environ.update(HF_HUB_OFFLINE="1", HF_HUB_DISABLE_TELEMETRY="1", MPLBACKEND="Agg", TQDM_DISABLE="1")
    texts = [path.read_text(encoding="utf-8", errors="replace") for path in paths]
    for name in (
        "torch",
        "torch._dynamo",
        *(one for one in LIBRARIES if any(f"import {one}" in t or f"from {one}" in t for t in texts)),
    ):
        with contextlib.suppress(ImportError):
            importlib.import_module(name)
    sys.modules["torch"].set_num_threads(1)


def copied(script: Path, work: Path) -> Path:
    """A folder of its own for a script, with what stands beside it; a fixture stands alone."""
    if script.name.startswith(("bad_", "good_")):
        work.mkdir()
        shutil.copy2(script, work / script.name)
    else:
        shutil.copytree(script.parent, work)
    return work


def watch(
    script: Path, folder: Path, arguments: Sequence[str] = (), steps: int | None = STEPS, hooks: bool = True
) -> tuple[Run | None, str, float]:
    """Run a script in a copy of its folder; the record, and why it did not run ("" where it did). `hooks`: whether it is
    watched at all. What it printed is in `folder`/output.txt."""
    work = copied(script, folder / "work")
    began = time.monotonic()
    gc.freeze()  # the collector of the child need not look at what was imported here: looking would copy its pages
    child = os.fork()
    if child == 0:
        _child(work / script.name, folder, arguments, steps, hooks)
    gc.unfreeze()
    _, status = os.waitpid(child, 0)
    seconds = time.monotonic() - began
    try:
        record = read_run(folder)
    except RecordError:
        return None, f"no record (status {status})", seconds
    record.root = copied(script, folder / "read")  # the script itself may have written into the other
    if os.WIFSIGNALED(status) and os.WTERMSIG(status) == signal.SIGALRM:
        return record, "", seconds
    if record.end is None:
        return record, f"killed (status {status})", seconds
    why = record.end["message"] if record.end["status"] == "crashed" else ""
    return record, why, seconds


def _child(script: Path, folder: Path, arguments: Sequence[str], steps: int | None, hooks: bool) -> None:
    """The forked process: it never returns."""
    from tricklint.verify.runner.logged import on_import
    from tricklint.watching.recorder.process import FIRST, Watched

    code = 70
    try:
        signal.alarm(LIMIT_S)
        output = os.open(folder / "output.txt", os.O_WRONLY | os.O_CREAT)
        os.dup2(output, 1)
        os.dup2(output, 2)
        sys.stdout = open(1, "w", buffering=1, closefd=False)  # noqa: SIM115
        sys.stderr = open(2, "w", buffering=1, closefd=False)  # noqa: SIM115
        os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
        os.chdir(script.parent)

        def refused(*_: object, **__: object) -> None:
            raise OSError("no network here")

        socket.create_connection = refused  # type: ignore[assignment]
        socket.getaddrinfo = refused  # type: ignore[assignment]
        os.environ.pop(FIRST, None)
        sys.argv = [str(script), *arguments]
        sys.path.insert(0, str(script.parent))
        for name in [
            name for name in sys.modules if name.partition(".")[0] in {p.stem for p in script.parent.iterdir()}
        ]:
            del sys.modules[name]
        _make_up_weights()
        job = {"folder": str(folder), "root": str(script.parent), "steps": steps}
        watched = Watched(job)
        watched.plain = traceback.print_exception
        if hooks:
            on_import(watched.hooks)
        try:
            runpy.run_path(str(script), run_name="__main__")
        except SystemExit as error:
            if error.code not in (None, 0):
                watched.end("crashed", f"sys.exit({error.code!r})")
        except BaseException as error:
            watched.died(type(error), error, error.__traceback__)
        watched.end("ended")
        sys.stdout.flush()
        code = 0
    except BaseException:
        traceback.print_exc()
    finally:
        os._exit(code)


def _make_up_weights() -> None:
    """Pretrained weights cannot be fetched: a model is given back those that it was built with, as if they had been."""
    from torch import nn

    class MadeUp(dict):  # type: ignore[type-arg]
        pass

    plain = nn.Module.load_state_dict

    def load_state_dict(module: nn.Module, state_dict: object, *args: Any, **kwargs: Any) -> object:
        if isinstance(state_dict, MadeUp):
            state_dict.update(module.state_dict())
        return plain(module, state_dict, *args, **kwargs)  # type: ignore[arg-type]

    nn.Module.load_state_dict = load_state_dict  # type: ignore[method-assign,assignment]
    if "torchvision" in sys.modules:
        from torchvision.models import _api

        _api.WeightsEnum.get_state_dict = lambda self, *args, **kwargs: MadeUp()
    if "timm" in sys.modules:
        from timm.models import _builder

        def load_pretrained(model: nn.Module, pretrained_cfg: Any = None, num_classes: int = 1000, **_: object) -> None:
            head = str(getattr(pretrained_cfg, "classifier", None) or "-")
            old = getattr(pretrained_cfg, "num_classes", num_classes) == num_classes
            made = {name: p for name, p in model.state_dict().items() if old or not name.startswith(head + ".")}
            model.load_state_dict(made, strict=False)

        _builder.load_pretrained = load_pretrained


def compare(script: Path, record: Run, rules: list[Rule], result: Result) -> None:
    """Fill the columns of a script that ran."""
    wanted, config = _wanted(script, rules)
    settings = load([record.root], isolated=True, config=config, options={"select": [rule.code for rule in wanted]})
    record.settings = settings
    report = run([record.root], settings, Options(cache=False))
    crashes: list[str] = []
    seen, clean = shown(record, wanted, crashes)
    if crashes:
        raise RuntimeError("; ".join(crashes))
    judge(report.findings, seen, clean, record, result, {rule.code for rule in wanted if can_show(rule)})


def judge(
    read: Iterable[Finding], seen: list[Finding], clean: list[Clean], record: Run, result: Result, codes: set[str]
) -> None:
    used: set[int] = set()
    for finding in read:
        if finding.code not in codes:
            continue
        line = _line(finding)
        matching = [index for index, one in enumerate(seen) if same(finding, one)]
        used.update(matching)
        if matching:
            result.agree.append(line)
        elif any(_cleared(finding, one, record) for one in clean):
            result.only_read.append(line)
        else:
            result.not_shown.append(line)
    result.only_watched += [
        f"{_line(one)} [{one.confirmed}]" for index, one in enumerate(seen) if index not in used and one.code in codes
    ]


def _line(finding: Finding) -> str:
    return f"{finding.code} {finding.path.name}:{finding.location.row} {finding.message}"


def can_show(rule: Rule) -> bool:
    """Whether both reading and a run tell something about a rule."""
    return type(rule).watched is not Rule.watched and not rule.needs_trace


def _wanted(script: Path, rules: list[Rule]) -> tuple[list[Rule], list[str]]:
    """The rules that a script asks for in its first lines, else those on by default; and its settings."""
    head = HEADER.findall("\n".join(script.read_text(encoding="utf-8").splitlines()[:5]))
    config = [value for key, value in head if key == "config"]
    for key, value in head:
        if key == "rules":
            names = [word.strip() for word in value.split(",")]
            return [rule for rule in rules if any(matches([name], rule) for name in names)], config
    return [rule for rule in rules if rule.on_by_default and not rule.needs_trace], config


def study(paths: Iterable[Path], until: float | None = None) -> Iterator[Result]:
    """Each script's result; none begins after `until` (`time.monotonic`)."""
    rules = discover()
    for path in paths:
        if until is not None and time.monotonic() > until:
            return
        folder = Path(tempfile.mkdtemp(prefix="watch-"))
        try:
            record, why, seconds = watch(path, folder)
            result = Result(path, not why and record is not None, why, record.steps if record else 0, seconds)
            if result.ran and record is not None:
                compare(path, record, rules, result)
            yield result
        finally:
            shutil.rmtree(folder, ignore_errors=True)


COLUMNS = ("agree", "only read", "only watched", "not shown")


def table(results: list[Result]) -> str:
    """The findings of the scripts that ran, by rule."""
    counts: dict[str, Counter[str]] = {}
    for result in results:
        for column in COLUMNS:
            for line in getattr(result, column.replace(" ", "_")):
                counts.setdefault(line.split()[0], Counter())[column] += 1
    lines = ["rule    " + "".join(f"{column:>14}" for column in COLUMNS)]
    for code in sorted(counts):
        lines.append(f"{code:8}" + "".join(f"{counts[code][column]:14}" for column in COLUMNS))
    return "\n".join(lines)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path, nargs="+")
    parser.add_argument("--every", type=int, default=1)
    parser.add_argument("--seconds", type=float, help="Begin no script after so long.")
    parser.add_argument("--show", action="store_true")
    parser.add_argument("--why", action="store_true", help="Say why scripts did not run.")
    arguments = parser.parse_args()
    paths: list[Path] = []
    for folder in arguments.folder:
        paths += scripts(folder.resolve()) if folder.is_dir() else [folder.resolve()]
    paths = paths[:: arguments.every]
    warm(paths)
    results = []
    until = time.monotonic() + arguments.seconds if arguments.seconds else None
    for result in study(paths, until):
        results.append(result)
        if arguments.why and not result.ran:
            print(f"{result.path}: did not run: {result.why}", flush=True)
        if arguments.show:
            for column in ("only read", "only watched", "not shown"):
                for line in getattr(result, column.replace(" ", "_")):
                    print(f"{result.path.parent.name}/{result.path.name}: {column}: {line}", flush=True)
    ran = [result for result in results if result.ran]
    agreeing = sum(result.agrees for result in ran)
    print(table(ran))
    share = f" ({100 * agreeing / len(ran):.1f} %)" if ran else ""
    print(f"\n{len(ran)} of {len(results)} scripts ran, {sum(r.steps for r in ran)} steps; {agreeing} agree{share}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
