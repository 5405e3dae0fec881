"""The language server starts with the oldest and the newest release of what its extra asks for."""

from __future__ import annotations

import asyncio
import os
import re
import subprocess
import sys
from collections.abc import Iterable
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


def oldest(*extras: str) -> list[str]:
    """The lowest versions that tricklint says it runs with, for this Python."""
    table = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    wanted = [*table["dependencies"], *(one for extra in extras for one in table["optional-dependencies"][extra])]
    found = []
    for one in wanted:
        what, _, marker = one.partition(";")
        if marker and sys.version_info >= (3, 11):
            assert marker.strip() == "python_version < '3.11'"
            continue
        lowest = re.fullmatch(r"([\w-]+)>=([\d.]+)", what.strip())
        assert lowest is not None, one
        found.append(f"{lowest[1]}=={lowest[2]}")
    return found


@pytest.mark.slow
@pytest.mark.network
def test_the_oldest_versions_check_and_watch(project: Project, tmp_path_factory: pytest.TempPathFactory) -> None:
    target = tmp_path_factory.mktemp("oldest")
    install = [sys.executable, "-m", "pip", "install", "--quiet", "--only-binary", ":all:", "--target", str(target)]
    done = subprocess.run([*install, *oldest("watch")], capture_output=True, text=True)
    if done.returncode:
        pytest.skip(f"cannot be installed here: {done.stderr.splitlines()[-1:]}")
    project.write({"pyproject.toml": "[tool.tricklint]\n", "freeze.py": FREEZE})
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join([str(target), os.environ.get("PYTHONPATH", "")])}
    versions = "import libcst, watchfiles; print(libcst.__file__, watchfiles.__file__)"
    shown = subprocess.run([sys.executable, "-c", versions], env=environment, capture_output=True, text=True)
    assert shown.stdout.count(str(target)) == 2, shown.stderr
    command = [sys.executable, "-m", "tricklint", "check", "freeze.py", "--output-format", "concise", "--watch"]
    with subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True) as run:
        try:
            assert run.stdout is not None
            assert "TRK107" in _until(run.stdout, "Watching")
            project.write({"freeze.py": "import torch\n"})
            assert "All clean" in _until(run.stdout, "Watching")
        finally:
            run.kill()


def _until(lines: Iterable[str], word: str) -> str:
    seen = []
    for line in lines:
        seen.append(line)
        if word in line:
            return "".join(seen)
    raise AssertionError("".join(seen))
