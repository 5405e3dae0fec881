"""What to build: one `Target` a model, from the command line, the configuration, or what the Program saw trained."""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from tricklint.settings import Settings

SECONDS = 20.0
MEMORY_MB = 4096


class TargetError(ValueError):
    """A target that makes no sense; one line."""


@dataclass(frozen=True)
class Target:
    """`factory` is `pkg.module:name` or `file.py:name`; the rest as in `[tool.tricklint.models]`."""

    name: str
    factory: str
    args: tuple[Any, ...] = ()
    kwargs: dict[str, Any] = field(default_factory=dict)
    input: Any = None
    optimizer: str | None = None
    found_at: tuple[str, int] | None = None  # (file, row) of the construction, for discovered targets

    def key(self) -> str:
        """The same for the same question."""
        return json.dumps(
            [self.factory, self.args, self.kwargs, self.input, self.optimizer], sort_keys=True, default=str
        )


def parse(text: str, root: Path) -> Target:
    """A target as a person types it: `pkg.models:Net`, `models.py:Net`, `models.py`, or a file's path from anywhere.

    Raises TargetError.
    """
    where, colon, name = text.partition(":")
    if len(where) == 1 and colon and text[2:3] in "\\/":  # a Windows drive
        drive, (where, colon, name) = where, text[2:].partition(":")
        where = f"{drive}:{where}"
    if not where:
        raise TargetError(f"{text!r} names no model: write package.module:Name or path/to/file.py:Name")
    if where.endswith(".py") or "/" in where:
        file = Path(where) if Path(where).is_absolute() else Path.cwd() / where
        if not file.exists():
            file = root / where
        if not file.is_file():
            raise TargetError(f"{where}: no such file")
        where = str(file.resolve())
    elif not all(part.isidentifier() for part in where.split(".")):
        raise TargetError(f"{text!r} is no target: write package.module:Name or path/to/file.py:Name")
    elif not colon:
        where, _, name = where.rpartition(".")
        if not where:
            raise TargetError(f"{text!r} names no model: write package.module:Name or path/to/file.py:Name")
    return Target(text, f"{where}:{name}" if name else where)


def value(text: str) -> Any:
    """A constructor argument as typed: JSON or a Python literal, else the string itself."""
    import ast

    for read in (json.loads, ast.literal_eval):
        try:
            return read(text)
        except (ValueError, SyntaxError):
            continue
    return text


def configured(settings: Settings) -> list[Target]:
    """The targets of `[tool.tricklint.models]`."""
    targets = []
    for name, model in settings.models.items():
        shapes = model.input
        if isinstance(shapes, tuple):
            shapes = [list(shape) for shape in shapes]  # type: ignore[assignment]
        targets.append(Target(name, model.factory, tuple(model.args), dict(model.kwargs), shapes, model.optimizer))
    return targets


def discovered(program: Any) -> list[Target]:
    """Every model class or factory the Program sees being trained, once each, with the arguments it knows."""
    trained = getattr(program, "trained_models", None)
    if trained is None:
        return []
    targets: dict[str, Target] = {}
    for seen in trained():
        path = Path(seen.path)
        if not getattr(seen, "known", True):
            continue  # an argument nobody knows: another model would be built than the one that is trained
        args, kwargs = _plain(getattr(seen, "args", ()) or ()), _plain(dict(getattr(seen, "kwargs", {}) or {}))
        if args is None or kwargs is None:
            continue
        target = Target(
            f"{path.name}:{seen.qualname}",
            f"{path}:{seen.qualname}",
            tuple(args),
            kwargs,
            found_at=(str(path), int(getattr(seen, "line", 0) or 0)),
        )
        targets.setdefault(target.key(), target)
    return list(targets.values())


def _plain(value: Any) -> Any:
    """`value` when JSON can carry it, else None (an argument nobody knows: the model is not built)."""
    try:
        return json.loads(json.dumps(value if isinstance(value, dict) else list(value)))
    except (TypeError, ValueError):
        return None


def gather(program: Any, settings: Settings) -> list[Target]:
    """Configured ones first; a discovered one that a configured one names already is left out."""
    first = configured(settings)
    names = {target.factory.rpartition(":")[2] for target in first}
    return [*first, *(t for t in discovered(program) if t.factory.rpartition(":")[2] not in names)]


def roots(settings_root: Path, src: Iterable[Path], target: Target) -> tuple[list[str], list[str]]:
    """(folders whose files are the project's own, folders to put on sys.path)."""
    path = [str(settings_root), *(str(folder) for folder in src), str(settings_root / "src")]
    where = target.factory.rpartition(":")[0] or target.factory
    own = [str(settings_root), *(str(folder) for folder in src)]
    if where.endswith(".py"):
        folder = Path(where).parent
        path.insert(0, str(folder))
        own.append(str(folder))
    return own, [folder for folder in dict.fromkeys(path) if Path(folder).is_dir()]
