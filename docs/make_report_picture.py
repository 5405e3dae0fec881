"""Photographs a real report: `python docs/make_report_picture.py docs/img/verify-report.png [report.html]`.

Without a report `tricklint check fixtures/pills --verify` is run in a copy first (five minutes on two cores). Needs
Chromium.
"""

from __future__ import annotations

import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

WIDTH, HEIGHT = 1040, 1250
FLAGS = (
    "--headless --no-sandbox --disable-gpu --disable-quic --no-first-run --disable-background-networking "
    "--disable-component-update --disable-sync --hide-scrollbars"
).split()
PILLS = Path(__file__).resolve().parents[1] / "fixtures" / "pills"


def run_pills(folder: Path) -> Path:
    """Verify a copy of fixtures/pills in `folder`; returns the report."""
    copy = folder / "pills"
    shutil.copytree(PILLS, copy, ignore=shutil.ignore_patterns(".tricklint*", "__pycache__"))
    done = subprocess.run([sys.executable, "-m", "tricklint", "check", "pills", "--verify", "--yes"], cwd=folder)
    found = sorted(copy.glob(".tricklint/verify/*/report.html"))
    if not found:
        sys.exit(f"no report was made (exit status {done.returncode})")
    return found[-1]


def photograph(report: Path, target: Path) -> None:
    browser = next((b for name in ("chromium", "chromium-browser", "google-chrome") if (b := shutil.which(name))), None)
    if browser is None:
        sys.exit("no Chromium on this machine")
    target.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory() as profile:
        command = [browser, *FLAGS, f"--user-data-dir={profile}", f"--window-size={WIDTH},{HEIGHT}"]
        command += [f"--screenshot={target.resolve()}", report.resolve().as_uri()]
        subprocess.run(command, check=True, capture_output=True, timeout=120)


def main() -> None:
    target, given = Path(sys.argv[1]), sys.argv[2:]
    with tempfile.TemporaryDirectory() as folder:
        photograph(Path(given[0]) if given else run_pills(Path(folder)), target)


if __name__ == "__main__":
    main()
