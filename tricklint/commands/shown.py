"""`--show-files` and `--show-settings`."""

from __future__ import annotations

import enum
import json
from collections.abc import Mapping, Sequence
from dataclasses import fields, is_dataclass
from pathlib import Path
from typing import Any

import click

from tricklint.groups import Group
from tricklint.settings import Settings


def files(found: Sequence[Group]) -> int:
    """One path a line, sorted; what is wrong with a path goes to standard error, and makes the exit code 2."""
    from tricklint.commands.complaints import complain
    from tricklint.report import Report, shown_path
    from tricklint.source.files import collect

    paths: set[Path] = set()
    report = Report()
    for group in found:
        some, problems = collect(group.paths, group.settings)
        paths.update(some)
        report.problems += problems
    for path in sorted(paths):
        click.echo(shown_path(path))
    complain(report)
    return 2 if report.problems else 0


def settings(found: Sequence[Group]) -> int:
    """The settings of each configured folder, as TOML."""
    from tricklint.check import known_rules
    from tricklint.report import shown_path
    from tricklint.selection import select

    for number, group in enumerate(found):
        if number:
            click.echo()
        file = group.settings.config_file
        click.echo(f"# {shown_path(file) if file else 'no configuration file'}; project {group.settings.root}")
        chosen = select(known_rules(group.settings), group.settings)
        rules = [rule.code for rule in chosen if group.settings.trace or not rule.needs_trace]
        click.echo(f"# rules that run: {' '.join(rules) or 'none'}")
        for line in _lines(group.settings):
            click.echo(line)
    return 0


def _lines(one: Settings) -> list[str]:
    plain, tables = [], []
    for field in fields(one):
        value = getattr(one, field.name)
        key = field.name.replace("_", "-")
        if field.name in ("root", "config_file", "refused", "selections"):
            continue
        if is_dataclass(value) or field.name == "models":
            tables += _table(key, value)
        elif value is not None:
            plain.append(f"{key} = {_toml(value)}")
    return plain + tables


def _table(name: str, value: Any) -> list[str]:
    if isinstance(value, Mapping):
        return [line for key, model in value.items() for line in _table(f"{name}.{_toml(key)}", model)]
    pairs = [(field.name.replace("_", "-"), getattr(value, field.name)) for field in fields(value)]
    lines = [f"{key} = {_toml(item)}" for key, item in pairs if item is not None and item != ()]
    return ["", f"[{name}]", *lines] if lines else []


def _toml(value: Any) -> str:
    if isinstance(value, enum.Enum):
        return _toml(value.value)
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, (int, float)):
        return repr(value)
    if isinstance(value, Mapping):
        return "{ " + ", ".join(f"{_toml(str(key))} = {_toml(item)}" for key, item in value.items()) + " }"
    if isinstance(value, (list, tuple)):
        if value and all(isinstance(item, tuple) and len(item) == 2 and isinstance(item[1], tuple) for item in value):
            return _toml(dict(value))  # per-file-ignores
        return "[" + ", ".join(_toml(item) for item in value) + "]"
    return json.dumps(str(value), ensure_ascii=False)
