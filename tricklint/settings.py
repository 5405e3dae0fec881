"""`[tool.tricklint]`, `--config` and the command line → one frozen `Settings`.

Layers are checked one by one, so that an error names where the wrong key stands, then laid over each other: the later
layer wins. An unknown key is an error that names the nearest key; a wrong type says what is expected.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar

from tricklint.finding import FixLevel, Severity

OUTPUT_FORMATS = ("text", "concise", "json", "sarif", "github", "gitlab", "junit")
OOM_GUARDS = ("accumulate", "accelerate", "koila")
DEFAULT_EXCLUDE = (
    *(".bzr", ".direnv", ".eggs", ".git", ".hg", ".ipynb_checkpoints", ".mypy_cache", ".nox", ".pants.d", ".pyenv"),
    *(".pytest_cache", ".pytype", ".ruff_cache", ".svn", ".tox", ".tricklint", ".tricklint_cache", ".venv", ".vscode"),
    *("__pycache__", "__pypackages__", "_build", "buck-out", "build", "dist", "node_modules", "site-packages", "venv"),
)


class SettingsError(Exception):
    """The configuration is wrong; the message is one line that says what and where."""


@dataclass(frozen=True)
class Selection:
    """One layer's choice of rules. Selectors are codes (TRK601), prefixes (TRK6) or names (decay-on-bias-norm).
    `select = None` keeps what the layer below selected."""

    select: tuple[str, ...] | None = None
    extend_select: tuple[str, ...] = ()
    ignore: tuple[str, ...] = ()
    origin: str = ""


@dataclass(frozen=True)
class TransferSettings:
    """`dataset_size`: "small", "large" or the number of samples. `similarity` to the pre-training data."""

    dataset_size: str | int | None = None
    similarity: str | None = None


@dataclass(frozen=True)
class NormalizeSettings:
    """`p`: the probability that α_low = log(p (C − 2) / (1 − p)) must allow."""

    p: float = 0.9


@dataclass(frozen=True)
class MemorySettings:
    """`gpu`: bytes of memory of the card that training runs on, if known."""

    gpu: int | None = None


@dataclass(frozen=True)
class ModelSettings:
    """One target of `--trace`: how to build it ("package.module:callable"), and what it eats."""

    factory: str
    args: tuple[Any, ...] = ()
    kwargs: Mapping[str, Any] = field(default_factory=dict)
    input: str | tuple[tuple[int, ...], ...] | None = None
    optimizer: str | None = None


@dataclass(frozen=True)
class VerifySettings:
    """How `--verify` trains. `budget` is seconds; `command` is split like a shell line when it is one string."""

    command: tuple[str, ...] = ()
    seeds: int = 8
    steps: int | None = None
    epochs: int | None = None
    metric: str | None = None
    higher_is_better: bool | None = None
    margin: float | None = None
    lr_scale: tuple[float, ...] = (1.0,)
    budget: float | None = None
    engine: str = "local"
    ray_address: str | None = None
    oom_guard: str | None = None


@dataclass(frozen=True)
class Settings:
    """Everything a run depends on. Paths are absolute; `root` is the project's folder."""

    root: Path
    config_file: Path | None = None
    selections: tuple[Selection, ...] = ()
    per_file_ignores: tuple[tuple[str, tuple[str, ...]], ...] = ()
    exclude: tuple[str, ...] = DEFAULT_EXCLUDE
    force_exclude: bool = False
    fix_level: FixLevel = FixLevel.RECIPE
    fail_on: Severity = Severity.ADVICE
    output_format: str = "text"
    rule_paths: tuple[Path, ...] = ()
    src: tuple[Path, ...] = ()
    pedantic: bool = False
    trace: bool = False
    python: Path | None = None
    oom_guard: str = "accumulate"
    transfer: TransferSettings = TransferSettings()
    normalize: NormalizeSettings = NormalizeSettings()
    memory: MemorySettings = MemorySettings()
    models: Mapping[str, ModelSettings] = field(default_factory=dict)
    verify: VerifySettings = VerifySettings()


# -- the shape of the table: key → a function (value, dotted key) → converted value -----------------------------------


class _Wrong(Exception):
    def __init__(self, key: str, message: str) -> None:
        super().__init__(message)
        self.key = key
        self.message = message


