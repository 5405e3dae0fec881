"""Scripts that are run watched: most in a fork of this process, which has torch already."""

from __future__ import annotations

import importlib.util
import subprocess
import sys
import textwrap
from pathlib import Path
from types import ModuleType

from tricklint.check import Options, run
from tricklint.finding import Finding
from tricklint.report import Report
from tricklint.settings import load
from tricklint.watching.record import Run

ROOT = Path(__file__).parents[2]


def _load(path: Path) -> ModuleType:
    spec = importlib.util.spec_from_file_location(path.stem, path)
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[path.stem] = module
    spec.loader.exec_module(module)
    return module


oracle = _load(ROOT / "bench" / "watch_oracle.py")


def write(folder: Path, name: str, text: str) -> Path:
    path = folder / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(textwrap.dedent(text), encoding="utf-8")
    return path


def tricklint(folder: Path, *arguments: str, timeout: float = 600) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "tricklint", *arguments]
    return subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=timeout)


class Seen:
    """One script, watched: its record, what it printed, and what a check with the record says."""

    def __init__(self, script: Path, *arguments: str, steps: int | None = 50, hooks: bool = True) -> None:
        self.folder = script.parent.parent / f"{script.parent.name}-{script.stem}-{steps}-{hooks}"
        self.folder.mkdir()
        oracle.warm([script])
        record, self.why, _ = oracle.watch(script, self.folder, arguments, steps, hooks)
        self.output = (self.folder / "output.txt").read_text()
        assert record is not None or not hooks, self.output
        self._record: Run | None = record

    @property
    def record(self) -> Run:
        assert self._record is not None
        return self._record

    def report(self, *select: str, only: bool = True, fix: bool = False, config: tuple[str, ...] = ()) -> Report:
        import json

        root = self.record.root
        (self.folder / "job.json").write_text(json.dumps({"root": str(root)}))
        for path in self.folder.glob("record-*.jsonl"):
            lines = path.read_text().splitlines()
            start = json.loads(lines[0])
            lines[0] = json.dumps({**start, "root": str(root)})
            path.write_text("\n".join(lines) + "\n")
        settings = load([root], isolated=True, config=config, options={"select": list(select)} if select else {})
        options = Options(cache=False, watched=self.folder, only_watched=only, fix=fix)
        return run([root], settings, options)

    def findings(self, *select: str, only: bool = True, config: tuple[str, ...] = ()) -> list[Finding]:
        report = self.report(*select, only=only, config=config)
        assert not [problem for problem in report.problems if "crashed on the run" in problem.message], report.problems
        return report.findings

    def places(self, *select: str) -> list[tuple[str, str, int]]:
        return [(one.code, one.path.name, one.location.row) for one in self.findings(*select)]


def watched(folder: Path, text: str, *arguments: str, steps: int | None = 50, **others: str) -> Seen:
    """A script of that text, with other files beside it."""
    project = folder / "project"
    for name, other in others.items():
        write(project, f"{name}.py", other)
    return Seen(write(project, "train.py", text), *arguments, steps=steps)
