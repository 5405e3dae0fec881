"""A folder that the tool made for itself. Nothing outside of it is read, written or removed, whatever stands in it.

A folder of this name may have come with somebody's repository: links in it lead anywhere. So the folder is taken only
when it is new, empty or marked as our own, every step into it is opened without following links, files are made
under new names and renamed, and only what bears the name and the first bytes of our own files is removed.
"""

from __future__ import annotations

import os
import re
import stat
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

MARK = "CACHEDIR.TAG"
_MARKED = "Signature: 8a477f597d28d172789f06886806bc55\n# Made by tricklint; may be deleted at any time.\n"
_HEAD = b'{"tricklint":'  # how every entry begins
_ENTRY = re.compile(r"[0-9a-f]{32}\.json")
_TEMPORARY = re.compile(r"[0-9a-zA-Z]+\.[0-9]+\.tmp")
_LARGEST = 64 * 2**20  # bytes of one entry
_STALE = 3600  # seconds after which a temporary file was left behind by a run that was killed

_NO_LINK = getattr(os, "O_NOFOLLOW", 0)
_READ = os.O_RDONLY | _NO_LINK | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_CLOEXEC", 0) | getattr(os, "O_BINARY", 0)
_MAKE = os.O_WRONLY | os.O_CREAT | os.O_EXCL | _NO_LINK | getattr(os, "O_CLOEXEC", 0) | getattr(os, "O_BINARY", 0)
_FOLDER = os.O_RDONLY | _NO_LINK | getattr(os, "O_DIRECTORY", 0) | getattr(os, "O_CLOEXEC", 0)
_HAS_FD = {os.open, os.mkdir, os.stat, os.unlink, os.rename} <= os.supports_dir_fd and os.listdir in os.supports_fd


@dataclass(frozen=True)
class _Folder:
    """An open folder: names in it cannot be led astray, not even while somebody changes the path to it. Where the
    system cannot open folders (Windows), the path is asked for links at each step instead."""

    path: str
    fd: int | None

    @classmethod
    @contextmanager
    def opened(cls, path: str, above: _Folder | None = None) -> Iterator[_Folder]:
        """Raises OSError when there is no such folder, or a link stands in its place."""
        place = os.path.join(above.path, path) if above else path
        if not _HAS_FD:
            if not stat.S_ISDIR(os.lstat(place).st_mode) or os.path.realpath(place) != os.path.join(
                os.path.realpath(os.path.dirname(place)), os.path.basename(place)
            ):
                raise NotADirectoryError(place)
            yield cls(place, None)
            return
        fd = os.open(path, _FOLDER, dir_fd=above.fd if above else None)
        try:
            yield cls(place, fd)
        finally:
            os.close(fd)

    def _name(self, name: str) -> str:
        return name if self.fd is not None else os.path.join(self.path, name)

    def names(self) -> list[str]:
        return os.listdir(self.path if self.fd is None else self.fd)

    def make_folder(self, name: str) -> None:
        with suppress(FileExistsError):
            os.mkdir(self._name(name), dir_fd=self.fd)

    def status(self, name: str) -> os.stat_result:
        return os.stat(self._name(name), dir_fd=self.fd, follow_symlinks=False)

    def read(self, name: str, most: int = _LARGEST) -> bytes:
        """Raises OSError, also for what is no regular file or larger than `most`."""
        if self.fd is None and not stat.S_ISREG(self.status(name).st_mode):
            raise OSError(f"{name} is no regular file")
        handle = os.open(self._name(name), _READ, dir_fd=self.fd)
        with os.fdopen(handle, "rb") as file:
            status = os.fstat(handle)
            if not stat.S_ISREG(status.st_mode) or status.st_size > most:
                raise OSError(f"{name} is no regular file of a usual size")
            return file.read(most)

    def write(self, name: str, data: bytes) -> None:
        """Whole or not at all; what stood under this name, a link too, is replaced and not written to."""
        temporary = f"{name.partition('.')[0]}.{os.getpid()}.tmp"
        with suppress(FileNotFoundError):
            os.unlink(self._name(temporary), dir_fd=self.fd)
        try:
            with os.fdopen(os.open(self._name(temporary), _MAKE, 0o666, dir_fd=self.fd), "wb") as file:
                file.write(data)
            os.rename(self._name(temporary), self._name(name), src_dir_fd=self.fd, dst_dir_fd=self.fd)
        finally:
            with suppress(OSError):
                os.unlink(self._name(temporary), dir_fd=self.fd)

    def remove(self, name: str) -> None:
        with suppress(OSError):
            os.unlink(self._name(name), dir_fd=self.fd)


