"""What is done to programs: changes that mean nothing, changes that may mean anything, and bytes."""

from __future__ import annotations

import ast
import builtins
import io
import itertools
import keyword
import random
import re
import tokenize
from collections.abc import Callable

Files = dict[str, bytes]


# -- changes that mean nothing: what is found must stay -------------------------------------------------------------------


def renamed(text: str, draw: random.Random) -> str | None:
    """One name of the program's own called otherwise, everywhere."""
    tree = ast.parse(text)
    own: set[str] = set()
    fixed = set(dir(builtins)) | set(keyword.kwlist)
    for node in ast.walk(tree):
        if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store):
            own.add(node.id)
        elif isinstance(node, ast.Attribute):
            fixed.add(node.attr)
        elif isinstance(node, ast.keyword):
            fixed.add(node.arg or "")
        elif isinstance(node, ast.arg):
            fixed.add(node.arg)
        elif isinstance(node, (ast.FunctionDef, ast.ClassDef, ast.AsyncFunctionDef)):
            fixed.add(node.name)
        elif isinstance(node, ast.alias):
            fixed |= {*node.name.split("."), node.asname or ""}
        elif isinstance(node, ast.ImportFrom):
            fixed |= set((node.module or "").split("."))
        elif isinstance(node, ast.Constant) and isinstance(node.value, str):
            fixed |= set(re.findall(r"\w+", node.value))
        elif isinstance(node, (ast.Global, ast.Nonlocal)):
            fixed |= set(node.names)
    names = sorted(own - fixed)
    if not names:
        return None
    old = draw.choice(names)
    return _replaced(text, {old: draw.choice(["thing", "zz", "_q", "ä"]) + str(draw.randrange(100))})


def _replaced(text: str, names: dict[str, str]) -> str:
    tokens = list(tokenize.generate_tokens(io.StringIO(text).readline))
    rows = text.splitlines(keepends=True)
    for token in reversed(tokens):
        if token.type == tokenize.NAME and token.string in names:
            row, (start, end) = token.start[0] - 1, (token.start[1], token.end[1])
            rows[row] = rows[row][:start] + names[token.string] + rows[row][end:]
    return "".join(rows)


_ALIASES = {"import torch.nn as nn": "import torch.nn as layers", "from torch import nn": "from torch import nn as layers",
            "import torch.nn.functional as F": "import torch.nn.functional as fun", "import pandas as pd": "import pandas as panda"}  # fmt: skip


def aliased(text: str, draw: random.Random) -> str | None:
    """A library under another name."""
    known = [line for line in _ALIASES if re.search(rf"^{re.escape(line)}$", text, re.MULTILINE)]
    if not known:
        return None
    line = draw.choice(known)
    old, new = line.rsplit(" ", 1)[1], _ALIASES[line].rsplit(" ", 1)[1]
    if re.search(rf"\b{new}\b", text):
        return None  # a name of the program's own
    tree = ast.parse(text)
    if any(isinstance(node, ast.arg) and node.arg == old for node in ast.walk(tree)):
        return None
    if any(isinstance(node, ast.keyword) and node.arg == old for node in ast.walk(tree)):
        return None
    body = re.sub(rf"(?<![\w.\"']){old}(?=[.\[,) ])", new, text.replace(line, "\0"))
    return body.replace("\0", _ALIASES[line])


def spaced(text: str, draw: random.Random) -> str:
    """Blank lines, comments, form feeds and lone backslashes between the rows of the top level."""
    tree = ast.parse(text)
    starts = [min([node.lineno, *(each.lineno for each in getattr(node, "decorator_list", []))]) for node in tree.body]
    rows = text.split("\n")
    for row in sorted(starts, reverse=True):
        if draw.random() < 0.3 and text.count("\r") == 0:
            rows.insert(row - 1, draw.choice(["", "# a comment", "\f", "    ", "# é ü 𝛼"]))
    return "\n".join(rows)


def ended(text: str, draw: random.Random) -> str | None:
    """Other line ends."""
    return text.replace("\n", draw.choice(["\r\n", "\r"])) if "\r" not in text and "\\\n" not in text else None


SAME: list[Callable[[str, random.Random], str | None]] = [renamed, aliased, spaced, ended]


# -- changes that may mean anything -----------------------------------------------------------------------------------------


def deleted(text: str, draw: random.Random, other: str) -> str:
    rows = text.split("\n")
    for _ in range(draw.randint(1, 4)):
        if rows:
            del rows[draw.randrange(len(rows))]
    return "\n".join(rows)


