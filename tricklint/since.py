"""`--since REV`: only findings in rows that changed since a git revision; their evidence may lie elsewhere."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from difflib import SequenceMatcher
from pathlib import Path

from tricklint.finding import Finding
from tricklint.settings import SettingsError
from tricklint.source.text import Source, SourceError


@dataclass
class Since:
    """Compares texts with what a revision holds. `top` is the repository's folder, `commit` the revision's hash."""

    top: Path
    commit: str
    _before: dict[Path, list[str] | None] = field(default_factory=dict)
    _changed: dict[tuple[Path, int], frozenset[int]] = field(default_factory=dict)

    @classmethod
    def of(cls, revision: str, folder: Path) -> Since:
        """Raises SettingsError when `folder` lies in no repository, or the revision is not known."""
        if revision.startswith("-"):
            raise SettingsError(f"--since: no revision is called '{revision}'")
        top = _git(folder, "rev-parse", "--show-toplevel")
        if top is None:
            raise SettingsError(f"--since: {folder} lies in no git repository, or git is not installed")
        commit = _git(folder, "rev-parse", "--verify", "--quiet", "--end-of-options", f"{revision}^{{commit}}")
        if commit is None:
            raise SettingsError(f"--since: no revision is called '{revision}'")
        return cls(Path(top.decode().strip()), commit.decode().strip())

    def new(self, findings: Iterable[Finding], sources: Mapping[Path, Source]) -> list[Finding]:
        """The findings that stand, in part at least, in rows that changed."""
        return [finding for finding in findings if self._touches(finding, sources.get(finding.path))]

    def _touches(self, finding: Finding, source: Source | None) -> bool:
        if source is None:
            return True
        key = (finding.path, id(source))
        if key not in self._changed:
            self._changed[key] = changed_rows(self._text_before(source), source.lines)
        rows = range(finding.location.row, max(finding.location.row, finding.end_location.row) + 1)
        return not self._changed[key].isdisjoint(rows)

    def _text_before(self, source: Source) -> list[str]:
        """The rows of a file at the revision; none when it did not exist, or was no text that can be read."""
        path = source.path
        if path not in self._before:
            self._before[path] = None
            try:
                name = path.resolve().relative_to(self.top.resolve()).as_posix()
            except ValueError:
                name = None
            data = _git(self.top, "cat-file", "blob", f"{self.commit}:{name}") if name else None
            if data is not None:
                with suppress(SourceError):
                    self._before[path] = Source.from_bytes(path, data).lines
        return self._before[path] or []


def changed_rows(before: list[str], after: list[str]) -> frozenset[int]:
    """The 1-based rows of `after` that are new or differ."""
    first = 0
    while first < min(len(before), len(after)) and before[first] == after[first]:
        first += 1
    last = 0
    while last < min(len(before), len(after)) - first and before[-1 - last] == after[-1 - last]:
        last += 1
    old, new = before[first : len(before) - last], after[first : len(after) - last]
    rows: set[int] = set()
    for tag, _, _, start, end in SequenceMatcher(None, old, new, autojunk=False).get_opcodes():
        if tag != "equal":
            rows.update(range(first + start + 1, first + end + 1))
    return frozenset(rows)


# The repository's own configuration may name programs: none of them is run, and nothing is fetched.
_QUIET = ("core.fsmonitor=false", "core.hooksPath=/dev/null", "protocol.allow=never")


def _git(folder: Path, *args: str) -> bytes | None:
    """What git says, None when it fails or is not there."""
    quiet = [word for pair in _QUIET for word in ("-c", pair)]
    try:
        done = subprocess.run(
            ["git", "-C", str(folder), *quiet, *args],
            capture_output=True,
            check=True,
            stdin=subprocess.DEVNULL,
            env={**os.environ, "GIT_NO_LAZY_FETCH": "1"},
        )
    except (OSError, subprocess.CalledProcessError):
        return None
    return done.stdout
