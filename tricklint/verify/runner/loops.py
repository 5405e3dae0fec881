"""Time a row loop against its rewrite, on the user's own frame and arguments, inside the user's own run.

The script runs until it enters the function (or the top-level statement) that holds the loop. There, the original and
the rewritten code are run on copies of what it was called with, the frames resampled to 10^3 … 10^6 rows: the results
must be equal, and the times are kept. The rest of the script is not run.
"""

from __future__ import annotations

import ast
import copy
import difflib
import math
import os
import sys
import time
from collections.abc import Callable
from functools import partial
from typing import Any

SIZES = (1_000, 10_000, 100_000, 1_000_000)


class Measured(BaseException):
    """All loops of the job were timed; the script need not go on."""


class Probe:
    """`loops`: {"id", "file" (relative), "row", "original" (text), "fixed" (text), "limit_s"} each."""

    def __init__(self, targets: list[dict[str, Any]], root: str) -> None:
        self.root = os.path.realpath(root)
        self.results: list[dict[str, Any]] = []
        self.functions: dict[tuple[str, int], list[dict[str, Any]]] = {}
        self.statements: list[dict[str, Any]] = []
        for target in targets:
            target["path"] = os.path.join(self.root, target["file"])
            found = enclosing(ast.parse(target["original"]), target["row"])
            target["qualname"] = found[0] if found else None
            if found is None:
                self.statements.append(target)
            elif "<locals>" in found[0]:
                self.results.append({"id": target["id"], "error": f"{found[0]} is a nested function"})
            else:
                # A code object starts at its first decorator.
                self.functions.setdefault((target["path"], found[1]), []).append(target)

    def install(self) -> None:
        if not self.functions and not self.statements:
            raise Measured
        if self.statements:
            import pandas as pd

            plain = pd.DataFrame.iterrows

            def iterrows(frame: Any) -> Any:
                caller = sys._getframe(1)
                if caller.f_code.co_name == "<module>":
                    self._statement(caller)
                return plain(frame)

            pd.DataFrame.iterrows = iterrows
        if self.functions:
            sys.setprofile(self._entered)

    def _entered(self, frame: Any, event: str, _: Any) -> None:
        if event != "call":
            return
        code = frame.f_code
        for key in ((code.co_filename, code.co_firstlineno), (os.path.realpath(code.co_filename), code.co_firstlineno)):
            if key in self.functions:
                targets = self.functions.pop(key)
                sys.setprofile(None)
                count = code.co_argcount + code.co_kwonlyargcount
                arguments = {name: frame.f_locals[name] for name in code.co_varnames[:count]}
                for target in targets:
                    build = partial(_function_of, target["qualname"], frame.f_globals)
                    self._measure(target, build, arguments)
                self._go_on()
                return

    def _statement(self, frame: Any) -> None:
        path = os.path.realpath(frame.f_code.co_filename)
        here = [t for t in self.statements if t["path"] == path]
        if not here:  # another file's loop, or the code that is being timed
            return
        for target in here:
            self.statements.remove(target)
            pair = regions(target["original"], target["fixed"], target["row"])
            if pair is None:
                self.results.append({"id": target["id"], "error": "the rewritten statement could not be told apart"})
                continue
            used = {n.id for text in pair for n in ast.walk(ast.parse(text)) if isinstance(n, ast.Name)}
            arguments = {name: value for name, value in frame.f_globals.items() if name in used and not callable(value)}
            arguments = {k: v for k, v in arguments.items() if type(v).__name__ != "module"}
            texts = {target["original"]: pair[0], target["fixed"]: pair[1]}
            self._measure(target, partial(_region_of, texts, frame.f_globals), arguments)
        self._go_on()

    def _go_on(self) -> None:
        if not self.functions and not self.statements:
            raise Measured
        if self.functions:
            sys.setprofile(self._entered)

    def _measure(self, target: dict[str, Any], build: Callable[[str], Any], arguments: dict[str, Any]) -> None:
        try:
            result = measure(build(target["original"]), build(target["fixed"]), arguments, target.get("limit_s", 60.0))
        except Exception as error:
            result = {"error": f"{type(error).__name__}: {error}"}
        self.results.append({"id": target["id"], **result})


