"""`tricklint check`: its options, and the order in which they are looked at."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

import click

from tricklint.commands.complete import complete_rules
from tricklint.commands.options import rule_path
from tricklint.finding import Severity
from tricklint.settings import OUTPUT_FORMATS

_F = TypeVar("_F", bound=Callable[..., Any])
_SEVERITIES = click.Choice([severity.value for severity in Severity])


def _selectors(name: str, help_line: str) -> Callable[[_F], _F]:
    return click.option(f"--{name}", multiple=True, metavar="RULES", help=help_line, shell_complete=complete_rules)


@click.command(context_settings={"max_content_width": 100})
@click.argument("paths", nargs=-1, type=click.Path(path_type=Path, allow_dash=True))
@click.option("--fix", is_flag=True, help="Mend what can be mended: safe and recipe fixes (see fix-level).")
@click.option("--fix-only", is_flag=True, help="Mend, and say nothing about what is left.")
@click.option("--unsafe-fixes", is_flag=True, help="With --fix or --diff: also fixes that want your eye.")
@click.option("--diff", is_flag=True, help="Show what --fix would change; write nothing.")
@_selectors("select", "Run only these rules: codes (TRK601), prefixes (TRK6) or names, separated by commas.")
@_selectors("ignore", "Leave these rules out.")
@_selectors("extend-select", "Run these rules too.")
@click.option("--exclude", multiple=True, metavar="PATTERN", help="Leave these files and folders out too.")
@click.option("--force-exclude", is_flag=True, help="Exclude also files that are named on the command line.")
@click.option(
    "--baseline", type=click.Path(path_type=Path, dir_okay=False), help="Do not report the findings in this file."
)
@click.option("--write-baseline", is_flag=True, help="Write all findings to the baseline, as known.")
@click.option("--since", metavar="REV", help="Report only findings in rows that changed since a git revision.")
@click.option("--watch", is_flag=True, help="Check again whenever a file changes.")
@click.option(
    "--output-format", type=click.Choice(OUTPUT_FORMATS), envvar="TRICKLINT_OUTPUT_FORMAT", help="How to show findings."
)
@click.option(
    "-o", "--output-file", type=click.Path(path_type=Path, dir_okay=False), help="Write there, not to the terminal."
)
@click.option("--statistics", is_flag=True, help="Only count the findings of each rule, and with --fix the fixes not made.")
@click.option("-q", "--quiet", is_flag=True, help="Show the findings and nothing else.")
@click.option("--exit-zero", is_flag=True, help="Exit 0 although findings are left.")
@click.option("--fail-on", type=_SEVERITIES, help="Exit 1 only for findings of at least this severity.")
@click.option("--pedantic", is_flag=True, help="Also report what merely may be so.")
@rule_path
@click.option("--isolated", is_flag=True, help="Read no configuration file.")
@click.option(
    "--config",
    multiple=True,
    metavar="FILE|KEY=VALUE",
    help="The configuration file to use, or one of its keys (a TOML value).",
)
@click.option("--show-files", is_flag=True, help="List the files that would be checked, and stop.")
@click.option("--show-settings", is_flag=True, help="Show the settings that would hold, and stop.")
@click.option("--no-cache", is_flag=True, envvar="TRICKLINT_NO_CACHE", help="Neither read nor write .tricklint_cache.")
@click.option("--stdin-filename", type=click.Path(path_type=Path), help="What the text on - is called.")
@click.option("--add-ignore", is_flag=True, help="Silence every finding with a comment in the code.")
@click.option(
    "--trace", is_flag=True, help="Also build the project's models and look at them. RUNS THE PROJECT'S CODE."
)
@click.option(
    "--python", type=click.Path(path_type=Path), metavar="PATH", help="With --trace: the project's interpreter."
)
@click.option(
    "--watched", type=click.Path(path_type=Path), metavar="FOLDER", help="Also judge a run that `tricklint watch` recorded."
)
@click.option("--verify", is_flag=True, help="Then train with and without the fixes. RUNS THE PROJECT'S CODE.")
@click.option("--yes", "-y", is_flag=True, help="With --verify: do not ask whether to go on.")
def check(paths: tuple[Path, ...], **options: Any) -> None:
    """Find training mistakes in files and folders (default: the current one), and mend them.

    Exit code: 0 clean or all mended, 1 findings are left, 2 something could not be read, parsed or run.
    """
    from tricklint.commands.ending import leave_behind
    from tricklint.commands.once import Failure, once, show
    from tricklint.settings import SettingsError
    from tricklint.source.text import SourceError

    options["fix"] |= options["fix_only"]
    _refuse_what_does_not_go_together(paths, options)
    paths = paths or (Path(),)
    try:
        if options["show_files"] or options["show_settings"]:
            sys.exit(show(paths, options))
        if options["watch"]:
            from tricklint.commands.watch import watch

            watch(paths, lambda: once(paths, options))
            return
        if not options["verify"]:
            leave_behind()
        sys.exit(once(paths, options))
    except (SettingsError, SourceError) as error:
        raise Failure(str(error)) from None


def _refuse_what_does_not_go_together(paths: tuple[Path, ...], options: dict[str, Any]) -> None:
    from tricklint.output.summary import STATISTICS_FORMATS

    if options["fix"] and options["diff"]:
        raise click.UsageError("--fix writes, --diff only shows: choose one")
    for name in ("fix", "diff", "add_ignore", "since"):
        if options["write_baseline"] and options[name]:
            raise click.UsageError(f"--write-baseline takes all findings as they are: no --{name.replace('_', '-')}")
    if options["watched"] and (options["write_baseline"] or any(str(path) == "-" for path in paths)):
        raise click.UsageError("--watched is about files that ran: neither standard input nor --write-baseline")
    if options["watch"] and any(str(path) == "-" for path in paths):
        raise click.UsageError("--watch watches files, not standard input")
    if options["watch"] and (options["fix"] or options["add_ignore"] or options["write_baseline"] or options["verify"]):
        raise click.UsageError("--watch only looks: it neither mends nor writes")
    given = options["output_format"]
    if options["statistics"] and given and given not in STATISTICS_FORMATS:
        raise click.UsageError(f"--statistics has no {given} form: choose {', '.join(STATISTICS_FORMATS)}")
