"""Uses of a name within a piece of code, and what imports call things: enough scoping for loops over frames."""

from __future__ import annotations

from collections.abc import Iterator

import libcst as cst

from tricklint.source.once import once_a_tree
from tricklint.source.tree import Tree, children, dotted, walk

Scope = cst.FunctionDef | cst.Lambda | cst.Module | cst.ClassDef
Comprehension = cst.ListComp | cst.SetComp | cst.DictComp | cst.GeneratorExp
_COMPREHENSIONS = (cst.ListComp, cst.SetComp, cst.DictComp, cst.GeneratorExp)


@once_a_tree
def imports_of(tree: Tree) -> dict[str, str]:
    """What each imported name of the file stands for, wherever the import is: `osp` -> `os.path`."""
    found: dict[str, str] = {}
    for node in walk(tree.module):
        if isinstance(node, cst.Import):
            for alias in node.names:
                full = dotted(alias.name)
                if alias.asname is not None:
                    found[dotted(alias.asname.name)] = full
                else:
                    found[full.split(".")[0]] = full.split(".")[0]
        elif isinstance(node, cst.ImportFrom) and not isinstance(node.names, cst.ImportStar):
            module = "." * len(node.relative) + dotted(node.module)
            for alias in node.names:
                name = dotted(alias.asname.name) if alias.asname is not None else dotted(alias.name)
                found[name] = f"{module}.{dotted(alias.name)}"
    return found


def qualified(node: cst.CSTNode, imports: dict[str, str]) -> str:
    """The full name of a function or class by the file's imports; empty when its root is not imported."""
    name = dotted(node)
    root, _, rest = name.partition(".")
    if root not in imports:
        return ""
    return f"{imports[root]}.{rest}" if rest else imports[root]


def names_of(target: cst.CSTNode) -> set[str]:
    """Names that a target binds."""
    if isinstance(target, cst.Name):
        return {target.value}
    if isinstance(target, (cst.Tuple, cst.List)):
        return set().union(*(names_of(element.value) for element in target.elements))
    return set()


def bound_by(node: cst.CSTNode) -> frozenset[str]:
    """The variables of its own that a function, lambda or comprehension has."""
    bound: set[str] = set()
    if isinstance(node, (cst.FunctionDef, cst.Lambda)):
        params = node.params
        bound = {param.name.value for param in (*params.params, *params.kwonly_params, *params.posonly_params)}
        stars = (params.star_arg, params.star_kwarg)
        bound |= {star.name.value for star in stars if isinstance(star, cst.Param)}
        if isinstance(node, cst.FunctionDef):
            bound |= _assigned_in(node.body)
    elif isinstance(node, _COMPREHENSIONS):
        each: cst.CompFor | None = node.for_in
        while each is not None:
            bound |= names_of(each.target)
            each = each.inner_for_in
    return frozenset(bound)


def binds(node: cst.CSTNode, name: str) -> bool:
    """Whether a function, lambda or comprehension has a variable of its own called `name`."""
    return name in bound_by(node)


def _assigned_in(body: cst.CSTNode) -> set[str]:
    bound: set[str] = set()
    released: set[str] = set()
    stack: list[cst.CSTNode] = [body]
    while stack:
        node = stack.pop()
        if isinstance(node, (cst.AssignTarget, cst.AnnAssign, cst.AugAssign, cst.For, cst.NamedExpr)):
            bound |= names_of(node.target)
        elif isinstance(node, cst.AsName):
            bound |= names_of(node.name)
        elif isinstance(node, (cst.Global, cst.Nonlocal)):
            released |= {item.name.value for item in node.names}
        elif isinstance(node, (cst.FunctionDef, cst.ClassDef)):
            bound.add(node.name.value)
            continue
        elif isinstance(node, (cst.Lambda, *_COMPREHENSIONS)):
            continue
        stack.extend(children(node))
    return bound - released


