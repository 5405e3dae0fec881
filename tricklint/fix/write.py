"""Write mended files in the place of the old ones: all or none, and never over somebody else's change."""

from __future__ import annotations

import threading
from collections.abc import Sequence

from tricklint.fix.staging import FixError, Staged, clean
from tricklint.source.text import Source

__all__ = ["FixError", "finished", "write_source", "write_sources"]

_writing = threading.Lock()


def write_source(old: Source, new_text: str) -> None:
    """Replace the file that `old` was read from. Raises FixError, and then it is as it was."""
    write_sources([(old, new_text)])


def write_sources(changes: Sequence[tuple[Source, str]]) -> None:
    """Replace several files, or none of them: everything that can go wrong is tried before the first is replaced, and
    should one fail after that, those before it are put back. Raises FixError."""
    staged: list[Staged] = []
    try:
        for folder in {old.path.resolve().parent for old, _ in changes}:
            clean(folder)
        for old, text in changes:
            one = Staged(old, text)
            staged.append(one)
        with _writing:
            _put(staged)
    finally:
        for one in staged:
            one.discard()


def _put(staged: Sequence[Staged]) -> None:
    done: list[Staged] = []
    try:
        for one in staged:
            one.put()
            done.append(one)
    except BaseException as error:
        stuck = [one for one in reversed(done) if not _put_back(one)]
        if stuck and isinstance(error, FixError):
            names = ", ".join(str(one.old.path) for one in stuck)
            raise FixError(f"{error}; {names} could not be put back as it was") from error
        raise


def _put_back(one: Staged) -> bool:
    try:
        one.put_back()
    except OSError:
        return False
    return True


def finished() -> None:
    """Wait until nothing is being written."""
    with _writing:
        return
