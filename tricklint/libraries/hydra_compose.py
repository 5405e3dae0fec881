"""How Hydra composes a configuration: the defaults list, groups, packages, overrides, and the config store."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from pathlib import Path

import libcst as cst

from tricklint.interpreter.machine import Machine
from tricklint.interpreter.values import (
    UNKNOWN,
    Const,
    Dict,
    Namespace,
    Sequence,
    Value,
    first,
)
from tricklint.libraries.config_files import ToBeGiven, value_of
from tricklint.libraries.configs import merge_into
from tricklint.libraries.omegaconf import written
from tricklint.source.data import DataError, parse_data

MAX_CONFIGS = 200  # that one configuration may be composed of
MAX_PICKS = 4  # compositions, where the defaults leave it to whoever runs the program
_PACKAGE = re.compile(rb"^#\s*@package\s+(\S+)", re.MULTILINE)


@dataclass(slots=True, eq=False)
class HydraFacts:
    """store: what the program put into the ConfigStore, by group and name, with its package. folder: where
    `initialize` says that configurations lie."""

    store: dict[str, tuple[Value, str | None]] = field(default_factory=dict)
    folder: Path | None = None


@dataclass(frozen=True, slots=True)
class Part:
    """One configuration of the composed one, and the package that it goes to."""

    path: str
    package: str
    content: Namespace


class Composer:
    def __init__(self, m: Machine, folder: Path | None, node: cst.CSTNode) -> None:
        self.m = m
        self.folder = folder
        self.node = node
        self.left = MAX_CONFIGS
        self.chosen: dict[str, Value] = {}  # by group, with its package where one is named: what overrides it
        self.choices: dict[str, str] = {}  # by group: the option taken, for `${group}` in a later entry
        self.loaded: dict[str, tuple[Namespace, str | None] | None] = {}
        self.picked = ""  # the option that whoever runs the program picks, of every group that has it
        self.unpicked: dict[str, list[str]] = {}  # the options of the groups that have to be picked from

    def config(self, name: str, overrides: list[str]) -> Namespace | None:
        """The configuration of that name, as it is written; None when there is none."""
        values: list[tuple[str, str]] = []
        for override in overrides:
            key, _, value = override.partition("=")
            key = key.lstrip("+~")
            if self.is_group(key.partition("@")[0]):
                self.chosen[key] = Const(value)
            else:
                values.append((key, value))
        if self.load(name) is None:
            return None
        parts: list[Part] = []
        for _ in range(4):  # an override that stands deep in the tree holds for what comes before it
            before = len(self.chosen)
            self.left = MAX_CONFIGS
            parts = self.tree(name, "", primary=True)
            if len(self.chosen) == before:
                break
        made = Namespace(self.node, self.m.file)
        for part in parts:
            self.place(made, part.package, part.content)
        for key, text in values:
            self.place(made, key, self.scalar(text))
        made.fields.pop("hydra", None)
        return made

    def compositions(self, name: str) -> list[Namespace]:
        """The configuration of that name. Where the defaults name no option that exists (`???`, or one that is not there),
        one for every option that may be picked; of several such groups those of one name go together."""
        made = self.config(name, [])
        if made is None or not any(self.unpicked.values()):
            return [made] if made is not None else []
        options = [option for group in self.unpicked.values() for option in group]
        shared = sorted(dict.fromkeys(options), key=lambda option: -options.count(option))
        groups = [group for group in self.unpicked.values() if group]
        found: dict[tuple[str, ...], Namespace] = {}
        for option in shared:
            taken = tuple(option if option in group else group[0] for group in groups)
            if taken in found or len(found) == MAX_PICKS:
                continue
            self.picked = option
            self.chosen.clear()
            self.choices.clear()
            made = self.config(name, [])
            if made is not None:
                found[taken] = made
        return list(found.values())

    # -- the tree ------------------------------------------------------------------------------------------------------

    def tree(self, path: str, package: str, primary: bool = False) -> list[Part]:
        """The parts that a configuration stands for, in the order in which they are merged."""
        found = self.load(path)
        self.left -= 1
        if found is None or self.left < 0:
            unknown = Namespace(self.node, self.m.file)
            return [Part(path, package, unknown)] if primary else []
        raw, _ = found
        content = Namespace(self.node, self.m.file)
        content.fields.update({key: value for key, value in raw.fields.items() if key != "defaults"})
        own = Part(path, package, content)
        listed = first(raw.fields.get("defaults"))
        entries = list(listed.items) if isinstance(listed, Sequence) else []
        parts: list[Part] = []
        seen_self = False
        base = path.rpartition("/")[0]
        for entry in entries:
            at = first(entry)
            if isinstance(at, Const) and at.value == "_self_":
                parts.append(own)
                seen_self = True
            elif isinstance(at, Const) and isinstance(at.value, str):
                target, _, where = at.value.partition("@")
                whole = target[1:] if target.startswith("/") else _under(base, target)
                parts += self.tree(whole, self.package_of(whole, where, package, target))
            elif isinstance(at, (Dict, Namespace)):
                for key, value in at.fields.items():
                    parts += self.group(str(key), value, base, package)
        return parts if seen_self else [*parts, own]

    def group(self, key: str, value: Value, base: str, package: str) -> list[Part]:
        """An entry `group@package: option` of a defaults list."""
        words = key.split()
        name, _, where = words[-1].partition("@")
        group = name[1:] if name.startswith("/") else _under(base, name)
        if group.split("/")[0] == "hydra":
            return []
        label = f"{group}@{where}" if where else group
        if "override" in words[:-1]:
            self.chosen.setdefault(label, value)
            return []
        parts: list[Part] = []
        wanted = self.chosen.get(label, value)
        options = self.options(wanted)
        if "optional" not in words[:-1] and not self.given(wanted, options, group):
            options = self.pick(label, group)
        for option in options:
            if option is None:
                continue
            self.choices[group] = option
            path = file_of(group, option)
            target = self.package_of(path, where, package, f"{name}/{option}")
            below = self.tree(path, target)
            parts += below
        return parts

    def options(self, value: Value) -> list[str | None]:
        at = first(value)
        if isinstance(at, Sequence):
            return [option for item in at.items for option in self.options(item)]
        if not isinstance(at, Const) or not isinstance(at.value, str):
            return []
        text = re.sub(r"\$\{([\w/]+)\}", lambda found: self.choices.get(found[1], found[0]), at.value)
        return [None if "${" in text else text]

    def given(self, value: Value, options: list[str | None], group: str) -> bool:
        """Whether the defaults name options that there are, or none on purpose, or what is not known."""
        if isinstance(first(value), ToBeGiven):
            return False
        return not options or any(option is None or self.load(file_of(group, option)) is not None for option in options)

    def pick(self, label: str, group: str) -> list[str | None]:
        """The option of a group that has to be picked from."""
        if label not in self.unpicked:
            self.unpicked[label] = self.options_of(group)
        every = self.unpicked[label]
        return [self.picked if self.picked in every else every[0]] if every else []

    def options_of(self, group: str) -> list[str]:
        folder = self.folder / group if self.folder is not None and ".." not in group.split("/") else None
        files = sorted(folder.glob("*.y*ml")) if folder is not None and folder.is_dir() else []
        stored = [key for key in self.m.fact(HydraFacts).store if key.rpartition("/")[0] == group]
        names = [file.stem for file in files if file.suffix in (".yaml", ".yml")]
        return [*names, *(key.rpartition("/")[2] for key in stored)]

    def package_of(self, path: str, where: str, parent: str, relative: str) -> str:
        """The package of a configuration below another one: its own header's, the entry's, or its group."""
        found = self.load(path)
        header = found[1] if found is not None else None
        group = relative.lstrip("/").rpartition("/")[0].replace("/", ".")
        wanted = where or header or "_group_"
        if wanted in ("_global_",) or wanted.startswith("_global_."):
            return wanted[len("_global_.") :]
        if wanted == "_here_":
            return parent
        name = path.rpartition("/")[2]
        wanted = wanted.replace("_group_", group).replace("_name_", name).strip(".")
        return _joined(parent, wanted)

    # -- files ---------------------------------------------------------------------------------------------------------

    def is_group(self, name: str) -> bool:
        folder = self.folder is not None and (self.folder / name).is_dir()
        return folder or any(key.startswith(f"{name}/") for key in self.m.fact(HydraFacts).store)

    def load(self, path: str) -> tuple[Namespace, str | None] | None:
        """A configuration by its path below the folder, and the package that its header names."""
        if path not in self.loaded:
            self.loaded[path] = self._load(path)
        return self.loaded[path]

    def _load(self, path: str) -> tuple[Namespace, str | None] | None:
        for suffix in (".yaml", ".yml") if self.folder is not None and ".." not in path.split("/") else ():
            assert self.folder is not None
            file = Path(_normal(self.folder / f"{path}{suffix}"))
            datum = self.m.project.data(file)
            if datum is None:
                continue
            header = _PACKAGE.search(self.m.project.text(file) or b"")
            made = value_of(self.m, datum, file, self.node, attributes=True)
            content = made if isinstance(made, Namespace) else Namespace(self.node, self.m.file)
            return content, header[1].decode("utf-8", "replace") if header else None
        stored = self.m.fact(HydraFacts).store.get(path)
        return (written(self.m, stored[0], self.node), stored[1]) if stored is not None else None

    # -- merging -------------------------------------------------------------------------------------------------------

    def place(self, made: Namespace, package: str, content: Value) -> None:
        """Merge a content into the composed configuration, at its package."""
        keys = [key for key in package.split(".") if key]
        if not keys and isinstance(content, Namespace):
            merge_into(self.m, made, content)
            return
        around: Namespace = made
        for key in keys if isinstance(content, Namespace) else keys[:-1]:
            below = around.fields.get(key)
            if not isinstance(below, Namespace):
                below = around.fields[key] = Namespace(self.node, self.m.file)
            around = below
        if isinstance(content, Namespace):
            merge_into(self.m, around, content)
        else:
            around.fields[keys[-1]] = content

    def scalar(self, text: str) -> Value:
        try:
            return value_of(self.m, parse_data(".yaml", text.encode()), None, self.node, attributes=True)
        except DataError:
            return UNKNOWN


def file_of(group: str, option: str) -> str:
    path = option[1:] if option.startswith("/") else f"{group}/{option}"
    return path.removesuffix(".yaml").removesuffix(".yml")


def _under(base: str, name: str) -> str:
    return f"{base}/{name}" if base else name


def _joined(parent: str, package: str) -> str:
    return ".".join(part for part in (parent, package) if part)


def _normal(path: Path) -> str:
    import os

    return os.path.normpath(path)


__all__ = ["Composer", "HydraFacts"]