class Vault:
    """Entries by kind and key below `folder`, which is made with the first entry. Raises nothing: what cannot be read
    is not there, what cannot be written is not kept."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    @property
    def foreign(self) -> bool:
        """Whether something stands there that is not ours: nothing is kept then."""
        if not os.path.lexists(self.folder):
            return False
        try:
            with _Folder.opened(str(self.folder)) as top:
                return not (_is_ours(top) or _is_empty(top))
        except OSError:
            return True

    def read(self, kind: str, key: str) -> bytes | None:
        """What was kept, without the head of an entry."""
        try:
            with _Folder.opened(str(self.folder)) as top:
                if not _is_ours(top):
                    return None
                with _Folder.opened(kind, top) as folder:
                    data = folder.read(f"{key}.json")
        except OSError:
            return None
        return data[len(_HEAD) : -1] if data.startswith(_HEAD) else None

    def keep(self, kind: str, key: str, data: bytes, most: int | None = None) -> None:
        """Keep `data` (JSON) under `key`, and of this kind no more than the `most` youngest entries."""
        with suppress(OSError), self._made() as top:
            top.make_folder(kind)
            with _Folder.opened(kind, top) as folder:
                folder.write(f"{key}.json", _HEAD + data + b"}")
                _tidy(folder, most)

    def clear(self) -> tuple[int, int]:
        """Remove every entry; how many were removed, and how many could not be."""
        removed = left = 0
        with suppress(OSError), _Folder.opened(str(self.folder)) as top:
            for kind in top.names() if _is_ours(top) else ():
                with suppress(OSError), _Folder.opened(kind, top) as folder:
                    ours = [name for name in folder.names() if _ENTRY.fullmatch(name) and _begins_as_ours(folder, name)]
                    for name in ours:
                        folder.remove(name)
                    remaining = len(set(ours).intersection(folder.names()))
                    removed, left = removed + len(ours) - remaining, left + remaining
        return removed, left

    @contextmanager
    def _made(self) -> Iterator[_Folder]:
        if not os.path.lexists(self.folder):
            self.folder.mkdir(parents=True, exist_ok=True)
        with _Folder.opened(str(self.folder)) as top:
            if not _is_ours(top):
                if not _is_empty(top):
                    raise OSError(f"{self.folder} is not ours")
                top.write(MARK, _MARKED.encode())
                top.write(".gitignore", b"*\n")
            yield top


def _is_ours(top: _Folder) -> bool:
    try:
        return top.read(MARK, 1000).decode("utf-8", "replace") == _MARKED
    except OSError:
        return False


def _is_empty(top: _Folder) -> bool:
    """Nothing stands in it, or what a run that was killed began."""
    return all(_TEMPORARY.fullmatch(name) for name in top.names())


def _tidy(folder: _Folder, most: int | None) -> None:
    """Remove the oldest entries beyond `most`, and temporary files of runs that were killed."""
    entries: list[tuple[int, str]] = []
    for name in folder.names():
        try:
            status = folder.status(name)
            if not stat.S_ISREG(status.st_mode):
                continue
            if _ENTRY.fullmatch(name):
                entries.append((status.st_mtime_ns, name))
            elif _TEMPORARY.fullmatch(name) and status.st_mtime < time.time() - _STALE:
                folder.remove(name)
        except OSError:
            continue
    if most is None:
        return
    for _, name in sorted(entries)[: max(0, len(entries) - most)]:
        if _begins_as_ours(folder, name):
            folder.remove(name)


def _begins_as_ours(folder: _Folder, name: str) -> bool:
    try:
        return folder.read(name).startswith(_HEAD)
    except OSError:
        return False
