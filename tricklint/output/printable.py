"""Words from strangers' files, made fit to be shown: no control character, no half a character, one line."""

from __future__ import annotations

import re

# Control characters, the marks that turn the direction of what follows, and halves of surrogate pairs.
_UNFIT = re.compile(r"[\x00-\x1f\x7f-\x9f\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069\ud800-\udfff\ufeff]")
_UNFIT_BUT_LINES = re.compile(_UNFIT.pattern.replace(r"\x00-\x1f", r"\x00-\x08\x0b-\x1f"))


def _escape(match: re.Match[str]) -> str:
    character = match[0]
    code = ord(character)
    if 0xDC80 <= code <= 0xDCFF:  # a byte of a file name that is no text
        return f"\\x{code - 0xDC00:02x}"
    named = {"\n": "\\n", "\r": "\\r", "\t": "\\t"}.get(character)
    return named or (f"\\x{code:02x}" if code < 0x100 else f"\\u{code:04x}")


def one_line(text: str) -> str:
    """`text` with everything escaped that a terminal would act on."""
    return _UNFIT.sub(_escape, text)


def sentence(text: str) -> str:
    """The same for what is prose: a line that ends within it is a space."""
    return one_line(text.replace("\n", " "))


def lines(text: str) -> str:
    """The same for a text of several lines, whose line ends and tabs stay."""
    return _UNFIT_BUT_LINES.sub(_escape, text)
