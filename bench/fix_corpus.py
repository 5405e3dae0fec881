"""What `--fix` does to repositories that nobody tuned for. Folders of checkouts are arguments; they are copied, never changed.

    python bench/fix_corpus.py checkouts/* --keep mended/ --json result.json

Each repository is mended twice, from a fresh copy: by `--fix` and by `--fix --unsafe-fixes`. Counted are files changed, files
that no longer compile (bar: 0), undefined names that pyflakes did not see before (0), files that a second run changes (0),
findings that were not there before, by rule (0), fixes that were not made since they would not keep their word, and the CPU
seconds of mending against those of checking (bar: 3 x).
"""

from __future__ import annotations

import argparse
import ast
import difflib
import json
import os
import re
import resource
import shutil
import subprocess
import sys
import tempfile
import warnings
from collections import Counter
from dataclasses import asdict, dataclass, field
from pathlib import Path

from tricklint.source.text import Source, SourceError

LARGEST = 2_000_000  # bytes; data beside the code is not copied
NOT_MADE = re.compile(r"^(?:note: )?(?P<place>\S+?:\d+): (?P<code>\w+): fix not made: (?P<why>.*)$", re.M)


@dataclass
class Mended:
    """One repository, mended at one level."""

    repository: str
    level: str
    check_cpu: float
    fix_cpu: float = 0.0
    findings: int = 0
    changed: list[str] = field(default_factory=list)
    broken: list[str] = field(default_factory=list)
    undefined: list[str] = field(default_factory=list)
    again: list[str] = field(default_factory=list)
    arisen: list[str] = field(default_factory=list)
    not_made: list[str] = field(default_factory=list)
    problems: list[str] = field(default_factory=list)


def tricklint(folder: Path, *args: str) -> tuple[float, str, str]:
    """CPU seconds, stdout and stderr of one cold check of a folder."""
    command = [
        sys.executable,
        "-m",
        "tricklint",
        "check",
        ".",
        "--isolated",
        "--no-cache",
        "--output-format",
        "json",
        *args,
    ]
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    done = subprocess.run(command, capture_output=True, text=True, check=False, cwd=folder, timeout=1800)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime, done.stdout, done.stderr


def copied(repository: Path, target: Path) -> None:
    def left_out(folder: str, names: list[str]) -> set[str]:
        paths = {name: Path(folder, name) for name in names}
        return {
            name
            for name, path in paths.items()
            if name == ".git" or path.is_symlink() or (path.is_file() and path.stat().st_size > LARGEST)
        }

    shutil.copytree(repository, target, ignore=left_out)


def code_of(folder: Path) -> dict[str, Source]:
    found = {}
    for path in sorted([*folder.rglob("*.py"), *folder.rglob("*.ipynb")]):
        try:
            found[path.relative_to(folder).as_posix()] = Source.read(path)
        except SourceError:
            continue
    return found


def undefined(text: str) -> Counter[str]:
    from pyflakes import checker, messages

    found = checker.Checker(parsed(text)).messages
    kinds = (messages.UndefinedName, messages.UndefinedLocal, messages.UndefinedExport)
    return Counter(str(message.message_args[0]) for message in found if isinstance(message, kinds))


def parsed(text: str) -> ast.Module:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return ast.parse(text)


def compiles(text: str) -> bool:
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            compile(parsed(text), "<text>", "exec")
    except (SyntaxError, ValueError, RecursionError):
        return False
    return True


def by_place(stdout: str) -> Counter[tuple[str, str]]:
    try:
        rows = json.loads(stdout)
    except ValueError:
        return Counter()
    return Counter((row["code"], row["filename"]) for row in rows)


