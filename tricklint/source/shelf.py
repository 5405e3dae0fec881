"""Files as they were read, and what became of them: a process that runs more than once reads a file again only when it
changed, and decodes, screens and parses it only once."""

from __future__ import annotations

import os
import time
from collections.abc import Mapping
from functools import cached_property
from pathlib import Path

from tricklint.source.screen import Screened
from tricklint.source.text import Source, SourceError, digest, read_bytes

_SETTLED = 2_000_000_000  # ns: a file changed this shortly before it was read may have changed again under its stamp
KEPT_TREES = 6_000_000  # characters of text whose trees are kept; a tree takes about a hundred times its text


class Raw:
    """A file's bytes with the stamp they had when they were read; everything else is worked out once, when asked for."""

    def __init__(self, path: Path, data: bytes, mtime_ns: int = 0, size: int = 0) -> None:
        self.path = path
        self.data = data
        self.mtime_ns = mtime_ns
        self.size = size
        self._screened: dict[tuple[bytes, ...], Screened] = {}

    @classmethod
    def of(cls, source: Source) -> Raw:
        """A text that is read from no file: standard input, an editor's buffer."""
        raw = cls(source.path, source.data)
        raw.__dict__["_decoded"] = source
        return raw

    @cached_property
    def digest(self) -> str:
        return digest(self.data)

    @cached_property
    def _decoded(self) -> Source | SourceError:
        try:
            return Source.from_bytes(self.path, self.data, self.mtime_ns, self.size)
        except SourceError as error:
            return error

    @property
    def source(self) -> Source:
        """Raises SourceError when the bytes are no text, or no notebook."""
        if isinstance(self._decoded, SourceError):
            raise self._decoded
        return self._decoded

    def screened(self, words: tuple[bytes, ...]) -> Screened | None:
        """What the screen said of this file when it looked for `words`, if it did."""
        return self._screened.get(words)

    def keep_screened(self, words: tuple[bytes, ...], screened: Screened) -> None:
        if len(self._screened) > 4:  # other words come with other settings
            self._screened.clear()
        self._screened[words] = screened


class Shelf:
    """`open`: texts that stand before what the disk holds, by absolute path. Raises SourceError as `read_bytes` does."""

    def __init__(self, open: Mapping[Path, Source] | None = None) -> None:
        self._read: dict[Path, tuple[int, Raw]] = {}
        self._open: dict[Path, Raw] = {}
        self.lay(open or {})

    def lay(self, open: Mapping[Path, Source]) -> None:
        """From now on these texts are the open ones; one that is the same as before keeps its tree."""
        before = self._open
        self._open = {}
        for path, source in open.items():
            old = before.get(path)
            self._open[path] = old if old is not None and old.data == source.data else Raw.of(source)

    @property
    def open(self) -> frozenset[Path]:
        return frozenset(self._open)

    def read(self, path: Path) -> Raw:
        if path in self._open:
            return self._open[path]
        kept_at, kept = self._read.get(path, (0, None))
        if kept is not None and _unchanged(path, kept, kept_at):
            return kept
        now = time.time_ns()
        data, mtime_ns, size = read_bytes(path)
        if kept is not None and kept.data == data:
            kept.mtime_ns, kept.size = mtime_ns, size
            self._read[path] = (now, kept)
            return kept
        raw = Raw(path, data, mtime_ns, size)
        self._read[path] = (now, raw)
        return raw

    def trim(self, limit: int = KEPT_TREES) -> None:
        """Let the trees go that were used longest ago, until those left are of at most `limit` characters."""
        raws = [*(raw for _, raw in self._read.values()), *self._open.values()]
        decoded = [raw.__dict__.get("_decoded") for raw in raws]
        held = [source for source in decoded if isinstance(source, Source) and source.tree_used is not None]
        left = sum(len(source.text) for source in held)
        for source in sorted(held, key=lambda source: source.tree_used or 0):
            if left <= limit:
                break
            left -= len(source.text)
            source.let_tree_go()


def _unchanged(path: Path, raw: Raw, read_at: int) -> bool:
    try:
        status = os.stat(path)
    except OSError:
        return False
    stamp = (status.st_mtime_ns, status.st_size) == (raw.mtime_ns, raw.size)
    return stamp and read_at - raw.mtime_ns > _SETTLED
