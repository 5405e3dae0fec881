"""What a run looks at: the files asked for, those that rules may look across, and those that start an inquiry."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING

from tricklint.rule import Rule
from tricklint.settings import Settings
from tricklint.settings.load import PROJECT_FILES
from tricklint.source.cache import Cache
from tricklint.source.files import collect
from tricklint.source.patience import Patience
from tricklint.source.screen import Screened, quiet_parsing, screen, trigger_words
from tricklint.source.shelf import Raw, Shelf
from tricklint.source.text import Problem, Source, SourceError

if TYPE_CHECKING:
    from tricklint.crew import Crew
    from tricklint.interpreter.yields import Haste
    from tricklint.traced import Traced
    from tricklint.watching.verdicts import Watched


@dataclass
class Universe:
    """`asked`: findings are reported for these. `sources`: every file that could be parsed. `roots`: those with a
    trigger word; `entries`: the only ones of them to follow, if not all. `digests`: of all files as they were read, for
    the cache. `watch` is called now and then, and may raise to end a run; `patience` says how soon
    an answer is wanted, if that is to be soon. `ran`: once it was followed, the files that were
    run, with those that each of them ran. `haste`: how each entry was followed; in other
    texts it is followed alike."""

    asked: frozenset[Path]
    settings: Settings
    shelf: Shelf = field(default_factory=Shelf)
    sources: dict[Path, Source] = field(default_factory=dict)
    roots: set[Path] = field(default_factory=set)
    problems: list[Problem] = field(default_factory=list)
    digests: dict[Path, str | None] = field(default_factory=dict)
    traced: Traced | None = None  # with `--trace`, once the models were built
    watched: Watched | None = None  # with `--watched`
    crew: Crew | None = None  # processes that stand ready to follow parts
    entries: frozenset[Path] | None = None
    watch: Callable[[], None] = lambda: None
    patience: Patience | None = None
    ran: dict[Path, frozenset[Path]] = field(default_factory=dict)
    haste: dict[str, Haste] = field(default_factory=dict)
    touched: set[Path] = field(default_factory=set)  # what `load` and `read` were asked for since it was cleared
    walked: tuple[Path, ...] = ()  # the folders all of whose files are looked at
    _loaded: dict[Path, Source | None] = field(default_factory=dict)
    _data: dict[Path, Raw | None] = field(default_factory=dict)

    def load(self, path: Path) -> Source | None:
        """A file beyond the universe that some import leads to; None when it cannot be read or parsed. That nothing is
        there is remembered too: a result no longer holds once it appears."""
        if path in self.digests:
            return self.sources.get(path)
        if any(path.is_relative_to(folder) for folder in self.walked) and not path.exists():
            return None  # should it appear, it is among the files that were asked for
        self.touched.add(path)
        if path not in self._loaded:
            self._loaded[path] = self._load(path)
        return self._loaded[path]

    def read(self, path: Path) -> bytes | None:
        """The bytes of a configuration file; None when it cannot be read."""
        self.touched.add(path)
        if path not in self._data:
            try:
                self._data[path] = self.shelf.read(path)
            except SourceError:
                self._data[path] = None
        raw = self._data[path]
        return raw.data if raw is not None else None

    def _load(self, path: Path) -> Source | None:
        self.watch()
        if self.patience is not None and self.patience.passes_by(path):
            return None
        try:
            raw = self.shelf.read(path)
            screened = raw.screened(())
            if screened is None:
                with quiet_parsing():
                    screened = screen(raw.source, ())
                raw.keep_screened((), screened)
            return None if screened.problem else raw.source
        except SourceError:
            return None

    @property
    def looked_beyond(self) -> dict[Path, str | None]:
        """The files outside the universe that were asked for, with what was found (None: nothing)."""
        return self.digests_of([*self._loaded, *self._data])

    def digests_of(self, paths: Iterable[Path]) -> dict[Path, str | None]:
        """Of files that `load` and `read` were asked for."""
        beyond: dict[Path, Source | Raw | None] = {**self._loaded, **self._data}
        return {path: one.digest if (one := beyond.get(path)) else None for path in paths}

    def only(self, entries: frozenset[Path]) -> Universe:
        """The same, of which these files alone are followed."""
        return replace(self, entries=entries if self.entries is None else entries & self.entries)

    def import_roots(self) -> Sequence[Path]:
        return self.settings.src


def read_universe(
    paths: Sequence[Path], settings: Settings, shelf: Shelf, watch: Callable[[], None] = lambda: None
) -> tuple[Universe, dict[Path, Raw]]:
    """Find the files and read their bytes (no more: a cached run needs no text). A path that lies open on the shelf
    need not exist on the disk."""
    open_ = [path for path in paths if path in shelf.open]
    asked, problems = collect([path for path in paths if path not in shelf.open], settings)
    asked += open_
    everything = set(asked)
    walked = [Path(os.path.abspath(path)) for path in paths if Path(path).is_dir()]
    if open_ or any(not Path(path).is_dir() for path in paths):
        # Only some files were named, as pre-commit does: rules still look across the whole project.
        if settings.config_file or any((settings.root / name).exists() for name in (".git", *PROJECT_FILES)):
            everything.update(collect([settings.root], settings)[0])
            walked.append(settings.root)
    universe = Universe(frozenset(asked), settings, shelf, problems=problems, walked=tuple(walked), watch=watch)
    raws = {}
    for path in sorted(everything):
        watch()
        try:
            raw = shelf.read(path)
        except SourceError as error:
            universe.digests[path] = None
            if path in universe.asked:
                universe.problems.append(error.problem)
            continue
        raws[path] = raw
        universe.digests[path] = raw.digest
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
                source = raw.source
                problems += source.problems
                screened = raw.screened(words) or (None if source.is_notebook else earlier.get(raw.digest))
                if screened is None:
                    universe.watch()
                    screened = earlier[raw.digest] = screen(source, words)
                raw.keep_screened(words, screened)
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
            found[path] = raws[path].source if path in raws else Source.read(path)
        except SourceError:
            continue
    return found
