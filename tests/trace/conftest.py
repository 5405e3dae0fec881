"""One worker for the whole folder: starting it imports torch, which takes seconds."""

from __future__ import annotations

import textwrap
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tricklint.trace.client import Worker
from tricklint.trace.facts import Failure, ModelFacts
from tricklint.trace.targets import Target

pytest.importorskip("torch", reason="these tests build models")


@pytest.fixture(scope="session")
def worker(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Worker]:
    """Started once; tests set its root."""
    with Worker(tmp_path_factory.mktemp("home"), keep=False, seconds=20, memory_mb=4096) as running:
        running.start()
        yield running


Tracer = Callable[..., "ModelFacts | Failure"]


@pytest.fixture
def trace(worker: Worker, tmp_path: Path) -> Tracer:
    """trace({"models.py": "…"}, "models.py:Net", seconds=…) over a throw-away project."""

    def run(files: dict[str, str], target: str, seconds: float = 20, **more: object) -> ModelFacts | Failure:
        for name, text in files.items():
            path = tmp_path / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(textwrap.dedent(text), encoding="utf-8")
        worker.root, worker.seconds = tmp_path.resolve(), seconds
        where, _, name = target.partition(":")
        factory = f"{tmp_path.resolve() / where}:{name}" if where.endswith(".py") else target
        return worker.trace(Target(target, factory, **more))  # type: ignore[arg-type]

    return run
