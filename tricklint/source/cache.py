"""`.tricklint_cache/`: what earlier runs found, keyed by everything that it depends on. Never stops a run.

A folder that came with somebody's repository must not be able to do harm: it is handled with the care that
`tricklint.source.vault` describes, and entries are JSON, never pickles, whose every value is held against its schema.
"""

from __future__ import annotations

import hashlib
import json
import os
import sys
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import tricklint
from tricklint.finding import Finding
from tricklint.rule import Rule
from tricklint.settings import Settings
from tricklint.source.entries import finding_of, plain_finding, plain_problem, problem_of
from tricklint.source.screen import Screened
from tricklint.source.text import Problem, digest_now
from tricklint.source.vault import Vault

FOLDER = ".tricklint_cache"
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
        self._vault = Vault(folder) if folder else None
        self._tool = tool

    @classmethod
    def of(cls, settings: Settings, rules: Iterable[Rule], *, enabled: bool) -> Cache:
        if not enabled:
            return cls(None)
        return cls(cls.folder(settings), tool_digest(rules))

    @staticmethod
    def folder(settings: Settings) -> Path:
        """Where the cache of a project is."""
        folder = os.environ.get("TRICKLINT_CACHE_DIR")
        # What the user names may be a link of theirs; what stands in the project must be no link.
        return Path(os.path.realpath(folder)) if folder else settings.root / FOLDER

    @classmethod
    def clear(cls, settings: Settings) -> tuple[int, int]:
        """Remove all entries of a project's cache; how many were removed, and how many could not be."""
        return Vault(cls.folder(settings)).clear()

    @property
    def refusal(self) -> str:
        """Why the folder that the user named is not used, in one line; empty when there is no such reason."""
        if self._vault is None or not os.environ.get("TRICKLINT_CACHE_DIR") or not self._vault.foreign:
            return ""
        return (
            f"TRICKLINT_CACHE_DIR: {self._vault.folder} was not made by tricklint and is left alone: nothing is cached"
        )

    # -- screen results, by the digest of a file ----------------------------------------------------------------------

    def screened(self, words: Sequence[bytes]) -> dict[str, Screened]:
        found = {}
        for key, value in self._read("screen", self._key(*words)).items():
            match value:
                case [bool(hit), None | int() as row, str(message)]:
                    found[key] = Screened(hit, Problem(None, row, message) if message else None)
                case _:
                    return {}
        return found

    def keep_screened(self, words: Sequence[bytes], screened: Mapping[str, Screened]) -> None:
        table = {
            key: [one.hit, one.problem.row if one.problem else None, one.problem.message if one.problem else ""]
            for key, one in list(screened.items())[-_KEPT_SCREENED:]
        }
        self._write("screen", self._key(*words), table)

    # -- whole results ------------------------------------------------------------------------------------------------

    def result_key(self, digests: Mapping[Path, str | None], asked: Iterable[Path], settings: Settings) -> str:
        files = (os.fsencode(f"{path}\0{of_file}") for path, of_file in sorted(digests.items()))
        return self._key(repr(settings).encode("utf-8", "backslashreplace"), b"\n".join(files), *(os.fsencode(path) for path in sorted(asked)))

    def result(self, key: str) -> tuple[list[Finding], list[Problem], int] | None:
        """(findings, problems, suppressed) of an equal run, when the files it looked at beyond are unchanged too."""
        entry = self._read("results", key)
        try:
            if any(digest_now(Path(path)) != before for path, before in entry["beyond"].items()):
                return None
            findings = [finding_of(item) for item in entry["findings"]]
            problems = [problem_of(item) for item in entry["problems"]]
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
            "findings": [plain_finding(finding) for finding in findings],
            "problems": [plain_problem(problem) for problem in problems],
            "suppressed": suppressed,
            "beyond": {str(path): of_file for path, of_file in beyond.items()},
        }
        self._write("results", key, entry)

    # -- parts of big projects, by what their answers hang on ---------------------------------------------------------

    def parts(self, of: str) -> dict[str, Any]:
        """What `keep_parts` kept last."""
        return self._read("parts", self._key(of.encode("utf-8", "backslashreplace")))

    def keep_parts(self, of: str, table: Mapping[str, Any]) -> None:
        self._write("parts", self._key(of.encode("utf-8", "backslashreplace")), table)

    # -- files --------------------------------------------------------------------------------------------------------

    def _key(self, *parts: bytes) -> str:
        joined = b"\0\0".join((self._tool.encode(), *parts))
        return hashlib.blake2b(joined, digest_size=16).hexdigest()

    def _read(self, kind: str, key: str) -> dict[str, Any]:
        data = self._vault.read(kind, key) if self._vault else None
        try:
            entry = json.loads(data or b"{}")
        except (ValueError, RecursionError):
            return {}
        return entry if isinstance(entry, dict) else {}

    def _write(self, kind: str, key: str, entry: Mapping[str, Any]) -> None:
        """A full disk or a read-only folder is no reason to complain."""
        if self._vault:
            self._vault.keep(kind, key, json.dumps(entry).encode(), _KEPT_RESULTS)
