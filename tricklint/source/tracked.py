"""Which files git tracks, by its index: an ignore pattern says nothing of them."""

from __future__ import annotations

import os
from functools import lru_cache
from pathlib import Path

from tricklint.source.text import SourceError, read_bytes

_FIXED = 62  # bytes of an entry in front of its path: times, ids, the object's name (SHA-1) and flags
_LONGER = 0x4000  # the flag of an entry with two more bytes of flags


def tracked(path: str, suffixes: tuple[str, ...]) -> bool:
    """Whether a file with one of the suffixes is tracked, or for a folder (which ends with a slash) one below it."""
    top = _top(os.path.dirname(path.rstrip("/")))
    return top is not None and path[len(top) + 1 :].replace(os.sep, "/") in _names(top, _stamp(top), suffixes)


@lru_cache(maxsize=4096)
def _top(folder: str) -> str | None:
    """The folder of the repository around a folder."""
    if os.path.exists(os.path.join(folder, ".git")):
        return folder
    above = os.path.dirname(folder)
    return _top(above) if above != folder else None


def _index(top: str) -> Path:
    """The index of a repository, or of a work tree of one, whose `.git` is a file that says where it is."""
    git = Path(top, ".git")
    if git.is_dir():
        return git / "index"
    try:
        text = read_bytes(git)[0].decode("utf-8", "replace")
    except SourceError:
        return git / "index"
    return Path(top, text.removeprefix("gitdir:").strip(), "index")


def _stamp(top: str) -> int:
    try:
        return os.stat(_index(top)).st_mtime_ns
    except (OSError, ValueError):
        return 0


@lru_cache(maxsize=8)
def _names(top: str, stamp: int, suffixes: tuple[str, ...]) -> frozenset[str]:
    """The tracked files of a repository with these suffixes, and the folders that they lie in, with a slash. None of them
    where the index cannot be read."""
    try:
        data = read_bytes(_index(top))[0] if stamp else b""
        files = [name for name in paths_in(data) if name.endswith(suffixes)]
    except (SourceError, ValueError, IndexError):
        return frozenset()
    folders = {name[: at + 1] for name in files for at, letter in enumerate(name) if letter == "/"}
    return frozenset((*files, *folders))


def paths_in(data: bytes) -> list[str]:
    """The paths in the bytes of an index (https://git-scm.com/docs/index-format, versions 2 to 4). Raises ValueError or
    IndexError for bytes that are none."""
    version, count = int.from_bytes(data[4:8], "big"), int.from_bytes(data[8:12], "big")
    if data[:4] != b"DIRC" or version not in (2, 3, 4) or count > len(data) // _FIXED:
        raise ValueError("no index that git writes")
    found: list[str] = []
    at, name = 12, b""
    for _ in range(count):
        start = at
        at += _FIXED + 2 * bool(int.from_bytes(data[at + _FIXED - 2 : at + _FIXED], "big") & _LONGER)
        if version == 4:  # so many bytes of the path before it are left out, and these follow
            cut = data[at] & 0x7F
            while data[at] & 0x80:
                at += 1
                cut = ((cut + 1) << 7) | (data[at] & 0x7F)
            at += 1
            end = data.index(b"\0", at)
            name = name[: len(name) - cut] + data[at:end]
            at = end + 1
        else:
            end = data.index(b"\0", at)
            name = data[at:end]
            at = start + (end - start + 8) // 8 * 8
        found.append(name.decode("utf-8", "surrogateescape"))
    return found


__all__ = ["paths_in", "tracked"]
