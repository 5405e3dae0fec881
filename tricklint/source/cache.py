"""`.tricklint_cache/`: what earlier runs found, keyed by everything that it depends on. Never stops a run.

Entries are JSON, never pickles: a folder that came with somebody's repository must not be able to run code.
"""

from __future__ import annotations

import hashlib
import json
import os
import sys
from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

import tricklint
from tricklint.finding import Edit, Evidence, Finding, Fix, FixLevel, Location, Severity
from tricklint.rule import Rule
from tricklint.settings import Settings
from tricklint.source.screen import Screened
from tricklint.source.text import Problem, digest, read_bytes

FOLDER = ".tricklint_cache"
_TAG = "Signature: 8a477f597d28d172789f06886806bc55\n# Made by tricklint; may be deleted at any time.\n"
_KEPT_RESULTS = 16
_KEPT_SCREENED = 50_000  # files


def tool_digest(rules: Iterable[Rule]) -> str:
    """Changes whenever the tool or a rule does: version, Python, and the stamp of each of their files."""
    files = {Path(sys.modules[type(rule).__module__].__file__ or "") for rule in rules}
    files.update(Path(tricklint.__file__).parent.rglob("*.py"))
    stamps = [tricklint.__version__, sys.version]
    for path in sorted(files):
        try:
            status = path.stat()
        except OSError:
            continue
        stamps.append(f"{path}\0{status.st_mtime_ns}\0{status.st_size}")
    return hashlib.blake2b("\n".join(stamps).encode(), digest_size=16).hexdigest()


class Cache:
    """`Cache(None, …)` keeps nothing."""

    def __init__(self, folder: Path | None, tool: str = "") -> None:
        self._folder = folder
        self._tool = tool

    @classmethod
    def of(cls, settings: Settings, rules: Iterable[Rule], *, enabled: bool) -> Cache:
        if not enabled:
            return cls(None)
        folder = os.environ.get("TRICKLINT_CACHE_DIR")
        return cls(Path(folder) if folder else settings.root / FOLDER, tool_digest(rules))

    # -- screen results, by the digest of a file ----------------------------------------------------------------------

    def screened(self, words: Sequence[bytes]) -> dict[str, Screened]:
        entries = self._read("screen", self._key(*words))
        try:
            return {
                key: Screened(hit, Problem(None, row, message) if message else None)
                for key, (hit, row, message) in entries.items()
            }
        except (AttributeError, TypeError, ValueError):
            return {}

    def keep_screened(self, words: Sequence[bytes], screened: Mapping[str, Screened]) -> None:
        table = {
            key: [one.hit, one.problem.row if one.problem else None, one.problem.message if one.problem else ""]
            for key, one in list(screened.items())[-_KEPT_SCREENED:]
        }
        self._write("screen", self._key(*words), table)

    # -- whole results ------------------------------------------------------------------------------------------------

    def result_key(self, digests: Mapping[Path, str | None], asked: Iterable[Path], settings: Settings) -> str:
        files = (f"{path}\0{of_file}".encode() for path, of_file in sorted(digests.items()))
        return self._key(repr(settings).encode(), b"\n".join(files), *(str(path).encode() for path in sorted(asked)))

    def result(self, key: str) -> tuple[list[Finding], list[Problem], int] | None:
        """(findings, problems, suppressed) of an equal run, when the files it looked at beyond are unchanged too."""
        entry = self._read("results", key)
        try:
            if any(_digest_now(Path(path)) != before for path, before in entry["beyond"].items()):
                return None
            findings = [_finding(item) for item in entry["findings"]]
            problems = [Problem(Path(p) if p else None, *rest) for p, *rest in entry["problems"]]
            return findings, problems, int(entry["suppressed"])
        except (AttributeError, KeyError, TypeError, ValueError):
            return None

    def keep_result(
        self,
        key: str,
        findings: Iterable[Finding],
        problems: Iterable[Problem],
        suppressed: int,
        beyond: Mapping[Path, str | None],
    ) -> None:
        entry = {
            "findings": [_plain(finding) for finding in findings],
            "problems": [[str(p.path) if p.path else None, p.row, p.message, p.cell] for p in problems],
            "suppressed": suppressed,
            "beyond": {str(path): of_file for path, of_file in beyond.items()},
        }
        self._write("results", key, entry)

    # -- files --------------------------------------------------------------------------------------------------------

    def _key(self, *parts: bytes) -> str:
        joined = b"\0\0".join((self._tool.encode(), *parts))
        return hashlib.blake2b(joined, digest_size=16).hexdigest()

    def _read(self, kind: str, key: str) -> dict[str, Any]:
        if self._folder is None:
            return {}
        try:
            entry = json.loads((self._folder / kind / f"{key}.json").read_bytes())
        except (OSError, ValueError, RecursionError):
            return {}
        return entry if isinstance(entry, dict) else {}

    def _write(self, kind: str, key: str, entry: Mapping[str, Any]) -> None:
        """Write whole or not at all; a full disk or a read-only folder is no reason to complain."""
        if self._folder is None:
            return
        folder = self._folder / kind
        with suppress(OSError):
            if not folder.is_dir():
                folder.mkdir(parents=True, exist_ok=True)
                (self._folder / ".gitignore").write_text("*\n", encoding="utf-8")
                (self._folder / "CACHEDIR.TAG").write_text(_TAG, encoding="utf-8")
            temporary = folder / f"{key}.{os.getpid()}.tmp"
            try:
                temporary.write_text(json.dumps(entry), encoding="utf-8")
                temporary.replace(folder / f"{key}.json")
            finally:
                temporary.unlink(missing_ok=True)
            _forget_oldest(folder)


def _forget_oldest(folder: Path) -> None:
    entries = sorted(folder.glob("*.json"), key=lambda path: path.stat().st_mtime_ns)
    for path in entries[:-_KEPT_RESULTS]:
        path.unlink(missing_ok=True)


def _digest_now(path: Path) -> str | None:
    try:
        return digest(read_bytes(path)[0])
    except Exception:
        return None


def _spot(location: Location) -> list[int]:
    return [location.row, location.column]


def _plain(finding: Finding) -> dict[str, Any]:
    fix = finding.fix
    return {
        "code": finding.code,
        "name": finding.name,
        "severity": finding.severity.value,
        "message": finding.message,
        "path": str(finding.path),
        "at": [_spot(finding.location), _spot(finding.end_location)],
        "evidence": [[str(e.path), _spot(e.location), _spot(e.end_location), e.message] for e in finding.evidence],
        "fix": fix
        and {
            "level": fix.level.value,
            "message": fix.message,
            "reason": fix.reason,
            "edits": [[str(e.path), _spot(e.location), _spot(e.end_location), e.content] for e in fix.edits],
        },
        "pedantic": finding.pedantic,
        "confirmed": finding.confirmed,
    }


def _finding(item: dict[str, Any]) -> Finding:
    fix = item["fix"]
    return Finding(
        item["code"],
        item["name"],
        Severity(item["severity"]),
        item["message"],
        Path(item["path"]),
        Location(*item["at"][0]),
        Location(*item["at"][1]),
        tuple(Evidence(Path(p), Location(*start), Location(*end), text) for p, start, end, text in item["evidence"]),
        fix
        and Fix(
            FixLevel(fix["level"]),
            fix["message"],
            tuple(Edit(Path(p), Location(*start), Location(*end), text) for p, start, end, text in fix["edits"]),
            fix["reason"],
        ),
        item["pedantic"],
        item["confirmed"],
    )
