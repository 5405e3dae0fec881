"""What IPython understands and Python does not: magics, shell lines and help, replaced without moving a line.

A replaced line becomes `pass  # [magic 7]` at its own indentation, `x = !ls` becomes `x = None  # [magic 8]`. The
number leads back to the line that stood there when a changed cell is written.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator

# Cell magics that run the cell as the Python program it is; any other (%%bash, %%html …) makes the cell no Python.
PYTHON_CELL_MAGICS = frozenset(
    {"time", "timeit", "capture", "prun", "memit", "mprun", "lprun", "scalene", "wandb", "snakeviz"}
)

# Shell words that IPython runs without a sign ("automagic") and that people write at the start of a cell.
_AUTOMAGIC = r"(?:pip|pip3|conda|cd|ls|pwd|mkdir|cp|mv|rm|cat|env|matplotlib|load_ext|autoreload|time|timeit)"
_SUSPECT = re.compile(rf"^[ \t]*(?:[%!?/,;]|{_AUTOMAGIC}(?:\s|$))|\?[ \t]*$|=[ \t]*[%!](?!=)", re.MULTILINE)
_LINE = re.compile(r"^(\s*)(?:[%!?]|[/,;]\w)")
_HELP = re.compile(r"^(\s*)[%\w.*\[\]'\"]+\?{1,2}\s*$")
_ASSIGNED = re.compile(r"^(\s*[^=#'\"]*?[^=!<>%*/+\-|&^:#'\"\s]\s*=\s*)(?:!|%(?!=))")
_BARE = re.compile(rf"^(\s*){_AUTOMAGIC}(?:\s+[^=(\s].*)?$")
_TOKEN = re.compile(
    r"""(?P<comment>\#.*)|(?P<triple>[rbfuRBFU]{0,2}(?:\"{3}|'{3}))
    |(?P<string>"(?:\\.|[^"\\\n])*"|'(?:\\.|[^'\\\n])*')|(?P<open>[([{])|(?P<close>[)\]}])|(?P<continued>\\$)""",
    re.VERBOSE,
)


def cell_magic(text: str) -> str | None:
    """The name of the cell magic that the cell starts with ("" for a bare %%), None when there is none."""
    match = re.match(r"\s*%%(\w*)|\s*(%%)", text)
    return (match[1] or "") if match else None


def statement_starts(lines: list[str]) -> Iterator[int]:
    """Indices of lines on which a statement starts: outside brackets, strings and continued lines. The consumer may
    replace `lines[index]` before asking for the next, which keeps a magic's quotes and brackets from counting."""
    depth, quote, continued = 0, "", False
    for index in range(len(lines)):
        if not depth and not quote and not continued:
            yield index
        line, position, continued = lines[index], 0, False
        while position < len(line):
            if quote:
                end = re.compile(rf"(?:\\.|(?!{quote}).)*{quote}", re.DOTALL).match(line, position)
                if not end:
                    break
                quote, position = "", end.end()
                continue
            token = _TOKEN.search(line, position)
            if not token or token.lastgroup == "comment":
                break
            position = token.end()
            if token.lastgroup == "triple":
                quote = token[0][-3:]
            elif token.lastgroup == "open":
                depth += 1
            elif token.lastgroup == "close":
                depth = max(0, depth - 1)
            elif token.lastgroup == "continued":
                continued = True


def _parses(line: str) -> bool:
    try:
        ast.parse(line.strip())
    except (SyntaxError, ValueError):
        return False
    return True


def _replacement(line: str) -> str | None:
    """What stands for a line that IPython would rewrite, None for a line of Python."""
    for pattern in (_LINE, _HELP):
        match = pattern.match(line)
        if match and not (pattern is _HELP and line.lstrip().startswith("#")):
            return f"{match[1]}pass"
    assigned = _ASSIGNED.match(line)
    if assigned:
        return f"{assigned[1].rstrip()} None"
    bare = _BARE.match(line)
    return f"{bare[1]}pass" if bare and not _parses(line) else None


def replace(text: str, magics: list[str]) -> str:
    """Python for a cell's text; the lines replaced are appended to `magics`."""
    if not _SUSPECT.search(text):
        return text
    lines = text.split("\n")
    carried = False  # the magic before ends with a backslash
    for index in statement_starts(lines):
        line = lines[index].rstrip("\r")
        stand_in = _replacement(line)
        while stand_in is not None:
            end = "\r" if lines[index].endswith("\r") else ""
            lines[index] = f"{stand_in}  # [magic {len(magics)}]{end}"
            magics.append(line)
            carried = line.rstrip().endswith("\\") and index + 1 < len(lines)
            if not carried:
                break
            index += 1
            line = lines[index].rstrip("\r")
            stand_in = re.match(r"\s*", stand_in)[0] + "pass"  # type: ignore[index]
    return "\n".join(lines)


_PLACEHOLDER = re.compile(r"^[^\n]*?# \[magic (\d+)\](\r?)$", re.MULTILINE)


def restore(text: str, magics: list[str]) -> str:
    """The inverse of `replace`. Raises KeyError with the line that would be lost."""
    return _PLACEHOLDER.sub(lambda match: magics[int(match[1])] + match[2], text)


def numbers(text: str) -> list[int]:
    """The numbers of the replaced lines that `text` holds."""
    return [int(match[1]) for match in _PLACEHOLDER.finditer(text)]
