"""Imports and names: files run when they are imported, libraries become dotted names."""

from __future__ import annotations

import builtins
import glob

import libcst as cst

from tricklint.interpreter.behaviour import NAMED
from tricklint.interpreter.machine import FALL, Frame, Machine
from tricklint.interpreter.modules import FileModule
from tricklint.interpreter.values import (
    UNKNOWN,
    Class,
    Const,
    Func,
    Ref,
    Sequence,
    Unknown,
    Value,
    first,
    join,
)
from tricklint.knowledge.frameworks import star_owner
from tricklint.knowledge.names import canonical
from tricklint.source.once import once_a_tree
from tricklint.source.tree import Tree, walk

_BUILTINS = frozenset(dir(builtins))


DYNAMIC_LIMIT = 48


PENDING = Unknown("being imported")


def of_library(m: Machine, dotted: str) -> Value:
    """What a dotted name of a library stands for: mostly itself."""
    name = canonical(dotted)
    handler = NAMED.get(name)
    return handler(m) if handler is not None else Ref(name)


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


def imported(m: Machine, level: int, dotted: str, name: str) -> Value:
    """What `from dotted import name` binds: a file that registers things when it is imported is run at once."""
    path = _from_path(m, level, dotted)
    if path is not None and (known := m.project.framework_name(path)):
        return Ref(canonical(f"{known}.{name}"))
    # on a branch it is one of several that the name may mean, which are put together when the branches meet
    if path is None or m.journal is not None or m.project.ran(path) or m.project.registers(path):
        return import_name(m, level, dotted, name)
    return Deferred(m.file, level, dotted, name)


def settled(m: Machine, scope: dict[str, Value], name: str, value: Value) -> Value:
    """`value`, imported now if that was deferred."""
    if not isinstance(value, Deferred):
        return value

    scope[name] = PENDING  # an import that comes back to itself
    with m.inside(Frame(None, value.importer, value.importer.names, (), len(m.path))):
        scope[name] = found = import_name(m, value.level, value.dotted, value.name)
    return found


def import_module(m: Machine, dotted: str) -> Value:
    path = m.project.find(dotted, m.file.path)
    if path is not None:
        if known := m.project.framework_name(path):
            return Ref(canonical(known))
        module = run_file(m, path)
        if module is not None:
            return ModuleValue(module)
        return UNKNOWN
    return Ref(canonical(dotted))


def modules_below_package(m: Machine, package: str, start: str) -> list[Value]:
    """The files of a package whose names begin with `start`, run."""
    if not package:
        return []
    path = m.project.find(package, m.file.path)
    folder = path.parent if path is not None and path.name == "__init__.py" else None
    folder = folder or m.project.is_namespace(package, m.file.path)
    files = sorted(folder.glob(f"{glob.escape(start)}*.py")) if folder is not None else []
    modules = [run_file(m, file) for file in files[:DYNAMIC_LIMIT] if not file.name.startswith(("_", "test"))]
    return [ModuleValue(module) for module in modules if module is not None]


def run_file(m: Machine, path) -> FileModule | None:  # type: ignore[no-untyped-def]
    """Run a file once, as an import would."""

    module = m.project.module(path)
    if module is None:
        return None
    if m.frames:
        module.imported_by.add(m.file.path)
        m.file.imports.add(path)
    if module.state == "new":
        module.state = "running"
        frame = Frame(None, module, module.names, (), 0)
        with m.afresh():  # an import runs once, whatever branch it stands in
            m.frames.append(frame)
            try:
                for statement in module.tree.module.body:
                    if m.run(statement) != FALL:
                        break
            finally:
                m.frames.pop()
                module.state = "done"
    return module


def import_star(m: Machine, level: int, dotted: str) -> None:
    path = _from_path(m, level, dotted)
    if path is None:
        if not level:
            m.file.star_libraries.append(canonical(dotted))
        return
    if known := m.project.framework_name(path):
        m.file.star_libraries.append(canonical(known))
        return
    module = run_file(m, path)
    if module is None:
        return
    m.file.star_libraries.extend(module.star_libraries)
    m.file.star_exports.append(module)
    listed = module.names.get("__all__")

    names = None
    if isinstance(listed, Sequence) and not listed.open:
        names = {item.value for item in listed.items if isinstance(item, Const)}
    for name, value in list(module.names.items()):
        if (name in names) if names is not None else not name.startswith("_"):
            if value is PENDING or (isinstance(value, Deferred) and _leads_to(m, value, m.file)):
                continue  # `from package import Base` in a file that the package stars in: it is this very name
            m.bind(name, value)
    for name in sorted(names or ()):
        if isinstance(name, str) and name not in module.names and module.is_package:
            below = m.project.relative(1, name, module.path)
            if below is not None and below != m.file.path:  # a file of the package, which the star imports too
                with m.inside(Frame(None, module, module.names, (), len(m.path))):
                    value = imported(m, 1, "", name)
                m.bind(name, value)


