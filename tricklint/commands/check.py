"""`tricklint check`."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

import click

from tricklint import settings as configuration
from tricklint.finding import FixLevel, Severity
from tricklint.settings import OUTPUT_FORMATS, Settings, SettingsError

_F = TypeVar("_F", bound=Callable[..., Any])
_SEVERITIES = click.Choice([severity.value for severity in Severity])


def _selectors(name: str, help_line: str) -> Callable[[_F], _F]:
    return click.option(f"--{name}", multiple=True, metavar="RULES", help=help_line)


@click.command(context_settings={"max_content_width": 100})
@click.argument("paths", nargs=-1, type=click.Path(path_type=Path, allow_dash=True))
@click.option("--fix", is_flag=True, help="Mend what can be mended: safe and recipe fixes (see fix-level).")
@click.option("--unsafe-fixes", is_flag=True, help="With --fix or --diff: also fixes that want your eye.")
@click.option("--diff", is_flag=True, help="Show what --fix would change; write nothing.")
@_selectors("select", "Run only these rules: codes (TRK601), prefixes (TRK6) or names, separated by commas.")
@_selectors("ignore", "Leave these rules out.")
@_selectors("extend-select", "Run these rules too.")
@click.option(
    "--output-format", type=click.Choice(OUTPUT_FORMATS), envvar="TRICKLINT_OUTPUT_FORMAT", help="How to show findings."
)
@click.option(
    "-o", "--output-file", type=click.Path(path_type=Path, dir_okay=False), help="Write there, not to the terminal."
)
@click.option("--statistics", is_flag=True, help="Only count the findings of each rule.")
@click.option("--exit-zero", is_flag=True, help="Exit 0 although findings are left.")
@click.option("--fail-on", type=_SEVERITIES, help="Exit 1 only for findings of at least this severity.")
@click.option("--pedantic", is_flag=True, help="Also report what merely may be so.")
@click.option("--isolated", is_flag=True, help="Read no configuration file.")
@click.option("--config", multiple=True, metavar="KEY=VALUE", help="Set one key of [tool.tricklint] (a TOML value).")
@click.option("--force-exclude", is_flag=True, help="Exclude also files that are named on the command line.")
@click.option("--no-cache", is_flag=True, envvar="TRICKLINT_NO_CACHE", help="Neither read nor write .tricklint_cache.")
@click.option("--stdin-filename", type=click.Path(path_type=Path), help="What the text on - is called.")
@click.option("--add-ignore", is_flag=True, help="Silence every finding with a comment in the code.")
@click.option(
    "--trace", is_flag=True, help="Also build the project's models and look at them. RUNS THE PROJECT'S CODE."
)
@click.option(
    "--python", type=click.Path(path_type=Path), metavar="PATH", help="With --trace: the project's interpreter."
)
@click.option("--verify", is_flag=True, help="Then train with and without the fixes. RUNS THE PROJECT'S CODE.")
@click.option("--yes", "-y", is_flag=True, help="With --verify: do not ask whether to go on.")
def check(paths: tuple[Path, ...], **options: Any) -> None:
    """Find training mistakes in files and folders (default: the current one), and mend them.

    Exit code: 0 clean or all mended, 1 findings are left, 2 something could not be read, parsed or run.
    """
    from tricklint.check import run
    from tricklint.output import summary
    from tricklint.source.text import SourceError

    if options["fix"] and options["diff"]:
        raise click.UsageError("--fix writes, --diff only shows: choose one")
    paths = paths or (Path(),)
    try:
        run_options, paths = _run_options(paths, options)
        settings = _settings(paths, options)
        report = run(paths, settings, run_options)
    except (SettingsError, SourceError) as error:
        raise _Failure(str(error)) from None

    complain(report)
    if options["statistics"]:
        _print(summary.statistics(report, settings), options["output_file"])
    elif options["diff"]:
        _print("".join(report.diffs), options["output_file"], end="")
        click.echo(summary.would_fix(report), err=True)
    elif run_options.stdin and options["fix"]:
        sys.stdout.buffer.write(report.sources[run_options.stdin.path].data)
        click.echo(_render(report, settings), err=True)
    else:
        _print(_render(report, settings), options["output_file"])
    code = report.exit_code(settings.fail_on, exit_zero=options["exit_zero"])
    if options["verify"]:
        code = max(code, _verify(report, paths, settings, options["yes"]))
    sys.exit(code)


class _Failure(click.ClickException):
    exit_code = 2


def _split(values: tuple[str, ...]) -> list[str] | None:
    words = [word.strip() for value in values for word in value.split(",") if word.strip()]
    return words or None


def _settings(paths: tuple[Path, ...], options: dict[str, Any]) -> Settings:
    given = {key: options[key.replace("-", "_")] for key in ("output-format", "fail-on")}
    given |= {key: _split(options[key.replace("-", "_")]) for key in ("select", "ignore", "extend-select")}
    given |= {key: True for key in ("pedantic", "trace", "force-exclude") if options[key.replace("-", "_")]}
    if options["python"]:
        given["python"] = str(options["python"])
    if options["unsafe_fixes"]:
        given["fix-level"] = FixLevel.UNSAFE.value
    return configuration.load(paths, isolated=options["isolated"], config=options["config"], options=given)


def _run_options(paths: tuple[Path, ...], options: dict[str, Any]) -> tuple[Any, tuple[Path, ...]]:
    """The run's options, and the paths with `-` replaced by the name of what comes on standard input."""
    from tricklint.check import Options
    from tricklint.source.text import Source

    stdin = None
    if str(paths[0]) == "-":
        if len(paths) > 1:
            raise click.UsageError("- stands alone: no other path beside it")
        path = (options["stdin_filename"] or Path("stdin.py")).absolute()
        stdin = Source.from_bytes(path, sys.stdin.buffer.read())
        paths = (path,)
    flags = {key: options[key] for key in ("fix", "diff", "add_ignore")}
    return Options(**flags, cache=not options["no_cache"], stdin=stdin), paths


def _verify(report: Any, paths: tuple[Path, ...], settings: Settings, yes: bool) -> int:
    """Train and compare, after the findings were shown. 2 when it could not be done."""
    try:
        from tricklint.verify import verify_findings

        return verify_findings(report, paths, settings, yes)
    except ModuleNotFoundError as error:
        raise _Failure(f"--verify needs {error.name}: pip install 'tricklint[verify]'") from None


def _render(report: Any, settings: Settings) -> str:
    from tricklint.output import render

    return render(report, settings)


def complain(report: Any) -> None:
    """What could not be done, one line each, where it does not mix with the findings."""
    from tricklint.report import shown_path

    for problem in report.problems:
        place = ""
        if problem.path is not None:
            place = shown_path(problem.path)
            place += f":cell {problem.cell}" if problem.cell is not None else ""
            place += f":{problem.row}: " if problem.row else ": "
        click.echo(click.style("error: ", fg="red", bold=True) + place + problem.message, err=True)
    for note in report.notes:
        click.echo(f"note: {note}", err=True)


def _print(text: str, file: Path | None, end: str = "\n") -> None:
    if file is None:
        if text:
            sys.stdout.write(text + end)
        return
    try:
        file.write_text(text + end, encoding="utf-8")
    except OSError as error:
        raise _Failure(f"{file}: cannot be written: {error.strerror}") from None
