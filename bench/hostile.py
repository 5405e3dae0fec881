"""What programs cost that grow out of all measure while they are followed. Files are arguments.

    python bench/hostile.py hostile/*.py

Each is checked by a `tricklint check FILE --isolated --no-cache` of its own, three times; the best wall time counts, since
a busy machine can only add to it. Bytecode is kept, as that of an installed tool is. Bars: 1 s, 200 MB, and every line that ends in `# expect: TRK…` has that finding.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path

SECONDS, MEGABYTES, LIMIT = 1.0, 200.0, 60
EXPECTED = re.compile(r"# expect: (TRK\d+)")


@dataclass
class Run:
    """One check: seconds on the clock and of CPU, the most memory that a process held, and the findings by row."""

    wall: float
    cpu: float
    megabytes: float
    found: set[tuple[int, str]]
    ended: bool


def run(path: Path) -> Run:
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
    started = time.perf_counter()
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"}
    child = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, env=environment)
    assert child.stdout is not None
    timer = subprocess.Popen(["sleep", str(LIMIT)])
    os.set_blocking(child.stdout.fileno(), False)
    told = b""
    while True:
        told += child.stdout.read() or b""
        pid, status, usage = os.wait4(child.pid, os.WNOHANG)
        if pid:
            break
        if timer.poll() is not None:
            child.kill()
        time.sleep(0.005)
    wall = time.perf_counter() - started
    timer.kill()
    timer.wait()
    told += child.stdout.read() or b""
    child.stdout.close()
    child.returncode = os.waitstatus_to_exitcode(status)  # it was waited for above
    try:
        found = {(row["location"]["row"], row["code"]) for row in json.loads(told)}
    except ValueError:
        found = set()
    return Run(wall, usage.ru_utime + usage.ru_stime, usage.ru_maxrss / 1024, found, child.returncode in (0, 1))


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("files", nargs="+", type=Path)
    given = parser.parse_args()
    failed = False
    print("file                       wall s   CPU s      MB  findings kept")
    for path in given.files:
        rows = path.read_text().splitlines()
        wanted = {(row, code) for row, line in enumerate(rows, 1) for code in EXPECTED.findall(line)}
        best = min((run(path) for _ in range(3)), key=lambda each: each.wall)
        kept = best.ended and wanted <= best.found
        good = kept and best.wall <= SECONDS and best.megabytes <= MEGABYTES
        failed |= not good
        count = f"{len(wanted & best.found)} of {len(wanted)}{'' if best.ended else ', did not end'}"
        print(
            f"{path.name:26} {best.wall:6.2f}  {best.cpu:6.2f}  {best.megabytes:6.0f}  {count}{'' if good else '   <- bar missed'}"
        )
    sys.exit(failed)


if __name__ == "__main__":
    main()
