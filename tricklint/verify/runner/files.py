"""Keep a run inside its copy of the project, as far as Python code goes: files shared with the original are made private
before they are written, and where no overlay catches what is written elsewhere (`box`), it is refused with a clear line.

Python's audit hook sees every `open` of Python code and what `os`, `shutil` and `sqlite3` do to names; `torch.save`
writes from C++ and is wrapped. Other C code and child processes are the kernel's part (`box`).
"""

from __future__ import annotations

import errno
import functools
import importlib
import os
import shutil
import sys
from collections.abc import Callable
from importlib import machinery
from typing import Any

_WRITING = os.O_WRONLY | os.O_RDWR | os.O_APPEND | os.O_CREAT | os.O_TRUNC
# Audit events on what a file holds or is, with the place of the path; and on names, with those of the names.
_CONTENTS = {"os.truncate": 0, "os.chmod": 0, "os.chown": 0, "os.utime": 0, "os.setxattr": 0, "os.removexattr": 0}
_NAMES = {
    "os.remove": (0,),
    "os.rmdir": (0,),
    "os.mkdir": (0,),
    "os.rename": (0, 1),
    "os.link": (1,),
    "os.symlink": (1,),
    "shutil.rmtree": (0,),
}
_HARMLESS = ("/dev", "/proc")
MOST = 50  # refused paths that are kept


class OriginalTouched(PermissionError):
    """The script wanted to write outside of its copy of the project."""


def make_private(path: str) -> None:
    """Give a hard-linked or symlinked file its own bytes, in place."""
    copy = f"{path}.private{os.getpid()}"
    shutil.copy2(path, copy)
    os.replace(copy, path)


class Guard:
    """The guard for a copy at `root` of the project at `original`; `places` are the run's own folders. Unless `caught`
    (then overlays take what is written elsewhere), a write outside of them is refused and noted in `refused`."""

    def __init__(self, root: str, original: str, places: tuple[str, ...], caught: bool = False) -> None:
        self.root = os.path.realpath(root) + os.sep
        self.original = os.path.realpath(original) + os.sep
        self.free = tuple(os.path.realpath(place) + os.sep for place in (root, *places, *_HARMLESS))
        self.caught = caught
        self.refused: list[str] = []
        self.busy = False

    def install(self) -> None:
        sys.addaudithook(self._audit)
        if self.caught:
            _move_across()

    def before_write(self, path: str, emptied: bool = False) -> None:
        """A file is about to be written; `emptied`: what it holds now is not needed."""
        full = os.path.abspath(path)
        if (os.path.realpath(os.path.dirname(full)) + os.sep).startswith(self.root):
            if os.path.isfile(full) and (os.path.islink(full) or os.stat(full).st_nlink > 1):
                if emptied:
                    os.remove(full)
                else:
                    make_private(full)
                return
            if not os.path.lexists(full) or not os.path.islink(full):
                return
        self._allow(os.path.realpath(full))

    def _before_naming(self, path: str) -> None:
        full = os.path.abspath(path)
        self._allow(os.path.join(os.path.realpath(os.path.dirname(full)), os.path.basename(full)))

    def _allow(self, real: str) -> None:
        if self.caught or real.startswith(self.free) or real + os.sep in self.free:
            return
        if real not in self.refused and len(self.refused) < MOST:
            self.refused.append(real)
        where = "into the original project" if real.startswith(self.original) else "outside of its copy of the project"
        raise OriginalTouched(errno.EACCES, f"tricklint verify: the run may not write {where}", real)

    def _audit(self, event: str, args: tuple[Any, ...]) -> None:
        if event != "open" and event not in _CONTENTS and event not in _NAMES and event != "sqlite3.connect":
            return
        if self.busy:
            return
        self.busy = True
        try:
            if event == "open":
                if isinstance(args[2], int) and args[2] & _WRITING and (name := _path(args[0])) is not None:
                    self.before_write(name, bool(args[2] & os.O_TRUNC and args[2] & os.O_CREAT))
            elif event in _CONTENTS:
                if (name := _path(args[0])) is not None and _plain(event, args):
                    self.before_write(name)
            elif event == "sqlite3.connect":
                name = _path(args[0])
                # A database that is there may be only read: the kernel sees to it, where it can.
                if name and not name.startswith((":", "file:")) and not os.path.exists(name):
                    self.before_write(name)
            elif _plain(event, args):
                names = [_path(args[place]) for place in _NAMES[event]]
                if event == "os.mkdir" and names[0] is not None and os.path.isdir(names[0]):
                    return  # it will say that the folder exists
                for name in names:
                    if name is not None:
                        self._before_naming(name)
        finally:
            self.busy = False


