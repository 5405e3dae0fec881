"""What a run looks at: the files asked for, those that rules may look across, and those that start an inquiry."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from tricklint.rule import Rule
from tricklint.settings import Settings
from tricklint.source.cache import Cache
from tricklint.source.files import collect
from tricklint.source.screen import Screened, quiet_parsing, screen, trigger_words
from tricklint.source.text import Problem, Source, SourceError, digest, read_bytes

if TYPE_CHECKING:
    from tricklint.traced import Traced


@dataclass
class Universe:
    """`asked`: findings are reported for these. `sources`: every file that could be parsed. `roots`: those with a
    trigger word. `digests`: of all files as they were read, for the cache."""

    asked: frozenset[Path]
    settings: Settings
    sources: dict[Path, Source] = field(default_factory=dict)
    roots: set[Path] = field(default_factory=set)
    problems: list[Problem] = field(default_factory=list)
    digests: dict[Path, str | None] = field(default_factory=dict)
    traced: Traced | None = None  # with `--trace`, once the models were built
    _loaded: dict[Path, Source | None] = field(default_factory=dict)

    def load(self, path: Path) -> Source | None:
        """A file beyond the universe that some import leads to; None when it cannot be read or parsed."""
        if path in self.digests:
            return self.sources.get(path)
        if path not in self._loaded:
            self._loaded[path] = self._load(path)
        return self._loaded[path]

    def _load(self, path: Path) -> Source | None:
        try:
            source = Source.read(path)
        except SourceError:
            return None
        with quiet_parsing():
            return None if screen(source, ()).problem else source

    @property
    def looked_beyond(self) -> dict[Path, str | None]:
        """The files outside the universe that were asked for, with what was found (None: nothing)."""
        return {path: source.digest if source else None for path, source in self._loaded.items()}

    def import_roots(self) -> Sequence[Path]:
        return self.settings.src


@dataclass(frozen=True)
class Raw:
    """A file's bytes and the stamp it had when they were read."""

    data: bytes
    mtime_ns: int
    size: int


def read_universe(
    paths: Sequence[Path], settings: Settings, stdin: Source | None = None
) -> tuple[Universe, dict[Path, Raw]]:
    """Find the files and read their bytes (no more: a cached run needs no text)."""
    asked, problems = ([stdin.path], []) if stdin else collect(paths, settings)
    everything = set(asked)
    if stdin is not None or any(not Path(path).is_dir() for path in paths):
        # Only some files were named, as pre-commit does: rules still look across the whole project.
        if settings.config_file or (settings.root / ".git").exists():
            everything.update(collect([settings.root], settings)[0])
    universe = Universe(frozenset(asked), settings, problems=problems)
    raws = {}
    for path in sorted(everything):
        try:
            data, mtime_ns, size = (stdin.data, 0, 0) if stdin and path == stdin.path else read_bytes(path)
        except SourceError as error:
            universe.digests[path] = None
            if path in universe.asked:
                universe.problems.append(error.problem)
            continue
        raws[path] = Raw(data, mtime_ns, size)
        universe.digests[path] = digest(data)
    return universe, raws


def screen_universe(
    universe: Universe, raws: Mapping[Path, Raw], rules: Sequence[Rule], known: Sequence[Rule], cache: Cache
) -> None:
    """Decode and screen the files; fills `sources`, `roots` and `problems`."""
    words = root_words(raws, rules, known)
    earlier = cache.screened(words)
    with quiet_parsing():
        for path, raw in raws.items():
            source: Source | None = None
            problems: list[Problem] = []
            try:
                source = Source.from_bytes(path, raw.data, raw.mtime_ns, raw.size)
                problems += source.problems
                key = universe.digests[path] or ""
                screened = earlier.get(key) if not source.is_notebook else None
                if screened is None:
                    screened = earlier[key] = screen(source, words)
            except SourceError as error:
                problems.append(error.problem)
                screened = Screened(False)
            if screened.problem:
                problems.append(Problem(path, screened.problem.row, screened.problem.message))
            elif source:
                universe.sources[path] = source
                if screened.hit:
                    universe.roots.add(path)
            if path in universe.asked:
                universe.problems += problems
    cache.keep_screened(words, earlier)


def root_words(raws: Mapping[Path, Raw], rules: Sequence[Rule], known: Sequence[Rule]) -> tuple[bytes, ...]:
    """The words that make a file a root. What a rule finds in one file may hang on what another file does with it, so
    a rule that is selected alone starts from the files of all `known` rules, if it has anything to look for at all."""
    words = [word for rule in rules for word in (rule.triggers or ("",))]
    across = trigger_words(word for rule in rules if not rule.file_alone for word in (rule.triggers or ("",)))
    if any(word in raw.data for raw in raws.values() for word in across):
        words += [word for rule in known for word in rule.triggers]
    return trigger_words(words)


def texts_of(raws: Mapping[Path, Raw], paths: Iterable[Path]) -> dict[Path, Source]:
    """The sources of some files, to show findings of a remembered run."""
    found = {}
    for path in set(paths):
        try:
            raw = raws.get(path)
            found[path] = Source.from_bytes(path, raw.data) if raw else Source.read(path)
        except SourceError:
            continue
    return found
