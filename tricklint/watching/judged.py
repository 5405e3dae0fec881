"""A recorded run within a check: read, and what of it belongs into the report."""

from __future__ import annotations

from pathlib import Path

from tricklint.report import Report
from tricklint.settings import Settings, SettingsError
from tricklint.source.text import Problem
from tricklint.watching.record import RecordError, Run, read_run
from tricklint.watching.verdicts import Watched


def watched(folder: Path, settings: Settings, only: bool, report: Report) -> Watched:
    """Raises SettingsError where the folder holds no run."""
    try:
        run = read_run(folder, settings)
    except RecordError as error:
        raise SettingsError(f"--watched: {error}") from None
    problem = ended_badly(run)
    if problem is not None:
        report.problems.append(problem)
    report.notes += notes(run, report)
    return Watched(run, only)


def ended_badly(run: Run) -> Problem | None:
    """The run that died: up to there it is judged."""
    if run.end is None:
        return Problem(None, None, f"the run was killed after {_steps(run)}; what follows is what was seen up to there")
    if run.end["status"] == "crashed":
        place = run.place(run.end.get("at")).at
        path = run.spot(place)[0] if place is not None else None
        return Problem(path, place.row if place else None, f"the run died after {_steps(run)}: {run.end['message']}")
    return None


def notes(run: Run, report: Report) -> list[str]:
    found = []
    if run.end is not None and run.end["status"] == "interrupted":
        found.append(f"the run was interrupted after {_steps(run)}")
    if run.steps == 0 and (run.end is None or run.end["status"] != "crashed"):
        found.append("the run made no optimizer step: what needs one is not judged")
    return found


def _steps(run: Run) -> str:
    return "1 step" if run.steps == 1 else f"{run.steps} steps"
