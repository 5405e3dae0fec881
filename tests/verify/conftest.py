"""Fixtures of the verify tests."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("torch")
pytest.importorskip("scipy")

from tricklint.verify.engines.local import LocalEngine

from .helpers import MODEL, TRAIN


@pytest.fixture
def project(tmp_path: Path) -> Path:
    """The tiny project's folder."""
    root = tmp_path / "project"
    root.mkdir()
    (root / "train.py").write_text(TRAIN)
    (root / "model.py").write_text(MODEL)
    return root


@pytest.fixture(scope="session")
def engine() -> Any:
    """One engine for all tests: its servers have torch imported."""
    found = LocalEngine(workers=2, preload=["torch", "torch._dynamo", "pandas"])
    yield found
    found.close()
