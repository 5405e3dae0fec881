"""Facts kept between runs: valid while every local file the build loaded, and torch, are what they were."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any

from tricklint.source.vault import Vault
from tricklint.trace.facts import SCHEMA, Failure, ModelFacts
from tricklint.trace.targets import Target

_KIND = "trace"
_KEPT = 500  # targets


def digest(path: str | Path) -> str:
    """SHA-256 of a file's bytes, "" when it cannot be read."""
    try:
        return hashlib.sha256(Path(path).read_bytes()).hexdigest()
    except OSError:
        return ""


class Cache:
    """One JSON entry a target in the vault `folder`. Never raises for what it finds there; a full disk only means no cache."""

    def __init__(self, folder: Path, environment: str) -> None:
        self._vault = Vault(folder)
        self.environment = environment  # interpreter, torch version, options

    def _key(self, target: Target) -> str:
        text = f"{SCHEMA}\n{self.environment}\n{target.key()}"
        return hashlib.sha256(text.encode()).hexdigest()[:32]

    def load(self, target: Target) -> ModelFacts | Failure | None:
        try:
            entry: dict[str, Any] = json.loads(self._vault.read(_KIND, self._key(target)) or b"{}")
            if not entry["files"] or any(digest(path) != known for path, known in entry["files"].items()):
                return None
            if "failure" in entry:
                found: Failure = Failure.from_dict(entry["failure"])
                return found
            facts: ModelFacts = ModelFacts.from_dict(entry["facts"])
            return facts
        except (OSError, ValueError, KeyError, TypeError, AttributeError, StopIteration, RecursionError):
            return None

    def store(self, target: Target, result: ModelFacts | Failure, files: list[str]) -> None:
        """`files` are the project's files the build loaded; nothing is kept when there are none."""
        hashes = {path: digest(path) for path in files}
        if not hashes or not all(hashes.values()):
            return
        key = "failure" if isinstance(result, Failure) else "facts"
        text = json.dumps({"files": hashes, key: result.to_dict()})
        self._vault.keep(_KIND, self._key(target), text.encode(), _KEPT)


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
