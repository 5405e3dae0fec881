"""JUnit XML, which most CI servers show: a suite for each file, a failed case for each finding."""

from __future__ import annotations

import re
from xml.etree import ElementTree as xml

from tricklint.finding import Finding
from tricklint.output.places import place
from tricklint.output.style import Style
from tricklint.report import Report, shown_path
from tricklint.settings import Settings


def render(report: Report, settings: Settings, style: Style) -> str:
    suites = xml.Element("testsuites", name="tricklint", tests=str(max(1, len(report.findings))))
    suites.set("failures", str(len(report.findings)))
    suites.set("errors", str(len(report.problems)))
    by_file: dict[str, list[Finding]] = {}
    for finding in report.findings:
        by_file.setdefault(_legal(shown_path(finding.path)), []).append(finding)
    for filename, findings in by_file.items():
        suite = xml.SubElement(suites, "testsuite", name=filename, tests=str(len(findings)))
        suite.set("failures", str(len(findings)))
        for finding in findings:
            at = place(report, finding)
            case = xml.SubElement(suite, "testcase", name=f"{finding.code} {finding.name}", classname=filename)
            case.set("line", str(at.start.row))
            failure = xml.SubElement(case, "failure", message=_legal(finding.message), type=finding.severity.value)
            failure.text = _legal(f"{at.label}: {finding.message}")
    for number, problem in enumerate(report.problems):
        if number == 0:
            broken = xml.SubElement(suites, "testsuite", name="problems", tests=str(len(report.problems)))
            broken.set("errors", str(len(report.problems)))
        case = xml.SubElement(
            broken, "testcase", name=_legal(shown_path(problem.path)) if problem.path else "tricklint"
        )
        xml.SubElement(case, "error", message=_legal(problem.message))
    if not report.findings and not report.problems:
        xml.SubElement(xml.SubElement(suites, "testsuite", name="tricklint", tests="1"), "testcase", name="no findings")
    xml.indent(suites)
    return '<?xml version="1.0" encoding="utf-8"?>\n' + xml.tostring(suites, encoding="unicode")


_ILLEGAL = re.compile(r"[^\t\n\r\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")


def _legal(text: str) -> str:
    """XML 1.0 has no control characters and no halves of surrogate pairs."""
    return _ILLEGAL.sub("?", text)
