"""Ignore files of strangers: read as git reads them, never an error, never slow."""

from __future__ import annotations

import os
import shutil
import subprocess
import time
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.hostile.conftest import Clone
from tricklint.source.gitignore import Pattern, Patterns

LINES = [
    "data\\", "!", "[z-a]", "\\", "/", "!/", "//", "***", "[", "[]", "[]]", "[!]", "[[:foo:]]", "[[:alpha:]]*", "\\*", "a\\ ",
    "a ", "#a", "\\#a", "\\!a", "a\r", "\ta", "*", "**", "**/", "/**", "a/**", "**/a", "a/**/b", "a**b", "**a", "a/", "!a/b",
    "/a", "a/b", "a?b", "?", "[^a]", "[!a-c]x", "[a-]", "[-a]", "[\\]]", "[a\\-c]", "*.py", "a*b*c", "b/*", "!b/a.py",
    "[/]", "a[/]b", "*a*b/", "a//b", ".", "..", "./a", "a/.", "**/a/**/b", "[a", "a[b", "[!", "*[",
]  # fmt: skip
NAMES = [
    "a",
    "b",
    "c",
    "a.py",
    "b.py",
    "ab",
    "abc",
    "a b",
    "a ",
    "[",
    "]",
    "*",
    "#a",
    "!a",
    "-",
    "\\",
    "axb",
    "x",
    ".a",
    "**",
]
PATHS = [*NAMES, *(f"{one}/{two}" for one in ("a", "b", "x") for two in NAMES[:12]), "a/x/y/b", "a/b/a/b", "x/a/y/z/b"]


def git_says(folder: Path, lines: list[str], paths: list[str]) -> set[str]:
    (folder / ".gitignore").write_bytes("\n".join(lines).encode() + b"\n")
    asked = b"".join(path.encode() + b"\0" for path in paths)
    command = ["git", "-c", "core.excludesFile=/dev/null", "check-ignore", "-z", "--stdin", "--no-index"]
    done = subprocess.run(command, input=asked, cwd=folder, capture_output=True, check=False)
    assert done.returncode in (0, 1), done.stderr
    return {path.decode() for path in done.stdout.split(b"\0") if path}


@pytest.fixture(scope="module")
def repository(tmp_path_factory: pytest.TempPathFactory) -> Path:
    if shutil.which("git") is None:
        pytest.skip("git is not installed")
    folder = tmp_path_factory.mktemp("ignored")
    subprocess.run(["git", "init", "-q", "."], cwd=folder, check=True)
    for path in PATHS:
        if "/" in path:  # check-ignore looks at the disk to tell folders from files
            (folder / path).parent.mkdir(parents=True, exist_ok=True)
    return folder


def we_say(folder: Path, lines: list[str], paths: list[str]) -> set[str]:
    patterns = Patterns(lines)
    return {path for path in paths if patterns.verdict(path + "/" if (folder / path).is_dir() else path)}


@pytest.mark.parametrize("line", LINES)
def test_one_line_is_read_as_git_reads_it(repository: Path, line: str) -> None:
    assert we_say(repository, [line], PATHS) == git_says(repository, [line], PATHS)


@given(st.lists(st.sampled_from(LINES) | st.text("ab*?[]!-/\\ ^", max_size=8), min_size=1, max_size=5))
@settings(max_examples=50, deadline=None)
def test_lines_are_read_as_git_reads_them(repository: Path, lines: list[str]) -> None:
    assert we_say(repository, lines, PATHS) == git_says(repository, lines, PATHS)


@given(st.text(max_size=30), st.text(max_size=20))
@settings(max_examples=300, deadline=None)
def test_no_line_is_an_error(line: str, path: str) -> None:
    Patterns([line]).verdict(path)


@pytest.mark.parametrize(
    ("line", "path"),
    [
        ("*a" * 60 + "*b", "a" * 250),
        ("*a*a*a*b", "a" * 250),
        ("?*" * 60 + "b", "a" * 250),
        ("*[ab]" * 60 + "c", "a" * 250),
        ("**/a/" * 60 + "b", "a/" * 1000 + "c"),
        ("**/" * 500 + "b", "a/" * 1000 + "c"),
        ("*a" * 60 + "*b/" + "*a" * 60 + "*b", ("a" * 250 + "/") * 10),
    ],
)
def test_no_line_is_slow(line: str, path: str) -> None:
    pattern = Pattern(line)
    started = time.process_time()
    assert not pattern.matches(path.rstrip("/").split("/"), False)
    assert time.process_time() - started < 0.2


def test_a_check_passes_over_them(clone: Clone) -> None:
    names = ["a" * 200 + f"{number}.py" for number in range(50)]
    clone.write(dict.fromkeys(names, "x = 1\n") | {"kept.py": "x = 1\n", "gone.py": "x = 1\n"})
    clone.write({".gitignore": "\n".join([*LINES[:7], "*a" * 40 + "*b.py", "gone.py"])})
    started = time.monotonic()
    code, out, err = clone.check(".", "--show-files")
    assert code == 0 and not err and time.monotonic() - started < 10
    assert "kept.py" in out and "gone.py" not in out and names[0] in out


@pytest.mark.parametrize("what", ["pipe", "device", "folder", "dangling", "bytes"])
def test_an_ignore_file_of_another_kind(clone: Clone, what: str) -> None:
    path = clone.root / ".gitignore"
    if what == "pipe":
        os.mkfifo(path)
    elif what == "device":
        path.symlink_to("/dev/zero")
    elif what == "folder":
        path.mkdir()
    elif what == "dangling":
        path.symlink_to("nowhere")
    else:
        path.write_bytes(b"\xff\xfe\n\0\n")
    code, out, _ = clone.check(".")
    assert code == 1 and "TRK601" in out


def test_folders_deeper_than_the_stack(clone: Clone) -> None:
    deep = "d/" * 1200
    subprocess.run(["mkdir", "-p", clone.root / deep], check=True)
    (clone.root / deep / "a.py").write_text("x = 1\n")
    try:
        code, out, _ = clone.check(".", "--show-files")
        assert code == 0 and f"{deep}a.py" in out
    finally:
        subprocess.run(["rm", "-rf", clone.root / "d"], check=True)


@pytest.mark.parametrize("key", ["exclude", "extend-exclude"])
@pytest.mark.parametrize("pattern", ["!", "a\\\\", "[z-a]", "[", "**/", "\\u0000"])
def test_the_configurations_patterns(clone: Clone, key: str, pattern: str) -> None:
    clone.write({"tricklint.toml": f'{key} = ["{pattern}"]\n'})
    code, _, err = clone.check(".")
    assert code in (1, 2) and "Traceback" not in err and len(err.splitlines()) <= 1