def _function_of(qualname: str, scope: dict[str, Any], text: str) -> Callable[..., Any]:
    return function_of(text, qualname, scope)


def _region_of(regions_: dict[str, str], scope: dict[str, Any], text: str) -> Callable[..., Any]:
    return region_of(regions_[text], scope)


def enclosing(tree: ast.Module, row: int) -> tuple[str, int] | None:
    """(qualname, first line) of the innermost function around `row`; None at module level."""
    best: tuple[str, int] | None = None

    def visit(node: ast.AST, prefix: str) -> None:
        nonlocal best
        for child in ast.iter_child_nodes(node):
            name = prefix
            if isinstance(child, (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef)):
                first = min([child.lineno, *(d.lineno for d in child.decorator_list)])
                if not first <= row <= (child.end_lineno or row):
                    continue
                name = f"{prefix}{child.name}"
                if isinstance(child, ast.ClassDef):
                    name += "."
                else:
                    best = (name, first)
                    name += ".<locals>."
            visit(child, name)

    visit(tree, "")
    return best


def function_of(text: str, qualname: str, scope: dict[str, Any]) -> Callable[..., Any]:
    """The function `qualname` of a source text, in a copy of `scope`; decorators are left out. Imports and functions
    that only this text has are added."""
    tree = ast.parse(text)
    space = dict(scope)
    for node in tree.body:
        new = isinstance(node, ast.FunctionDef) and node.name not in scope
        if isinstance(node, (ast.Import, ast.ImportFrom)) or new:
            exec(compile(ast.Module([node], []), "<tricklint>", "exec"), space)
    body: list[ast.stmt] = tree.body
    parts = qualname.split(".")
    for part in parts[:-1]:
        body = next(n for n in body if isinstance(n, ast.ClassDef) and n.name == part).body
    node = next(n for n in body if isinstance(n, ast.FunctionDef) and n.name == parts[-1])
    node.decorator_list = []
    exec(compile(ast.Module([node], []), "<tricklint>", "exec"), space)
    function: Callable[..., Any] = space[node.name]
    return function


def regions(original: str, fixed: str, row: int) -> tuple[str, str] | None:
    """The top-level statements that differ between the two texts around `row`, as two texts."""
    old, new = ast.parse(original).body, ast.parse(fixed).body
    matcher = difflib.SequenceMatcher(a=[ast.dump(n) for n in old], b=[ast.dump(n) for n in new], autojunk=False)
    for kind, i1, i2, j1, j2 in matcher.get_opcodes():
        if kind != "equal" and any(n.lineno <= row <= (n.end_lineno or row) for n in old[i1:i2]):
            return ast.unparse(ast.Module(old[i1:i2], [])), ast.unparse(ast.Module(new[j1:j2], []))
    return None


def region_of(text: str, scope: dict[str, Any]) -> Callable[..., Any]:
    code = compile(text, "<tricklint>", "exec")
    targets = {n.id for n in ast.walk(ast.parse(text)) if isinstance(n, ast.Name)}

    def run(**given: Any) -> Any:
        space = {**scope, **given}
        exec(code, space)
        return {name: space[name] for name in sorted(targets) if name in given}

    return run


def resample(value: Any, rows: int) -> Any:
    """A frame with `rows` rows, its own ones repeated in order; other values are copied. Objects get their frames
    resampled one level deep."""
    import pandas as pd

    if isinstance(value, pd.DataFrame):
        if len(value) == 0:
            return value.copy()
        repeats = math.ceil(rows / len(value))
        keep = not isinstance(value.index, pd.RangeIndex)
        return pd.concat([value] * repeats, ignore_index=not keep).iloc[:rows].copy()
    frames = {k: v for k, v in getattr(value, "__dict__", {}).items() if isinstance(v, pd.DataFrame)}
    if frames and not isinstance(value, type):
        twin = copy.copy(value)
        twin.__dict__.update({name: resample(frame, rows) for name, frame in frames.items()})
        return twin
    try:
        return copy.deepcopy(value)
    except Exception:
        return value


