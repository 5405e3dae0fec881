"""Paths as text: os.path, pathlib and open files, as far as the code says where they lead."""

from __future__ import annotations

import os
import posixpath
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import libcst as cst

from tricklint.interpreter.behaviour import Behaviour, behaves, function, named
from tricklint.interpreter.callargs import CallArgs
from tricklint.interpreter.machine import Machine
from tricklint.interpreter.objects import plain
from tricklint.interpreter.values import NONE, UNKNOWN, Bound, Const, Instance, Prefixed, Sequence, Value, first

if TYPE_CHECKING:
    from tricklint.source.data import Datum


@dataclass(slots=True, eq=False)
class PathFacts:
    """Of a `pathlib.Path`, an open file, and the text of one: where it leads. `base`: the folder that it starts from,
    where that is not the one the program is run in."""

    text: str = ""
    pattern: str = ""  # where it is not known whole


def path_text(value: Value | None) -> str | None:
    """The path that a string, a `Path` or an open file leads to; None where it is not known."""
    at = first(value)
    if isinstance(at, Const) and isinstance(at.value, str):
        return at.value
    if isinstance(at, Instance) and at.kind in ("path", "file", "file text") and at.has(PathFacts):
        return at.fact(PathFacts).text
    return None


def path_pattern(value: Value | None) -> str | None:
    """The path that a text, a `Path` or an open file leads to, with stars for what is not known of it."""
    at = first(value)
    if isinstance(at, Prefixed):
        return at.pattern
    if isinstance(at, Instance) and at.has(PathFacts) and at.fact(PathFacts).pattern:
        return at.fact(PathFacts).pattern
    return path_text(value) or None


def path_value(m: Machine, text: str, node: cst.CSTNode, kind: str = "path") -> Instance:
    made = plain(m, "pathlib.Path" if kind == "path" else "builtins.open", CallArgs(), node)
    made.kind = kind
    made.fact(PathFacts).text = text
    return made


def places(m: Machine, text: str) -> list[Path]:
    """The files that a path may mean: one that is not absolute starts in the folder that the program is run in, which
    is the script's, or one of those above it in the project."""
    if os.path.isabs(text):
        return [Path(os.path.normpath(text))]
    script = m.frames[0].file.path.parent if m.frames else None
    if script is None:
        return []
    roots = [root for root in m.project.import_roots if root == script or root in script.parents]
    outermost = min(roots, key=lambda root: len(root.parts), default=script)
    folders = [script]
    while folders[-1] != outermost and folders[-1] != folders[-1].parent:
        folders.append(folders[-1].parent)
    return [Path(os.path.normpath(folder / text)) for folder in folders]


def data_at(m: Machine, value: Value | None) -> tuple[Path, Datum] | None:
    """The configuration file that a path, or an open file, leads to, read as data. None where there is none, or where
    several could be meant."""
    text = path_text(value)
    if not text:
        return None
    found = [(path, data) for path in places(m, text) if (data := m.project.data(path)) is not None]
    return found[0] if len(found) == 1 else None


def text_at(m: Machine, value: Value | None) -> str | None:
    """The text of a small file of the project that is no program."""
    path = path_text(value)
    found = [raw for place in places(m, path) if (raw := m.project.text(place)) is not None] if path else []
    return found[0].decode("utf-8", "replace") if len(found) == 1 else None


def there(m: Machine, text: str) -> Value:
    """Whether a file exists: a configuration file of the project does, of others that is not known."""
    return Const(True, True) if any(m.project.data(place) is not None for place in places(m, text)) else UNKNOWN


@function("os.path.exists", "os.path.isfile", "os.path.isabs")
def asked_of_path(m: Machine, name: str, args: CallArgs, node: cst.CSTNode) -> Value:
    text = path_text(args.get(0, "path"))
    known = UNKNOWN if text is None else Const(posixpath.isabs(text)) if name.endswith("isabs") else there(m, text)
    return plain(m, name, args, node) if known is UNKNOWN else known


@named("os.sep", "os.path.sep")
def separator(m: Machine) -> Value:
    return Const(posixpath.sep)


@function("os.path.join", "posixpath.join")
def joined(m: Machine, name: str, args: CallArgs, node: cst.CSTNode) -> Value:
    parts = [path_text(value) for value in args.positional]
    known = [part for part in parts if part is not None]
    if args.open or len(known) < len(parts) or not known:
        return UNKNOWN
    texts = [at for at in map(first, args.positional) if isinstance(at, Const)]
    settled = any(at.given for at in texts) and not any(at.default for at in texts)
    return Const(posixpath.join(*known), given=settled)


@function("os.path.dirname", "os.path.basename", "os.path.normpath", "os.path.splitext")
def taken_apart(m: Machine, name: str, args: CallArgs, node: cst.CSTNode) -> Value:
    text = path_text(args.get(0, "path"))
    if text is None:
        return UNKNOWN
    made = getattr(posixpath, name.rpartition(".")[2])(text)
    if isinstance(made, tuple):
        return Sequence("tuple", tuple(Const(part) for part in made), False, node, m.file)
    return Const(made)