Convert = Callable[[Any, str], Any]
_E = TypeVar("_E", Severity, FixLevel)


def nearest(word: str, words: Iterable[str]) -> str:
    """ " (did you mean 'x'?)" for the word that is closest, "" when none is close."""
    import difflib

    found = difflib.get_close_matches(word, list(words), n=1, cutoff=0.5)
    return f" (did you mean '{found[0]}'?)" if found else ""


def _show(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= 40 else text[:37] + "…"


def _is(kind: type, expected: str) -> Convert:
    def convert(value: Any, key: str) -> Any:
        # TOML's booleans are Python ints too: `seeds = true` is a mistake.
        if not isinstance(value, kind) or (isinstance(value, bool) and kind is not bool):
            raise _Wrong(key, f"expected {expected}, got {_show(value)}")
        return value

    return convert


_string = _is(str, "a string")
_boolean = _is(bool, "true or false")


def _at_least(lowest: int) -> Convert:
    def convert(value: Any, key: str) -> int:
        if isinstance(value, bool) or not isinstance(value, int) or value < lowest:
            raise _Wrong(key, f"expected a whole number ≥ {lowest}, got {_show(value)}")
        return value

    return convert


def _number(value: Any, key: str) -> float:
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        raise _Wrong(key, f"expected a number, got {_show(value)}")
    return float(value)


def _one_of(*words: str) -> Convert:
    def convert(value: Any, key: str) -> str:
        if not isinstance(value, str) or value not in words:
            hint = nearest(value, words) if isinstance(value, str) else ""
            raise _Wrong(key, f"expected one of {', '.join(words)}, got {_show(value)}{hint}")
        return value

    return convert


def _enum(kind: type[_E]) -> Convert:
    word = _one_of(*(member.value for member in kind))
    return lambda value, key: kind(word(value, key))


def _strings(value: Any, key: str) -> tuple[str, ...]:
    if not isinstance(value, list) or not all(isinstance(item, str) for item in value):
        raise _Wrong(key, f"expected a list of strings, got {_show(value)}")
    return tuple(value)


def _numbers(value: Any, key: str) -> tuple[float, ...]:
    if not isinstance(value, list) or not value:
        raise _Wrong(key, f"expected a list of numbers, got {_show(value)}")
    return tuple(_number(item, key) for item in value)


def _probability(value: Any, key: str) -> float:
    number = _number(value, key)
    if not 0 < number < 1:
        raise _Wrong(key, f"expected a probability between 0 and 1, got {_show(value)}")
    return number


def _bytes(value: Any, key: str) -> int:
    """24 GB → bytes (GB and GiB both mean 2**30, as card makers do)."""
    match = re.fullmatch(r"(\d+(?:\.\d+)?)\s*([KMGT]i?B)", value) if isinstance(value, str) else None
    if not match:
        raise _Wrong(key, f'expected a size like "24GB", got {_show(value)}')
    return int(float(match[1]) * 1024 ** (1 + "KMGT".index(match[2][0])))


def _seconds(value: Any, key: str) -> float:
    match = re.fullmatch(r"(\d+(?:\.\d+)?)\s*([smh]?)", value) if isinstance(value, str) else None
    if isinstance(value, (int, float)) and not isinstance(value, bool):
        return float(value)
    if not match:
        raise _Wrong(key, f'expected a duration like "10m", got {_show(value)}')
    return float(match[1]) * {"": 1, "s": 1, "m": 60, "h": 3600}[match[2]]


def _command(value: Any, key: str) -> tuple[str, ...]:
    import shlex

    if isinstance(value, str):
        return tuple(shlex.split(value))
    return _strings(value, key)


def _dataset_size(value: Any, key: str) -> str | int:
    if isinstance(value, int) and not isinstance(value, bool) and value > 0:
        return value
    if value in ("small", "large"):
        return str(value)
    raise _Wrong(key, f'expected "small", "large" or the number of samples, got {_show(value)}')


def _per_file(value: Any, key: str) -> tuple[tuple[str, tuple[str, ...]], ...]:
    if not isinstance(value, dict):
        raise _Wrong(key, f"expected a table from file pattern to a list of rules, got {_show(value)}")
    return tuple((pattern, _strings(rules, f"{key}.{pattern}")) for pattern, rules in value.items())


def _input(value: Any, key: str) -> str | tuple[tuple[int, ...], ...]:
    if isinstance(value, str):
        return value
    shapes = value if isinstance(value, list) else []
    good = [s for s in shapes if isinstance(s, list) and all(isinstance(n, int) and n > 0 for n in s)]
    if not shapes or len(good) != len(shapes):
        raise _Wrong(
            key, f'expected a list of shapes [[1, 3, 224, 224]] or "package.module:callable", got {_show(value)}'
        )
    return tuple(tuple(shape) for shape in shapes)


def _target(value: Any, key: str) -> str:
    if not isinstance(value, str) or not re.fullmatch(r"[\w./\\-]+:[\w.]+", value):
        raise _Wrong(key, f'expected "package.module:callable", got {_show(value)}')
    return value


def _table(schema: Mapping[str, Convert]) -> Convert:
    def convert(value: Any, key: str) -> dict[str, Any]:
        if not isinstance(value, dict):
            raise _Wrong(key, f"expected a table, got {_show(value)}")
        result = {}
        for name, item in value.items():
            dotted = f"{key}.{name}" if key else name
            if name not in schema:
                raise _Wrong(dotted, f"unknown key '{name}'{nearest(name, schema)}")
            result[name.replace("-", "_")] = schema[name](item, dotted)
        return result

    return convert


_MODEL = _table(
    {
        "factory": _target,
        "args": lambda value, key: tuple(_is(list, "a list")(value, key)),
        "kwargs": _is(dict, "a table"),
        "input": _input,
        "optimizer": _target,
    }
)


def _models(value: Any, key: str) -> dict[str, dict[str, Any]]:
    if not isinstance(value, dict):
        raise _Wrong(key, f"expected a table of models, got {_show(value)}")
    for name, model in value.items():
        if isinstance(model, dict) and "factory" not in model:
            raise _Wrong(f"{key}.{name}", 'needs a factory, like factory = "package.models:build"')
    return {name: _MODEL(model, f"{key}.{name}") for name, model in value.items()}


_SCHEMA = _table(
    {
        "select": _strings,
        "ignore": _strings,
        "extend-select": _strings,
        "per-file-ignores": _per_file,
        "exclude": _strings,
        "extend-exclude": _strings,
        "force-exclude": _boolean,
        "fix-level": _enum(FixLevel),
        "fail-on": _enum(Severity),
        "output-format": _one_of(*OUTPUT_FORMATS),
        "rule-paths": _strings,
        "src": _strings,
        "pedantic": _boolean,
        "trace": _boolean,
        "python": _string,
        "oom-guard": _one_of(*OOM_GUARDS),
        "transfer": _table({"dataset-size": _dataset_size, "similarity": _one_of("similar", "different")}),
        "normalize": _table({"p": _probability}),
        "memory": _table({"gpu": _bytes}),
        "models": _models,
        "verify": _table(
            {
                "command": _command,
                "seeds": _at_least(1),
                "steps": _at_least(1),
                "epochs": _at_least(1),
                "metric": _string,
                "higher-is-better": _boolean,
                "margin": _number,
                "lr-scale": _numbers,
                "budget": _seconds,
                "engine": _one_of("local", "ray"),
                "ray-address": _string,
                "oom-guard": _one_of(*OOM_GUARDS),
            }
        ),
    }
)


# -- reading ----------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class _Layer:
    values: dict[str, Any]
    base: Path  # relative paths of this layer start here
    origin: str


def _loads(text: str) -> dict[str, Any]:
    if sys.version_info >= (3, 11):
        import tomllib
    else:
        import tomli as tomllib
    table: dict[str, Any] = tomllib.loads(text)
    return table


def _check(table: dict[str, Any], base: Path, origin: str, text: str = "") -> _Layer:
    try:
        return _Layer(_SCHEMA(table, ""), base, origin)
    except _Wrong as wrong:
        row = _row_of(text, wrong.key)
        place = f"{origin}:{row}" if row else origin
        raise SettingsError(f"{place}: {wrong.key}: {wrong.message}") from None


def _row_of(text: str, key: str) -> int | None:
    """The row where the last part of a dotted key is set, when only one row can be meant."""
    pattern = re.compile(rf"""^\s*["']?{re.escape(key.rpartition(".")[2])}["']?\s*=""")
    rows = [row for row, line in enumerate(text.splitlines(), 1) if pattern.match(line)]
    return rows[0] if len(rows) == 1 else None


def _tool_table(path: Path) -> tuple[dict[str, Any] | None, str]:
    """The [tool.tricklint] table of a pyproject.toml (None when it has none), and the file's text."""
    try:
        text = path.read_text(encoding="utf-8-sig")
        table = _loads(text).get("tool", {}).get("tricklint")
    except (OSError, ValueError, AttributeError) as error:  # TOMLDecodeError and UnicodeDecodeError are ValueErrors
        raise SettingsError(f"{_relative(path)}: cannot be read: {error}") from None
    if table is not None and not isinstance(table, dict):
        raise SettingsError(f"{_relative(path)}: [tool.tricklint]: expected a table, got {_show(table)}")
    return table, text


def _relative(path: Path) -> str:
    try:
        return str(path.relative_to(Path.cwd()))
    except ValueError:
        return str(path)


def common_folder(paths: Iterable[Path]) -> Path:
    """The deepest folder that holds all the paths (a file counts as its folder)."""
    import os

    folders = [path if path.is_dir() else path.parent for path in (Path(p).absolute() for p in paths)]
    try:
        return Path(os.path.commonpath(folders)) if folders else Path.cwd()
    except ValueError:  # different drives
        return folders[0]


def find_config(start: Path) -> tuple[Path, dict[str, Any], str] | None:
    """The nearest pyproject.toml at or above `start` that has [tool.tricklint]: (path, table, text)."""
    for folder in (start, *start.parents):
        path = folder / "pyproject.toml"
        if path.is_file():
            table, text = _tool_table(path)
            if table is not None:
                return path, table, text
    return None


def _find_root(start: Path) -> Path:
    return next((folder for folder in (start, *start.parents) if (folder / ".git").exists()), start)


def _parse_pair(pair: str) -> dict[str, Any]:
    """`verify.seeds=4` → {"verify": {"seeds": 4}}; a value that is no TOML is taken as a bare string."""
    key, equals, value = pair.partition("=")
    if not equals or not key.strip():
        raise SettingsError(f"--config {pair}: expected KEY=VALUE")
    try:
        parsed = _loads(f"value = {value}")["value"]
    except ValueError:
        parsed = value.strip()
    for part in reversed(key.strip().split(".")):
        parsed = {part: parsed}
    table: dict[str, Any] = parsed
    return table


def load(
    paths: Iterable[Path] = (),
    *,
    isolated: bool = False,
    config: Iterable[str] = (),
    options: Mapping[str, Any] | None = None,
) -> Settings:
    """Settings for checking `paths`: nearest file, then `--config` pairs, then command line `options` (by their
    keys in the table, e.g. {"fail-on": "error"}; None is no option). Raises SettingsError."""
    start = common_folder(paths)
    found = None if isolated else find_config(start)
    layers = []
    if found:
        file, table, text = found
        layers.append(_check(table, file.parent, f"{_relative(file)}: [tool.tricklint]", text))
    layers += [_check(_parse_pair(pair), Path.cwd(), "--config") for pair in config]
    given = {key: value for key, value in (options or {}).items() if value is not None}
    layers.append(_check(given, Path.cwd(), "command line"))
    root = found[0].parent if found else _find_root(start)
    return _build(layers, root, found[0] if found else None)


def _build(layers: list[_Layer], root: Path, config_file: Path | None) -> Settings:
    values: dict[str, Any] = {"src": (root, root / "src")}
    tables: dict[str, dict[str, Any]] = {name: {} for name in ("transfer", "normalize", "memory", "verify", "models")}
    selections, exclude, extend_exclude = [], DEFAULT_EXCLUDE, []
    for layer in layers:
        mine = dict(layer.values)
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
            mine["python"] = (layer.base / Path(mine["python"]).expanduser()).absolute()
        values.update(mine)
    return Settings(
        root=root,
        config_file=config_file,
        selections=tuple(selections),
        exclude=(*exclude, *extend_exclude),
        transfer=TransferSettings(**tables["transfer"]),
        normalize=NormalizeSettings(**tables["normalize"]),
        memory=MemorySettings(**tables["memory"]),
        verify=VerifySettings(**tables["verify"]),
        models={name: ModelSettings(**model) for name, model in tables["models"].items()},
        **values,
    )
