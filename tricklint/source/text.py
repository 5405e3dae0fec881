"""A file's bytes and the text that rules see."""

from __future__ import annotations

import codecs
import hashlib
import re
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import cached_property
from itertools import count
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

from tricklint.finding import Location

if TYPE_CHECKING:
    from tricklint.source.tree import Tree

T = TypeVar("T")
_uses = count()

_COOKIE = re.compile(rb"^[ \t\f]*#.*?coding[:=][ \t]*([-\w.]+)")
_BLANK = re.compile(rb"^[ \t\f]*(?:#.*)?$")
_LINE_END = re.compile(r"\r\n|\r|\n")

CELL_MARK = "# %% [cell "  # begins the comment line that sets the cells of a notebook apart


@dataclass(frozen=True)
class Problem:
    """Something the tool could not do, in one line. `row` is 1-based, within `cell` when that is given."""

    path: Path | None
    row: int | None
    message: str
    cell: int | None = None


class SourceError(Exception):
    """A file cannot be read as source text: `path`, `row` (None when no row is to blame) and one clear line."""

    def __init__(self, path: Path, row: int | None, message: str) -> None:
        super().__init__(f"{path}:{row}: {message}" if row else f"{path}: {message}")
        self.path = path
        self.row = row
        self.message = message

    @property
    def problem(self) -> Problem:
        return Problem(self.path, self.row, self.message)


@dataclass(frozen=True)
class Cell:
    """A code cell of a notebook: its index over all cells from 0, and the rows of `Source.text` that it fills."""

    index: int
    first_row: int
    rows: int


@dataclass(frozen=True, eq=False)
class Source:
    """A Python file or notebook as it was read. `text` is what rules see: decoded, without a byte order mark, newlines
    as they are; for a notebook its code cells in order (see `tricklint.source.notebook`)."""

    path: Path
    data: bytes
    text: str
    encoding: str = "utf-8"
    newline: str = "\n"
    is_notebook: bool = False
    cells: tuple[Cell, ...] = ()
    mtime_ns: int = 0
    size: int = 0
    problems: tuple[Problem, ...] = ()  # cells that could not be parsed and are left out of `text`

    @classmethod
    def read(cls, path: Path) -> Source:
        """Raises SourceError."""
        data, mtime_ns, size = read_bytes(path)
        return cls.from_bytes(path, data, mtime_ns, size)

    @classmethod
    def from_bytes(cls, path: Path, data: bytes, mtime_ns: int = 0, size: int | None = None) -> Source:
        """Raises SourceError when the bytes are no text, or no notebook."""
        size = len(data) if size is None else size
        if path.suffix == ".ipynb":
            from tricklint.source import notebook

            return notebook.parse(path, data, mtime_ns, size)
        encoding = _encoding(path, data)
        text = _decode(path, data, encoding)
        return cls(path, data, text, encoding, dominant_newline(text), mtime_ns=mtime_ns, size=size)

    @classmethod
    def from_text(cls, path: Path, text: str) -> Source:
        """A source that stands in no file yet (an editor's buffer, a test): a coding cookie in it says nothing yet."""
        if path.suffix == ".ipynb":
            return cls.from_bytes(path, text.encode())
        if "\0" in text:
            raise SourceError(path, text.count("\n", 0, text.index("\0")) + 1, "holds a null byte")
        data = text.encode("utf-8", "surrogatepass")
        return cls(path, data, text, "utf-8", dominant_newline(text), size=len(data))

    def with_text(self, text: str) -> Source:
        """The same file with another text: encoding, notebook structure and the read's time stamp are kept. Raises
        SourceError when the text cannot be written back (a character the encoding lacks, a lost cell boundary)."""
        data = self.encode(text)
        if self.is_notebook:
            changed = type(self).from_bytes(self.path, data, self.mtime_ns, self.size)
            return replace(changed, problems=self.problems)
        if _decode(self.path, data, self.encoding) != text:
            raise SourceError(self.path, None, f"the text cannot be written in {self.encoding}")
        return replace(self, data=data, text=text)

    def encode(self, text: str) -> bytes:
        """The bytes of this file if it held `text`: for a notebook only changed cells differ. Raises SourceError."""
        if self.is_notebook:
            from tricklint.source import notebook

            return notebook.write_back(self, text)
        try:
            return text.encode(self.encoding)
        except UnicodeEncodeError as error:
            row = text.count("\n", 0, error.start) + 1
            message = f"{text[error.start]!r} cannot be written in {self.encoding}"
            raise SourceError(self.path, row, message) from None

    def place(self, location: Location) -> tuple[int | None, Location]:
        """Where a row of `text` stands for a reader: (None, the same), or in a notebook (cell, row within it)."""
        if not self.is_notebook:
            return None, location
        for cell in reversed(self.cells):
            if cell.first_row <= location.row:
                return cell.index, Location(min(location.row - cell.first_row, cell.rows) + 1, location.column)
        return (self.cells[0].index if self.cells else 0), Location(1, location.column)

    @cached_property
    def digest(self) -> str:
        return digest(self.data)

    def ask(self, question: Callable[[str], T]) -> T:
        """What a function says of `text`, whose lines all end in `\\n` for it; worked out once."""
        answers: dict[object, T] = self.__dict__.setdefault("_answers", {})
        if question not in answers:
            text = self.text
            answers[question] = question(text.replace("\r\n", "\n").replace("\r", "\n") if "\r" in text else text)
        return answers[question]

    @property
    def tree(self) -> Tree:
        """The tree of `text`, made when it is first asked for. Raises what `Tree` does."""
        from tricklint.source.tree import Tree

        kept = self.__dict__
        if "_tree" not in kept:
            kept["_tree"] = Tree(self.path, self.text)
        kept["_used"] = next(_uses)
        tree: Tree = kept["_tree"]
        return tree

    @property
    def tree_used(self) -> int | None:
        """A number that grows with each use of a tree: when this one was last asked for (None: there is no tree)."""
        return self.__dict__.get("_used")

    def let_tree_go(self) -> None:
        """Forget the tree; it is made again when it is asked for."""
        for name in ("_tree", "_used"):
            self.__dict__.pop(name, None)

    @cached_property
    def lines(self) -> list[str]:
        """The rows of `text` without their ends, as Python counts them (a form feed ends no row)."""
        return _LINE_END.split(self.text)


