"""Which files: paths → Python files and notebooks, past ignore files, virtual environments and symbolic links."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Iterator
from functools import cached_property
from pathlib import Path

from tricklint.settings import CONFIG_FILES, Settings, config_of
from tricklint.source.gitignore import Patterns, line_of
from tricklint.source.text import Problem, SourceError, read_bytes
from tricklint.source.tracked import tracked

SUFFIXES = (".py", ".ipynb")
_IGNORE_FILES = (".gitignore", ".git/info/exclude")


class Globs:
    """gitignore patterns that start at one folder."""

    def __init__(self, folder: Path, lines: Iterable[str]) -> None:
        self.prefix = f"{folder}{os.sep}"
        self._lines = [line for line in map(line_of, lines) if line is not None]

    @cached_property
    def _patterns(self) -> Patterns:
        return Patterns(self._lines)

    def verdict(self, path: str) -> bool | None:
        """True: ignored, False: taken back by a `!` pattern, None: no pattern says anything."""
        if not self._lines or not path.startswith(self.prefix):
            return None
        return self._patterns.verdict(path[len(self.prefix) :].replace(os.sep, "/"))


def _ignore_globs(folder: Path) -> Iterator[Globs]:
    for name in _IGNORE_FILES:
        try:
            data = read_bytes(folder / name)[0]
        except SourceError:  # none, or one that cannot be read, as git passes over it
            continue
        yield Globs(folder, data.decode("utf-8-sig", errors="surrogateescape").split("\n"))


def _above(folder: Path) -> list[Globs]:
    """Ignore files from the repository's top down to `folder`; only the folder's own outside a repository."""
    top = next((f for f in (folder, *folder.parents) if (f / ".git").exists()), folder)
    chain = [f for f in (*reversed(folder.parents), folder) if f == top or top in f.parents]
    return [globs for f in chain for globs in _ignore_globs(f)]


def _ignored(path: str, globs: list[Globs]) -> bool:
    for one in reversed(globs):  # the deepest ignore file speaks first
        verdict = one.verdict(path)
        if verdict is not None:
            return verdict and not tracked(path, SUFFIXES)
    return False


class Excludes:
    """`exclude` and `extend-exclude`: gitignore patterns from the project's root; bare names hold anywhere."""

    def __init__(self, settings: Settings) -> None:
        from tricklint.settings import DEFAULT_EXCLUDE

        usual = frozenset(DEFAULT_EXCLUDE)
        self._root = settings.root
        self._names = usual.intersection(settings.exclude)
        self._globs = Globs(settings.root, [glob for glob in settings.exclude if glob not in usual])

    def match(self, path: str, *, folder: bool = False) -> bool:
        """Whether this very file or folder is excluded (not whether a folder above it is)."""
        return os.path.basename(path) in self._names or bool(self._globs.verdict(path + "/" if folder else path))

    def inside(self, path: Path) -> bool:
        """Whether a file, or any folder above it, is excluded."""
        return self.match(str(path)) or any(
            # What the project's own folder is called, and those above it, says nothing about what lies in it.
            self.match(str(folder), folder=True)
            for folder in path.parents
            if folder != self._root and folder not in self._root.parents
        )


def _walk(folder: Path, excludes: Excludes, globs: list[Globs], problems: list[Problem]) -> Iterator[Path]:
    for entries, here in _folders(folder, excludes, globs, problems):
        for entry in entries:
            if entry.name.endswith(SUFFIXES):
                if not (excludes.match(entry.path) or _ignored(entry.path, here)) and not _is_folder(entry, True):
                    yield Path(entry.path)


_Entries = list[os.DirEntry[str]]
_Stop = Callable[[_Entries], bool]


def _folders(
    folder: Path, excludes: Excludes, globs: list[Globs], problems: list[Problem], stop: _Stop = lambda entries: False
) -> Iterator[tuple[_Entries, list[Globs]]]:
    """The entries of a folder and of those below it, with the ignore files that hold there; not below a folder whose
    entries `stop` the walk."""
    waiting = [(folder, globs)]
    while waiting:
        folder, globs = waiting.pop()
        try:
            with os.scandir(folder) as found:
                entries = sorted(found, key=lambda entry: entry.name)
        except OSError as error:
            problems.append(Problem(folder, None, f"cannot be read: {error.strerror}"))
            continue
        yield entries, globs
        if not stop(entries):
            below = [Path(entry.path) for entry in entries if _goes_on(entry, excludes, globs)]
            waiting += [(inner, [*globs, *_ignore_globs(inner)]) for inner in reversed(below)]


def _goes_on(entry: os.DirEntry[str], excludes: Excludes, globs: list[Globs]) -> bool:
    """Whether the walk goes on into an entry. Links to folders are not followed: what they lead to is met where it
    stands, and loops end here."""
    return (
        not entry.name.endswith(SUFFIXES)
        and _is_folder(entry, False)
        and not excludes.match(entry.path, folder=True)
        and not _ignored(entry.path + "/", globs)
        and not _is_environment(entry.path)
    )


def configured_folders(folder: Path, settings: Settings) -> list[Path]:
    """The folders below `folder` with a configuration file of their own; not those below such a folder again."""
    found: list[Path] = []
    top = True

    def stop(entries: _Entries) -> bool:
        nonlocal top
        at_top, top = top, False
        if at_top or not any(entry.name in CONFIG_FILES for entry in entries):
            return False
        here = Path(entries[0].path).parent
        if config_of(here) is None:
            return False
        found.append(here)
        return True

    for _ in _folders(folder, Excludes(settings), _above(folder), [], stop):
        pass
    return found


def _is_environment(folder: str) -> bool:
    """Whether a folder is a virtual environment (venv, virtualenv, conda), whatever its name."""
    return any(os.path.exists(os.path.join(folder, mark)) for mark in ("pyvenv.cfg", "conda-meta"))


def _is_folder(entry: os.DirEntry[str], follow: bool) -> bool:
    try:
        return entry.is_dir(follow_symlinks=follow)
    except OSError:
        return False


def collect(paths: Iterable[Path], settings: Settings) -> tuple[list[Path], list[Problem]]:
    """The files under `paths`, absolute and sorted, each once, and what was wrong with the paths. A file that is named
    itself is always taken, unless `force_exclude` is on."""
    excludes = Excludes(settings)
    found: dict[Path, None] = {}
    problems: list[Problem] = []
    for given in paths:
        path = Path(os.path.abspath(given))
        if settings.force_exclude and excludes.inside(path):
            continue
        try:
            path.stat()
        except OSError as error:
            problems.append(Problem(Path(given), None, _cause(error)))
            continue
        if path.is_dir():
            found.update(dict.fromkeys(_walk(path, excludes, _above(path), problems)))
        else:
            found[path] = None
    return sorted(found), problems


def skipped(path: Path, settings: Settings) -> bool:
    """Whether walking through the project would pass a file by: excluded, ignored, or in an environment."""
    excludes = Excludes(settings)
    folders = _between(path, settings.root)
    if excludes.match(str(path)) or any(
        excludes.match(str(folder), folder=True) or _is_environment(str(folder)) for folder in folders
    ):
        return True
    globs = _above(path.parent)
    return _ignored(str(path), globs) or any(_ignored(f"{folder}/", globs) for folder in folders)


def _between(path: Path, root: Path) -> list[Path]:
    """The folders of a file below a project's root; all of them for a file that stands elsewhere."""
    return [folder for folder in path.parents if root in folder.parents or root not in path.parents]


def _cause(error: OSError) -> str:
    if isinstance(error, FileNotFoundError):
        return "does not exist"
    return f"cannot be read: {error.strerror or error}"
