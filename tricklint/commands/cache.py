"""`tricklint cache`."""

from __future__ import annotations

from pathlib import Path

import click


@click.group()
def cache() -> None:
    """What earlier runs found, kept in `.tricklint_cache`."""


@cache.command()
@click.argument("paths", nargs=-1, type=click.Path(path_type=Path, exists=True))
def clear(paths: tuple[Path, ...]) -> None:
    """Remove what is kept for the project of PATHS (default: the current folder)."""
    from tricklint import settings as configuration
    from tricklint.settings import SettingsError
    from tricklint.source.cache import Cache

    try:
        settings = configuration.load(paths or (Path(),))
    except SettingsError as error:
        raise _Failure(str(error)) from None
    folder = Cache.folder(settings)
    removed, left = Cache.clear(settings)
    if left:
        raise _Failure(f"{folder}: {left} entries could not be removed")
    click.echo(f"{folder}: {removed} entries removed")


class _Failure(click.ClickException):
    exit_code = 2
