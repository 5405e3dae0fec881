"""Copies of a project in which its training script runs, so that the user's files are never touched.

Small files are copied; big ones are symlinked, so that what writes through the link meets the run's sandbox
(`tricklint.verify.runner.box`) and not the original's bytes; folders that hold thousands of files and no code are
symlinked whole. The runner makes a shared file private before Python code writes to it (`tricklint.verify.runner.files`).
"""

from __future__ import annotations

import hashlib
import os
import shutil
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

SKIPPED = frozenset(
    (".git", ".hg", ".svn", ".tricklint", ".tox", ".nox", ".venv", "venv", "node_modules", "__pycache__", ".eggs")
) | frozenset(
    (".tricklint_cache", ".mypy_cache", ".pytest_cache", ".ruff_cache", ".ipynb_checkpoints", ".idea", ".vscode")
)
COPIED_UP_TO = 1 << 20  # bytes of one file; what is bigger is linked
COPIED_IN_ALL = 64 << 20  # bytes of small files in one copy
MANY_FILES = 2000  # a folder without code and with more files than this is linked whole
CODE = (".py", ".pyx", ".toml", ".cfg", ".ini", ".yaml", ".yml", ".json", ".ipynb")


@dataclass
class Project:
    """What one look at the project's folder found. Paths are relative to `root`."""

    root: Path
    folders: list[str] = field(default_factory=list)
    copied: list[str] = field(default_factory=list)
    linked: list[str] = field(default_factory=list)
    linked_folders: list[str] = field(default_factory=list)
    stamps: dict[str, tuple[int, int, int]] = field(default_factory=dict)  # size, time, mode
    total_bytes: int = 0

    @classmethod
    def scan(cls, root: Path) -> Project:
        project = cls(root.resolve())
        project._visit("")
        copied = 0
        for name in list(project.copied):
            copied += project.stamps[name][0]
            if copied > COPIED_IN_ALL and not name.endswith(CODE):
                project.copied.remove(name)
                project.linked.append(name)
        return project

    def _visit(self, folder: str) -> None:
        files, folders = [], []
        with os.scandir(self.root / folder) as entries:
            for entry in sorted(entries, key=lambda e: e.name):
                name = f"{folder}/{entry.name}" if folder else entry.name
                if entry.is_dir(follow_symlinks=False):
                    if entry.name not in SKIPPED and not os.path.exists(os.path.join(entry.path, "pyvenv.cfg")):
                        folders.append(name)
                elif entry.is_symlink() or not entry.is_file():
                    if os.path.isdir(entry.path):
                        self.linked_folders.append(name)
                    elif os.path.isfile(entry.path):
                        self.linked.append(name)
                else:
                    files.append((name, entry.stat()))
        if folder and len(files) > MANY_FILES and not folders and not any(n.endswith(".py") for n, _ in files):
            self.linked_folders.append(folder)
            return
        if folder:
            self.folders.append(folder)
        for name, stat in files:
            self.stamps[name] = _stamp(stat)
            self.total_bytes += stat.st_size
            (self.copied if stat.st_size <= COPIED_UP_TO or name.endswith(".py") else self.linked).append(name)
        for name in folders:
            self._visit(name)

    def copy(self, target: Path, edits: Mapping[str, str | bytes] | None = None) -> Path:
        """Make a copy at `target`, with the files of `edits` (relative name → text) in place of the originals."""
        target.mkdir(parents=True)
        for folder in self.folders:
            os.makedirs(target / folder, exist_ok=True)
        for name in self.linked_folders:
            os.symlink((self.root / name).resolve(), target / name)
        for name in self.copied:
            if not edits or name not in edits:
                shutil.copy2(self.root / name, target / name)
        for name in self.linked:
            source = (self.root / name).resolve()
            try:
                os.symlink(source, target / name)
            except OSError:  # a system or a file system without them
                shutil.copy2(source, target / name)
        for name, text in (edits or {}).items():
            path = target / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(text if isinstance(text, bytes) else text.encode("utf-8", errors="surrogateescape"))
            if (self.root / name).exists():
                shutil.copymode(self.root / name, path)
        return target

    def changed(self) -> list[str]:
        """Files and folders of the original that differ from when they were first seen, are gone, or are new."""
        now = Project.scan(self.root)
        found = [name for name, stamp in self.stamps.items() if now.stamps.get(name) != stamp]
        found += [f"{name} (new)" for name in now.stamps if name not in self.stamps]
        before = {*self.folders, *self.linked, *self.linked_folders}
        after = {*now.folders, *now.linked, *now.linked_folders}
        found += [f"{name} (new)" for name in sorted(after - before) if name not in now.stamps]
        found += [f"{name} (gone)" for name in sorted(before - after) if name not in self.stamps]
        return found

    def digest(self) -> str:
        """Identifies the code: a hash of every Python file's name and bytes."""
        total = hashlib.sha256()
        for name in sorted(n for n in self.stamps if n.endswith(".py")):
            total.update(name.encode() + b"\0" + (self.root / name).read_bytes() + b"\0")
        return total.hexdigest()[:16]


def _stamp(stat: os.stat_result) -> tuple[int, int, int]:
    return (stat.st_size, stat.st_mtime_ns, stat.st_mode)
