"""The language server: findings as you type, fixes as quick fixes. Needs the extra `lsp`.

The process that speaks to the editor (`app`, on asyncio) never checks anything: a worker in a process of its own does
(`worker`, `desk`), and lets go of what it is doing as soon as the next change comes (`link`, `wire`).
"""

from __future__ import annotations

import click


@click.command()
def server() -> None:
    """Start the language server on standard input and output: diagnostics, and fixes as quick fixes."""
    from tricklint.server.app import build

    build().start_io()
