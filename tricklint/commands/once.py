"""One run of `tricklint check`: from the command line's options to what is printed and the exit code."""

from __future__ import annotations

import sys
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from tricklint import groups
from tricklint.commands.complaints import complain
from tricklint.finding import FixLevel
from tricklint.groups import Configurations, Group
from tricklint.settings import Settings, SettingsError

if TYPE_CHECKING:
    from tricklint.check import Options
    from tricklint.report import Report


class Failure(click.ClickException):
    exit_code = 2


def once(paths: tuple[Path, ...], options: dict[str, Any]) -> int:
    """Check, print, and give the exit code. Raises SettingsError and SourceError."""
    from tricklint.check import run

    run_options, paths = _run_options(paths, options)
    configurations = configurations_of(options)
    found = groups.groups(paths, configurations)
    if options["write_baseline"]:
        return _write_baseline(found, run_options, options)
    reports = [run(group.paths, group.settings, run_options) for group in found]
    codes = [
        report.exit_code(group.settings.fail_on, exit_zero=options["exit_zero"])
        for group, report in zip(found, reports, strict=True)
    ]
    report = groups.merge(reports)
    settings = found[0].settings if len(found) == 1 else configurations.of(paths)
    report.quiet = options["quiet"]
    complain(report)
    _show(report, settings, run_options, options)
    if options["fix_only"]:
        return 2 if report.problems else 0
    code = max(codes)
    if options["verify"]:
        code = max(code, _verify(report, paths, settings, options["yes"]))
    return code


def _show(report: Report, settings: Settings, run_options: Options, options: dict[str, Any]) -> None:
    from tricklint.output import render, summary
    from tricklint.output.printable import lines as printable_lines
    from tricklint.output.style import Style

    file = options["output_file"]
    style = Style(False) if file else Style()
    if options["fix_only"]:
        if run_options.stdin:
            sys.stdout.buffer.write(report.sources[run_options.stdin.path].data)
        if not report.quiet:
            click.echo(f"Mended {summary.count(len(report.fixed), 'finding')}", err=True)
    elif options["statistics"]:
        _print(summary.statistics(report, settings), file)
    elif options["diff"]:
        text = "".join(report.diffs)
        _print(printable_lines(text) if not file and sys.stdout.isatty() else text, file, end="")
        if not report.quiet:
            click.echo(summary.would_fix(report), err=True)
    elif run_options.stdin and options["fix"]:
        sys.stdout.buffer.write(report.sources[run_options.stdin.path].data)
        click.echo(render(report, settings, style), err=True)
    else:
        _print(render(report, settings, style), file)


def _split(values: tuple[str, ...], option: str) -> list[str] | None:
    words = [word.strip() for value in values for word in value.split(",") if word.strip()]
    if values and not words:
        raise SettingsError(f"command line: {option}: names no rule")
    return words or None


def configurations_of(options: dict[str, Any]) -> Configurations:
    """What the command line says about settings."""
    given: dict[str, Any] = {key: options[key.replace("-", "_")] for key in ("output-format", "fail-on")}
    given |= {key: _split(options[key.replace("-", "_")], key) for key in ("select", "ignore", "extend-select")}
    given |= {key: True for key in ("pedantic", "trace", "force-exclude") if options[key.replace("-", "_")]}
    given |= {key: str(options[key]) for key in ("python", "baseline") if options[key]}
    if options["rule_paths"]:
        given["rule-paths"] = [str(path) for path in options["rule_paths"]]
    if options["exclude"]:
        given["extend-exclude"] = list(options["exclude"])
    if options["unsafe_fixes"]:
        given["fix-level"] = FixLevel.UNSAFE.value
    return Configurations(options["isolated"], options["config"], given)


def _run_options(paths: tuple[Path, ...], options: dict[str, Any]) -> tuple[Options, tuple[Path, ...]]:
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
    run_options = Options(
        **flags,
        cache=not (options["no_cache"] or options["statistics"]),
        stdin=stdin,
        watched=options["watched"],
        only_watched=options.get("only_watched", False),
    )
    if options["since"] is not None:
        from tricklint.settings import common_folder
        from tricklint.since import Since

        run_options = replace(run_options, keep=Since.of(options["since"], common_folder(paths)).new)
    return run_options, paths


def _write_baseline(found: list[Group], run_options: Options, options: dict[str, Any]) -> int:
    """All findings become known ones."""
    from tricklint.baseline import DEFAULT_NAME, Baseline
    from tricklint.check import run
    from tricklint.report import shown_path

    written: dict[Path, int] = {}
    bad = False
    for group in found:
        file = group.settings.baseline or group.settings.root / DEFAULT_NAME
        baseline = Baseline.read(file) if file.exists() else Baseline(file)
        report = run(group.paths, replace(group.settings, baseline=None), run_options)
        complain(report)
        bad |= bool(report.problems)
        written[file] = baseline.write(report.findings, report.sources, report.asked, report.ran)
    for file, count in written.items():
        if not options["quiet"]:
            hint = "" if any(group.settings.baseline for group in found) else _how_to_use(file)
            click.echo(f"Wrote {count} known finding{'' if count == 1 else 's'} to {shown_path(file)}{hint}", err=True)
    return 2 if bad else 0


def _how_to_use(file: Path) -> str:
    from tricklint.report import shown_path

    return f'; --baseline {shown_path(file)}, or baseline = "{file.name}" in the configuration, leaves them out'


def show(paths: tuple[Path, ...], options: dict[str, Any]) -> int:
    """`--show-files` and `--show-settings`: what a run would look at, without one."""
    from tricklint.commands.shown import files, settings

    found = groups.groups(paths, configurations_of(options))
    return files(found) if options["show_files"] else settings(found)


def _verify(report: Report, paths: tuple[Path, ...], settings: Settings, yes: bool) -> int:
    """Train and compare, after the findings were shown. 2 when it could not be done."""
    try:
        from tricklint.verify import verify_findings

        return verify_findings(report, paths, settings, yes)
    except ModuleNotFoundError as error:
        raise Failure(f"--verify needs {error.name}: pip install 'tricklint[verify]'") from None


def _print(text: str, file: Path | None, end: str = "\n") -> None:
    if file is None:
        if text:
            sys.stdout.write(text + end)
        return
    try:
        file.write_text(text + end, encoding="utf-8", errors="backslashreplace")
    except OSError as error:
        raise Failure(f"{file}: cannot be written: {error.strerror}") from None