def own_output(word: str, aside: str) -> str:
    """A word of the command where no overlay catches writes: a path to something that is not there yet is an output,
    which goes to a folder of the run's own; `--out=/x` like `/x`. Everything else stays as it is."""
    option, equals, value = word.rpartition("=") if word.startswith("-") else ("", "", word)
    path = os.path.expanduser(value)
    if not os.path.isabs(path) or os.path.lexists(path):
        return word
    place = os.path.join(aside, os.path.relpath(path, os.path.abspath(os.sep)))
    os.makedirs(os.path.dirname(place), exist_ok=True)
    return f"{option}{equals}{place}"


def _path(value: Any) -> str | None:
    return os.fsdecode(value) if isinstance(value, (str, bytes, os.PathLike)) else None


def _plain(event: str, args: tuple[Any, ...]) -> bool:
    """Whether the names are relative to the working folder. Else they are relative to an open folder (`dir_fd`), which
    was judged by its whole tree (`shutil.rmtree`)."""
    if event in ("os.truncate", "os.setxattr", "os.removexattr"):
        return True
    folders = args[-2:] if event in ("os.rename", "os.link") else args[-1:]
    return not any(isinstance(value, int) and value != -1 for value in folders)


def _move_across() -> None:
    """Let files be moved between overlays and the copy, which are one disk without tricklint."""

    def wrap(plain: Callable[..., None]) -> Callable[..., None]:
        @functools.wraps(plain)
        def move(src: Any, dst: Any, **options: Any) -> None:
            try:
                plain(src, dst, **options)
            except OSError as error:
                if error.errno != errno.EXDEV or options:
                    raise
                if os.path.isdir(src) and not os.path.islink(src):
                    if os.path.isdir(dst):
                        os.rmdir(dst)
                    shutil.copytree(src, dst, symlinks=True)
                    shutil.rmtree(src)
                else:
                    partial = f"{os.fsdecode(dst)}.moved{os.getpid()}"
                    shutil.copy2(src, partial, follow_symlinks=False)
                    plain(partial, dst)
                    os.unlink(src)

        return move

    os.rename, os.replace = wrap(os.rename), wrap(os.replace)


def wrap_torch_save(before_write: Callable[..., None]) -> None:
    import torch

    plain = torch.save

    @functools.wraps(plain)
    def save(obj: Any, f: Any, *args: Any, **kwargs: Any) -> None:
        if isinstance(f, (str, os.PathLike)):
            before_write(os.fspath(f), True)
        plain(obj, f, *args, **kwargs)

    torch.save = save
    sys.modules["torch.serialization"].save = save  # type: ignore[attr-defined]


def redirect_imports(root: str, original: str) -> None:
    """Import the project from the copy also where it is installed in editable mode (sys.path, setuptools' finders) or
    the script puts the original's folder on sys.path."""
    original, root = os.path.realpath(original), os.path.realpath(root)

    def moved(path: str) -> str:
        real = os.path.realpath(path) if path else path
        if real.startswith(root + os.sep):  # the copies lie inside the original
            return path
        if real == original or real.startswith(original + os.sep):
            inside = root + real[len(original) :]
            return inside if os.path.exists(inside) else path
        return path

    def hook(path: str) -> Any:
        inside = moved(path) if path and "site-packages" not in path else path
        if inside == path:
            raise ImportError("not in the original project")
        return machinery.FileFinder(
            inside,
            (machinery.ExtensionFileLoader, machinery.EXTENSION_SUFFIXES),
            (machinery.SourceFileLoader, machinery.SOURCE_SUFFIXES),
            (machinery.SourcelessFileLoader, machinery.BYTECODE_SUFFIXES),
        )

    sys.path[:] = [moved(path) if path and "site-packages" not in path else path for path in sys.path]
    for name, module in list(sys.modules.items()):
        mapping = getattr(module, "MAPPING", None)
        if name.startswith("__editable__") and isinstance(mapping, dict):
            mapping.update({key: moved(value) for key, value in mapping.items()})
    sys.path_hooks.insert(0, hook)
    sys.path_importer_cache.clear()
    importlib.invalidate_caches()
