"""Small programs from text: `program({"train.py": "…"})` follows them as the linter would, and lets crashes through."""

from __future__ import annotations

import textwrap
from collections.abc import Callable, Mapping
from pathlib import Path

import pytest

import tricklint.program.program as house
from tricklint.program import Program
from tricklint.source.text import Source

MakeProgram = Callable[["Mapping[str, str] | str"], Program]


@pytest.fixture
def program(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> MakeProgram:
    monkeypatch.setattr(house, "DEBUG", True)

    # every file that was written for a test is followed, whatever it holds
    monkeypatch.setattr(house.starts, "followed", lambda sources, roots: list(roots))

    def make(files: Mapping[str, str] | str) -> Program:
        texts = {"train.py": files} if isinstance(files, str) else files
        sources = {}
        for name, text in texts.items():
            path = tmp_path / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(textwrap.dedent(text))
            sources[path] = Source.read(path)
        return Program(sources, list(sources), [tmp_path], lambda path: None)

    return make
