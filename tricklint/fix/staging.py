"""One file that is about to be replaced: the new bytes beside it first, then in its place, and back if need be."""

from __future__ import annotations

import os
import re
import secrets
import stat
from contextlib import suppress
from pathlib import Path
from typing import IO

from tricklint.source.text import Source, SourceError

_TEMPORARY = re.compile(r"\.tricklint-(\d+)-[0-9a-f]{16}\.tmp")


class FixError(Exception):
    """A mended file could not be written; the message is one line that names the file."""


class Staged:
    """The new bytes of one file, ready to take its place.

    They wait in a temporary file of the same folder, which takes over owner, mode and access lists and is renamed over
    the old file: that one is never seen half written. A file with several names, or of an owner that this process may
    not give to a new file, is written in place instead, so that it stays the file it was. Links are followed: what they
    lead to is written. Raises FixError.
    """

    def __init__(self, old: Source, new_text: str) -> None:
        self.old = old
        self._temporary: Path | None = None
        self._file: IO[bytes] | None = None  # open, and locked where that is possible, until all is done
        try:
            self._data = old.encode(new_text)
        except SourceError as error:
            raise FixError(f"{error}; not rewritten") from error
        try:
            self.target = Path(os.path.realpath(old.path, strict=True))
            self._status = self.target.stat()
            self.check_unchanged()
            if not os.access(self.target, os.W_OK):
                raise FixError(f"{old.path}: not rewritten: permission denied")
            self._stage()
        except OSError as error:
            self.discard()
            raise self._problem(error) from error
        except BaseException:
            self.discard()
            raise

    def _problem(self, error: OSError) -> FixError:
        return FixError(f"{self.old.path}: not rewritten: {(error.strerror or str(error)).lower()}")

    def check_unchanged(self) -> None:
        """Raises FixError when the file is not what was read."""
        if self.target.read_bytes() != self.old.data:
            raise FixError(f"{self.old.path}: changed on disk since it was read; not rewritten")

    def _stage(self) -> None:
        if self._status.st_nlink > 1:
            self._file = self.target.open("r+b")
            return
        self._temporary, self._file = _temporary_in(self.target.parent)
        self._file.write(self._data)
        self._file.flush()
        os.fsync(self._file.fileno())
        if not _takes_over(self.target, self._status, self._temporary):
            self.discard()
            self._file = self.target.open("r+b")
        elif os.name == "nt":  # where an open file cannot be renamed
            self._file.close()
            self._file = None

    def put(self) -> None:
        """Replace the file. Raises FixError, and then it is as it was."""
        try:
            self.check_unchanged()  # once more, as late as can be
            if self._temporary is not None:
                self._temporary.replace(self.target)
                self._temporary = None
                return
            try:
                self._overwrite(self._data)
            except BaseException:
                self._overwrite(self.old.data)
                raise
        except OSError as error:
            raise self._problem(error) from error

    def _overwrite(self, data: bytes) -> None:
        assert self._file is not None
        self._file.seek(0)
        self._file.write(data)
        self._file.truncate()
        self._file.flush()
        os.fsync(self._file.fileno())

    def put_back(self) -> None:
        """Undo `put`, because another file could not be written. Raises OSError."""
        if self._status.st_nlink > 1 or self._in_place:
            self._overwrite(self.old.data)
            return
        temporary, file = _temporary_in(self.target.parent)
        with file:
            file.write(self.old.data)
            file.flush()
            os.fsync(file.fileno())
            _takes_over(self.target, self._status, temporary)
            temporary.replace(self.target)

    @property
    def _in_place(self) -> bool:
        return self._file is not None and self._file.name == str(self.target)

    def discard(self) -> None:
        """Close what is open and remove what was not used."""
        if self._file is not None:
            with suppress(OSError):
                self._file.close()
            self._file = None
        if self._temporary is not None:
            self._temporary.unlink(missing_ok=True)
            self._temporary = None


def _temporary_in(folder: Path) -> tuple[Path, IO[bytes]]:
    while True:
        path = folder / f".tricklint-{os.getpid()}-{secrets.token_hex(8)}.tmp"
        try:
            handle = os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL | getattr(os, "O_BINARY", 0), 0o600)
        except FileExistsError:
            continue
        _lock(handle)
        return path, os.fdopen(handle, "wb")


def _takes_over(old: Path, status: os.stat_result, new: Path) -> bool:
    """Give a new file the owner, mode and access list of the old one; whether it could have them all."""
    try:
        made = new.stat()
        if hasattr(os, "chown") and (made.st_uid, made.st_gid) != (status.st_uid, status.st_gid):
            os.chown(new, status.st_uid, status.st_gid)
        new.chmod(stat.S_IMODE(status.st_mode))
        if hasattr(os, "listxattr"):
            for name in os.listxattr(old):
                os.setxattr(new, name, os.getxattr(old, name))
    except OSError:
        return False
    return True


def _lock(handle: int) -> bool:
    """Whether nobody else holds it; where files cannot be locked, always."""
    try:
        import fcntl
    except ImportError:
        return True
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    except OSError:
        return True
    return True


def clean(folder: Path) -> None:
    """Remove temporary files of runs that were killed: those whose process is gone and that nobody holds."""
    try:
        names = [name for name in os.listdir(folder) if name.startswith(".tricklint-")]
    except OSError:
        return
    for name in names:
        match = _TEMPORARY.fullmatch(name)
        if match is None or _alive(int(match[1])):
            continue
        path = folder / name
        with suppress(OSError):
            handle = os.open(path, os.O_RDONLY | getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_NONBLOCK", 0))
            try:
                if stat.S_ISREG(os.fstat(handle).st_mode) and _lock(handle):
                    path.unlink()
            finally:
                os.close(handle)


def _alive(process: int) -> bool:
    try:
        os.kill(process, 0)
    except (ProcessLookupError, OverflowError):
        return False
    except OSError:
        return True
    return True
