"""Who imports whom, by the text alone: more edges than a run would follow, never fewer, for the price of a search."""

from __future__ import annotations

import os
import re
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

_WORD = re.compile(r"\bimport\b")
_BEFORE = re.compile(r"(?:^|.*[;:])[ \t]*(?:from[ \t]*(\.*)[ \t]*([\w.]*)[ \t]+)?$")
_AFTER = re.compile(r"[ \t]*(\([^)]*\)|[^\n;]+)")
_COMMENT = re.compile(r"#[^\n]*")
_BY_NAME = ("import_module", "__import__", "exec_module", "runpy")
_OF_A_PROJECT = ("setup.py", "setup.cfg", "pyproject.toml")
_BINDS = r"^(?:[ \t]*(?:async +def|def|class) +{name}\b|{name} *[:=,]|from +\.[\w.]* +import .*\b{name}\b)"
_QUOTED = re.compile(r"""["']([A-Za-z_][\w./]*?)\.?(?:["']|\{)""")


@dataclass(frozen=True)
class Statement:
    """`from` (dots and all) and the names; for `import a.b` there are no names. `whole`: any file below may be meant."""

    level: int
    dotted: str
    names: tuple[str, ...] = ()
    whole: bool = False


def statements(text: str) -> tuple[Statement, ...]:
    """The import statements of a text, and what a module named in a string may be."""
    if "import" not in text:
        return ()
    found: set[Statement] = set()
    if "\r" in text:
        text = text.replace("\r\n", "\n").replace("\r", "\n")
    text = text.replace("\\\n", " ")
    for match in _WORD.finditer(text):
        at = match.start()
        before = _BEFORE.match(text[text.rfind("\n", 0, at) + 1 : at])
        after = _AFTER.match(text, match.end())
        if before is None or after is None:
            continue
        dots, dotted = before.groups()
        names = [part.split()[0] for part in _COMMENT.sub("", after[1]).strip("() \t\n").split(",") if part.split()]
        if dotted is None:
            found.update(Statement(0, name) for name in names)
        else:
            found.add(Statement(len(dots), dotted, tuple(names)))
    if any(word in text for word in _BY_NAME):
        for match in _QUOTED.finditer(text):
            found.add(Statement(0, match[1].replace("/", ".").strip("."), whole=True))
    return tuple(sorted(found, key=repr))


def by_module(paths: Iterable[Path]) -> dict[str, list[Path]]:
    """Files by the name that an import has for them: a package's is that of its folder."""
    found: dict[str, list[Path]] = defaultdict(list)
    for path in paths:
        found[path.parent.name if path.stem == "__init__" else path.stem].append(path)
    return found


def roots_meant(
    wanted: Iterable[Statement], resolves: Callable[[Sequence[str]], bool], files: Mapping[str, Sequence[Path]], project: Path
) -> list[Path]:
    """The folders of the project that a file's absolute imports can only mean where Python would find them nowhere: the
    script is run with them on its path. One says so that names a folder and a file in it that exist but once (`data.faces`),
    not a name alone; a folder that is a project of its own (another's, copied here) is none. `files`: `by_module`."""
    found: dict[Path, None] = {}
    for one in wanted:
        if one.level or one.whole or not one.dotted:
            continue
        parts = one.dotted.split(".")
        for path in [parts] if len(parts) > 1 else [[*parts, name] for name in one.names]:
            if resolves(path) or (len(parts) == 1 and resolves(parts)):
                continue
            roots = {root for file in files.get(path[-1], ()) if (root := _root_above(file, path)) is not None}
            roots = {root for root in roots if project in root.parents}
            if len(roots) == 1 and not any((root / name).exists() for root in roots for name in _OF_A_PROJECT):
                found |= dict.fromkeys(roots)
    return list(found)


def names_checkout(
    top: str, wanted: Iterable[Statement], found: Callable[[Sequence[str]], Path | None], text: Callable[[Path], str]
) -> bool:
    """Whether an absent package is the project's folder itself, under the name that it has at its author's: whatever the
    files import from `top` stands in the project, and that is more than one module, which may be called as a library's.
    `found`: the file of a module below the folder."""
    modules: set[str] = set()
    for one in wanted:
        parts = one.dotted.split(".")
        if one.level or one.whole or parts[0] != top:
            continue
        path = found(parts[1:]) if len(parts) > 1 else None
        if path is None and not one.names:
            return False
        for name in one.names:
            stands = found([*parts[1:], name]) is not None or (
                path is not None and (name == "*" or re.search(_BINDS.format(name=re.escape(name)), text(path), re.MULTILINE))
            )
            if not stands:
                return False
        if path is not None:
            modules.add(one.dotted)
    return len(modules) > 1 or any(dotted.count(".") > 1 for dotted in modules)


def _root_above(file: Path, parts: Sequence[str]) -> Path | None:
    """The folder from which these names lead to the file."""
    module = file.parent if file.stem == "__init__" else file.with_suffix("")
    return module.parents[len(parts) - 1] if module.parts[-len(parts) :] == tuple(parts) else None


