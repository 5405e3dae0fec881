"""Facts kept between runs: valid while every local file the build loaded, and torch, are what they were."""

from __future__ import annotations

import hashlib
import json
import os
from pathlib import Path
from typing import Any

from tricklint.trace.facts import SCHEMA, Failure, ModelFacts
from tricklint.trace.targets import Target


def digest(path: str | Path) -> str:
    """SHA-256 of a file's bytes, "" when it cannot be read."""
    try:
        return hashlib.sha256(Path(path).read_bytes()).hexdigest()
    except OSError:
        return ""


class Cache:
    """One JSON file a target in `folder`. Never raises for what it finds there; a full disk only means no cache."""

    def __init__(self, folder: Path, environment: str) -> None:
        self.folder = folder
        self.environment = environment  # interpreter, torch version, options

    def _file(self, target: Target) -> Path:
        text = f"{SCHEMA}\n{self.environment}\n{target.key()}"
        return self.folder / f"{hashlib.sha256(text.encode()).hexdigest()[:32]}.json"

    def load(self, target: Target) -> ModelFacts | Failure | None:
        try:
            entry: dict[str, Any] = json.loads(self._file(target).read_text(encoding="utf-8"))
            if not entry["files"] or any(digest(path) != known for path, known in entry["files"].items()):
                return None
            if "failure" in entry:
                found: Failure = Failure.from_dict(entry["failure"])
                return found
            facts: ModelFacts = ModelFacts.from_dict(entry["facts"])
            return facts
        except (OSError, ValueError, KeyError, TypeError, AttributeError, StopIteration):
            return None

    def store(self, target: Target, result: ModelFacts | Failure, files: list[str]) -> None:
        """`files` are the project's files the build loaded; nothing is kept when there are none."""
        hashes = {path: digest(path) for path in files}
        if not hashes or not all(hashes.values()):
            return
        key = "failure" if isinstance(result, Failure) else "facts"
        text = json.dumps({"files": hashes, key: result.to_dict()})
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
            ignore = self.folder.parent / ".gitignore"
            if self.folder.parent.name == ".tricklint_cache" and not ignore.exists():
                ignore.write_text("*\n", encoding="utf-8")
            part = self._file(target).with_suffix(f".{os.getpid()}.part")
            part.write_text(text, encoding="utf-8")
            part.replace(self._file(target))
        except OSError:
            return


# What may turn out differently another time is not kept.
KEPT_FAILURES = frozenset({"import", "blocked", "exit", "error", "unknown", "missing"})


def torch_version(python: str) -> str:
    """The torch version `python` would import, without importing it; "" when there is none (or no such python)."""
    import subprocess
    import sys

    if Path(python).resolve() == Path(sys.executable).resolve():
        from importlib.metadata import PackageNotFoundError, version

        try:
            return version("torch")
        except PackageNotFoundError:
            return ""
    code = "import importlib.metadata as m; print(m.version('torch'))"
    try:
        done = subprocess.run([python, "-c", code], capture_output=True, text=True, timeout=30)
    except (OSError, subprocess.SubprocessError):
        return ""
    return done.stdout.strip() if done.returncode == 0 else ""