def mend(repository: Path, level: str, check: tuple[float, str], scratch: Path, keep: Path | None) -> Mended:
    """Mend a copy and hold it against what it was."""
    copy = scratch / level / repository.name
    copied(repository, copy)
    flags = ["--fix"] if level == "recipe" else ["--fix", "--unsafe-fixes"]
    before = code_of(copy)
    result = Mended(repository.name, level, check[0], findings=sum(by_place(check[1]).values()))
    result.fix_cpu, stdout, stderr = tricklint(copy, *flags)
    result.problems = [line for line in stderr.splitlines() if "Traceback" in line or "crashed" in line]
    if not stdout.startswith("["):
        result.problems.append(f"no report: {stderr.strip().splitlines()[-1:]}")
    result.not_made = [f"{made['code']} {made['place']}: {made['why']}" for made in NOT_MADE.finditer(stderr)]
    after = code_of(copy)
    diff: list[str] = []
    for name, old in before.items():
        new = after.get(name)
        if new is None:
            result.broken.append(f"{name}: cannot be read any more")
            continue
        if old.data == new.data:
            continue
        result.changed.append(name)
        diff += difflib.unified_diff(old.text.splitlines(), new.text.splitlines(), name, name, lineterm="", n=6)
        if not compiles(old.text):
            continue
        if not compiles(new.text):
            result.broken.append(name)
            continue
        more = undefined(new.text) - undefined(old.text)
        result.undefined += [f"{name}: {found}" for found in more]
    arisen = by_place(stdout) - by_place(check[1])
    result.arisen = [f"{code} {name}" for code, name in sorted(arisen.elements())]
    if result.changed:
        tricklint(copy, *flags)
        again = code_of(copy)
        result.again = [name for name, source in after.items() if name not in again or again[name].data != source.data]
    if keep is not None and diff:
        keep.mkdir(parents=True, exist_ok=True)
        (keep / f"{repository.name}.{level}.diff").write_text("\n".join(diff) + "\n", errors="replace")
    shutil.rmtree(copy, ignore_errors=True)
    return result


def shown(results: list[Mended]) -> None:
    for level in ("recipe", "unsafe"):
        mine = [each for each in results if each.level == level]
        print(f"\n{'--fix' if level == 'recipe' else '--fix --unsafe-fixes'}: {len(mine)} repositories")
        print(f"  files changed {sum(len(each.changed) for each in mine)}")
        for what in ("broken", "undefined", "again", "arisen", "problems"):
            places = [f"{each.repository} {place}" for each in mine for place in getattr(each, what)]
            print(f"  {what} {len(places)}")
            for place in places:
                print(f"    {place}")
        print(f"  not made {sum(len(each.not_made) for each in mine)}")
        reasons = Counter(
            f"{place.split()[0]} {re.sub(chr(39) + '.*?' + chr(39), '…', place.split(': ', 1)[1])}"
            for each in mine
            for place in each.not_made
        )
        for reason, number in reasons.most_common():
            print(f"    {number:4} {reason}")
        check, fix = sum(each.check_cpu for each in mine), sum(each.fix_cpu for each in mine)
        print(f"  CPU s: check {check:.1f}, mending {fix:.1f}: {fix / max(check, 0.01):.2f} x")
        for each in sorted(mine, key=lambda each: -each.fix_cpu / max(each.check_cpu, 0.01))[:8]:
            print(f"    {each.fix_cpu / max(each.check_cpu, 0.01):5.2f} x  {each.repository} ({each.check_cpu:.1f} s)")


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("repositories", nargs="+", type=Path)
    parser.add_argument("--keep", type=Path, help="a folder for the diffs")
    parser.add_argument("--json", type=Path, help="a file for the figures of each repository")
    given = parser.parse_args()
    os.environ["OMP_NUM_THREADS"] = "1"
    os.environ.pop("PYTHONDONTWRITEBYTECODE", None)  # an installed tool's bytecode is kept
    results: list[Mended] = []
    scratch = Path(tempfile.mkdtemp(prefix="fix_corpus"))
    try:
        for repository in given.repositories:
            if not repository.is_dir():
                continue
            plain = scratch / "check" / repository.name
            copied(repository, plain)
            cpu, stdout, _ = tricklint(plain)
            shutil.rmtree(plain, ignore_errors=True)
            for level in ("recipe", "unsafe"):
                results.append(mend(repository, level, (cpu, stdout), scratch, given.keep))
                print(f"{repository.name} {level}: {len(results[-1].changed)} files changed", file=sys.stderr)
            if given.json is not None:
                given.json.write_text(json.dumps([asdict(each) for each in results], indent=1))
    finally:
        shutil.rmtree(scratch, ignore_errors=True)
    shown(results)


if __name__ == "__main__":
    main()
