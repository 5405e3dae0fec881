"""`tricklint trace TARGET`: what a trace sees of one model (or of all configured ones)."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import click


@click.command("trace", context_settings={"help_option_names": ["-h", "--help"]})
@click.argument("targets", metavar="[TARGET]...", nargs=-1)
@click.option(
    "--format", "shape", type=click.Choice(["text", "json", "html", "dot"]), default="text", show_default=True
)
@click.option(
    "-o", "--output", type=click.Path(dir_okay=False, path_type=Path), help="Write there instead of to stdout."
)
@click.option("--python", type=click.Path(path_type=Path), help="The interpreter whose packages the model needs.")
@click.option(
    "--arg", "arguments", multiple=True, metavar="NAME=VALUE", help="An argument of the constructor; repeatable."
)
@click.option("--input", "inputs", metavar="SHAPES", help='Input shapes, e.g. "[[2, 3, 224, 224]]", or pkg.data:batch.')
@click.option("--optimizer", metavar="FACTORY", help="pkg.train:make_optimizer, called with the model.")
@click.option(
    "--seconds", type=click.FloatRange(min=1), default=60.0, show_default=True, help="Time limit for a model."
)
@click.option("--memory", type=click.IntRange(min=256), default=8192, show_default=True, help="Memory limit in MB.")
@click.option("--full", is_flag=True, help="Do not fold repeated blocks.")
@click.option("--no-cache", is_flag=True, help="Neither read nor write the cache.")
def trace_command(
    targets: tuple[str, ...],
    shape: str,
    output: Path | None,
    python: Path | None,
    arguments: tuple[str, ...],
    inputs: str | None,
    optimizer: str | None,
    seconds: float,
    memory: int,
    full: bool,
    no_cache: bool,
) -> None:
    """Show what --trace sees of a model.

    TARGET is package.module:Name (a class or a factory), path/to/file.py:Name, or a file that defines one model.
    Without one, every model of [tool.tricklint.models].

    This builds the model: it runs the project's code, in a process of its own with limits on time and memory, without
    network, subprocesses or writes. That stops accidents, not attackers: trace only code you would run.
    """
    from tricklint.output.printable import one_line
    from tricklint.settings import SettingsError, load
    from tricklint.trace.client import Worker, WorkerError
    from tricklint.trace.facts import ModelFacts
    from tricklint.trace.targets import Target, TargetError, configured, parse, value

    try:
        settings = load([Path.cwd()], options={"python": str(python) if python else None, "trace": True})
        for refused in settings.refused:
            click.echo(f"error: {refused}", err=True)
        chosen = [parse(text, settings.root) for text in targets] or configured(settings)
        kwargs: dict[str, Any] = {}
        for argument in arguments:
            name, equals, given = argument.partition("=")
            if not equals or not name.isidentifier():
                raise TargetError(f"--arg wants NAME=VALUE, got {argument!r}")
            kwargs[name] = value(given)
    except (SettingsError, TargetError) as error:
        raise click.ClickException(str(error)) from error
    if not chosen:
        raise click.UsageError("name a model (package.module:Name or path/to/file.py:Name): none is configured")
    fed = value(inputs) if inputs else None
    if kwargs or fed is not None or optimizer:
        chosen = [
            Target(t.name, t.factory, t.args, {**t.kwargs, **kwargs}, fed or t.input, optimizer or t.optimizer)
            for t in chosen
        ]
    models: list[ModelFacts] = []
    failed = False
    try:
        with Worker(
            settings.root,
            python=python or settings.python,
            src=settings.src,
            seconds=seconds,
            memory_mb=memory,
            signal="always",
            keep=not no_cache,
        ) as worker:
            for target in chosen:
                result = worker.trace(target)
                if isinstance(result, ModelFacts):
                    models.append(result)
                else:
                    failed = True
                    where = f"{result.site.path}:{result.site.row}: " if result.site else ""
                    click.echo(one_line(f"{result.target}: {where}{result.message}"), err=True)
    except WorkerError as error:
        raise click.ClickException(str(error)) from error
    if models:
        _emit(models, shape, output, full)
    if failed:
        sys.exit(2)


def _emit(models: list[Any], shape: str, output: Path | None, full: bool) -> None:
    from tricklint.trace import show

    if shape == "text":
        from rich.console import Console

        file = output.open("w", encoding="utf-8") if output else None
        console = Console(file=file, width=100) if file else Console()
        if not file and not console.is_terminal:
            console = Console(width=100)
        for index, facts in enumerate(models):
            if index:
                console.print()
            show.text(facts, console, full)
        if file:
            file.close()
        return
    if shape == "json":
        made = json.dumps([facts.to_dict() for facts in models], indent=1) + "\n"
    elif shape == "html":
        made = show.html(models)
    else:
        made = "".join(show.dot(facts) for facts in models)
    if output:
        output.write_text(made, encoding="utf-8")
    else:
        click.echo(made, nl=False)
