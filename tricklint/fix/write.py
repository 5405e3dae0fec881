"""Write a mended file in the place of the old one: whole or not at all, and never over somebody else's change."""

from __future__ import annotations

import os
import stat
import tempfile
from pathlib import Path

from tricklint.source.text import Source, SourceError


class FixError(Exception):
    """A mended file could not be written; the message is one line that names the file."""


def write_source(old: Source, new_text: str) -> None:
    """Replace the file that `old` was read from. Links are followed: their target is written, the link stays.

    The new bytes go into a temporary file of the same folder, reach the disk, and are renamed over the old file.
    Raises FixError when the file changed since it was read, or cannot be written; it is then left as it was.
    """
    try:
        data = old.encode(new_text)
    except SourceError as error:
        raise FixError(f"{error}; not rewritten") from error
    try:
        target = Path(os.path.realpath(old.path, strict=True))
        mode = stat.S_IMODE(target.stat().st_mode)
        if target.read_bytes() != old.data:
            raise FixError(f"{old.path}: changed on disk since it was read; not rewritten")
        if not os.access(target, os.W_OK):
            raise FixError(f"{old.path}: not rewritten: permission denied")
        handle, name = tempfile.mkstemp(prefix=f".{target.name}.", suffix=".tmp", dir=target.parent)
    except OSError as error:
        raise FixError(f"{old.path}: not rewritten: {(error.strerror or str(error)).lower()}") from error
    temporary = Path(name)
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        temporary.chmod(mode)
        if target.read_bytes() != old.data:  # once more, as late as can be
            raise FixError(f"{old.path}: changed on disk since it was read; not rewritten")
        temporary.replace(target)
    except OSError as error:
        raise FixError(f"{old.path}: not rewritten: {(error.strerror or str(error)).lower()}") from error
    finally:
        temporary.unlink(missing_ok=True)
