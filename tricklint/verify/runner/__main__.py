"""`python …/runner/__main__.py job.json` runs one job; `--serve` takes one job a line from stdin and forks for each."""

import sys
from pathlib import Path

if __name__ == "__main__":
    # Only this package comes from our own folder: the interpreter's other packages must stay the user's.
    _root = str(Path(__file__).resolve().parents[3])
    sys.path[0] = _root
    from tricklint.verify.runner import children, script, serve  # noqa: F401 - and with them all others

    sys.path.remove(_root)
    sys.exit(serve.main(sys.argv[1:]))