def digest(data: bytes) -> str:
    return hashlib.blake2b(data, digest_size=16).hexdigest()


def digest_now(path: Path) -> str | None:
    """The digest of a file as the disk holds it, None when it cannot be read."""
    try:
        return digest(read_bytes(path)[0])
    except SourceError:
        return None


def read_bytes(path: Path) -> tuple[bytes, int, int]:
    """(data, mtime in ns, size). Raises SourceError."""
    import stat

    try:
        status = path.stat()
        if not stat.S_ISREG(status.st_mode):  # asked before opening: opening a pipe would wait for ever
            raise SourceError(path, None, "is no regular file")
        return path.read_bytes(), status.st_mtime_ns, status.st_size
    except OSError as error:
        raise SourceError(path, None, f"cannot be read: {error.strerror or error}") from None


def dominant_newline(text: str) -> str:
    if "\r" not in text:
        return "\n"
    crlf = text.count("\r\n")
    lf = text.count("\n") - crlf
    cr = text.count("\r") - crlf
    if crlf > max(lf, cr):
        return "\r\n"
    return "\r" if cr > lf else "\n"


def _encoding(path: Path, data: bytes) -> str:
    """PEP 263: a byte order mark, else a coding cookie in the first two lines, else UTF-8."""
    marked = data.startswith(codecs.BOM_UTF8)
    if not marked and b"coding" not in data[:400]:
        return "utf-8"
    for row, line in enumerate(data[3 if marked else 0 :].splitlines()[:2], 1):
        cookie = _COOKIE.match(line)
        if cookie:
            name = cookie[1].decode("ascii")
            try:
                known = codecs.lookup(name).name
            except LookupError:
                raise SourceError(path, row, f"unknown encoding {name!r}") from None
            if marked and known != "utf-8":
                raise SourceError(path, row, f"the coding cookie says {name}, the byte order mark says UTF-8")
            if not marked:
                return known
        if not _BLANK.match(line):
            break
    return "utf-8-sig" if marked else "utf-8"


def _decode(path: Path, data: bytes, encoding: str) -> str:
    if data.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)):
        raise SourceError(path, 1, "is UTF-16; Python reads UTF-8 or what a coding cookie names")
    try:
        text = data.decode(encoding)
    except UnicodeDecodeError as error:
        row = data.count(b"\n", 0, error.start) + 1
        column = error.start - (data.rfind(b"\n", 0, error.start) + 1) + 1
        name = encoding.removesuffix("-sig").upper()
        hint = "" if encoding.startswith("utf-8") and b"coding" in data[:400] else " and no coding cookie names another"
        message = f"byte 0x{data[error.start]:02x} in column {column} is not {name}{hint}"
        raise SourceError(path, row, message) from None
    except (LookupError, ValueError, TypeError) as error:  # codecs that are no text encodings, like "hex"
        raise SourceError(path, 1, f"encoding {encoding!r} cannot be decoded: {error}") from None
    if "\0" in text:
        raise SourceError(path, text.count("\n", 0, text.index("\0")) + 1, "holds a null byte")
    return text
