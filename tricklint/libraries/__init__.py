"""Models of libraries: a file a library, loaded together before a program is followed.

Another package brings its own by an entry point in the group `tricklint.libraries`: a module that registers its
functions and behaviours (`tricklint.interpreter.behaviour`) when it is imported.
"""

from __future__ import annotations

import importlib
import pkgutil
import sys
from functools import cache

from tricklint.source.announced import announced

ENTRY_POINTS = "tricklint.libraries"


class LibraryError(Exception):
    """A package's model of a library could not be loaded."""


@cache
def load() -> None:
    """Import every library model once. Raises LibraryError when one of another package cannot be loaded."""
    for info in pkgutil.iter_modules(__path__):
        importlib.import_module(f"{__name__}.{info.name}")
    if not announced(ENTRY_POINTS, sys.path):
        return
    from importlib.metadata import entry_points

    for point in entry_points(group=ENTRY_POINTS):
        try:
            point.load()
        except Exception as error:
            raise LibraryError(f"entry point {point.name} = {point.value}: {type(error).__name__}: {error}") from error


__all__ = ["ENTRY_POINTS", "LibraryError", "load"]
