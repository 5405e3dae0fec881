"""Where modules are imported from: never the folder that the tool is started in, for that is what it checks.

`python -m tricklint` puts that folder first; an empty entry of PYTHONPATH means it too.
"""

from __future__ import annotations

import os
import sys


def keep_out(folder: str) -> None:
    """Take `folder` off the search path, unless this package itself is imported from there."""
    home = os.path.dirname(os.path.dirname(os.path.realpath(__file__)))
    real = os.path.realpath(folder)
    if real != home:
        sys.path[:] = [entry for entry in sys.path if entry and os.path.realpath(entry) != real]


def keep_out_working_folder() -> None:
    try:
        keep_out(os.getcwd())
    except OSError:  # it was deleted: nothing can be imported from there
        return
