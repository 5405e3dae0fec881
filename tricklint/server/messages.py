"""What the server and its worker say to each other."""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from tricklint.finding import Finding
from tricklint.source.text import Problem


@dataclass(frozen=True)
class Document:
    """An open text; for a notebook the JSON of its cells. `version` counts the server's own changes."""

    data: bytes
    version: int


@dataclass(frozen=True)
class Check:
    """Check the `asked` documents as the open ones now stand: the `changed` first, then those that hang on them, or
    `everything`. It ends what is being checked."""

    serial: int
    open: Mapping[Path, Document]
    changed: tuple[Path, ...]
    everything: bool
    asked: frozenset[Path]
    trusted: bool = False
    since: float = field(default_factory=time.monotonic)  # when it was asked for: a clock of the whole machine


@dataclass(frozen=True)
class Mend:
    """Make every fix of one document that its settings allow."""

    serial: int
    open: Mapping[Path, Document]
    path: Path
    trusted: bool = False


@dataclass(frozen=True)
class Checked:
    """What stands in a document. `whole`: all that leads to it was followed, not only the file itself."""

    serial: int
    path: Path
    version: int
    findings: tuple[Finding, ...] = ()
    problems: tuple[Problem, ...] = ()
    whole: bool = True
    pages: Mapping[str, str] = field(default_factory=dict)  # by code, of rules that were not sent before


@dataclass(frozen=True)
class Mended:
    """The document's text after all fixes, None when it was not mended because something else came between."""

    serial: int
    path: Path
    version: int
    data: bytes | None


@dataclass(frozen=True)
class Said:
    """Something that the user should know. `error`: the configuration is wrong."""

    message: str
    error: bool = False


@dataclass(frozen=True)
class Done:
    """A check came to its end, or was let go of (`stopped`)."""

    serial: int
    stopped: bool = False
