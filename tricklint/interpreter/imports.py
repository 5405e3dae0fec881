"""Imports and names: files run when they are imported, libraries become dotted names. A mixin of the interpreter."""

from __future__ import annotations

import builtins
import glob
from typing import TYPE_CHECKING

from tricklint.interpreter.modules import FileModule
from tricklint.interpreter.values import UNKNOWN, Class, Const, Func, Ref, Unknown, Value, join
from tricklint.knowledge.frameworks import star_owner
from tricklint.knowledge.names import canonical

if TYPE_CHECKING:
    from tricklint.interpreter.interpreter import Interpreter

_BUILTINS = frozenset(dir(builtins))
DYNAMIC_LIMIT = 48
PENDING = Unknown("being imported")


class ModuleValue(Value):
    """A file of the program as a value; `as_dict` is its `__dict__`."""

    __slots__ = ("as_dict", "module")

    def __init__(self, module: FileModule, as_dict: bool = False) -> None:
        self.module = module
        self.as_dict = as_dict

    def __repr__(self) -> str:
        return f"ModuleValue({self.module.path.name})"


class Deferred(Value):
    """`from a import b` of a file of the program that nobody has asked for yet: it is run when `b` is used.

    Training scripts import far more than what decides how they train, and parsing is what costs.
    """

    __slots__ = ("dotted", "importer", "level", "name")

    def __init__(self, importer: FileModule, level: int, dotted: str, name: str) -> None:
        self.importer, self.level, self.dotted, self.name = importer, level, dotted, name


