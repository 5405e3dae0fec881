"""The language server: findings as you type, fixes as quick fixes. Needs the extra `lsp`.

The process that speaks to the editor (`app`, on asyncio) never checks anything: a worker in a process of its own does
(`worker`, `desk`), and lets go of what it is doing as soon as the next change comes (`link`, `wire`).
"""

from __future__ import annotations

import click


@click.command()
def server() -> None:
    """Start the language server on standard input and output: diagnostics, and fixes as quick fixes."""
    import os

    from tricklint.server.app import build

    # Nothing that is printed may come between the messages, and the streams that the server closes are its own.
    stdin, stdout = os.fdopen(os.dup(0), "rb"), os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)
    build().start_io(stdin, stdout)
