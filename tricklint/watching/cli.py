"""`tricklint watch`: run the training command, and judge what was seen."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import click

from tricklint.commands.complete import complete_rules
from tricklint.commands.options import rule_path
from tricklint.finding import Severity
from tricklint.settings import OUTPUT_FORMATS

STEPS = 50


@click.command(context_settings={"max_content_width": 100})
@click.argument("command", nargs=-1)
@click.option("--steps", type=click.IntRange(0), default=STEPS, show_default=True,
              help="End the run after so many optimizer steps; 0: let it run to its end.")
@click.option("--time-limit", "time_limit", metavar="10m", help="End the run after so long.")
@click.option("--python", metavar="PATH", help="The project's interpreter.")
@click.option("--root", type=click.Path(path_type=Path), help="The project's folder (default: as `check` finds it).")
@click.option("--output", type=click.Path(path_type=Path), help="Where .tricklint/watch goes (default: the project).")
@click.option("--select", multiple=True, metavar="RULES", help="Only these rules.", shell_complete=complete_rules)
@click.option("--ignore", multiple=True, metavar="RULES", help="Not these rules.", shell_complete=complete_rules)
@click.option("--extend-select", multiple=True, metavar="RULES", help="These rules too.", shell_complete=complete_rules)
@click.option("--output-format", type=click.Choice(OUTPUT_FORMATS), envvar="TRICKLINT_OUTPUT_FORMAT",
              help="How to show findings.")
@click.option("-o", "--output-file", type=click.Path(path_type=Path, dir_okay=False), help="Write there.")
@click.option("-q", "--quiet", is_flag=True, help="Show the findings and nothing else.")
@click.option("--exit-zero", is_flag=True, help="Exit 0 although findings are left.")
@click.option("--fail-on", type=click.Choice([severity.value for severity in Severity]),
              help="Exit 1 only for findings of at least this severity.")
@rule_path
@click.option("--isolated", is_flag=True, help="Read no configuration file.")
@click.option("--config", multiple=True, metavar="FILE|KEY=VALUE", help="The configuration file, or one of its keys.")
def watch_command(**given: Any) -> None:
    """Run the training command, watch its first steps, and judge what really happens. RUNS THE PROJECT'S CODE.

    \b
    tricklint watch train.py -- --epochs 1
    tricklint watch --steps 200 -- python -m pkg.train --config base.yaml
    tricklint check --watched .tricklint/watch/latest .     what was seen, with all that reading says

    The command runs in the project itself, as if you had typed it, and ends after --steps. What it prints goes to stderr.
    Exit code: 0 clean, 1 findings, 2 the run failed or could not be watched.
    """  # fmt: skip
    sys.exit(_watch(given))


def _watch(given: dict[str, Any]) -> int:
    from tricklint.commands.once import Failure
    from tricklint.settings import SettingsError
    from tricklint.source.text import SourceError
    from tricklint.verify.records import VerifyError
    from tricklint.watching.record import RecordError
    from tricklint.watching.run import WatchError

    try:
        return _run(given)
    except (WatchError, RecordError, VerifyError, SettingsError, SourceError) as error:
        raise Failure(str(error)) from None


def _run(given: dict[str, Any]) -> int:
    from tricklint.verify.plan import duration, shown
    from tricklint.watching import run as running
    from tricklint.watching.run import WatchError

    words = list(given["command"])
    if not words:
        raise WatchError("what is to be watched? `tricklint watch train.py -- --epochs 1`")
    try:
        limit = duration(given["time_limit"]) if given["time_limit"] else None
    except ValueError as error:
        raise WatchError(f"--time-limit: {error}") from None
    command, root, settings = _command(words, given)
    folder = running.new_folder((given["output"] or root).resolve())
    steps = given["steps"] or None
    python = given["python"] or (str(settings.python) if settings.python else None)
    outcome = running.start(command, root, folder, python, steps, limit)
    latest = folder.parent / running.LATEST
    _point(latest, folder)
    if not given["quiet"]:
        click.echo(f"watched {command} for {shown(outcome.seconds)}; the record is in {folder}", err=True)
    return judge(folder, root, given)


def _command(words: list[str], given: dict[str, Any]) -> tuple[Any, Path, Any]:
    """The command, the project's folder and its settings. Raises VerifyError and SettingsError."""
    from tricklint import settings as configuration
    from tricklint.verify.cli import existing_root, project_root
    from tricklint.verify.replay import Command

    scripts = [word for word in words if word.endswith(".py")]
    start = Path(scripts[0]).parent if scripts else Path.cwd()
    settings = configuration.load(
        [start if start.exists() else Path.cwd()], isolated=given["isolated"], config=given["config"]
    )
    root = existing_root(given["root"] or project_root(settings))
    here = Path.cwd().resolve()
    where = here if here.is_relative_to(root) else root
    if scripts and where != here:
        words = [str(Path(word).resolve()) if word == scripts[0] else word for word in words]
    return Command.parse(words, root, where), root, settings


def _point(latest: Path, folder: Path) -> None:
    """`latest` names the newest run, where links can be made."""
    try:
        latest.unlink(missing_ok=True)
        latest.symlink_to(folder.name)
    except OSError:
        pass


def judge(folder: Path, root: Path, given: dict[str, Any]) -> int:
    """Show what the rules make of the record: `check` of the files that ran, with nothing but what was seen."""
    from tricklint.commands.check import check
    from tricklint.commands.once import once
    from tricklint.watching.record import read_run

    run = read_run(folder)
    paths = sorted(run.files())
    context = check.make_context("check", [], resilient_parsing=True)
    options = {**context.params, **{key: given[key] for key in context.params if key in given}}
    options |= {"watched": folder, "only_watched": True, "no_cache": True}
    return once(tuple(paths) or (root,), options)
