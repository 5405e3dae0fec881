"""Imports of the project's own files: stripped of what runs at the top level, stubbed where a package is missing."""

from __future__ import annotations

import importlib.abc
import importlib.machinery
import importlib.util
import os
import sys
from collections.abc import Sequence
from pathlib import Path
from types import ModuleType
from typing import Any

from tricklint.trace.worker import strip, stubs
from tricklint.trace.worker.guard import Guard


class UserFinder(importlib.abc.MetaPathFinder):
    """First on sys.meta_path: takes over every .py file below the roots that is not in site-packages."""

    def __init__(self, guard: Guard) -> None:
        self.guard = guard
        self.loaded: dict[str, dict[str, int]] = {}  # file → names dropped from it
        self.missing: set[str] = set()

    def find_spec(
        self, fullname: str, path: Sequence[str] | None = None, target: ModuleType | None = None
    ) -> importlib.machinery.ModuleSpec | None:
        spec = importlib.machinery.PathFinder.find_spec(fullname, path)
        if spec is None or spec.origin is None or not spec.origin.endswith(".py"):
            return None
        if not self.guard.is_user(os.path.abspath(spec.origin)):
            return None
        spec.loader = UserLoader(fullname, os.path.abspath(spec.origin), self)
        return spec

    def is_missing(self, top: str) -> bool:
        """Not importable at all: neither loaded, nor built in, nor found."""
        if top in sys.modules or top in sys.builtin_module_names or top in sys.stdlib_module_names:
            return False
        try:
            absent = importlib.util.find_spec(top) is None
        except (ImportError, ValueError, AttributeError):
            absent = True
        if absent:
            self.missing.add(top)
        return absent


class UserLoader(importlib.machinery.SourceFileLoader):
    def __init__(self, name: str, path: str, finder: UserFinder) -> None:
        super().__init__(name, path)
        self.finder = finder

    def get_code(self, fullname: str) -> Any:
        text = Path(self.path).read_bytes()
        tree, dropped = strip.strip(text, self.path, self.finder.is_missing)
        self.finder.loaded[self.path] = dropped
        return compile(tree, self.path, "exec", dont_inherit=True)

    def exec_module(self, module: ModuleType) -> None:
        module.__dict__["__tricklint_stub__"] = stubs.Stub
        super().exec_module(module)


def module_name(file: Path) -> tuple[str, Path]:
    """(dotted name, folder to put on sys.path) of a file, by the packages it lies in."""
    folder = file.parent
    parts = [] if file.name == "__init__.py" else [file.stem]
    while (folder / "__init__.py").exists() and folder.parent != folder and folder.name.isidentifier():
        parts.insert(0, folder.name)
        folder = folder.parent
    return ".".join(parts), folder