class Imports:
    def imported(self: Interpreter, level: int, dotted: str, name: str) -> Value:
        """What `from dotted import name` binds: a file that registers things when it is imported is run at once."""
        path = self._from_path(level, dotted)
        if path is not None and (known := self.project.framework_name(path)):
            return Ref(canonical(f"{known}.{name}"))
        if path is None or self.project.ran(path) or self.project.registers(path):
            return self.import_name(level, dotted, name)
        return Deferred(self.file, level, dotted, name)

    def settled(self: Interpreter, scope: dict[str, Value], name: str, value: Value) -> Value:
        """`value`, imported now if that was deferred."""
        if not isinstance(value, Deferred):
            return value
        from tricklint.interpreter.interpreter import Frame

        scope[name] = PENDING  # an import that comes back to itself
        with self.inside(Frame(None, value.importer, value.importer.names, (), len(self.path))):
            scope[name] = found = self.import_name(value.level, value.dotted, value.name)
        return found

    def import_module(self: Interpreter, dotted: str) -> Value:
        path = self.project.find(dotted, self.file.path)
        if path is not None:
            if known := self.project.framework_name(path):
                return Ref(canonical(known))
            module = self.run_file(path)
            if module is not None:
                return ModuleValue(module)
            return UNKNOWN
        return Ref(canonical(dotted))

    def modules_below(self: Interpreter, package: str, start: str) -> list[Value]:
        """The files of a package whose names begin with `start`, run."""
        if not package:
            return []
        path = self.project.find(package, self.file.path)
        folder = path.parent if path is not None and path.name == "__init__.py" else None
        folder = folder or self.project.is_namespace(package, self.file.path)
        files = sorted(folder.glob(f"{glob.escape(start)}*.py")) if folder is not None else []
        modules = [self.run_file(file) for file in files[:DYNAMIC_LIMIT] if not file.name.startswith(("_", "test"))]
        return [ModuleValue(module) for module in modules if module is not None]

    def run_file(self: Interpreter, path) -> FileModule | None:  # type: ignore[no-untyped-def]
        """Run a file once, as an import would."""
        from tricklint.interpreter.interpreter import FALL, Frame

        module = self.project.module(path)
        if module is None:
            return None
        if self.frames:
            module.imported_by.add(self.file.path)
            self.file.imports.add(path)
        if module.state == "new":
            module.state = "running"
            frame = Frame(None, module, module.names, (), 0)
            with self.afresh():  # an import runs once, whatever branch it stands in
                self.frames.append(frame)
                try:
                    for statement in module.tree.module.body:
                        if self.run(statement) != FALL:
                            break
                finally:
                    self.frames.pop()
                    module.state = "done"
        return module

    def import_star(self: Interpreter, level: int, dotted: str) -> None:
        path = self._from_path(level, dotted)
        if path is None:
            if not level:
                self.file.star_libraries.append(canonical(dotted))
            return
        if known := self.project.framework_name(path):
            self.file.star_libraries.append(canonical(known))
            return
        module = self.run_file(path)
        if module is None:
            return
        self.file.star_libraries.extend(module.star_libraries)
        self.file.star_exports.append(module)
        listed = module.names.get("__all__")
        from tricklint.interpreter.values import Sequence

        names = None
        if isinstance(listed, Sequence) and not listed.open:
            names = {item.value for item in listed.items if isinstance(item, Const)}
        for name, value in list(module.names.items()):
            if (name in names) if names is not None else not name.startswith("_"):
                if value is PENDING or (isinstance(value, Deferred) and self._leads_to(value, self.file)):
                    continue  # `from package import Base` in a file that the package stars in: it is this very name
                self.bind(name, value)

    def _leads_to(self: Interpreter, value: Deferred, module: FileModule) -> bool:
        project, importer = self.project, value.importer.path
        if value.level:
            return project.relative(value.level, value.dotted, importer) == module.path
        return project.find(value.dotted, importer) == module.path

    def _from_path(self: Interpreter, level: int, dotted: str):  # type: ignore[no-untyped-def]
        if level:
            return self.project.relative(level, dotted, self.file.path)
        return self.project.find(dotted, self.file.path)

    def import_name(self: Interpreter, level: int, dotted: str, name: str) -> Value:
        path = self._from_path(level, dotted)
        if path is not None:
            module = self.run_file(path)
            if module is None:
                return UNKNOWN
            found = module.names.get(name)
            if found is not None:
                return self.settled(module.names, name, found)
            if module.is_package:
                below = self.project.relative(1, name, module.path)
                if below is not None:
                    inner = self.run_file(below)
                    return ModuleValue(inner) if inner is not None else UNKNOWN
            return UNKNOWN
        if level:  # `from . import x` in a folder without __init__.py
            inner_path = self.project.relative(level, f"{dotted}.{name}" if dotted else name, self.file.path)
            if inner_path is not None:
                inner = self.run_file(inner_path)
                return ModuleValue(inner) if inner is not None else UNKNOWN
            return UNKNOWN
        below = self.project.find(f"{dotted}.{name}", self.file.path)
        if below is not None:
            inner = self.run_file(below)
            return ModuleValue(inner) if inner is not None else UNKNOWN
        return Ref(canonical(f"{dotted}.{name}"))

    def module_attribute(self: Interpreter, value: ModuleValue, name: str) -> Value:
        module = value.module
        if name == "__dict__":
            return ModuleValue(module, as_dict=True)
        found = module.names.get(name)
        if found is not None:
            return self.settled(module.names, name, found)
        if module.is_package:
            below = self.project.relative(1, name, module.path)
            if below is not None:
                inner = self.run_file(below)
                if inner is not None:
                    return ModuleValue(inner)
        return UNKNOWN

    def dynamic_member(self: Interpreter, value: ModuleValue, index: Value) -> Value:
        """`models.__dict__[args.arch]`, `getattr(models, name)`: every callable it may be when the name is unknown."""
        from tricklint.interpreter.values import first

        at = first(index)
        names = value.module.names
        for name, bound in list(names.items()):
            self.settled(names, name, bound)
        others: list[Value] = []
        for name, made in names.items():
            if isinstance(made, (Func, Class)) and not name.startswith("_"):
                if not (isinstance(at, Const) and at.value == name) and len(others) < DYNAMIC_LIMIT:
                    others.append(made)
        if isinstance(at, Const) and isinstance(at.value, str):
            found = self.module_attribute(ModuleValue(value.module), at.value)
            if not at.default:
                return found
            return join(found, *others, sure=True)
        return join(*others) if others else UNKNOWN

    def global_name(self: Interpreter, file: FileModule, name: str) -> Value | None:
        found = file.names.get(name)
        if found is not None:
            return self.settled(file.names, name, found)
        if name == "__name__":
            return UNKNOWN
        if name == "__file__":
            return UNKNOWN
        if name in _BUILTINS:
            return Ref("builtins." + name)
        if file.star_libraries:
            owner = star_owner(name, file.star_libraries)
            return Ref(canonical(f"{owner}.{name}")) if owner else None
        return None


def alias_of(file: FileModule, library: str) -> str:
    """The name that a file's top level gives to a library (`t` after `import torch as t`); "" when it has none."""
    if isinstance(found := file.names.get(library), Ref) and found.name == library:
        return library
    return next((name for name, value in file.names.items() if isinstance(value, Ref) and value.name == library), "")
