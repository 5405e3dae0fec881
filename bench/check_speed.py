"""What `tricklint check` costs, as ratios to the parsers' own cost. Paths are arguments; nothing here is a test.

    python bench/check_speed.py sources transformers-5.23.0/    # bar: 3 x ast.parse of the same files
    python bench/check_speed.py training repos/*/               # bar: 1.6 x libcst of the screened files + 2 x ast
    python bench/check_speed.py start                           # bar: `tricklint --version` 100 ms over bare python

CPU seconds (user + system) of a fresh process each, cold: no cache is read or written. The floors run in a fresh
process too, with the collector off, over the files that the check reads. Bytecode is kept from process to process, as
that of an installed tool is.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import statistics
import subprocess
import sys
from pathlib import Path

FLOOR = """
import ast, gc, json, sys, time, warnings
from pathlib import Path
gc.disable()
warnings.simplefilter("ignore")
kind, listed = sys.argv[1], json.loads(Path(sys.argv[2]).read_text())
texts = []
for name in listed:
    try:
        texts.append(Path(name).read_bytes())
    except OSError:
        pass
if kind == "libcst":
    import libcst
    parse = libcst.parse_module
else:
    parse = ast.parse
begin = time.process_time()
for text in texts:
    try:
        parse(text)
    except Exception:
        pass
print(time.process_time() - begin)
"""
# The files below the paths as `check` would take them, and those of them that pass its screen
LISTING = """
import json, sys
from pathlib import Path
from tricklint.rule import discover
from tricklint.settings import load
from tricklint.source.screen import quiet_parsing, screen, trigger_words
from tricklint.source.text import Source
from tricklint.universe import Universe

scratch, paths = Path(sys.argv[1]), [Path(name) for name in sys.argv[2:]]
settings = load(paths, isolated=True)
rules = [rule for rule in discover() if rule.on_by_default and not rule.needs_trace]
words = trigger_words(word for rule in rules for word in rule.triggers)
every, passed = [], []
for root in paths:
    for path in sorted([*root.rglob("*.py"), *root.rglob("*.ipynb")]):
        if any(part.startswith(".") for part in path.relative_to(root).parts):
            continue
        try:
            source = Source.read(path)
        except Exception:
            continue
        name = str(path)
        if source.is_notebook:  # what the parsers are given is the code of its cells
            cells = scratch / f"notebook{len(every)}.py"
            cells.write_text(source.text)
            name = str(cells)
        every.append(name)
        with quiet_parsing():
            if screen(source, words).hit:
                passed.append(name)
print(json.dumps([every, passed]))
"""


def cpu(command: list[str], **options: object) -> tuple[float, subprocess.CompletedProcess[str]]:
    """CPU seconds that a command and its children used."""
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    done = subprocess.run(command, capture_output=True, text=True, check=False, **options)  # type: ignore[call-overload]
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime, done


def floor(kind: str, files: list[str], scratch: Path) -> float:
    listing = scratch / "files.json"
    listing.write_text(json.dumps(files))
    _, done = cpu([sys.executable, "-c", FLOOR, kind, str(listing)])
    return float(done.stdout)


def listed(paths: list[Path], scratch: Path) -> tuple[list[str], list[str]]:
    _, done = cpu([sys.executable, "-c", LISTING, str(scratch), *map(str, paths)])
    if done.returncode:
        raise SystemExit(done.stderr)
    every, passed = json.loads(done.stdout)
    return every, passed


def check(path: Path) -> tuple[float, int]:
    """CPU seconds of a cold check, and the number of findings; problems of the run are shown."""
    command = [
        sys.executable,
        "-m",
        "tricklint",
        "check",
        str(path),
        "--isolated",
        "--no-cache",
        "--output-format",
        "json",
    ]
    seconds, done = cpu(command, env={**os.environ, "OMP_NUM_THREADS": "1"})
    for line in done.stderr.splitlines():
        if "Traceback" in line or "crash" in line.lower() or "rule TRK" in line:
            print(f"    {path.name}: {line[:200]}")
    try:
        return seconds, len(json.loads(done.stdout or "[]"))
    except json.JSONDecodeError:
        print(f"    {path.name}: no report (exit {done.returncode})")
        return seconds, 0


def sources(paths: list[Path], scratch: Path) -> None:
    for path in paths:
        every, passed = listed([path], scratch)
        ast_seconds = floor("ast", every, scratch)
        seconds, findings = check(path)
        print(f"{path.name}: {len(every)} files, {len(passed)} pass the screen, {findings} findings")
        print(f"    check {seconds:.1f} s : ast.parse {ast_seconds:.1f} s = {seconds / ast_seconds:.2f} x   (bar 3)")


def training(paths: list[Path], scratch: Path) -> None:
    total, bound = 0.0, 0.0
    rows = []
    for path in paths:
        every, passed = listed([path], scratch)
        if not passed:
            continue
        limit = 1.6 * floor("libcst", passed, scratch) + 2 * floor("ast", every, scratch)
        seconds, _ = check(path)
        rows.append((seconds / limit, path.name, seconds, limit, len(every), len(passed)))
        total, bound = total + seconds, bound + limit
    for ratio, name, seconds, limit, files, hit in sorted(rows, reverse=True)[:12]:
        print(f"    {ratio:5.2f} x   {seconds:6.1f} s of {limit:6.1f} s   {hit:4d} of {files:4d} files   {name}")
    start_up = statistics.median(check(empty_project(scratch))[0] for _ in range(5))
    print(
        f"{len(rows)} repositories: check {total:.1f} s, 1.6 libcst + 2 ast {bound:.1f} s: {total / bound:.2f}   (bar 1)"
    )
    work = total - len(rows) * start_up
    print(f"    without the start of {len(rows)} processes ({1000 * start_up:.0f} ms each): {work / bound:.2f}")


def compiled_in(folder: Path) -> None:
    """From here on processes keep Python's bytecode there and find it again, as those of an installed tool do."""
    os.environ.pop("PYTHONDONTWRITEBYTECODE", None)
    os.environ["PYTHONPYCACHEPREFIX"] = str(folder)


def empty_project(scratch: Path) -> Path:
    """A folder with one line in it that passes the screen: what a check costs before it has read anything."""
    folder = scratch / "empty"
    folder.mkdir(exist_ok=True)
    (folder / "train.py").write_text("from torch import nn, optim\n")
    return folder


def start(repeats: int = 15) -> None:
    def median(command: list[str]) -> float:
        return statistics.median(cpu(command)[0] for _ in range(repeats))

    bare = median([sys.executable, "-c", "pass"])
    version = median([sys.executable, "-m", "tricklint", "--version"])
    more = 1000 * (version - bare)
    print(
        f"tricklint --version {1000 * version:.0f} ms, bare python {1000 * bare:.0f} ms: {more:.0f} ms more   (bar 100)"
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", choices=("sources", "training", "start"))
    parser.add_argument("paths", nargs="*", type=Path)
    args = parser.parse_args()
    missing = [path for path in args.paths if not path.is_dir()]
    if missing:
        parser.error(f"{missing[0]} is no folder")
    import tempfile

    with tempfile.TemporaryDirectory() as folder:
        compiled_in(Path(folder) / "bytecode")
        check(empty_project(Path(folder)))
        if args.what == "start":
            start()
        else:
            (sources if args.what == "sources" else training)(args.paths, Path(folder))


if __name__ == "__main__":
    main()