def spliced(text: str, draw: random.Random, other: str) -> str:
    rows, more = text.split("\n"), other.split("\n")
    start = draw.randrange(len(more))
    at = draw.randrange(len(rows) + 1)
    return "\n".join([*rows[:at], *more[start : start + draw.randint(1, 12)], *rows[at:]])


def wrapped(text: str, draw: random.Random, other: str) -> str:
    head = draw.choice(
        [
            "def main():",
            "class Holder:",
            "if flag:",
            "for _ in range(2):",
            "while True:",
            "try:",
            "with a:",
            "async def run():",
        ]
    )
    tail = "\nexcept Exception:\n    pass" if head == "try:" else "\nmain()" if head == "def main():" else ""
    rows = ["    " + row if row.strip() else row for row in text.split("\n")]
    return head + "\n" + "\n".join(rows) + "\n    pass" + tail + "\n"


def reordered(text: str, draw: random.Random, other: str) -> str:
    tree = ast.parse(text)
    rows = text.split("\n")
    edges = [node.lineno - 1 for node in tree.body] + [len(rows)]
    parts = [rows[start:end] for start, end in itertools.pairwise(edges)]
    one, two = draw.randrange(len(parts) or 1), draw.randrange(len(parts) or 1)
    if parts:
        parts[one], parts[two] = parts[two], parts[one]
    return "\n".join([*rows[: edges[0]], *(row for part in parts for row in part)])


def joined(text: str, draw: random.Random, other: str) -> str:
    """Statements on one line."""
    rows = text.split("\n")
    for _ in range(draw.randint(1, 3)):
        at = draw.randrange(len(rows))
        if at + 1 < len(rows) and not rows[at].rstrip().endswith((":", ",", "(", "[", "{", "\\")):
            rows[at : at + 2] = [f"{rows[at]}; {rows[at + 1].strip()}"]
    return "\n".join(rows)


def repeated(text: str, draw: random.Random, other: str) -> str:
    rows = text.split("\n")
    start = draw.randrange(len(rows))
    part = rows[start : start + draw.randint(1, 5)]
    return "\n".join([*rows[:start], *(part * draw.choice([2, 3, 30])), *rows[start:]])


ANY: list[Callable[[str, random.Random, str], str]] = [deleted, spliced, wrapped, reordered, joined, repeated]


def split(text: str, draw: random.Random) -> Files | None:
    """Classes and functions in a file of their own."""
    tree = ast.parse(text)
    rows = text.split("\n")
    moved = [node for node in tree.body if isinstance(node, (ast.ClassDef, ast.FunctionDef)) and draw.random() < 0.7]
    if not moved:
        return None
    imports = [
        row for row in rows if row.startswith(("import ", "from ")) and "(" not in row and "__future__" not in row
    ]
    taken: set[int] = set()
    parts = []
    for node in moved:
        first = min([node.lineno, *(each.lineno for each in node.decorator_list)])
        taken |= set(range(first - 1, node.end_lineno or node.lineno))
        parts.append("\n".join(rows[first - 1 : node.end_lineno]))
    at = next(
        (number for number, row in enumerate(rows) if row.startswith(("import ", "from ")) and "__future__" not in row),
        0,
    )
    names = draw.choice([", ".join(node.name for node in moved), "*"])
    kept = [row for number, row in enumerate(rows) if number not in taken]
    kept.insert(min(at, len(kept)), f"from parts import {names}")
    return {"train.py": "\n".join(kept).encode(), "parts.py": ("\n".join([*imports, *parts]) + "\n").encode()}


def bytes_of(data: bytes, draw: random.Random) -> bytes:
    """Anything at all in the place of a few bytes."""
    out = bytearray(data)
    for _ in range(draw.randint(1, 6)):
        at = draw.randrange(len(out) + 1)
        kind = draw.randrange(5)
        if kind == 0:
            out[at : at + draw.randint(1, 8)] = b""
        elif kind == 1:
            out[at:at] = bytes(draw.randrange(256) for _ in range(draw.randint(1, 5)))
        elif kind == 2:
            out[at:at] = draw.choice(
                [
                    b"\0",
                    b"\f",
                    b"\\\n",
                    b"\r",
                    b"\xff",
                    "\u2028".encode(),
                    b"\x1a",
                    b"\xef\xbb\xbf",
                    b"\t",
                    b"'''",
                    b"#",
                ]
            )
        elif kind == 3 and at < len(out):
            out[at] = draw.randrange(256)
        else:
            out[:0] = draw.choice([b"# coding: latin-1\n", b"# coding: utf-7\n", b"\xef\xbb\xbf", b"\f", b"\xff\xfe"])
    return bytes(out)
