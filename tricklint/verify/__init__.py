"""`--verify`: train baseline against fixed with paired seeds, and say with evidence whether a fix pays."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any


def verify_findings(report: Any, paths: Sequence[Path], settings: Any, yes: bool = False) -> int:
    """Prove the findings of a `check` that have a fix; `yes` skips the question. Returns the exit status: 0 done, 2 it
    could not be done."""
    from tricklint.verify.cli import verify_checked

    return verify_checked(report, paths, settings, yes)


__all__ = ["verify_findings"]
