"""What a run over a big tree costs: cold with one and with two processes, warm, and warm with one file changed.

    python bench/big_trees.py FOLDER [--change FILE] [--rounds 1]

Seconds of wall and of CPU (children too), and the peak memory of the largest process; beside them what reading and
hashing the files costs. FOLDER should be a copy: FILE gets a comment, which is taken off again.
"""

from __future__ import annotations

import argparse
import hashlib
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path


def run(folder: Path, cache: Path | None, processes: int) -> tuple[float, float, int, bytes]:
    """(wall, CPU, peak MB, findings) of one run."""
    command = [sys.executable, "-m", "tricklint", "check", ".", "--output-format", "json", "--exit-zero"]
    environment = {**os.environ, "TRICKLINT_PROCESSES": str(processes)}
    if cache is None:
        command.append("--no-cache")
    else:
        environment["TRICKLINT_CACHE_DIR"] = str(cache)
    code = (
        "import resource, subprocess, sys\n"
        "done = subprocess.run(sys.argv[1:], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL)\n"
        "used = resource.getrusage(resource.RUSAGE_CHILDREN)\n"
        "print(used.ru_utime + used.ru_stime, used.ru_maxrss // 1024)\n"
        "sys.stdout.flush(); sys.stdout.buffer.write(done.stdout)\n"
    )
    begun = time.perf_counter()
    out = subprocess.run([sys.executable, "-c", code, *command], cwd=folder, env=environment, stdout=subprocess.PIPE)
    wall = time.perf_counter() - begun
    head, _, findings = out.stdout.partition(b"\n")
    cpu, peak = head.split()
    return wall, float(cpu), int(peak), findings


def reading(folder: Path) -> float:
    """CPU seconds of reading and hashing every Python file."""
    begun = time.process_time()
    for path in folder.rglob("*.py"):
        hashlib.blake2b(path.read_bytes(), digest_size=16).hexdigest()
    return time.process_time() - begun


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folder", type=Path)
    parser.add_argument("--change", help="the file that is changed, relative to FOLDER")
    parser.add_argument("--rounds", type=int, default=1)
    options = parser.parse_args()
    folder = options.folder.absolute()
    print(f"{folder.name}: reading and hashing {reading(folder):.2f} CPU-s")

    def best(what: str, cache: Path | None, processes: int) -> bytes:
        rounds = [run(folder, cache, processes) for _ in range(options.rounds)]
        wall, cpu, peak, findings = min(rounds)
        print(f"  {what:<28} {wall:7.2f} s wall {cpu:7.2f} CPU-s {peak:5d} MB")
        return findings

    with_bytecode = tempfile.TemporaryDirectory()  # kept from process to process, as an installed tool's is
    os.environ.pop("PYTHONDONTWRITEBYTECODE", None)
    os.environ["PYTHONPYCACHEPREFIX"] = with_bytecode.name
    subprocess.run(
        [sys.executable, "-m", "tricklint", "check", "--no-cache", "--isolated", __file__], capture_output=True
    )
    one = best("cold, one process", None, 1)
    two = best("cold, two processes", None, 2)
    with tempfile.TemporaryDirectory() as kept:
        cache = Path(kept) / "cache"
        first = run(folder, cache, 2)[3]
        warm = best("warm", cache, 2)
        print("  equal findings:", one == two == first == warm)
        if options.change:
            file = folder / options.change
            text = file.read_bytes()
            try:
                file.write_bytes(text + b"\n# changed\n")
                changed = run(folder, cache, 2)
            finally:
                file.write_bytes(text)
            print(f"  {'one file changed':<28} {changed[0]:7.2f} s wall {changed[1]:7.2f} CPU-s {changed[2]:5d} MB")


if __name__ == "__main__":
    main()
