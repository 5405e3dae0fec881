"""A module's text → what a trace keeps of it: imports, definitions, constants. Nothing that runs the script."""

from __future__ import annotations

import ast
from collections.abc import Callable

# Calls that only make a value. Others at the top level of a file (models, loaders, runs) are dropped with their names.
_HARMLESS = {
    "partial", "functools.partial", "namedtuple", "collections.namedtuple", "OrderedDict", "collections.OrderedDict",
    "defaultdict", "collections.defaultdict", "dict", "list", "tuple", "set", "frozenset", "range", "int", "float",
    "str", "bool", "len", "min", "max", "sum", "sorted", "zip", "enumerate", "reversed", "abs", "round", "slice",
    "torch.device", "torch.tensor", "device", "os.path.join", "os.path.dirname", "os.path.abspath", "os.path.basename",
    "os.path.realpath", "os.environ.get", "os.getenv", "Path", "pathlib.Path", "re.compile", "logging.getLogger",
    "getLogger", "TypeVar", "typing.TypeVar", "NewType", "math.sqrt", "math.log", "math.exp", "math.ceil",
    "math.floor", "np.sqrt", "np.log", "np.array", "np.float32", "torch.cuda.is_available", "torch.cuda.device_count",
    "SimpleNamespace", "types.SimpleNamespace", "argparse.Namespace", "Namespace", "getattr", "hasattr", "EasyDict",
    "edict", "torch.finfo", "Registry", "field", "dataclass", "Enum", "itertools.chain", "map", "filter", "open_dict",
}  # fmt: skip
_HARMLESS_METHODS = {
    "format", "join", "split", "strip", "lower", "upper", "replace", "keys", "values", "items", "get", "copy",
    "parse_args", "parse_known_args", "ArgumentParser", "add_argument_group", "set_defaults", "update", "resolve",
    "add_mutually_exclusive_group", "log", "sqrt", "index", "startswith", "endswith",
}  # fmt: skip
_PARSER_CALLS = {"add_argument", "set_defaults", "add_argument_group", "update", "append", "extend", "insert",
                 "setrecursionlimit", "filterwarnings", "register"}  # fmt: skip


def _dotted(node: ast.expr) -> str:
    parts: list[str] = []
    while isinstance(node, ast.Attribute):
        parts.append(node.attr)
        node = node.value
    return ".".join([node.id, *reversed(parts)]) if isinstance(node, ast.Name) else ".".join(reversed(parts))


