"""Whether an installed package says that it brings something along, read from its entry points.

`importlib.metadata` tells the same, and takes longer to be imported than all these files to be read: it is asked once
some package has spoken.
"""

from __future__ import annotations

import os
from collections.abc import Iterable

_OF_PACKAGES = (".dist-info", ".egg-info", "EGG-INFO")


def announced(group: str, path: Iterable[str]) -> bool:
    """Whether the name of a group of entry points stands in what a package below the folders of `path` announces."""
    return any(_speaks_of(group.encode(), folder or ".") for folder in path)


def _speaks_of(group: bytes, folder: str) -> bool:
    try:
        names = os.listdir(folder)
    except NotADirectoryError:  # an archive, which may hold packages
        return True
    except OSError:
        return False
    return any(group in _entry_points(folder, name) for name in names if name.endswith(_OF_PACKAGES))


def _entry_points(folder: str, name: str) -> bytes:
    try:
        with open(os.path.join(folder, name, "entry_points.txt"), "rb") as file:
            return file.read()
    except OSError:
        return b""
