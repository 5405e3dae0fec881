"""Findings that are known: a file of them, so that a first run starts green and only what is new is reported.

An entry names the file, the rule and the text of the statement, never a row: code above may move. Equal entries are
counted. What matches no finding any more is reported, so that the file shrinks with the code's mistakes.
"""

from __future__ import annotations

import json
import os
from collections import Counter
from collections.abc import Collection, Iterable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

from tricklint.finding import Finding
from tricklint.settings import SettingsError
from tricklint.source import ignores
from tricklint.source.text import Source

DEFAULT_NAME = ".tricklint-baseline.json"
_VERSION = 1


@dataclass(frozen=True, order=True)
class Entry:
    """`path` is relative to the baseline's folder, with slashes; `text` is the statement on one line."""

    path: str
    code: str
    text: str


@dataclass
class Baseline:
    """The known findings of one file."""

    file: Path
    entries: Counter[Entry] = field(default_factory=Counter)

    @classmethod
    def read(cls, file: Path) -> Baseline:
        """Raises SettingsError when there is no such file, or it is no baseline."""
        try:
            table = json.loads(file.read_text(encoding="utf-8"))
            if table["version"] != _VERSION:
                raise SettingsError(f"{_shown(file)}: a baseline of version {table['version']!r}, not {_VERSION}")
            entries: Counter[Entry] = Counter()
            for item in table["findings"]:
                entry = Entry(item["path"], item["code"], item["text"])
                count = item.get("count", 1)
                if not all(isinstance(part, str) for part in (entry.path, entry.code, entry.text)) or count < 1:
                    raise ValueError("an entry needs path, code, text and a count")
                entries[entry] += count
        except OSError as error:
            raise SettingsError(
                f"{_shown(file)}: the baseline cannot be read: {error.strerror}; --write-baseline makes one"
            ) from None
        except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
            raise SettingsError(f"{_shown(file)}: is no baseline: {type(error).__name__}: {error}") from None
        return cls(file, entries)

    def new(self, findings: Iterable[Finding], sources: Mapping[Path, Source]) -> list[Finding]:
        """The findings that are not known."""
        left = self.entries.copy()
        texts = _Texts(self.file.parent, sources)
        found = []
        for finding in findings:
            entry = texts.entry(finding)
            if left[entry] > 0:
                left[entry] -= 1
            else:
                found.append(finding)
        return found

    def stale(
        self, findings: Iterable[Finding], sources: Mapping[Path, Source], asked: Collection[Path], ran: Collection[str]
    ) -> list[Entry]:
        """The entries about files that were asked for, or are gone, and rules that ran, which no finding matches."""
        texts = _Texts(self.file.parent, sources)
        found = Counter(texts.entry(finding) for finding in findings)
        checked = {_relative(path, self.file.parent) for path in asked}
        return sorted(
            entry
            for entry, count in self.entries.items()
            if entry.code in ran
            and (entry.path in checked or not (self.file.parent / entry.path).exists())
            and found[entry] < count
        )

    def complaints(
        self, findings: Iterable[Finding], sources: Mapping[Path, Source], asked: Collection[Path], ran: Collection[str]
    ) -> list[str]:
        """One line about the stale entries, if there are any."""
        stale = self.stale(findings, sources, asked, ran)
        if not stale:
            return []
        first = f"{stale[0].path}: {stale[0].code} {stale[0].text[:60]}"
        more = f" and {len(stale) - 1} more" if len(stale) > 1 else ""
        return [f"{_shown(self.file)}: matches nothing any more: {first}{more}; --write-baseline takes them out"]

    def write(
        self, findings: Iterable[Finding], sources: Mapping[Path, Source], asked: Collection[Path], ran: Collection[str]
    ) -> int:
        """Replace what is known about the files that were asked for and the rules that ran; gives the number of all
        entries. Raises SettingsError."""
        checked = {_relative(path, self.file.parent) for path in asked}
        texts = _Texts(self.file.parent, sources)
        kept = {
            entry: count
            for entry, count in self.entries.items()
            if (entry.path not in checked or entry.code not in ran) and (self.file.parent / entry.path).exists()
        }
        self.entries = Counter(kept) + Counter(texts.entry(finding) for finding in findings)
        items = [
            {"path": entry.path, "code": entry.code, "text": entry.text} | ({"count": count} if count > 1 else {})
            for entry, count in sorted(self.entries.items())
        ]
        text = json.dumps({"version": _VERSION, "findings": items}, indent=1, ensure_ascii=False)
        temporary = self.file.with_name(f"{self.file.name}.{os.getpid()}.tmp")
        try:
            temporary.write_text(text + "\n", encoding="utf-8")
            temporary.replace(self.file)
        except OSError as error:
            with suppress(OSError):
                temporary.unlink(missing_ok=True)
            raise SettingsError(f"{_shown(self.file)}: cannot be written: {error.strerror}") from None
        return self.entries.total()


class _Texts:
    """Findings as entries; each file is tokenized once."""

    def __init__(self, folder: Path, sources: Mapping[Path, Source]) -> None:
        self._folder = folder
        self._sources = sources
        self._statements: dict[Path, ignores.Ignores] = {}

    def entry(self, finding: Finding) -> Entry:
        return Entry(_relative(finding.path, self._folder), finding.code, self._text(finding))

    def _text(self, finding: Finding) -> str:
        source = self._sources.get(finding.path)
        if source is None:
            return ""
        if finding.path not in self._statements:
            self._statements[finding.path] = ignores.scan(source.text)
        first, last = self._statements[finding.path].statement(finding.location.row)
        return " ".join(" ".join(source.lines[first - 1 : last]).split())


def _relative(path: Path, folder: Path) -> str:
    try:
        return Path(os.path.relpath(path, folder)).as_posix()
    except ValueError:  # another drive
        return path.as_posix()


def _shown(path: Path) -> str:
    try:
        return path.relative_to(Path.cwd()).as_posix()
    except ValueError:
        return path.as_posix()