def uses(tree: Tree, region: cst.CSTNode, name: str) -> Iterator[cst.Name]:
    """Every read or write of the variable `name` below `region`, in source order.

    Attribute names, keyword names and variables of the same name in inner functions and comprehensions are others.
    """
    # Of a whole file or function many names are asked, once for each loop in it: one walk answers them all.
    found = _uses_in_all(tree, region) if isinstance(region, (cst.Module, cst.FunctionDef)) else _uses(region)
    return iter(found.get(name, ()))


def _uses(region: cst.CSTNode) -> dict[str, list[cst.Name]]:
    found: dict[str, list[cst.Name]] = {}
    # Parts of a function or comprehension that see the variables outside it, and which of those are hidden there.
    outside: dict[int, frozenset[str]] = {}
    stack: list[tuple[cst.CSTNode, frozenset[str]]] = [(region, frozenset())]
    while stack:
        node, hidden = stack.pop()
        hidden = outside.get(id(node), hidden)
        if isinstance(node, cst.Name):
            if node.value not in hidden:
                found.setdefault(node.value, []).append(node)
        elif isinstance(node, (cst.Attribute, cst.Arg)):
            stack.append((node.value, hidden))
        elif not isinstance(node, (cst.ImportAlias, cst.ImportFrom, cst.Import)):
            inside = hidden
            if isinstance(node, (cst.FunctionDef, cst.Lambda)):
                parts: list[cst.CSTNode] = list(getattr(node, "decorators", ()))
                given = (*node.params.params, *node.params.kwonly_params)
                parts += [param.default for param in given if param.default is not None]
                outside.update((id(part), hidden) for part in parts)
                inside = hidden | bound_by(node)
            elif isinstance(node, _COMPREHENSIONS):
                outside[id(node.for_in.iter)] = hidden
                inside = hidden | bound_by(node)
            own = node.name if isinstance(node, (cst.FunctionDef, cst.ClassDef, cst.Param)) else None
            stack += [(child, inside) for child in reversed(children(node)) if child is not own]
    return found


@once_a_tree
def _uses_in_all(tree: Tree, region: cst.CSTNode) -> dict[str, list[cst.Name]]:
    return _uses(region)


def variables(region: cst.CSTNode) -> set[str]:
    """Every name below `region` that is a variable, a parameter, a function or an import (no attribute or keyword)."""
    found: set[str] = set()
    stack: list[cst.CSTNode] = [region]
    while stack:
        node = stack.pop()
        if isinstance(node, cst.Name):
            found.add(node.value)
        elif isinstance(node, (cst.Attribute, cst.Arg)):
            stack.append(node.value)
        else:
            stack.extend(children(node))
    return found


def is_stored(tree: Tree, node: cst.CSTNode) -> bool:
    """Whether an expression is assigned to, deleted or bound, alone or as a part of a target."""
    at, up = node, tree.parent(node)
    while isinstance(up, (cst.Element, cst.StarredElement, cst.Tuple, cst.List)):
        at, up = up, tree.parent(up)
    if isinstance(up, (cst.AssignTarget, cst.AsName, cst.Del, cst.NameItem)):
        return True
    if isinstance(up, (cst.AugAssign, cst.AnnAssign, cst.For, cst.CompFor, cst.NamedExpr)):
        return up.target is at
    return False


def scope_of(tree: Tree, node: cst.CSTNode) -> cst.FunctionDef | cst.Lambda | cst.ClassDef | cst.Module:
    """The innermost function, class or module that `node` stands in."""
    for up in tree.ancestors(node):
        if isinstance(up, (cst.FunctionDef, cst.Lambda, cst.ClassDef)):
            return up
    return tree.module


def body_of(scope: cst.CSTNode) -> cst.CSTNode:
    """Where a scope's own names are used: not in its decorators, defaults and bases."""
    if isinstance(scope, (cst.FunctionDef, cst.Lambda, cst.ClassDef)):
        return scope.body
    return scope