class Imports:
    """The files of a project, and which of them may run which: a graph for asking who reaches a file."""

    def __init__(self, texts: Mapping[Path, str], import_roots: Sequence[Path]) -> None:
        self._roots = [str(root) for root in import_roots]
        self._statements: dict[Path, tuple[str, tuple[Statement, ...]]] = {}
        self._targets: dict[Path, frozenset[Path]] = {}
        self._files: dict[str, Path] = {}
        self.update(texts)

    def update(self, texts: Mapping[Path, str], watch: Callable[[], None] = lambda: None) -> None:
        """From now on these are the project's files; only what changed is looked at again. `watch` is called now and then;
        where it raises, what was looked at stays known."""
        files = {str(path): path for path in texts}
        if files.keys() != self._files.keys():
            self._files = files
            self._targets = {}
            self._known_names = {Path(name).stem for name in files} | {
                part for path in texts for part in path.parts[1:-1]
            }
            self._below: dict[str, list[Path]] = defaultdict(list)
            for path in texts:
                self._below[str(path.parent)].append(path)
            self._by_module = by_module(texts)
            self._meant: dict[Path, list[str]] = {}
            self._checkouts: dict[str, str | None] = {}
        self._importers: dict[Path, set[Path]] | None = None
        changed = False
        for path in self._statements.keys() - texts.keys():
            del self._statements[path]
        for path, text in texts.items():
            old = self._statements.get(path)
            if old is None or old[0] != text:
                watch()
                self._meant.pop(path, None)
                self._statements[path] = (text, statements(text))
                self._targets.pop(path, None)
                changed = True
        if changed and self._checkouts:  # what they say hangs on every text
            before, self._checkouts = self._checkouts, {}
            if any(self._checkout(top) != root for top, root in before.items()):
                self._targets = {}

    def imported(self, path: Path) -> frozenset[Path]:
        """The files that importing or running `path` may run directly."""
        if path not in self._targets:
            _, wanted = self._statements[path]
            self._targets[path] = frozenset(target for one in wanted for target in self._resolve(one, path)) - {path}
        return self._targets[path]

    def reaching(self, paths: Iterable[Path]) -> set[Path]:
        """The files whose run may come to one of `paths`, with the paths themselves."""
        if self._importers is None:
            self._importers = defaultdict(set)
            for path in self._statements:
                for target in self.imported(path):
                    self._importers[target].add(path)
        importers = self._importers
        return closure(paths, lambda path: importers.get(path, ()))

    def reached(self, paths: Iterable[Path]) -> set[Path]:
        """The files that a run of `paths` may come to, with the paths themselves."""
        return closure((path for path in paths if path in self._statements), self.imported)

    def _bases(self, importer: Path) -> Iterator[str]:
        """The folders that an absolute import may start from, as the interpreter searches them."""
        folder = str(importer.parent)
        yield folder
        yield from self._roots
        above = [root for root in self._roots if folder.startswith(root + os.sep)]
        outermost = min(above, key=len, default=folder)
        while len(folder) > len(outermost):
            folder = os.path.dirname(folder)
            yield folder

    def _resolve(self, one: Statement, importer: Path) -> Iterator[Path]:
        parts = [part for part in one.dotted.split(".") if part]
        if one.level:
            folder = importer.parent
            for _ in range(one.level - 1):
                folder = folder.parent
            bases = [str(folder)]
        else:
            if not parts:
                return
            if parts[0] not in self._known_names:
                root = self._checkout(parts[0]) if parts[1:] and parts[1] in self._known_names else None
                yield from self._below_folder(root, parts[1:], one) if root is not None else ()
                return
            bases = list(dict.fromkeys((*self._bases(importer), *self._also_meant(importer))))
        for base in bases:
            if one.level:
                yield from self._module(base)
            yield from self._below_folder(base, parts, one)

    def _below_folder(self, at: str, parts: Sequence[str], one: Statement) -> Iterator[Path]:
        for part in parts:
            at = os.path.join(at, part)
            yield from self._module(at)
        for name in one.names:
            yield from self._module(os.path.join(at, name))
        if one.whole or "*" in one.names:
            yield from self._below.get(at, ())

    def _checkout(self, top: str) -> str | None:
        """The project's folder, where it is what `top` names."""
        if top not in self._checkouts:
            root = min(self._roots, key=len, default="")

            def found(parts: Sequence[str]) -> Path | None:
                return next(self._module(os.path.join(root, *parts)), None)

            every = (one for _, wanted in self._statements.values() for one in wanted)
            texts = self._statements
            self._checkouts[top] = (
                root if root and names_checkout(top, every, found, lambda path: texts[path][0]) else None
            )
        return self._checkouts[top]

    def _also_meant(self, importer: Path) -> list[str]:
        """Folders that are on the path of what runs the importer, by what it imports."""
        if importer not in self._meant:
            bases = list(self._bases(importer))

            def resolves(parts: Sequence[str]) -> bool:
                return any(True for base in bases for _ in self._module(os.path.join(base, *parts)))

            found = roots_meant(self._statements[importer][1], resolves, self._by_module, Path(bases[-1]))
            self._meant[importer] = [str(root) for root in found]
        return self._meant[importer]

    def _module(self, at: str) -> Iterator[Path]:
        for name in (at + ".py", os.path.join(at, "__init__.py")):
            if name in self._files:
                yield self._files[name]


def closure(paths: Iterable[Path], step: Callable[[Path], Iterable[Path]]) -> set[Path]:
    """`paths`, and whatever any number of steps leads to."""
    found: set[Path] = set()
    stack = list(paths)
    while stack:
        path = stack.pop()
        if path not in found:
            found.add(path)
            stack.extend(step(path))
    return found


def components(paths: Sequence[Path], imports: Imports) -> list[list[Path]]:
    """`paths` in groups that share no file they may run; groups and members in the order in which they were given."""
    owner: dict[Path, Path] = {}

    def top(path: Path) -> Path:
        while owner.setdefault(path, path) != path:
            owner[path] = path = owner[owner[path]]
        return path

    for path in imports.reached(paths):
        for target in imports.imported(path):
            owner[top(target)] = top(path)
    groups: dict[Path, list[Path]] = defaultdict(list)
    for path in paths:
        groups[top(path)].append(path)
    return list(groups.values())
