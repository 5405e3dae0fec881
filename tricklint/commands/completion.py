"""`tricklint completion bash|zsh|fish`."""

from __future__ import annotations

import click

_WHERE = {
    "bash": "echo 'eval \"$(_TRICKLINT_COMPLETE=bash_source tricklint)\"' >> ~/.bashrc",
    "zsh": "echo 'eval \"$(_TRICKLINT_COMPLETE=zsh_source tricklint)\"' >> ~/.zshrc",
    "fish": "_TRICKLINT_COMPLETE=fish_source tricklint > ~/.config/fish/completions/tricklint.fish",
}


@click.command()
@click.argument("shell", type=click.Choice(list(_WHERE)))
@click.option("--how", is_flag=True, help="Print the command that turns it on for good, not the script.")
def completion(shell: str, how: bool) -> None:
    """Print the completion script of a shell: `eval "$(tricklint completion bash)"` turns it on."""
    if how:
        click.echo(_WHERE[shell])
        return
    from click.shell_completion import get_completion_class

    from tricklint.cli import main

    kind = get_completion_class(shell)
    assert kind is not None  # click knows these three
    click.echo(kind(main, {}, "tricklint", "_TRICKLINT_COMPLETE").source())