def _leads_to(m: Machine, value: Deferred, module: FileModule) -> bool:
    project, importer = m.project, value.importer.path
    if value.level:
        return project.relative(value.level, value.dotted, importer) == module.path
    return project.find(value.dotted, importer) == module.path


def _from_path(m: Machine, level: int, dotted: str):  # type: ignore[no-untyped-def]
    if level:
        return m.project.relative(level, dotted, m.file.path)
    return m.project.find(dotted, m.file.path)


def import_name(m: Machine, level: int, dotted: str, name: str) -> Value:
    path = _from_path(m, level, dotted)
    if path is not None:
        module = run_file(m, path)
        if module is None:
            return UNKNOWN
        found = module.names.get(name)
        if found is not None:
            return settled(m, module.names, name, found)
        if module.is_package:
            below = m.project.relative(1, name, module.path)
            if below is not None:
                inner = run_file(m, below)
                return ModuleValue(inner) if inner is not None else UNKNOWN
        return UNKNOWN
    if level:  # `from . import x` in a folder without __init__.py
        inner_path = m.project.relative(level, f"{dotted}.{name}" if dotted else name, m.file.path)
        if inner_path is not None:
            inner = run_file(m, inner_path)
            return ModuleValue(inner) if inner is not None else UNKNOWN
        return UNKNOWN
    below = m.project.find(f"{dotted}.{name}", m.file.path)
    if below is not None:
        inner = run_file(m, below)
        return ModuleValue(inner) if inner is not None else UNKNOWN
    return of_library(m, f"{dotted}.{name}")


def module_attribute(m: Machine, value: ModuleValue, name: str) -> Value:
    module = value.module
    if name == "__dict__":
        return ModuleValue(module, as_dict=True)
    found = module.names.get(name)
    if found is not None:
        return settled(m, module.names, name, found)
    if module.is_package:
        below = m.project.relative(1, name, module.path)
        if below is not None:
            inner = run_file(m, below)
            if inner is not None:
                return ModuleValue(inner)
    return UNKNOWN


def dynamic_member(m: Machine, value: ModuleValue, index: Value) -> Value:
    """`models.__dict__[args.arch]`, `getattr(models, name)`: every callable it may be when the name is unknown."""

    at = first(index)
    names = value.module.names
    for name, bound in list(names.items()):
        settled(m, names, name, bound)
    others: list[Value] = []
    parts = _called_within(names)
    for name, made in names.items():
        if isinstance(made, (Func, Class)) and not name.startswith("_") and name not in parts:
            if not (isinstance(at, Const) and at.value == name) and len(others) < DYNAMIC_LIMIT:
                others.append(made)
    if isinstance(at, Const) and isinstance(at.value, str):
        found = module_attribute(m, ModuleValue(value.module), at.value)
        if not at.default:
            return found
        return join(found, *others, sure=True)
    return join(*others) if others else UNKNOWN


def _called_within(names: dict[str, Value]) -> set[str]:
    """Names of a module that another definition of it calls: a block of a net is not what somebody asks for by name."""
    found: set[str] = set()
    for name, made in names.items():
        if isinstance(made, (Func, Class)):
            found |= _names_called(made.file.tree, made.node) - {name}
    return found


@once_a_tree
def _names_called(tree: Tree, node: cst.CSTNode) -> frozenset[str]:
    calls = (each.func for each in walk(node) if isinstance(each, cst.Call))
    return frozenset(func.value for func in calls if isinstance(func, cst.Name))


def global_name(m: Machine, file: FileModule, name: str) -> Value | None:
    found = file.names.get(name)
    if found is not None:
        return settled(m, file.names, name, found) if type(found) is Deferred else found
    if name == "__name__":
        return UNKNOWN
    if name == "__file__":
        return Const(str(file.path))
    if name == "__doc__":
        return Const(file.tree.module.get_docstring())
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


def lookup(m: Machine, name: str) -> Value | None:
    frame = m.frames[-1]
    scope = frame.locals
    found = scope.get(name)
    if found is None:
        for scope in frame.closure:
            found = scope.get(name)
            if found is not None:
                break
        else:
            return global_name(m, frame.file, name)
    return settled(m, scope, name, found) if type(found) is Deferred else found
