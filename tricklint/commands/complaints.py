"""What a run could not do, said where it does not mix with the findings."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

if TYPE_CHECKING:
    from tricklint.report import Report


def complain(report: Report) -> None:
    """One line each on standard error: problems, and notes unless the run is quiet."""
    from tricklint.output.printable import one_line
    from tricklint.report import shown_path

    for problem in report.problems:
        place = ""
        if problem.path is not None:
            place = shown_path(problem.path)
            place += f":cell {problem.cell}" if problem.cell is not None else ""
            place += f":{problem.row}: " if problem.row else ": "
        click.echo(click.style("error: ", fg="red", bold=True) + one_line(place + problem.message), err=True)
    for note in report.notes if not report.quiet else ():
        click.echo(one_line(f"note: {note}"), err=True)
