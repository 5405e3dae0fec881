#!/usr/bin/env bash
# What action.yml runs: an environment of its own, a check that writes SARIF, and the findings beside the lines.
set -euo pipefail

venv="$PLACE/tricklint-venv"
"$PYTHON" -m venv "$venv"
python="$venv/bin/python"
[ -x "$python" ] || python="$venv/Scripts/python.exe"
if [ -n "$VERSION" ]; then
    "$python" -m pip install --quiet --disable-pip-version-check "tricklint==$VERSION"
else
    "$python" -m pip install --quiet --disable-pip-version-check "$ACTION_PATH"
fi

# The options are split as a shell splits them, and nothing in them is run.
mapfile -d '' -t args < <("$python" -c 'import os, shlex; print(*shlex.split(os.environ["ARGS"]), sep="\0", end="\0")')
sarif="$PLACE/tricklint.sarif"
status=0
"$python" -m tricklint check --output-format sarif -o "$sarif" "${args[@]}" || status=$?
[ -f "$sarif" ] && echo "sarif=$sarif" >> "$GITHUB_OUTPUT"
# From the cache: once more, for the log.
"$python" -m tricklint check --output-format github "${args[@]}" || true
exit "$status"