class _Stripper:
    def __init__(self, missing: Callable[[str], bool]) -> None:
        self.missing = missing
        self.dropped: dict[str, int] = {}  # name a dropped statement would have bound → its row
        self.kept: set[str] = set()

    def block(self, statements: list[ast.stmt]) -> list[ast.stmt]:
        out: list[ast.stmt] = []
        for statement in statements:
            out.extend(self.one(statement))
        return out

    def one(self, node: ast.stmt) -> list[ast.stmt]:
        if isinstance(node, (ast.Import, ast.ImportFrom)):
            return self.imports(node)
        if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef)):
            self.kept.add(node.name)
            return [_Inner(self).visit(node)]
        if isinstance(node, (ast.Assign, ast.AnnAssign, ast.AugAssign)):
            targets = node.targets if isinstance(node, ast.Assign) else [node.target]
            names = {n.id for t in targets for n in ast.walk(t) if isinstance(n, ast.Name)}
            if (node.value is None or self.constant(node.value)) and all(self._own(t) for t in targets):
                self.kept |= names
                for name in names:
                    self.dropped.pop(name, None)
                return [node]
            self._drop(node, names)
            return []
        if isinstance(node, ast.Expr):
            if isinstance(node.value, ast.Constant):
                return [node]
            call = node.value
            if (
                isinstance(call, ast.Call)
                and isinstance(call.func, ast.Attribute)
                and call.func.attr in _PARSER_CALLS
                and self.constant(call.func.value)
                and all(self.constant(a) for a in (*call.args, *(k.value for k in call.keywords)))
            ):
                return [node]
            return []
        if isinstance(node, ast.If):
            return self.branch(node)
        if isinstance(node, ast.Try):
            body, handlers = self.block(node.body), []
            for handler in node.handlers:
                handler.body = self.block(handler.body) or [ast.copy_location(ast.Pass(), handler)]
                handlers.append(handler)
            if not body:
                return []
            node.body, node.handlers = body, handlers
            node.orelse, node.finalbody = self.block(node.orelse), self.block(node.finalbody)
            return [node]
        if isinstance(node, ast.With):
            return self.block(node.body) if all(isinstance(s, (ast.Import, ast.ImportFrom)) for s in node.body) else []
        if isinstance(node, (ast.Pass, ast.Global)):
            return [node]
        for inner in ast.walk(node):
            if isinstance(inner, ast.Name) and isinstance(inner.ctx, ast.Store):
                self._drop(node, {inner.id})
        return []

    def _own(self, target: ast.expr) -> bool:
        if isinstance(target, (ast.Name, ast.Tuple, ast.List)):
            return True
        base = target
        while isinstance(base, (ast.Attribute, ast.Subscript)):
            base = base.value
        return isinstance(base, ast.Name) and base.id in self.kept

    def _drop(self, node: ast.stmt, names: set[str]) -> None:
        for name in names:
            if name not in self.kept:
                self.dropped.setdefault(name, node.lineno)

    def branch(self, node: ast.If) -> list[ast.stmt]:
        test = ast.unparse(node.test)
        if "__name__" in test:
            for inner in ast.walk(node):
                if isinstance(inner, ast.Name) and isinstance(inner.ctx, ast.Store):
                    self._drop(node, {inner.id})
            return self.block(node.orelse)
        if not self.constant(node.test):
            return []
        body, orelse = self.block(node.body), self.block(node.orelse)
        if not body and not orelse:
            return []
        node.body, node.orelse = body or [ast.copy_location(ast.Pass(), node)], orelse
        return [node]

    def imports(self, node: ast.Import | ast.ImportFrom) -> list[ast.stmt]:
        """A missing package's imports become stubs, in this file only."""
        out: list[ast.stmt] = []
        if isinstance(node, ast.ImportFrom):
            top = (node.module or "").split(".")[0]
            if node.level or node.module is None or not self.missing(top):
                for alias in node.names:
                    self.kept.add(alias.asname or alias.name)
                return [node]
            for alias in node.names:
                if alias.name != "*":
                    out.append(_stub(node, alias.asname or alias.name, f"{node.module}.{alias.name}"))
                    self.kept.add(alias.asname or alias.name)
            return out
        for alias in node.names:
            top = alias.name.split(".")[0]
            name = alias.asname or top
            self.kept.add(name)
            if self.missing(top):
                out.append(_stub(node, name, alias.name if alias.asname else top))
            else:
                out.append(ast.copy_location(ast.Import([alias]), node))
        return out

    def constant(self, node: ast.expr) -> bool:
        """An expression that only makes a value."""
        if isinstance(node, (ast.Constant, ast.Name, ast.Lambda, ast.JoinedStr)):
            return not (isinstance(node, ast.Name) and node.id in self.dropped)
        if isinstance(node, ast.Call):
            name = _dotted(node.func)
            last = name.split(".")[-1]
            known = name in _HARMLESS or (last in _HARMLESS_METHODS and isinstance(node.func, ast.Attribute))
            known = known or name == "ArgumentParser" or last == "ArgumentParser"
            inner = isinstance(node.func, ast.Name) or self.constant(node.func)
            return known and inner and all(self.constant(a) for a in (*node.args, *(k.value for k in node.keywords)))
        if isinstance(node, ast.Attribute):
            return self.constant(node.value)
        if isinstance(node, (ast.ListComp, ast.SetComp, ast.DictComp, ast.GeneratorExp)):
            return all(self.constant(n) for n in ast.walk(node) if isinstance(n, ast.Call))
        if isinstance(node, (ast.Await, ast.Yield, ast.YieldFrom, ast.NamedExpr)):
            return False
        return all(self.constant(child) for child in ast.iter_child_nodes(node) if isinstance(child, ast.expr))


class _Inner(ast.NodeTransformer):
    """Imports inside functions get stubs as well."""

    def __init__(self, stripper: _Stripper) -> None:
        self.stripper = stripper

    def visit_Import(self, node: ast.Import) -> list[ast.stmt]:
        return self.stripper.imports(node)

    def visit_ImportFrom(self, node: ast.ImportFrom) -> list[ast.stmt]:
        return self.stripper.imports(node) or [ast.copy_location(ast.Pass(), node)]


def _stub(node: ast.stmt, name: str, what: str) -> ast.stmt:
    call = ast.Call(ast.Name("__tricklint_stub__", ast.Load()), [ast.Constant(what)], [])
    made = ast.Assign([ast.Name(name, ast.Store())], call)
    return ast.fix_missing_locations(ast.copy_location(made, node))


def strip(text: str | bytes, file: str, missing: Callable[[str], bool]) -> tuple[ast.Module, dict[str, int]]:
    """(the tree to run, names whose statements were dropped → their rows). Raises SyntaxError.

    `missing` says whether the package of that name is not installed.
    """
    tree = ast.parse(text, filename=file)
    stripper = _Stripper(missing)
    tree.body = stripper.block(tree.body)
    return ast.fix_missing_locations(tree), stripper.dropped


def imported(text: str | bytes) -> set[str]:
    """Top-level names of what a file imports anywhere; empty when it cannot be parsed."""
    try:
        tree = ast.parse(text)
    except (SyntaxError, ValueError):
        return set()
    names: set[str] = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            names.update(alias.name.split(".")[0] for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
            names.add(node.module.split(".")[0])
    return names
