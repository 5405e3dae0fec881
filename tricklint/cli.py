"""The command line. Nothing but click is imported until a command needs it."""

from __future__ import annotations

import importlib
import os
import sys
import threading
from collections.abc import Sequence
from typing import Any, NoReturn

import click

from tricklint import __version__

# name → (module, attribute, one-line help). A command's module is imported when it is invoked.
_COMMANDS = {
    "check": ("tricklint.commands.check", "check", "Find training mistakes in files and folders, and mend them."),
    "rule": ("tricklint.commands.rules", "rule", "Explain one rule, by its code or name."),
    "rules": ("tricklint.commands.rules", "rules", "List all rules."),
    "trace": (
        "tricklint.trace.cli",
        "trace_command",
        "Build a model, trace it with torch.fx, show what it is made of.",
    ),
    "verify": ("tricklint.verify.cli", "verify_command", "Train with and without the fixes; say whether they pay."),
    "watch": ("tricklint.watching.cli", "watch_command", "Run your training command and judge what really happens."),
    "cache": ("tricklint.commands.cache", "cache", "Clear what earlier runs found."),
    "server": ("tricklint.server", "server", "Start the language server, for editors."),
    "completion": ("tricklint.commands.completion", "completion", "Print what turns on completion in your shell."),
}
_EXTRAS = {"trace": "trace", "verify": "verify", "server": "lsp"}


class MissingExtra(click.ClickException):
    """A package of an extra is not installed."""

    exit_code = 2


def _missing(name: str, error: ModuleNotFoundError) -> NoReturn:
    """One clear line where a command's extra is not installed; any other missing module is a bug and stays one."""
    if name not in _EXTRAS or (error.name or "tricklint").startswith("tricklint"):
        raise error
    raise MissingExtra(f"`tricklint {name}` needs {error.name}: pip install 'tricklint[{_EXTRAS[name]}]'") from None


class _LazyGroup(click.Group):
    def main(  # type: ignore[override]  # overloads by whether it returns
        self, args: Sequence[str] | None = None, standalone_mode: bool = True, **extra: Any
    ) -> Any:
        if not standalone_mode:
            return super().main(args, standalone_mode=False, **extra)
        from tricklint.commands.ending import INTERRUPTED, ended
        from tricklint.safe_path import keep_out_working_folder

        keep_out_working_folder()
        run = super().main
        code = ended(lambda: run(args, standalone_mode=False, **extra))
        if code == INTERRUPTED and threading.active_count() > 1:
            os._exit(code)  # the thread that was at work may hold what the interpreter needs to end
        sys.exit(code)

    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(_COMMANDS)

    def get_command(self, ctx: click.Context, name: str) -> click.Command | None:
        if name not in _COMMANDS:
            return None
        module, attribute, _ = _COMMANDS[name]
        try:
            command: click.Command = getattr(importlib.import_module(module), attribute)
        except ModuleNotFoundError as error:
            _missing(name, error)
        return command

    def invoke(self, ctx: click.Context) -> Any:
        try:
            return super().invoke(ctx)
        except ModuleNotFoundError as error:
            _missing(ctx.invoked_subcommand or "", error)

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        with formatter.section("Commands"):
            formatter.write_dl([(name, help_line) for name, (_, _, help_line) in _COMMANDS.items()])

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        if args and args[0] not in _COMMANDS and not args[0].startswith("-"):
            import difflib

            near = difflib.get_close_matches(args[0], _COMMANDS, n=1)
            hint = f" (did you mean '{near[0]}'?)" if near else ""
            ctx.fail(f"no command '{args[0]}'{hint}")
        return super().resolve_command(ctx, args)


@click.group(cls=_LazyGroup, context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100})
@click.version_option(__version__, "-V", "--version", message="tricklint %(version)s")
def main() -> None:
    """The linter for training recipes: finds PyTorch mistakes that cost accuracy, memory or hours, mends them, and
    proves that the mend pays.

    \b
    tricklint check src/          find mistakes
    tricklint check src/ --fix    mend them
    tricklint rule TRK601         read about one
    """
