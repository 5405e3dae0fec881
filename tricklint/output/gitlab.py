"""GitLab's code quality report. Paths are relative to the repository, which is where GitLab looks for them."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path

from tricklint.finding import Severity
from tricklint.output.places import place
from tricklint.output.style import Style
from tricklint.report import Report, shown_path
from tricklint.settings import Settings

_LEVELS = {Severity.ERROR: "critical", Severity.WARNING: "major", Severity.ADVICE: "minor"}


def render(report: Report, settings: Settings, style: Style) -> str:
    items, seen = [], set()
    for finding in report.findings:
        at = place(report, finding)
        # Without the row, so that code above may move; the n-th of equal findings of a file is told by n.
        number = 0
        while (
            fingerprint := _fingerprint(_in_repository(finding.path), finding.code, finding.message, number)
        ) in seen:
            number += 1
        seen.add(fingerprint)
        items.append(
            {
                "description": f"{finding.name}: {finding.message}",
                "check_name": finding.code,
                "fingerprint": fingerprint,
                "severity": _LEVELS[finding.severity],
                "location": {"path": _in_repository(finding.path), "lines": {"begin": at.start.row, "end": at.end.row}},
            }
        )
    return json.dumps(items, indent=2)


def _in_repository(path: Path) -> str:
    top = next((folder for folder in path.parents if (folder / ".git").exists()), None)
    return path.relative_to(top).as_posix() if top else shown_path(path)


def _fingerprint(*parts: object) -> str:
    return hashlib.blake2b("\0".join(map(str, parts)).encode(), digest_size=16).hexdigest()
