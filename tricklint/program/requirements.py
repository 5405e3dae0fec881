"""Which version of a package the project asks for, by the lists of requirements beside its code."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from tricklint.program.program import Program

# The files that say it, by the custom of the tools that read them
_LISTS = (
    "requirements.txt", "requirements-dev.txt", "requirements/base.txt", "pyproject.toml", "setup.cfg", "setup.py",
    "environment.yml", "environment.yaml", "conda.yaml", "Pipfile", "poetry.lock", "uv.lock",
)  # fmt: skip


def at_least(program: Program, package: str, major: int) -> bool:
    """Whether a list beside the code asks for this major version of the package, or a later one."""
    asked: dict[str, list[int]] = program.remember("required versions", dict)
    if package not in asked:
        asked[package] = list(_versions(program, package))
    return bool(asked[package]) and min(asked[package]) >= major


def _versions(program: Program, package: str) -> Iterator[int]:
    """The lowest major version that each list allows."""
    name = package.replace("-", "[-_.]")
    # `name==2.1`, `name>=2,<3`, `name~=2.0`, `name = "^2.1"`, `name = {version = "2.1"}`, and a lock's `version = "2.1"`
    row = re.compile(
        rf"(?mi)^[ \t\-\"'\[]*(?:name = \")?{name}(?:\[[^\]\n]*\])?(?:\"\nversion = \"| *={{1,3}}| *[>~]=| *=? *[\"'{{][^\d\n<]*?) *[\"'^~>=]*(\d+)\b"
    )
    for root in program.project.import_roots:
        for each in _LISTS:
            raw = program.project.text(Path(root) / each)
            if raw is not None:
                yield from (int(found) for found in row.findall(raw.decode("utf-8", "replace")))


__all__ = ["at_least"]
