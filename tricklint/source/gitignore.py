"""gitignore patterns as git reads them, in time that grows with pattern times path and never faster.

Patterns come from strangers' repositories, so no regular expression may be built that tries every way to divide a
name among its stars, as `*a*a*a*b` makes a backtracking one do. What git takes for a pattern that matches nothing
(an open bracket, a backslash at the end) is that here too, and never an error.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from itertools import count

_CLASSES = {
    "alnum": "a-zA-Z0-9", "alpha": "a-zA-Z", "blank": " \\t", "cntrl": "\\x00-\\x1f\\x7f", "digit": "0-9",
    "graph": "\\x21-\\x7e", "lower": "a-z", "print": "\\x20-\\x7e", "punct": "!-/:-@\\[-`{-~", "space": "\\s",
    "upper": "A-Z", "xdigit": "0-9a-fA-F",
}  # fmt: skip
_STAR = ""  # among the pieces of a segment: any number of characters


class _Never(Exception):
    """This pattern matches nothing."""


class Pattern:
    """One pattern: `negated` takes back what earlier ones ignore. Raises ValueError for one that matches nothing."""

    def __init__(self, line: str) -> None:
        self.negated = line.startswith("!")
        body = line[1:] if self.negated else line
        self._folders_only = body.endswith("/")
        segments = body[:-1].split("/") if self._folders_only else body.split("/")
        self._anywhere = len(segments) == 1
        if segments[0] == "" and len(segments) > 1:
            segments = segments[1:]
        try:
            self._segments = [None if segment == "**" else _segment(segment) for segment in segments]
        except _Never as error:
            raise ValueError(f"{line!r} matches nothing") from error
        if self._anywhere and self._segments[0] is None:
            self._segments = [re.compile("")]

    def matches(self, parts: list[str], folder: bool) -> bool:
        """Whether it means this very path (given as its parts), not one above it."""
        if self._folders_only and not folder:
            return False
        if self._anywhere:
            one = self._segments[0]
            return one is not None and one.match(parts[-1]) is not None
        return _along(self._segments, parts)


def _along(segments: list[re.Pattern[str] | None], parts: list[str]) -> bool:
    """Whether the segments fit the parts; `**` (None) stands for any number of them, at the end for at least one."""
    at = here = 0
    star, tried = -1, 0
    while here < len(parts):
        one = segments[at] if at < len(segments) else _NOTHING
        if one is None:
            if at + 1 == len(segments):
                return True
            star, tried = at, here
            at += 1
        elif one.match(parts[here]):
            at, here = at + 1, here + 1
        elif star >= 0:  # only the last `**` need be tried anew: what came before it has its shortest fit
            tried += 1
            at, here = star + 1, tried
        else:
            return False
    return at == len(segments)


def _segment(text: str) -> re.Pattern[str]:
    """A pattern between two slashes. After each star the first place where what follows fits is taken for good."""
    if not text:
        raise _Never
    pieces = _pieces(text)
    groups: list[str] = [""]
    for piece in pieces:
        if piece is _STAR:
            groups.append("")
        else:
            groups[-1] += piece
    first, *rest = groups
    if not rest:
        return re.compile(f"{first}\\Z", re.DOTALL)
    *middle, last = rest
    number = count()
    fits = "".join(f"(?=(?P<g{n}>.*?{one}))(?P=g{n})" for one in middle if one for n in [next(number)])
    return re.compile(f"{first}{fits}.*{last}\\Z", re.DOTALL)


_NOTHING = re.compile(r"(?!)")


def _pieces(text: str) -> Iterable[str]:
    found: list[str] = []
    at = 0
    while at < len(text):
        character = text[at]
        at += 1
        if character == "*":
            if not found or found[-1] is not _STAR:
                found.append(_STAR)
        elif character == "?":
            found.append(".")
        elif character == "[":
            piece, at = _bracket(text, at)
            found.append(piece)
        elif character == "\\":
            if at == len(text):
                raise _Never
            found.append(re.escape(text[at]))
            at += 1
        else:
            found.append(re.escape(character))
    return found


def _bracket(text: str, at: int) -> tuple[str, int]:
    """The expression for what stands in brackets that open before `at`, and where they end."""
    negated = text[at : at + 1] in ("!", "^") and text[at : at + 1] != ""
    at += negated
    inside: list[str] = []
    begin = at
    while True:
        if at >= len(text):
            raise _Never
        if text[at] == "]" and at > begin:
            break
        if text.startswith("[:", at):
            end = text.find(":]", at + 2)
            name = text[at + 2 : end] if end >= 0 else None
            if name is not None and "]" not in name:
                if name not in _CLASSES:
                    raise _Never
                inside.append(_CLASSES[name])
                at = end + 2
                continue
        low, at = _character(text, at)
        if text[at : at + 1] == "-" and text[at + 1 : at + 2] not in ("", "]"):
            high, at = _character(text, at + 1)
            # A range that runs backwards still means the character it begins with.
            inside.append(f"{_escaped(low)}-{_escaped(high)}" if low <= high else _escaped(low))
        else:
            inside.append(_escaped(low))
    if not inside:
        return (".", at + 1) if negated else ("(?!)", at + 1)
    return f"[{'^' if negated else ''}{''.join(inside)}]", at + 1


def _character(text: str, at: int) -> tuple[str, int]:
    if text[at] == "\\":
        at += 1
        if at == len(text):
            raise _Never
    return text[at], at + 1


def _escaped(character: str) -> str:
    return f"\\{character}" if character in "\\]^-[&~|" else character


def line_of(raw: str) -> str | None:
    """The pattern in a line of an ignore file; None for comments and blank lines."""
    line = raw.removesuffix("\r")
    if line.startswith("#"):
        return None
    kept = line.rstrip(" ")
    if len(kept) < len(line) and (len(kept) - len(kept.rstrip("\\"))) % 2:
        kept += " "  # an escaped space at the end
    return kept or None


class Patterns:
    """The patterns of one ignore file, the last one that fits deciding. Lines that match nothing are left out."""

    def __init__(self, lines: Iterable[str]) -> None:
        self._patterns: list[Pattern] = []
        for raw in lines:
            line = line_of(raw)
            if line is not None:
                try:
                    self._patterns.append(Pattern(line))
                except ValueError:
                    continue
        self._patterns.reverse()
        self._folders: dict[str, bool | None] = {}

    def __bool__(self) -> bool:
        return bool(self._patterns)

    def verdict(self, path: str) -> bool | None:
        """True: ignored, False: taken back by a `!` pattern, None: no pattern says anything. A path that ends with a
        slash is a folder; what lies in an ignored folder is ignored."""
        folder = path.endswith("/")
        parts = path.rstrip("/").split("/")
        above = "/".join(parts[:-1])
        if above and self._of_folder(above):
            return True
        return self._last(parts, folder)

    def _of_folder(self, path: str) -> bool | None:
        if path not in self._folders:
            self._folders[path] = self.verdict(path + "/")
        return self._folders[path]

    def _last(self, parts: list[str], folder: bool) -> bool | None:
        return next((not pattern.negated for pattern in self._patterns if pattern.matches(parts, folder)), None)
