"""Keep the run inside its copy of the project: files shared with the original are made private before they are
written, and whatever would write into the original itself is refused.

Python's audit hook sees every `open` of Python code; `torch.save` writes from C++ and is wrapped. What other C code
writes (OpenCV, HDF5) or a child process is not seen: it writes into the copy, where only big files are shared, and the
engine compares the originals' sizes and times afterwards.
"""

from __future__ import annotations

import functools
import importlib.abc
import os
import shutil
import sys
from collections.abc import Callable
from typing import Any

_WRITING = os.O_WRONLY | os.O_RDWR | os.O_APPEND | os.O_CREAT | os.O_TRUNC


class OriginalTouched(PermissionError):
    """The script wanted to write into the original project."""


def make_private(path: str) -> None:
    """Give a hard-linked or symlinked file its own bytes, in place."""
    copy = f"{path}.private{os.getpid()}"
    shutil.copy2(path, copy)
    os.replace(copy, path)


def guard(root: str, original: str, allowed: tuple[str, ...]) -> Callable[[str], None]:
    """Install the guard for a copy at `root` of the project at `original`; `allowed` are folders of ours inside the
    original (.tricklint). Returns the check that the wrapped writers call."""
    root, original = os.path.realpath(root), os.path.realpath(original)
    free = tuple(os.path.realpath(folder) + os.sep for folder in (root, *allowed))
    busy = [False]

    def before_write(path: str) -> None:
        full = os.path.abspath(path)
        inside_copy = (os.path.realpath(os.path.dirname(full)) + os.sep).startswith(free[0])
        real = os.path.realpath(full)
        if inside_copy and os.path.isfile(full):
            if os.path.islink(full) or os.stat(full).st_nlink > 1:
                make_private(full)
            return
        if real.startswith(original + os.sep) and not real.startswith(free):
            raise OriginalTouched(13, "tricklint verify: the run may not write into the original project", real)

    def hook(event: str, args: tuple[Any, ...]) -> None:
        if busy[0] or event not in ("open", "os.truncate", "os.remove", "os.rename", "shutil.rmtree"):
            return
        path = args[0]
        if not isinstance(path, (str, bytes, os.PathLike)):
            return
        if event == "open" and not (isinstance(args[2], int) and args[2] & _WRITING):
            return
        busy[0] = True
        try:
            name = os.fsdecode(path)
            if event in ("open", "os.truncate"):
                before_write(name)
            else:
                for end in (name, os.fsdecode(args[1])) if event == "os.rename" else (name,):
                    where = os.path.join(os.path.realpath(os.path.dirname(os.path.abspath(end))), os.path.basename(end))
                    if where.startswith(original + os.sep) and not where.startswith(free):
                        raise OriginalTouched(
                            13, "tricklint verify: the run may not change the original project", where
                        )
        finally:
            busy[0] = False

    sys.addaudithook(hook)
    return before_write


def wrap_torch_save(before_write: Callable[[str], None]) -> None:
    import torch

    plain = torch.save

    @functools.wraps(plain)
    def save(obj: Any, f: Any, *args: Any, **kwargs: Any) -> None:
        if isinstance(f, (str, os.PathLike)):
            before_write(os.fspath(f))
        plain(obj, f, *args, **kwargs)

    torch.save = save
    sys.modules["torch.serialization"].save = save  # type: ignore[attr-defined]


def redirect_imports(root: str, original: str) -> None:
    """Import the project from the copy also where it is installed in editable mode (sys.path, setuptools' finders)."""

    def moved(path: str) -> str:
        real = os.path.realpath(path) if path else path
        if real == original or real.startswith(original + os.sep):
            inside = root + real[len(original) :]
            return inside if os.path.exists(inside) else path
        return path

    original, root = os.path.realpath(original), os.path.realpath(root)
    sys.path[:] = [moved(path) if path and "site-packages" not in path else path for path in sys.path]
    for name, module in list(sys.modules.items()):
        mapping = getattr(module, "MAPPING", None)
        if name.startswith("__editable__") and isinstance(mapping, dict):
            mapping.update({key: moved(value) for key, value in mapping.items()})
    importlib.invalidate_caches()
