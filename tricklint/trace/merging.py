"""Static findings and facts, brought together: one finding a mistake, and what the real model says about it."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from tricklint.finding import Finding, Location, Severity
from tricklint.trace import judge
from tricklint.trace.facts import FactsReport, ModelFacts, Site
from tricklint.trace.judge import FactFinding

if TYPE_CHECKING:
    from tricklint.settings import Settings

# Reported at a class of the model; the others at an optimizer, a loader or a loss, where only the evidence leads back.
_AT_CLASS = {"TRK501", "TRK502", "TRK705", "TRK706"}
_BATCH = re.compile(r"batch(?:[ _-]?size)?(?:\s+(?:of|is))?\s*[=:]?\s*(\d+)", re.IGNORECASE)


def merge(findings: Iterable[Finding], report: FactsReport, settings: Settings | None = None) -> list[Finding]:
    """`findings` without the refuted, the confirmed marked, and what only the facts show added, sorted as findings are.

    A finding is held against every traced model it is about (its class, its optimizer, or a model its evidence leads
    to). It goes only when each of them refutes it, and none confirms it.
    """
    root = Path(report.root) if report.root else Path.cwd()
    given = list(findings)
    merged: list[Finding] = []
    for finding in given:
        verdicts = [v for facts in report.models if _about(finding, facts, report, root) for v in
                    _verdicts(finding, facts, settings, root)]  # fmt: skip
        confirming = [verdict for verdict in verdicts if not verdict.refutes]
        if verdicts and not confirming:
            continue
        if confirming:
            finding = _confirmed(finding, confirming[0])
        merged.append(finding)
    taken = {(f.code, _real(f.path), f.location.row) for f in given}
    classes = {(f.code, _real(f.path)) for f in given}
    for facts in report.models:
        for verdict in judge.judge(facts):
            new = _new(verdict, facts, root)
            if new is None:
                continue
            key = (new.code, _real(new.path), new.location.row)
            nearby = new.code not in _AT_CLASS and (new.code, _real(new.path)) in classes
            if key not in taken and not nearby and new.code not in ("TRK501",):
                taken.add(key)
                merged.append(new)
    return sorted(merged, key=lambda finding: finding.sort_key)


def _real(path: Path) -> str:
    return str(path.resolve())


def _inside(path: Path, row: int, site: Site | None, root: Path) -> bool:
    if site is None or _real(path) != _real(root / site.path):
        return False
    return site.row <= row <= max(site.end_row, site.row)


def _about(finding: Finding, facts: ModelFacts, report: FactsReport, root: Path) -> bool:
    """Whether this finding is about that model."""
    places = [(finding.path, finding.location.row), *((e.path, e.location.row) for e in finding.evidence)]
    if finding.code in _AT_CLASS:
        places = places[:1]
    sites = [*facts.sites.values(), facts.site, facts.found_at]
    if facts.optimizer is not None and finding.code in ("TRK601", "TRK602"):
        sites.append(facts.optimizer.site)
    if any(_inside(path, row, site, root) for path, row in places for site in sites):
        return True
    if finding.code in _AT_CLASS:
        return False
    # At an optimizer, a loader, a loss: the finding says which class it is about, or there is only one.
    words = " ".join([finding.message, *(e.message for e in finding.evidence)])
    if re.search(rf"\b{re.escape(facts.type.rpartition('.')[2])}\b", words):
        return True
    return len(report.models) == 1 and not report.failures


def _verdicts(finding: Finding, facts: ModelFacts, settings: Settings | None, root: Path) -> list[FactFinding]:
    code = finding.code
    if code in ("TRK501", "TRK502"):
        made = judge.missing_init(facts) if code == "TRK501" else judge.init_gain(facts)
        row = finding.location.row
        exact = [v for v in made if _inside(finding.path, row, v.site, root)]
        return exact if code == "TRK501" else exact or [v for v in made if v.refutes]
    if code == "TRK503":
        return judge.head_bias(facts)
    if code == "TRK601":
        if facts.optimizer is not None and not _same_call(finding, facts, root):
            return judge.decay(replace_optimizer(facts))
        return judge.decay(facts)
    if code == "TRK602":
        return judge.lossy_split(facts) if _same_call(finding, facts, root) else []
    if code == "TRK201":
        return judge.products(facts, settings.normalize.p if settings is not None else 0.9)
    if code == "TRK104":
        return judge.norm_drift(facts)
    if code == "TRK301":
        match = _BATCH.search(finding.message) or next(
            (m for e in finding.evidence if (m := _BATCH.search(e.message))), None
        )
        gpu = settings.memory.gpu if settings is not None else None
        return judge.memory(facts, int(match[1]), gpu) if match else []
    if code == "TRK702":
        text = finding.message.lower()
        wants = (
            "softmax"
            if "softmax" in text.split("into")[0]
            else "sigmoid"
            if "sigmoid" in text.split("into")[0]
            else "logits"
        )
        return judge.output(facts, wants)
    if code == "TRK705":
        return judge.unregistered(facts)
    if code == "TRK706":
        return judge.unused(facts)
    return []


def _same_call(finding: Finding, facts: ModelFacts, root: Path) -> bool:
    """The optimizer that was built is the one this finding is about: same file, same statement."""
    site = facts.optimizer.site if facts.optimizer is not None else None
    if site is None or _real(finding.path) != _real(root / site.path):
        return False
    return finding.location.row <= site.row <= max(finding.end_location.row, finding.location.row)


def replace_optimizer(facts: ModelFacts) -> ModelFacts:
    """The facts without their optimizer: it is another one's."""
    return replace(facts, optimizer=None)


def _confirmed(finding: Finding, verdict: FactFinding) -> Finding:
    severity = finding.severity
    if verdict.severity and Severity(verdict.severity).rank > severity.rank:
        severity = Severity(verdict.severity)
    return replace(finding, confirmed=verdict.message, severity=severity)


def _new(verdict: FactFinding, facts: ModelFacts, root: Path) -> Finding | None:
    site = verdict.site or facts.site or facts.found_at
    if site is None:
        return None
    path = root / site.path
    here = Location(site.row, 1)
    return Finding(
        code=verdict.code,
        name=verdict.name,
        severity=Severity(verdict.level),
        message=_sentence(verdict),
        path=path,
        location=here,
        end_location=_end(path, here),
        confirmed=verdict.message,
    )


def _sentence(verdict: FactFinding) -> str:
    text = verdict.message.removeprefix("traced: ")
    return text[:1].upper() + text[1:] if not text.startswith(verdict.module_path or "\0") else text


def _end(path: Path, location: Location) -> Location:
    """The end of the line, as far as the file can be read."""
    try:
        line = path.read_text(encoding="utf-8", errors="replace").splitlines()[location.row - 1]
    except (OSError, IndexError):
        return Location(location.row, location.column + 1)
    return Location(location.row, len(line) + 1)


def finding_for(verdict: FactFinding, facts: ModelFacts, root: Path) -> Finding | None:
    """A finding at the class or call a verdict belongs to; None when the model is nobody's file."""
    return _new(verdict, facts, root)
