"""Configuration files that change, for editors that do not tell."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Callable

from tricklint.server.documents import Documents

CONFIGURATION = ("pyproject.toml", "tricklint.toml", ".gitignore")
_EVERY = 1.0  # seconds


class Stamps:
    """Watches the configuration files at and above the open documents."""

    def __init__(self, documents: Documents) -> None:
        self._documents = documents

    def now(self) -> dict[str, int]:
        folders = {str(folder) for document in self._documents for folder in document.path.parents}
        found = {}
        for folder in folders:
            for name in CONFIGURATION:
                path = os.path.join(folder, name)
                try:
                    found[path] = os.stat(path).st_mtime_ns
                except OSError:
                    continue
        return found

    async def watch(self, changed: Callable[[], None]) -> None:
        """For as long as the server runs; documents that come and go are no change."""
        before, open_before = self.now(), set(self._documents.by_path)
        while True:
            await asyncio.sleep(_EVERY)
            now, open_now = self.now(), set(self._documents.by_path)
            if now != before and open_now == open_before:
                changed()
            before, open_before = now, open_now
