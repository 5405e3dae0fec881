"""GitLab's code quality report. Paths are relative to the repository, which is where GitLab looks for them."""

from __future__ import annotations

import hashlib
import json
from collections import Counter
from functools import cache
from pathlib import Path

from tricklint.finding import Severity
from tricklint.output.places import place
from tricklint.output.style import Style
from tricklint.report import Report, shown_path
from tricklint.settings import Settings

_LEVELS = {Severity.ERROR: "critical", Severity.WARNING: "major", Severity.ADVICE: "minor"}


def render(report: Report, settings: Settings, style: Style) -> str:
    items = []
    # Fingerprints hold no row, so that code above may move; the n-th of equal findings of a file is told by n.
    met: Counter[tuple[str, str, str]] = Counter()
    for finding in report.findings:
        at = place(report, finding)
        path = _in_repository(finding.path)
        alike = (path, finding.code, finding.message)
        fingerprint = _fingerprint(*alike, met[alike])
        met[alike] += 1
        items.append(
            {
                "description": f"{finding.name}: {finding.message}",
                "check_name": finding.code,
                "fingerprint": fingerprint,
                "severity": _LEVELS[finding.severity],
                "location": {"path": path, "lines": {"begin": at.start.row, "end": at.end.row}},
            }
        )
    return json.dumps(items, indent=2)


@cache
def _in_repository(path: Path) -> str:
    top = next((folder for folder in path.parents if (folder / ".git").exists()), None)
    return path.relative_to(top).as_posix() if top else shown_path(path)


def _fingerprint(*parts: object) -> str:
    return hashlib.blake2b("\0".join(map(str, parts)).encode("utf-8", "surrogatepass"), digest_size=16).hexdigest()
