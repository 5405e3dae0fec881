"""This side of the worker: start it, hand it targets, take facts or one clear line. Imports no torch."""

from __future__ import annotations

import contextlib
import json
import os
import select
import subprocess
import sys
import time
from collections.abc import Iterable
from pathlib import Path
from types import TracebackType
from typing import Any

from tricklint.trace.cache import KEPT_FAILURES, Cache, torch_version
from tricklint.trace.facts import Failure, ModelFacts, Site
from tricklint.trace.targets import MEMORY_MB, SECONDS, Target, roots
from tricklint.trace.worker.strip import imported

START_SECONDS = 120.0
_PRELOAD = frozenset({"torchvision", "timm", "transformers", "segmentation_models_pytorch", "monai", "numpy", "scipy",
                      "torch_geometric", "lightning", "pytorch_lightning", "einops", "pandas", "matplotlib",
                      "sklearn", "PIL", "cv2", "torchaudio", "torchmetrics", "accelerate"})  # fmt: skip


class WorkerError(Exception):
    """The worker could not be started at all: no such interpreter, no torch in it, no fork on this system."""


class Worker:
    """A worker process. Use as a context manager; it starts with the first target."""

    def __init__(
        self,
        root: Path,
        *,
        python: str | Path | None = None,
        src: Iterable[Path] = (),
        seconds: float = SECONDS,
        memory_mb: int = MEMORY_MB,
        cache_dir: Path | None = None,
        signal: str = "auto",
        export: bool = True,
        keep: bool = True,
    ) -> None:
        """`root` is the project's folder; `signal` "auto", "always" or "never"; `keep=False` reads and writes no cache.

        `cache_dir` defaults to `.tricklint_cache` below `root`.
        """
        self.root = root.resolve()
        self.python = str(python or sys.executable)
        self.src = tuple(src)
        self.seconds, self.memory_mb, self.signal, self.export = seconds, memory_mb, signal, export
        self.torch = ""
        self.process: subprocess.Popen[bytes] | None = None
        self.preloaded: set[str] = set()
        self.buffer = b""
        self.cache: Cache | None = None
        if keep:
            self.torch = torch_version(self.python)
            options = f"{os.path.abspath(self.python)}|{self.torch}|{seconds}|{memory_mb}|{signal}|{export}"
            self.cache = Cache(cache_dir or self.root / ".tricklint_cache", options)

    def __enter__(self) -> Worker:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """End the worker process."""
        process, self.process = self.process, None
        if process is None:
            return
        with contextlib.suppress(OSError):
            assert process.stdin is not None
            process.stdin.close()
        try:
            process.wait(timeout=2)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
        assert process.stdout is not None
        process.stdout.close()

    def start(self) -> float:
        """Start the process now; returns the seconds it took. Raises WorkerError."""
        started = time.monotonic()
        if not hasattr(os, "fork"):
            raise WorkerError("--trace needs os.fork: run it on Linux, macOS or WSL")
        boot = Path(__file__).parent / "worker" / "boot.py"
        environment = {
            **{k: v for k, v in os.environ.items() if k not in ("PYTHONPATH", "PYTHONSTARTUP", "PYTHONHOME")},
            "CUDA_VISIBLE_DEVICES": "", "PYTHONDONTWRITEBYTECODE": "1", "HF_HUB_OFFLINE": "1", "MPLBACKEND": "Agg",
            "TRANSFORMERS_OFFLINE": "1", "WANDB_MODE": "disabled", "OMP_NUM_THREADS": "1", "MKL_NUM_THREADS": "1",
            "TOKENIZERS_PARALLELISM": "false", "TRANSFORMERS_VERBOSITY": "error", "PYTHONUNBUFFERED": "1",
        }  # fmt: skip
        try:
            self.process = subprocess.Popen(
                [self.python, str(boot)],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.DEVNULL,
                env=environment,
                cwd=str(self.root),
            )
        except OSError as error:
            raise WorkerError(f"{self.python} cannot be started: {error.strerror or error}") from error
        answer = self._answer(START_SECONDS)
        if answer is None or "error" in answer:
            self.close()
            why = (answer or {}).get("error", f"{self.python} did not start the tracer (is it a Python 3.10 or newer?)")
            raise WorkerError(str(why))
        self.torch = str(answer["torch"])
        self.preloaded = set()
        return time.monotonic() - started

    def _answer(self, seconds: float) -> dict[str, Any] | None:
        """The next line of the worker, None when it died or took too long."""
        assert self.process is not None and self.process.stdout is not None
        end = self.process.stdout.fileno()
        deadline = time.monotonic() + seconds
        while b"\n" not in self.buffer:
            ready, _, _ = select.select([end], [], [], max(0.0, deadline - time.monotonic()))
            data = os.read(end, 1 << 20) if ready else b""
            if not data:
                return None
            self.buffer += data
        line, _, self.buffer = self.buffer.partition(b"\n")
        answer: dict[str, Any] = json.loads(line)
        return answer

    def _order(self, order: dict[str, Any], seconds: float) -> dict[str, Any] | None:
        assert self.process is not None and self.process.stdin is not None
        try:
            self.process.stdin.write(json.dumps(order, default=str).encode() + b"\n")
            self.process.stdin.flush()
        except OSError:
            return None
        return self._answer(seconds)

    def preload(self, names: Iterable[str]) -> None:
        """Import packages in the worker itself, so that no child has to. One that kills it is simply not preloaded."""
        wanted = sorted(set(names) - self.preloaded)
        if not wanted:
            return
        if self.process is None:
            self.start()
        if self._order({"preload": wanted}, START_SECONDS) is None:
            self.close()
            self.buffer = b""
            self.start()
        self.preloaded |= set(wanted)

    def trace(self, target: Target) -> ModelFacts | Failure:
        """Facts about one target, or why there are none. Raises WorkerError when no worker can run."""
        if self.cache is not None:
            known = self.cache.load(target)
            if known is not None:
                return known
        if self.process is None:
            self.start()
        own, path = roots(self.root, self.src, target)
        self.preload(self._packages(target))
        job = {
            "target": target.factory,
            "args": list(target.args),
            "kwargs": target.kwargs,
            "input": target.input,
            "optimizer": target.optimizer,
            "roots": own,
            "path": path,
            "cwd": str(self.root),
            "seconds": self.seconds,
            "memory_mb": self.memory_mb,
            "signal": self.signal,
            "export": self.export,
        }
        answer = self._order({"job": job}, self.seconds + 15.0)
        if answer is None or "done" not in answer:
            self.close()
            self.buffer = b""
            return Failure(target.name, "crash", "the tracing process died; it is started anew for the next model")
        result, files = self._read(target, answer["done"])
        if self.cache is not None and (isinstance(result, ModelFacts) or result.cause in KEPT_FAILURES):
            self.cache.store(target, result, files)
        return result

    def _read(self, target: Target, done: dict[str, Any]) -> tuple[ModelFacts | Failure, list[str]]:
        files = [str(file) for file in done.get("files", ())]
        if "facts" not in done:
            failure: Failure = Failure.from_dict(done["failure"])
            failure.target, failure.site = target.name, self.relative(failure.site)
            return failure, files
        facts: ModelFacts = ModelFacts.from_dict(done["facts"])
        facts.target = target.name
        for layer in facts.layers:
            layer.output_std = done.get("signal", {}).get(layer.path, layer.output_std)
        facts.signal_note = done.get("note", facts.signal_note)
        facts.seconds = done.get("seconds", facts.seconds)
        facts.cpu_seconds = done.get("cpu_seconds", facts.cpu_seconds)
        facts.site = self.relative(facts.site)
        facts.sites = {name: self.relative(site) or site for name, site in facts.sites.items()}
        if facts.optimizer is not None:
            facts.optimizer.site = self.relative(facts.optimizer.site)
        return facts, files

    def relative(self, site: Site | None) -> Site | None:
        """A site with an absolute path made relative to the project's folder, where it lies inside."""
        if site is None:
            return None
        with contextlib.suppress(ValueError):
            return Site(str(Path(site.path).relative_to(self.root)), site.row, site.end_row, site.name)
        return site

    def _packages(self, target: Target) -> set[str]:
        """Known third-party packages that the target's file and its local neighbours import."""
        where = target.factory.rpartition(":")[0] or target.factory
        folders = (self.root, self.root / "src", *self.src)
        inner = Path(*where.split("."))
        names_of = [inner.with_suffix(".py"), inner / "__init__.py"]
        first = [Path(where)] if where.endswith(".py") else [folder / name for folder in folders for name in names_of]
        names: set[str] = {where.split(".")[0]} if not where.endswith(".py") else set()
        seen: set[Path] = set()
        waiting = list(first)
        while waiting and len(seen) < 200:
            file = waiting.pop()
            if file in seen or not file.is_file():
                continue
            seen.add(file)
            found = imported(file.read_bytes())
            names |= found
            for name in found:
                waiting += [folder / f"{name}.py" for folder in (file.parent, *folders)]
        return names & _PRELOAD