def measure(
    original: Callable[..., Any], fixed: Callable[..., Any], arguments: dict[str, Any], limit_s: float
) -> dict[str, Any]:
    """Times and equality for every size whose original is expected to take at most `limit_s` seconds."""
    import pandas as pd

    def has_frame(value: Any) -> bool:
        inner = getattr(value, "__dict__", {})
        return isinstance(value, pd.DataFrame) or any(isinstance(v, pd.DataFrame) for v in dict(inner).values())

    scalable = any(has_frame(value) for value in arguments.values())
    rows: list[dict[str, Any]] = []
    for size in SIZES if scalable else (0,):
        if rows and rows[-1]["original_s"] * size / rows[-1]["rows"] > limit_s:
            break
        mine = {name: resample(value, size) for name, value in arguments.items()}
        theirs = {name: resample(value, size) for name, value in arguments.items()}
        slow, expected = _timed(original, mine, 1)
        fast, got = _timed(fixed, theirs, 5 if slow < 2 else 2)
        why = difference(expected, got) or difference(list(mine.values()), list(theirs.values()))
        rows.append({"rows": size, "original_s": slow, "fixed_s": fast, "equal": not why, "why": why})
        if why:
            break
    return {"sizes": rows, "scalable": scalable}


def _timed(function: Callable[..., Any], arguments: dict[str, Any], repeats: int) -> tuple[float, Any]:
    best, result = math.inf, None
    for turn in range(repeats):
        given = (
            arguments
            if turn == repeats - 1
            else {k: resample(v, len(v)) if hasattr(v, "iterrows") else v for k, v in arguments.items()}
        )
        if (
            repeats > 1
            and turn < repeats - 1
            and not all(hasattr(v, "iterrows") or isinstance(v, (str, int, float)) for v in given.values())
        ):
            continue  # an argument that the function may change is used once
        start = time.perf_counter()
        result = function(**given)
        best = min(best, time.perf_counter() - start)
    return best, result


def difference(a: Any, b: Any, depth: int = 0) -> str:
    """Why two results are not the same, types and all; empty when they are."""
    import numpy as np
    import pandas as pd

    if type(a) is not type(b):
        return f"{type(a).__name__} became {type(b).__name__}"
    if isinstance(a, (pd.DataFrame, pd.Series, pd.Index)):
        kind = {pd.DataFrame: "frame", pd.Series: "series"}.get(type(a), "index")
        try:
            getattr(pd.testing, f"assert_{kind}_equal")(a, b)
        except AssertionError as error:
            return str(error).split("\n")[0]
        return ""
    if isinstance(a, np.ndarray):
        same = (
            a.dtype == b.dtype
            and a.shape == b.shape
            and (np.array_equal(a, b, equal_nan=True) if a.dtype.kind in "fc" else np.array_equal(a, b))
        )
        return "" if same else "the arrays differ"
    if hasattr(a, "untyped_storage"):
        return "" if a.shape == b.shape and a.dtype == b.dtype and bool((a == b).all()) else "the tensors differ"
    if isinstance(a, dict):
        if list(a) != list(b):
            return "the keys differ"
        return next((why for key in a if (why := difference(a[key], b[key], depth + 1))), "")
    if isinstance(a, (list, tuple)):
        if len(a) != len(b):
            return f"{len(a)} items became {len(b)}"
        return next((why for x, y in zip(a, b) if (why := difference(x, y, depth + 1))), "")
    if isinstance(a, (float, np.floating)):
        return "" if a == b or (a != a and b != b) else f"{a!r} became {b!r}"
    if hasattr(a, "__dict__") and depth < 4 and not callable(a):
        return difference(vars(a), vars(b), depth + 1)
    try:
        return "" if bool(a == b) else f"{a!r} became {b!r}"[:200]
    except Exception:
        return ""
