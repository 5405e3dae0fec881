"""Looking at the real model: an isolated worker builds and traces it, `ModelFacts` come back, rules judge them.

This package imports no torch; the worker process does (and `tricklint.check_model`, in the caller's own).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

    from tricklint.finding import Finding
    from tricklint.settings import Settings
    from tricklint.trace.facts import FactsReport


def facts_for(program: Any, settings: Settings, cache_dir: Path | None = None) -> FactsReport:
    """Trace every configured model, and every one the Program sees being trained.

    Runs the project's code in a fenced child process (it stops accidents, not attackers). Never raises for what that
    code does: what could not be built is a `Failure` in the report, one line with its cause.
    """
    from tricklint.trace.client import Worker, WorkerError
    from tricklint.trace.facts import FactsReport, Failure, ModelFacts, Site
    from tricklint.trace.targets import gather

    report = FactsReport(root=str(settings.root))
    targets = gather(program, settings)
    if not targets:
        return report
    with Worker(settings.root, python=settings.python, src=settings.src, cache_dir=cache_dir) as worker:
        for target in targets:
            try:
                result = worker.trace(target)
            except WorkerError as error:
                report.failures.append(Failure("--trace", "worker", str(error)))
                break
            if isinstance(result, ModelFacts):
                if target.found_at is not None:
                    result.found_at = Site(*target.found_at)
                report.models.append(result)
            else:
                report.failures.append(result)
    return report


def merge(findings: Iterable[Finding], facts: FactsReport, settings: Settings | None = None) -> list[Finding]:
    """Static findings held against the facts: refuted ones go, confirmed ones say so, new ones come, none twice."""
    from tricklint.trace.merging import merge as merged

    return merged(findings, facts, settings)
