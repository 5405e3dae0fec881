"""Colours, where a terminal shows them."""

from __future__ import annotations

import os
import sys

from tricklint.finding import Severity

_COLOURS = {Severity.ERROR: "31", Severity.WARNING: "33", Severity.ADVICE: "36"}


def colours_wanted() -> bool:
    """On a terminal, unless NO_COLOR says no; FORCE_COLOR says yes anywhere."""
    if os.environ.get("NO_COLOR"):
        return False
    if os.environ.get("FORCE_COLOR"):
        return True
    return sys.stdout.isatty() and os.environ.get("TERM") != "dumb"


class Style:
    """Wraps words in escape sequences, or leaves them alone."""

    def __init__(self, coloured: bool | None = None) -> None:
        self.coloured = colours_wanted() if coloured is None else coloured

    def _paint(self, codes: str, text: str) -> str:
        return f"\x1b[{codes}m{text}\x1b[0m" if self.coloured and text else text

    def bold(self, text: str) -> str:
        return self._paint("1", text)

    def dim(self, text: str) -> str:
        return self._paint("2", text)

    def good(self, text: str) -> str:
        return self._paint("32", text)

    def evidence(self, text: str) -> str:
        return self._paint("34", text)

    def severity(self, severity: Severity, text: str) -> str:
        return self._paint("1;" + _COLOURS[severity], text)
