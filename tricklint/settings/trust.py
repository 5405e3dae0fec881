"""Who may name code that a check runs: the command line and the user's own configuration, never the project itself.

Checking a stranger's repository must be as safe as reading it, so the keys below are refused in a configuration that
came with the project; everything else in it counts.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Iterable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from tricklint.settings.model import Refused
from tricklint.settings.read import Layer, SettingsError, placed, read_layers, relative, row_of

_TRUSTED = "trusted_projects"
# key → the option that does the same
_RUNS_CODE = {"rule_paths": "--rule-path", "trace": "--trace", "python": "--python"}


def user_file() -> Path:
    """The user's own configuration, which counts below every project's."""
    if sys.platform == "win32":
        base = Path(os.environ.get("APPDATA") or Path.home() / "AppData" / "Roaming")
    else:
        base = Path(os.environ.get("XDG_CONFIG_HOME") or Path.home() / ".config")
    return base / "tricklint" / "tricklint.toml"


def user_layers(root: Path) -> list[Layer]:
    """The layers of the user's own file; none where it lies in the project that is checked. Raises SettingsError."""
    try:
        path = user_file()
    except RuntimeError:  # a user without a home
        return []
    return read_layers(path) if path.is_file() and not _within(path, root) else []


def trusts(layers: Iterable[Layer], root: Path) -> bool:
    """Whether the user's own configuration lets this project name code."""
    folders = [placed(layer, "trusted-projects", text) for layer in layers for text in layer.values.get(_TRUSTED, ())]
    return any(_within(root, folder) for folder in folders)


def without_code(
    layers: Iterable[Layer], root: Path, given: Mapping[str, Any], *, named: bool, trusted: bool
) -> tuple[list[Layer], list[Refused]]:
    """The layers of a file without what they may not say, and what was refused. `named`: the user named this file, so
    it counts as theirs where it lies outside the project; what a project's file extends is never theirs."""
    kept, refused = [], []
    for layer in layers:
        if named and layer.path is not None and not _within(layer.path, root):
            kept.append(layer)
            continue
        values = dict(layer.values)
        if _TRUSTED in values:
            refused.append(_refusal(layer, _TRUSTED, f"counts only in {_shown(user_file())}"))
            del values[_TRUSTED]
        for key, option in () if trusted else _RUNS_CODE.items():
            if values.pop(key, False) and not _same(key, layer, given):
                allowed = f"give {option}, or list the project in trusted-projects of {_shown(user_file())}"
                refused.append(
                    _refusal(layer, key, f"a project's own configuration makes no check run code; {allowed}")
                )
        _stay_inside(layer, root)
        kept.append(replace(layer, values=values))
    return kept, refused


def _same(key: str, layer: Layer, given: Mapping[str, Any]) -> bool:
    """Whether the command line says it too."""
    if key != "rule_paths":
        return key in given
    mine = {(layer.base / path).resolve() for path in layer.values[key]}
    return mine <= {Path(path).resolve() for path in given.get("rule-paths", ())}


def _stay_inside(layer: Layer, root: Path) -> None:
    """A file that is written where the configuration says must lie in the project."""
    baseline = layer.values.get("baseline")
    if baseline is not None and not _within(placed(layer, "baseline", baseline), root):
        raise SettingsError(f"{layer.origin}: baseline: {baseline} lies outside the project")


def _refusal(layer: Layer, key: str, why: str) -> Refused:
    name = key.replace("_", "-")
    return Refused(layer.path, row_of(layer.text, name), f"{name} is refused: {why}")


def _within(path: Path, folder: Path) -> bool:
    real, above = os.path.realpath(path), os.path.realpath(folder)
    return real == above or real.startswith(above.rstrip(os.sep) + os.sep)


def _shown(path: Path) -> str:
    try:
        return str(Path("~") / path.relative_to(Path.home()))
    except (ValueError, RuntimeError):
        return relative(path)
