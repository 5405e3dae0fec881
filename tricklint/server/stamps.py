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
        self._known: dict[str, dict[str, int]] = {}

    def now(self) -> dict[str, dict[str, int]]:
        """The stamps of the configuration files of each folder that an open document stands in or below."""
        found: dict[str, dict[str, int]] = {}
        for folder in {str(folder) for document in self._documents for folder in document.path.parents}:
            stamps = found[folder] = {}
            for name in CONFIGURATION:
                try:
                    stamps[name] = os.stat(os.path.join(folder, name)).st_mtime_ns
                except OSError:
                    continue
        return found

    def opened(self) -> None:
        """A document was opened: what stands above it now is what later looks are held against."""
        self._known = {**self.now(), **self._known}

    async def watch(self, changed: Callable[[], None]) -> None:
        """For as long as the server runs."""
        while True:
            await asyncio.sleep(_EVERY)
            now = self.now()
            if any(self._known[folder] != stamps for folder, stamps in now.items() if folder in self._known):
                changed()
            self._known = now
