"""The nearest configuration counts for each file: a run over several configured folders is a run for each of them.

Files that share a configuration file are one group, followed together as when their folder is checked alone; so
`check .` in a repository of many projects, `check pkg_a` and an editor agree.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from tricklint.report import Report
from tricklint.settings import Settings, config_of, find_config, load
from tricklint.source.files import configured_folders


@dataclass(frozen=True)
class Configurations:
    """Where settings come from, beside the files that are found: what the command line says."""

    isolated: bool = False
    config: tuple[str, ...] = ()
    options: Mapping[str, Any] = field(default_factory=dict)

    def of(self, paths: Sequence[Path]) -> Settings:
        """The settings of what the paths have in common. Raises SettingsError."""
        return load(paths, isolated=self.isolated, config=self.config, options=self.options)

    @property
    def fixed(self) -> bool:
        """One configuration for all files, wherever they lie."""
        return self.isolated or any(Path(given).is_file() for given in self.config)


@dataclass(frozen=True)
class Group:
    """Paths that share one configuration."""

    settings: Settings
    paths: tuple[Path, ...]


def groups(paths: Sequence[Path], configurations: Configurations) -> list[Group]:
    """The paths by nearest configuration; one group nearly always. Raises SettingsError."""
    base = configurations.of(paths)
    if configurations.fixed:
        return [Group(base, tuple(paths))]
    by_file: dict[Path | None, list[Path]] = {}
    for path in paths:
        absolute = path.absolute()
        folder = absolute if absolute.is_dir() else absolute.parent
        by_file.setdefault(find_config(folder), []).append(path)
    found: list[Group] = []
    waiting = list(by_file.items())
    while waiting:
        file, here = waiting.pop(0)
        settings = base if file == base.config_file else configurations.of([file.parent] if file else here)
        inner = [folder for path in here if path.is_dir() for folder in configured_folders(path.absolute(), settings)]
        # What has its own configuration is not the outer one's.
        found.append(Group(_without(settings, inner), tuple(here)))
        waiting += [(config_of(folder), [folder]) for folder in inner]
    return _merged(found)


def own(settings: Settings) -> Settings:
    """The settings of one file's project without the folders below that have a configuration of their own."""
    return _without(settings, configured_folders(settings.root, settings))


def _without(settings: Settings, folders: Sequence[Path]) -> Settings:
    below = [folder for folder in folders if folder.is_relative_to(settings.root)]
    patterns = tuple(f"/{_escaped(folder.relative_to(settings.root).as_posix())}/" for folder in below)
    return replace(settings, exclude=(*settings.exclude, *patterns)) if patterns else settings


def _escaped(name: str) -> str:
    return "".join(f"\\{character}" if character in "*?[]!#\\ " else character for character in name)


def _merged(found: Sequence[Group]) -> list[Group]:
    """Groups of one configuration file joined, in the order they were met."""
    joined: dict[Path | None, Group] = {}
    for group in found:
        key = group.settings.config_file
        if key in joined:
            paths = tuple(dict.fromkeys((*joined[key].paths, *group.paths)))
            exclude = tuple(dict.fromkeys((*joined[key].settings.exclude, *group.settings.exclude)))
            joined[key] = Group(replace(group.settings, exclude=exclude), paths)
        else:
            joined[key] = group
    return list(joined.values())


def merge(reports: Sequence[Report]) -> Report:
    """Several groups' reports as one."""
    if len(reports) == 1:
        return reports[0]
    rules = {rule.code: rule for report in reports for rule in report.rules}
    return Report(
        findings=sorted(_all(reports, "findings"), key=lambda finding: finding.sort_key),
        problems=list(dict.fromkeys(_all(reports, "problems"))),
        notes=list(dict.fromkeys(_all(reports, "notes"))),
        fixed=list(_all(reports, "fixed")),
        refused=list(_all(reports, "refused")),
        diffs=list(_all(reports, "diffs")),
        suppressed=sum(report.suppressed for report in reports),
        spent=[entry for report in reports for entry in report.spent],
        asked=frozenset(_all(reports, "asked")),
        ran=frozenset(_all(reports, "ran")),
        sources={path: source for report in reports for path, source in report.sources.items()},
        rules=[rules[code] for code in sorted(rules)],
    )


def _all(reports: Sequence[Report], name: str) -> Iterator[Any]:
    return (item for report in reports for item in getattr(report, name))
