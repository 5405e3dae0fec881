"""Layers → one `Settings`: the nearest file, what it extends, `--config`, the command line; the later one wins."""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from tricklint.settings.model import (
    DEFAULT_EXCLUDE,
    MemorySettings,
    ModelSettings,
    NormalizeSettings,
    Refused,
    Selection,
    Settings,
    TransferSettings,
    VerifySettings,
)
from tricklint.settings.read import Layer, SettingsError, check, find_config, parse_pair, placed, read_layers, relative
from tricklint.settings.trust import trusts, user_layers, without_code


def common_folder(paths: Iterable[Path]) -> Path:
    """The deepest folder that holds all the paths (a file counts as its folder)."""
    folders = [path if path.is_dir() else path.parent for path in (Path(p).absolute() for p in paths)]
    try:
        return Path(os.path.commonpath(folders)) if folders else Path.cwd()
    except ValueError:  # different drives
        return folders[0]


# What stands at the top of a Python project that is no repository (yet)
PROJECT_FILES = ("setup.py", "setup.cfg", "pyproject.toml")


def _find_root(start: Path) -> Path:
    """The repository's top, else the folder of a project file, else what holds the topmost package."""
    above = (start, *start.parents)
    repository = next((folder for folder in above if (folder / ".git").exists()), None)
    if repository is not None:
        return repository
    project = next((folder for folder in above if any((folder / name).is_file() for name in PROJECT_FILES)), None)
    if project is not None:
        return project
    return next((folder for folder in above if not (folder / "__init__.py").is_file()), start)


def load(
    paths: Iterable[Path] = (),
    *,
    isolated: bool = False,
    config: Iterable[str] = (),
    options: Mapping[str, Any] | None = None,
    trusted: bool = False,
) -> Settings:
    """Settings for checking `paths`: the user's own file, the nearest file, then `--config` (files and pairs), then
    command line `options` (by their keys in the table, e.g. {"fail-on": "error"}; None is no option). `trusted`: the
    project's own file may name code to run. Raises SettingsError."""
    start = common_folder(paths)
    files, pairs = _files_and_pairs(config)
    # A file that is named takes the place of the one that would be found; the project stays where it is.
    file = files[-1] if files else None if isolated else find_config(start)
    root = file.parent if file and not files else _find_root(start)
    given = {key: value for key, value in (options or {}).items() if value is not None}
    own = [] if isolated else user_layers(root)
    found = read_layers(file) if file else []
    found, refused = without_code(found, root, given, named=bool(files), trusted=trusted or trusts(own, root))
    layers = own + found
    layers += [check(parse_pair(pair), Path.cwd(), "--config") for pair in pairs]
    layers.append(check(given, Path.cwd(), "command line"))
    return _build(layers, root, file, tuple(refused))


def _files_and_pairs(config: Iterable[str]) -> tuple[list[Path], list[str]]:
    files, pairs = [], []
    for given in config:
        if Path(given).is_file():
            files.append(Path(given).absolute())
        elif given.endswith(".toml") and "=" not in given:
            raise SettingsError(f"--config: {given} does not exist")
        else:
            pairs.append(given)
    if len(files) > 1:
        raise SettingsError(f"--config: two files, {relative(files[0])} and {relative(files[1])}: choose one")
    return files, pairs


def _build(layers: list[Layer], root: Path, config_file: Path | None, refused: tuple[Refused, ...]) -> Settings:
    values: dict[str, Any] = {"src": (root, root / "src")}
    tables: dict[str, dict[str, Any]] = {name: {} for name in ("transfer", "normalize", "memory", "verify", "models")}
    selections, exclude, extend_exclude = [], DEFAULT_EXCLUDE, []
    for layer in layers:
        mine = dict(layer.values)
        mine.pop("extend", None)
        mine.pop("trusted_projects", None)
        selections.append(
            Selection(mine.pop("select", None), mine.pop("extend_select", ()), mine.pop("ignore", ()), layer.origin)
        )
        exclude = mine.pop("exclude", exclude)
        extend_exclude += mine.pop("extend_exclude", ())
        for name, table in tables.items():
            table.update(mine.pop(name, {}))
        if "rule_paths" in mine:
            mine["rule_paths"] = tuple((layer.base / path).resolve() for path in mine["rule_paths"])
        if "src" in mine:
            mine["src"] = tuple(dict.fromkeys((root, *((layer.base / path).resolve() for path in mine["src"]))))
        if "python" in mine:
            # Not resolved: a virtual environment's interpreter is a link, and its place is what matters.
            mine["python"] = placed(layer, "python", mine["python"]).absolute()
        if "baseline" in mine:
            mine["baseline"] = placed(layer, "baseline", mine["baseline"]).absolute()
        values.update(mine)
    return Settings(
        root=root,
        config_file=config_file,
        refused=refused,
        selections=tuple(selections),
        exclude=(*exclude, *extend_exclude),
        transfer=TransferSettings(**tables["transfer"]),
        normalize=NormalizeSettings(**tables["normalize"]),
        memory=MemorySettings(**tables["memory"]),
        verify=VerifySettings(**tables["verify"]),
        models={name: ModelSettings(**model) for name, model in tables["models"].items()},
        **values,
    )
