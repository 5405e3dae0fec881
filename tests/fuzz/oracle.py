"""What must hold of every program, however odd: checked in a process of its own, which is watched."""

from __future__ import annotations

import ast
import json
import os
import shutil
import signal
import tempfile
import time
import warnings
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

from tricklint.check import Options, run
from tricklint.finding import FixLevel
from tricklint.report import Report
from tricklint.settings import load

SECONDS = 10
MEGABYTES = 500


@dataclass(frozen=True)
class Outcome:
    """`broken`: what does not hold (empty: all holds). `codes`: how often each rule spoke."""

    broken: str
    codes: Mapping[str, int]
    seconds: float = 0.0
    megabytes: int = 0


def judge(files: Mapping[str, bytes], *, fix: bool = True) -> Outcome:
    """Check and mend some files in a child process. It may neither fail nor take long nor grow."""
    _warm()
    read_end, write_end = os.pipe()
    started = time.monotonic()
    child = os.fork()
    if child == 0:
        try:
            os.close(read_end)
            signal.alarm(6 * SECONDS)
            with open("/proc/self/clear_refs", "w") as file:  # the peak counts from here
                file.write("5")
        except OSError:
            pass
        try:
            message = json.dumps(_look(files, fix))
        except BaseException as error:
            import traceback

            last = traceback.extract_tb(error.__traceback__)[-1]
            message = json.dumps(
                {"broken": f"{type(error).__name__}: {error} ({last.filename}:{last.lineno})"[:400], "codes": {}}
            )
        try:
            os.write(write_end, message.encode("ascii")[:60000])
        finally:
            os._exit(0)
    os.close(write_end)
    data = b""
    while part := os.read(read_end, 65536):
        data += part
    os.close(read_end)
    status = os.waitpid(child, 0)[1]
    spent = time.monotonic() - started
    if os.WIFSIGNALED(status):
        return Outcome(f"died of {signal.Signals(os.WTERMSIG(status)).name} after {spent:.0f} s", {}, spent)
    found: dict[str, Any] = json.loads(data)
    return Outcome(found["broken"], found["codes"], found.get("seconds", spent), found.get("megabytes", 0))


@cache
def _warm() -> None:
    """What every check imports, once for all children."""
    program = (
        b"import torch\nfrom torch import nn\nnet = nn.Linear(2, 2)\nopt = torch.optim.SGD(net.parameters(), lr=1)\n"
    )
    _look({"train.py": program + b"for x in y:\n    net(x).backward()\n    opt.step()\n"}, True)


def _look(files: Mapping[str, bytes], fix: bool) -> dict[str, Any]:
    folder = Path(tempfile.mkdtemp(prefix="fuzz"))
    try:
        for name, data in files.items():
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            (folder / name).write_bytes(data)
        before, base = time.process_time(), _memory("VmRSS")
        settings = load([folder], isolated=True, options={"fix-level": FixLevel.UNSAFE.value, "extend-select": ["ALL"]})
        report = run([folder], settings, Options(cache=False))
        seconds = time.process_time() - before
        broken = _problems(report) or _ranges(report)
        if not broken and seconds > SECONDS:
            broken = f"took {seconds:.0f} s"
        if not broken and fix and any(finding.fix for finding in report.findings):
            broken = _mending(folder, settings)
        peak = max(_memory("VmHWM") - base, 0)  # what the tests before have imported is not the program's
        if not broken and peak > MEGABYTES:
            broken = f"took {peak} MB"
        return {
            "broken": broken,
            "codes": Counter(finding.code for finding in report.findings),
            "seconds": seconds,
            "megabytes": peak,
        }
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _memory(what: str) -> int:
    """The process' memory now (VmRSS) or at its peak (VmHWM), in MB; 0 where the system does not tell."""
    try:
        status = Path("/proc/self/status").read_text()
    except OSError:
        return 0
    return next((int(line.split()[1]) // 1024 for line in status.splitlines() if line.startswith(what)), 0)


def _problems(report: Report) -> str:
    return next((problem.message for problem in report.problems if "crashed" in problem.message), "")


def _ranges(report: Report) -> str:
    for finding in report.findings:
        spots = [finding, *finding.evidence, *(finding.fix.edits if finding.fix else ())]
        for spot in spots:
            source = report.sources.get(spot.path)
            if source is None:
                return f"{finding.code}: {spot.path.name} is not among the sources"
            for at in (spot.location, spot.end_location):
                rows = source.lines
                if not 1 <= at.row <= len(rows) or not 1 <= at.column <= len(rows[at.row - 1]) + 1:
                    return f"{finding.code}: row {at.row}, column {at.column} is not in the file"
            if spot.end_location < spot.location:
                return f"{finding.code}: ends before it starts"
    return ""


def _mending(folder: Path, settings: Any) -> str:
    readable = {path: _parses(path.read_bytes()) for path in folder.rglob("*.py")}
    first = run([folder], settings, Options(fix=True, cache=False))
    broken = _problems(first)
    if broken:
        return f"--fix: {broken}"
    for path, could in readable.items():
        if could and not _parses(path.read_bytes()):
            return f"--fix: {path.name} no longer parses"
    texts = {path: path.read_bytes() for path in readable}
    second = run([folder], settings, Options(fix=True, cache=False))
    if second.fixed or any(path.read_bytes() != data for path, data in texts.items()):
        return f"--fix: a second run mends {', '.join(sorted({f.code for f in second.fixed})) or 'something'}"
    return ""


def _parses(data: bytes) -> bool:
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            ast.parse(data)
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        return False
    return True
