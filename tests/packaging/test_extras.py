"""The language server starts with the oldest and the newest release of what its extra asks for."""

from __future__ import annotations

import asyncio
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

pytest.importorskip("pygls")

from tests.cli.conftest import Project
from tests.server.conftest import FREEZE
from tests.server.editor import editing

ROOT = Path(__file__).parents[2]


def requirement() -> str:
    table = tomllib.loads((ROOT / "pyproject.toml").read_text())
    (found,) = table["project"]["optional-dependencies"]["lsp"]
    return str(found)


@pytest.mark.slow
@pytest.mark.network
@pytest.mark.parametrize("which", ["oldest", "newest"])
def test_the_server_starts(
    which: str, project: Project, tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch
) -> None:
    wanted = requirement()
    lowest = re.search(r">=([\d.]+)", wanted)
    assert lowest is not None
    if which == "oldest":
        wanted = f"pygls=={lowest[1]}"
    target = tmp_path_factory.mktemp(which)
    install = [sys.executable, "-m", "pip", "install", "--quiet", "--target", str(target), wanted]
    done = subprocess.run(install, capture_output=True, text=True)
    if done.returncode:
        pytest.skip(f"cannot be installed here: {done.stderr.splitlines()[-1:]}")
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join([str(target), os.environ.get("PYTHONPATH", "")]))
    project.write({"pyproject.toml": "[tool.tricklint]\n", "freeze.py": FREEZE})

    async def talk() -> None:
        async with editing(project.root) as editor:
            await editor.shows(editor.open("freeze.py"), "TRK107")

    asyncio.run(talk())
