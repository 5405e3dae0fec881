"""Options that more than one command has."""

from __future__ import annotations

from pathlib import Path

import click

rule_path = click.option(
    "--rule-path",
    "rule_paths",
    multiple=True,
    type=click.Path(path_type=Path),
    help="A file or folder of your own rules. RUNS THEIR CODE.",
)
