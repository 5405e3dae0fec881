"""What a run depends on, as one frozen value."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tricklint.finding import FixLevel, Severity

OUTPUT_FORMATS = ("text", "concise", "json", "sarif", "github", "gitlab", "junit")
OOM_GUARDS = ("accumulate", "accelerate", "koila")
DEFAULT_EXCLUDE = (
    *(".bzr", ".direnv", ".eggs", ".git", ".hg", ".ipynb_checkpoints", ".mypy_cache", ".nox", ".pants.d", ".pyenv"),
    *(".pytest_cache", ".pytype", ".ruff_cache", ".svn", ".tox", ".tricklint", ".tricklint_cache", ".venv", ".vscode"),
    *("__pycache__", "__pypackages__", "_build", "buck-out", "build", "dist", "node_modules", "site-packages", "venv"),
)


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
class Refused:
    """Something that a project's own configuration may not say, and where it says it."""

    path: Path | None
    row: int | None
    message: str

    def __str__(self) -> str:
        return f"{self.path}:{self.row}: {self.message}" if self.row else f"{self.path}: {self.message}"


@dataclass(frozen=True)
class Settings:
    """Everything a run depends on. Paths are absolute; `root` is the project's folder."""

    root: Path
    config_file: Path | None = None
    refused: tuple[Refused, ...] = ()
    selections: tuple[Selection, ...] = ()
    per_file_ignores: tuple[tuple[str, tuple[str, ...]], ...] = ()
    exclude: tuple[str, ...] = DEFAULT_EXCLUDE
    force_exclude: bool = False
    baseline: Path | None = None
    fix_level: FixLevel = FixLevel.RECIPE
    fail_on: Severity = Severity.WARNING
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
