"""The files of a project as modules: what an import statement means, on disk."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

from tricklint.knowledge.frameworks import KNOWN_BY_NAME
from tricklint.source.data import MAX_BYTES, SUFFIXES, DataError, from_disk, parse_data
from tricklint.source.imports import by_module, names_checkout, roots_meant, statements

if TYPE_CHECKING:
    import libcst as cst

    from tricklint.interpreter.values import (
        Value,
    )
    from tricklint.source.data import Datum, Reader
    from tricklint.source.text import Source
    from tricklint.source.tree import Tree


class FileModule:
    """One file of the program: its tree, its namespace once it was run, its `if __name__ == "__main__"` blocks."""

    def __init__(self, source: Source) -> None:
        self.path: Path = source.path
        self.source = source
        self.names: dict[str, Value] = {}
        self.state = "new"  # new, running, done
        self.main_blocks: list[cst.If] = []
        self.star_exports: list[FileModule] = []
        self.star_libraries: list[str] = []  # libraries of which `import *` bound names that nothing lists
        self.imported_by: set[Path] = set()
        self.imports: set[Path] = set()

    @cached_property
    def tree(self) -> Tree:
        return self.source.tree

    @property
    def is_package(self) -> bool:
        return self.path.name == "__init__.py"

    @property
    def holds_unit_tests(self) -> bool:
        stem, text = self.path.stem, self.source.text
        if (stem.startswith("test_") or stem.endswith("_test")) and "def test" in text:
            return True
        return "def test_" in text and "self.assert" in text

    def __repr__(self) -> str:
        return f"FileModule({self.path.name})"


class Project:
    """Finds the file behind a dotted name, the way Python would from a script's folder, then the import roots."""

    def __init__(
        self,
        sources: Mapping[Path, Source],
        import_roots: Sequence[Path],
        load: Callable[[Path], Source | None],
        watch: Callable[[], None] = lambda: None,
        read: Reader = from_disk,
    ) -> None:
        self.sources = dict(sources)
        self.import_roots = tuple(import_roots)
        self._more_roots: tuple[Path, ...] = ()
        self._load = load
        self._watch = watch
        self._read = read
        self._data: dict[Path, Datum | None] = {}
        self._modules: dict[Path, FileModule | None] = {}
        self._found: dict[tuple[Path, str], Path | None] = {}
        self._below: dict[tuple[Path, tuple[str, ...]], Path | None] = {}
        self._frameworks: dict[Path, Path | None] = {}
        self._listings: dict[Path, dict[str, str]] = {}
        self._meant: dict[Path, list[Path]] = {}
        self._checkouts: dict[str, Path | None] = {}
        self.broken: dict[Path, str] = {}

    def module(self, path: Path) -> FileModule | None:
        """The module of a file, or None when it cannot be read or parsed."""
        if path in self._modules:
            return self._modules[path]
        module: FileModule | None = None
        source = self.sources.get(path) or self._load(path)
        if source is not None:
            self._watch()  # parsing takes long
            module = FileModule(source)
            try:
                module.tree  # noqa: B018 (parse now, to know whether it can be)
            except Exception as error:  # libcst raises several kinds; the file's own screen has told the user already
                self.broken[path] = f"{type(error).__name__}: {error}"
                module = None
        self._modules[path] = module
        return module

    def data(self, path: Path) -> Datum | None:
        """What a configuration file of the project holds; None where it is outside of it, or cannot be read."""
        if path not in self._data:
            self._data[path] = self._parsed(path)
        return self._data[path]

    def _parsed(self, path: Path) -> Datum | None:
        raw = self.text(path) if path.suffix.lower() in SUFFIXES else None
        try:
            return None if raw is None else parse_data(path.suffix, raw)
        except DataError:
            return None

    def text(self, path: Path) -> bytes | None:
        """The bytes of a small file of the project that is no program."""
        if not any(root in path.parents for root in self.import_roots):
            return None
        try:
            if path.stat().st_size > MAX_BYTES:
                return None
        except OSError:
            pass  # it may lie open in an editor, and the reader tells
        return self._read(path)

    def ran(self, path: Path) -> bool:
        module = self._modules.get(path)
        return module is not None and module.state != "new"

    def framework_name(self, path: Path) -> str:
        """The dotted name of a file within a framework that the knowledge tables know by name; "" for other files."""
        folder = path.parent
        if folder not in self._frameworks:
            self._frameworks[folder] = self._framework(folder)
        root = self._frameworks[folder]
        if root is None:
            return ""
        parts = path.relative_to(root.parent).with_suffix("").parts
        return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)

    def _framework(self, folder: Path) -> Path | None:
        for parent in (folder, *folder.parents):
            marker = KNOWN_BY_NAME.get(parent.name)
            if marker is not None and self._exists(parent / marker) and not self._exists(parent.parent / "__init__.py"):
                return parent
        return None

    def registers(self, path: Path) -> bool:
        """Whether importing a file does something beside binding names: decorators that register, mostly."""
        source = self.sources.get(path)
        return source is None or "register" in source.text or "REGISTRY" in source.text

    def loaded(self) -> Iterable[FileModule]:
        return [module for module in self._modules.values() if module is not None]

    def _exists(self, path: Path) -> bool:
        if path in self.sources or path.is_file():
            return True
        self._load(path)  # that nothing is there counts as long as nothing is
        return False

    def _under(self, root: Path, parts: Sequence[str]) -> Path | None:
        """The module below a folder. The files of a project search the same folders for the same names."""
        key = (root, tuple(parts))
        if key not in self._below:
            self._below[key] = self._look_under(root, parts)
        return self._below[key]

    def _look_under(self, root: Path, parts: Sequence[str]) -> Path | None:
        base = root.joinpath(*parts)
        for candidate in (base / "__init__.py", base.with_suffix(".py")) if parts else (base / "__init__.py",):
            if self._exists(candidate):
                return candidate
        return None

    def find(self, dotted: str, importer: Path) -> Path | None:
        """The file that `import dotted` in `importer` means, or None when it is no file of the project."""
        key = (importer.parent, dotted)
        if key not in self._found:
            self._found[key] = self._search(dotted, importer)
        found = self._found[key]
        if found is None and dotted.partition(".")[0] in self._own_names:
            parts = dotted.split(".")
            below = (self._under(root, parts) for root in self._roots_meant(importer))
            found = next((path for path in below if path is not None and path != importer), None)
        if found is None and "." in dotted:
            top, *below_it = dotted.split(".")
            root = self._checkout(top) if below_it[0] in self._own_names and top not in self._own_names else None
            found = self._under(root, below_it) if root is not None else None
        return found

    def _checkout(self, top: str) -> Path | None:
        """The project's folder, where it is what `top` names."""
        if top not in self._checkouts:
            root = min(self.import_roots, key=lambda root: len(root.parts), default=None)
            every = (one for source in self.sources.values() if top in source.text for one in statements(source.text))
            texts = self.sources
            is_it = root is not None and names_checkout(
                top, every, lambda parts: self._under(root, parts), lambda path: texts[path].text if path in texts else ""
            )
            self._checkouts[top] = root if is_it else None
        return self._checkouts[top]

    @cached_property
    def _own_names(self) -> set[str]:
        """What files of the project, and the folders that they lie in, are called."""
        return {path.stem for path in self.sources} | {path.parent.name for path in self.sources}

    @cached_property
    def _by_module(self) -> dict[str, list[Path]]:
        return by_module(self.sources)

    def _roots_meant(self, importer: Path) -> list[Path]:
        """Folders that are on the path of what runs the importer, by what it imports."""
        if importer not in self._meant:
            self._meant[importer] = []
            source = self.sources.get(importer)
            top = [root for root in self.import_roots if root in importer.parents]
            if source is not None and top:

                def resolves(parts: Sequence[str]) -> bool:
                    return self._search(".".join(parts), importer) is not None

                outermost = min(top, key=lambda root: len(root.parts))
                self._meant[importer] = roots_meant(statements(source.text), resolves, self._by_module, outermost)
        return self._meant[importer]

    def _search(self, dotted: str, importer: Path) -> Path | None:
        parts = dotted.split(".")
        roots = [importer.parent, *self.import_roots, *self._more_roots]
        top = [root for root in self.import_roots if root in importer.parents]
        if top:  # the folders between the file and the outermost import root: a script may be started in any of them
            outermost = min(top, key=lambda root: len(root.parts))
            for parent in importer.parents:
                roots += (parent, parent / "src")
                if parent == outermost:
                    break
        for root in roots:
            found = self._under(root, parts)
            if found is not None and found != importer:
                return found
            # a namespace package: a folder without __init__.py
            if (root / parts[0]).is_dir() and len(parts) > 1:
                found = self._under(root, parts)
                if found is not None:
                    return found
        if len(parts) < 2:
            return None
        others = (self._in_other_case(root.joinpath(*parts[:-1]), parts[-1]) for root in dict.fromkeys(roots))
        return next((found for found in others if found is not None and found != importer), None)

    def _in_other_case(self, folder: Path, name: str) -> Path | None:
        """A file of the folder whose name has other capitals: where the author's disk makes no difference between them, git
        keeps those that a file had first."""
        found = self._listing(folder).get(f"{name.lower()}.py")
        return folder / found if found is not None and found != f"{name}.py" else None

    def _listing(self, folder: Path) -> dict[str, str]:
        """The names in a folder of the project, by what they are in small letters; none where there is no such folder."""
        if folder not in self._listings:
            names = os.listdir(folder) if self.holds(folder) else []
            self._listings[folder] = {name.lower(): name for name in names}
        return self._listings[folder]

    def holds(self, folder: Path) -> bool:
        """Whether a folder is one of the project's."""
        return any(root == folder or root in folder.parents for root in self.import_roots) and folder.is_dir()

    def add_root(self, folder: Path) -> None:
        """Absolute imports are searched in that folder of the project too: the program puts it on `sys.path`."""
        if folder not in (*self.import_roots, *self._more_roots) and self.holds(folder):
            self._more_roots += (folder,)
            self._found.clear()

    def is_namespace(self, dotted: str, importer: Path) -> Path | None:
        """A folder without `__init__.py` that `import dotted` may mean."""
        for root in (importer.parent, *self.import_roots, *self._more_roots):
            folder = root.joinpath(*dotted.split("."))
            if folder.is_dir() and any(folder.glob("*.py")):
                return folder
        return None

    def relative(self, level: int, dotted: str, importer: Path) -> Path | None:
        """The file of `from ..dotted import …`."""
        folder = importer.parent
        for _ in range(level - 1):
            folder = folder.parent
        return self._under(folder, dotted.split(".") if dotted else [])
