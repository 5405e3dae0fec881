"""`--watch`: check again whenever something changes. Needs the extra `watch`."""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from pathlib import Path

import click

from tricklint.settings import CONFIG_FILES, SettingsError, common_folder
from tricklint.source.files import SUFFIXES
from tricklint.source.text import SourceError

_AGAIN = 200  # ms after which it is asked again whether something changed


def watch(paths: Sequence[Path], check: Callable[[], int]) -> None:
    """Call `check` now and after each change below the paths, until interrupted."""
    try:
        from watchfiles import DefaultFilter
        from watchfiles import watch as changes
    except ModuleNotFoundError as error:
        raise SettingsError(f"--watch needs {error.name}: pip install 'tricklint[watch]'") from None

    logging.getLogger("watchfiles").setLevel(logging.ERROR)  # it says by itself that it was interrupted
    usual = DefaultFilter()

    def matters(change: object, path: str) -> bool:
        name = Path(path).name
        return (path.endswith(SUFFIXES) or name in CONFIG_FILES) and usual(change, path)  # type: ignore[arg-type]

    # It gives up at once when interrupted, without a traceback.
    news = changes(
        common_folder(paths),
        watch_filter=matters,
        debounce=300,
        raise_interrupt=False,
        rust_timeout=_AGAIN,
        yield_on_timeout=True,
    )
    if next(news, None) is None:
        return
    _once(check)  # what changes meanwhile is seen already, and checked next
    for found in news:
        if found:
            click.clear()
            _once(check)


def _once(check: Callable[[], int]) -> None:
    """A wrong configuration is said, and the next change may mend it."""
    try:
        check()
    except (SettingsError, SourceError) as error:
        click.echo(f"Error: {error}", err=True)
    except click.ClickException as error:
        error.show()
    click.echo("\nWatching for changes; Ctrl-C ends.", err=True)
