"""Draws a terminal picture from a real run: `python docs/make_picture.py docs/img/check.svg -- check fixtures/pills --trace`."""

from __future__ import annotations

import io
import os
import subprocess
import sys
from pathlib import Path

from rich.console import Console
from rich.text import Text

WIDTH = 100
DEFAULT = ["docs/img/check.svg", "--", "check", "fixtures/pills", "--trace"]


def main() -> None:
    target, _, *arguments = sys.argv[1:] if len(sys.argv) > 3 else DEFAULT
    env = {**os.environ, "FORCE_COLOR": "1", "COLUMNS": str(WIDTH)}
    run = subprocess.run([sys.executable, "-m", "tricklint", *arguments], capture_output=True, text=True, env=env)
    if run.returncode == 2:
        sys.exit(run.stderr)
    console = Console(record=True, width=WIDTH, file=io.StringIO(), force_terminal=True, color_system="truecolor")
    console.print(Text("$ tricklint " + " ".join(arguments), style="bold"))
    console.print(Text.from_ansi(run.stdout))
    Path(target).parent.mkdir(parents=True, exist_ok=True)
    Path(target).write_text(console.export_svg(title="tricklint"))


if __name__ == "__main__":
    main()