@function("os.path.abspath", "os.path.realpath", "os.fspath", "hydra.utils.to_absolute_path")
def same_path(m: Machine, name: str, args: CallArgs, node: cst.CSTNode) -> Value:
    text = path_text(args.get(0, "path"))
    return UNKNOWN if text is None else Const(posixpath.normpath(text) if text else text)


@function("os.getcwd", "hydra.utils.get_original_cwd")
def here(m: Machine, name: str, args: CallArgs, node: cst.CSTNode) -> Value:
    return Const("")


@function("pathlib.Path", "pathlib.PurePath", "pathlib.PosixPath", "pathlib.PurePosixPath")
def path(m: Machine, name: str, args: CallArgs, node: cst.CSTNode) -> Value:
    parts = [path_text(value) for value in args.positional]
    known = [part for part in parts if part is not None]
    if args.open or len(known) < len(parts):
        return plain(m, "pathlib.Path", args, node)
    return path_value(m, posixpath.join(*known) if known else "", node)


@function("pathlib.Path.cwd", "pathlib.Path().cwd")
def current(m: Machine, name: str, args: CallArgs, node: cst.CSTNode) -> Value:
    return path_value(m, "", node)


@function("builtins.open", "io.open", "codecs.open", "fsspec.open")
def opened(m: Machine, name: str, args: CallArgs, node: cst.CSTNode) -> Value:
    given = args.get(0, "file")
    text, pattern = path_text(given), path_pattern(given)
    if text is None and pattern is None:
        return UNKNOWN
    made = path_value(m, text or "", node, "file")
    made.fact(PathFacts).pattern = "" if text is not None else pattern or ""
    return made


@behaves("path")
class PathBehaviour(Behaviour):
    def attribute(self, m: Machine, value: Instance, name: str, node: cst.CSTNode) -> Value | None:
        if name == "value":
            return value  # a member of an Enum, which stands for it
        text = value.fact(PathFacts).text
        if name == "parent":
            return path_value(m, posixpath.dirname(text), node)
        if name == "parents":
            above = [text]
            while len(above) < 16 and above[-1] not in ("", "/"):
                above.append(posixpath.dirname(above[-1]))
            return Sequence("tuple", tuple(path_value(m, each, node) for each in above[1:]), False, node, m.file)
        if name in ("name", "stem", "suffix"):
            stem, suffix = posixpath.splitext(posixpath.basename(text))
            return Const({"name": stem + suffix, "stem": stem, "suffix": suffix}[name])
        return Bound(value, None, name)

    def method(self, m: Machine, value: Instance, name: str, args: CallArgs, node: cst.CSTNode) -> Value | None:
        text = value.fact(PathFacts).text
        if name in ("resolve", "absolute", "expanduser"):
            return path_value(m, posixpath.normpath(text) if text else text, node)
        if name == "is_absolute":
            return Const(posixpath.isabs(text))
        if name in ("exists", "is_file"):
            return there(m, text)
        if name == "as_posix":
            return Const(text)
        if name == "joinpath":
            parts = [path_text(each) for each in args.positional]
            known = [part for part in parts if part is not None]
            return path_value(m, posixpath.join(text, *known), node) if len(known) == len(parts) else UNKNOWN
        if name in ("with_suffix", "with_name") and isinstance(given := first(args.get(0, "name")), Const):
            start = posixpath.splitext(text)[0] if name == "with_suffix" else posixpath.dirname(text)
            return path_value(
                m, f"{start}{given.value}" if name == "with_suffix" else posixpath.join(start, given.value), node
            )
        if name == "open":
            return path_value(m, text, node, "file")
        if name in ("read_text", "read_bytes"):
            return path_value(m, text, node, "file text")
        return NONE if name in ("mkdir", "touch", "unlink") else UNKNOWN

    def operate(self, m: Machine, node: cst.CSTNode, op: str, left: Value, right: Value) -> Value | None:
        a, b = path_text(left), path_text(right)
        if op != "Divide":
            return None
        return path_value(m, posixpath.join(a, b), node) if a is not None and b is not None else UNKNOWN

    def truth(self, m: Machine, value: Instance) -> tuple[bool | None, None] | None:
        return True, None


@behaves("file")
class FileBehaviour(Behaviour):
    def method(self, m: Machine, value: Instance, name: str, args: CallArgs, node: cst.CSTNode) -> Value | None:
        if name == "read" and not args.positional:
            return path_value(m, value.fact(PathFacts).text, node, "file text")
        return UNKNOWN


@behaves("file text")
class FileTextBehaviour(Behaviour):
    def method(self, m: Machine, value: Instance, name: str, args: CallArgs, node: cst.CSTNode) -> Value | None:
        return value if name in ("decode", "strip") else UNKNOWN

    def item(self, m: Machine, value: Instance, index: Value, node: cst.CSTNode) -> Value | None:
        return UNKNOWN


__all__ = ["PathFacts", "data_at", "path_pattern", "path_text", "path_value", "places", "text_at"]
